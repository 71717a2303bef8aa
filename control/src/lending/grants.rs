//! Grants: what an account may have done with a bucket in the operator's name.
//!
//! There are two, each given by itself and taken back by itself:
//!
//! * [`Right::Read`]: shields may read the bucket by their own role for the account's origin access identities. Without it an identity
//!   that has no S3 keys of its own opens nothing, whatever the role could read: else any account could name another's bucket and be served from it.
//! * [`Right::Logs`]: control may write the access logs of the account's distributions into the bucket
//!   ([`crate::access_log::permission`]). Without it any account could have files put into another's bucket.
//!
//! Neither implies the other: who may have logs written beside those of others must not be able to play those out, and a bucket of films is no
//! place for files of ours. They are documents of their own under keys of their own, so that no version of control or shield can take one for
//! the other. Grants to read are published to shields; those for logs are control's alone, and are looked up when a file is delivered.

use prost::Message;
use proto::object::check_bucket;
use proto::v1::Grant;

use super::{LendingError, check_account};
use crate::documents::{GRANTS, LOG_GRANTS};
use crate::store::{ConfigStore, HEAD_KEY, StoreError, Transaction};

/// In the place of a bucket: every bucket.
pub const ANY_BUCKET: &str = "*";

/// What is granted. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Reading the bucket by the shields' own role.
    Read,
    /// Writing access logs to it.
    Logs,
}

impl Right {
    fn prefix(self) -> &'static str {
        match self {
            Self::Read => GRANTS,
            Self::Logs => LOG_GRANTS,
        }
    }

    /// A change that nodes hear of touches the head.
    fn published(self, transaction: Transaction) -> Transaction {
        if self == Self::Read { transaction.put(HEAD_KEY, "") } else { transaction }
    }
}

fn key(right: Right, account: &str, bucket: &str) -> Result<String, LendingError> {
    check_account(account)?;
    if bucket != ANY_BUCKET && !check_bucket(bucket) {
        return Err(LendingError::Invalid(format!(
            "bucket: '{bucket}' is neither a bucket's name nor {ANY_BUCKET}"
        )));
    }
    Ok(format!("{}{account}/{bucket}", right.prefix()))
}

/// Grants `account` this `right` to `bucket` (or [`ANY_BUCKET`]). What is granted already stays as it is.
///
/// # Errors
/// When account or bucket can't be ones, or the store fails.
pub async fn give(
    store: &dyn ConfigStore,
    right: Right,
    account: &str,
    bucket: &str,
) -> Result<(), LendingError> {
    let key = key(right, account, bucket)?;
    if store.get(&key).await?.is_some() {
        return Ok(());
    }
    let grant = Grant { account: account.into(), bucket: bucket.into() };
    let transaction = Transaction::default().when(&key, 0).put(key, grant.encode_to_vec());
    match store.commit(right.published(transaction)).await {
        // Somebody else granted it.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes a grant back.
///
/// # Errors
/// [`LendingError::NotFound`] if there is none; else as [`give`].
pub async fn take_back(
    store: &dyn ConfigStore,
    right: Right,
    account: &str,
    bucket: &str,
) -> Result<(), LendingError> {
    let key = key(right, account, bucket)?;
    let Some(entry) = store.get(&key).await? else {
        let what = if right == Right::Logs { "grant for logs" } else { "grant" };
        return Err(LendingError::NotFound(format!("account {account} has no {what} for '{bucket}'")));
    };
    let transaction = Transaction::default().when(&key, entry.modified).delete(key);
    store.commit(right.published(transaction)).await?;
    Ok(())
}

/// All grants of one kind, by account and bucket.
///
/// # Errors
/// When the store fails, or holds what is no grant.
pub async fn given(store: &dyn ConfigStore, right: Right) -> Result<Vec<Grant>, LendingError> {
    let entries = store.list(right.prefix()).await?.entries;
    let grant = |entry: crate::store::Entry| {
        Grant::decode(entry.value)
            .map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", entry.key)).into())
    };
    entries.into_iter().map(grant).collect()
}

/// As [`give`], to read.
///
/// # Errors
/// Those of [`give`].
pub async fn add(store: &dyn ConfigStore, account: &str, bucket: &str) -> Result<(), LendingError> {
    give(store, Right::Read, account, bucket).await
}
