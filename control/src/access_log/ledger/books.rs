//! A replica's copy of the ledger, arranged by what is to be done next.
//!
//! For each group the books hold the segments whose records *wait* (their number is above the group's mark), for each staged segment how many groups
//! it is still *open* for; at none it can be retired. Both follow from the documents alone and are kept up with each change, so looking
//! for work costs no more than a look at each group.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use proto::access_log::{SegmentId, is_plausible_ms};
use proto::v1::{LogFile, LogGroup, SegmentHeader, StagedSegment};
use tokio::time::Instant;

use super::{Group, Known, LIST_SEGMENTS};
use crate::documents::{LOG_GROUPS, LOG_MERGERS, LOG_SEGMENTS};
use crate::store::{Change, Entry, Listing};

/// Waits between attempts to deliver to a bucket that refuses: the first, and the longest.
pub(crate) const ATTEMPT_FIRST: Duration = Duration::from_secs(5);
pub(crate) const ATTEMPT_LAST: Duration = Duration::from_secs(300);
/// A replica that has seen a group be refused waits at least so much of that, whatever its clock says of when the next attempt is due:
/// replicas whose clocks are apart would otherwise ask by turns and at once.
const ATTEMPT_LEAST: f64 = 0.25;
const ATTEMPT_LEAST_MOST: Duration = Duration::from_secs(60);
/// Files that a group may have held in staging; more segments then wait in the ledger.
const HELD_MAX: usize = 64;

/// When a group is due, and how much a list takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Records wait no longer than this for others to share their file.
    pub(crate) file_age: Duration,
    /// Bytes of records in a file; a single segment may have more.
    pub(crate) file_bytes: u64,
    /// Bytes of segments that lists made at one time may read.
    pub(crate) read_bytes: u64,
}

/// Records of a group in one segment, not on any list yet.
#[derive(Clone, Debug)]
struct Waiting {
    modified: u64,
    records: u64,
    bytes: u64,
    first_ms: u64,
    since: Instant,
}

/// Since when a replica has known a document as it is.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    /// It was there when this replica began to look: how long before that it was written is not known.
    is_old: bool,
}

/// How long a group is left alone after so many refusals on end.
pub(crate) fn wait_after(attempts: u32) -> Duration {
    ATTEMPT_FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(ATTEMPT_LAST)
}

#[derive(Debug)]
struct Slot {
    group: Arc<Group>,
    lease_key: String,
    known: Known<LogGroup>,
    /// Since when that is known here, by elapsed time: not before it was written.
    seen: Seen,
    /// Staged segments that have records of it, waiting or not.
    live: usize,
    waiting: BTreeMap<Arc<SegmentId>, Waiting>,
    sums: Sums,
}

/// Of what waits.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    records: u64,
    bytes: u64,
    first_ms: Option<u64>,
    since: Option<Instant>,
}

impl Sums {
    fn add(&mut self, waiting: &Waiting) {
        self.records += waiting.records;
        self.bytes += waiting.bytes;
        self.first_ms = Some(self.first_ms.map_or(waiting.first_ms, |first| first.min(waiting.first_ms)));
        self.since = Some(self.since.map_or(waiting.since, |since| since.min(waiting.since)));
    }
}

#[derive(Debug)]
struct Staged {
    modified: u64,
    bytes: u64,
    since: Instant,
    groups: Vec<Arc<str>>,
    /// Groups that don't have it yet.
    open: usize,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Books {
    store_id: String,
    revision: u64,
    slots: HashMap<Arc<str>, Slot>,
    segments: BTreeMap<Arc<SegmentId>, Staged>,
    /// By key: who has it, and since which revision.
    leases: HashMap<String, (String, u64)>,
}

/// Something to be done for a group.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    /// The key of the group's document.
    pub(crate) key: Arc<str>,
    pub(crate) lease_key: String,
    pub(crate) bucket_host: String,
    /// Its bucket has refused lately.
    pub(crate) is_refused: bool,
    /// What is committed comes first, then what has waited longest.
    order: (bool, u64),
}

/// What comes next for a group.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// To commit this file, whose segments have documents of these revisions, and deliver it.
    Commit(LogFile, Vec<(SegmentId, u64)>),
    /// To deliver what is pending.
    Deliver(LogFile),
    /// To deliver what is held in staging.
    Redeliver(LogFile),
}

