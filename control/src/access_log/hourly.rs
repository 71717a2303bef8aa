//! One Parquet file for each hour of a distribution, beside its log files: an option beyond CloudFront (cargo feature `parquet`).
//!
//! ```text
//! prefix/ID.2026-11-22-13.7WJ0….gz ┐
//! prefix/ID.2026-11-22-13.Q2M9….gz ├─▶ prefix/parquet/ID.2026-11-22-13.parquet
//! prefix/ID.2026-11-22-13.0ZK4….gz ┘
//! ```
//!
//! It is made *from the delivered files*, as they lie in the customer's bucket, when the hour is over and a grace has passed: the same records, in the
//! order of the files' keys, in the [`columns`] that a query engine wants. A file that is delivered later has it made anew. So the log files
//! are the truth and this is a copy: it can be deleted, and nothing that goes wrong with it holds up a log file.
//!
//! **State.** One document a group, `log-hourly/DISTRIBUTION/HOUR/TARGET`, says that there is work: the hour's *ticket*. [`add_ticket`] puts it into the transaction by which a
//! log file is known to stand; it is deleted once the hour's file is made, unless there is another by then. Whoever dies on the way leaves it
//! to the next. A lease keeps two replicas from the same hour; should one lose it and write late, it finds its ticket gone and adds it again,
//! so that an old copy does not stay.
//!
//! **Memory.** One hour is made at a time, from one log file at a time, a row group at a time; the finished groups wait in memory up to
//! [`HourlyConfig::part_bytes`], then a further file begins: `ID.2026-11-22-13.2.parquet`, and so on.
//!
//! **What goes wrong.** A bucket that refuses (it must let its files be listed and read): tried again with backoff, given up after [`GIVE_UP`]. Log
//! files that were altered or are no log files: what can't be read is left out, counted and named in a log line.

mod columns;
mod encode;
mod lines;
mod metrics;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parquet::errors::ParquetError;
use prometheus::Registry;
use prost::Message;
use proto::access_log::hour_starts_ms;
use proto::clock::SharedClock;
use proto::v1::LogGroup;

use self::encode::Encoder;
use self::metrics::HourlyMetrics;
use super::bucket::{Bucket, BucketError, Buckets};
use super::config::HourlyConfig;
use super::format::{Format, stamp};
use super::ledger::Group;
use super::name;
use super::permission::{self, Permission};
use crate::documents::LOG_HOURLY;
use crate::store::{Entry, Store, StoreError, Transaction, random_id};

/// An hour whose bucket refuses is tried no more after this time.
pub const GIVE_UP: Duration = Duration::from_secs(7 * 24 * 3600);
/// An hour is a replica's for so long since it read its last log file.
const LEASE: Duration = Duration::from_secs(120);
/// Between looks for hours that are due.
const LOOK: Duration = Duration::from_secs(30);
/// The longest wait for an hour to be over: its end, by a clock that is as wrong as a time zone.
const AHEAD_MS: u64 = 27 * 3_600_000;
/// After the delivery of a late file; more may come.
const SETTLE_MS: u64 = 60_000;
const BACKOFF_MS: u64 = 30_000;
const BACKOFF_MAX_MS: u64 = 3_600_000;
/// Documents or keys of one page.
const PAGE: usize = 500;
/// A larger object is no log file.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// Characters of an error kept in a document.
const ERROR_CHARS: usize = 300;

/// Why an hour's file was not made.
#[derive(Debug, thiserror::Error)]
pub enum HourlyError {
    /// A log file could not be listed or read, or the file not put.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The account has no leave to log to that bucket (any more).
    #[error("no grant to log to this bucket")]
    NotGranted,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be written: a fault of ours.
    #[error("parquet: {0}")]
    Parquet(#[from] ParquetError),
}

/// What was made of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Files put.
    pub parts: u64,
    /// Records in them.
    pub records: u64,
    /// Log files they come from.
    pub log_files: u64,
    /// Log files and lines that could not be read.
    pub skipped: u64,
}

/// The key of a group's ticket.
pub fn ticket_key(group: &Group) -> String {
    format!("{LOG_HOURLY}{}", group.name())
}

/// Adds to `transaction`, by which a log file of `group` is known to stand, that the hour's file is to be made (anew) when it is due: `grace` after
/// the hour, or soon if that is over.
pub fn add_ticket(transaction: Transaction, group: &Group, grace: Duration, now_ms: u64) -> Transaction {
    let grace_ms = grace.as_millis() as u64;
    // An hour that only a wrong clock says, the edge's or ours, is not waited for.
    let over_ms = hour_starts_ms(group.hour.saturating_add(1)).min(now_ms.saturating_add(AHEAD_MS));
    let due_ms = over_ms.saturating_add(grace_ms).max(now_ms.saturating_add(SETTLE_MS.min(grace_ms)));
    let document = LogGroup { next_try_ms: due_ms, ..group.document() };
    transaction.put(ticket_key(group), document.encode_to_vec())
}

