//! Enabling, disabling and deleting a distribution. What ends viewers' sessions, or can't be undone, is asked about first.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use super::{Subject, TRAIL, config_of};
use crate::api::ApiError;
use crate::console::calls::Api;
use crate::console::elements::{is_true, set_text, text};
use crate::console::failure;
use crate::console::page::{Page, Section, deployed_state, see_other};
use crate::console::visitor::{Posted, Site, Visitor};

fn ask(visitor: &Visitor, id: &str, title: &str, status: StatusCode, content: Markup) -> Response {
    let address = format!("/console/distributions/{id}");
    let trail = [TRAIL[0], (address.as_str(), id)];
    Page::new(title, Section::Distributions, visitor).below(&trail).answer(status, content)
}

/// The buttons of a question.
fn buttons(visitor: &Visitor, id: &str, action: &str, etag: &str, word: &str) -> Markup {
    html! {
        div class="actions" {
            form method="post" action={ "/console/distributions/" (id) "/" (action) } {
                (visitor.form_token())
                input type="hidden" name="etag" value=(etag);
                button class="danger" { (word) }
            }
            a href={ "/console/distributions/" (id) } { "Cancel" }
        }
    }
}

/// GET `/console/distributions/ID/disable`.
pub(super) async fn confirm_disable(
    State(site): State<Site>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Response {
    if !visitor.may_write() {
        return failure::read_only(&visitor);
    }
    let (_, found) = match Subject::load_own(&site, &visitor, &id).await {
        Ok(own) => own,
        Err(answer) => return answer,
    };
    let content = html! {
        section {
            p { "Viewers of " strong { (text(&found.element, &["DomainName"])) } " are no longer served, and those who watch now are cut off." }
            p { "It can be enabled again. A distribution that is disabled and deployed can be deleted." }
        }
        (buttons(&visitor, &id, "disable", &found.etag, "Disable distribution"))
    };
    ask(&visitor, &id, &format!("Disable {id}?"), StatusCode::OK, content)
}

async fn set_enabled(
    site: &Site,
    visitor: &Visitor,
    id: &str,
    etag: &str,
    enabled: bool,
) -> Result<(), Response> {
    let (family, found) = Subject::load_own(site, visitor, id).await?;
    let refused = |error: ApiError| failure::refused(visitor, &error);
    if found.etag != etag {
        return Err(refused(ApiError::precondition_failed()));
    }
    let mut config = config_of(family, &found);
    set_text(&mut config, "Enabled", enabled.to_string());
    Api::of(site, visitor).update(family, &[id, "config"], etag, config).await.map(drop).map_err(refused)
}

/// POST `/console/distributions/ID/disable`.
pub(super) async fn disable(State(site): State<Site>, Path(id): Path<String>, posted: Posted) -> Response {
    match set_enabled(&site, &posted.visitor, &id, posted.fields.text("etag"), false).await {
        Ok(()) => see_other(&format!("/console/distributions/{id}?done=disabled")),
        Err(answer) => answer,
    }
}

/// POST `/console/distributions/ID/enable`.
pub(super) async fn enable(State(site): State<Site>, Path(id): Path<String>, posted: Posted) -> Response {
    match set_enabled(&site, &posted.visitor, &id, posted.fields.text("etag"), true).await {
        Ok(()) => see_other(&format!("/console/distributions/{id}?done=enabled")),
        Err(answer) => answer,
    }
}

/// GET `/console/distributions/ID/delete`.
pub(super) async fn confirm_delete(
    State(site): State<Site>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Response {
    if !visitor.may_write() {
        return failure::read_only(&visitor);
    }
    let (family, found) = match Subject::load_own(&site, &visitor, &id).await {
        Ok(own) => own,
        Err(answer) => return answer,
    };
    let title = format!("Delete {id}?");
    let address = format!("/console/distributions/{id}");
    let status = text(&found.element, &["Status"]);
    let content = if is_true(&config_of(family, &found), &["Enabled"]) {
        html! {
            section {
                p { "It is enabled. A distribution is deleted only once it is disabled and every node knows." }
                p { a class="button" href={ (address) "/disable" } { "Disable it first" } }
            }
        }
    } else if status != "Deployed" {
        html! {
            section {
                p {
                    "It is disabled, but some nodes have yet to hear of it: "
                    span data-follow={ (address) "/status" } data-state=(status) { (deployed_state(status)) }
                }
                p { "It can be deleted once it is deployed. " a href={ (address) "/nodes" } { "See which nodes are behind" } "." }
                p { a class="button plain" href={ (address) "/delete" } { "Look again" } }
            }
        }
    } else {
        html! {
            section {
                p {
                    strong { (text(&found.element, &["DomainName"])) }
                    " and its alternate names stop to exist, for good: the domain is never given out again."
                }
                p { "The files in the bucket are not touched." }
            }
            (buttons(&visitor, &id, "delete", &found.etag, "Delete distribution"))
        }
    };
    ask(&visitor, &id, &title, StatusCode::OK, content)
}

/// POST `/console/distributions/ID/delete`.
pub(super) async fn delete(State(site): State<Site>, Path(id): Path<String>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    let (family, _) = match Subject::load_own(&site, &visitor, &id).await {
        Ok(own) => own,
        Err(answer) => return answer,
    };
    match Api::of(&site, &visitor).delete(family, &[&id], fields.text("etag")).await {
        Ok(()) => see_other("/console/distributions?done=deleted"),
        Err(error) => failure::refused(&visitor, &error),
    }
}
