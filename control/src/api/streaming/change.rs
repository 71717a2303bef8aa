//! Creating, updating and deleting streaming distributions.
//!
//! Each is one transaction over the resource, its caller reference, what nodes get of it and its names, guarded by the revisions it was decided
//! on. Who loses a race is told what it means to a client: a name is taken, the ETag is old, the reference is used; what no client can have meant
//! (a generated id or domain that another has) is tried anew.

use proto::v1::{Distribution, Resource, Tag};

use super::config::StreamingConfig;
use super::{KIND, Status, StreamingDistribution, no_such, rules, status, stored};
use crate::accounts::Principal;
use crate::api::resource::{self, ATTEMPTS, Stored, check_if_match, check_writable};
use crate::api::{ApiError, Context, names, tagging};
use crate::documents::{self, NAMES};
use crate::store::{StoreError, Transaction};

/// What a create means whose caller reference was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The same config gets what the first create made; another one is an error.
    Answered,
    /// It is an error.
    Refused,
}

fn already_exists(id: &str) -> ApiError {
    let message = format!("the caller reference was used to create {id}");
    ApiError::conflict("StreamingDistributionAlreadyExists", message)
}

/// A race that was lost too often: 503, try again.
fn contended(what: &str) -> ApiError {
    StoreError::Conflict { key: what.into() }.into()
}

fn not_valid(error: proto::distribution::Invalid) -> ApiError {
    // The rules should have caught it under its own code.
    ApiError::invalid_argument(error.to_string())
}

/// Whether `key`, whose claim lost, is that of an alias of `next`.
fn is_alias(key: &str, next: &Distribution) -> bool {
    key.strip_prefix(NAMES).is_some_and(|host| next.aliases.iter().any(|alias| alias == host))
}

