//! What to do about a segment of a committed list that staging does not have, or has damaged.
//!
//! A lifecycle rule, a deletion by hand or a disk of the endpoint can take a staged object away. Its records are lost then; those of the list's other
//! segments must not be, and must not wait for long. But what is called lost is gone for good, so it has to be sure:
//!
//! * Only an answer counts: the bucket says that there is no such key (a [`Bucket`](crate::access_log::bucket::Bucket) tells that from being
//!   away, refusing, or not being there itself), or what it gives is not the segment. One that is away ends the look, and no answer of that look counts.
//! * Only one of the bucket that the segment was put into: after `logs.staging` was set to another bucket or prefix *everything* is missing there, and
//!   nothing is lost. (So the segment's document says where it was put. One by an earlier version does not, and is never given up this way.)
//! * Only while the ledger says that it must be there: its document is read after the answer.
//! * Only after [`lost_answers`](crate::access_log::merge::MergeConfig::lost_answers) such answers on end, of whatever replicas, the first of them
//!   [`lost_after`](crate::access_log::merge::MergeConfig::lost_after) ago. A look that finds it begins anew. (The times are those of the replicas' clocks:
//!   one that jumps can shorten the time, never the number of answers, which come at growing intervals of seconds to minutes.)
//!
//! Then the segment is *given up* for this list: the pending file says so, in one transaction with the totals that count its records as lost. **The
//! list stays and so does the file's name**; only its bytes now lack the segment. That is what keeps records from coming twice without anybody
//! having to be kept from the bucket, which can't be done: no lease stops an upload that is on its way, of a process that was halted, or of one
//! that has the segment in its memory still.
//!
//! 1. A record is in files of one name only: its segment is on one list of its group, and a list has one name for ever. So it arrives at
//!    most once, whoever uploads whatever when.
//! 2. Each upload under a name lacks no more than what was given up in the ledger before it. So the object, whichever upload was last, has every
//!    record but (some of) those that are counted as lost.
//! 3. The file may have been uploaded whole by somebody who died before saying so. So before anything is given up the customer's bucket is asked for
//!    it, and if it stands with all that is not given up yet, it is finished as it is. Where the key may not read there (it need
//!    not), the records of the lost segment are counted as lost and the file is written over.
//! 4. So the count of lost records is never too low. It is too high where an upload of before comes last, and where a replica of an earlier
//!    version, which knows nothing of all this, wrote the group's document in between: then they are counted again.
//!
//! A held file that is gone is dealt with alike: all of it is lost then. An object that is damaged is deleted with the rest when its segment is
//! retired; and one that is put back after that is a repeat, which the sweeper deletes.

use proto::access_log::SegmentId;
use proto::v1::{LogFile, LogLoss, SegmentHeader, StagedSegment};
use tokio::time::Instant;

use super::body::{self, Body};
use super::{Delivery, PUT, Refusal, Setback, settled};
use crate::access_log::bucket::BucketError;
use crate::access_log::ledger::{self, Claim, Counted, Group, Known};
use crate::access_log::merge::MergeConfig;

/// Names in a line about what is lost.
const NAMES: usize = 3;

/// Something that a look in staging did not find, or found damaged.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    /// `None`: the held file itself.
    pub(crate) segment: Option<SegmentId>,
    /// For the metric's label.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) text: String,
}

/// Whether `file` is made without `segment`.
pub(super) fn is_given_up(file: &LogFile, segment: &SegmentHeader) -> bool {
    file.losses.iter().any(|loss| loss.given_up && loss.segment.as_ref() == Some(segment))
}

/// The records of `file` that are not given up.
pub(super) fn records_left(file: &LogFile) -> u64 {
    let lost = file.losses.iter().filter(|loss| loss.given_up).map(|loss| loss.records).sum();
    file.records.saturating_sub(lost)
}

/// What a look says of something it missed: its segment (`None`: the held file), and the group's records in it, if that says anything at all.
type Answer = (Option<SegmentHeader>, Option<u64>);

/// What is known after a look at `now_ms` that gave these answers.
fn noted(known: &[LogLoss], answers: &[Answer], now_ms: u64) -> Vec<LogLoss> {
    let mut losses: Vec<LogLoss> = known.iter().filter(|loss| loss.given_up).cloned().collect();
    for (segment, records) in answers {
        let before = known.iter().find(|loss| !loss.given_up && loss.segment == *segment);
        let Some(records) = *records else {
            losses.extend(before.cloned());
            continue;
        };
        losses.push(LogLoss {
            segment: segment.clone(),
            answers: before.map_or(0, |loss| loss.answers).saturating_add(1),
            // A first answer in the future was written by a clock that has since been set back.
            since_ms: before.map_or(now_ms, |loss| loss.since_ms.min(now_ms)),
            records,
            given_up: false,
        });
    }
    losses
}

/// Whether staging has said often enough, and for long enough, that it does not have it.
fn is_confirmed(loss: &LogLoss, config: &MergeConfig, now_ms: u64) -> bool {
    let age_ms = now_ms.saturating_sub(loss.since_ms);
    loss.answers >= config.lost_answers && u128::from(age_ms) >= config.lost_after.as_millis()
}

