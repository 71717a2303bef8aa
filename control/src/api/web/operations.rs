//! What can be done with web distributions, without XML: for the API and the console.

use std::sync::Arc;

use proto::v1::{Distribution, Resource, Signer, Tag};

use super::config::items;
use super::{WebConfig, publish, unsupported};
use crate::accounts::Principal;
use crate::api::held::{self, Committed, Held, contended, stored_config};
use crate::api::identity::refer;
use crate::api::paging::{Page, PageRequest};
use crate::api::resource::{ATTEMPTS, Kind, check_if_match, check_writable, new_etag, prefix, tags_key};
use crate::api::xml::Element;
use crate::api::{ApiError, Context, Version, invalidation, key_group, names, tagging};
use crate::documents::{self, ACCOUNTS, NAMES};
use crate::lifecycle::{Change, is_deployed};
use crate::store::Transaction;

/// A web distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct WebDistribution {
    /// `E` and 13 of `[0-9A-Z]`.
    pub id: String,
    /// Its account.
    pub account: String,
    /// `d…` in the zone.
    pub domain: String,
    /// What the client said.
    pub config: WebConfig,
    /// `InProgress` or `Deployed`; while it is enabled, `Unsupported: ` and what of it edges can't do.
    pub status: String,
    /// Whether every node has applied its last change, and none refuses what it gets of it.
    pub deployed: bool,
    /// Its invalidations in progress.
    pub invalidations: usize,
    /// Accounts that may sign, as the config names them, and their keys in force.
    pub signers: Vec<(String, Option<Arc<Signer>>)>,
    /// Trusted key groups and their public keys.
    pub key_groups: Vec<(String, Vec<String>)>,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
    /// Changes with every update.
    pub etag: String,
}

impl WebDistribution {
    /// Its ARN.
    pub fn arn(&self) -> String {
        tagging::arn(&self.account, Kind::Distribution, &self.id)
    }
}

/// Tells a distribution's state as this replica knows it.
async fn distribution(context: &Context, held: Held, whole: bool) -> Result<WebDistribution, ApiError> {
    let Held { resource, config, modified, .. } = held;
    let config = WebConfig::stored(config);
    let view = context.views.borrow().clone();
    let document =
        publish::document(&context.config, &resource.id, &resource.account, &resource.detail, &config)?;
    let required = document.map(|d: Distribution| d.required_features).unwrap_or_default();
    let change = Change {
        id: &resource.id,
        revision: modified,
        enabled: config.enabled(),
        required_features: &required,
    };
    let deployed = is_deployed(&view, &change);
    let status = match (config.enabled(), deployed) {
        (true, _) => {
            format!("Unsupported: {}", unsupported::unsupported(&config, &context.config).join(", "))
        }
        (false, true) => "Deployed".into(),
        (false, false) => "InProgress".into(),
    };
    let signers = config.trusted_signers().into_iter().map(|name| {
        let account = if name == "self" { resource.account.as_str() } else { name };
        (name.to_owned(), view.signers.get(account).cloned())
    });
    let signers = signers.collect();
    let (mut invalidations, mut key_groups) = (0, Vec::new());
    // A summary shows neither, so a page of a list reads nothing more.
    if whole {
        invalidations = invalidation::in_progress(context, &resource.account, &resource.id).await?;
        for id in config.key_groups() {
            let group = key_group::load(&*context.store, &resource.account, id).await?;
            let keys = group.map(|group| group.config.child("Items").map(|i| i.children.clone()));
            let keys = keys.flatten().unwrap_or_default().into_iter().map(|key| key.text.trim().to_owned());
            key_groups.push((id.to_owned(), keys.collect()));
        }
    }
    Ok(WebDistribution {
        id: resource.id,
        account: resource.account,
        domain: resource.detail,
        config,
        status,
        deployed,
        invalidations,
        signers,
        key_groups,
        modified_ms: resource.modified_ms,
        etag: resource.etag,
    })
}

async fn load(context: &Context, principal: &Principal, id: &str) -> Result<Held, ApiError> {
    let held = held::load(&*context.store, Kind::Distribution, &principal.account, id).await?;
    held.ok_or_else(|| {
        ApiError::not_found("NoSuchDistribution", format!("there is no web distribution '{id}'"))
    })
}

/// `transaction` with everything `config` refers to held fast: identities and key groups of its own account, and accounts that may sign.
async fn hold_referred(
    context: &Context,
    account: &str,
    config: &WebConfig,
    mut transaction: Transaction,
) -> Result<Transaction, ApiError> {
    for id in config.identities() {
        transaction = refer(&*context.store, account, id, transaction).await?;
    }
    for id in config.key_groups() {
        let group = key_group::load(&*context.store, account, id).await?;
        let group = group.ok_or_else(|| {
            let reason = format!("the account has no key group '{id}'");
            ApiError::bad_request("TrustedKeyGroupDoesNotExist", reason)
        })?;
        transaction = group.hold(transaction);
    }
    for signer in config.trusted_signers().into_iter().filter(|signer| *signer != "self") {
        if context.store.get(&format!("{ACCOUNTS}{signer}")).await?.is_none() {
            let reason = format!("the trusted signer '{signer}' is no account");
            return Err(ApiError::bad_request("TrustedSignerDoesNotExist", reason));
        }
    }
    Ok(transaction)
}

