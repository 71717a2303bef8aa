//! The bounded spool of access events on an edge's disk.
//!
//! An event is put into a [`queue`] by the session it happened to and written by one thread, with all others that wait, in one write(2). From
//! then on it outlives the process. Events stand in *segments* ([`proto::access_log`]): one [`part`] is written at a time, sealed when it is
//! large or old enough, and put on the [`shelf`], from which [`ship`](super::ship) hands segments over, oldest first, and has them forgotten.
//!
//! ```text
//! session ──record──▶ queue ──▶ writer's thread ──▶ part ──seal──▶ shelf ──next_sealed──▶ ship ──▶ control
//!    ▲                              │    └──────▶ journal of open sessions                 │
//!    └──────────── Written ─────────┘◀─────────────────────── forget ──────────────────────┘
//! ```
//!
//! What is promised, and by what:
//!
//! * An event that [`Written`] says [stands](Outcome::Stands) comes out in exactly one segment, whatever is killed afterwards: a record is
//!   framed and checksummed, a torn end is cut off at the next start, a segment's number is never used twice, whatever becomes of the folder: each process has an epoch of its own ([`mod@recover`]). If the machine loses its power, the last
//!   `sync_ms` can be lost, unless the spool is `durable`.
//! * A session that has a first event in the spool gets its end. If the process dies before, the next one writes the STOP of each stream that
//!   played and the DISCONNECT, once: where its newest event went, as of when the process last said that it lived, and with the byte count last
//!   known, both at most ten seconds old ([`sessions`], [`journal`], [`mod@recover`]).
//! * The folder never has more than its bound of bytes: past it, or on a full disk, the oldest sealed segments are given up, but not the one that
//!   is being handed over, if there is another. What is lost is counted by reason.
//! * Playing never waits for long and never stops: a disk that hangs makes events late for `wait_ms` each until one is, then not at all until
//!   the disk moves again; a full queue drops.
//!
//! Damaged segments are set aside as they come to be shipped, so that they hold up none behind them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use prometheus::Registry;
use proto::access_log::{Segment, SegmentId};
use proto::clock::SharedClock;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use disk::{Disk, RealDisk};
use drops::Drops;
use lag::LagGauge;
use log::Pulse;
use metrics::SpoolMetrics;
use queue::{Order, Queue};
use recover::recover;
use salvage::count_records;
use shelf::{Sealed, Shelf};
use writer::{Shared, Writer};

pub mod config;
mod disk;
mod drops;
mod folder;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;
mod journal;
mod lag;
pub mod log;
mod metrics;
mod part;
mod queue;
mod recover;
mod salvage;
mod sessions;
mod shelf;
mod writer;

pub use config::SpoolConfig;
pub use log::{DropReason, EventLog, Outcome, Written};
pub use sessions::PLAYS_MAX;

/// From one attempt to read a segment to the next.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// Attempts to read a segment that the disk does not give.
const READ_ATTEMPTS: usize = 3;

/// Why a spool can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A field of the configuration is wrong.
    #[error("{0}")]
    Config(String),
    /// The folder or a file in it can't be used.
    #[error("{path}: {source}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("{path}: another process uses this spool")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is another edge's.
    #[error(
        "{path}: this is the spool of edge '{owner}', and this is '{edge_id}': give each edge a folder of its own, \
         and let '{owner}' ship what is in this one"
    )]
    OtherEdge {
        /// The folder.
        path: PathBuf,
        /// The edge it belongs to.
        owner: String,
        /// This one.
        edge_id: String,
    },
    /// A metric's name is taken.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// A sealed segment, to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its name.
    pub id: SegmentId,
    /// The file. It may be gone when it is read: a spool at its bound gives up its oldest. Then ask for the next.
    pub path: PathBuf,
    /// Records in it.
    pub records: u64,
    /// Its length.
    pub bytes: u64,
}

/// Sealed segments that wait to be handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub segments: usize,
    /// Their length.
    pub bytes: u64,
}

