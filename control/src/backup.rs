//! Taking the config out of a store and putting it into one.
//!
//! A backup holds what operators made: distributions and their names, resources of the control API, accounts and keys (sealed as they lie in the
//! store: a backup is of use only beside the key that sealed them), grants, the local CA. It does not hold what the cluster makes of itself:
//! members, the shield map, the roster, the deployed floor, orders to forget; nor the ledger of access logs, which is true only of the staging
//! bucket beside it at that moment.
//!
//! Importing writes every document and, last, gives the store a new id: whatever revisions nodes have seen of it, they take what follows as a
//! full snapshot. An import that breaks off leaves the store with a part of the backup and its old id; the same import again goes on.
//!
//! **Access logs.** A store without the ledger that belongs to a staging bucket (a backup was imported into a new one, or a new store was begun over
//! the old `logs.staging.prefix`) deletes nothing there that it did not put there. A live cluster's import leaves its ledger as it was: what is
//! staged and held is delivered as before, also what is held under the old id. Over an older store's staging:
//!
//! * *Segments* (`EDGE/EPOCH-NUMBER.seg`) are entered and delivered when control starts. What the older store had delivered of them, to the other
//!   groups of a segment or just before it was lost, is delivered twice, in files of other names. Any that a log line says are left alone come
//!   before segments that were delivered meanwhile: they stay until an operator deletes them.
//! * *Held files* (`held/STORE/DISTRIBUTION/HOUR/TARGET/FILE`) below another store's id were refused by their bucket and are nobody's now. Each is a
//!   finished log file: copy it into the distribution's bucket, under its prefix and its own name FILE, then delete it. One that was delivered
//!   after all has that name there already, with the same bytes. In a cluster that has imported a backup, first wait until
//!   `penstock-control logs stats` shows nothing refused: what still lies below an old id then is a leftover.
//!
//! An older state of *the same* store that was put back (a snapshot of etcd, a copy of a folder) knows less than the staging bucket beside it:
//!
//! * What was acknowledged after the snapshot and not delivered before it was put back stands in staging. It is entered again before any later
//!   segment of its spool is (`access_log::stage::gap`), or ten minutes after control has found it, and is delivered. No such
//!   segment is deleted: a mark never rises over one that was not entered.
//! * What was delivered in between, and whose object is deleted, is not delivered again; the ledger waits for it for a while and then says that it is
//!   lost. What was delivered to some of a segment's groups only, or right before the store was lost, is delivered twice to these.
//! * *Held files* that were put into staging after the snapshot are named by no group: the sweeper takes them for delivered and deletes them, a few
//!   minutes after control starts. Copy `held/` out of the staging bucket before that, and deliver from there as above.
//!
//! [`mod@file`] is the form it has on disk.

pub mod file;

use bytes::Bytes;
use prost::Message;
use proto::distribution::validate;
use proto::v1::Distribution;

use crate::client::catalogue::access::{GRANTS, ORIGIN_SECRETS, SIGNERS};
use crate::documents::{
    ACCOUNTS, API, API_REFS, CERTIFICATE_AUTHORITY, DECLARED, DISTRIBUTIONS, KEYS, LOG_GRANTS, LOG_TARGETS,
    NAMES, TAGS,
};
use crate::store::{ConfigStore, Entry, HEAD_KEY, Head, StoreError, Transaction};

/// What a backup holds, by the beginning of its keys.
const KINDS: &[&str] = &[
    DISTRIBUTIONS,
    NAMES,
    DECLARED,
    API,
    API_REFS,
    TAGS,
    ACCOUNTS,
    KEYS,
    SIGNERS,
    ORIGIN_SECRETS,
    GRANTS,
    LOG_GRANTS,
    LOG_TARGETS,
    CERTIFICATE_AUTHORITY,
];

/// Documents one transaction writes: etcd takes 128 operations by default.
const TOGETHER: usize = 100;

/// Why an import was refused or broke off.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is a config already, and replacing it was not asked for.
    #[error("the store is not empty ({key} exists): import with --replace makes it what the backup says")]
    NotEmpty {
        /// A key of it.
        key: String,
    },
    /// A key that is no document of a config.
    #[error("'{0}' is no key of a backup")]
    Key(String),
    /// A distribution that no node would take.
    #[error("the document at '{0}' can't be read, or is not valid: nothing was written")]
    Unreadable(String),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the document at `key` belongs into a backup.
fn is_config(key: &str) -> bool {
    KINDS.iter().any(|kind| key.starts_with(kind))
}

/// Whether the document at `key` stays as it is where the backup lacks it: control makes an authority at its first start, and events of
/// distributions that are gone may still be in flight.
fn outlives_import(key: &str) -> bool {
    key == CERTIFICATE_AUTHORITY || key.starts_with(LOG_TARGETS)
}

/// Whether what is published from `key` could be: other documents are read by those who use them.
fn is_readable(key: &str, value: &Bytes) -> bool {
    let Some(id) = key.strip_prefix(DISTRIBUTIONS) else { return true };
    Distribution::decode(value.clone()).is_ok_and(|document| document.id == id && validate(&document).is_ok())
}

/// The config at one revision, by key.
pub async fn export(store: &dyn ConfigStore) -> Result<(Head, Vec<Entry>), StoreError> {
    let mut listing = store.list("").await?;
    listing.entries.retain(|entry| is_config(&entry.key));
    Ok((listing.head, listing.entries))
}

/// What an import came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Documents written.
    pub documents: u64,
    /// Documents deleted because the backup lacks them.
    pub deleted: u64,
}

/// Writes `entries` into `store`, which must hold no config unless `replace` is said, then gives the store a new id.
pub async fn import(
    store: &dyn ConfigStore,
    entries: &[(String, Bytes)],
    replace: bool,
) -> Result<Imported, ImportError> {
    if let Some((key, _)) = entries.iter().find(|(key, _)| !is_config(key)) {
        return Err(ImportError::Key(key.clone()));
    }
    if let Some((key, _)) = entries.iter().find(|(key, value)| !is_readable(key, value)) {
        return Err(ImportError::Unreadable(key.clone()));
    }
    let (head, there) = export(store).await?;
    let wanted: std::collections::BTreeMap<&str, &Bytes> =
        entries.iter().map(|(k, v)| (k.as_str(), v)).collect();
    // What an import that broke off has written is no reason to refuse the next.
    let foreign = there
        .iter()
        .find(|entry| !outlives_import(&entry.key) && wanted.get(entry.key.as_str()) != Some(&&entry.value));
    if let Some(entry) = foreign.filter(|_| !replace) {
        return Err(ImportError::NotEmpty { key: entry.key.clone() });
    }
    let mut imported = Imported { documents: entries.len() as u64, deleted: 0 };
    // First what is new, then what goes: a name that moved is never nobody's for long.
    for batch in entries.chunks(TOGETHER) {
        let put = batch.iter().fold(Transaction::default(), |t, (key, value)| t.put(key, value.clone()));
        store.commit(put.put(HEAD_KEY, "")).await?;
    }
    let is_gone = |e: &&Entry| !outlives_import(&e.key) && !wanted.contains_key(e.key.as_str());
    let gone: Vec<&Entry> = there.iter().filter(is_gone).collect();
    for batch in gone.chunks(TOGETHER) {
        let delete = batch.iter().fold(Transaction::default(), |t, entry| t.delete(&entry.key));
        store.commit(delete.put(HEAD_KEY, "")).await?;
        imported.deleted += batch.len() as u64;
    }
    store.renew_id(&head.store_id).await?;
    Ok(imported)
}

#[cfg(test)]
mod tests;
