//! Making a distribution.
//!
//! The form carries the caller reference it will be made with, so that the same form sent twice makes one distribution.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::TRAIL;
use super::settings::Settings;
use super::settings_form::{self, Choices};
use crate::api::ApiError;
use crate::console::calls::{Api, Family};
use crate::console::elements::text;
use crate::console::failure;
use crate::console::page::{Page, Problems, Section, see_other};
use crate::console::visitor::{Posted, Site, Visitor};

/// GET `/console/distributions/new`: streaming or download.
pub(super) async fn kinds(visitor: Visitor) -> Response {
    if !visitor.may_write() {
        return failure::read_only(&visitor);
    }
    let content = html! {
        p class="lead" { "Select a delivery method for your content." }
        div class="choices" {
            section {
                h2 { "Download" }
                p { "Files over HTTP or HTTPS, such as pages, pictures, and the player that plays your films." }
                a class="button" href="/console/distributions/new/web" { "Create a download distribution" }
            }
            section {
                h2 { "Streaming" }
                p { "Films and music over RTMP and its variants, seen while they are received." }
                a class="button" href="/console/distributions/new/streaming" { "Create a streaming distribution" }
            }
        }
    };
    Page::new("Create distribution", Section::Distributions, &visitor)
        .below(&TRAIL)
        .answer(StatusCode::OK, content)
}

/// What the form of settings offers `visitor`.
pub(super) async fn choices(
    site: &Site,
    visitor: &Visitor,
    origin_is_fixed: bool,
) -> Result<Choices, ApiError> {
    let view = site.context.views.borrow().clone();
    let offer = match origin_is_fixed {
        true => Default::default(),
        false => site.buckets.offered(&view, &visitor.principal.account).await,
    };
    let api = Api::of(site, visitor);
    let all = api.list(Family::Identity, &["cloudfront"], "CloudFrontOriginAccessIdentitySummary").await?;
    let pair =
        |one: &crate::api::xml::Element| (text(one, &["Id"]).to_owned(), text(one, &["Comment"]).to_owned());
    Ok(Choices { offer, identities: all.iter().map(pair).collect(), origin_is_fixed })
}

async fn page(
    site: &Site,
    visitor: &Visitor,
    family: Family,
    settings: &Settings,
    reference: &str,
    status: StatusCode,
    problems: &Problems,
) -> Response {
    let choices = match choices(site, visitor, false).await {
        Ok(choices) => choices,
        Err(error) => return failure::refused(visitor, &error),
    };
    let title = match family {
        Family::Streaming => "Create a streaming distribution",
        _ => "Create a download distribution",
    };
    let content = html! {
        (problems.summary())
        @if family == Family::Web {
            div class="note warn" {
                p { "Edges don't deliver over HTTP yet: the distribution is kept, and its page names what is not served." }
            }
        }
        form method="post" action={ "/console/distributions/new/" (family.word()) } novalidate {
            (visitor.form_token())
            input type="hidden" name="reference" value=(reference);
            (settings_form::fields(family, settings, &choices, problems))
            div class="actions" {
                button { "Create distribution" }
                a href="/console/distributions" { "Cancel" }
            }
        }
    };
    let trail = [TRAIL[0], ("/console/distributions/new", "Create distribution")];
    Page::new(title, Section::Distributions, visitor).below(&trail).answer(status, content)
}

/// A caller reference nobody has used.
pub(in crate::console) fn new_reference() -> String {
    format!("console-{}", hex::encode(rand::random::<[u8; 12]>()))
}

/// GET `/console/distributions/new/KIND`.
pub(super) async fn form(State(site): State<Site>, visitor: Visitor, Path(kind): Path<String>) -> Response {
    let Some(family) = Family::of_word(&kind) else { return failure::not_found(&visitor) };
    if !visitor.may_write() {
        return failure::read_only(&visitor);
    }
    page(&site, &visitor, family, &Settings::fresh(), &new_reference(), StatusCode::OK, &Problems::none())
        .await
}

/// POST `/console/distributions/new/KIND`.
pub(super) async fn create(State(site): State<Site>, Path(kind): Path<String>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    let Some(family) = Family::of_word(&kind) else { return failure::not_found(&visitor) };
    let settings = Settings::from_form(&fields, family);
    let reference = match fields.text("reference") {
        "" => new_reference(),
        given => given.to_owned(),
    };
    let problems = settings.problems(&fields);
    if !problems.is_empty() {
        return page(&site, &visitor, family, &settings, &reference, StatusCode::BAD_REQUEST, &problems)
            .await;
    }
    let config = settings.new_config(family, &reference);
    match Api::of(&site, &visitor).create(family, &[], config).await {
        Ok(found) => {
            see_other(&format!("/console/distributions/{}?done=created", text(&found.element, &["Id"])))
        }
        Err(error) => {
            let problems = failure::problems(&error);
            page(&site, &visitor, family, &settings, &reference, error.status, &problems).await
        }
    }
}