/// An open spool. Dropped, it writes what it has been given and seals it, behind its owner's back; [`close`](Self::close) waits for that.
#[derive(Debug)]
pub struct Spool {
    log: EventLog,
    shelf: Arc<Shelf>,
    disk: Arc<dyn Disk>,
    close: Duration,
    closed: watch::Receiver<bool>,
}

impl Spool {
    /// Opens the spool of edge `edge_id` and repairs what an earlier process left (reading at most what it left unshipped); blocks while it does.
    /// Registers its metrics, prefix `penstock_edge_log_`.
    pub fn open(config: SpoolConfig, edge_id: &str, registry: &Registry) -> Result<Self, SpoolError> {
        Self::open_on(config, edge_id, Arc::new(RealDisk), proto::clock::system(), registry)
    }

    fn open_on(
        config: SpoolConfig,
        edge_id: &str,
        disk: Arc<dyn Disk>,
        clock: SharedClock,
        registry: &Registry,
    ) -> Result<Self, SpoolError> {
        config.check().map_err(SpoolError::Config)?;
        let missing = || SpoolError::Config("logs.spool.folder: is missing".into());
        let folder = config.folder.clone().ok_or_else(missing)?;
        let metrics = SpoolMetrics::new(registry)?;
        let drops = Arc::new(Drops::new(metrics.clone()));
        let shared = Shared {
            shelf: Arc::default(),
            drops: Arc::clone(&drops),
            pulse: Arc::new(Pulse::new()),
            metrics: metrics.clone(),
            lag: Arc::default(),
        };
        let queue = Arc::new(Queue::new(config.queue_events, config.queue_bytes));
        let (lag, shelf) = (Arc::clone(&shared.lag), Arc::clone(&shared.shelf));
        LagGauge::register(registry, lag, shelf, Arc::clone(&queue), clock)?;
        let log = EventLog {
            queue: Arc::clone(&queue),
            pulse: Arc::clone(&shared.pulse),
            drops,
            metrics,
            wait: config.wait(),
        };
        let (shelf, close) = (Arc::clone(&shared.shelf), config.close());
        let lock = folder::claim(&folder)?;
        let mut writer = recover(config, Arc::clone(&disk), &folder, edge_id, shared)?;
        // Another process may have the folder when the writer is gone.
        writer.lock = Some(lock);
        let (ended, closed) = watch::channel(false);
        let work = move || {
            run(writer, &queue);
            let _ = ended.send(true);
        };
        let thread = thread::Builder::new().name("access-log".into()).spawn(work);
        thread.map_err(|source| SpoolError::Io { path: folder, source })?;
        Ok(Self { log, shelf, disk, close, closed })
    }

    /// Where events go in.
    pub fn log(&self) -> EventLog {
        self.log.clone()
    }

    /// The oldest sealed segment, waited for; the same one until it is [forgotten](Self::forget). It was read and found whole; damaged ones are
    /// set aside here. For one caller at a time; may be dropped at any point.
    pub async fn next_sealed(&self) -> SealedSegment {
        let mut attempts = 0;
        loop {
            let sealed = self.shelf.wait().await;
            let read = self.read(&sealed).await;
            // The disk took its time: it may have been given up meanwhile.
            if !self.shelf.has(&sealed.id) {
                attempts = 0;
                continue;
            }
            match read {
                Ok(Ok((records, first_ms))) => {
                    let Sealed { id, path, bytes, .. } = sealed;
                    if self.shelf.lend(&id, records, first_ms) {
                        return SealedSegment { id, path, records, bytes };
                    }
                }
                Ok(Err(good)) => self.set_aside_with(&sealed, good),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.set_aside_with(&sealed, 0),
                Err(error) => {
                    attempts += 1;
                    tracing::error!(path = %sealed.path.display(), %error, "a segment can't be read");
                    // A machine short of descriptors or memory damages no file.
                    if attempts >= READ_ATTEMPTS && error.raw_os_error() == Some(EIO) {
                        self.set_aside_with(&sealed, 0);
                        attempts = 0;
                    } else {
                        sleep(READ_AGAIN).await;
                    }
                }
            }
        }
    }

