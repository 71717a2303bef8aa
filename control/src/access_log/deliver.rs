//! From a due group to its file in the customer's bucket.
//!
//! 1. Commit: the list of segments becomes the group's pending file, in one transaction with the lease. (What is pending already is only claimed.)
//! 2. The list's segments are read, the group's records taken, sorted by time and written as a file ([`body`]).
//! 3. The file is put into the bucket, under the key that the list was committed with.
//! 4. Finish: the pending file is cleared, the group's marks rise over the list, the distribution's totals count it.
//!
//! Whoever dies on the way leaves the pending file to others, who do the same from step 2 on. An answer that is lost counts as none: the same is done
//! again, or turns out to have been done.
//!
//! A bucket that does not take the file (a 403, a 404, "slow down", silence; or there is no grant for it) is asked again after 5 s, 10 s and so on
//! up to 5 minutes, for [`MergeConfig::undeliverable`](super::merge::MergeConfig::undeliverable) in all. No clock says alone when that is over: the
//! waits between attempts are added up in the ledger (`refused_ms`), each by the elapsed time of the replica that saw it begin and end, and a file
//! is given up only when they come to that as well. After [`HELD_AFTER`] times the file
//! is put into *staging* and finished as if it stood: the group's `held` files wait there, and the segments, which others' records are in too,
//! can go. While files are held, new ones join them unasked, and the first of them probes the bucket.
//!
//! A file that is given up is counted and logged, and its records are gone.
//!
//! A segment that is gone from staging, or damaged there, delays its file by ten minutes or so; then the file is delivered without it ([`loss`], which
//! also says why nothing comes twice by that).

use std::time::Duration;

use proto::v1::{LogFile, LogGroup, LogTotals};
use tokio::time::Instant;

use super::bucket::BucketError;
use super::ledger::books::{ATTEMPT_LAST, Job, Step, wait_after};
use super::ledger::{self, Claim, Counted, Group, Known, LEASE};
use super::merge::{Shared, lock};
use super::name;
use super::permission::{self, Permission};
use crate::store::{StoreError, Transaction};
use body::{Body, SourceLoss};

pub(crate) mod body;
pub(crate) mod loss;
pub(crate) mod segments;

/// How long a bucket may take with a file; less than [`LEASE`], so that nobody else begins meanwhile. `logs.bucket_timeout_ms` is not let above it.
pub(crate) const PUT: Duration = Duration::from_secs(30);
/// Refusals after which a file is put into staging.
pub(crate) const HELD_AFTER: u32 = 3;
/// Refusals before which no file is given up, however old it is.
const GIVEN_UP_AFTER: u32 = 8;
/// Times a transaction is tried again because another file of the distribution was counted in between.
const COUNTS: usize = 16;

/// Why a file has to wait though its bucket did not refuse it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Setback {
    /// The ledger: another merger was quicker, or the store is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Staging is away.
    #[error("staging: {0}")]
    Staging(BucketError),
}

/// Why a file was not taken.
struct Refusal {
    /// For the metric's label.
    reason: &'static str,
    /// For people.
    text: String,
}

impl Refusal {
    fn of(error: &BucketError) -> Self {
        Self { reason: error.kind(), text: error.to_string() }
    }
}

/// A group's file that this replica may deliver.
struct Delivery<'a> {
    shared: &'a Shared,
    group: &'a Group,
    known: Known<LogGroup>,
    /// Since when that is known.
    seen: Instant,
    file: LogFile,
    /// It stands in staging already, and is one of the group's held files.
    is_held: bool,
    /// The lease, and since when it is ours.
    lease: (u64, Instant),
}

