//! The live view of an operator: records as segments are staged, whichever replica received them.
//!
//! Every replica sees each new segment's document through the store's watch and reads the segment from staging, so it doesn't matter which
//! one is asked. Records are shown once, in the order of their segment; segments come in the order in which they were staged.
//!
//! **It is a view, not a delivery.** Nobody waits for who looks on: a reader that is too slow misses segments ([`QUEUE_SEGMENTS`] wait for it, then
//! the oldest go), and so does one whose segments are delivered and gone before they were read. It is told how many, with the next event.
//! So what a view takes is bounded: names of segments, one segment while it is sent, and a few events; and [`TAILS_MAX`] views a replica.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry};
use prost::Message;
use proto::access_log::{Segment, SegmentId};
use proto::v1::{AccessRecord, StagedSegment, TailEvent, TailRequest};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use super::ledger::object_key;
use crate::documents::LOG_SEGMENTS;
use crate::store::{Entry, Store, StoreError, WatchEnd};

/// Views a replica has at a time; each may hold a segment of 16 MiB.
pub const TAILS_MAX: usize = 4;
/// Names of segments that wait for a slow reader.
pub const QUEUE_SEGMENTS: usize = 256;
/// Events on their way to a reader.
const EVENTS: usize = 4;
/// Records of an event, encoded; one that is larger goes alone.
const EVENT_BYTES: usize = 256 << 10;
/// Documents of the backlog read at a time.
const PAGE: usize = 100;
const RETRY: Duration = Duration::from_millis(500);

/// Why a view was not opened, or ended.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// There are [`TAILS_MAX`] already.
    #[error("there are {TAILS_MAX} live views of access logs at this control already")]
    TooMany,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a reader gets: events, until it hangs up, the backlog is over, or control stops.
pub type Events = mpsc::Receiver<Result<TailEvent, TailError>>;

/// Opens views. Clones are the same.
#[derive(Clone)]
pub struct Tails {
    store: Store,
    staging: Arc<dyn Bucket>,
    /// Before every key in staging: empty, or with a slash at its end.
    prefix: String,
    room: Arc<Semaphore>,
    open: IntGauge,
    skipped: IntCounter,
}

impl Tails {
    /// Views of what is staged in `staging`, below `prefix`, and entered in `store`.
    ///
    /// # Errors
    /// When the registry has its metrics already.
    pub fn new(
        store: Store,
        staging: Arc<dyn Bucket>,
        prefix: String,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let open = IntGauge::new("penstock_control_log_tails", "Live views of access logs that are open")?;
        let skipped = IntCounter::new(
            "penstock_control_log_tail_skipped_segments_total",
            "Segments left out of live views: the reader was too slow, or they were delivered and gone",
        )?;
        registry.register(Box::new(open.clone()))?;
        registry.register(Box::new(skipped.clone()))?;
        Ok(Self { store, staging, prefix, room: Arc::new(Semaphore::new(TAILS_MAX)), open, skipped })
    }

    /// Opens a view, which ends with `shutdown` at the latest. What is staged after this returns is in it.
    ///
    /// # Errors
    /// When there are too many, or the store is away.
    pub async fn open(&self, request: TailRequest, shutdown: CancellationToken) -> Result<Events, TailError> {
        let permit = self.room.clone().try_acquire_owned().map_err(|_| TailError::TooMany)?;
        let after = self.store.head().await?.revision;
        let (sender, receiver) = mpsc::channel(EVENTS);
        let view = View {
            tails: self.clone(),
            request,
            queue: Mutex::default(),
            news: Notify::new(),
            sender,
            _permit: permit,
        };
        self.open.inc();
        tokio::spawn(async move {
            let gone = view.sender.clone();
            tokio::select! {
                () = view.run(after) => (),
                () = gone.closed() => (),
                () = shutdown.cancelled() => (),
            }
            view.tails.open.dec();
        });
        Ok(receiver)
    }
}

/// Segments that wait to be read.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<SegmentId>,
    /// Left out since a reader was told last.
    skipped: u64,
}

/// One reader's view.
struct View {
    tails: Tails,
    request: TailRequest,
    queue: Mutex<Queue>,
    /// Something was put into the queue.
    news: Notify,
    sender: mpsc::Sender<Result<TailEvent, TailError>>,
    _permit: OwnedSemaphorePermit,
}

