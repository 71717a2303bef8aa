//! Public keys: what an account's signed names are checked by.
//!
//! A key's id is the Key-Pair-Id of names signed with its private half. Each key stands in the account's [signers](crate::lending::signers) document too, changed
//! in the same transaction, which is how nodes hear of it. Of a key nothing can be changed but its comment; one that a key group
//! holds can't be deleted.
//!
//! Routes: `public-key[/ID[/config]]`.

mod operations;
pub mod spki;

use http::Method;

pub(in crate::api) use operations::check_name;
pub use operations::{PublicKey, PublicKeyConfig, create, delete, get, list, update};

use super::held::{self, body, timestamp};
use super::paging::PageRequest;
use super::xml::Element;
use super::{ApiError, Call, Context, Reply};

const CONFIG: &str = "PublicKeyConfig";

/// Answers a call below `public-key`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let principal = &call.principal;
    let if_match = call.if_match.as_deref();
    match (&call.method, path.as_slice()) {
        (&Method::POST, []) => {
            let config = PublicKeyConfig::of(body(call, CONFIG)?)?;
            let key = create(context, principal, call.version, config).await?;
            let location = format!("public-key/{}", key.id);
            Ok(Reply::created(location, rendered(&key)).with_etag(key.etag))
        }
        (&Method::GET, []) => {
            let request = PageRequest::of(call, &context.config.limits)?;
            let keys = list(context, principal, request).await?;
            Ok(Reply::ok(held::bare_list(
                "PublicKeyList",
                keys.filter_map(|key| Some(summary(key))),
                call.version,
            )))
        }
        (&Method::GET, [id]) => {
            let key = get(context, principal, id).await?;
            Ok(Reply::ok(rendered(&key)).with_etag(key.etag))
        }
        (&Method::GET, [id, "config"]) => {
            let key = get(context, principal, id).await?;
            Ok(Reply::ok(key.config.element()).with_etag(key.etag))
        }
        (&Method::PUT, [id, "config"]) => {
            let config = PublicKeyConfig::of(body(call, CONFIG)?)?;
            let key = update(context, principal, call.version, id, if_match, config).await?;
            Ok(Reply::ok(rendered(&key)).with_etag(key.etag))
        }
        (&Method::DELETE, [id]) => {
            delete(context, principal, id, if_match).await?;
            Ok(Reply::no_content())
        }
        (_, [] | [_] | [_, "config"]) => Err(ApiError::method_not_allowed()),
        _ => Err(ApiError::not_found("InvalidURI", "there is no such resource")),
    }
}

fn rendered(key: &PublicKey) -> Element {
    Element::new("PublicKey")
        .with_text("Id", key.id.clone())
        .with_text("CreatedTime", timestamp(key.created_ms))
        .with(key.config.element())
}

fn summary(key: PublicKey) -> Element {
    Element::new("PublicKeySummary")
        .with_text("Id", key.id)
        .with_text("Name", key.config.name)
        .with_text("CreatedTime", timestamp(key.created_ms))
        .with_text("EncodedKey", key.config.encoded_key)
        .with_text("Comment", key.config.comment)
}

#[cfg(test)]
mod tests;
