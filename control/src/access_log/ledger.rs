//! The documents in the store that say what is staged, committed and delivered, and the transactions that change them.
//!
//! | key | value | who writes it |
//! |---|---|---|
//! | `log-segments/EDGE/EPOCH/NUMBER` | `StagedSegment` | staging (or the sweeper) once; retiring deletes it |
//! | `log-marks/EDGE/EPOCH` | `LogMark`: what is below and has no document is a repeat | retiring |
//! | `log-groups/DISTRIBUTION/HOUR/TARGET` | `LogGroup`: marks, the pending file, the held files | whoever merges |
//! | `log-mergers/DISTRIBUTION/HOUR` | the name of the replica that merges, for [`LEASE`] | the same |
//! | `log-totals/DISTRIBUTION` | `LogTotals`, counted in the transaction that finishes a file | the same |
//! | `log-sweeper` | the name of the replica that sweeps staging | the sweeper |
//! | `log-hourly/DISTRIBUTION/HOUR/TARGET` | a `LogGroup` whose hour is to be made a Parquet file (feature `parquet`) | the transaction that finishes a file; who made the hour's deletes it |
//! | `log-hourly-lease/DISTRIBUTION/HOUR/TARGET` | the name of the replica that makes it | the same |
//!
//! What makes the records come out once:
//!
//! * a list is committed only if the group is as the merger knew it **and** each segment on it still has its document ([`commit`]): a merger
//!   whose view is old can't take up a segment that is done with, even if the group's document is gone as well;
//! * a file's name follows from the list, and its bytes from the list and from what is known to be lost of it, so a file may be uploaded any
//!   number of times by anybody;
//! * marks rise in the transaction that clears the pending file, so a segment is on one list of a group;
//! * a list takes the segments of an epoch from the lowest number up without a gap ([`books`]), so a mark never passes over records that wait;
//! * what retiring relies on (this group has that segment) never becomes untrue while the segment's document stands, so an old view is good
//!   enough for it.
//!
//! The lease only keeps two mergers from doing the same work. Nothing is wrong when both do, nor when one does it long after.
//!
//! What is lost from staging changes neither a list nor a name, see [`super::deliver`].
//!
//! [`books`] is a replica's copy of all this, and [`follow`] keeps it true.

use std::time::Duration;

use prost::Message;
use proto::access_log::{Segment, SegmentId};
use proto::v1::{
    LogFile, LogGroup, LogMark, LogTarget, LogTotals, SegmentEntry, SegmentHeader, StagedSegment,
};
use sha2::{Digest, Sha256};

use super::bucket::Bucket;
use crate::documents::{LOG_GROUPS, LOG_MARKS, LOG_MERGERS, LOG_SEGMENTS, LOG_TOTALS};
use crate::store::{ConfigStore, StoreError, Transaction};

pub(crate) mod books;
pub(crate) mod follow;

/// How long a merger has a distribution's hour for itself. Longer than an attempt may take; shorter than what a restarted store of a
/// standalone process keeps of leases.
pub(crate) const LEASE: Duration = Duration::from_secs(40);
/// Segments on one list: its transaction has a condition for each, and etcd takes 128.
pub(crate) const LIST_SEGMENTS: usize = 100;
/// Documents one transaction deletes.
pub(crate) const TOGETHER: usize = 60;
/// Characters of an error kept in a document.
const ERROR_CHARS: usize = 300;

/// What goes into the same series of files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The distribution.
    pub distribution_id: String,
    /// Hours since 1970, UTC.
    pub hour: u32,
    /// Where the files go, as of the events.
    pub target: LogTarget,
}

impl Group {
    /// The group of a document.
    pub fn of(document: &LogGroup) -> Self {
        Self {
            distribution_id: document.distribution_id.clone(),
            hour: document.hour,
            target: document.target.clone().unwrap_or_default(),
        }
    }

    /// `DISTRIBUTION/HOUR/TARGET`: the target as 16 hexadecimal digits of its hash.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.distribution_id, self.hour, target_name(&self.target))
    }

    /// The key of its document.
    pub fn key(&self) -> String {
        format!("{LOG_GROUPS}{}", self.name())
    }

    /// The key of its merger's lease.
    pub fn lease_key(&self) -> String {
        format!("{LOG_MERGERS}{}/{}", self.distribution_id, self.hour)
    }

    /// A document of it with nothing delivered.
    pub fn document(&self) -> LogGroup {
        LogGroup {
            distribution_id: self.distribution_id.clone(),
            hour: self.hour,
            target: Some(self.target.clone()),
            ..Default::default()
        }
    }
}

