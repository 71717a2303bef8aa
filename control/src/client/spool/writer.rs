//! What is done to the files, one act after the other: on the writer's thread, or in a test by hand.
//!
//! The disk is expected to fail at every line. A write that falls short is cut back to its last whole record; when there is no room the oldest
//! sealed segment makes some; what then can't be written is lost, counted and told to who waits. After a failure nothing is tried for
//! [`PAUSE`], so that a full disk costs the edge a counter an event and not a system call.
//!
//! The order in which things come to stand is what recovery rests on: a record before its acknowledgement; a segment's name before the
//! journal's mark passes it; the mark before the segment goes away.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proto::access_log::SegmentId;
use proto::access_log::frame::{FRAME_HEADER_BYTES, Kind, put_message};
use tokio::time::Instant;

use super::config::SpoolConfig;
use super::disk::{Disk, is_full};
use super::drops::Drops;
use super::journal::Journal;
use super::lag::Lag;
use super::log::{DropReason, Outcome, Pulse};
use super::metrics::SpoolMetrics;
use super::part::{Part, Short};
use super::queue::{Event, Order, Taken};
use super::sessions::Sessions;
use super::shelf::Shelf;

mod place;
mod sealing;
mod timers;

/// Bytes of a write, before its last record.
const BATCH_BYTES: usize = 256 << 10;
/// Longest record, in bytes; an edge cuts its fields far shorter.
const RECORD_BYTES_MAX: usize = 64 << 10;
/// From a failed act to the next attempt.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two lines about failures of the disk.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a writer shares with the spool's handles.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) drops: Arc<Drops>,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) metrics: SpoolMetrics,
    pub(crate) lag: Arc<Lag>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) config: SpoolConfig,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    /// The next segment.
    pub(crate) next: SegmentId,
    pub(crate) part: Option<Part>,
    pub(crate) sessions: Sessions,
    pub(crate) journal: Journal,
    pub(crate) shared: Shared,
    /// What keeps others out of the folder.
    pub(crate) lock: Option<File>,
    /// Files whose content is gone and whose names have to stay until the journal's mark is past them.
    pub(crate) emptied: Vec<SegmentId>,
    /// The youngest segment of this process that is gone, whose name stays.
    pub(crate) gone: Option<SegmentId>,
    pub(crate) paused: Option<(Instant, DropReason)>,
    /// When this process took the spool over.
    pub(crate) began: Instant,
    /// When the journal last said that it lives.
    pub(crate) beat: Instant,
    /// When the journal was last synced.
    pub(crate) journal_synced: Instant,
    pub(crate) journal_due: Instant,
    pub(crate) show_due: Instant,
    pub(crate) told: Option<Instant>,
    // Room for a batch, kept from one to the next.
    pub(crate) frames: BytesMut,
    pub(crate) ends: Vec<usize>,
}

impl Writer {
    /// Does all that was taken from the queue.
    pub(crate) fn work(&mut self, taken: &mut Taken, now: Instant) {
        self.shared.lag.is_in_hand(&taken.events);
        self.take_note_of(now);
        self.write(&mut taken.events, now);
        for (client_id, progress) in taken.progress.drain() {
            self.sessions.progress(&client_id, progress);
        }
        for client_id in taken.ended.drain(..) {
            self.sessions.end(&client_id);
        }
        for order in taken.orders.drain(..) {
            match order {
                Order::Seal(answer) => {
                    // Who asked may have gone.
                    let _ = answer.send(self.seal(now));
                }
                Order::Forget(id) => self.discard(&id, now),
                Order::SetAside(id, records, reason) => self.set_aside(&id, records, reason),
            }
        }
        self.shared.lag.is_in_part(self.part.as_ref().and_then(Part::first_ms));
        self.shared.pulse.beat();
    }

    /// Writes events and tells who waits for them.
    pub(crate) fn write(&mut self, events: &mut Vec<Event>, now: Instant) {
        let mut waiting = events.drain(..).peekable();
        let mut batch = Vec::new();
        while waiting.peek().is_some() {
            self.frames.clear();
            self.ends.clear();
            let room = self.config.segment_bytes.saturating_sub(self.part.as_ref().map_or(0, Part::bytes));
            let most = BATCH_BYTES.min(usize::try_from(room).unwrap_or(usize::MAX));
            // One record at least, however little room is left.
            for event in waiting.by_ref() {
                let before = self.frames.len();
                if event.record.target.is_some() {
                    put_message(Kind::Record, &event.record, &mut self.frames);
                }
                if self.frames.len() - before > RECORD_BYTES_MAX {
                    self.frames.truncate(before);
                    self.lose(event, DropReason::TooLong);
                    continue;
                }
                self.ends.push(self.frames.len());
                batch.push(event);
                if self.frames.len() >= most {
                    break;
                }
            }
            self.commit(&mut batch, now);
            if self.part.as_ref().is_some_and(|p| p.bytes() >= self.config.segment_bytes || p.is_ending()) {
                self.seal(now);
            }
            self.keep_within_bound(now);
        }
    }

