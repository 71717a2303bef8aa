//! The list of an account's distributions, by id, in pages, and found by text.

use axum::extract::{Query, State};
use axum::response::Response;
use futures::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proto::v1::Distribution;
use serde::Deserialize;

use super::{Family, family_of, status_word};
use crate::api::ApiError;
use crate::console::failure;
use crate::console::page::{Field, Page, Problems, Section, deployed_state, enabled_state};
use crate::console::visitor::{Site, Visitor};
use crate::documents;
use crate::lifecycle::{self, Change};
use crate::store::StoreError;

/// Rows of a page.
const ROWS: usize = 25;
/// Documents of a page that are read at once.
const READS: usize = 8;

/// `?page=2&find=films&done=deleted`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    page: usize,
    find: String,
    done: String,
}

struct Row {
    document: Distribution,
    status: &'static str,
    is_declared: bool,
}

fn matches(document: &Distribution, wanted: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(wanted);
    has(&document.id)
        || has(&document.domain)
        || has(&document.origin_host)
        || has(&document.comment)
        || document.aliases.iter().any(|alias| has(alias))
}

async fn row(site: &Site, document: Distribution) -> Result<Option<Row>, StoreError> {
    let kind = match family_of(&document) {
        Family::Streaming => "streaming-distribution",
        _ => "distribution",
    };
    let key = format!("{}{kind}/{}/{}", documents::API, document.account, document.id);
    let made_by_api = site.context.store.get(&key).await?.is_some();
    // The document's own revision says what is deployed; the list itself is of what this replica has heard of.
    let Some(stored) = documents::distribution(&*site.context.store, &document.id).await? else {
        return Ok(None);
    };
    let view = site.context.views.borrow().clone();
    let deployed = lifecycle::is_deployed(&view, &Change::of(&stored.document, stored.modified));
    let row = Row {
        status: status_word(&stored.document, deployed),
        is_declared: !made_by_api,
        document: stored.document,
    };
    Ok(Some(row))
}

/// GET `/console/distributions`.
pub(super) async fn page(State(site): State<Site>, visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    let view = site.context.views.borrow().clone();
    let wanted = asked.find.trim().to_lowercase();
    let own = view.distributions.values().filter(|d| d.account == visitor.principal.account);
    let found: Vec<_> = own.filter(|d| wanted.is_empty() || matches(d, &wanted)).cloned().collect();
    let pages = found.len().div_ceil(ROWS).max(1);
    let number = asked.page.clamp(1, pages);
    let shown = found.iter().skip((number - 1) * ROWS).take(ROWS).map(|d| row(&site, (**d).clone()));
    let rows: Result<Vec<_>, StoreError> =
        stream::iter(shown.collect::<Vec<_>>()).buffered(READS).try_collect().await;
    let rows: Vec<Row> = match rows {
        Ok(rows) => rows.into_iter().flatten().collect(),
        Err(error) => return failure::refused(&visitor, &ApiError::from(error)),
    };
    let content = html! {
        @if asked.done == "deleted" {
            div class="note" role="status" { p { "The distribution was deleted." } }
        }
        @if visitor.may_write() {
            div class="actions" { a class="button" href="/console/distributions/new" { "Create distribution" } }
        }
        form class="inline" method="get" action="/console/distributions" role="search" {
            (Field { name: "find", label: "Find", hint: "", problems: &Problems::none() }
                .line("search", &asked.find, "off", false))
            button class="plain" { "Find" }
        }
        section { (table(&rows, found.len(), &asked.find)) (paging(number, pages, &asked.find)) }
    };
    Page::new("Distributions", Section::Distributions, &visitor).answer(StatusCode::OK, content)
}

fn table(rows: &[Row], total: usize, find: &str) -> Markup {
    if rows.is_empty() {
        return html! {
            p class="empty" {
                @if find.trim().is_empty() { "There are no distributions yet." } @else { "None has this text." }
            }
        };
    }
    html! {
        div class="scroll" tabindex="0" role="region" aria-label="Distributions" {
            table {
                caption { (total) @if total == 1 { " distribution" } @else { " distributions" } ", by id" }
                thead {
                    tr {
                        @for name in ["Id", "Delivery", "Domain and names", "Origin", "Comment", "Status", "State"] {
                            th scope="col" { (name) }
                        }
                    }
                }
                tbody {
                    @for Row { document, status, is_declared } in rows {
                        tr {
                            th scope="row" {
                                a class="id" href={ "/console/distributions/" (document.id) } { (document.id) }
                                @if *is_declared { span class="less" { "by the operator's file" } }
                            }
                            td { @if family_of(document) == Family::Streaming { "Streaming" } @else { "Download" } }
                            td {
                                (document.domain)
                                @for alias in document.aliases.iter().take(3) { span class="less" { (alias) } }
                                @if document.aliases.len() > 3 { span class="less" { "and " (document.aliases.len() - 3) " more" } }
                            }
                            td { (document.origin_host) }
                            td { (document.comment) }
                            td { (deployed_state(status)) }
                            td { (enabled_state(document.enabled)) }
                        }
                    }
                }
            }
        }
    }
}

fn paging(number: usize, pages: usize, find: &str) -> Markup {
    let find = utf8_percent_encode(find, NON_ALPHANUMERIC).to_string();
    let to = |page: usize| format!("/console/distributions?page={page}&find={find}");
    html! {
        @if pages > 1 {
            nav class="actions" aria-label="Pages" {
                @if number > 1 { a href=(to(number - 1)) rel="prev" { "Previous page" } }
                span { "Page " (number) " of " (pages) }
                @if number < pages { a href=(to(number + 1)) rel="next" { "Next page" } }
            }
        }
    }
}
