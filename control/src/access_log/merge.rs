//! The merger: one task a replica that turns staged segments into files in the buckets they are for.
//!
//! It follows the ledger ([`super::ledger::follow`]), looks every second for groups that are due, and carries each out in a task of its own
//! ([`super::deliver`]); beside it, what every group has is retired ([`super::retire`]) and staging is swept ([`super::sweep`]). All replicas run one; the
//! lease of a distribution's hour keeps them apart.
//!
//! **Nobody waits for another's bucket.** Of the [`MergeConfig::concurrency`] tasks, one bucket may have at most half, and groups whose bucket has
//! refused lately a quarter; a file that was refused three times goes into staging and its segments are done with.
//!
//! **Memory is bounded**: segments are read through a cache of [`MergeConfig::cache_bytes`], lists are made for as many segments at a time as fit in
//! there, and files are built within [`MergeConfig::memory_bytes`]; what is built and on its way into a bucket, packed, is one file for each
//! of [`MergeConfig::concurrency`] lanes. A group with more than [`MergeConfig::file_bytes`] gets several files.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::Registry;
use proto::clock::SharedClock;
use proto::v1::LogGroup;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bucket::{Bucket, Buckets};
use super::config::HourlyConfig;
use super::deliver::segments::Segments;
use super::deliver::{Setback, carry_out};
#[cfg(feature = "parquet")]
use super::hourly::Hourly;
use super::ledger::books::{Books, Due, Limits};
use super::ledger::follow;
use super::metrics::MergeMetrics;
use super::{ledger, retire, sweep};
use crate::store::{Store, StoreError, Transaction, random_text};

/// How often a merger looks for work; while it flushes, [`LOOK_EVERY_FLUSHING`].
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY_FLUSHING: Duration = Duration::from_millis(50);
/// A group rests so long after another merger was quicker or the store or staging failed.
const REST: Duration = Duration::from_millis(1500);
/// Groups of a bucket looked at for one that may be started.
const AHEAD: usize = 32;
/// A unit of [`MergeConfig::memory_bytes`].
pub(crate) const PERMIT_BYTES: u64 = 1024;

/// What a merger may use, and when it is to write.
#[derive(Clone, Debug)]
pub struct MergeConfig {
    /// Records wait no longer than this for others to share their file.
    pub file_age: Duration,
    /// Bytes of records (before they are formatted) in a file; more make another.
    pub file_bytes: u64,
    /// A file that its bucket has refused for so long, by elapsed time and by the wall clock, is given up.
    pub undeliverable: Duration,
    /// What staging has said for so long not to have is lost,
    pub lost_after: Duration,
    /// if it has said so at least so many times.
    pub lost_answers: u32,
    /// Bytes of staged segments kept in memory.
    pub cache_bytes: u64,
    /// Bytes of files being built.
    pub memory_bytes: u64,
    /// Groups merged or delivered at a time.
    pub concurrency: usize,
    /// How often the ledger is read whole and compared.
    pub compare_every: Duration,
    /// How often staging is swept.
    pub sweep_every: Duration,
    /// How long what is under way may take to end at shutdown.
    pub drain: Duration,
    /// Hourly Parquet files of the log files; `None`: none. Only a build with the feature `parquet` makes them.
    pub hourly: Option<HourlyConfig>,
}

impl Default for MergeConfig {
    fn default() -> Self {
        Self {
            file_age: Duration::from_secs(300),
            file_bytes: 64 << 20,
            undeliverable: Duration::from_secs(14 * 86_400),
            lost_after: Duration::from_secs(600),
            lost_answers: 5,
            cache_bytes: 128 << 20,
            memory_bytes: 256 << 20,
            concurrency: 16,
            compare_every: Duration::from_secs(180),
            sweep_every: Duration::from_secs(300),
            drain: Duration::from_secs(10),
            hourly: None,
        }
    }
}

/// What all parts of a merger share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) staging: Arc<dyn Bucket>,
    /// Before every key in staging: empty, or with a slash at its end.
    pub(crate) prefix: String,
    /// Where that is, as segments' documents say it.
    pub(crate) place: String,
    pub(crate) buckets: Arc<dyn Buckets>,
    pub(crate) clock: SharedClock,
    pub(crate) config: MergeConfig,
    pub(crate) metrics: MergeMetrics,
    pub(crate) books: Mutex<Books>,
    /// The books have changed.
    pub(crate) news: watch::Sender<()>,
    /// Names this merger in leases.
    pub(crate) holder: String,
    pub(crate) segments: Segments,
    /// In [`PERMIT_BYTES`].
    pub(crate) memory: Semaphore,
    flushing: AtomicUsize,
    chance: Mutex<StdRng>,
}

