//! Origin access identities: in whose name shields read a bucket.
//!
//! A distribution refers to one as `origin-access-identity/cloudfront/ID`, and only to one of its own account. By itself an identity opens
//! nothing: shields read with the S3 keys that an operator gave it ([`crate::lending::secrets`]), or with their own role where the account has a
//! grant for the bucket ([`crate::lending::grants`]); else they are refused by the bucket, and the viewer is told.
//!
//! Routes: `origin-access-identity/cloudfront[/ID[/config]]`. Every version since 2009-12-01 has them in one shape but for the list.

mod operations;
mod refer;
mod render;

use http::Method;

pub use operations::{Identity, IdentityConfig, create, delete, get, list, update};
pub(crate) use refer::{refer, reference};

use super::held::{body, check_caller_reference};
use super::paging::PageRequest;
use super::{ApiError, Call, Context, Reply};

/// What a distribution's reference begins with.
pub(crate) const REFERENCE: &str = "origin-access-identity/cloudfront/";
/// What a distribution's credential begins with that is an identity.
pub(crate) const CREDENTIAL: &str = "oai/";

/// Answers a call below `origin-access-identity`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let principal = &call.principal;
    let if_match = call.if_match.as_deref();
    match (&call.method, path.as_slice()) {
        (&Method::POST, ["cloudfront"]) => {
            let config = IdentityConfig::of(body(call, render::CONFIG)?)?;
            check_caller_reference(&config.caller_reference)?;
            let identity = create(context, principal, call.version, config).await?;
            let location = format!("{REFERENCE}{}", identity.id);
            Ok(Reply::created(location, render::identity(&identity)).with_etag(identity.etag))
        }
        (&Method::GET, ["cloudfront"]) => {
            let request = PageRequest::of(call, &context.config.limits)?;
            Ok(Reply::ok(render::list(list(context, principal, request).await?, call.version)))
        }
        (&Method::GET, ["cloudfront", id]) => {
            let identity = get(context, principal, id).await?;
            Ok(Reply::ok(render::identity(&identity)).with_etag(identity.etag))
        }
        (&Method::GET, ["cloudfront", id, "config"]) => {
            let identity = get(context, principal, id).await?;
            Ok(Reply::ok(render::config(&identity.config)).with_etag(identity.etag))
        }
        (&Method::PUT, ["cloudfront", id, "config"]) => {
            let config = IdentityConfig::of(body(call, render::CONFIG)?)?;
            let identity = update(context, principal, call.version, id, if_match, config).await?;
            Ok(Reply::ok(render::identity(&identity)).with_etag(identity.etag))
        }
        (&Method::DELETE, ["cloudfront", id]) => {
            delete(context, principal, id, if_match).await?;
            Ok(Reply::no_content())
        }
        (_, ["cloudfront"] | ["cloudfront", _] | ["cloudfront", _, "config"]) => {
            Err(ApiError::method_not_allowed())
        }
        _ => Err(ApiError::not_found("InvalidURI", "there is no such resource")),
    }
}

#[cfg(test)]
mod tests;