/// What `texts` name, for a line: the first few, and how many more there are.
fn first_of(texts: &[String]) -> String {
    let more = texts.len().saturating_sub(NAMES);
    let first = texts[..texts.len() - more].join(", ");
    if more == 0 { first } else { format!("{first}, and {more} more") }
}

/// Whether a file stands in its bucket.
enum Standing {
    /// It does, with every record that is not given up.
    Whole(Body),
    /// It doesn't, or that can't be known.
    No,
    /// The bucket is away: later, perhaps.
    Away(Refusal),
}

impl Delivery<'_> {
    /// A look in staging missed these. Returns whether the file can be made without them now; if not, the group is left to a later look.
    pub(super) async fn miss(&mut self, missing: &[Missing]) -> Result<bool, Setback> {
        let (mut answers, mut texts) = (Vec::new(), Vec::new());
        for one in missing {
            let (text, records) = self.weigh(one).await?;
            texts.push(text);
            answers.push((one.segment.as_ref().map(SegmentId::header), records));
        }
        let now_ms = self.shared.clock.now_ms();
        self.file.losses = noted(&self.file.losses, &answers, now_ms);
        let shared = self.shared;
        let said =
            |loss: &LogLoss| answers.iter().any(|(s, records)| *s == loss.segment && records.is_some());
        let is_due =
            |loss: &LogLoss| !loss.given_up && said(loss) && is_confirmed(loss, &shared.config, now_ms);
        if self.file.losses.iter().any(is_due) {
            self.renew().await?;
            match self.standing().await? {
                Standing::Whole(body) => return self.finish(&body).await.map(|()| false),
                Standing::Away(refusal) => return self.refused(refusal, None).await.map(|()| false),
                Standing::No if self.is_held => return self.lose_held().await.map(|()| false),
                Standing::No => self.give_up_on(is_due, &texts).await?,
            }
        }
        if missing
            .iter()
            .all(|one| one.segment.as_ref().is_some_and(|id| is_given_up(&self.file, &id.header())))
        {
            return Ok(true);
        }
        let reason = missing.first().map_or("lost", |one| one.reason);
        self.refused(Refusal { reason, text: first_of(&texts) }, None).await.map(|()| false)
    }

    /// What is said of something that is missing, and the group's records in it, if it should be where it was looked for.
    async fn weigh(&self, missing: &Missing) -> Result<(String, Option<u64>), Setback> {
        let shared = self.shared;
        let (place, records) = match &missing.segment {
            None => (self.file.place.clone(), self.file.records),
            Some(id) => {
                let key = ledger::segment_key(id);
                let known: Known<StagedSegment> = ledger::read(&*shared.store, &key).await?;
                if known.modified == 0 {
                    // Delivered by somebody else; so what is known here of the group is old, and nothing can be written of it.
                    return Ok((missing.text.clone(), None));
                }
                let is_its = |e: &&proto::v1::SegmentEntry| {
                    e.distribution_id == self.group.distribution_id
                        && e.hour == self.group.hour
                        && e.target.as_ref() == Some(&self.group.target)
                };
                let records = known.document.index.iter().find(is_its).map_or(0, |entry| entry.records);
                (known.document.place, records)
            }
        };
        if place == shared.place {
            return Ok((missing.text.clone(), Some(records)));
        }
        let elsewhere = match place.as_str() {
            "" => missing.text.clone(),
            place => format!("{}, but it was put into {place}", missing.text),
        };
        Ok((elsewhere, None))
    }

    /// Whether the file stands already: put there by somebody who died, or has not heard of it yet, before its source was lost.
    async fn standing(&self) -> Result<Standing, Setback> {
        let Group { target, .. } = self.group;
        if self.may_put().await?.is_err() {
            return Ok(Standing::No);
        }
        let _room = body::room(self.shared, &self.file).await;
        let bucket = self.shared.buckets.open(target);
        let object = match tokio::time::timeout(PUT, bucket.get(&self.file.key)).await {
            Ok(Ok(Some(object))) => object,
            Ok(Ok(None)) => return Ok(Standing::No),
            Ok(Err(error)) if matches!(error.kind(), "refused" | "missing") => return Ok(Standing::No),
            Ok(Err(error)) => return Ok(Standing::Away(Refusal::of(&error))),
            Err(_) => return Ok(Standing::Away(Refusal::of(&late()))),
        };
        let left = records_left(&self.file);
        let counted = body::records_in(&object, self.file.records).await;
        if counted.is_none_or(|records| records < left) {
            return Ok(Standing::No);
        }
        Ok(Standing::Whole(Body { bytes: object, records: left }))
    }

    /// Gives up what `is_due` of the pending file, and counts it.
    async fn give_up_on(
        &mut self,
        is_due: impl Fn(&LogLoss) -> bool,
        texts: &[String],
    ) -> Result<(), Setback> {
        let (mut records, mut names) = (0, Vec::new());
        for loss in self.file.losses.iter_mut().filter(|loss| is_due(loss)) {
            loss.given_up = true;
            records += loss.records;
            names.extend(loss.segment.as_ref().and_then(SegmentId::of).map(|id| id.to_string()));
        }
        let mut next = ledger::postponed(&self.document(), &first_of(texts), 0);
        // The bucket did not refuse anything yet.
        next.attempts = 0;
        let claim = Claim { holder: &self.shared.holder, replaces: self.lease.0 };
        let since = Instant::now();
        let transaction = ledger::revise(self.group, self.known.modified, &next, &claim);
        let counted = Counted::Lost(records, first_of(&names));
        let modified = self.count(transaction, next.clone(), &counted).await?;
        (self.known, self.lease) = (Known { document: next, modified }, (modified, since));
        self.tell_lost(names.len(), records, &first_of(&names));
        Ok(())
    }

    /// The held file is lost, all of it.
    async fn lose_held(&self) -> Result<(), Setback> {
        let (records, name) = (self.file.records, &self.file.held_key);
        let next = settled(self.without_the_file());
        self.count_and_leave(next, &Counted::Lost(records, name.clone())).await?;
        self.tell_lost(1, records, name);
        self.forget_held().await;
        Ok(())
    }

    fn tell_lost(&self, segments: usize, records: u64, names: &str) {
        let metrics = &self.shared.metrics;
        metrics.lost_segments.inc_by(segments as u64);
        metrics.lost_records.inc_by(records);
        let (key, bucket) = (&self.file.key, &self.group.target.bucket_host);
        tracing::error!(%key, %bucket, records, lost = names, "records are lost: what was staged of them is gone from staging, or damaged");
    }
}

