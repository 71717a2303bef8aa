//! # Streaming (RTMP) distributions
//!
//! One stored document, read and written in every schema from 2009-12-01 on. A call goes [`handle`] → [`parse`] → an operation ([`create`],
//! [`update`], …; the console calls those itself) → [`render`]. [`schema`] tells the versions apart, [`rules`] what a config may say.
//!
//! Where CloudFront's documents are silent, contradict each other, or describe what would harm, this is what happens:
//!
//! * **A caller reference used again**: before 2018-11-05 the same config (white space aside) gets 201 and the distribution as it is now, since jets3t
//!   takes nothing but 201 for a create; another config, and from then on any, is 409 `StreamingDistributionAlreadyExists`. "The same" means the
//!   config of the first create, in whatever version, also after updates. The reference of a deleted distribution is free.
//! * **DNSName or DomainName**: `DomainName` is written from 2012-05-05 on; both are read in every version.
//! * **The origin can't be changed**, in any version (`IllegalUpdate`): no version's update declares `InvalidOrigin`, and viewers' positions in files
//!   must not come to mean another bucket's. Nor can the caller reference, except that 2012-05-05 keeps the stored one silently: its one client,
//!   jets3t 0.9.x, invents one in each update and forgets the origin when it disables.
//! * **Old versions update what new ones wrote.** CloudFront refused that before 2012-05-05, because an old document would have dropped what it can't
//!   say. Here it replaces what it can say and leaves the rest (signers, logs, price class, unknown elements) as it was, so nothing is lost, and
//!   a tool of 2009 isn't locked out of its own distribution by one look at it in the console.
//! * **`TrustedSigners` must be there** from 2012-05-05 on, also in an update, and `Enabled` must agree with the accounts: neither an omission nor a
//!   contradiction makes a private distribution public.
//! * **Delete while `InProgress`** is 409 `StreamingDistributionNotDisabled`, also when disabled: some node may still serve it.
//! * **A disabled distribution is Deployed** when every node has heard of it, also one that lacks a feature it requires: it serves nobody there.
//!   One that a node refuses as invalid, and serves by an older form, is not.
//! * **A name in the zone of generated domains** that has their form is 409 `CNAMEAlreadyExists`, whether or not it is in use.

pub mod change;
pub mod config;
pub mod parse;
pub mod render;
pub mod rules;
pub mod schema;
pub mod signers;
mod stored;

use http::Method;
use proto::distribution::SIGNED_NAMES;
use proto::v1::Tag;

use super::paging::{Page, PageRequest};
use super::resource::{self, Kind, Stored};
use super::xml::Element;
use super::{ApiError, Call, Context, Reply, tagging};
use crate::accounts::Principal;
use crate::lifecycle::{self, Change};
pub use change::{Repeat, create, delete, update};
use config::StreamingConfig;
use parse::{CONFIG, Given};
use schema::Schema;

const KIND: Kind = Kind::StreamingDistribution;
const CONFIG_WITH_TAGS: &str = "StreamingDistributionConfigWithTags";

/// Whether nodes have what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not all of them.
    InProgress,
    /// Every one.
    Deployed,
}

impl Status {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Deployed => "Deployed",
        }
    }
}

/// A streaming distribution as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamingDistribution {
    /// `E` and 13 of `[0-9A-Z]`.
    pub id: String,
    /// The account it belongs to.
    pub account: String,
    /// Its own host name.
    pub domain: String,
    /// Whether nodes have it.
    pub status: Status,
    /// When it was last changed, in milliseconds since 1970.
    pub modified_ms: u64,
    /// For `If-Match`.
    pub etag: String,
    /// The store revision that last changed it.
    pub revision: u64,
    /// What it is to be.
    pub config: StreamingConfig,
}

fn no_such(id: &str) -> ApiError {
    ApiError::not_found("NoSuchStreamingDistribution", format!("there is no streaming distribution {id}"))
}

fn status(context: &Context, id: &str, revision: u64, config: &StreamingConfig) -> Status {
    let features = [SIGNED_NAMES.to_owned()];
    let required_features = if config.trusted_signers.enabled { &features[..] } else { &[] };
    let change = Change { id, revision, enabled: config.enabled, required_features };
    let deployed = lifecycle::is_deployed(&context.views.borrow(), &change);
    if deployed { Status::Deployed } else { Status::InProgress }
}

fn of_stored(context: &Context, stored: Stored) -> Result<StreamingDistribution, ApiError> {
    let config = stored::config(&stored.resource)?;
    Ok(StreamingDistribution {
        status: status(context, &stored.resource.id, stored.modified, &config),
        id: stored.resource.id,
        account: stored.resource.account,
        domain: stored.resource.detail,
        modified_ms: stored.resource.modified_ms,
        etag: stored.resource.etag,
        revision: stored.modified,
        config,
    })
}

