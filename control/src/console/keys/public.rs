//! Public keys: what signed names are checked by.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::{Tab, answer, delete_button};
use crate::api::xml::Element;
use crate::console::calls::{Api, Family};
use crate::console::elements::text;
use crate::console::failure;
use crate::console::form::Fields;
use crate::console::page::{Field, Problems, see_other};
use crate::console::visitor::{Posted, Site, Visitor};

/// GET `/console/keys/public`.
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
    let keys = match Api::of(site, visitor).list(Family::PublicKey, &[], "PublicKeySummary").await {
        Ok(keys) => keys,
        Err(error) => return failure::refused(visitor, &error),
    };
    let field = |name, label, hint| Field { name, label, hint, problems };
    let content = html! {
        section {
            h2 { "Public keys" }
            p class="hint" { "A key's id is what signed names call Key-Pair-Id." }
            @if keys.is_empty() { p class="empty" { "None." } } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Public keys" { table {
                    caption { (keys.len()) " of this account" }
                    thead { tr { @for name in ["Id", "Name", "Made", "Comment", "Delete"] { th scope="col" { (name) } } } }
                    tbody {
                        @for key in &keys {
                            @let id = text(key, &["Id"]);
                            tr {
                                th scope="row" class="id" { (id) }
                                td { (text(key, &["Name"])) }
                                td { (text(key, &["CreatedTime"])) }
                                td { (text(key, &["Comment"])) }
                                td { @if visitor.may_write() { (delete_button(visitor, &format!("/console/keys/public/{id}/delete"), id)) } }
                            }
                        }
                    }
                } }
            }
        }
        @if visitor.may_write() {
            form class="sheet" method="post" action="/console/keys/public" novalidate {
                h2 { "Add a public key" }
                (visitor.form_token())
                (field("name", "Name", "").line("text", fields.text("name"), "off", true))
                (field("encoded_key", "Key", "RSA, in PEM, from -----BEGIN PUBLIC KEY----- on.").lines(fields.raw("encoded_key"), 9))
                (field("comment", "Comment", "").line("text", fields.text("comment"), "off", false))
                button { "Add public key" }
            }
        }
    };
    answer(visitor, Tab::Public, status, problems, content)
}

/// POST `/console/keys/public`.
pub(in crate::console) async fn create(State(site): State<Site>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    let config = Element::new("PublicKeyConfig")
        .with_text("CallerReference", crate::console::distributions::new_reference())
        .with_text("Name", fields.text("name"))
        .with_text("EncodedKey", format!("{}\n", fields.text("encoded_key")))
        .with_text("Comment", fields.text("comment"));
    match Api::of(&site, &visitor).create(Family::PublicKey, &[], config).await {
        Ok(_) => see_other("/console/keys/public"),
        Err(error) => show(&site, &visitor, &fields, error.status, &failure::problems(&error)).await,
    }
}

/// POST `/console/keys/public/ID/delete`.
pub(in crate::console) async fn delete(
    State(site): State<Site>,
    Path(id): Path<String>,
    posted: Posted,
) -> Response {
    match Api::of(&site, &posted.visitor).delete_newest(Family::PublicKey, &[&id]).await {
        Ok(()) => see_other("/console/keys/public"),
        Err(error) => failure::refused(&posted.visitor, &error),
    }
}