impl View {
    async fn run(&self, after: u64) {
        if self.request.no_follow {
            self.backlog(after).await;
            self.tell_skipped().await;
            return;
        }
        tokio::join!(self.listen(after), async {
            if self.request.backlog {
                self.backlog(after).await;
            }
            self.speak().await;
        });
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment of a document, if the reader has to do with it.
    fn wanted(&self, entry: &Entry) -> Option<SegmentId> {
        let staged = StagedSegment::decode(entry.value.clone()).ok()?;
        let one = &self.request.distribution_id;
        let has = one.is_empty() || staged.index.iter().any(|entry| entry.distribution_id == *one);
        staged.id.as_ref().filter(|_| has).and_then(SegmentId::of)
    }

    /// Sends what was staged up to revision `until`, by name.
    async fn backlog(&self, until: u64) {
        let mut after = String::new();
        loop {
            let page = match self.tails.store.page(LOG_SEGMENTS, &after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    let _ = self.sender.send(Err(error.into())).await;
                    return;
                }
            };
            let is_last = page.len() < PAGE;
            for entry in page {
                after.clone_from(&entry.key);
                // What is newer comes by the watch.
                let is_new = entry.modified > until && !self.request.no_follow;
                if let Some(id) = self.wanted(&entry).filter(|_| !is_new) {
                    self.show(&id).await;
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// Queues what is staged after revision `after`, and never waits for the reader.
    async fn listen(&self, mut after: u64) {
        loop {
            let mut is_forgotten = false;
            if let Ok(mut watch) = self.tails.store.watch(after).await {
                while let Some(change) = watch.recv().await {
                    match change {
                        Ok(change) => {
                            after = after.max(change.revision);
                            let puts = change.puts.iter().filter(|put| put.key.starts_with(LOG_SEGMENTS));
                            puts.filter_map(|put| self.wanted(put)).for_each(|id| self.push(id));
                        }
                        Err(end) => {
                            is_forgotten = end == WatchEnd::Compacted;
                            break;
                        }
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
            // The store no longer knows what was changed since, or is another's backup: on from now, with a gap.
            match self.tails.store.head().await {
                Ok(head) if is_forgotten || head.revision < after => {
                    after = head.revision;
                    self.skip();
                    self.news.notify_one();
                }
                _ => (),
            }
        }
    }

    fn push(&self, id: SegmentId) {
        let mut queue = self.queue();
        if queue.waiting.len() == QUEUE_SEGMENTS {
            queue.waiting.pop_front();
            queue.skipped += 1;
            self.tails.skipped.inc();
        }
        queue.waiting.push_back(id);
        drop(queue);
        self.news.notify_one();
    }

    /// Sends what is queued, for ever.
    async fn speak(&self) {
        loop {
            let next = self.queue().waiting.pop_front();
            match next {
                Some(id) => self.show(&id).await,
                None => {
                    self.tell_skipped().await;
                    self.news.notified().await;
                }
            }
        }
    }

    fn skip(&self) {
        self.queue().skipped += 1;
        self.tails.skipped.inc();
    }

    async fn tell_skipped(&self) {
        if self.queue().skipped > 0 {
            self.send(Vec::new()).await;
        }
    }

    async fn send(&self, records: Vec<AccessRecord>) {
        let skipped_segments = std::mem::take(&mut self.queue().skipped);
        // Whoever has hung up is noticed elsewhere.
        let _ = self.sender.send(Ok(TailEvent { records, skipped_segments })).await;
    }

    /// Reads a segment and sends its records.
    async fn show(&self, id: &SegmentId) {
        let Some(segment) = self.read(id).await else {
            self.skip();
            return;
        };
        let one = &self.request.distribution_id;
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        for record in segment.records() {
            let Ok((record, bytes)) = record else {
                self.skip();
                break;
            };
            if !one.is_empty() && record.distribution_id != *one {
                continue;
            }
            if batch_bytes + bytes > EVENT_BYTES && !batch.is_empty() {
                self.send(std::mem::take(&mut batch)).await;
                batch_bytes = 0;
            }
            batch_bytes += bytes;
            batch.push(record);
        }
        if !batch.is_empty() {
            self.send(batch).await;
        }
    }

    async fn read(&self, id: &SegmentId) -> Option<Segment> {
        let key = object_key(&self.tails.prefix, id);
        let mut file = self.tails.staging.get(&key).await;
        if file.is_err() {
            tokio::time::sleep(RETRY).await;
            file = self.tails.staging.get(&key).await;
        }
        match file {
            // Delivered and gone.
            Ok(None) => None,
            Ok(Some(file)) => match Segment::open(file) {
                Ok(segment) => Some(segment),
                Err(error) => {
                    tracing::warn!(segment = %id, %error, "left out of a live view");
                    None
                }
            },
            Err(error) => {
                tracing::warn!(segment = %id, %error, "left out of a live view");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
