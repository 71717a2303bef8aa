//! What can be done with public keys, without XML.

use proto::v1::Resource;

use super::{CONFIG, spki};
use crate::accounts::Principal;
use crate::api::held::{self, Committed, Held, contended, stored_config};
use crate::api::key_group;
use crate::api::paging::{Page, PageRequest};
use crate::api::resource::{ATTEMPTS, Kind, check_if_match, check_writable, new_etag, prefix};
use crate::api::xml::Element;
use crate::api::{ApiError, Context, Version};
use crate::lending::signers::{self, PUBLIC_KEY_LETTER};
use crate::store::Transaction;

const NAME_CHARS_MAX: usize = 128;

/// What a client says of a public key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicKeyConfig {
    /// Unique in the account, 1 to 127 bytes.
    pub caller_reference: String,
    /// Unique in the account, 1 to 128 of `[A-Za-z0-9_.-]`.
    pub name: String,
    /// PEM of a SubjectPublicKeyInfo with an RSA key, as sent.
    pub encoded_key: String,
    /// Up to 128 characters.
    pub comment: String,
    /// Members this version of Penstock does not know: kept.
    pub other: Vec<Element>,
}

impl PublicKeyConfig {
    pub(super) fn of(config: &Element) -> Result<Self, ApiError> {
        let known = ["CallerReference", "Name", "EncodedKey", "Comment"];
        // A PEM keeps its last line end: clients compare what they sent.
        let encoded_key = config.child("EncodedKey").map(|e| e.text.clone());
        Ok(Self {
            caller_reference: held::required(config, "CallerReference")?,
            name: held::required(config, "Name")?,
            encoded_key: encoded_key.ok_or_else(|| ApiError::invalid_argument("EncodedKey: is missing"))?,
            comment: config.child_text("Comment").unwrap_or_default().into(),
            other: config.children.iter().filter(|c| !known.contains(&c.name.as_str())).cloned().collect(),
        })
    }

    /// As the API writes it.
    pub(super) fn element(&self) -> Element {
        let mut element = Element::new(CONFIG)
            .with_text("CallerReference", self.caller_reference.clone())
            .with_text("Name", self.name.clone())
            .with_text("EncodedKey", self.encoded_key.clone())
            .with_text("Comment", self.comment.clone());
        element.children.extend(self.other.iter().cloned());
        element
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `K` and 13 of `[0-9A-Z]`: the Key-Pair-Id of names that it checks.
    pub id: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// What the client said.
    pub config: PublicKeyConfig,
    /// Changes with every update.
    pub etag: String,
}

fn public_key(held: &Held) -> Result<PublicKey, ApiError> {
    Ok(PublicKey {
        id: held.resource.id.clone(),
        created_ms: held.resource.created_ms,
        config: PublicKeyConfig::of(&held.config)?,
        etag: held.resource.etag.clone(),
    })
}

async fn load(context: &Context, principal: &Principal, id: &str) -> Result<Held, ApiError> {
    let held = held::load(&*context.store, Kind::PublicKey, &principal.account, id).await?;
    held.ok_or_else(|| ApiError::not_found("NoSuchPublicKey", format!("there is no public key '{id}'")))
}

/// Checks a name of a public key or a key group.
pub(in crate::api) fn check_name(name: &str) -> Result<(), ApiError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ApiError::invalid_argument(format!("Name: '{name}' is not 1 to {NAME_CHARS_MAX} of [A-Za-z0-9_.-]")))
}

fn exists(reason: &str) -> ApiError {
    ApiError::conflict("PublicKeyAlreadyExists", reason)
}