/// A group with its next step.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) group: Arc<Group>,
    pub(crate) known: Known<LogGroup>,
    /// Since when that is known, at the latest since when it is so.
    pub(crate) seen: Instant,
    pub(crate) step: Step,
    /// The revision of a lease this replica has already; 0: none.
    pub(crate) replaces: u64,
}

/// What waits, for gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) groups: usize,
    pub(crate) refused_groups: usize,
    pub(crate) records: u64,
    /// The earliest event's time.
    pub(crate) first_ms: Option<u64>,
    pub(crate) staged_segments: usize,
    pub(crate) staged_bytes: u64,
    pub(crate) held_files: usize,
    pub(crate) held_bytes: u64,
}

impl Slot {
    fn mark(&self, id: &SegmentId) -> u64 {
        let same = |mark: &&SegmentHeader| mark.edge_id == id.edge_id && mark.epoch == id.epoch;
        self.known.document.marks.iter().find(same).map_or(0, |mark| mark.number)
    }

    fn is_empty(&self) -> bool {
        self.live == 0 && self.known.modified == 0
    }

    fn count(&mut self) {
        self.sums = Sums::default();
        for waiting in self.waiting.values() {
            self.sums.add(waiting);
        }
    }

    fn is_due(&self, limits: &Limits, now: Instant, is_flushing: bool) -> bool {
        let age = self.sums.since.map(|since| now.saturating_duration_since(since));
        let is_old = age.is_some_and(|age| is_flushing || age >= limits.file_age);
        let is_large = self.waiting.len() >= LIST_SEGMENTS || self.sums.bytes >= limits.file_bytes;
        (is_old || is_large) && !self.waiting.is_empty() && self.known.document.held.len() < HELD_MAX
    }

    /// Whether an attempt is due: by the wall clock, if what it says can be; and in any case not at once after a refusal, nor much later than
    /// its wait.
    fn may_try(&self, now_ms: u64) -> bool {
        let LogGroup { next_try_ms: at, attempts, .. } = self.known.document;
        let (elapsed, wait) = (self.seen.at.elapsed(), wait_after(attempts));
        if at == 0 || elapsed >= wait {
            return true;
        }
        if !self.seen.is_old && elapsed < wait.mul_f64(ATTEMPT_LEAST).min(ATTEMPT_LEAST_MOST) {
            return false;
        }
        // One that is further off than any wait was written by another clock.
        at <= now_ms || at > now_ms + 2 * ATTEMPT_LAST.as_millis() as u64
    }

    /// Segments for the next file: of each epoch the lowest numbers, so that none that waits is passed over; the longest staged first; only those
    /// staged up to revision `until`.
    fn list(&self, limits: &Limits, until: u64) -> (Vec<(SegmentId, u64)>, u64, u64) {
        let mut candidates = Vec::with_capacity(self.waiting.len());
        let mut above: Option<(&Arc<SegmentId>, u64)> = None;
        for (id, waiting) in self.waiting.iter().rev() {
            // One that was staged after one with a higher number (the sweeper found it) goes before it all the same.
            let same = above.filter(|(a, _)| a.edge_id == id.edge_id && a.epoch == id.epoch);
            let rank = same.map_or(waiting.modified, |(_, rank)| rank.min(waiting.modified));
            above = Some((id, rank));
            candidates.push((rank, id, waiting));
        }
        candidates.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        let (mut list, mut records, mut bytes) = (Vec::new(), 0, 0);
        for (rank, id, waiting) in candidates {
            let fits = list.is_empty() || bytes + waiting.bytes <= limits.file_bytes;
            if list.len() == LIST_SEGMENTS || rank > until || !fits {
                break;
            }
            list.push((SegmentId::clone(id), waiting.modified));
            records += waiting.records;
            bytes += waiting.bytes;
        }
        (list, records, bytes)
    }
}

impl Books {
    /// Makes them what a list of the whole ledger says, unless they are newer.
    pub(crate) fn replace(&mut self, listing: &Listing, now_ms: u64) {
        let head = &listing.head;
        if self.store_id == head.store_id && head.revision < self.revision {
            return;
        }
        let mut since: HashMap<Arc<SegmentId>, Instant> =
            std::mem::take(&mut self.segments).into_iter().map(|(id, staged)| (id, staged.since)).collect();
        let (is_first, slots) = (self.store_id != head.store_id, std::mem::take(&mut self.slots));
        *self = Self { store_id: head.store_id.clone(), revision: head.revision, ..Self::default() };
        for entry in &listing.entries {
            self.set(entry, &mut since, now_ms);
        }
        for (key, slot) in &mut self.slots {
            slot.seen.is_old = is_first;
            let same = slots.get(key).filter(|old| old.known.modified == slot.known.modified);
            slot.seen = same.map_or(slot.seen, |old| old.seen);
        }
    }

