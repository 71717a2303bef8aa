//! Grants: an account may have a bucket read by the nodes' own role.
//!
//! Without one, an origin access identity that has no S3 keys of its own opens nothing, whatever the nodes' role could read: else any
//! account could name another's bucket and be served from it.

use prost::Message;
use proto::object::check_bucket;
use proto::v1::Grant;

use super::{LendingError, check_account};
use crate::documents::GRANTS;
use crate::store::{ConfigStore, HEAD_KEY, StoreError, Transaction};

/// In the place of a bucket: every bucket.
pub const ANY_BUCKET: &str = "*";

fn key(account: &str, bucket: &str) -> Result<String, LendingError> {
    check_account(account)?;
    if bucket != ANY_BUCKET && !check_bucket(bucket) {
        return Err(LendingError::Invalid(format!(
            "bucket: '{bucket}' is neither a bucket's name nor {ANY_BUCKET}"
        )));
    }
    Ok(format!("{GRANTS}{account}/{bucket}"))
}

/// Grants `bucket` (or [`ANY_BUCKET`]) to `account`. One that is there already stays as it is.
pub async fn add(store: &dyn ConfigStore, account: &str, bucket: &str) -> Result<(), LendingError> {
    let key = key(account, bucket)?;
    if store.get(&key).await?.is_some() {
        return Ok(());
    }
    let grant = Grant { account: account.into(), bucket: bucket.into() };
    let transaction = Transaction::default().when(&key, 0).put(key, grant.encode_to_vec()).put(HEAD_KEY, "");
    match store.commit(transaction).await {
        // Somebody else granted it.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes a grant back.
pub async fn remove(store: &dyn ConfigStore, account: &str, bucket: &str) -> Result<(), LendingError> {
    let key = key(account, bucket)?;
    let Some(entry) = store.get(&key).await? else {
        return Err(LendingError::NotFound(format!("account {account} has no grant for '{bucket}'")));
    };
    let transaction = Transaction::default().when(&key, entry.modified).delete(key).put(HEAD_KEY, "");
    store.commit(transaction).await?;
    Ok(())
}

/// All grants, by account and bucket.
pub async fn list(store: &dyn ConfigStore) -> Result<Vec<Grant>, LendingError> {
    let entries = store.list(GRANTS).await?.entries;
    let grant = |entry: crate::store::Entry| {
        Grant::decode(entry.value)
            .map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", entry.key)).into())
    };
    entries.into_iter().map(grant).collect()
}