/// Makes hourly files. One a replica.
pub struct Hourly {
    store: Store,
    buckets: Arc<dyn Buckets>,
    clock: SharedClock,
    config: HourlyConfig,
    metrics: HourlyMetrics,
    replica: String,
}

impl Hourly {
    /// Over the store that has the tickets and the buckets that have the log files.
    ///
    /// # Errors
    /// When its metrics are registered already.
    pub fn new(
        store: Store,
        buckets: Arc<dyn Buckets>,
        clock: SharedClock,
        config: HourlyConfig,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let metrics = HourlyMetrics::new(registry)?;
        Ok(Self { store, buckets, clock, config, metrics, replica: random_id() })
    }

    /// Looks for hours that are due, for ever. Dropped, it leaves what it was at to the next look of any replica.
    pub async fn run(&self) {
        loop {
            if let Err(error) = self.make_due().await {
                tracing::warn!(%error, "hours that are due for Parquet files can't be listed");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes what is due now, and returns how many hours were made. An hour that fails keeps its ticket, for another try.
    ///
    /// # Errors
    /// When the tickets can't be listed.
    pub async fn make_due(&self) -> Result<u64, StoreError> {
        let (mut after, mut made, mut waiting) = (String::new(), 0, 0);
        loop {
            let page = self.store.page(LOG_HOURLY, &after, PAGE).await?;
            let full = page.len() == PAGE;
            for entry in page {
                after.clone_from(&entry.key);
                waiting += 1;
                let Ok(job) = LogGroup::decode(entry.value.clone()) else { continue };
                if job.next_try_ms <= self.clock.now_ms() && self.take(&entry, job).await {
                    made += 1;
                    waiting -= 1;
                }
            }
            if !full {
                self.metrics.waiting.set(waiting);
                return Ok(made);
            }
        }
    }

    /// Makes one hour, if no other replica does.
    async fn take(&self, entry: &Entry, job: LogGroup) -> bool {
        let lease = lease_key(&entry.key);
        let leased = Transaction::default().when(&lease, 0).put_for(&lease, self.replica.clone(), LEASE);
        if self.store.commit(leased).await.is_err() {
            return false;
        }
        let made = self.make(&Group::of(&job), &lease).await;
        let after = match &made {
            Ok(made) => {
                tracing::info!(
                    distribution = job.distribution_id,
                    hour = stamp::hour(job.hour),
                    ?made,
                    "hourly file made"
                );
                self.metrics.files.inc_by(made.parts);
                self.metrics.records.inc_by(made.records);
                self.metrics.skipped.inc_by(made.skipped);
                self.done(entry).await
            }
            Err(error) => self.failed(entry, job, error).await,
        };
        if let Err(error) = after {
            tracing::warn!(key = entry.key, %error, "the ticket of an hourly file was not changed");
        }
        // Best effort: it lapses by itself.
        let _ = self.store.commit(Transaction::default().delete(&lease)).await;
        made.is_ok()
    }

    /// Takes the ticket away, unless it is another by now.
    async fn done(&self, entry: &Entry) -> Result<(), StoreError> {
        let done = Transaction::default().when(&entry.key, entry.modified).delete(&entry.key);
        match self.store.commit(done).await {
            Err(StoreError::Conflict { .. }) if self.store.get(&entry.key).await?.is_none() => {
                // Another replica made it in the meantime, maybe of more files than were there for us.
                let again = Transaction::default().when(&entry.key, 0).put(&entry.key, entry.value.clone());
                ignore_conflict(self.store.commit(again).await)
            }
            other => ignore_conflict(other),
        }
    }

    async fn failed(&self, entry: &Entry, mut job: LogGroup, error: &HourlyError) -> Result<(), StoreError> {
        self.metrics.failures.inc();
        let now_ms = self.clock.now_ms();
        let unchanged = Transaction::default().when(&entry.key, entry.modified);
        let (distribution, hour) = (job.distribution_id.clone(), stamp::hour(job.hour));
        let over_ms = hour_starts_ms(job.hour.saturating_add(1));
        if now_ms > over_ms.saturating_add(GIVE_UP.as_millis() as u64) {
            tracing::error!(distribution, hour, %error, "hourly file given up");
            self.metrics.given_up.inc();
            return ignore_conflict(self.store.commit(unchanged.delete(&entry.key)).await);
        }
        tracing::warn!(distribution, hour, %error, attempts = job.attempts + 1, "hourly file not made");
        let backoff_ms = BACKOFF_MS.saturating_mul(1 << job.attempts.min(16)).min(BACKOFF_MAX_MS);
        job.attempts = job.attempts.saturating_add(1);
        job.last_error = error.to_string().chars().take(ERROR_CHARS).collect();
        job.next_try_ms = now_ms.saturating_add(backoff_ms);
        ignore_conflict(self.store.commit(unchanged.put(&entry.key, job.encode_to_vec())).await)
    }

    /// Reads the hour's log files and puts its Parquet files, holding `lease` the while.
    async fn make(&self, group: &Group, lease: &str) -> Result<Made, HourlyError> {
        let Group { distribution_id, hour, target } = group;
        let bucket_name = self.buckets.bucket_name(target).unwrap_or_default();
        let permission = permission::may_deliver(&*self.store, distribution_id, target, &bucket_name).await?;
        if permission != Permission::Given {
            return Err(HourlyError::NotGranted);
        }
        let bucket = self.buckets.open(target);
        let (prefix, mut after) = (name::hour_prefix(distribution_id, *hour, &target.prefix), String::new());
        let (mut made, mut builder) = (Made::default(), Builder::default());
        loop {
            let page = bucket.list(&prefix, &after, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            for (key, bytes) in page {
                let is_log = key[prefix.len().min(key.len())..].strip_suffix(".gz").is_some_and(is_unique);
                if !is_log {
                    continue;
                }
                let object = if bytes > FILE_BYTES_MAX { None } else { bucket.get(&key).await? };
                let Some(object) = object else {
                    tracing::warn!(key, bytes, "no log file: left out of the hourly file");
                    made.skipped += 1;
                    continue;
                };
                made.log_files += 1;
                self.store.put_leased(lease, self.replica.clone().into(), LEASE).await?;
                builder = blocking(move || builder.take(&key, &object)).await?;
                if builder.bytes() >= self.config.part_bytes {
                    self.put(&*bucket, group, &mut builder, &mut made).await?;
                }
            }
        }
        self.put(&*bucket, group, &mut builder, &mut made).await?;
        made.skipped += builder.skipped;
        Ok(made)
    }

    /// Puts the file that was built so far, if there is one.
    async fn put(
        &self,
        bucket: &dyn Bucket,
        group: &Group,
        builder: &mut Builder,
        made: &mut Made,
    ) -> Result<(), HourlyError> {
        let Some(encoder) = builder.encoder.take() else { return Ok(()) };
        made.parts += 1;
        made.records += encoder.rows();
        let file = blocking(move || encoder.finish()).await?;
        Ok(bucket.put(&key(group, made.parts), file).await?)
    }
}

/// The key of a group's Parquet file, the `part`-th of its hour from 1.
pub fn key(group: &Group, part: u64) -> String {
    let part = if part > 1 { format!(".{part}") } else { String::new() };
    let folder = name::folder(&group.target.prefix);
    format!("{folder}parquet/{}.{}{part}.parquet", group.distribution_id, stamp::hour(group.hour))
}

/// Whether a key's part may be the UNIQUE of a log file.
fn is_unique(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn lease_key(ticket_key: &str) -> String {
    format!("log-hourly-lease/{}", ticket_key.strip_prefix(LOG_HOURLY).unwrap_or(ticket_key))
}

/// That somebody else was first is no failure.
fn ignore_conflict(done: Result<u64, StoreError>) -> Result<(), StoreError> {
    match done {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Work of the processor, off the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ParquetError> + Send + 'static,
) -> Result<T, ParquetError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ParquetError::General(error.to_string())),
    }
}

/// A file being built of log files.
#[derive(Default)]
struct Builder {
    encoder: Option<Encoder>,
    skipped: u64,
}

impl Builder {
    fn bytes(&self) -> usize {
        self.encoder.as_ref().map_or(0, Encoder::bytes)
    }

    /// Adds the records of a log file. Of a file that is damaged, those before the damage.
    fn take(mut self, key: &str, packed: &Bytes) -> Result<Self, ParquetError> {
        let (mut format, mut fault) = (None, None);
        let before = self.skipped;
        let read = lines::read(packed, |line| {
            if fault.is_none()
                && let Err(error) = self.line(line, &mut format)
            {
                fault = Some(error);
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        if let Err(error) = read {
            tracing::warn!(key, %error, "a log file is damaged: what follows the damage is left out of the hourly file");
            self.skipped += 1;
        } else if self.skipped > before {
            tracing::warn!(
                key,
                lines = self.skipped - before,
                "lines of a log file are left out of the hourly file"
            );
        }
        Ok(self)
    }

    fn line(&mut self, line: &[u8], format: &mut Option<Format>) -> Result<(), ParquetError> {
        if line.starts_with(b"#") {
            if let Some(fields) = line.strip_prefix(b"#Fields: ") {
                *format = [Format::Rtmp, Format::Web].into_iter().find(|f| f.fields().as_bytes() == fields);
            }
            return Ok(());
        }
        let Some(format) = *format else {
            self.skipped += 1;
            return Ok(());
        };
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(Encoder::new(format)?),
        };
        // The records of a distribution are of one format.
        let taken = encoder.format() == format && encoder.put(line)?;
        self.skipped += u64::from(!taken);
        Ok(())
    }
}
