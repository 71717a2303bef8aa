//! Origin access identities: by which shields read private buckets.

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
use crate::console::page::{Field, Problems, see_other, state};
use crate::console::visitor::{Posted, Site, Visitor};

/// GET `/console/keys/identities`.
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
    let listed = Api::of(site, visitor)
        .list(Family::Identity, &["cloudfront"], "CloudFrontOriginAccessIdentitySummary")
        .await;
    let all = match listed {
        Ok(all) => all,
        Err(error) => return failure::refused(visitor, &error),
    };
    let view = site.context.views.borrow().clone();
    let field = |name, label, hint| Field { name, label, hint, problems };
    let content = html! {
        section {
            h2 { "Origin access identities" }
            p class="hint" {
                "A distribution with an identity reads its bucket by the identity's own S3 keys, or by the shields' own role in buckets that are granted to this account. "
                "Both are set up on the command line."
            }
            @if all.is_empty() { p class="empty" { "None." } } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Origin access identities" { table {
                    caption { (all.len()) " of this account" }
                    thead { tr { @for name in ["Id", "Comment", "S3 keys", "Delete"] { th scope="col" { (name) } } } }
                    tbody {
                        @for one in &all {
                            @let id = text(one, &["Id"]);
                            tr {
                                th scope="row" class="id" { (id) }
                                td { (text(one, &["Comment"])) }
                                td {
                                    @if view.origin_secrets.contains_key(&format!("oai/{id}")) { (state("good", "Its own")) }
                                    @else { (state("off", "Shields' role")) }
                                }
                                td { @if visitor.may_write() { (delete_button(visitor, &format!("/console/keys/identities/{id}/delete"), id)) } }
                            }
                        }
                    }
                } }
            }
        }
        @if visitor.may_write() {
            form class="sheet" method="post" action="/console/keys/identities" novalidate {
                h2 { "Add an identity" }
                (visitor.form_token())
                (field("comment", "Comment", "For you, such as the bucket's name.").line("text", fields.text("comment"), "off", false))
                button { "Add identity" }
            }
        }
    };
    answer(visitor, Tab::Identities, status, problems, content)
}

/// POST `/console/keys/identities`.
pub(in crate::console) async fn create(State(site): State<Site>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    let config = Element::new("CloudFrontOriginAccessIdentityConfig")
        .with_text("CallerReference", crate::console::distributions::new_reference())
        .with_text("Comment", fields.text("comment"));
    match Api::of(&site, &visitor).create(Family::Identity, &["cloudfront"], config).await {
        Ok(_) => see_other("/console/keys/identities"),
        Err(error) => show(&site, &visitor, &fields, error.status, &failure::problems(&error)).await,
    }
}

/// POST `/console/keys/identities/ID/delete`.
pub(in crate::console) async fn delete(
    State(site): State<Site>,
    Path(id): Path<String>,
    posted: Posted,
) -> Response {
    match Api::of(&site, &posted.visitor).delete_newest(Family::Identity, &["cloudfront", &id]).await {
        Ok(()) => see_other("/console/keys/identities"),
        Err(error) => failure::refused(&posted.visitor, &error),
    }
}
