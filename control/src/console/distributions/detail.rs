//! One distribution: how it stands and what it is set to.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::{Markup, html};
use proto::object::PUBLIC;
use proto::v1::Distribution;
use serde::Deserialize;

use super::settings::{IDENTITY, Settings};
use super::{Family, Subject, TRAIL, Tab, config_of, logs};
use crate::api::xml::Element;
use crate::console::calls::Found;
use crate::console::elements::{at, text};
use crate::console::page::{Page, Section, copyable};
use crate::console::visitor::{Site, Visitor};

/// `?done=created`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
}

/// GET `/console/distributions/ID/status`: the one word, for script that follows it.
pub(super) async fn status(State(site): State<Site>, visitor: Visitor, Path(id): Path<String>) -> Response {
    match Subject::load(&site, &visitor, &id).await {
        Ok(subject) => subject.facts(&site).status.into_response(),
        Err(answer) => answer,
    }
}

/// GET `/console/distributions/ID`.
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
    let (etag, details, logging) = match &subject {
        Subject::Own { family, found } => {
            let settings = Settings::from_config(&config_of(*family, found), *family);
            let logging = settings.logging.then_some((settings.log_bucket, settings.log_prefix));
            (found.etag.as_str(), own(*family, found), logging)
        }
        Subject::Declared { document, .. } => {
            let logging = document.logging.clone().map(|target| (target.bucket_host, target.prefix));
            ("", declared(document), logging)
        }
    };
    let logs = logs::section(&site, &id, logging).await;
    let done = match asked.done.as_str() {
        "created" => "The distribution was created. It serves once it is deployed on every node.",
        "updated" => "The changes were saved. They are in force once they are deployed on every node.",
        "enabled" => "The distribution is enabled. It serves once that is deployed on every node.",
        "disabled" => "The distribution is disabled. It can be deleted once that is deployed on every node.",
        _ => "",
    };
    let content = html! {
        @if !done.is_empty() { div class="note" role="status" { p { (done) } } }
        (facts.top(&id, etag, &visitor, Tab::Details))
        (details)
        (logs)
    };
    Page::new(&id, Section::Distributions, &visitor).below(&TRAIL).answer(StatusCode::OK, content)
}

fn names(aliases: &[String]) -> Markup {
    html! {
        @if aliases.is_empty() { "None" } @else { ul { @for alias in aliases { li { (copyable(alias, "the name")) } } } }
    }
}

/// What the API says edges can't do of this distribution.
fn unsupported(element: &Element) -> Vec<&str> {
    let named = text(element, &["Status"]).strip_prefix("Unsupported:").unwrap_or_default();
    named.split(',').map(str::trim).filter(|one| !one.is_empty()).collect()
}

fn own(family: Family, found: &Found) -> Markup {
    let element = &found.element;
    let config = config_of(family, found);
    let settings = Settings::from_config(&config, family);
    let missing = unsupported(element);
    let active = at(element, &["ActiveTrustedSigners", "Items"]);
    html! {
        @if !missing.is_empty() {
            div class="note warn" {
                p { strong { "Not supported by edges yet" } ": kept and returned, but not served." }
                ul { @for one in &missing { li { (one) } } }
            }
        }
        section {
            h2 { "Details" }
            dl {
                dt { "Domain" } dd { (copyable(text(element, &["DomainName"]), "the domain")) }
                dt { "Alternate names" } dd { (names(&settings.aliases)) }
                dt { "Origin" } dd { (settings.origin) }
                dt { "Origin access identity" }
                dd {
                    @if settings.identity.is_empty() { "None: the files are public" }
                    @else { (settings.identity.strip_prefix(IDENTITY).unwrap_or(&settings.identity)) }
                }
                dt { "Comment" } dd { @if settings.comment.is_empty() { "None" } @else { (settings.comment) } }
                @if family == Family::Streaming {
                    dt { "Signed by" }
                    dd {
                        @if settings.signed_by_self || !settings.signers.is_empty() {
                            ul {
                                @if settings.signed_by_self { li { "this account" } }
                                @for signer in &settings.signers { li { (signer) } }
                            }
                        } @else { "Nobody: names need no signature" }
                    }
                    @if let Some(active) = active {
                        dt { "Keys that sign" }
                        dd {
                            ul {
                                @for signer in active.children("Signer") {
                                    li {
                                        (text(signer, &["AwsAccountNumber"])) ": "
                                        @let keys = super::elements::items(signer, &["KeyPairIds"], "KeyPairId");
                                        @if keys.is_empty() { "no key yet" } @else { (keys.join(", ")) }
                                    }
                                }
                            }
                        }
                    }
                } @else {
                    dt { "Viewers may use" } dd { (settings.viewer_policy) }
                    dt { "Default root object" } dd { @if settings.root_object.is_empty() { "None" } @else { (settings.root_object) } }
                    dt { "Smooth Streaming" } dd { @if settings.smooth { "Yes" } @else { "No" } }
                }
                dt { "Price class" } dd { (settings.price_class) }
                dt { "Last modified" } dd { (text(element, &["LastModifiedTime"])) }
                dt { "ARN" } dd { (copyable(text(element, &["ARN"]), "the ARN")) }
                dt { "Caller reference" } dd { (text(&config, &["CallerReference"])) }
                dt { "ETag" } dd { (found.etag) }
            }
        }
    }
}

fn declared(document: &Distribution) -> Markup {
    html! {
        section {
            h2 { "Details" }
            dl {
                dt { "Domain" } dd { (copyable(&document.domain, "the domain")) }
                dt { "Alternate names" } dd { (names(&document.aliases)) }
                dt { "Origin" } dd { (document.origin_host) }
                dt { "Credential" } dd { @if document.credential.is_empty() || document.credential.starts_with(PUBLIC) { "None: the files are public" } @else { (document.credential) } }
                dt { "Comment" } dd { @if document.comment.is_empty() { "None" } @else { (document.comment) } }
                dt { "Signed by" }
                dd { @if document.trusted_signers.is_empty() { "Nobody: names need no signature" } @else { (document.trusted_signers.join(", ")) } }
                dt { "Features nodes need" }
                dd { @if document.required_features.is_empty() { "None" } @else { (document.required_features.join(", ")) } }
            }
        }
    }
}
