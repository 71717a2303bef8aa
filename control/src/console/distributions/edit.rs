//! Changing a distribution's settings.
//!
//! The form carries the ETag of what it showed. If somebody else has changed the distribution since, nothing is written: the form comes
//! back with what was entered, says what is otherwise now, and carries the new ETag, so that sending it again is a decision.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use super::Subject;
use super::create::choices;
use super::settings::Settings;
use super::{TRAIL, config_of, settings_form};
use crate::console::calls::{Api, Family, Found};
use crate::console::failure;
use crate::console::page::{Page, Problems, Section, see_other};
use crate::console::visitor::{Posted, Site, Visitor};

struct Shown<'a> {
    id: &'a str,
    family: Family,
    etag: &'a str,
    settings: &'a Settings,
    status: StatusCode,
    problems: &'a Problems,
    changed: Markup,
}

async fn page(site: &Site, visitor: &Visitor, shown: Shown<'_>) -> Response {
    let choices = match choices(site, visitor, shown.family == Family::Streaming).await {
        Ok(choices) => choices,
        Err(error) => return failure::refused(visitor, &error),
    };
    let address = format!("/console/distributions/{}", shown.id);
    let content = html! {
        (shown.problems.summary())
        (shown.changed)
        form method="post" action={ (address) "/edit" } novalidate {
            (visitor.form_token())
            input type="hidden" name="etag" value=(shown.etag);
            (settings_form::fields(shown.family, shown.settings, &choices, shown.problems))
            div class="actions" {
                button { "Save changes" }
                a href=(address) { "Cancel" }
            }
        }
    };
    let title = format!("Edit {}", shown.id);
    let trail = [TRAIL[0], (address.as_str(), shown.id)];
    Page::new(&title, Section::Distributions, visitor).below(&trail).answer(shown.status, content)
}

/// GET `/console/distributions/ID/edit`.
pub(super) async fn form(State(site): State<Site>, visitor: Visitor, Path(id): Path<String>) -> Response {
    if !visitor.may_write() {
        return failure::read_only(&visitor);
    }
    let (family, found) = match Subject::load_own(&site, &visitor, &id).await {
        Ok(own) => own,
        Err(answer) => return answer,
    };
    let settings = Settings::from_config(&config_of(family, &found), family);
    let (etag, problems) = (&found.etag, Problems::none());
    let (status, changed) = (StatusCode::OK, Markup::default());
    page(
        &site,
        &visitor,
        Shown { id: &id, family, etag, settings: &settings, status, problems: &problems, changed },
    )
    .await
}

/// POST `/console/distributions/ID/edit`.
pub(super) async fn update(State(site): State<Site>, Path(id): Path<String>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    let (family, found) = match Subject::load_own(&site, &visitor, &id).await {
        Ok(own) => own,
        Err(answer) => return answer,
    };
    let settings = Settings::from_form(&fields, family);
    let etag = fields.text("etag").to_owned();
    let shown = |status, etag, problems, changed| Shown {
        id: &id,
        family,
        etag,
        settings: &settings,
        status,
        problems,
        changed,
    };
    if etag != found.etag {
        return overtaken(&site, &visitor, &id, family, &settings, found).await;
    }
    let problems = settings.problems(&fields);
    if !problems.is_empty() {
        return page(&site, &visitor, shown(StatusCode::BAD_REQUEST, &etag, &problems, Markup::default()))
            .await;
    }
    let mut config = config_of(family, &found);
    settings.write(&mut config, family);
    match Api::of(&site, &visitor).update(family, &[&id, "config"], &etag, config).await {
        Ok(_) => see_other(&format!("/console/distributions/{id}?done=updated")),
        Err(error) if error.status == StatusCode::PRECONDITION_FAILED => {
            match Subject::load_own(&site, &visitor, &id).await {
                Ok((_, found)) => overtaken(&site, &visitor, &id, family, &settings, found).await,
                Err(answer) => answer,
            }
        }
        Err(error) => {
            let problems = failure::problems(&error);
            page(&site, &visitor, shown(error.status, &etag, &problems, Markup::default())).await
        }
    }
}

/// Somebody else was first.
async fn overtaken(
    site: &Site,
    visitor: &Visitor,
    id: &str,
    family: Family,
    settings: &Settings,
    found: Found,
) -> Response {
    let mut settings = settings.clone();
    let current = Settings::from_config(&config_of(family, &found), family);
    let differences = settings.differences(&current);
    if family == Family::Streaming {
        settings.origin.clone_from(&current.origin);
    }
    let text = "The distribution was changed since you opened this page, so nothing was saved (PreconditionFailed). \
                What you entered is below; saving it now replaces what was changed.";
    let problems = Problems::one("", text);
    let changed = html! {
        section {
            h2 { "What is otherwise now" }
            @if differences.is_empty() {
                p { "Nothing that this form shows." }
            } @else {
                dl { @for (what, now) in &differences { dt { (what) } dd { @if now.is_empty() { "(empty)" } @else { (now) } } } }
            }
        }
    };
    let status = StatusCode::PRECONDITION_FAILED;
    let (etag, problems) = (&found.etag, &problems);
    page(site, visitor, Shown { id, family, etag, settings: &settings, status, problems, changed }).await
}
