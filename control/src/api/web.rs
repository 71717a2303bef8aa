//! Web ("download") distributions: kept, published, and honest about what edges can't do.
//!
//! A config is stored as it came, in the newest schema (the flat ones of before 2012-05-05 are [translated](legacy)), and shown in the
//! [schema] of the version asked. Its names are claimed like a streaming distribution's and its bucket is [published](publish), so that an
//! edge knows the host, but HTTP delivery is not built: the status of an enabled one says so, and names every other
//! member that nothing enforces ([`unsupported`]). A disabled one is `Deployed` once every node has it, as nothing was asked of them.
//!
//! Routes: `distribution[/ID[/config]]`, `?WithTags`; below `distribution/ID/invalidation` see [`super::invalidation`].

mod build;
mod check;
pub(crate) mod config;
mod legacy;
mod operations;
mod publish;
mod render;
mod schema;
mod unsupported;

use http::Method;

pub use build::{S3Web, aliases, logging};
pub use config::WebConfig;
pub use operations::{WebDistribution, create, delete, get, list, update};
pub(crate) use publish::credential;

use super::held::body;
use super::paging::PageRequest;
use super::{ApiError, Call, Context, Reply, tagging};

const WITH_TAGS: &str = "DistributionConfigWithTags";

/// Answers a call below `distribution`.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let (principal, version) = (&call.principal, call.version);
    let if_match = call.if_match.as_deref();
    let limits = &context.config.limits;
    match (&call.method, path.as_slice()) {
        (_, [_, "invalidation", ..]) => super::invalidation::handle(context, call).await,
        (&Method::POST, []) => {
            let (config, tags) = if call.query("WithTags").is_some() {
                let both = body(call, WITH_TAGS)?;
                let member = |name: &str| {
                    both.child(name).ok_or_else(|| ApiError::invalid_argument(format!("{name}: is missing")))
                };
                (member(config::ROOT)?, tagging::read_tags(member("Tags")?)?)
            } else {
                (body(call, config::ROOT)?, Vec::new())
            };
            let config = WebConfig::of(render::tree(config, version)?, limits)?;
            let made = create(context, principal, version, config, tags).await?;
            let location = format!("distribution/{}", made.id);
            Ok(Reply::created(location, render::distribution(&made, version)).with_etag(made.etag))
        }
        (&Method::GET, []) => {
            let page = list(context, principal, PageRequest::of(call, limits)?).await?;
            Ok(Reply::ok(render::list(page, version)))
        }
        (&Method::GET, [id]) => {
            let known = get(context, principal, id).await?;
            Ok(Reply::ok(render::distribution(&known, version)).with_etag(known.etag))
        }
        (&Method::GET, [id, "config"]) => {
            let known = get(context, principal, id).await?;
            Ok(Reply::ok(render::config(&known.config, version)).with_etag(known.etag))
        }
        (&Method::PUT, [id, "config"]) => {
            let tree = render::tree(body(call, config::ROOT)?, version)?;
            let known = update(context, principal, version, id, if_match, tree).await?;
            Ok(Reply::ok(render::distribution(&known, version)).with_etag(known.etag))
        }
        (&Method::DELETE, [id]) => {
            delete(context, principal, id, if_match).await?;
            Ok(Reply::no_content())
        }
        (_, [] | [_] | [_, "config"]) => Err(ApiError::method_not_allowed()),
        _ => Err(ApiError::not_found("InvalidURI", "there is no such resource")),
    }
}

#[cfg(test)]
mod tests;
