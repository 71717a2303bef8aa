//! What to give a player: URLs in every variant for a film that is named, and settings of players.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;

use super::{Facts, Family, Subject, TRAIL, Tab};
use crate::console::page::{Field, Page, Problems, Section, copyable};
use crate::console::urls::{PlayerConfig, VARIANTS, recipes, stream_name};
use crate::console::visitor::{Site, Visitor};

/// `?stream=videos/film.mp4&host=films.example.com&edge=192.0.2.1`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    stream: Option<String>,
    host: String,
    edge: Option<String>,
}

/// A film to begin with.
const EXAMPLE: &str = "film.mp4";

/// GET `/console/distributions/ID/play`.
pub(super) async fn page(
    State(site): State<Site>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let subject = match Subject::load(&site, &visitor, &id).await {
        Ok(subject) => subject,
        Err(answer) => return answer,
    };
    let facts = subject.facts(&site);
    let etag = match &subject {
        Subject::Own { found, .. } => found.etag.as_str(),
        Subject::Declared { .. } => "",
    };
    let body = match facts.family {
        Family::Streaming => streaming(&id, &facts, &asked, &site.players),
        _ => web(&facts),
    };
    let content = html! { (facts.top(&id, etag, &visitor, Tab::Play)) (body) };
    Page::new(&id, Section::Distributions, &visitor).below(&TRAIL).answer(StatusCode::OK, content)
}

fn streaming(id: &str, facts: &Facts, asked: &Asked, players: &PlayerConfig) -> Markup {
    let hosts: Vec<String> =
        std::iter::once(facts.domain.clone()).chain(facts.aliases.iter().cloned()).collect();
    let host = hosts.iter().find(|host| **host == asked.host).unwrap_or(&hosts[0]);
    let key = asked.stream.as_deref().unwrap_or(EXAMPLE);
    let name = stream_name(if key.trim().is_empty() { EXAMPLE } else { key });
    let edge = asked.edge.as_deref().map_or(players.edge_host.as_str(), str::trim);
    let none = Problems::none();
    let field = |name, label, hint| Field { name, label, hint, problems: &none };
    let choices: Vec<(String, String)> = hosts.iter().map(|host| (host.clone(), host.clone())).collect();
    html! {
        @if facts.status != "Deployed" {
            div class="note warn" { p { "Not yet deployed on every node: some may not know this distribution yet." } }
        }
        @if !facts.enabled { div class="note warn" { p { "Disabled: players are refused." } } }
        @if facts.is_signed {
            div class="note" {
                p {
                    "Names must be signed: " code { "penstock-control sign" } " makes one of " code { (bare(&name)) }
                    ". Enter the signed name to see its URLs."
                }
            }
        }
        section {
            h2 { "Which film" }
            form method="get" action={ "/console/distributions/" (id) "/play" } {
                (field("stream", "Object key or stream name", "Such as videos/film.mp4, or mp3:songs/one.")
                    .line("text", key, "off", false))
                @if hosts.len() > 1 { (field("host", "By the name", "").choice(&choices, host)) }
                (field("edge", "Edge to connect to", "Only while the distribution's name doesn't resolve: an edge's host, or HOST:PORT. Commands then say both.")
                    .line("text", edge, "off", false))
                button class="plain" { "Show URLs" }
            }
        }
        section {
            h2 { "Player URLs" }
            div class="scroll" tabindex="0" role="region" aria-label="Player URLs" {
                table {
                    caption { "The whole URL in every variant" }
                    thead { tr { th scope="col" { "Variant" } th scope="col" { "URL" } } }
                    tbody {
                        @for variant in VARIANTS {
                            tr {
                                th scope="row" { (variant.scheme) span class="less" { (variant.what) } }
                                td { (copyable(&format!("{}/{name}", variant.server(host, players)), &format!("the {} URL", variant.scheme))) }
                            }
                        }
                    }
                }
            }
            h3 { "Apart" }
            dl {
                dt { "Server, or streamer" } dd { (copyable(&VARIANTS[0].server(host, players), "the server")) }
                dt { "Stream, or file" } dd { (copyable(&name, "the stream name")) }
            }
        }
        section {
            h2 { "Settings and commands" }
            dl {
                @for recipe in recipes(host, &name, edge, players) {
                    dt { (recipe.player) } dd { (copyable(&recipe.text, &format!("the text for {}", recipe.player))) }
                }
            }
        }
    }
}

/// What a signature names: the stream's name without its prefix.
fn bare(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, rest)| rest)
}

fn web(facts: &Facts) -> Markup {
    html! {
        div class="note warn" { p { "Edges don't deliver over HTTP yet." } }
        section {
            h2 { "Addresses" }
            dl {
                @for host in std::iter::once(&facts.domain).chain(&facts.aliases) {
                    dt { (host) } dd { (copyable(&format!("http://{host}/"), "the address")) }
                }
            }
        }
    }
}