/// Refuses what etcd would: a change that depends on more than it looks at in one transaction.
fn fits(transaction: &Transaction) -> Result<(), ApiError> {
    if transaction.conditions.len() <= names::CONDITIONS {
        return Ok(());
    }
    let reason = "so many new CNAMEs, identities and key groups don't fit one change: add some of the CNAMEs by an update after it";
    Err(ApiError::bad_request("TooManyDistributionCNAMEs", reason))
}

fn hosts(domain: &str, config: &WebConfig) -> Vec<String> {
    let mut hosts = config.aliases();
    hosts.insert(0, domain.to_owned());
    hosts
}

fn name_taken(host: &str) -> ApiError {
    ApiError::conflict("CNAMEAlreadyExists", format!("the name {host} belongs to another distribution"))
}

/// What a caller reference used again comes to: before 2018-11-05 the same config gets the distribution it made.
fn again(known: &Held, config: &WebConfig, version: Version) -> Result<(), ApiError> {
    if version < Version::V2018_11_05 && known.resource.created_as == held::said(config.tree()) {
        return Ok(());
    }
    let reason = format!("the caller reference belongs to distribution {}", known.resource.id);
    Err(ApiError::conflict("DistributionAlreadyExists", reason))
}

/// Makes a web distribution with these tags.
pub async fn create(
    context: &Context,
    principal: &Principal,
    version: Version,
    config: WebConfig,
    tags: Vec<Tag>,
) -> Result<WebDistribution, ApiError> {
    check_writable(principal)?;
    let limits = &context.config.limits;
    tagging::check(&tags, limits)?;
    let account = &principal.account;
    for _ in 0..ATTEMPTS {
        let reference = config.caller_reference();
        if let Some(known) =
            held::by_reference(&*context.store, Kind::Distribution, account, reference).await?
        {
            again(&known, &config, version)?;
            return distribution(context, known, true).await;
        }
        let known = context.store.list(&prefix(Kind::Distribution, account)).await?.entries.len();
        if known >= limits.web_distributions {
            let reason = format!("an account may have {} web distributions", limits.web_distributions);
            return Err(ApiError::bad_request("TooManyDistributions", reason));
        }
        let now = context.clock.now_ms();
        let resource = Resource {
            id: documents::new_id(),
            account: account.clone(),
            caller_reference: reference.to_owned(),
            config: stored_config(config.tree()).into(),
            etag: new_etag(),
            created_ms: now,
            modified_ms: now,
            api_version: version.to_string(),
            detail: documents::new_domain('d', &context.config.zone),
            created_as: held::said(config.tree()).into(),
        };
        let document = publish::document(&context.config, &resource.id, account, &resource.detail, &config)?;
        let transaction = hold_referred(context, account, &config, Transaction::default()).await?;
        let wanted = hosts(&resource.detail, &config);
        let transaction =
            publish::publish(transaction, (&resource.id, account), (None, document.as_ref()), (&[], &wanted));
        let mut transaction = held::create(transaction, Kind::Distribution, &resource);
        if !tags.is_empty() {
            let key = tags_key(Kind::Distribution, account, &resource.id);
            transaction = transaction.put(key, tagging::encode(tags.clone()));
        }
        fits(&transaction)?;
        match held::commit(&*context.store, transaction).await? {
            Committed::Done(modified) => {
                let held = Held::new(Kind::Distribution, resource, config.tree().clone(), modified);
                return distribution(context, held, true).await;
            }
            Committed::Lost(key) => {
                let aliases = config.aliases();
                let is_alias = key.strip_prefix(NAMES).is_some_and(|host| aliases.iter().any(|a| a == host));
                if is_alias && let Some(host) = names::taken(&*context.store, &aliases).await? {
                    // A lost race for the caller reference explains it better, if it was lost too.
                    if held::by_reference(&*context.store, Kind::Distribution, account, reference)
                        .await?
                        .is_none()
                    {
                        return Err(name_taken(host));
                    }
                }
            }
        }
    }
    Err(contended())
}

/// One web distribution.
pub async fn get(context: &Context, principal: &Principal, id: &str) -> Result<WebDistribution, ApiError> {
    distribution(context, load(context, principal, id).await?, true).await
}

