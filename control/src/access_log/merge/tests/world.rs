//! What the merger's tests are played in: edges that ship, a store and buckets that fail, and a reader who counts what arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use proto::access_log::{Segment, SegmentId, SegmentWriter};
use proto::clock::Clock;
use proto::v1::{AccessEvent, AccessRecord, LogMark, LogTarget, LogTotals};
use tokio::sync::mpsc;

use super::*;
use crate::access_log::bucket::memory::{MemoryBucket, MemoryBuckets};
use crate::access_log::bucket::{Bucket, BucketError, Buckets};
use crate::access_log::ledger::{self, Known};
use crate::access_log::sweep;
use crate::documents::{LOG_GRANTS, LOG_GROUPS, LOG_SEGMENTS, LOG_TOTALS, log_target_key};
use crate::store::{ConfigStore, Entry, Head, Listing, WATCH_CHANGES, Watch, WatchEnd};

/// 2019-11-14, 19:58 UTC: an hour ends soon.
pub(super) const BEGIN_MS: u64 = 1_573_761_480_000;
pub(super) const STAGING: &str = "penstock/";

/// Wall time that goes with the runtime's, paused or not.
#[derive(Debug)]
pub(super) struct Ticking(Instant);

impl Ticking {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for Ticking {
    fn now_ms(&self) -> u64 {
        BEGIN_MS + self.0.elapsed().as_millis() as u64
    }
}

/// A clock that is apart from another, by as much as it is told.
#[derive(Debug)]
pub(super) struct Apart {
    right: Arc<Ticking>,
    by_ms: AtomicI64,
}

impl Apart {
    pub(super) fn set(&self, by_ms: i64) {
        self.by_ms.store(by_ms, Ordering::Relaxed);
    }
}

impl Clock for Apart {
    fn now_ms(&self) -> u64 {
        self.right.now_ms().saturating_add_signed(self.by_ms.load(Ordering::Relaxed))
    }
}

/// Draws of a seed.
#[derive(Clone)]
pub(super) struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    pub(super) fn of_1000(&self, n: u32) -> bool {
        self.below(1000) < u64::from(n)
    }

    pub(super) fn below(&self, n: u64) -> u64 {
        self.0.lock().unwrap().random_range(0..n)
    }

    pub(super) fn ms(&self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }
}

/// A store that is slow, away before or after it did as it was asked, and whose watch tells late and ends without notice.
pub(super) struct Shaky {
    pub(super) inner: Store,
    pub(super) chance: Chance,
    pub(super) calm: Arc<AtomicBool>,
}

impl Shaky {
    fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    async fn befall(&self) -> Result<(), StoreError> {
        if self.is_calm() {
            return Ok(());
        }
        // Now and then as long as if the process had been stopped.
        let stop = if self.chance.of_1000(4) { 70_000 } else { 60 };
        tokio::time::sleep(self.chance.ms(stop)).await;
        match self.chance.of_1000(30) && !self.is_calm() {
            true => Err(StoreError::Away("as ordered".into())),
            false => Ok(()),
        }
    }

    async fn around<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.befall().await?;
        let answer = call.await?;
        self.befall().await?;
        Ok(answer)
    }
}

