//! The S3 keys of an origin access identity: sealed in the store, opened for shields only.
//!
//! They belong to the identity's account: the document says which, so that a shield never reads another account's origin
//! with them, and they go when the identity goes.

use prost::Message;
use proto::v1::{OriginSecret, Resource};

use super::{LendingError, TRIES};
use crate::api::identity::CREDENTIAL;
use crate::api::resource::Kind;
use crate::documents::{API, ORIGIN_SECRETS};
use crate::seal::Sealer;
use crate::store::{ConfigStore, Entry, HEAD_KEY, StoreError, Transaction};

/// Identities read at a time while one is looked for.
const PAGE: usize = 500;
/// Longest access key id and secret that are taken.
const KEY_BYTES_MAX: usize = 256;

/// An identity and whether it has keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityKeys {
    /// The identity.
    pub id: String,
    /// Its account.
    pub account: String,
    /// The id of its S3 access key; empty: it has none.
    pub access_key_id: String,
}

fn check_key(field: &str, text: &str) -> Result<(), LendingError> {
    if (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(LendingError::Invalid(format!("{field}: is not 1 to {KEY_BYTES_MAX} visible ASCII characters")))
}

fn resource(entry: &Entry) -> Result<Resource, StoreError> {
    Resource::decode(entry.value.clone())
        .map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", entry.key)))
}

/// All identities of all accounts, by account and id.
async fn identities(store: &dyn ConfigStore) -> Result<Vec<(Entry, Resource)>, LendingError> {
    let prefix = format!("{API}{}/", Kind::OriginAccessIdentity.as_str());
    let mut all: Vec<(Entry, Resource)> = Vec::new();
    loop {
        let after = all.last().map(|(entry, _)| entry.key.clone()).unwrap_or_default();
        let page = store.page(&prefix, &after, PAGE).await?;
        let more = page.len() == PAGE;
        for entry in page {
            let resource = resource(&entry)?;
            all.push((entry, resource));
        }
        if !more {
            return Ok(all);
        }
    }
}

async fn identity(store: &dyn ConfigStore, id: &str) -> Result<(Entry, Resource), LendingError> {
    let found = identities(store).await?.into_iter().find(|(_, resource)| resource.id == id);
    found.ok_or_else(|| LendingError::NotFound(format!("there is no origin access identity '{id}'")))
}

/// Gives identity `id` these S3 keys, in the place of any it had.
pub async fn set(
    store: &dyn ConfigStore,
    sealer: &Sealer,
    id: &str,
    access_key_id: &str,
    secret_access_key: &str,
) -> Result<(), LendingError> {
    check_key("access key id", access_key_id)?;
    check_key("secret access key", secret_access_key)?;
    for _ in 0..TRIES {
        let (entry, resource) = identity(store, id).await?;
        let credential = format!("{CREDENTIAL}{id}");
        let key = format!("{ORIGIN_SECRETS}{credential}");
        let known = store.get(&key).await?.map_or(0, |entry| entry.modified);
        let secret = OriginSecret {
            credential,
            access_key_id: access_key_id.into(),
            secret_access_key: String::new(),
            sealed_secret: sealer.seal(&key, secret_access_key.as_bytes())?.into(),
            account: resource.account,
        };
        let transaction = Transaction::default()
            .when(entry.key, entry.modified)
            .when(&key, known)
            .put(key, secret.encode_to_vec())
            .put(HEAD_KEY, "");
        match store.commit(transaction).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict { key: format!("{ORIGIN_SECRETS}{CREDENTIAL}{id}") }.into())
}

/// Takes the keys of identity `id` away.
pub async fn clear(store: &dyn ConfigStore, id: &str) -> Result<(), LendingError> {
    let key = format!("{ORIGIN_SECRETS}{CREDENTIAL}{id}");
    let Some(entry) = store.get(&key).await? else {
        return Err(LendingError::NotFound(format!("origin access identity '{id}' has no keys")));
    };
    let transaction = Transaction::default().when(&key, entry.modified).delete(key).put(HEAD_KEY, "");
    store.commit(transaction).await?;
    Ok(())
}

/// All identities and the ids of their keys; never a secret.
pub async fn list(store: &dyn ConfigStore) -> Result<Vec<IdentityKeys>, LendingError> {
    let prefix = format!("{ORIGIN_SECRETS}{CREDENTIAL}");
    let mut keys = std::collections::HashMap::new();
    for entry in store.list(&prefix).await?.entries {
        let secret = OriginSecret::decode(entry.value)
            .map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", entry.key)))?;
        keys.insert(secret.credential, secret.access_key_id);
    }
    let identities = identities(store).await?.into_iter().map(|(_, resource)| {
        let access_key_id = keys.remove(&format!("{CREDENTIAL}{}", resource.id)).unwrap_or_default();
        IdentityKeys { id: resource.id, account: resource.account, access_key_id }
    });
    Ok(identities.collect())
}