/// The books are whole after every change, also if whoever held them panicked.
pub(crate) fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn limits(&self) -> Limits {
        let MergeConfig { file_age, file_bytes, cache_bytes, .. } = self.config;
        Limits { file_age, file_bytes, read_bytes: cache_bytes }
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.flushing.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn permits(&self) -> u64 {
        (self.config.memory_bytes / PERMIT_BYTES).clamp(1, u64::from(u32::MAX))
    }

    /// `whole`, shortened by chance to `least` of it: replicas are not to do the same at the same moment.
    pub(crate) fn about(&self, whole: Duration, least: f64) -> Duration {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        whole.mul_f64(chance.random_range(least..=1.0))
    }

    /// Commits a transaction of the ledger.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError> {
        let committed = self.store.commit(transaction).await;
        if let Err(StoreError::Conflict { key }) = &committed {
            self.metrics.conflicts.inc();
            tracing::debug!(%key, "the log ledger was changed by another replica");
        }
        committed
    }

    /// Takes a group's document into the books as this replica wrote it.
    pub(crate) fn learn(&self, document: LogGroup, modified: u64) {
        lock(&self.books).learn(document, modified);
        self.news.send_replace(());
    }
}

/// What is due by bucket, the most urgent first.
type Queues = BTreeMap<String, VecDeque<Due>>;

/// Tasks under way, and who may have another.
struct Lanes {
    concurrency: usize,
    /// By lease: the bucket, and whether it has refused lately.
    under_way: HashMap<String, (String, bool)>,
    /// The leases of tasks.
    tasks: HashMap<tokio::task::Id, String>,
    /// By lease: not before.
    resting: HashMap<String, Instant>,
}

impl Lanes {
    fn has_room(&self) -> bool {
        self.under_way.len() < self.concurrency
    }

    fn takes(&self, due: &Due) -> bool {
        let of_bucket = self.under_way.values().filter(|(host, _)| *host == due.bucket_host).count();
        let refused = self.under_way.values().filter(|(_, is_refused)| *is_refused).count();
        self.has_room()
            && !self.under_way.contains_key(&due.lease_key)
            && self.resting.get(&due.lease_key).is_none_or(|until| *until <= Instant::now())
            && of_bucket < (self.concurrency / 2).max(1)
            && (!due.is_refused || refused < (self.concurrency / 4).max(1))
    }
}

/// See the [module](self). Clones are the same merger.
#[derive(Clone)]
pub struct Merger {
    shared: Arc<Shared>,
    #[cfg(feature = "parquet")]
    hourly: Option<Arc<Hourly>>,
}

impl Merger {
    /// A merger of what stands in `staging` below `prefix` (empty, or with a slash at its end) and in the ledger of `store`, for the buckets that
    /// `buckets` opens.
    ///
    /// # Errors
    /// When the registry has its metrics already.
    pub fn new(
        store: Store,
        staging: Arc<dyn Bucket>,
        prefix: String,
        buckets: Arc<dyn Buckets>,
        clock: SharedClock,
        config: MergeConfig,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let metrics = MergeMetrics::new(registry)?;
        #[cfg(feature = "parquet")]
        let hourly = config.hourly.map(|hourly| {
            Hourly::new(store.clone(), buckets.clone(), clock.clone(), hourly, registry).map(Arc::new)
        });
        let shared = Shared {
            segments: Segments::new(config.cache_bytes, metrics.clone()),
            store,
            place: ledger::place(&*staging, &prefix),
            staging,
            prefix,
            buckets,
            clock,
            metrics,
            books: Mutex::default(),
            news: watch::Sender::new(()),
            holder: random_text(b"0123456789abcdefghijklmnopqrstuvwxyz", 16),
            memory: Semaphore::new(0),
            flushing: AtomicUsize::new(0),
            chance: Mutex::new(StdRng::from_os_rng()),
            config,
        };
        shared.memory.add_permits(usize::try_from(shared.permits()).unwrap_or(1));
        Ok(Self {
            shared: Arc::new(shared),
            #[cfg(feature = "parquet")]
            hourly: hourly.transpose()?,
        })
    }

    /// Merges until `shutdown`, then ends what is under way, for [`MergeConfig::drain`] at most. What does not end is done again by whoever
    /// merges next.
    pub async fn run(&self, shutdown: CancellationToken) {
        let shared = &self.shared;
        let now_ms = || shared.clock.now_ms();
        let news = || {
            shared.news.send_replace(());
        };
        tokio::select! {
            () = follow::follow(&shared.store, &shared.books, shared.config.compare_every, now_ms, news) => (),
            () = retire::run(shared) => (),
            () = sweep::run(shared) => (),
            () = self.hourly() => (),
            () = self.work(&shutdown) => (),
        }
    }

    /// Makes hourly files, where they are wanted.
    async fn hourly(&self) {
        #[cfg(feature = "parquet")]
        if let Some(hourly) = &self.hourly {
            hourly.run().await;
        }
        std::future::pending().await
    }

