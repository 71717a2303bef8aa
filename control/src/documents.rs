//! The documents in a store: their keys, their form, and the transactions that change them.
//!
//! | key | value |
//! |---|---|
//! | `distributions/ID` | a `Distribution`, protobuf |
//! | `names/HOST` | the id of the distribution that has this domain or alias; of a web distribution of the API, a space and its account besides |
//! | `purges/ID` | a `Purge`, protobuf; lives for `purge_kept_seconds` |
//! | `declared/NAME` | the id a declarative file's entry was given, see [`crate::declare`] |
//! | `api/KIND/ACCOUNT/ID` | a `Resource` of the control API, see [`crate::api`] |
//! | `api-refs/KIND/ACCOUNT/HASH` | the id of the resource made with the caller reference of this SHA-256 |
//! | `tags/KIND/ACCOUNT/ID` | the `Tags` of a resource |
//! | `accounts/ACCOUNT`, `keys/ID` | an `Account`; an `AccessKey`, its secret sealed ([`crate::seal`]) |
//! | `signers/ACCOUNT` | a `Signer`: the public keys that sign stream names; published to all nodes |
//! | `origin-secrets/CREDENTIAL` | an `OriginSecret`, sealed; published to shields |
//! | `grants/ACCOUNT/BUCKET` | a `Grant`; published to shields |
//! | `roster/NODE` | a `RosterEntry`: a node that counts towards Deployed |
//! | `certificate-authority` | the local `CertificateAuthority`, its key sealed, see [`crate::door`] |
//! | `deployed` | the `Deployed` floor, see [`crate::lifecycle`] |
//! | `console-logouts/ID` | empty: a session of the console that was logged out; lives as long as its cookie could |
//! | `log-grants/ACCOUNT/BUCKET` | a `Grant`: the account's logs may be written there; control's own concern |
//! | `log-targets/DISTRIBUTION/TARGET` | a `LogTarget` the distribution has ever logged to; stays for events in flight, also when it is deleted |
//! | `log-segments/EDGE/EPOCH/NUMBER` | a `StagedSegment`: records that wait for delivery, see [`crate::access_log`] |
//! | `log-groups/DISTRIBUTION/HOUR/TARGET` | a `LogGroup`: what was delivered of it while segments concern it |
//! | `log-marks/EDGE/EPOCH` | a `LogMark`: segments up to this number are delivered and gone |
//! | `log-mergers/DISTRIBUTION/HOUR` | the replica that merges; lives as long as its lease |
//! | `log-sweeper` | the replica that sweeps staging; lives as long as its lease |
//! | `log-totals/DISTRIBUTION` | the `LogTotals` of what was delivered; none of `log-…` is mirrored |
//! | `log-hourly/DISTRIBUTION/HOUR/TARGET` | a `LogGroup` whose hour is to be made a Parquet file (feature `parquet`) |
//! | `log-hourly-lease/…` | the replica that makes it |
//! | `members/NODE` | a `RegisterRequest`, protobuf; lives as long as the node's lease |
//! | `shield_map` | the `ShieldMap` in force, protobuf |
//! | `head`, `store_id` | see [`crate::store`] |
//!
//! A transaction that changes a distribution also claims its names, and releases those given up (what does not fit, right after: `api::names`), so that no two distributions ever have
//! one, and touches the head, which makes it the next config revision.

use std::time::Duration;

use prost::Message;
use proto::distribution::{Invalid, validate};
use proto::v1::{Distribution, LogTarget, Purge, PurgeRequest};

pub use crate::client::catalogue::access::{GRANTS, ORIGIN_SECRETS, SIGNERS};

use crate::access_log::ledger::target_name;
use crate::store::{ConfigStore, HEAD_KEY, StoreError, Transaction, random_text};

/// Before a distribution's id.
pub const DISTRIBUTIONS: &str = "distributions/";
/// Before a host name.
pub const NAMES: &str = "names/";
/// Before a purge's id.
pub const PURGES: &str = "purges/";
/// Before the name of an entry of a declarative file.
pub const DECLARED: &str = "declared/";
/// Before a node id.
pub const MEMBERS: &str = "members/";
/// Before `KIND/ACCOUNT/ID` of a resource of the control API.
pub const API: &str = "api/";
/// Before `KIND/ACCOUNT/HASH` of a caller reference.
pub const API_REFS: &str = "api-refs/";
/// Before `KIND/ACCOUNT/ID` of a resource's tags.
pub const TAGS: &str = "tags/";
/// Before an account's number.
pub const ACCOUNTS: &str = "accounts/";
/// Before an access key's id.
pub const KEYS: &str = "keys/";
/// Before a node id in the roster.
pub const ROSTER: &str = "roster/";
/// Before every key of access logs: what only mergers read, so that the mirror leaves it alone.
pub const LOGS: &str = "log-";
/// Before `ACCOUNT/BUCKET` of a bucket that the account's access logs may be written to. Apart from [`GRANTS`], which lend read access: shields, old ones
/// too, must never take one for the other.
pub const LOG_GRANTS: &str = "log-grants/";
/// Before `DISTRIBUTION/TARGET` of a place that the distribution was told to log to; never deleted. See [`crate::access_log::permission`].
pub const LOG_TARGETS: &str = "log-targets/";
/// Before `EDGE/EPOCH/NUMBER` of a staged segment of access logs.
pub const LOG_SEGMENTS: &str = "log-segments/";
/// Before `DISTRIBUTION/HOUR/TARGET` of a group of access records.
pub const LOG_GROUPS: &str = "log-groups/";
/// Before `EDGE/EPOCH`: the high-water mark of a spool.
pub const LOG_MARKS: &str = "log-marks/";
/// Before `DISTRIBUTION/HOUR`: who merges.
pub const LOG_MERGERS: &str = "log-mergers/";
/// Who sweeps staging.
pub const LOG_SWEEPER: &str = "log-sweeper";
/// Before a distribution's id: what was delivered for it.
pub const LOG_TOTALS: &str = "log-totals/";
/// Before `DISTRIBUTION/HOUR/TARGET` of an hour that is to be made a Parquet file.
#[cfg(feature = "parquet")]
pub const LOG_HOURLY: &str = "log-hourly/";
/// The local certificate authority.
pub const CERTIFICATE_AUTHORITY: &str = "certificate-authority";
/// The deployed floor.
pub const DEPLOYED: &str = "deployed";
/// The shield map in force.
pub const SHIELD_MAP: &str = "shield_map";

