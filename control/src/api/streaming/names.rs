//! Names that a change gives up, where they are too many for its transaction.
//!
//! etcd takes 128 operations a transaction by default, and an update may trade a hundred CNAMEs for a hundred others. What doesn't fit is released
//! right after the change. Should that fail, or the process end between the two, a name stays claimed by a distribution that no longer has it;
//! whoever asks for it next finds that out and releases it.

use proto::v1::DistributionKind;

use crate::documents::{self, DISTRIBUTIONS, NAMES};
use crate::store::{ConfigStore, StoreError, Transaction};

/// Most writes of a transaction that has names to give up.
const WRITES: usize = 120;

/// Takes the names that don't fit out of what `transaction` deletes.
pub(super) fn set_aside(transaction: &mut Transaction) -> Vec<String> {
    let surplus = (transaction.puts.len() + transaction.deletes.len()).saturating_sub(WRITES);
    let mut aside = Vec::new();
    transaction.deletes.retain(|key| match key.strip_prefix(NAMES) {
        Some(host) if aside.len() < surplus => {
            aside.push(host.to_owned());
            false
        }
        _ => true,
    });
    aside
}

/// Releases `host` if the streaming distribution that claims it doesn't have it. Returns whether it may be free now.
pub(super) async fn release_if_stale(store: &dyn ConfigStore, host: &str) -> Result<bool, StoreError> {
    let name = format!("{NAMES}{host}");
    let Some(claim) = store.get(&name).await? else { return Ok(true) };
    let id = String::from_utf8_lossy(&claim.value).into_owned();
    // Of other kinds, nodes may have less than is claimed.
    let Some(owner) = documents::distribution(store, &id).await? else { return Ok(false) };
    let document = &owner.document;
    let has = document.domain == host || document.aliases.iter().any(|alias| alias == host);
    if has || document.kind() != DistributionKind::Streaming {
        return Ok(false);
    }
    let release = Transaction::default()
        .when(&name, claim.modified)
        .when(format!("{DISTRIBUTIONS}{id}"), owner.modified)
        .delete(name);
    match store.commit(release).await {
        // Somebody else was quicker, at releasing or at claiming: look again.
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Releases what was set aside by a change that is made.
pub(super) async fn release(store: &dyn ConfigStore, id: &str, hosts: &[String]) {
    for host in hosts {
        if let Err(error) = release_if_stale(store, host).await {
            tracing::warn!(%id, %host, %error, "a name given up stays claimed until it is asked for");
        }
    }
}