/// A target in keys: 16 hexadecimal digits of its hash.
pub fn target_name(target: &LogTarget) -> String {
    let mut hash = Sha256::new();
    for text in [&target.bucket_host, &target.prefix, &target.account] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hex::encode(&hash.finalize()[..8])
}

/// The key of a segment's document.
pub fn segment_key(id: &SegmentId) -> String {
    format!("{LOG_SEGMENTS}{id}")
}

/// The key in staging, below `prefix` (empty, or with a slash at its end), of a segment's object.
pub fn object_key(prefix: &str, id: &SegmentId) -> String {
    format!("{prefix}{}/{}-{:020}.seg", id.edge_id, id.epoch, id.number)
}

/// Where the objects below `prefix` of staging are.
pub(crate) fn place(staging: &dyn Bucket, prefix: &str) -> String {
    format!("{}/{prefix}", staging.place())
}

/// The key of an epoch's mark.
pub fn mark_key(edge_id: &str, epoch: &str) -> String {
    format!("{LOG_MARKS}{edge_id}/{epoch}")
}

/// The key of a distribution's totals.
pub fn totals_key(distribution_id: &str) -> String {
    format!("{LOG_TOTALS}{distribution_id}")
}

/// A document and the revision that last changed it; 0: there is none, and this is what it would be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known<D> {
    /// The document.
    pub document: D,
    /// The revision.
    pub modified: u64,
}

/// Reads a document; one that is absent is the default, at revision 0.
pub async fn read<D: Message + Default>(store: &dyn ConfigStore, key: &str) -> Result<Known<D>, StoreError> {
    let Some(entry) = store.get(key).await? else { return Ok(Known::default()) };
    let document =
        D::decode(entry.value).map_err(|e| StoreError::Damaged(format!("{key} can't be read: {e}")))?;
    Ok(Known { document, modified: entry.modified })
}

/// A merger's claim to a distribution's hour.
#[derive(Clone, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) holder: &'a str,
    /// The revision of the lease that it replaces: the holder's own from before; 0 for none.
    pub(crate) replaces: u64,
}

/// `transaction` with the claim to `group`: fails if somebody else has it.
fn claiming(transaction: Transaction, group: &Group, claim: &Claim<'_>) -> Transaction {
    let key = group.lease_key();
    transaction.when(&key, claim.replaces).put_for(key, claim.holder.to_owned(), LEASE)
}

/// Claims `group` as it is known, to go on with what is pending or held.
pub(crate) fn claim(group: &Group, known: &Known<LogGroup>, claim: &Claim<'_>) -> Transaction {
    claiming(Transaction::default().when(group.key(), known.modified), group, claim)
}

/// Commits `file`, whose segments have documents of these revisions, as the pending file of `group`, and claims it. Returns the document too.
pub(crate) fn commit(
    group: &Group,
    known: &Known<LogGroup>,
    file: LogFile,
    segments: &[(SegmentId, u64)],
    claim: &Claim<'_>,
) -> (LogGroup, Transaction) {
    let next = LogGroup { pending: Some(file), ..known.document.clone() };
    let transaction = Transaction::default().when(group.key(), known.modified);
    let transaction =
        segments.iter().fold(transaction, |t, (id, modified)| t.when(segment_key(id), *modified));
    let transaction = claiming(transaction, group, claim).put(group.key(), next.encode_to_vec());
    (next, transaction)
}

/// Replaces the document of `group`, and gives it up to others.
pub(crate) fn put(group: &Group, modified: u64, next: &LogGroup) -> Transaction {
    Transaction::default()
        .when(group.key(), modified)
        .put(group.key(), next.encode_to_vec())
        .delete(group.lease_key())
}

/// Replaces the document of `group` by `next`, and goes on claiming it.
pub(crate) fn revise(group: &Group, modified: u64, next: &LogGroup, claim: &Claim<'_>) -> Transaction {
    claiming(Transaction::default().when(group.key(), modified), group, claim)
        .put(group.key(), next.encode_to_vec())
}