/// Why a document was not stored.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// A field is not valid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Another distribution has this name.
    #[error("the name {host} belongs to another distribution")]
    NameTaken {
        /// The domain or alias.
        host: String,
    },
    /// The store refused or failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for DocumentError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { ref key } => match key.strip_prefix(NAMES) {
                Some(host) => Self::NameTaken { host: host.into() },
                None => Self::Store(error),
            },
            error => Self::Store(error),
        }
    }
}

/// A distribution and the revision that last changed it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The document.
    pub document: Distribution,
    /// The revision, for compare-and-set.
    pub modified: u64,
}

/// One distribution.
pub async fn distribution(store: &dyn ConfigStore, id: &str) -> Result<Option<Stored>, StoreError> {
    let key = format!("{DISTRIBUTIONS}{id}");
    let Some(entry) = store.get(&key).await? else { return Ok(None) };
    let document = Distribution::decode(entry.value)
        .map_err(|e| StoreError::Damaged(format!("{key} can't be read: {e}")))?;
    Ok(Some(Stored { document, modified: entry.modified }))
}

/// The key of the document by which distribution `id` may log to `target`.
pub fn log_target_key(id: &str, target: &LogTarget) -> String {
    format!("{LOG_TARGETS}{id}/{}", target_name(target))
}

fn hosts(document: &Distribution) -> impl Iterator<Item = &String> {
    std::iter::once(&document.domain).chain(&document.aliases)
}

/// The transaction that makes `next` the document, where `known` is what it replaces (`None`: it must be new). The names it gives up may be too many
/// for a store: [`set_aside`](crate::api::names::set_aside).
pub fn put_distribution(known: Option<&Stored>, next: &Distribution) -> Result<Transaction, Invalid> {
    validate(next)?;
    let key = format!("{DISTRIBUTIONS}{}", next.id);
    let mut transaction = Transaction::default()
        .when(&key, known.map_or(0, |k| k.modified))
        .put(key, next.encode_to_vec())
        .put(HEAD_KEY, "");
    if let Some(target) = &next.logging {
        // Before any node hears of it, so that what comes back is known.
        transaction = transaction.put(log_target_key(&next.id, target), target.encode_to_vec());
    }
    let had = |host: &String| known.is_some_and(|k| hosts(&k.document).any(|h| h == host));
    for host in hosts(next).filter(|h| !had(h)) {
        let name = format!("{NAMES}{host}");
        transaction = transaction.when(&name, 0).put(name, next.id.clone());
    }
    for host in known.iter().flat_map(|k| hosts(&k.document)).filter(|h| !hosts(next).any(|n| n == *h)) {
        transaction = transaction.delete(format!("{NAMES}{host}"));
    }
    Ok(transaction)
}

/// The transaction that deletes `known`.
pub fn delete_distribution(known: &Stored) -> Transaction {
    let key = format!("{DISTRIBUTIONS}{}", known.document.id);
    let transaction = Transaction::default().when(&key, known.modified).delete(key).put(HEAD_KEY, "");
    hosts(&known.document).fold(transaction, |t, host| t.delete(format!("{NAMES}{host}")))
}

/// `transaction` with a new order to forget, kept for `ttl`; it touches no head.
pub fn add_purge(transaction: Transaction, order: &PurgeRequest, ttl: Duration) -> (Purge, Transaction) {
    let id = format!("I{}", random_text(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 13));
    let PurgeRequest { origin_id, key_prefix, exact } = order.clone();
    let purge = Purge { id, origin_id, key_prefix, exact };
    let key = format!("{PURGES}{}", purge.id);
    let transaction = transaction.when(&key, 0).put_for(key, purge.encode_to_vec(), ttl);
    (purge, transaction)
}

/// Stores an order to forget for `ttl`; the id is new. Returns the document and its revision.
pub async fn put_purge(
    store: &dyn ConfigStore,
    order: &PurgeRequest,
    ttl: Duration,
) -> Result<(Purge, u64), StoreError> {
    let (purge, transaction) = add_purge(Transaction::default(), order, ttl);
    let revision = store.commit(transaction.put(HEAD_KEY, "")).await?;
    Ok((purge, revision))
}

/// A new distribution id: `E` and 13 of `[0-9A-Z]`.
pub fn new_id() -> String {
    format!("E{}", random_text(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", 13))
}

/// A new domain in `zone`: `letter` (`s` streaming, `d` web), 13 of `[a-z0-9]`, a dot, the zone.
pub fn new_domain(letter: char, zone: &str) -> String {
    format!("{letter}{}.{zone}", random_text(b"0123456789abcdefghijklmnopqrstuvwxyz", 13))
}
