//! Distributions: the list, one of them under several headings, and what can be done to it.
//!
//! A distribution that a declarative file made is shown to the account the file gives it to, and is changed only by the file.

mod create;
mod detail;
mod edit;
mod invalidations;
mod list;
mod logs;
mod play;
mod propagation;
mod settings;
mod settings_form;
mod switch;
mod tags;

pub(super) use create::new_reference;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use maud::{Markup, html};
use proto::v1::{Distribution, DistributionKind};

use super::calls::{Api, Family, Found};
use super::elements;
use super::failure;
use super::page::{deployed_state, enabled_state};
use super::visitor::{Site, Visitor};
use crate::api::ApiError;
use crate::api::xml::Element;
use crate::documents;
use crate::lifecycle::{self, Change};

/// Everything below `/distributions`.
pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/distributions", get(list::page))
        .route("/distributions/new", get(create::kinds))
        .route("/distributions/new/{kind}", get(create::form).post(create::create))
        .route("/distributions/{id}", get(detail::page))
        .route("/distributions/{id}/status", get(detail::status))
        .route("/distributions/{id}/edit", get(edit::form).post(edit::update))
        .route("/distributions/{id}/enable", post(switch::enable))
        .route("/distributions/{id}/disable", get(switch::confirm_disable).post(switch::disable))
        .route("/distributions/{id}/delete", get(switch::confirm_delete).post(switch::delete))
        .route("/distributions/{id}/play", get(play::page))
        .route("/distributions/{id}/nodes", get(propagation::page))
        .route("/distributions/{id}/tags", get(tags::page).post(tags::change))
        .route("/distributions/{id}/invalidations", get(invalidations::page).post(invalidations::create))
}

/// What a distribution's pages are about.
pub(super) enum Subject {
    /// Made by the API or here.
    Own {
        /// Streaming or web.
        family: Family,
        /// The `StreamingDistribution` or `Distribution` document.
        found: Found,
    },
    /// Made by a declarative file.
    Declared {
        /// What nodes get.
        document: Arc<Distribution>,
        /// The revision that last changed it.
        modified: u64,
    },
}

impl Subject {
    /// The one called `id`, if it is the visitor's; `Err` is the answer otherwise.
    async fn load(site: &Site, visitor: &Visitor, id: &str) -> Result<Self, Response> {
        if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(failure::not_found(visitor));
        }
        let published = site.context.views.borrow().distributions.get(id).cloned();
        let published = published.filter(|document| document.account == visitor.principal.account);
        let is_web = published.as_ref().is_some_and(|document| document.kind() == DistributionKind::Web);
        let api = Api::of(site, visitor);
        let order = if is_web { [Family::Web, Family::Streaming] } else { [Family::Streaming, Family::Web] };
        for family in order {
            match api.get(family, &[id], &[]).await {
                Ok(found) => return Ok(Self::Own { family, found }),
                Err(error) if error.status == StatusCode::NOT_FOUND => (),
                Err(error) => return Err(failure::refused(visitor, &error)),
            }
        }
        if published.is_some() {
            // Its revision comes with the document, whatever this replica has heard of so far.
            let stored = documents::distribution(&*site.context.store, id).await;
            let stored = stored.map_err(|error| failure::refused(visitor, &ApiError::from(error)))?;
            if let Some(stored) = stored.filter(|s| s.document.account == visitor.principal.account) {
                return Ok(Self::Declared { document: Arc::new(stored.document), modified: stored.modified });
            }
        }
        Err(failure::not_found(visitor))
    }

    /// As [`Self::load`], for what only the API's own can have done to them.
    async fn load_own(site: &Site, visitor: &Visitor, id: &str) -> Result<(Family, Found), Response> {
        match Self::load(site, visitor, id).await? {
            Self::Own { family, found } => Ok((family, found)),
            Self::Declared { .. } => {
                let text = "It is made by the operator's file of distributions, and changed there.";
                Err(failure::page(Some(visitor), StatusCode::CONFLICT, "That can't be done here", text))
            }
        }
    }

    fn facts(&self, site: &Site) -> Facts {
        match self {
            Self::Own { family, found } => {
                let element = &found.element;
                let config = element.child(family.config_name());
                let says = |path: &[&str]| config.map_or("", |c| elements::text(c, path)).to_owned();
                Facts {
                    family: *family,
                    domain: elements::text(element, &["DomainName"]).to_owned(),
                    status: elements::text(element, &["Status"]).to_owned(),
                    enabled: says(&["Enabled"]) == "true",
                    aliases: config.map(|c| elements::items(c, &["Aliases"], "CNAME")).unwrap_or_default(),
                    is_signed: config.is_some_and(|c| elements::is_true(c, &["TrustedSigners", "Enabled"])),
                    is_declared: false,
                }
            }
            Self::Declared { document, modified } => {
                let view = site.context.views.borrow().clone();
                let deployed = lifecycle::is_deployed(&view, &Change::of(document, *modified));
                Facts {
                    family: family_of(document),
                    domain: document.domain.clone(),
                    status: status_word(document, deployed).to_owned(),
                    enabled: document.enabled,
                    aliases: document.aliases.clone(),
                    is_signed: !document.trusted_signers.is_empty(),
                    is_declared: true,
                }
            }
        }
    }
}