/// One of the account's streaming distributions.
///
/// # Errors
/// `NoSuchStreamingDistribution`, or when the store fails.
pub async fn get(
    context: &Context,
    principal: &Principal,
    id: &str,
) -> Result<StreamingDistribution, ApiError> {
    let found = resource::load(&*context.store, KIND, &principal.account, id).await?;
    of_stored(context, found.ok_or_else(|| no_such(id))?)
}

/// A page of the account's streaming distributions, by id.
///
/// # Errors
/// When the store fails.
pub async fn list(
    context: &Context,
    principal: &Principal,
    page: PageRequest,
) -> Result<Page<StreamingDistribution>, ApiError> {
    let prefix = resource::prefix(KIND, &principal.account);
    let page = Page::read(&*context.store, &prefix, page).await?;
    Ok(page.filter_map(|entry| {
        let key = entry.key.clone();
        let read =
            resource::decode(entry).map_err(ApiError::from).and_then(|stored| of_stored(context, stored));
        // One that can't be read must not hide the others.
        read.inspect_err(|error| tracing::error!(%key, %error, "left out of a list")).ok()
    }))
}

/// Answers a call below `streaming-distribution`.
///
/// # Errors
/// As the operation's; `InvalidURI` where there is none, 405 where the method does nothing.
pub async fn handle(context: &Context, call: &Call) -> Result<Reply, ApiError> {
    let schema = Schema::of(call.version);
    let principal = &call.principal;
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    match (path.as_slice(), &call.method) {
        ([], &Method::POST) => post(context, call, schema).await,
        ([], &Method::GET) => {
            let request = PageRequest::of(call, &context.config.limits)?;
            Ok(Reply::ok(render::page(&list(context, principal, request).await?, schema)))
        }
        ([id], &Method::GET) => answer(context, &get(context, principal, id).await?, schema).await,
        ([id], &Method::DELETE) => {
            delete(context, principal, id, call.if_match.as_deref()).await?;
            Ok(Reply::no_content())
        }
        ([id, "config"], &Method::GET) => {
            let found = get(context, principal, id).await?;
            Ok(Reply::ok(render::config(&found.config, schema)).with_etag(found.etag))
        }
        ([id, "config"], &Method::PUT) => put(context, call, id, schema).await,
        ([] | [_] | [_, "config"], _) => Err(ApiError::method_not_allowed()),
        _ => {
            let message = format!("there is nothing at {}", call.path.join("/"));
            Err(ApiError::bad_request("InvalidURI", message))
        }
    }
}

async fn answer(context: &Context, of: &StreamingDistribution, schema: Schema) -> Result<Reply, ApiError> {
    let active = signers::active(context, of).await?;
    Ok(Reply::ok(render::distribution(of, &active, schema)).with_etag(&of.etag))
}

async fn post(context: &Context, call: &Call, schema: Schema) -> Result<Reply, ApiError> {
    let body = call.body.as_ref().ok_or_else(ApiError::missing_body)?;
    let (config, tags) =
        if call.query("WithTags").is_some() { with_tags(body, schema)? } else { (body, Vec::new()) };
    let config = Given::read(config)?.into_new(schema)?;
    let repeat = if schema.repeats_answer() { Repeat::Answered } else { Repeat::Refused };
    let made = create(context, &call.principal, config, tags, repeat).await?;
    let Reply { body, etag, .. } = answer(context, &made, schema).await?;
    let reply = Reply::created(format!("{}/{}", KIND.as_str(), made.id), body.unwrap_or_default());
    Ok(Reply { etag, ..reply })
}

/// The two parts of a `StreamingDistributionConfigWithTags`.
fn with_tags(body: &Element, schema: Schema) -> Result<(&Element, Vec<Tag>), ApiError> {
    if !schema.says_arn() {
        return Err(ApiError::invalid_argument("WithTags: this version has no tags"));
    }
    if body.name != CONFIG_WITH_TAGS {
        let message = format!("the document is {}, not {CONFIG_WITH_TAGS}", body.name);
        return Err(ApiError::bad_request("MalformedXML", message));
    }
    let lacks = |name: &str| ApiError::invalid_argument(format!("{name} is missing"));
    let config = body.child(CONFIG).ok_or_else(|| lacks(CONFIG))?;
    let tags = tagging::read_tags(body.child("Tags").ok_or_else(|| lacks("Tags"))?)?;
    Ok((config, tags))
}

async fn put(context: &Context, call: &Call, id: &str, schema: Schema) -> Result<Reply, ApiError> {
    let if_match = call.if_match.as_deref();
    let made = change::update_with(context, &call.principal, id, if_match, |known| {
        let body = call.body.as_ref().ok_or_else(ApiError::missing_body)?;
        Given::read(body)?.over(known, schema)
    });
    answer(context, &made.await?, schema).await
}

#[cfg(test)]
mod tests;
