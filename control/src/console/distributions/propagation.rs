//! Which nodes have a distribution as it is now.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use maud::html;

use super::{Subject, TRAIL, Tab};
use crate::api::ApiError;
use crate::console::failure;
use crate::console::nodes::{self, Wanted};
use crate::console::page::{Page, Section};
use crate::console::visitor::{Site, Visitor};
use crate::documents;

/// GET `/console/distributions/ID/nodes`.
pub(super) async fn page(State(site): State<Site>, visitor: Visitor, Path(id): Path<String>) -> Response {
    let subject = match Subject::load(&site, &visitor, &id).await {
        Ok(subject) => subject,
        Err(answer) => return answer,
    };
    let stored = match documents::distribution(&*site.context.store, &id).await {
        Ok(stored) => stored,
        Err(error) => return failure::refused(&visitor, &ApiError::from(error)),
    };
    let (modified, features) =
        stored.map_or((0, Vec::new()), |stored| (stored.modified, stored.document.required_features));
    let view = site.context.views.borrow().clone();
    let nodes = nodes::rows(&site, Some(Wanted { id: &id, features: &features }));
    let etag = match &subject {
        Subject::Own { found, .. } => found.etag.as_str(),
        Subject::Declared { .. } => "",
    };
    let content = html! {
        (subject.facts(&site).top(&id, etag, &visitor, Tab::Nodes))
        section {
            h2 { "Propagation" }
            dl {
                dt { "Revision of its last change" } dd { (modified) }
                dt { "Deployed on every node" } dd { @if view.deployed_floor == 0 { "none yet" } @else { "up to " (view.deployed_floor) } }
                @if !features.is_empty() { dt { "Features nodes need" } dd { (features.join(", ")) } }
            }
        }
        section { h2 { "Nodes" } (nodes::table(&nodes, modified, "Edges and shields by id", "This distribution")) }
    };
    Page::new(&id, Section::Distributions, &visitor).below(&TRAIL).answer(StatusCode::OK, content)
}