/// Raises the marks of `group` over `segments`.
pub(crate) fn raise(group: &mut LogGroup, segments: &[SegmentHeader]) {
    for segment in segments {
        let same = |mark: &&mut SegmentHeader| mark.edge_id == segment.edge_id && mark.epoch == segment.epoch;
        match group.marks.iter_mut().find(same) {
            Some(mark) => mark.number = mark.number.max(segment.number),
            None => group.marks.push(segment.clone()),
        }
    }
}

/// `known` after its bucket refused with `error`, to be tried again at `next_try_ms`.
pub(crate) fn postponed(known: &LogGroup, error: &str, next_try_ms: u64) -> LogGroup {
    LogGroup {
        attempts: known.attempts.saturating_add(1),
        last_error: error.chars().take(ERROR_CHARS).collect(),
        next_try_ms,
        ..known.clone()
    }
}

/// What a file that stands, was given up, or has lost records adds to its distribution's totals.
#[derive(Clone, Debug)]
pub(crate) enum Counted {
    /// It stands: its key, records, and bytes as they are in the bucket.
    Stands(String, u64, u64),
    /// It was given up with so many records.
    Dropped(u64),
    /// So many of its records are lost, with what has these names.
    Lost(u64, String),
}

impl Counted {
    /// Adds it.
    pub(crate) fn add_to(&self, totals: &mut LogTotals, now_ms: u64) {
        match self {
            Self::Stands(key, records, bytes) => {
                totals.records += records;
                totals.files += 1;
                totals.bytes += bytes;
                totals.last_key.clone_from(key);
                totals.last_ms = now_ms;
            }
            Self::Dropped(records) => totals.dropped_records += records,
            Self::Lost(records, names) => {
                totals.lost_records += records;
                totals.last_lost.clone_from(names);
                totals.last_lost_ms = now_ms;
            }
        }
    }
}

/// `transaction` with the totals of `group`'s distribution as they will be.
pub(crate) fn counting(transaction: Transaction, group: &Group, totals: &Known<LogTotals>) -> Transaction {
    let key = totals_key(&group.distribution_id);
    transaction.when(&key, totals.modified).put(key, totals.document.encode_to_vec())
}

/// Deletes the documents of `segments`, all of one epoch, and raises its mark over them.
pub(crate) fn retire(segments: &[(SegmentId, u64)], mark: &Known<LogMark>, now_ms: u64) -> Transaction {
    let mut transaction = Transaction::default();
    let mut next = mark.document;
    if mark.modified == 0 {
        next.first = u64::MAX;
    }
    for (id, modified) in segments {
        let key = segment_key(id);
        transaction = transaction.when(&key, *modified).delete(key);
        next.number = next.number.max(id.number);
        next.first = next.first.min(id.number);
    }
    (next.changed_ms, next.quiet_ms) = (now_ms, 0);
    match segments.first() {
        Some((id, _)) => {
            let key = mark_key(&id.edge_id, &id.epoch);
            transaction.when(&key, mark.modified).put(key, next.encode_to_vec())
        }
        None => transaction,
    }
}

/// The document of `segment`, whose object has so many bytes and was put into `place`. Its index has an order of its own: a writer's follows from its
/// memory, and the same segment must give the same document.
pub(crate) fn staged(segment: &Segment, bytes: u64, staged_ms: u64, place: String) -> StagedSegment {
    let mut index = segment.footer.index.clone();
    let target = |t: &LogTarget| (t.bucket_host.clone(), t.prefix.clone(), t.account.clone());
    index.sort_by_cached_key(|e: &SegmentEntry| {
        (e.distribution_id.clone(), e.hour, e.target.as_ref().map(target))
    });
    StagedSegment { id: Some(segment.id.header()), index, bytes, staged_ms, place }
}

/// Enters a segment whose object stands in staging, unless it is there or was; `mark` is its epoch's.
pub(crate) fn enter(id: &SegmentId, document: &StagedSegment, mark: &Known<LogMark>) -> Transaction {
    let key = segment_key(id);
    Transaction::default()
        .when(mark_key(&id.edge_id, &id.epoch), mark.modified)
        .when(&key, 0)
        .put(key, document.encode_to_vec())
}
