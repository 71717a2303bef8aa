//! Key groups: sets of public keys, for web distributions.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::{Tab, answer, delete_button};
use crate::api::xml::Element;
use crate::console::calls::{Api, Family};
use crate::console::elements::{at, items, text};
use crate::console::failure;
use crate::console::form::Fields;
use crate::console::page::{Field, Problems, see_other};
use crate::console::visitor::{Posted, Site, Visitor};

/// GET `/console/keys/groups`.
pub(in crate::console) async fn page(State(site): State<Site>, visitor: Visitor) -> Response {
    show(&site, &visitor, &Fields::default(), StatusCode::OK, &Problems::none()).await
}

async fn show(
    site: &Site,
    visitor: &Visitor,
    fields: &Fields,
    status: StatusCode,
    problems: &Problems,
) -> Response {
    let api = Api::of(site, visitor);
    let groups = match api.list(Family::KeyGroup, &[], "KeyGroupSummary").await {
        Ok(groups) => groups,
        Err(error) => return failure::refused(visitor, &error),
    };
    let groups: Vec<&Element> = groups.iter().filter_map(|summary| summary.child("KeyGroup")).collect();
    let keys = match api.list(Family::PublicKey, &[], "PublicKeySummary").await {
        Ok(keys) => keys,
        Err(error) => return failure::refused(visitor, &error),
    };
    let field = |name, label, hint| Field { name, label, hint, problems };
    let content = html! {
        section {
            h2 { "Key groups" }
            p class="hint" { "For web distributions. Streaming distributions name accounts that sign, not groups." }
            @if groups.is_empty() { p class="empty" { "None." } } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Key groups" { table {
                    caption { (groups.len()) " of this account" }
                    thead { tr { @for name in ["Id", "Name", "Public keys", "Comment", "Delete"] { th scope="col" { (name) } } } }
                    tbody {
                        @for group in groups {
                            @let id = text(group, &["Id"]);
                            @let config = at(group, &["KeyGroupConfig"]).unwrap_or(group);
                            tr {
                                th scope="row" class="id" { (id) }
                                td { (text(config, &["Name"])) }
                                td { ul { @for key in items(config, &[], "PublicKey") { li class="id" { (key) } } } }
                                td { (text(config, &["Comment"])) }
                                td { @if visitor.may_write() { (delete_button(visitor, &format!("/console/keys/groups/{id}/delete"), id)) } }
                            }
                        }
                    }
                } }
            }
        }
        @if visitor.may_write() {
            form class="sheet" method="post" action="/console/keys/groups" novalidate {
                h2 { "Add a key group" }
                (visitor.form_token())
                (field("name", "Name", "").line("text", fields.text("name"), "off", true))
                @if keys.is_empty() {
                    p class="hint" { "It needs public keys: " a href="/console/keys/public" { "add one first" } "." }
                } @else {
                    (field("keys", "Public keys", "Ids, one on a line.").lines(fields.raw("keys"), 3))
                    p class="hint" {
                        "There are "
                        @for (i, key) in keys.iter().enumerate() { @if i > 0 { ", " } span class="id" { (text(key, &["Id"])) } " (" (text(key, &["Name"])) ")" }
                        "."
                    }
                }
                (field("comment", "Comment", "").line("text", fields.text("comment"), "off", false))
                button { "Add key group" }
            }
        }
    };
    answer(visitor, Tab::Groups, status, problems, content)
}

/// POST `/console/keys/groups`.
pub(in crate::console) async fn create(State(site): State<Site>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    let mut keys = Element::new("Items");
    keys.children.extend(fields.entries("keys").into_iter().map(|key| Element::text("PublicKey", key)));
    let config = Element::new("KeyGroupConfig")
        .with_text("Name", fields.text("name"))
        .with(keys)
        .with_text("Comment", fields.text("comment"));
    match Api::of(&site, &visitor).create(Family::KeyGroup, &[], config).await {
        Ok(_) => see_other("/console/keys/groups"),
        Err(error) => show(&site, &visitor, &fields, error.status, &failure::problems(&error)).await,
    }
}

/// POST `/console/keys/groups/ID/delete`.
pub(in crate::console) async fn delete(
    State(site): State<Site>,
    Path(id): Path<String>,
    posted: Posted,
) -> Response {
    match Api::of(&site, &posted.visitor).delete_newest(Family::KeyGroup, &[&id]).await {
        Ok(()) => see_other("/console/keys/groups"),
        Err(error) => failure::refused(&posted.visitor, &error),
    }
}