    /// Takes a change that the store's watch told.
    pub(crate) fn apply(&mut self, change: &Change, now_ms: u64) {
        if change.revision <= self.revision {
            return;
        }
        self.revision = change.revision;
        for key in &change.deletes {
            self.remove(key, change.revision);
        }
        for entry in &change.puts {
            self.set(entry, &mut HashMap::new(), now_ms);
        }
    }

    /// Takes what this replica wrote before the watch tells of it.
    pub(crate) fn learn(&mut self, document: LogGroup, modified: u64) {
        self.set_group(document, modified);
    }

    /// The segments' documents were deleted by this replica.
    pub(crate) fn retire(&mut self, segments: &[(SegmentId, u64)]) {
        segments.iter().for_each(|(id, _)| self.remove_segment(id));
    }

    /// So were those of these groups, at `revision`.
    pub(crate) fn forget(&mut self, groups: &[(String, u64)], revision: u64) {
        groups.iter().for_each(|(key, _)| self.remove(key, revision));
    }

    fn set(&mut self, entry: &Entry, since: &mut HashMap<Arc<SegmentId>, Instant>, now_ms: u64) {
        let (key, modified) = (&entry.key, entry.modified);
        let value = entry.value.clone();
        let readable = if key.starts_with(LOG_SEGMENTS) {
            StagedSegment::decode(value).is_ok_and(|document| {
                let id = document.id.as_ref().and_then(SegmentId::of);
                id.is_some_and(|id| self.add_segment(id, document, modified, since, now_ms))
            })
        } else if key.starts_with(LOG_GROUPS) {
            LogGroup::decode(value).is_ok_and(|document| {
                let is_its_own = Group::of(&document).key() == *key;
                is_its_own && self.set_group(document, modified)
            })
        } else {
            if key.starts_with(LOG_MERGERS) {
                let holder = String::from_utf8_lossy(&value).into_owned();
                self.leases.insert(key.clone(), (holder, modified));
            }
            true
        };
        if !readable {
            tracing::error!(%key, modified, "a document of the log ledger can't be read: it is left alone");
        }
    }

