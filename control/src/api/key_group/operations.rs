//! What can be done with key groups, without XML.

use proto::v1::Resource;

use super::CONFIG;
use crate::accounts::Principal;
use crate::api::held::{self, Committed, Held, contended, stored_config};
use crate::api::paging::{Page, PageRequest};
use crate::api::public_key::check_name;
use crate::api::resource::{ATTEMPTS, Kind, check_if_match, check_writable, new_etag, prefix, reference_key};
use crate::api::xml::Element;
use crate::api::{ApiError, Context, Version};
use crate::store::{ConfigStore, HEAD_KEY, Transaction};

/// What a client says of a key group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyGroupConfig {
    /// Unique in the account, 1 to 128 of `[A-Za-z0-9_.-]`.
    pub name: String,
    /// Ids of public keys of the account, each once.
    pub public_keys: Vec<String>,
    /// Up to 128 characters.
    pub comment: String,
    /// Members this version of Penstock does not know: kept.
    pub other: Vec<Element>,
}

fn keys(config: &Element) -> impl Iterator<Item = &str> {
    let items = config.child("Items").into_iter();
    items.flat_map(|items| items.children("PublicKey")).map(|key| key.text.trim())
}

/// Whether the group of this config holds the public key `id`.
pub(crate) fn holds(config: &Element, id: &str) -> bool {
    keys(config).any(|key| key == id)
}

impl KeyGroupConfig {
    pub(super) fn of(config: &Element) -> Result<Self, ApiError> {
        let known = ["Name", "Items", "Comment"];
        Ok(Self {
            name: held::required(config, "Name")?,
            public_keys: keys(config).map(str::to_owned).collect(),
            comment: config.child_text("Comment").unwrap_or_default().into(),
            other: config.children.iter().filter(|c| !known.contains(&c.name.as_str())).cloned().collect(),
        })
    }

    /// As the API writes it.
    pub(super) fn element(&self) -> Element {
        let items = self.public_keys.iter().map(|id| Element::text("PublicKey", id.clone())).collect();
        let mut element = Element::new(CONFIG)
            .with_text("Name", self.name.clone())
            .with(Element { children: items, ..Element::new("Items") })
            .with_text("Comment", self.comment.clone());
        element.children.extend(self.other.iter().cloned());
        element
    }

    fn check(&self, keys_max: usize) -> Result<(), ApiError> {
        check_name(&self.name)?;
        held::check_comment(&self.comment)?;
        if self.public_keys.is_empty() {
            return Err(ApiError::invalid_argument("Items: names no public key"));
        }
        if self.public_keys.len() > keys_max {
            let reason = format!("a key group may hold {keys_max} public keys");
            return Err(ApiError::bad_request("TooManyPublicKeysInKeyGroup", reason));
        }
        let twice = |(at, key): (usize, &String)| self.public_keys[..at].contains(key);
        if let Some(at) = self.public_keys.iter().enumerate().position(twice) {
            return Err(ApiError::invalid_argument(format!(
                "Items: '{}' is named twice",
                self.public_keys[at]
            )));
        }
        Ok(())
    }
}

/// A key group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGroup {
    /// `G` and 13 of `[0-9A-Z]`.
    pub id: String,
    /// Milliseconds since 1970.
    pub modified_ms: u64,
    /// What the client said.
    pub config: KeyGroupConfig,
    /// Changes with every update.
    pub etag: String,
}

fn key_group(held: &Held) -> Result<KeyGroup, ApiError> {
    Ok(KeyGroup {
        id: held.resource.id.clone(),
        modified_ms: held.resource.modified_ms,
        config: KeyGroupConfig::of(&held.config)?,
        etag: held.resource.etag.clone(),
    })
}

/// A key group of an account as it lies in the store.
pub(crate) async fn load(store: &dyn ConfigStore, account: &str, id: &str) -> Result<Option<Held>, ApiError> {
    held::load(store, Kind::KeyGroup, account, id).await
}

async fn known(context: &Context, principal: &Principal, id: &str) -> Result<Held, ApiError> {
    let held = load(&*context.store, &principal.account, id).await?;
    held.ok_or_else(|| ApiError::not_found("NoSuchResource", format!("there is no key group '{id}'")))
}

/// `transaction` with the public keys of `config` held fast: it fails if one is deleted at the same time.
async fn refer(
    context: &Context,
    account: &str,
    config: &KeyGroupConfig,
    mut transaction: Transaction,
) -> Result<Transaction, ApiError> {
    for id in &config.public_keys {
        let key = held::load(&*context.store, Kind::PublicKey, account, id).await?;
        let key = key.ok_or_else(|| {
            ApiError::invalid_argument(format!("Items: the account has no public key '{id}'"))
        })?;
        transaction = key.touch(transaction);
    }
    Ok(transaction)
}

