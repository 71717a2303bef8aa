//! Key groups: sets of an account's public keys, for the trusted key groups of web distributions.
//!
//! Streaming distributions know trusted signers only, whose keys need no group. A group names keys of its own account, each once; its
//! name is unique in the account, kept so by the document that remembers caller references, which a group has none of.
//!
//! Routes: `key-group[/ID[/config]]`; the update goes to `key-group/ID`, as the SDKs send it.

mod operations;

use http::Method;

pub use operations::{KeyGroup, KeyGroupConfig, create, delete, get, list, update};
pub(crate) use operations::{holds, load};

use super::held::{self, body, timestamp};
use super::paging::PageRequest;
use super::xml::Element;
use super::{ApiError, Call, Context, Reply};

const CONFIG: &str = "KeyGroupConfig";

/// Answers a call below `key-group`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let principal = &call.principal;
    let if_match = call.if_match.as_deref();
    match (&call.method, path.as_slice()) {
        (&Method::POST, []) => {
            let config = KeyGroupConfig::of(body(call, CONFIG)?)?;
            let group = create(context, principal, call.version, config).await?;
            let location = format!("key-group/{}", group.id);
            Ok(Reply::created(location, rendered(&group)).with_etag(group.etag))
        }
        (&Method::GET, []) => {
            let request = PageRequest::of(call, &context.config.limits)?;
            let groups = list(context, principal, request).await?;
            let summary = |group| Some(Element::new("KeyGroupSummary").with(rendered(&group)));
            Ok(Reply::ok(held::bare_list("KeyGroupList", groups.filter_map(summary), call.version)))
        }
        (&Method::GET, [id]) => {
            let group = get(context, principal, id).await?;
            Ok(Reply::ok(rendered(&group)).with_etag(group.etag))
        }
        (&Method::GET, [id, "config"]) => {
            let group = get(context, principal, id).await?;
            Ok(Reply::ok(group.config.element()).with_etag(group.etag))
        }
        (&Method::PUT, [id] | [id, "config"]) => {
            let config = KeyGroupConfig::of(body(call, CONFIG)?)?;
            let group = update(context, principal, call.version, id, if_match, config).await?;
            Ok(Reply::ok(rendered(&group)).with_etag(group.etag))
        }
        (&Method::DELETE, [id]) => {
            delete(context, principal, id, if_match).await?;
            Ok(Reply::no_content())
        }
        (_, [] | [_] | [_, "config"]) => Err(ApiError::method_not_allowed()),
        _ => Err(ApiError::not_found("InvalidURI", "there is no such resource")),
    }
}

fn rendered(group: &KeyGroup) -> Element {
    Element::new("KeyGroup")
        .with_text("Id", group.id.clone())
        .with_text("LastModifiedTime", timestamp(group.modified_ms))
        .with(group.config.element())
}

#[cfg(test)]
mod tests;