/// Takes the next step for the group at `key`, if there still is one.
pub(crate) async fn carry_out(shared: &Shared, key: &str, until: u64) -> Result<(), Setback> {
    let job = {
        let (now_ms, is_flushing) = (shared.clock.now_ms(), shared.is_flushing());
        lock(&shared.books).job(key, &shared.limits(), &shared.holder, until, now_ms, is_flushing)
    };
    let Some(Job { group, mut known, seen, step, replaces }) = job else { return Ok(()) };
    let claim = Claim { holder: &shared.holder, replaces };
    let since = Instant::now();
    let mut delivery = match step {
        Step::Commit(mut file, list) => {
            file.key = name::key(&group.distribution_id, group.hour, &group.target, &file.segments);
            known.document.refused_ms = refused_ms(&known.document, seen);
            file.refused_ms = known.document.refused_ms;
            let (document, transaction) = ledger::commit(&group, &known, file.clone(), &list, &claim);
            let modified = shared.commit(transaction).await?;
            shared.learn(document.clone(), modified);
            let (known, lease) = (Known { document, modified }, (modified, since));
            Delivery { shared, group: &group, known, seen: Instant::now(), file, is_held: false, lease }
        }
        Step::Deliver(file) | Step::Redeliver(file) => {
            let is_held = known.document.pending.is_none();
            let modified = shared.commit(ledger::claim(&group, &known, &claim)).await?;
            Delivery { shared, group: &group, known, seen, file, is_held, lease: (modified, since) }
        }
    };
    delivery.deliver().await
}

/// `refused_ms` of a group whose document has been known since `seen`, with the wait that ends now: as much of it as this replica has seen, and no
/// more than a wait may be. (So the time when staging or the store was away and nobody could try is left out.)
fn refused_ms(document: &LogGroup, seen: Instant) -> u64 {
    let wait = if document.attempts > 0 { seen.elapsed().min(2 * ATTEMPT_LAST) } else { Duration::ZERO };
    document.refused_ms.saturating_add(wait.as_millis() as u64)
}