#[async_trait]
impl ConfigStore for Shaky {
    async fn head(&self) -> Result<Head, StoreError> {
        self.around(self.inner.head()).await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.around(self.inner.get(key)).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.around(self.inner.list(prefix)).await
    }
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.around(self.inner.page(prefix, after, limit)).await
    }
    async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError> {
        assert!(transaction.conditions.len() <= 128, "etcd takes no more");
        assert!(transaction.puts.len() + transaction.deletes.len() <= 128, "etcd takes no more");
        self.around(self.inner.commit(transaction)).await
    }
    async fn watch(&self, after: u64) -> Result<Watch, StoreError> {
        let mut watch = self.inner.watch(after).await?;
        let (sender, receiver) = mpsc::channel(WATCH_CHANGES);
        let (chance, calm) = (self.chance.clone(), self.calm.clone());
        tokio::spawn(async move {
            while let Some(change) = watch.recv().await {
                if !calm.load(Ordering::Relaxed) {
                    let late = if chance.of_1000(10) { 20_000 } else { 150 };
                    tokio::time::sleep(chance.ms(late)).await;
                    if chance.of_1000(5) {
                        let _ = sender.send(Err(WatchEnd::Lost)).await;
                        return;
                    }
                }
                if sender.send(change).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
    async fn renew_id(&self, old: &str) -> Result<(), StoreError> {
        self.inner.renew_id(old).await
    }
    async fn put_leased(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.around(self.inner.put_leased(key, value, ttl)).await
    }
    async fn lease_age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.inner.lease_age(key).await
    }
}

/// Buckets that know when an object is written again with other bytes. Where things are lost from staging that may be: with more records, or fewer.
#[derive(Clone, Default)]
pub(super) struct Checked {
    pub(super) buckets: MemoryBuckets,
    pub(super) may_lose: Arc<AtomicBool>,
    violations: Arc<Mutex<Vec<String>>>,
}

struct CheckedBucket(MemoryBucket, Checked);

#[async_trait]
impl Bucket for CheckedBucket {
    fn place(&self) -> String {
        self.0.place()
    }
    async fn put(&self, key: &str, body: Bytes) -> Result<(), BucketError> {
        if self.0.get(key).await?.is_some_and(|known| !self.1.may_replace(&known, &body)) {
            self.1.violations.lock().unwrap().push(format!("{key} was written with other bytes"));
        }
        self.0.put(key, body).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError> {
        self.0.get(key).await
    }
    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.0.delete(key).await
    }
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, u64)>, BucketError> {
        self.0.list(prefix, after, limit).await
    }
}

impl Checked {
    fn may_replace(&self, known: &[u8], next: &[u8]) -> bool {
        let ids = |file| lines(file).into_iter().map(|(id, _)| id).collect::<BTreeSet<u64>>();
        let is_nested = || {
            let (known, next) = (ids(known), ids(next));
            known.is_subset(&next) || next.is_subset(&known)
        };
        known == next || self.may_lose.load(Ordering::Relaxed) && is_nested()
    }
}

impl Buckets for Checked {
    fn open(&self, target: &LogTarget) -> Arc<dyn Bucket> {
        Arc::new(CheckedBucket(self.buckets.at(&target.bucket_host), self.clone()))
    }
    fn bucket_name(&self, target: &LogTarget) -> Option<String> {
        self.buckets.bucket_name(target)
    }
}

pub(super) fn target(bucket: &str, prefix: &str, account: &str) -> LogTarget {
    LogTarget { bucket_host: bucket.into(), prefix: prefix.into(), account: account.into() }
}

/// A play of a distribution whose id begins so.
pub(super) fn record(id: u64, distribution: &str, time_ms: u64, target: Option<LogTarget>) -> AccessRecord {
    AccessRecord {
        time_ms,
        event: AccessEvent::Play.into(),
        distribution_id: format!("{distribution:X<13}"),
        target,
        uri_stem: "rtmp://s.example/cfx/st".into(),
        uri_query: format!("n={id}"),
        ..Default::default()
    }
}

pub(super) fn segment(edge: &str, epoch: u64, number: u64, records: &[AccessRecord]) -> Bytes {
    let id = SegmentId { edge_id: edge.into(), epoch: format!("{epoch:016}"), number };
    let mut out = BytesMut::new();
    let mut writer = SegmentWriter::new(id, &mut out);
    records.iter().for_each(|record| writer.put(record, &mut out));
    writer.seal(&mut out);
    out.freeze()
}

/// Stages as control does: true once it stands.
pub(super) async fn stage(
    store: &dyn ConfigStore,
    staging: &dyn Bucket,
    file: &Bytes,
    now_ms: u64,
) -> Result<bool, StoreError> {
    let id = Segment::verify(file.clone()).unwrap().id;
    let mark: Known<LogMark> = ledger::read(store, &ledger::mark_key(&id.edge_id, &id.epoch)).await?;
    if id.number <= mark.document.number || store.get(&ledger::segment_key(&id)).await?.is_some() {
        return Ok(true);
    }
    if staging.put(&ledger::object_key(STAGING, &id), file.clone()).await.is_err() {
        return Ok(false);
    }
    let document = sweep::document_of(&id, file.clone(), now_ms, ledger::place(staging, STAGING)).unwrap();
    store.commit(ledger::enter(&id, &document, &mark)).await.map(|_| true)
}

/// A record that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) bucket: String,
    pub(super) key: String,
}

/// A world without faults of its own.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) staging: MemoryBucket,
    pub(super) checked: Checked,
    pub(super) clock: Arc<Ticking>,
}

impl World {
    pub(super) fn new(store: Store) -> Self {
        let (staging, checked, clock) = (MemoryBucket::new("staging"), Checked::default(), Ticking::new());
        Self { store, staging, checked, clock }
    }

    pub(super) async fn in_memory() -> Self {
        Self::new(crate::store::memory::open().await.unwrap())
    }

    /// A merger of this world that nothing befalls.
    pub(super) fn merger(&self, config: MergeConfig) -> (Merger, Registry) {
        let (staging, buckets) = (Arc::new(self.staging.clone()), Arc::new(self.checked.clone()));
        self.merger_with(self.store.clone(), staging, buckets, config)
    }

    pub(super) fn merger_with(
        &self,
        store: Store,
        staging: Arc<dyn Bucket>,
        buckets: Arc<dyn Buckets>,
        config: MergeConfig,
    ) -> (Merger, Registry) {
        self.merger_by(self.clock.clone(), store, staging, buckets, config)
    }

    /// A clock so far apart from this world's.
    pub(super) fn clock_apart(&self, by_ms: i64) -> Arc<Apart> {
        Arc::new(Apart { right: self.clock.clone(), by_ms: AtomicI64::new(by_ms) })
    }

