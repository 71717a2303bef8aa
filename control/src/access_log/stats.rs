//! What was delivered for each distribution, what waits, and which buckets refuse: for operators, and for the owner of a distribution.
//!
//! All of it is read from the ledger when it is asked for, so every replica says the same and nothing is kept beside the truth. What waits is in
//! staged segments whose number is above their group's mark, and in files that are held because their bucket refuses them. Groups are read
//! before segments: a segment that is finished in between is gone or still counted as waiting, for one look.
//!
//! A backlog can be long (a bucket that refuses for a day), so segments are read page by page, summed up and let go; after [`SEGMENTS_MAX`] the
//! counting ends and says that there is more.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use prost::Message;
use proto::v1::{
    LogGroup, LogRefusal, LogStats, LogStatsResponse, LogTarget, LogTotals, SegmentHeader, StagedSegment,
};

use crate::documents::{LOG_GROUPS, LOG_SEGMENTS, LOG_TOTALS};
use crate::mirror::view::View;
use crate::store::{ConfigStore, Entry, StoreError};

/// Documents of segments read for one answer.
pub const SEGMENTS_MAX: usize = 20_000;
/// Documents read at a time.
const PAGE: usize = 200;
/// Distributions in one answer.
const ANSWER_MAX: usize = 1000;

/// Which distributions are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Only this one; empty: all.
    pub distribution_id: &'a str,
    /// Ids after this one.
    pub after: &'a str,
    /// At most so many; 0: 1000, which is also the most there are.
    pub limit: usize,
}

type Marks = HashMap<(String, u32, Option<LogTarget>), Vec<SegmentHeader>>;

#[derive(Default)]
struct Sums {
    stats: BTreeMap<String, LogStats>,
    marks: Marks,
    /// By distribution: the earliest thing that waits, in milliseconds since 1970.
    oldest: HashMap<String, u64>,
}

/// The figures of the distributions asked for, by id: those that log by what `view` knows, and those that the ledger knows.
///
/// # Errors
/// When the store fails, or holds what can't be read.
pub async fn read(
    store: &dyn ConfigStore,
    view: &View,
    asked: Asked<'_>,
    now_ms: u64,
) -> Result<LogStatsResponse, StoreError> {
    read_up_to(store, view, asked, now_ms, SEGMENTS_MAX).await
}

async fn read_up_to(
    store: &dyn ConfigStore,
    view: &View,
    asked: Asked<'_>,
    now_ms: u64,
    segments_max: usize,
) -> Result<LogStatsResponse, StoreError> {
    let one = asked.distribution_id;
    let mut sums = Sums::default();
    let configured = view.distributions.values().filter(|d| one.is_empty() || d.id == one);
    for distribution in configured.filter(|d| d.logging.is_some()) {
        sums.of(&distribution.id).logging = distribution.logging.clone();
    }
    let (totals, groups) = if one.is_empty() {
        (LOG_TOTALS.to_owned(), LOG_GROUPS.to_owned())
    } else {
        (format!("{LOG_TOTALS}{one}"), format!("{LOG_GROUPS}{one}/"))
    };
    pages(store, &totals, usize::MAX, |entry| {
        let id = entry.key.strip_prefix(LOG_TOTALS).unwrap_or_default().to_owned();
        if one.is_empty() || id == one {
            sums.of(&id).delivered = Some(decode::<LogTotals>(entry)?);
        }
        Ok(())
    })
    .await?;
    pages(store, &groups, usize::MAX, |entry| {
        sums.group(decode(entry)?);
        Ok(())
    })
    .await?;
    let all = pages(store, LOG_SEGMENTS, segments_max, |entry| {
        sums.segment(&decode(entry)?, one);
        Ok(())
    })
    .await?;
    let limit = if asked.limit == 0 { ANSWER_MAX } else { asked.limit.min(ANSWER_MAX) };
    let Sums { mut stats, oldest, .. } = sums;
    for (id, stats) in &mut stats {
        stats.at_least = !all;
        stats.oldest_waiting_ms = oldest.get(id).map_or(0, |first| now_ms.saturating_sub(*first).max(1));
        stats.last_error = stats.refusals.first().map(|refusal| refusal.error.clone()).unwrap_or_default();
    }
    let mut rest = stats.range::<str, _>((Bound::Excluded(asked.after), Bound::Unbounded));
    let distributions: Vec<LogStats> = rest.by_ref().take(limit).map(|(_, stats)| stats.clone()).collect();
    Ok(LogStatsResponse { distributions, truncated: rest.next().is_some() })
}