/// The config in a distribution's document.
fn config_of(family: Family, found: &Found) -> Element {
    found.element.child(family.config_name()).cloned().unwrap_or_else(|| Element::new(family.config_name()))
}

fn family_of(document: &Distribution) -> Family {
    if document.kind() == DistributionKind::Web { Family::Web } else { Family::Streaming }
}

/// The first word of a distribution's status, as the API gives it.
fn status_word(document: &Distribution, deployed: bool) -> &'static str {
    match family_of(document) {
        Family::Web if document.enabled => "Unsupported",
        _ if deployed => "Deployed",
        _ => "InProgress",
    }
}

/// What all headings of a distribution show, whoever made it.
struct Facts {
    family: Family,
    domain: String,
    status: String,
    enabled: bool,
    aliases: Vec<String>,
    is_signed: bool,
    is_declared: bool,
}

/// The headings under which a distribution is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tab {
    Details,
    Play,
    Nodes,
    Tags,
    Invalidations,
}

const TABS: [(Tab, &str, &str); 5] = [
    (Tab::Details, "", "Details"),
    (Tab::Play, "/play", "Player URLs"),
    (Tab::Nodes, "/nodes", "Propagation"),
    (Tab::Tags, "/tags", "Tags"),
    (Tab::Invalidations, "/invalidations", "Invalidations"),
];

/// The way back, above a distribution's heading.
const TRAIL: [(&str, &str); 1] = [("/console/distributions", "Distributions")];

impl Facts {
    /// State, actions and the other headings: what stands above each of a distribution's pages.
    fn top(&self, id: &str, etag: &str, visitor: &Visitor, tab: Tab) -> Markup {
        let base = format!("/console/distributions/{id}");
        let shown = |tab: Tab| match tab {
            Tab::Tags => !self.is_declared,
            Tab::Invalidations => !self.is_declared && self.family == Family::Web,
            _ => true,
        };
        html! {
            p class="lead" {
                @if self.family == Family::Streaming { "Streaming" } @else { "Download" }
                " distribution, " (self.domain)
            }
            div class="actions" {
                span data-follow=[(self.status == "InProgress").then(|| format!("{base}/status"))] data-state=(self.status) {
                    (deployed_state(&self.status))
                }
                (enabled_state(self.enabled))
                @if visitor.may_write() && !self.is_declared {
                    a class="button plain" href={ (base) "/edit" } { "Edit" }
                    @if self.enabled {
                        a class="button plain" href={ (base) "/disable" } { "Disable" }
                    } @else {
                        form method="post" action={ (base) "/enable" } {
                            (visitor.form_token())
                            input type="hidden" name="etag" value=(etag);
                            button class="plain" { "Enable" }
                        }
                        a class="button plain" href={ (base) "/delete" } { "Delete" }
                    }
                }
            }
            @if self.is_declared {
                div class="note" { p { "Made by the operator's file of distributions, and changed there." } }
            }
            nav class="tabs" aria-label="About this distribution" {
                ul {
                    @for (other, path, name) in TABS {
                        @if shown(other) {
                            li { a href={ (base) (path) } aria-current=[(other == tab).then_some("page")] { (name) } }
                        }
                    }
                }
            }
        }
    }
}
