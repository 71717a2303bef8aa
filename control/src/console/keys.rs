//! The keys of an account: access keys that call the API, public keys that check signed names, groups of them, and the identities by which
//! shields read private buckets.

mod access;
mod groups;
mod identities;
mod public;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use maud::{Markup, html};

use super::page::{Page, Problems, Section};
use super::visitor::{Site, Visitor};

/// Everything below `/keys`.
pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/keys", get(access::page))
        .route("/keys/access/{id}/disable", get(access::confirm).post(access::disable))
        .route("/keys/public", get(public::page).post(public::create))
        .route("/keys/public/{id}/delete", post(public::delete))
        .route("/keys/groups", get(groups::page).post(groups::create))
        .route("/keys/groups/{id}/delete", post(groups::delete))
        .route("/keys/identities", get(identities::page).post(identities::create))
        .route("/keys/identities/{id}/delete", post(identities::delete))
}

/// The four lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tab {
    Access,
    Public,
    Groups,
    Identities,
}

const TABS: [(Tab, &str, &str); 4] = [
    (Tab::Access, "/console/keys", "Access keys"),
    (Tab::Public, "/console/keys/public", "Public keys"),
    (Tab::Groups, "/console/keys/groups", "Key groups"),
    (Tab::Identities, "/console/keys/identities", "Origin access identities"),
];

/// One of the lists as a page.
fn answer(visitor: &Visitor, tab: Tab, status: StatusCode, problems: &Problems, content: Markup) -> Response {
    let title = TABS.iter().find(|(other, ..)| *other == tab).map_or("Keys", |(_, _, name)| name);
    let content = html! {
        (problems.summary())
        nav class="tabs" aria-label="Kinds of keys" {
            ul {
                @for (other, address, name) in TABS {
                    li { a href=(address) aria-current=[(other == tab).then_some("page")] { (name) } }
                }
            }
        }
        (content)
    };
    Page::new(title, Section::Keys, visitor).answer(status, content)
}

/// A row's button that deletes, for those who may.
fn delete_button(visitor: &Visitor, address: &str, what: &str) -> Markup {
    html! {
        form method="post" action=(address) {
            (visitor.form_token())
            button class="plain small" aria-label={ "Delete " (what) } { "Delete" }
        }
    }
}
