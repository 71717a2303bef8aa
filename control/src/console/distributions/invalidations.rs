//! Invalidations of a web distribution: those made, and a form for another.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::create::new_reference;
use super::{Subject, TRAIL, Tab};
use crate::api::xml::Element;
use crate::console::calls::{Api, Family};
use crate::console::elements::{set_items, text};
use crate::console::failure;
use crate::console::page::{Field, Page, Problems, Section, see_other, state};
use crate::console::visitor::{Posted, Site, Visitor};

/// GET `/console/distributions/ID/invalidations`.
pub(super) async fn page(State(site): State<Site>, visitor: Visitor, Path(id): Path<String>) -> Response {
    show(&site, &visitor, &id, ("", &new_reference()), StatusCode::OK, &Problems::none()).await
}

async fn show(
    site: &Site,
    visitor: &Visitor,
    id: &str,
    (paths, reference): (&str, &str),
    status: StatusCode,
    problems: &Problems,
) -> Response {
    let subject = match Subject::load(site, visitor, id).await {
        Ok(subject) => subject,
        Err(answer) => return answer,
    };
    let Subject::Own { family: Family::Web, found } = &subject else { return failure::not_found(visitor) };
    let listed =
        Api::of(site, visitor).list(Family::Invalidation, &[id, "invalidation"], "InvalidationSummary").await;
    let all = match listed {
        Ok(all) => all,
        Err(error) => return failure::refused(visitor, &error),
    };
    let content = html! {
        (problems.summary())
        (subject.facts(site).top(id, &found.etag, visitor, Tab::Invalidations))
        section {
            h2 { "Invalidations" }
            @if all.is_empty() { p class="empty" { "None." } } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Invalidations" { table {
                    caption { "Newest first, as the API lists them" }
                    thead { tr { th scope="col" { "Id" } th scope="col" { "Made" } th scope="col" { "Status" } } }
                    tbody {
                        @for one in &all {
                            @let word = text(one, &["Status"]);
                            tr {
                                th scope="row" class="id" { (text(one, &["Id"])) }
                                td { (text(one, &["CreateTime"])) }
                                td { (state(if word == "Completed" { "good" } else { "busy" }, word)) }
                            }
                        }
                    }
                } }
            }
        }
        @if visitor.may_write() {
            form class="sheet" method="post" action={ "/console/distributions/" (id) "/invalidations" } novalidate {
                h2 { "Invalidate" }
                (visitor.form_token())
                input type="hidden" name="reference" value=(reference);
                (Field { name: "paths", label: "Paths", hint: "One on a line, such as /videos/film.mp4 or /videos/*.", problems }.lines(paths, 4))
                button { "Invalidate" }
            }
        }
    };
    Page::new(id, Section::Distributions, visitor).below(&TRAIL).answer(status, content)
}

/// POST `/console/distributions/ID/invalidations`.
pub(super) async fn create(State(site): State<Site>, Path(id): Path<String>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    if let Err(answer) = Subject::load_own(&site, &visitor, &id).await {
        return answer;
    }
    // A path may have spaces and commas: only line breaks part them.
    let paths: Vec<String> = fields
        .raw("paths")
        .lines()
        .map(str::trim)
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    let reference = fields.text("reference");
    let mut list = Element::new("Paths");
    set_items(&mut list, "Path", &paths);
    let batch = Element::new("InvalidationBatch").with(list).with_text("CallerReference", reference);
    match Api::of(&site, &visitor).create(Family::Invalidation, &[&id, "invalidation"], batch).await {
        Ok(_) => see_other(&format!("/console/distributions/{id}/invalidations")),
        Err(error) => {
            let problems = Problems::one("paths", failure::words(&error));
            show(&site, &visitor, &id, (fields.raw("paths"), reference), error.status, &problems).await
        }
    }
}