/// Gives each document below `prefix` to `take`, up to `most` of them. Returns whether that were all.
async fn pages(
    store: &dyn ConfigStore,
    prefix: &str,
    most: usize,
    mut take: impl FnMut(Entry) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let (mut after, mut taken) = (String::new(), 0);
    loop {
        let page = store.page(prefix, &after, PAGE).await?;
        let is_last = page.len() < PAGE;
        for entry in page {
            if taken == most {
                return Ok(false);
            }
            taken += 1;
            after.clone_from(&entry.key);
            take(entry)?;
        }
        if is_last {
            return Ok(true);
        }
    }
}

fn decode<D: Message + Default>(entry: Entry) -> Result<D, StoreError> {
    D::decode(entry.value).map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", entry.key)))
}

impl Sums {
    fn of(&mut self, id: &str) -> &mut LogStats {
        self.stats
            .entry(id.to_owned())
            .or_insert_with(|| LogStats { distribution_id: id.to_owned(), ..LogStats::default() })
    }

    fn waits_since(&mut self, id: &str, first_ms: u64) {
        let oldest = self.oldest.entry(id.to_owned()).or_insert(first_ms);
        *oldest = first_ms.min(*oldest);
    }

    fn group(&mut self, group: LogGroup) {
        let id = group.distribution_id.clone();
        for file in &group.held {
            let stats = self.of(&id);
            stats.waiting_records += file.records;
            stats.waiting_bytes += file.bytes;
            self.waits_since(&id, file.committed_ms);
        }
        if group.attempts > 0 && !group.last_error.is_empty() {
            refuse(&mut self.of(&id).refusals, &group);
        }
        self.marks.insert((id, group.hour, group.target), group.marks);
    }

    fn segment(&mut self, staged: &StagedSegment, one: &str) {
        let Some(segment) = &staged.id else { return };
        for entry in staged.index.iter().filter(|e| one.is_empty() || e.distribution_id == one) {
            let group = (entry.distribution_id.clone(), entry.hour, entry.target.clone());
            let marks = self.marks.get(&group).map_or(&[][..], Vec::as_slice);
            let is_done = marks.iter().any(|mark| {
                mark.edge_id == segment.edge_id
                    && mark.epoch == segment.epoch
                    && mark.number >= segment.number
            });
            // Records without a target were made for nobody.
            if is_done || entry.target.is_none() {
                continue;
            }
            let stats = self.of(&entry.distribution_id);
            stats.waiting_records += entry.records;
            stats.waiting_bytes += entry.bytes;
            self.waits_since(&entry.distribution_id, entry.first_ms);
        }
    }
}

/// Adds what `group`'s bucket said to that of the same bucket and prefix.
fn refuse(refusals: &mut Vec<LogRefusal>, group: &LogGroup) {
    let at = refusals.iter().position(|known| known.target == group.target).unwrap_or_else(|| {
        refusals.push(LogRefusal { target: group.target.clone(), ..LogRefusal::default() });
        refusals.len() - 1
    });
    let refusal = &mut refusals[at];
    if group.attempts >= refusal.attempts {
        refusal.attempts = group.attempts;
        refusal.error.clone_from(&group.last_error);
    }
    let earlier = |known: u64, new: u64| if known == 0 { new } else { known.min(new) };
    refusal.next_try_ms = earlier(refusal.next_try_ms, group.next_try_ms);
    for file in group.held.iter().chain(&group.pending) {
        refusal.since_ms = earlier(refusal.since_ms, file.committed_ms);
        refusal.records += file.records;
    }
}

#[cfg(test)]
mod tests;
