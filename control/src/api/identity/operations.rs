//! What can be done with identities, without XML: for the API, the console and tests.

use proto::v1::Resource;

use super::{CREDENTIAL, refer, render};
use crate::accounts::Principal;
use crate::api::held::{self, Committed, Held, contended, stored_config};
use crate::api::paging::{Page, PageRequest};
use crate::api::resource::{ATTEMPTS, Kind, check_if_match, check_writable, new_etag, prefix};
use crate::api::xml::Element;
use crate::api::{ApiError, Context, Version};
use crate::documents::ORIGIN_SECRETS;
use crate::store::{HEAD_KEY, Transaction, random_text};

/// What a client says of an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityConfig {
    /// Unique in the account, 1 to 127 bytes.
    pub caller_reference: String,
    /// Up to 128 characters.
    pub comment: String,
    /// Members this version of Penstock does not know: kept.
    pub other: Vec<Element>,
}

impl IdentityConfig {
    pub(super) fn of(config: &Element) -> Result<Self, ApiError> {
        let known = ["CallerReference", "Comment"];
        Ok(Self {
            caller_reference: held::required(config, "CallerReference")?,
            // jets3t leaves it out when there is none.
            comment: config.child_text("Comment").unwrap_or_default().into(),
            other: config.children.iter().filter(|c| !known.contains(&c.name.as_str())).cloned().collect(),
        })
    }
}

/// An identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `E` and 13 of `[0-9A-Z]`.
    pub id: String,
    /// 96 hexadecimal digits: what an ACL on a bucket would name. Made up: no other service knows it.
    pub s3_canonical_user_id: String,
    /// What the client said.
    pub config: IdentityConfig,
    /// Changes with every update.
    pub etag: String,
}

fn identity(held: &Held) -> Result<Identity, ApiError> {
    Ok(Identity {
        id: held.resource.id.clone(),
        s3_canonical_user_id: held.resource.detail.clone(),
        config: IdentityConfig::of(&held.config)?,
        etag: held.resource.etag.clone(),
    })
}

fn no_such(id: &str) -> ApiError {
    let reason = format!("there is no origin access identity '{id}'");
    ApiError::not_found("NoSuchCloudFrontOriginAccessIdentity", reason)
}

async fn load(context: &Context, principal: &Principal, id: &str) -> Result<Held, ApiError> {
    let held = held::load(&*context.store, Kind::OriginAccessIdentity, &principal.account, id).await?;
    held.ok_or_else(|| no_such(id))
}

/// Makes an identity. The same caller reference with the same config answers with what it made before; with another config it is refused
/// (`CloudFrontOriginAccessIdentityAlreadyExists`), in every version.
pub async fn create(
    context: &Context,
    principal: &Principal,
    version: Version,
    config: IdentityConfig,
) -> Result<Identity, ApiError> {
    check_writable(principal)?;
    held::check_caller_reference(&config.caller_reference)?;
    held::check_comment(&config.comment)?;
    let account = &principal.account;
    for _ in 0..ATTEMPTS {
        if let Some(known) =
            held::by_reference(&*context.store, Kind::OriginAccessIdentity, account, &config.caller_reference)
                .await?
        {
            if known.resource.created_as == held::said(&render::config(&config)) {
                return identity(&known);
            }
            return Err(ApiError::conflict(
                "CloudFrontOriginAccessIdentityAlreadyExists",
                "the caller reference belongs to an origin access identity with another comment",
            ));
        }
        let most = context.config.limits.origin_access_identities;
        if held::all(&*context.store, Kind::OriginAccessIdentity, account).await?.len() >= most {
            return Err(ApiError::bad_request(
                "TooManyCloudFrontOriginAccessIdentities",
                format!("an account may have {most} origin access identities"),
            ));
        }
        let now = context.clock.now_ms();
        let resource = Resource {
            id: held::new_id('E'),
            account: account.clone(),
            caller_reference: config.caller_reference.clone(),
            config: stored_config(&render::config(&config)).into(),
            etag: new_etag(),
            created_ms: now,
            modified_ms: now,
            api_version: version.to_string(),
            detail: random_text(b"0123456789abcdef", 96),
            created_as: held::said(&render::config(&config)).into(),
        };
        let transaction = held::create(Transaction::default(), Kind::OriginAccessIdentity, &resource);
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            let Resource { id, detail, etag, .. } = resource;
            return Ok(Identity { id, s3_canonical_user_id: detail, config, etag });
        }
    }
    Err(contended())
}

/// One identity.
pub async fn get(context: &Context, principal: &Principal, id: &str) -> Result<Identity, ApiError> {
    identity(&load(context, principal, id).await?)
}

/// A page of the account's identities, by id.
pub async fn list(
    context: &Context,
    principal: &Principal,
    request: PageRequest,
) -> Result<Page<Identity>, ApiError> {
    let prefix = prefix(Kind::OriginAccessIdentity, &principal.account);
    held::page(&*context.store, Kind::OriginAccessIdentity, &prefix, request, |held| identity(&held)).await
}

/// Changes the comment: nothing else of an identity can be changed.
pub async fn update(
    context: &Context,
    principal: &Principal,
    version: Version,
    id: &str,
    if_match: Option<&str>,
    config: IdentityConfig,
) -> Result<Identity, ApiError> {
    check_writable(principal)?;
    held::check_comment(&config.comment)?;
    for _ in 0..ATTEMPTS {
        let held = load(context, principal, id).await?;
        check_if_match(if_match, &held.resource.etag)?;
        if config.caller_reference != held.resource.caller_reference {
            return Err(ApiError::bad_request("IllegalUpdate", "CallerReference: can't be changed"));
        }
        let next = Resource {
            config: stored_config(&render::config(&config)).into(),
            etag: new_etag(),
            modified_ms: context.clock.now_ms(),
            api_version: version.to_string(),
            ..held.resource.clone()
        };
        let transaction = held.replace(Transaction::default(), &next);
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            let Resource { id, detail, etag, .. } = next;
            return Ok(Identity { id, s3_canonical_user_id: detail, config, etag });
        }
    }
    Err(contended())
}

/// Deletes an identity that no distribution refers to, and the S3 keys it had.
pub async fn delete(
    context: &Context,
    principal: &Principal,
    id: &str,
    if_match: Option<&str>,
) -> Result<(), ApiError> {
    check_writable(principal)?;
    for _ in 0..ATTEMPTS {
        let head = held::head(&*context.store).await?;
        let held = load(context, principal, id).await?;
        check_if_match(if_match, &held.resource.etag)?;
        if let Some(user) = refer::user(context, &principal.account, id, head).await? {
            return Err(ApiError::conflict(
                "CloudFrontOriginAccessIdentityInUse",
                format!("distribution {user} refers to the origin access identity"),
            ));
        }
        let mut transaction = held.delete(Transaction::default().when(HEAD_KEY, head));
        let secret = format!("{ORIGIN_SECRETS}{CREDENTIAL}{id}");
        transaction = match context.store.get(&secret).await? {
            Some(entry) => transaction.when(&secret, entry.modified).delete(secret).put(HEAD_KEY, ""),
            None => transaction.when(secret, 0),
        };
        if let Committed::Done(_) = held::commit(&*context.store, transaction).await? {
            return Ok(());
        }
    }
    Err(contended())
}