fn exists(name: &str) -> ApiError {
    ApiError::conflict("KeyGroupAlreadyExists", format!("another key group has the name '{name}'"))
}

/// Makes a key group of public keys that the account has.
pub async fn create(
    context: &Context,
    principal: &Principal,
    version: Version,
    config: KeyGroupConfig,
) -> Result<KeyGroup, ApiError> {
    check_writable(principal)?;
    let limits = &context.config.limits;
    config.check(limits.keys_per_group)?;
    let account = &principal.account;
    for _ in 0..ATTEMPTS {
        if held::by_reference(&*context.store, Kind::KeyGroup, account, &config.name).await?.is_some() {
            return Err(exists(&config.name));
        }
        if held::all(&*context.store, Kind::KeyGroup, account).await?.len() >= limits.key_groups {
            let reason = format!("an account may have {} key groups", limits.key_groups);
            return Err(ApiError::bad_request("TooManyKeyGroups", reason));
        }
        let now = context.clock.now_ms();
        let resource = Resource {
            id: held::new_id('G'),
            account: account.clone(),
            // A group has no caller reference; its name is what must be unique.
            caller_reference: config.name.clone(),
            config: stored_config(&config.element()).into(),
            etag: new_etag(),
            created_ms: now,
            modified_ms: now,
            api_version: version.to_string(),
            detail: String::new(),
            created_as: Default::default(),
        };
        let transaction = refer(context, account, &config, Transaction::default()).await?;
        let transaction = held::create(transaction, Kind::KeyGroup, &resource);
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            return Ok(KeyGroup { id: resource.id, modified_ms: now, config, etag: resource.etag });
        }
    }
    Err(contended())
}

/// One key group.
pub async fn get(context: &Context, principal: &Principal, id: &str) -> Result<KeyGroup, ApiError> {
    key_group(&known(context, principal, id).await?)
}

/// A page of the account's key groups, by id.
pub async fn list(
    context: &Context,
    principal: &Principal,
    request: PageRequest,
) -> Result<Page<KeyGroup>, ApiError> {
    let prefix = prefix(Kind::KeyGroup, &principal.account);
    held::page(&*context.store, Kind::KeyGroup, &prefix, request, |held| key_group(&held)).await
}

/// Replaces a group's config whole.
pub async fn update(
    context: &Context,
    principal: &Principal,
    version: Version,
    id: &str,
    if_match: Option<&str>,
    config: KeyGroupConfig,
) -> Result<KeyGroup, ApiError> {
    check_writable(principal)?;
    config.check(context.config.limits.keys_per_group)?;
    let account = &principal.account;
    for _ in 0..ATTEMPTS {
        let held = known(context, principal, id).await?;
        check_if_match(if_match, &held.resource.etag)?;
        let now = context.clock.now_ms();
        let next = Resource {
            caller_reference: config.name.clone(),
            config: stored_config(&config.element()).into(),
            etag: new_etag(),
            modified_ms: now,
            api_version: version.to_string(),
            ..held.resource.clone()
        };
        let mut transaction = refer(context, account, &config, Transaction::default()).await?;
        transaction = held.replace(transaction, &next);
        if held.resource.caller_reference != config.name {
            let (old, new) = (&held.resource.caller_reference, &config.name);
            if held::by_reference(&*context.store, Kind::KeyGroup, account, new).await?.is_some() {
                return Err(exists(new));
            }
            let name = reference_key(Kind::KeyGroup, account, new);
            transaction = transaction
                .delete(reference_key(Kind::KeyGroup, account, old))
                .when(&name, 0)
                .put(name, next.id.clone());
        }
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            return Ok(KeyGroup { id: next.id, modified_ms: now, config, etag: next.etag });
        }
    }
    Err(contended())
}

/// Deletes a group that no distribution trusts.
pub async fn delete(
    context: &Context,
    principal: &Principal,
    id: &str,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    check_writable(principal)?;
    for _ in 0..ATTEMPTS {
        let head = held::head(&*context.store).await?;
        let held = known(context, principal, id).await?;
        check_if_match(if_match, &held.resource.etag)?;
        let distributions = held::all(&*context.store, Kind::Distribution, &principal.account).await?;
        if let Some(user) = distributions.iter().find(|d| trusts(&d.config, id)) {
            return Err(ApiError::conflict(
                "ResourceInUse",
                format!("distribution {} trusts the key group", user.resource.id),
            ));
        }
        let transaction = held.delete(Transaction::default().when(HEAD_KEY, head));
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            return Ok(());
        }
    }
    Err(contended())
}

fn trusts(config: &Element, id: &str) -> bool {
    let here = config.name == "KeyGroup" && config.text.trim() == id;
    here || config.children.iter().any(|child| trusts(child, id))
}