/// Makes a distribution with its tags. It is `InProgress` until every node has it.
///
/// # Errors
/// As CreateStreamingDistribution of the API; 503 when the store is away (the write may have happened: a repeat tells).
pub async fn create(
    context: &Context,
    principal: &Principal,
    config: StreamingConfig,
    tags: Vec<Tag>,
    repeat: Repeat,
) -> Result<StreamingDistribution, ApiError> {
    check_writable(principal)?;
    rules::check(&config, &context.config)?;
    tagging::check(&tags, &context.config.limits)?;
    let account = &principal.account;
    let reference = resource::reference_key(KIND, account, &config.caller_reference);
    let digest = stored::digest(&config);
    for _ in 0..ATTEMPTS {
        let mut claimed = 0;
        if let Some(entry) = context.store.get(&reference).await? {
            let id = String::from_utf8_lossy(&entry.value).into_owned();
            if let Some(known) = resource::load(&*context.store, KIND, account, &id).await? {
                if repeat == Repeat::Answered && known.resource.created_as == digest {
                    return super::of_stored(context, known);
                }
                return Err(already_exists(&id));
            }
            // A reference to nothing (a resource deleted by hand) is free.
            claimed = entry.modified;
        }
        let guards = rules::references(context, account, &config).await?;
        check_count(context, account).await?;
        let id = documents::new_id();
        let new = Distribution {
            domain: documents::new_domain('s', &context.config.zone),
            id: id.clone(),
            account: account.clone(),
            ..Distribution::default()
        };
        let next = rules::published(&config, new);
        let now_ms = context.clock.now_ms();
        let resource = Resource {
            id: id.clone(),
            account: account.clone(),
            caller_reference: config.caller_reference.clone(),
            config: stored::to_bytes(&config).into(),
            etag: resource::new_etag(),
            created_ms: now_ms,
            modified_ms: now_ms,
            api_version: String::new(),
            detail: next.domain.clone(),
            created_as: digest.clone().into(),
        };
        // The reference comes first: of two equal creates at once, the loser must hear of that and not of its alias.
        let first = Transaction::default().when(&reference, claimed).put(&reference, id.clone());
        let key = resource::key(KIND, account, &id);
        let mut transaction = join(first, documents::put_distribution(None, &next).map_err(not_valid)?)
            .when(&key, 0)
            .put(key, stored::encode(&resource));
        transaction.conditions.extend(guards);
        if !tags.is_empty() {
            transaction =
                transaction.put(resource::tags_key(KIND, account, &id), tagging::encode(tags.clone()));
        }
        match context.store.commit(transaction).await {
            Ok(modified) => return super::of_stored(context, Stored { resource, modified }),
            Err(StoreError::Conflict { key }) => {
                if is_alias(&key, &next)
                    && let Some(alias) = names::taken(&*context.store, &next.aliases).await?
                {
                    return Err(rules::alias_taken(alias));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(contended(&reference))
}

/// All of both.
fn join(mut first: Transaction, second: Transaction) -> Transaction {
    first.conditions.extend(second.conditions);
    first.puts.extend(second.puts);
    first.deletes.extend(second.deletes);
    first
}

/// Two creates at once may pass the limit by one; it bounds what an account costs, not more.
async fn check_count(context: &Context, account: &str) -> Result<(), ApiError> {
    let limit = context.config.limits.streaming_distributions;
    let known = context.store.page(&resource::prefix(KIND, account), "", limit).await?;
    if known.len() < limit {
        return Ok(());
    }
    let message = format!("the account has {limit} streaming distributions, the most it may have");
    Err(ApiError::bad_request("TooManyStreamingDistributions", message))
}

/// Replaces a distribution's config with `config`, whose origin and caller reference must be the same.
///
/// # Errors
/// As UpdateStreamingDistribution of the API.
pub async fn update(
    context: &Context,
    principal: &Principal,
    id: &str,
    if_match: Option<&str>,
    config: &StreamingConfig,
) -> Result<StreamingDistribution, ApiError> {
    update_with(context, principal, id, if_match, |_| Ok(config.clone())).await
}

/// The same, where `change` makes the new config of the stored one.
///
/// # Errors
/// As [`update`], and those of `change`.
pub(super) async fn update_with(
    context: &Context,
    principal: &Principal,
    id: &str,
    if_match: Option<&str>,
    change: impl Fn(&StreamingConfig) -> Result<StreamingConfig, ApiError>,
) -> Result<StreamingDistribution, ApiError> {
    check_writable(principal)?;
    let account = &principal.account;
    let mut lost = contended(id);
    for _ in 0..ATTEMPTS {
        let known = resource::load(&*context.store, KIND, account, id).await?.ok_or_else(|| no_such(id))?;
        check_if_match(if_match, &known.resource.etag)?;
        let old = stored::config(&known.resource)?;
        let config = change(&old)?;
        if config.caller_reference != old.caller_reference || !config.origin.eq_ignore_ascii_case(&old.origin)
        {
            let message = "CallerReference and the origin can't be changed: create another distribution";
            return Err(ApiError::bad_request("IllegalUpdate", message));
        }
        rules::check(&config, &context.config)?;
        let guards = rules::references(context, account, &config).await?;
        let Some(published) = documents::distribution(&*context.store, id).await? else {
            lost = halved(id);
            continue;
        };
        let next = rules::published(&config, published.document.clone());
        let resource = Resource {
            config: stored::to_bytes(&config).into(),
            etag: resource::new_etag(),
            // Never before the last change, whatever this replica's clock says.
            modified_ms: context.clock.now_ms().max(known.resource.modified_ms),
            ..known.resource
        };
        let key = resource::key(KIND, account, id);
        let first = Transaction::default().when(&key, known.modified).put(&key, stored::encode(&resource));
        let mut transaction =
            join(first, documents::put_distribution(Some(&published), &next).map_err(not_valid)?);
        transaction.conditions.extend(guards);
        let released = names::set_aside(&mut transaction);
        match context.store.commit(transaction).await {
            Ok(modified) => {
                names::release(&*context.store, id, &released).await;
                return super::of_stored(context, Stored { resource, modified });
            }
            Err(StoreError::Conflict { key: lost }) if lost == key => {
                return Err(ApiError::precondition_failed());
            }
            Err(StoreError::Conflict { key }) => {
                let had = &published.document.aliases;
                let new: Vec<String> =
                    next.aliases.iter().filter(|alias| !had.contains(alias)).cloned().collect();
                if is_alias(&key, &next)
                    && let Some(alias) = names::taken(&*context.store, &new).await?
                {
                    return Err(rules::alias_taken(alias));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(lost)
}

/// What nodes get is not there: somebody is just deleting it, or, if it stays so, the store was tampered with.
fn halved(id: &str) -> ApiError {
    ApiError::internal(format!("what nodes get of {id} is gone from the store"))
}

/// Deletes a distribution that is disabled and `Deployed`, with its names and tags.
///
/// # Errors
/// As DeleteStreamingDistribution of the API; `StreamingDistributionNotDisabled` also while the disabling has not reached every node.
pub async fn delete(
    context: &Context,
    principal: &Principal,
    id: &str,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    check_writable(principal)?;
    let account = &principal.account;
    let mut lost = contended(id);
    for _ in 0..ATTEMPTS {
        let known = resource::load(&*context.store, KIND, account, id).await?.ok_or_else(|| no_such(id))?;
        check_if_match(if_match, &known.resource.etag)?;
        let config = stored::config(&known.resource)?;
        if config.enabled || status(context, id, known.modified, &config) != Status::Deployed {
            let message = if config.enabled {
                "the distribution is enabled: disable it first"
            } else {
                "the distribution is disabled, but not on every node yet: wait until it is Deployed"
            };
            return Err(ApiError::conflict("StreamingDistributionNotDisabled", message));
        }
        let key = resource::key(KIND, account, id);
        let first = Transaction::default()
            .when(&key, known.modified)
            .delete(&key)
            .delete(resource::reference_key(KIND, account, &known.resource.caller_reference))
            .delete(resource::tags_key(KIND, account, id));
        let Some(published) = documents::distribution(&*context.store, id).await? else {
            lost = halved(id);
            continue;
        };
        let transaction = join(first, documents::delete_distribution(&published));
        match context.store.commit(transaction).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { key: lost }) if lost == key => {
                return Err(ApiError::precondition_failed());
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(lost)
}
