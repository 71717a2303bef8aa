//! A distribution's tags.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::{Subject, TRAIL, Tab};
use crate::api::xml::Element;
use crate::console::calls::{Api, Family};
use crate::console::elements::{at, text};
use crate::console::failure;
use crate::console::page::{Field, Page, Problems, Section, see_other};
use crate::console::visitor::{Posted, Site, Visitor};

/// GET `/console/distributions/ID/tags`.
pub(super) async fn page(State(site): State<Site>, visitor: Visitor, Path(id): Path<String>) -> Response {
    show(&site, &visitor, &id, ("", ""), StatusCode::OK, &Problems::none()).await
}

async fn show(
    site: &Site,
    visitor: &Visitor,
    id: &str,
    (key, value): (&str, &str),
    status: StatusCode,
    problems: &Problems,
) -> Response {
    let subject = match Subject::load(site, visitor, id).await {
        Ok(subject) => subject,
        Err(answer) => return answer,
    };
    let Subject::Own { found, .. } = &subject else { return failure::not_found(visitor) };
    let arn = text(&found.element, &["ARN"]);
    let tags = match Api::of(site, visitor).get(Family::Tagging, &[], &[("Resource", arn)]).await {
        Ok(tags) => tags.element,
        Err(error) => return failure::refused(visitor, &error),
    };
    let tags: Vec<&Element> =
        at(&tags, &["Items"]).map(|all| all.children("Tag").collect()).unwrap_or_default();
    let address = format!("/console/distributions/{id}/tags");
    let field = |name, label, hint| Field { name, label, hint, problems };
    let content = html! {
        (problems.summary())
        (subject.facts(site).top(id, &found.etag, visitor, Tab::Tags))
        section {
            h2 { "Tags" }
            @if tags.is_empty() { p class="empty" { "None." } } @else {
                div class="scroll" tabindex="0" role="region" aria-label="Tags" { table {
                    caption { (tags.len()) " of this distribution" }
                    thead { tr { th scope="col" { "Key" } th scope="col" { "Value" } @if visitor.may_write() { th scope="col" { "Remove" } } } }
                    tbody {
                        @for tag in tags {
                            @let key = text(tag, &["Key"]);
                            tr {
                                th scope="row" { (key) }
                                td { (text(tag, &["Value"])) }
                                @if visitor.may_write() {
                                    td {
                                        form method="post" action=(address) {
                                            (visitor.form_token())
                                            input type="hidden" name="remove" value=(key);
                                            button class="plain small" aria-label={ "Remove the tag " (key) } { "Remove" }
                                        }
                                    }
                                }
                            }
                        }
                    }
                } }
            }
        }
        @if visitor.may_write() {
            form class="sheet" method="post" action=(address) novalidate {
                h2 { "Set a tag" }
                (visitor.form_token())
                (field("tags", "Key", "Up to 128 characters. A key that is there gets the new value.").line("text", key, "off", true))
                (field("value", "Value", "").line("text", value, "off", false))
                button { "Set tag" }
            }
        }
    };
    Page::new(id, Section::Distributions, visitor).below(&TRAIL).answer(status, content)
}

/// POST `/console/distributions/ID/tags`.
pub(super) async fn change(State(site): State<Site>, Path(id): Path<String>, posted: Posted) -> Response {
    let Posted { visitor, fields } = posted;
    let (_, found) = match Subject::load_own(&site, &visitor, &id).await {
        Ok(own) => own,
        Err(answer) => return answer,
    };
    let arn = text(&found.element, &["ARN"]).to_owned();
    let api = Api::of(&site, &visitor);
    let (key, value) = (fields.text("tags"), fields.text("value"));
    let done = match fields.raw("remove") {
        "" => {
            let tag = Element::new("Tag").with_text("Key", key).with_text("Value", value);
            api.tagging("Tag", &arn, Element::new("Tags").with(Element::new("Items").with(tag))).await
        }
        gone => {
            let items = Element::new("Items").with_text("Key", gone);
            api.tagging("Untag", &arn, Element::new("TagKeys").with(items)).await
        }
    };
    match done {
        Ok(()) => see_other(&format!("/console/distributions/{id}/tags")),
        Err(error) => {
            let problems = Problems::one("tags", failure::words(&error));
            show(&site, &visitor, &id, (key, value), error.status, &problems).await
        }
    }
}
