//! Which buckets a distribution may log to.
//!
//! Files are written with the operator's keys, and edges say where: whoever has stolen an edge's token could have anything written anywhere. So
//! records are delivered only to a place that control itself has had their distribution log to: the transaction that publishes a distribution
//! with logging leaves a document of that place, which stays when logging is moved or the distribution deleted, for events in flight.
//!
//! And an account's word for a bucket is not enough: without a grant, anybody with an API key could have files put into a neighbour's bucket.
//! What the operator declared (a target of no account) needs none.

use prost::Message;
use proto::v1::LogTarget;

use crate::documents::{LOG_GRANTS, distribution, log_target_key};
use crate::lending::grants::ANY_BUCKET;
use crate::store::{ConfigStore, StoreError};

/// Whether a file may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Given,
    /// The distribution is none of this control's, or was never told to log there for that account.
    Unknown,
    /// The account has no grant for the bucket.
    NoGrant,
}

/// Whether logs of `distribution_id` may be written to `target`, whose bucket is called `bucket`.
///
/// # Errors
/// When the store can't be asked.
pub async fn may_deliver(
    store: &dyn ConfigStore,
    distribution_id: &str,
    target: &LogTarget,
    bucket: &str,
) -> Result<Permission, StoreError> {
    if !is_its_own(store, distribution_id, target).await? {
        return Ok(Permission::Unknown);
    }
    if target.account.is_empty() {
        return Ok(Permission::Given);
    }
    for granted in [bucket, ANY_BUCKET] {
        if store.get(&format!("{LOG_GRANTS}{}/{granted}", target.account)).await?.is_some() {
            return Ok(Permission::Given);
        }
    }
    Ok(Permission::NoGrant)
}

/// Whether control has ever had the distribution log to `target`.
async fn is_its_own(
    store: &dyn ConfigStore,
    distribution_id: &str,
    target: &LogTarget,
) -> Result<bool, StoreError> {
    if let Some(entry) = store.get(&log_target_key(distribution_id, target)).await? {
        return Ok(LogTarget::decode(entry.value).is_ok_and(|known| known == *target));
    }
    // A backup from before there were such documents has none.
    let published = distribution(store, distribution_id).await?;
    Ok(published.is_some_and(|known| known.document.logging.as_ref() == Some(target)))
}

#[cfg(test)]
mod tests;