    /// A merger that goes by `clock`.
    pub(super) fn merger_by(
        &self,
        clock: SharedClock,
        store: Store,
        staging: Arc<dyn Bucket>,
        buckets: Arc<dyn Buckets>,
        config: MergeConfig,
    ) -> (Merger, Registry) {
        let registry = Registry::new();
        let merger = Merger::new(store, staging, STAGING.into(), buckets, clock, config, &registry);
        (merger.unwrap(), registry)
    }

    /// As if control had told the distributions in `file` to log where it says.
    pub(super) async fn publish(&self, file: &Bytes) {
        let index = Segment::verify(file.clone()).unwrap().footer.index;
        let mut transaction = Transaction::default();
        for entry in index {
            let Some(target) = entry.target else { continue };
            let key = log_target_key(&entry.distribution_id, &target);
            if self.store.get(&key).await.unwrap().is_none() {
                transaction = transaction.put(key, prost::Message::encode_to_vec(&target));
            }
        }
        if !transaction.puts.is_empty() {
            self.store.commit(transaction).await.unwrap();
        }
    }

    pub(super) async fn stage(&self, file: &Bytes) {
        self.publish(file).await;
        self.stage_unpublished(file).await;
    }

    pub(super) async fn stage_unpublished(&self, file: &Bytes) {
        // Retiring raises the mark meanwhile: then it is tried again, as staging does.
        loop {
            match stage(&*self.store, &self.staging, file, self.clock.now_ms()).await {
                Err(StoreError::Conflict { .. }) => (),
                outcome => return assert!(outcome.unwrap()),
            }
        }
    }

    pub(super) async fn grant(&self, account: &str, bucket: &str) {
        let key = format!("{LOG_GRANTS}{account}/{bucket}");
        self.store.commit(Transaction::default().put(key, "x")).await.unwrap();
    }

    /// The records that arrived in `buckets`, by id, each as often as it is there. Files are held against their names.
    pub(super) fn arrived(&self, buckets: &[&str]) -> BTreeMap<u64, Vec<Arrived>> {
        assert_eq!(*self.checked.violations.lock().unwrap(), Vec::<String>::new());
        let mut arrived: BTreeMap<u64, Vec<Arrived>> = BTreeMap::new();
        for bucket in buckets {
            for (key, body) in self.checked.buckets.at(bucket).objects() {
                for (id, hour) in lines(&body) {
                    assert!(key.contains(&format!(".{hour}.")), "{key} has a record of {hour}");
                    let there = Arrived { bucket: (*bucket).into(), key: key.clone() };
                    arrived.entry(id).or_default().push(there);
                }
            }
        }
        arrived
    }

    /// Whether nothing waits anywhere: no segment, no group, no object in staging.
    pub(super) async fn is_empty(&self) -> bool {
        self.store.list(LOG_SEGMENTS).await.unwrap().entries.is_empty()
            && self.store.list(LOG_GROUPS).await.unwrap().entries.is_empty()
            && self.staging.objects().is_empty()
    }

    /// Waits for that, and says what is left after `within`.
    pub(super) async fn empties(&self, within: Duration) {
        let until = Instant::now() + within;
        while !self.is_empty().await {
            if Instant::now() > until {
                let keys = |listing: Listing| listing.entries.into_iter().map(|e| e.key).collect::<Vec<_>>();
                let segments = keys(self.store.list(LOG_SEGMENTS).await.unwrap());
                let groups = self.store.list(LOG_GROUPS).await.unwrap().entries;
                let groups: Vec<LogGroup> =
                    groups.into_iter().map(|e| prost::Message::decode(e.value).unwrap()).collect();
                let staged: Vec<String> = self.staging.objects().into_keys().collect();
                panic!("left in the ledger: {segments:?}\n{groups:#?}\nin staging: {staged:?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn totals(&self) -> LogTotals {
        let mut sum = LogTotals::default();
        for entry in self.store.list(LOG_TOTALS).await.unwrap().entries {
            let totals: LogTotals = prost::Message::decode(entry.value).unwrap();
            sum.records += totals.records;
            sum.files += totals.files;
            sum.bytes += totals.bytes;
            sum.dropped_records += totals.dropped_records;
            sum.lost_records += totals.lost_records;
            if totals.last_lost_ms >= sum.last_lost_ms {
                (sum.last_lost, sum.last_lost_ms) = (totals.last_lost, totals.last_lost_ms);
            }
        }
        sum
    }
}

/// The ids of a file's records and the hours they are of, as in its name.
pub(super) fn lines(file: &[u8]) -> Vec<(u64, String)> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    let records = text.lines().filter(|line| !line.starts_with('#'));
    let fields = records.map(|line| line.split('\t').collect::<Vec<_>>());
    fields
        .map(|fields| {
            let id = fields[9].strip_prefix("n=").expect("an id").parse().unwrap();
            (id, format!("{}-{}", fields[0], &fields[1][..2]))
        })
        .collect()
}