    /// Has everything that is staged now delivered, whatever its age and size, and returns when nothing is left but what buckets refuse. Needs
    /// [`Merger::run`] to be running; while staging or the store is away it waits, so give it a bound.
    pub async fn flush(&self) {
        let shared = &self.shared;
        let _flushing = Flushing::new(&shared.flushing);
        let mut news = shared.news.subscribe();
        // Nothing that was staged before may be missing from the books.
        while let Err(error) = follow::relist(&shared.store, &shared.books, || shared.clock.now_ms()).await {
            tracing::warn!(%error, "the log ledger can't be read");
            tokio::time::sleep(REST).await;
        }
        shared.news.send_replace(());
        while !lock(&shared.books).is_settled() {
            let _ = tokio::time::timeout(LOOK_EVERY, news.changed()).await;
        }
    }

    /// Has all chance drawn by `seed`, so that a run can be run again.
    #[cfg(test)]
    fn seeded(self, seed: u64) -> Self {
        *self.shared.chance.lock().unwrap() = StdRng::seed_from_u64(seed);
        self
    }

    async fn work(&self, shutdown: &CancellationToken) {
        let shared = &self.shared;
        let mut news = shared.news.subscribe();
        let mut jobs: JoinSet<Result<(), Setback>> = JoinSet::new();
        let concurrency = shared.config.concurrency.max(1);
        let mut lanes =
            Lanes { concurrency, under_way: HashMap::new(), tasks: HashMap::new(), resting: HashMap::new() };
        let (mut queues, mut until, mut look_at) = (Queues::new(), u64::MAX, Instant::now());
        while !shutdown.is_cancelled() {
            let now = Instant::now();
            if now >= look_at {
                (queues, until) = self.look();
                lanes.resting.retain(|_, until| *until > now);
                look_at = now + if shared.is_flushing() { LOOK_EVERY_FLUSHING } else { LOOK_EVERY };
            }
            self.start(&mut queues, until, &mut lanes, &mut jobs);
            shared.metrics.under_way.set(lanes.under_way.len() as i64);
            tokio::select! {
                Some(ended) = jobs.join_next_with_id() => lanes.end(ended, shared.about(REST, 0.5)),
                () = tokio::time::sleep_until(look_at) => (),
                changed = news.changed(), if shared.is_flushing() => {
                    let _ = changed;
                    look_at = look_at.min(Instant::now() + LOOK_EVERY_FLUSHING);
                }
                () = shutdown.cancelled() => (),
            }
        }
        let ended =
            tokio::time::timeout(shared.config.drain, async { while jobs.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!(files = jobs.len(), "log files under way were left to whoever merges next");
        }
        shared.metrics.under_way.set(0);
    }

    /// What is due now.
    fn look(&self) -> (Queues, u64) {
        let shared = &self.shared;
        let now_ms = shared.clock.now_ms();
        let books = lock(&shared.books);
        shared.metrics.show(&books.backlog(), now_ms);
        let (due, until) = books.due(&shared.limits(), &shared.holder, now_ms, shared.is_flushing());
        let mut queues = Queues::new();
        for due in due {
            match queues.get_mut(&due.bucket_host) {
                Some(queue) => queue.push_back(due),
                None => drop(queues.insert(due.bucket_host.clone(), VecDeque::from([due]))),
            }
        }
        (queues, until)
    }

    /// Starts as much as the lanes take, one of a bucket after one of each other; what they don't take now is looked for again.
    fn start(
        &self,
        queues: &mut Queues,
        until: u64,
        lanes: &mut Lanes,
        jobs: &mut JoinSet<Result<(), Setback>>,
    ) {
        let mut is_any = true;
        while is_any && lanes.has_room() {
            is_any = false;
            for queue in queues.values_mut() {
                let at = queue.iter().take(AHEAD).position(|due| lanes.takes(due));
                let Some(due) = at.and_then(|at| queue.remove(at)) else { continue };
                is_any = true;
                let shared = self.shared.clone();
                let task = jobs.spawn(async move { carry_out(&shared, &due.key, until).await });
                lanes.tasks.insert(task.id(), due.lease_key.clone());
                lanes.under_way.insert(due.lease_key, (due.bucket_host, due.is_refused));
            }
            queues.retain(|_, queue| !queue.is_empty());
        }
    }
}

impl Lanes {
    fn end(&mut self, ended: Result<(tokio::task::Id, Result<(), Setback>), JoinError>, rest: Duration) {
        let (task, outcome) = match ended {
            Ok((task, outcome)) => (task, outcome),
            Err(error) => {
                tracing::error!(%error, "a merge broke off");
                (error.id(), Err(Setback::Store(StoreError::Away("the merge broke off".into()))))
            }
        };
        let Some(lease_key) = self.tasks.remove(&task) else { return };
        self.under_way.remove(&lease_key);
        let Err(setback) = outcome else { return };
        match &setback {
            Setback::Store(StoreError::Conflict { .. }) => (),
            _ => tracing::warn!(error = %setback, "a log file has to wait"),
        }
        self.resting.insert(lease_key, Instant::now() + rest);
    }
}

/// While there is one, everything is due.
struct Flushing<'a>(&'a AtomicUsize);

impl<'a> Flushing<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
