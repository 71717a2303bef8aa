//! The account's access keys: which there are, and disabling one. They are made on the command line, where their secret is told once.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::{Tab, answer};
use crate::accounts::{AccountError, KeyChange};
use crate::api::ApiError;
use crate::console::failure;
use crate::console::page::{Page, Problems, Section, enabled_state, moment, see_other};
use crate::console::visitor::{Posted, Site, Visitor};

fn failed(visitor: &Visitor, error: AccountError) -> Response {
    match error {
        AccountError::NoSuchKey(_) | AccountError::NoSuchAccount(_) => failure::not_found(visitor),
        AccountError::Store(error) => failure::refused(visitor, &ApiError::from(error)),
        other => failure::refused(visitor, &ApiError::internal(other.to_string())),
    }
}

/// GET `/console/keys`.
pub(in crate::console) async fn page(State(site): State<Site>, visitor: Visitor) -> Response {
    let keys = match site.accounts.keys(Some(&visitor.principal.account)).await {
        Ok(keys) => keys,
        Err(error) => return failed(&visitor, error),
    };
    let content = html! {
        section {
            h2 { "Access keys" }
            p class="hint" { "They sign requests to the API and log in here. " code { "penstock-control keys" } " makes, enables and deletes them." }
            div class="scroll" tabindex="0" role="region" aria-label="Access keys" { table {
                caption { (keys.len()) " of account " (visitor.principal.account) }
                thead {
                    tr { @for name in ["Id", "May", "State", "Made", "Comment", "Disable"] { th scope="col" { (name) } } }
                }
                tbody {
                    @for key in &keys {
                        tr {
                            th scope="row" {
                                span class="id" { (key.id) }
                                @if key.id == visitor.principal.key_id { span class="less" { "you are logged in by it" } }
                            }
                            td { @if key.read_only { "read only" } @else { "read and write" } }
                            td { (enabled_state(!key.disabled)) }
                            td { (moment(key.created_ms)) }
                            td { (key.comment) }
                            td {
                                @if !key.disabled && visitor.may_write() {
                                    a href={ "/console/keys/access/" (key.id) "/disable" } aria-label={ "Disable " (key.id) } { "Disable" }
                                }
                            }
                        }
                    }
                }
            } }
        }
    };
    answer(&visitor, Tab::Access, StatusCode::OK, &Problems::none(), content)
}

/// GET `/console/keys/access/ID/disable`.
pub(in crate::console) async fn confirm(
    State(site): State<Site>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Response {
    if !visitor.may_write() {
        return failure::read_only(&visitor);
    }
    let keys = match site.accounts.keys(Some(&visitor.principal.account)).await {
        Ok(keys) => keys,
        Err(error) => return failed(&visitor, error),
    };
    let Some(key) = keys.iter().find(|key| key.id == id) else { return failure::not_found(&visitor) };
    let content = html! {
        section {
            p { "Requests signed by it are refused from now on, and whoever is logged in here by it is logged out." }
            @if key.id == visitor.principal.key_id {
                p { strong { "You are logged in by this key yourself." } }
            }
            p { "It can be enabled again on the command line only." }
        }
        div class="actions" {
            form method="post" action={ "/console/keys/access/" (key.id) "/disable" } {
                (visitor.form_token())
                button class="danger" { "Disable access key" }
            }
            a href="/console/keys" { "Cancel" }
        }
    };
    let title = format!("Disable {}?", key.id);
    let trail = [("/console/keys", "Access keys")];
    Page::new(&title, Section::Keys, &visitor).below(&trail).answer(StatusCode::OK, content)
}

/// POST `/console/keys/access/ID/disable`.
pub(in crate::console) async fn disable(
    State(site): State<Site>,
    Path(id): Path<String>,
    posted: Posted,
) -> Response {
    let account = &posted.visitor.principal.account;
    match site.accounts.change_key(&id, Some(account), KeyChange::Disable).await {
        Ok(_) => see_other("/console/keys"),
        Err(error) => failed(&posted.visitor, error),
    }
}