/// A page of the account's web distributions, by id.
pub async fn list(
    context: &Context,
    principal: &Principal,
    request: PageRequest,
) -> Result<Page<WebDistribution>, ApiError> {
    let below = prefix(Kind::Distribution, &principal.account);
    let page = held::page(&*context.store, Kind::Distribution, &below, request, Ok).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for held in page.items {
        items.push(distribution(context, held, false).await?);
    }
    Ok(Page { request: page.request, items, next_marker: page.next_marker })
}

/// What version 2012-05-05 may leave to the server: jets3t 0.9 makes up a caller reference at every update and, to disable, names neither origins
/// nor behaviours.
fn completed(config: Element, known: &Held, version: Version) -> Element {
    if !(Version::V2012_05_05..Version::V2014_05_31).contains(&version) {
        return config;
    }
    let mut config = config;
    config.children.retain(|child| match child.name.as_str() {
        "CallerReference" => false,
        "DefaultCacheBehavior" => child.child("TargetOriginId").is_some(),
        _ => true,
    });
    if items(&config, "Origins").next().is_none() {
        config.children.retain(|child| child.name != "Origins" && child.name != "DefaultCacheBehavior");
    }
    for name in ["CallerReference", "Origins", "DefaultCacheBehavior"] {
        if config.child(name).is_none() {
            config.children.extend(known.config.child(name).cloned());
        }
    }
    config
}

/// Replaces a distribution's config whole; `tree` is in the newest schema and is checked here.
pub async fn update(
    context: &Context,
    principal: &Principal,
    version: Version,
    id: &str,
    if_match: Option<&str>,
    tree: Element,
) -> Result<WebDistribution, ApiError> {
    check_writable(principal)?;
    let account = &principal.account;
    for _ in 0..ATTEMPTS {
        let held = load(context, principal, id).await?;
        check_if_match(if_match, &held.resource.etag)?;
        if version < Version::V2012_05_05
            && held.resource.api_version.as_str() >= Version::V2012_05_05.to_string().as_str()
        {
            let reason = format!(
                "the distribution was written with API version {}: an update with {version} would lose much of it",
                held.resource.api_version
            );
            return Err(ApiError::bad_request("IllegalUpdate", reason));
        }
        let config = WebConfig::of(completed(tree.clone(), &held, version), &context.config.limits)?;
        if config.caller_reference() != held.resource.caller_reference {
            return Err(ApiError::bad_request("IllegalUpdate", "CallerReference: can't be changed"));
        }
        let next = Resource {
            config: stored_config(config.tree()).into(),
            etag: new_etag(),
            modified_ms: context.clock.now_ms(),
            api_version: version.to_string(),
            ..held.resource.clone()
        };
        let known = documents::distribution(&*context.store, id).await?;
        let document = publish::document(&context.config, id, account, &next.detail, &config)?;
        let transaction = hold_referred(context, account, &config, Transaction::default()).await?;
        let had = hosts(&next.detail, &WebConfig::stored(held.config.clone()));
        let wanted = hosts(&next.detail, &config);
        let transaction = publish::publish(
            transaction,
            (id, account),
            (known.as_ref(), document.as_ref()),
            (&had, &wanted),
        );
        let mut transaction = held.replace(transaction, &next);
        let released = names::set_aside(&mut transaction);
        fits(&transaction)?;
        match held::commit(&*context.store, transaction).await? {
            Committed::Done(modified) => {
                names::release(&*context.store, id, &released).await;
                let held = Held::new(Kind::Distribution, next, config.tree().clone(), modified);
                return distribution(context, held, true).await;
            }
            Committed::Lost(key) => {
                let new: Vec<String> = wanted.iter().filter(|host| !had.contains(host)).cloned().collect();
                if key.starts_with(NAMES)
                    && let Some(host) = names::taken(&*context.store, &new).await?
                {
                    return Err(name_taken(host));
                }
            }
        }
    }
    Err(contended())
}

/// Deletes a distribution that is disabled, once every node knows that it is.
pub async fn delete(
    context: &Context,
    principal: &Principal,
    id: &str,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    check_writable(principal)?;
    let account = &principal.account;
    for _ in 0..ATTEMPTS {
        let held = load(context, principal, id).await?;
        check_if_match(if_match, &held.resource.etag)?;
        let state = distribution(context, held.clone(), false).await?;
        if state.config.enabled() || !state.deployed {
            let reason =
                if state.config.enabled() { "is enabled" } else { "is not disabled on every node yet" };
            return Err(ApiError::conflict("DistributionNotDisabled", format!("the distribution {reason}")));
        }
        let known = documents::distribution(&*context.store, id).await?;
        let had = hosts(&state.domain, &state.config);
        let transaction =
            publish::publish(Transaction::default(), (id, account), (known.as_ref(), None), (&had, &[]));
        if let Committed::Done(_) = held::commit(&*context.store, held.delete(transaction)).await? {
            if let Err(error) = invalidation::forget(context, account, id).await {
                tracing::warn!(distribution = %id, %error, "invalidations of a deleted distribution are left");
            }
            return Ok(());
        }
    }
    Err(contended())
}