    /// A segment's records and the time of its earliest event; or, of a damaged one, how many can still be told.
    async fn read(&self, sealed: &Sealed) -> io::Result<Result<(u64, u64), u64>> {
        let (disk, path, id) = (Arc::clone(&self.disk), sealed.path.clone(), sealed.id.clone());
        let check = move || {
            let bytes = bytes::Bytes::from(disk.read(&path)?);
            Ok(match Segment::verify(bytes.clone()) {
                Ok(segment) if segment.id == id => {
                    let first_ms = segment.footer.index.iter().map(|entry| entry.first_ms).min();
                    Ok((segment.footer.records, first_ms.unwrap_or(0)))
                }
                _ => Err(count_records(bytes)),
            })
        };
        tokio::task::spawn_blocking(check).await.unwrap_or_else(|e| Err(io::Error::other(e)))
    }

    fn set_aside_with(&self, sealed: &Sealed, good: u64) {
        if self.shelf.take(&sealed.id).is_some() {
            let records = sealed.records.unwrap_or(good);
            self.log.queue.order(Order::SetAside(sealed.id.clone(), records, DropReason::Damaged));
        }
    }

    /// A segment was acknowledged: its file is removed, and the next one's turn has come.
    pub fn forget(&self, id: &SegmentId) {
        if self.shelf.take(id).is_some() {
            self.log.queue.order(Order::Forget(id.clone()));
        }
    }

    /// A segment was not handed over, and isn't being so for now: if the spool is at its bound it may go like any other. (While one is under way,
    /// control may take it at any moment, so others go first.)
    pub fn not_taken(&self, id: &SegmentId) {
        self.shelf.release(id);
    }

    /// A segment was refused for what it is, by somebody who knows: it is set aside and counted as lost ([`DropReason::Refused`]), and the next one's
    /// turn has come.
    pub fn set_aside(&self, segment: &SealedSegment) {
        if self.shelf.take(&segment.id).is_some() {
            let (id, records) = (segment.id.clone(), segment.records);
            self.log.queue.order(Order::SetAside(id, records, DropReason::Refused));
        }
    }

    /// Seals what was recorded up to now, so that [`next_sealed`](Self::next_sealed) gives it. False: the disk doesn't let it, or takes longer
    /// than `close_ms`.
    pub async fn seal(&self) -> bool {
        let (answer, sealed) = oneshot::channel();
        self.log.queue.order(Order::Seal(answer)) && matches!(timeout(self.close, sealed).await, Ok(Ok(true)))
    }

    /// What waits to be handed over.
    pub fn waiting(&self) -> Waiting {
        let (segments, bytes) = self.shelf.held();
        Waiting { segments, bytes }
    }

    /// Takes no more events, writes and seals those it has, and gives the folder free. False: that takes longer than `close_ms`; what is written by
    /// then stays, and the next process goes on from there.
    pub async fn close(&self) -> bool {
        self.log.queue.close();
        let mut closed = self.closed.clone();
        let ended = timeout(self.close, closed.wait_for(|closed| *closed)).await;
        matches!(ended, Ok(Ok(_)))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.log.queue.close();
    }
}

/// What the system says where a disk fails.
const EIO: i32 = 5;

/// The writer's thread.
fn run(mut writer: Writer, queue: &Queue) {
    let mut room = Vec::new();
    loop {
        let now = tokio::time::Instant::now();
        let mut shown = writer.tick(now);
        let patience = writer.patience(now);
        if patience.is_none() && !shown {
            // Nothing would bring the numbers up to date until something comes.
            writer.show();
            shown = true;
        }
        if shown {
            writer.shared.metrics.queue_events.set(queue.len() as i64);
        }
        let mut taken = queue.take(patience, room);
        let now = tokio::time::Instant::now();
        writer.work(&mut taken, now);
        if taken.closed {
            return writer.finish(now);
        }
        room = taken.events;
    }
}

#[cfg(test)]
mod tests;