/// Makes a public key; nodes check names by it once the change has reached them. The same caller reference with the same config answers with
/// what it made before, as a client that lost the first answer needs it.
pub async fn create(
    context: &Context,
    principal: &Principal,
    version: Version,
    config: PublicKeyConfig,
) -> Result<PublicKey, ApiError> {
    check_writable(principal)?;
    held::check_caller_reference(&config.caller_reference)?;
    check_name(&config.name)?;
    held::check_comment(&config.comment)?;
    let rsa_public_key = spki::rsa_public_key(&config.encoded_key)
        .map_err(|e| ApiError::invalid_argument(format!("EncodedKey: it {e}")))?;
    let account = &principal.account;
    for _ in 0..ATTEMPTS {
        let signers = signers::load(&*context.store, account).await?;
        let known = held::all(&*context.store, Kind::PublicKey, account).await?;
        if let Some(same) = known.iter().find(|k| k.resource.caller_reference == config.caller_reference) {
            if same.resource.created_as == held::said(&config.element()) {
                return public_key(same);
            }
            return Err(exists("the caller reference belongs to a public key with another config"));
        }
        if known.iter().any(|k| k.config.child_text("Name") == Some(config.name.as_str())) {
            return Err(exists("another public key has this name"));
        }
        let most = context.config.limits.public_keys;
        if known.len() >= most {
            return Err(ApiError::bad_request(
                "TooManyPublicKeys",
                format!("an account may have {most} public keys"),
            ));
        }
        let now = context.clock.now_ms();
        let resource = Resource {
            id: held::new_id(PUBLIC_KEY_LETTER),
            account: account.clone(),
            caller_reference: config.caller_reference.clone(),
            config: stored_config(&config.element()).into(),
            etag: new_etag(),
            created_ms: now,
            modified_ms: now,
            api_version: version.to_string(),
            detail: String::new(),
            created_as: held::said(&config.element()).into(),
        };
        // Two creates at one time meet in the signers document, so names and numbers hold too.
        let transaction = held::create(Transaction::default(), Kind::PublicKey, &resource);
        let transaction = signers.replace(transaction, signers.with(&resource.id, rsa_public_key.clone()));
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            return Ok(PublicKey { id: resource.id, created_ms: now, config, etag: resource.etag });
        }
    }
    Err(contended())
}

/// One public key.
pub async fn get(context: &Context, principal: &Principal, id: &str) -> Result<PublicKey, ApiError> {
    public_key(&load(context, principal, id).await?)
}

/// A page of the account's public keys, by id.
pub async fn list(
    context: &Context,
    principal: &Principal,
    request: PageRequest,
) -> Result<Page<PublicKey>, ApiError> {
    let prefix = prefix(Kind::PublicKey, &principal.account);
    held::page(&*context.store, Kind::PublicKey, &prefix, request, |held| public_key(&held)).await
}

/// Changes the comment. Anything else is refused: `CannotChangeImmutablePublicKeyFields`.
pub async fn update(
    context: &Context,
    principal: &Principal,
    version: Version,
    id: &str,
    if_match: Option<&str>,
    config: PublicKeyConfig,
) -> Result<PublicKey, ApiError> {
    check_writable(principal)?;
    held::check_comment(&config.comment)?;
    for _ in 0..ATTEMPTS {
        let held = load(context, principal, id).await?;
        check_if_match(if_match, &held.resource.etag)?;
        let known = PublicKeyConfig::of(&held.config)?;
        if config.caller_reference != known.caller_reference
            || config.name != known.name
            || !config.encoded_key.split_whitespace().eq(known.encoded_key.split_whitespace())
        {
            return Err(ApiError::bad_request(
                "CannotChangeImmutablePublicKeyFields",
                "of a public key only the Comment can be changed",
            ));
        }
        let config = PublicKeyConfig { encoded_key: known.encoded_key, ..config.clone() };
        let next = Resource {
            config: stored_config(&config.element()).into(),
            etag: new_etag(),
            modified_ms: context.clock.now_ms(),
            api_version: version.to_string(),
            ..held.resource.clone()
        };
        let transaction = held.replace(Transaction::default(), &next);
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            let Resource { id, created_ms, etag, .. } = next;
            return Ok(PublicKey { id, created_ms, config, etag });
        }
    }
    Err(contended())
}

/// Deletes a public key that no key group holds; nodes refuse names signed with its private half once the change has
/// reached them.
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
        let groups = held::all(&*context.store, Kind::KeyGroup, account).await?;
        if let Some(group) = groups.iter().find(|group| key_group::holds(&group.config, id)) {
            return Err(ApiError::conflict(
                "PublicKeyInUse",
                format!("key group {} holds the public key", group.resource.id),
            ));
        }
        let signers = signers::load(&*context.store, account).await?;
        let transaction = held.delete(Transaction::default());
        let transaction = signers.replace(transaction, signers.without(id));
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            return Ok(());
        }
    }
    Err(contended())
}