impl Delivery<'_> {
    async fn deliver(&mut self) -> Result<(), Setback> {
        let body = loop {
            match body::read(self.shared, self.group, &self.file, self.is_held).await {
                Ok(body) => break body,
                Err(SourceLoss::Away(error)) => return Err(Setback::Staging(error)),
                Err(SourceLoss::Unwritable(text)) => {
                    return self.refused(Refusal { reason: "damaged", text }, None).await;
                }
                // Each turn gives up something that is on the list.
                Err(SourceLoss::Lost(missing)) => {
                    if !self.miss(&missing).await? {
                        return Ok(());
                    }
                }
            }
        };
        // What was missing before has been found.
        self.file.losses.retain(|loss| loss.given_up);
        self.renew().await?;
        if body.records == 0 && !self.file.losses.is_empty() {
            // All of it is lost, and counted.
            return self.write(settled(self.without_the_file())).await;
        }
        if !self.is_held && !self.known.document.held.is_empty() {
            return self.hold(&body, self.known.document.clone()).await;
        }
        match self.put(&body).await? {
            Ok(()) => self.finish(&body).await,
            Err(refusal) => self.refused(refusal, Some(&body)).await,
        }
    }

    /// Claims the lease again if reading took long.
    async fn renew(&mut self) -> Result<(), Setback> {
        if self.lease.1.elapsed() > LEASE - PUT {
            let since = Instant::now();
            let claim = Claim { holder: &self.shared.holder, replaces: self.lease.0 };
            let transaction = ledger::claim(self.group, &self.known, &claim);
            self.lease = (self.shared.commit(transaction).await?, since);
        }
        Ok(())
    }

    /// Puts the file where it belongs.
    async fn put(&self, body: &Body) -> Result<Result<(), Refusal>, Setback> {
        if let Err(refusal) = self.may_put().await? {
            return Ok(Err(refusal));
        }
        let bucket = self.shared.buckets.open(&self.group.target);
        let put = tokio::time::timeout(PUT, bucket.put(&self.file.key, body.bytes.clone())).await;
        Ok(put.unwrap_or_else(|_| Err(loss::late())).map_err(|error| Refusal::of(&error)))
    }

    /// Whether the file may be put there at all.
    async fn may_put(&self) -> Result<Result<(), Refusal>, Setback> {
        let Group { target, distribution_id: id, .. } = self.group;
        // What names no bucket is none that could be granted; if any is, it refuses for itself and says why.
        let bucket = self.shared.buckets.bucket_name(target).unwrap_or_default();
        Ok(match permission::may_deliver(&*self.shared.store, id, target, &bucket).await? {
            Permission::Given => Ok(()),
            Permission::Unknown => {
                let text = format!("unknown distribution or account: {id} was never told to log there");
                Err(Refusal { reason: "unknown", text })
            }
            Permission::NoGrant => {
                let text = format!("account {} has no grant to log to bucket '{bucket}'", target.account);
                Err(Refusal { reason: "grant", text })
            }
        })
    }

    /// The file stands.
    async fn finish(&self, body: &Body) -> Result<(), Setback> {
        let bytes = body.bytes.len() as u64;
        let mut next = settled(self.without_the_file());
        next.files += 1;
        next.records += body.records;
        next.bytes += bytes;
        self.count_and_leave(next, &Counted::Stands(self.file.key.clone(), body.records, bytes)).await?;
        let metrics = &self.shared.metrics;
        metrics.files.inc();
        metrics.records.inc_by(body.records);
        metrics.bytes.inc_by(bytes);
        tracing::debug!(key = %self.file.key, records = body.records, bytes, "a log file stands");
        self.forget_held().await;
        Ok(())
    }

    /// The group's document with what is known of the file now.
    fn document(&self) -> LogGroup {
        let mut next = self.known.document.clone();
        if !self.is_held {
            next.pending = Some(self.file.clone());
        } else if let Some(held) = next.held.iter_mut().find(|held| held.key == self.file.key) {
            held.clone_from(&self.file);
        }
        next
    }

    /// The group's document when the file is done with.
    fn without_the_file(&self) -> LogGroup {
        let mut next = self.known.document.clone();
        if self.is_held {
            next.held.retain(|held| held.key != self.file.key);
        } else {
            next.pending = None;
            ledger::raise(&mut next, &self.file.segments);
        }
        next
    }

    /// Writes `next` and the distribution's totals, and gives the group up to others.
    async fn count_and_leave(&self, next: LogGroup, counted: &Counted) -> Result<(), Setback> {
        let transaction = ledger::put(self.group, self.known.modified, &next);
        self.count(transaction, next, counted).await.map(drop)
    }

    /// Commits `transaction`, which writes `next`, with the distribution's totals. Returns its revision.
    async fn count(
        &self,
        transaction: Transaction,
        next: LogGroup,
        counted: &Counted,
    ) -> Result<u64, Setback> {
        let shared = self.shared;
        let totals_key = ledger::totals_key(&self.group.distribution_id);
        let mut tries = COUNTS;
        loop {
            let mut totals: Known<LogTotals> = ledger::read(&*shared.store, &totals_key).await?;
            counted.add_to(&mut totals.document, shared.clock.now_ms());
            let transaction = transaction.clone();
            #[cfg(feature = "parquet")]
            let transaction = match (counted, shared.config.hourly) {
                (Counted::Stands(..), Some(hourly)) => {
                    super::hourly::add_ticket(transaction, self.group, hourly.grace, shared.clock.now_ms())
                }
                _ => transaction,
            };
            match shared.store.commit(ledger::counting(transaction, self.group, &totals)).await {
                Ok(modified) => {
                    shared.learn(next, modified);
                    return Ok(modified);
                }
                Err(StoreError::Conflict { key }) if key == totals_key && tries > 0 => tries -= 1,
                Err(error) => {
                    shared.metrics.conflicts.inc_by(u64::from(matches!(error, StoreError::Conflict { .. })));
                    return Err(error.into());
                }
            }
        }
    }

    async fn write(&self, next: LogGroup) -> Result<(), Setback> {
        let transaction = ledger::put(self.group, self.known.modified, &next);
        let modified = self.shared.commit(transaction).await?;
        self.shared.learn(next, modified);
        Ok(())
    }

    /// The file was not taken; or it can't be made, and there is no body.
    async fn refused(&self, refusal: Refusal, body: Option<&Body>) -> Result<(), Setback> {
        let shared = self.shared;
        shared.metrics.refusals.with_label_values(&[refusal.reason]).inc();
        let (now_ms, known) = (shared.clock.now_ms(), self.document());
        let attempts = known.attempts + 1;
        let refused_ms = refused_ms(&known, self.seen);
        let age_ms = now_ms.saturating_sub(self.file.committed_ms);
        let tried_ms = age_ms.min(refused_ms.saturating_sub(self.file.refused_ms));
        if attempts >= GIVEN_UP_AFTER && u128::from(tried_ms) >= shared.config.undeliverable.as_millis() {
            return self.give_up(&refusal, refused_ms).await;
        }
        let (key, text, host) = (&self.file.key, &refusal.text, &self.group.target.bucket_host);
        if attempts.is_power_of_two() {
            tracing::warn!(%key, bucket = %host, error = %text, attempts, "a log file was refused");
        }
        // While it is staging that is asked, often enough to be sure in time.
        let sure = shared.config.lost_after / shared.config.lost_answers.max(1);
        let most = if body.is_none() { ATTEMPT_LAST.min(sure) } else { ATTEMPT_LAST };
        let wait = shared.about(wait_after(attempts).min(most), 0.8);
        let mut next = ledger::postponed(&known, text, now_ms + wait.as_millis() as u64);
        next.refused_ms = refused_ms;
        match body {
            Some(body) if !self.is_held && attempts >= HELD_AFTER => {
                match self.hold(body, next.clone()).await {
                    // Its bucket is not to be asked again at once for that.
                    Err(Setback::Staging(error)) => {
                        tracing::debug!(%key, %error, "a refused file could not be put into staging");
                        self.write(next).await
                    }
                    held => held,
                }
            }
            _ => self.write(next).await,
        }
    }

    /// Puts the file into staging, where it waits for its bucket.
    async fn hold(&self, body: &Body, mut next: LogGroup) -> Result<(), Setback> {
        let shared = self.shared;
        let held_key = body::held_key(&shared.store.head().await?.store_id, self.group, &self.file.key);
        let key = format!("{}{held_key}", shared.prefix);
        shared.staging.put(&key, body.bytes.clone()).await.map_err(Setback::Staging)?;
        next.pending = None;
        ledger::raise(&mut next, &self.file.segments);
        let file = self.file.clone();
        let place = shared.place.clone();
        let (segments, losses) = (Vec::new(), Vec::new());
        next.held.push(LogFile { segments, losses, records: body.records, held_key, place, ..file });
        self.write(next).await?;
        shared.metrics.held.inc();
        Ok(())
    }

    /// The file has been refused for too long.
    async fn give_up(&self, refusal: &Refusal, refused_ms: u64) -> Result<(), Setback> {
        let (records, metrics) = (loss::records_left(&self.file), &self.shared.metrics);
        let mut next = self.without_the_file();
        // The next file, if any, is asked for at once: it may be as old.
        (next.next_try_ms, next.refused_ms) = (0, refused_ms);
        self.count_and_leave(next, &Counted::Dropped(records)).await?;
        metrics.dropped_files.inc();
        metrics.dropped_records.inc_by(records);
        let (key, host) = (&self.file.key, &self.group.target.bucket_host);
        tracing::error!(%key, bucket = %host, records, error = %refusal.text, "a log file was given up: its records are lost");
        self.forget_held().await;
        Ok(())
    }

    /// Deletes what staging held of a file that is done with; the sweeper does it if this does not.
    async fn forget_held(&self) {
        if self.is_held {
            let key = format!("{}{}", self.shared.prefix, self.file.held_key);
            if let Err(error) = self.shared.staging.delete(&key).await {
                tracing::debug!(%key, %error, "left to the sweeper");
            }
        }
    }
}

/// `document` of a group that nobody refuses.
fn settled(document: LogGroup) -> LogGroup {
    LogGroup { attempts: 0, next_try_ms: 0, last_error: String::new(), ..document }
}