    fn remove(&mut self, key: &str, revision: u64) {
        if let Some(name) = key.strip_prefix(LOG_SEGMENTS) {
            if let Some(id) = parse(name) {
                self.remove_segment(&id);
            }
        } else if key.starts_with(LOG_GROUPS) {
            if let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.known.modified < revision) {
                slot.known = Known { document: slot.group.document(), modified: 0 };
                if slot.is_empty() {
                    self.slots.remove(key);
                }
            }
        } else if key.starts_with(LOG_MERGERS) {
            self.leases.remove(key);
        }
    }

    fn slot(&mut self, group: Group) -> (Arc<str>, &mut Slot) {
        let key: Arc<str> = Arc::from(group.key());
        let slot = self.slots.entry(key.clone()).or_insert_with(|| Slot {
            lease_key: group.lease_key(),
            known: Known { document: group.document(), modified: 0 },
            group: Arc::new(group),
            seen: Seen { at: Instant::now(), is_old: false },
            live: 0,
            waiting: BTreeMap::new(),
            sums: Sums::default(),
        });
        (key, slot)
    }

    fn add_segment(
        &mut self,
        id: SegmentId,
        document: StagedSegment,
        modified: u64,
        since: &mut HashMap<Arc<SegmentId>, Instant>,
        now_ms: u64,
    ) -> bool {
        if self.segments.contains_key(&id) {
            return true;
        }
        let id = Arc::new(id);
        // The clock of whoever staged it may be off by anything: an age is believed up to an hour, and grows by our own time.
        let age = Duration::from_millis(now_ms.saturating_sub(document.staged_ms).min(3_600_000));
        let now = Instant::now();
        let since = since.remove(&id).unwrap_or_else(|| now.checked_sub(age).unwrap_or(now));
        let mut staged = Staged { modified, bytes: document.bytes, since, groups: Vec::new(), open: 0 };
        let mut seen = HashSet::new();
        for entry in document.index {
            // Without a target it is for nobody.
            let Some(target) = entry.target else { continue };
            let group = Group { distribution_id: entry.distribution_id, hour: entry.hour, target };
            let (key, slot) = self.slot(group);
            if !seen.insert(key.clone()) {
                continue;
            }
            slot.live += 1;
            if id.number > slot.mark(&id) {
                let (records, bytes) = (entry.records, entry.bytes);
                // An edge whose clock was not set has not kept it waiting since 1970.
                let is_set = is_plausible_ms(entry.first_ms);
                let first_ms = if is_set { entry.first_ms } else { document.staged_ms };
                let waiting = Waiting { modified, records, bytes, first_ms, since };
                slot.sums.add(&waiting);
                slot.waiting.insert(id.clone(), waiting);
                staged.open += 1;
            }
            staged.groups.push(key);
        }
        self.segments.insert(id, staged);
        true
    }

    fn remove_segment(&mut self, id: &SegmentId) {
        let Some(staged) = self.segments.remove(id) else { return };
        for key in staged.groups {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.live -= 1;
            if slot.waiting.remove(id).is_some() {
                slot.count();
            }
            if slot.is_empty() {
                self.slots.remove(&key);
            }
        }
    }

    fn set_group(&mut self, document: LogGroup, modified: u64) -> bool {
        let (_, slot) = self.slot(Group::of(&document));
        if modified <= slot.known.modified {
            return true;
        }
        slot.known = Known { document, modified };
        slot.seen = Seen { at: Instant::now(), is_old: false };
        let done: Vec<Arc<SegmentId>> =
            slot.waiting.keys().filter(|id| id.number <= slot.mark(id)).cloned().collect();
        for id in &done {
            slot.waiting.remove(id);
        }
        if !done.is_empty() {
            slot.count();
        }
        for id in done {
            if let Some(staged) = self.segments.get_mut(&id) {
                staged.open -= 1;
            }
        }
        true
    }

    /// What is to be done, the most urgent first; and the revision up to which segments may be listed now, so that those which are read
    /// together fit in memory together.
    pub(crate) fn due(
        &self,
        limits: &Limits,
        holder: &str,
        now_ms: u64,
        is_flushing: bool,
    ) -> (Vec<Due>, u64) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (key, slot) in &self.slots {
            let document = &slot.known.document;
            let waits = slot.is_due(limits, now, is_flushing);
            let order = match (&document.pending, document.held.first()) {
                (Some(file), _) if slot.may_try(now_ms) => (false, file.committed_ms),
                (Some(_), _) => continue,
                (None, _) if waits => (true, slot.waiting.values().map(|w| w.modified).min().unwrap_or(0)),
                (None, Some(_)) if slot.may_try(now_ms) => (true, u64::MAX),
                _ => continue,
            };
            if self.leases.get(&slot.lease_key).is_some_and(|(who, _)| who != holder) {
                continue;
            }
            due.push(Due {
                key: key.clone(),
                lease_key: slot.lease_key.clone(),
                bucket_host: slot.group.target.bucket_host.clone(),
                is_refused: document.attempts > 0,
                order,
            });
        }
        due.sort_unstable_by(|a, b| (a.order, &a.key).cmp(&(b.order, &b.key)));
        let until = self.until(limits, &due);
        (due, until)
    }

    /// The revision of the last of the segments that `due` groups would have read and that fit in memory.
    fn until(&self, limits: &Limits, due: &[Due]) -> u64 {
        let open = |staged: &&Staged| staged.open > 0;
        if self.segments.values().filter(open).map(|s| s.bytes).sum::<u64>() <= limits.read_bytes {
            return u64::MAX;
        }
        let mut wanted: BTreeMap<u64, &Arc<SegmentId>> = BTreeMap::new();
        for slot in due.iter().filter_map(|due| self.slots.get(&due.key)) {
            wanted.extend(slot.waiting.iter().map(|(id, waiting)| (waiting.modified, id)));
        }
        let (mut bytes, mut until) = (0, u64::MAX);
        for (modified, id) in wanted {
            bytes += self.segments.get(id).map_or(0, |staged| staged.bytes);
            if bytes > limits.read_bytes && until != u64::MAX {
                break;
            }
            until = modified;
        }
        until
    }

    /// The next step for the group at `key`, if there is one now.
    pub(crate) fn job(
        &self,
        key: &str,
        limits: &Limits,
        holder: &str,
        until: u64,
        now_ms: u64,
        is_flushing: bool,
    ) -> Option<Job> {
        let slot = self.slots.get(key)?;
        let replaces = match self.leases.get(&slot.lease_key) {
            Some((who, modified)) => (who == holder).then_some(*modified)?,
            None => 0,
        };
        let document = &slot.known.document;
        let step = match &document.pending {
            Some(file) => slot.may_try(now_ms).then(|| Step::Deliver(file.clone()))?,
            None => {
                let is_due = slot.is_due(limits, Instant::now(), is_flushing);
                let (list, records, bytes) =
                    if is_due { slot.list(limits, until) } else { (Vec::new(), 0, 0) };
                if list.is_empty() {
                    let held = document.held.first().filter(|_| slot.may_try(now_ms))?;
                    Step::Redeliver(held.clone())
                } else {
                    let segments = list.iter().map(|(id, _)| id.header()).collect();
                    let file =
                        LogFile { segments, committed_ms: now_ms, records, bytes, ..LogFile::default() };
                    Step::Commit(file, list)
                }
            }
        };
        let (group, known, seen) = (slot.group.clone(), slot.known.clone(), slot.seen.at);
        Some(Job { group, known, seen, step, replaces })
    }

    /// Segments that every group has, by epoch, with their revisions; at most `most` of an epoch.
    pub(crate) fn retirable(&self, most: usize) -> Vec<Vec<(SegmentId, u64)>> {
        let mut epochs: BTreeMap<(&str, &str), Vec<(SegmentId, u64)>> = BTreeMap::new();
        for (id, staged) in self.segments.iter().filter(|(_, staged)| staged.open == 0) {
            let epoch = epochs.entry((&id.edge_id, &id.epoch)).or_default();
            if epoch.len() < most {
                epoch.push((SegmentId::clone(id), staged.modified));
            }
        }
        epochs.into_values().collect()
    }

    /// Documents of groups that no segment concerns any more and that wait for nothing, with their revisions; at most `most`.
    pub(crate) fn finished(&self, most: usize) -> Vec<(String, u64)> {
        let finished = |slot: &&Slot| {
            let document = &slot.known.document;
            slot.live == 0
                && slot.known.modified != 0
                && document.pending.is_none()
                && document.held.is_empty()
        };
        let finished = self.slots.values().filter(finished);
        let mut finished: Vec<_> = finished.map(|slot| (slot.group.key(), slot.known.modified)).collect();
        finished.sort_unstable();
        finished.truncate(most);
        finished
    }

    /// The segment's document is there.
    pub(crate) fn has_segment(&self, id: &SegmentId) -> bool {
        self.segments.contains_key(id)
    }

    /// Whether nothing is left that could be delivered or retired now: only groups whose buckets refuse wait.
    pub(crate) fn is_settled(&self) -> bool {
        let idle = |slot: &Slot| {
            let document = &slot.known.document;
            document.attempts > 0 || document.pending.is_none() && slot.waiting.is_empty()
        };
        self.slots.values().all(idle) && self.segments.values().all(|staged| staged.open > 0)
    }

    /// What waits.
    pub(crate) fn backlog(&self) -> Backlog {
        let mut backlog = Backlog {
            staged_segments: self.segments.len(),
            staged_bytes: self.segments.values().map(|staged| staged.bytes).sum(),
            ..Backlog::default()
        };
        for slot in self.slots.values() {
            let document = &slot.known.document;
            let held: u64 = document.held.iter().map(|file| file.records).sum();
            if slot.sums.records + held == 0 {
                continue;
            }
            backlog.groups += 1;
            backlog.refused_groups += usize::from(document.attempts > 0);
            backlog.records += slot.sums.records + held;
            backlog.held_files += document.held.len();
            backlog.held_bytes += document.held.iter().map(|file| file.bytes).sum::<u64>();
            backlog.first_ms = backlog.first_ms.into_iter().chain(slot.sums.first_ms).min();
        }
        backlog
    }
}

/// The id of a segment that `EDGE/EPOCH/NUMBER` names.
pub(crate) fn parse(name: &str) -> Option<SegmentId> {
    let mut parts = name.split('/');
    let (edge_id, epoch, number) = (parts.next()?, parts.next()?, parts.next()?);
    let header = SegmentHeader { edge_id: edge_id.into(), epoch: epoch.into(), number: number.parse().ok()? };
    SegmentId::of(&header).filter(|id| id.to_string() == name)
}

#[cfg(test)]
mod tests;