/// What stands for a bucket that takes too long.
pub(super) fn late() -> BucketError {
    BucketError::Away("the bucket did not answer in time".into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(number: u64) -> SegmentHeader {
        SegmentHeader { edge_id: "edge-1".into(), epoch: "0123456789abcdef".into(), number }
    }

    fn missing(numbers: &[u64]) -> Vec<Answer> {
        numbers.iter().map(|number| (Some(id(*number)), Some(10 * number))).collect()
    }

    #[test]
    fn answers_are_counted_on_end_and_one_that_finds_it_begins_anew() {
        let first = noted(&[], &missing(&[1, 2]), 1000);
        let second = noted(&first, &missing(&[1]), 5000);
        let third = noted(&second, &missing(&[1, 2]), 9000);
        let of = |losses: &[LogLoss]| {
            losses.iter().map(|l| (l.answers, l.since_ms, l.records)).collect::<Vec<_>>()
        };
        assert_eq!(of(&first), [(1, 1000, 10), (1, 1000, 20)]);
        assert_eq!(of(&second), [(2, 1000, 10)]);
        assert_eq!(of(&third), [(3, 1000, 10), (1, 9000, 20)]);
        // An hour back: it can't have been missing since then.
        assert_eq!(of(&noted(&third, &missing(&[2]), 500)), [(2, 500, 20)]);
        // Looked for where it was not put: that says nothing, neither way.
        assert_eq!(of(&noted(&third, &[(Some(id(1)), None), (Some(id(7)), None)], 9999)), [(3, 1000, 10)]);
    }

    #[test]
    fn what_is_given_up_stays_so_and_its_records_are_left_out() {
        let mut file = LogFile {
            segments: [1, 2, 3].map(id).into(),
            records: 60,
            losses: noted(&[], &missing(&[1, 2]), 0),
            ..LogFile::default()
        };
        assert_eq!(records_left(&file), 60);
        file.losses[1].given_up = true;
        file.losses = noted(&file.losses, &missing(&[3]), 7);
        assert_eq!(file.losses.iter().map(|l| l.given_up).collect::<Vec<_>>(), [true, false]);
        assert!(is_given_up(&file, &id(2)) && !is_given_up(&file, &id(3)) && !is_given_up(&file, &id(1)));
        assert_eq!(records_left(&file), 40);
    }

    #[test]
    fn both_the_answers_and_the_time_must_have_been_enough() {
        let config =
            MergeConfig { lost_after: Duration::from_secs(600), lost_answers: 5, ..MergeConfig::default() };
        let after = |answers, now_ms| {
            is_confirmed(&LogLoss { answers, since_ms: 1_000_000, ..LogLoss::default() }, &config, now_ms)
        };
        assert!(after(5, 1_600_000) && after(9, 9_000_000));
        assert!(!after(4, 9_000_000) && !after(50, 1_599_999) && !after(5, 0));
    }

    #[test]
    fn a_line_names_the_first_few() {
        let names = |n: usize| first_of(&(0..n).map(|i| format!("e/{i}")).collect::<Vec<_>>());
        assert_eq!((names(1), names(3)), ("e/0".into(), "e/0, e/1, e/2".into()));
        assert_eq!(names(103), "e/0, e/1, e/2, and 100 more");
    }
}
