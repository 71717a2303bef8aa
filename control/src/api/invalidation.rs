//! Invalidations of web distributions: orders to forget paths before their time.
//!
//! Each path becomes a purge of what it names in every bucket of the distribution: a path that ends in `*` names all keys that begin with what
//! stands before it (`/*` all there are), any other one key, in which a `*` is a `*`. An invalidation is `InProgress` until every node says that it has
//! applied the config revision that holds its purges, which it says when it has forgotten; then it is `Completed`.
//!
//! RTMP objects could never be invalidated in CloudFront, so a streaming distribution is none here; an operator has `purge`.
//!
//! Routes: `distribution/ID/invalidation[/ID]`. Before 2012-05-05 paths stand in the batch directly.

mod operations;
mod paths;

use http::Method;

pub use operations::{Batch, Invalidation, create, get, list};
pub(crate) use operations::{forget, in_progress};

use super::held::{self, body, required, timestamp};
use super::paging::{PageRequest, with_items};
use super::xml::Element;
use super::{ApiError, Call, Context, Reply, Version};

const BATCH: &str = "InvalidationBatch";

/// Answers a call below `distribution/ID/invalidation`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let (principal, version) = (&call.principal, call.version);
    match (&call.method, path.as_slice()) {
        (&Method::POST, [distribution, "invalidation"]) => {
            let batch = batch_of(body(call, BATCH)?)?;
            let made = create(context, principal, version, distribution, batch).await?;
            let location = format!("distribution/{distribution}/invalidation/{}", made.id);
            Ok(Reply::created(location, rendered(&made, version)))
        }
        (&Method::GET, [distribution, "invalidation"]) => {
            let request = PageRequest::of(call, &context.config.limits)?;
            let page = list(context, principal, distribution, request).await?;
            let items = page.filter_map(|invalidation| Some(summary(&invalidation)));
            Ok(Reply::ok(held::list("InvalidationList", items, version)))
        }
        (&Method::GET, [distribution, "invalidation", id]) => {
            let known = get(context, principal, distribution, id).await?;
            Ok(Reply::ok(rendered(&known, version)))
        }
        (_, [_, "invalidation"] | [_, "invalidation", _]) => Err(ApiError::method_not_allowed()),
        _ => Err(ApiError::not_found("InvalidURI", "there is no such resource")),
    }
}

/// Reads a batch of any version.
fn batch_of(element: &Element) -> Result<Batch, ApiError> {
    let caller_reference = required(element, "CallerReference")?;
    let Some(list) = element.child("Paths") else {
        let paths = element.children("Path").map(|path| path.text.trim().to_owned()).collect();
        return Ok(Batch { caller_reference, paths });
    };
    let items = list.child("Items").into_iter().flat_map(|items| items.children("Path"));
    let paths: Vec<String> = items.map(|path| path.text.trim().to_owned()).collect();
    let quantity = required(list, "Quantity")?;
    if quantity.parse() != Ok(paths.len()) {
        let reason = format!("Paths: Quantity is {quantity}, and there are {} Items", paths.len());
        return Err(ApiError::bad_request("InconsistentQuantities", reason));
    }
    Ok(Batch { caller_reference, paths })
}

fn batch(batch: &Batch, version: Version) -> Element {
    let paths = batch.paths.iter().map(|path| Element::text("Path", path)).collect();
    let mut element = Element::new(BATCH);
    if version < Version::V2012_05_05 {
        element.children = paths;
    } else {
        element = element.with(with_items(Element::new("Paths"), paths));
    }
    element.with_text("CallerReference", &batch.caller_reference)
}

fn rendered(invalidation: &Invalidation, version: Version) -> Element {
    Element::new("Invalidation")
        .with_text("Id", &invalidation.id)
        .with_text("Status", invalidation.status())
        .with_text("CreateTime", timestamp(invalidation.created_ms))
        .with(batch(&invalidation.batch, version))
}

fn summary(invalidation: &Invalidation) -> Element {
    Element::new("InvalidationSummary")
        .with_text("Id", &invalidation.id)
        .with_text("CreateTime", timestamp(invalidation.created_ms))
        .with_text("Status", invalidation.status())
}

#[cfg(test)]
mod tests;
