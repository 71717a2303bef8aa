//! One range of one version as a single stream, whichever shields it takes.
//!
//! The range is split at ring segments, and each segment asked of its home by the map of that moment; a stream that is
//! open goes on when the map changes. What comes is checked: the version in the first message, and that each slice starts where the
//! last one ended. A stream that breaks, ends early or falls silent is taken up at the next missing byte by the next shield, so the
//! reader sees neither a gap nor a byte twice.
//!
//! Whether the next shield may read S3 depends on why it is asked. A dead home fetches nothing any more: the next is home
//! now. One that is slow, full or failing may be fetching these very bytes: the next is asked for its cache first, and in
//! full only after it said no.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use proto::object::ObjectVersion;
use proto::range::{ByteRange, SEGMENT_BYTES, segment_of};
use proto::status::RemoteError;
use proto::v1::Priority;
use tokio::time::Instant;

use super::Inner;
use super::failover::{Failure, Fault, Patience};
use super::race::{Ask, Job, Open, Slice};

struct Reader {
    job: Job,
    /// What is still to come.
    left: ByteRange,
    open: Option<Open>,
    /// Whom to ask next in this round, for the segment of `left.start`.
    asks: VecDeque<Ask>,
}

/// `range` of `version`, in order.
pub(super) fn stream(
    inner: Arc<Inner>,
    version: ObjectVersion,
    range: ByteRange,
    priority: Priority,
) -> impl Stream<Item = Result<(u64, Bytes), RemoteError>> + Send + 'static + use<> {
    let job = Job { inner, version, priority };
    let reader = Reader { job, left: range, open: None, asks: VecDeque::new() };
    stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(slice)) => Some((Ok(slice), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Option<(u64, Bytes)>, RemoteError> {
        // The time a consumer leaves the stream alone is not the shields'.
        let mut patience = Patience::new();
        while !self.left.is_empty() {
            let (ask, slice) = match self.open.take() {
                Some(open) => self.go_on(open, &patience).await,
                None => {
                    let ask = self.next_ask(&mut patience).await?;
                    let slice = self.begin(&ask, &patience).await;
                    (ask, slice)
                }
            };
            match slice {
                Ok((open, slice)) => {
                    let at = self.left.start;
                    self.left.start += slice.len() as u64;
                    // A later failure starts over with patience and with the segment's home.
                    self.asks.clear();
                    self.open = Some(open).filter(|open| !open.left.is_empty());
                    return Ok(Some((at, slice)));
                }
                Err(failure) => self.note(&mut patience, ask, failure)?,
            }
        }
        Ok(None)
    }

    /// The next slice of an open stream, or of one that overtook it.
    async fn go_on(&self, open: Open, patience: &Patience) -> (Ask, Slice) {
        let job = &self.job;
        let limit = Duration::from_millis(job.inner.config.stall_ms).min(patience.left(&job.inner));
        let (node, range) = (open.node.clone(), open.left);
        let delay = (!open.cache_only).then(|| job.later_delay());
        let ask = Ask { node: node.clone(), cache_only: open.cache_only, generation: 0 };
        (ask, job.race(&node, range, delay, job.more(open, limit)).await)
    }

    /// The first slice of a new stream, to the end of the segment.
    async fn begin(&self, ask: &Ask, patience: &Patience) -> Slice {
        let (job, config) = (&self.job, &self.job.inner.config);
        let segment_end = (segment_of(self.left.start) + 1).saturating_mul(SEGMENT_BYTES);
        let range = ByteRange::new(self.left.start, self.left.end.min(segment_end));
        let left = patience.left(&job.inner);
        if ask.cache_only {
            // What is cached comes at once; what is being fetched there may take as long as a hedge would wait.
            return job.begin(ask, range, job.later_delay().min(left), None).await;
        }
        let turn = ask.node.ramp.enter(&config.slow_start).await;
        let limit = Duration::from_millis(config.first_message_ms).min(left);
        let begun = Instant::now();
        let first = job.begin(ask, range, limit, Some(turn));
        let slice = job.race(&ask.node, range, job.first_delay(), first).await;
        if job.priority == Priority::Demand {
            job.inner.latency.note(begun.elapsed());
        }
        slice
    }

    /// Whom to ask next. Starts another round, after a pause, when all have been asked.
    async fn next_ask(&mut self, patience: &mut Patience) -> Result<Ask, RemoteError> {
        let mut fresh = false;
        loop {
            while let Some(ask) = self.asks.pop_front() {
                let breaker = &ask.node.breaker;
                if if ask.cache_only { !breaker.is_tripped() } else { breaker.enter(Instant::now()) } {
                    return Ok(ask);
                }
            }
            if std::mem::replace(&mut fresh, true) {
                patience.nobody(&self.job.inner, &self.job.version.object)?;
            }
            patience.pause(&self.job.inner).await?;
            self.plan()?;
        }
    }

    /// Starts a round: by the map of this moment.
    fn plan(&mut self) -> Result<(), RemoteError> {
        let Job { inner, version, .. } = &self.job;
        let topology = inner.topology();
        if topology.is_empty() {
            return Err(inner.no_shield(&version.object));
        }
        inner.retries.pay_in();
        inner.hedges.pay_in();
        let nodes = inner.askable(&topology, &version.object, segment_of(self.left.start));
        let generation = topology.generation();
        let ask = |node: &Arc<_>, cache_only| Ask { node: Arc::clone(node), cache_only, generation };
        let slow_start = &inner.config.slow_start;
        if let [home, next, ..] = &nodes[..]
            && home.ramp.is_full(slow_start)
            && !next.ramp.is_limited(slow_start)
            && !next.breaker.is_tripped()
        {
            inner.metrics.eased.inc();
            self.asks.push_back(ask(next, true));
        }
        self.asks.extend(nodes.iter().map(|node| ask(node, false)));
        Ok(())
    }

    /// Notes that a shield did not bring the bytes, and decides how the next is asked.
    fn note(&mut self, patience: &mut Patience, ask: Ask, failure: Failure) -> Result<(), RemoteError> {
        let inner = &self.job.inner;
        if ask.cache_only {
            // Not cached there, or no further: the next in turn, or a new round, goes on from here.
            self.job.note_cache_only(&ask, failure);
            return Ok(());
        }
        let fault = failure.fault;
        patience.note(inner, &ask.node, failure)?;
        if let Some(next) = self.asks.front().filter(|next| fault != Fault::Dead && !next.cache_only) {
            let ask = Ask { node: next.node.clone(), cache_only: true, generation: next.generation };
            self.asks.push_front(ask);
        }
        Ok(())
    }
}