    /// Writes the frames at hand, which are `batch`'s.
    fn commit(&mut self, batch: &mut Vec<Event>, now: Instant) {
        let (frames, ends) = (std::mem::take(&mut self.frames), std::mem::take(&mut self.ends));
        let mut done = 0;
        let mut failure = self.paused.filter(|(until, _)| now < *until).map(|(_, reason)| reason);
        let is_paused = failure.is_some();
        let mut attempts = 0;
        while done < batch.len() && failure.is_none() {
            let start = done.checked_sub(1).map_or(0, |last| ends[last]);
            if start == ends[ends.len() - 1] {
                // Only events that need not stand.
                self.stands(&frames, &ends, done, &mut batch[done..]);
                done = batch.len();
                break;
            }
            if let Err(reason) = self.provide_part(now) {
                failure = Some(reason);
                break;
            }
            let Some(part) = &mut self.part else { break };
            let rest: Vec<usize> = ends[done..].iter().map(|end| end - start).collect();
            let (stand, short) = part.append(&frames[start..], &rest, now);
            let (from, to) = (done, done + stand);
            self.stands(&frames, &ends, from, &mut batch[from..to]);
            done = to;
            attempts += 1;
            failure = match short {
                None => None,
                Some(Short::Failed(error)) if is_full(&error) => {
                    (!self.make_room(DropReason::DiskFull, now)).then_some(DropReason::DiskFull)
                }
                Some(Short::Failed(error)) => {
                    self.failed("write", &error);
                    // Once more: what was written before it failed is whole.
                    (attempts > 1).then_some(DropReason::DiskFailed)
                }
                Some(Short::Wrecked(error)) => {
                    self.failed("write", &error);
                    self.rescue(now);
                    (attempts > 1).then_some(DropReason::DiskFailed)
                }
            };
        }
        let synced = !self.config.durable || done == 0 || self.sync();
        for (at, event) in batch.drain(..).enumerate() {
            if at < done {
                let outcome = if synced { Outcome::Stands } else { Outcome::Late };
                let _ = event.written.send(outcome);
            } else {
                self.lose(event, failure.unwrap_or(DropReason::DiskFailed));
            }
        }
        if !is_paused {
            self.paused = failure.map(|reason| (now + PAUSE, reason));
        }
        (self.frames, self.ends) = (frames, ends);
        self.shared.pulse.beat();
    }

    /// Takes in events that stand: those of `ends` from `first` on.
    fn stands(&mut self, frames: &[u8], ends: &[usize], first: usize, events: &mut [Event]) {
        for (at, event) in events.iter().enumerate() {
            let at = first + at;
            let start = at.checked_sub(1).map_or(0, |last| ends[last]);
            if start == ends[at] {
                self.sessions.apply(&event.record, None);
                continue;
            }
            let payload = &frames[start + FRAME_HEADER_BYTES..ends[at]];
            if let Some(part) = &mut self.part {
                part.count(&event.record, payload.len());
            }
            self.sessions.apply(&event.record, Some(payload));
            self.shared.metrics.event(event.record.event);
            self.shared.metrics.bytes.inc_by(payload.len() as u64);
        }
    }

    fn lose(&mut self, event: Event, reason: DropReason) {
        self.shared.drops.count(reason, 1);
        if event.record.event == proto::v1::AccessEvent::Disconnect as i32 {
            self.sessions.end(&event.record.client_id);
        }
        let _ = event.written.send(Outcome::Dropped(reason));
    }

    /// Counts a failure of the disk and tells of it, now and then.
    pub(crate) fn failed(&mut self, act: &'static str, error: &io::Error) {
        self.shared.metrics.disk_failures.inc();
        let now = Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            self.told = Some(now);
            tracing::error!(folder = %self.folder.display(), act, %error, "the spool's disk fails");
        }
    }
}
