//! Staging against memory and faulty buckets, and against replicas that are at it at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bytes::BytesMut;
use proptest::prelude::*;
use proto::access_log::SegmentWriter;
use proto::clock::SetClock;
use proto::v1::{AccessEvent, AccessRecord, LogTarget};

use super::*;
use crate::access_log::bucket::faulty::{Fault, Faults, FaultyBucket};
use crate::access_log::bucket::memory::MemoryBucket;
use crate::access_log::ledger::{mark_key, object_key, segment_key};
use crate::store::{Transaction, memory};

const NOW_MS: u64 = 1_700_000_000_000;

fn id(number: u64) -> SegmentId {
    SegmentId { edge_id: "edge-1".into(), epoch: "0123456789abcdef".into(), number }
}

/// A segment with so many records, of which every second is of another distribution. The same bytes each time, as a sealed file is.
fn file(number: u64, records: u64) -> Bytes {
    static MADE: Mutex<BTreeMap<(u64, u64), Bytes>> = Mutex::new(BTreeMap::new());
    MADE.lock().unwrap().entry((number, records)).or_insert_with(|| make(number, records)).clone()
}

fn make(number: u64, records: u64) -> Bytes {
    let mut out = BytesMut::new();
    let mut writer = SegmentWriter::new(id(number), &mut out);
    for n in 0..records {
        let record = AccessRecord {
            time_ms: NOW_MS + n,
            event: AccessEvent::Connect.into(),
            distribution_id: format!("E00000000000{}", n % 2),
            target: Some(LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), ..Default::default() }),
            client_id: format!("{number:08}{n:024x}"),
            ..Default::default()
        };
        writer.put(&record, &mut out);
    }
    writer.seal(&mut out);
    out.freeze()
}

struct Replica {
    stage: Stage,
    registry: Registry,
}

impl Replica {
    fn new(store: &Store, bucket: Arc<dyn Bucket>) -> Self {
        Self::at(NOW_MS, store, bucket)
    }

    /// One whose clock says that.
    fn at(now_ms: u64, store: &Store, bucket: Arc<dyn Bucket>) -> Self {
        let registry = Registry::new();
        let clock = SetClock::at_ms(now_ms);
        let stage = Stage::new(store.clone(), bucket, "p/".into(), clock, &registry).unwrap();
        Self { stage, registry }
    }

    async fn take(&self, file: Bytes) -> Result<Staged, StageError> {
        let segment = self.stage.verify(file.clone(), ()).await?;
        self.stage.stage(&segment, file).await
    }

    fn counter(&self, name: &str, reason: Option<&str>) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == format!("penstock_control_log_{name}")).unwrap();
        let of = |m: &&prometheus::proto::Metric| {
            reason.is_none_or(|reason| m.get_label().iter().any(|l| l.value() == reason))
        };
        family.get_metric().iter().filter(of).map(|m| m.get_counter().get_value() as u64).sum()
    }
}

async fn document(store: &Store, number: u64) -> Option<StagedSegment> {
    let entry = store.get(&segment_key(&id(number))).await.unwrap()?;
    Some(StagedSegment::decode(entry.value).unwrap())
}

/// What a merger does once every group has a segment.
async fn retire(store: &Store, bucket: &MemoryBucket, number: u64) {
    let key = mark_key(&id(number).edge_id, &id(number).epoch);
    let known = store.get(&key).await.unwrap();
    let had = known.as_ref().map_or(0, |e| LogMark::decode(e.value.clone()).unwrap().number);
    let mut transaction = Transaction::default().delete(segment_key(&id(number)));
    if number > had {
        let mark = LogMark { number, changed_ms: NOW_MS, first: 1, ..LogMark::default() };
        transaction = transaction.when(&key, known.map_or(0, |e| e.modified)).put(&key, mark.encode_to_vec());
    }
    store.commit(transaction).await.unwrap();
    bucket.delete(&object_key("p/", &id(number))).await.unwrap();
}

#[tokio::test]
async fn a_segment_stands_under_its_own_name_and_in_the_ledger_before_it_is_acknowledged() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let replica = Replica::new(&store, Arc::new(bucket.clone()));
    assert_eq!(replica.take(file(7, 5)).await.unwrap(), Staged::New);
    let key = "p/edge-1/0123456789abcdef-00000000000000000007.seg";
    assert_eq!(bucket.objects().get(key), Some(&file(7, 5)));
    let document = document(&store, 7).await.unwrap();
    assert_eq!(document.id, Some(id(7).header()));
    assert_eq!((document.bytes, document.staged_ms), (file(7, 5).len() as u64, NOW_MS));
    let counts: Vec<_> =
        document.index.iter().map(|e| (e.distribution_id.as_str(), e.records, e.first_ms)).collect();
    assert_eq!(counts, [("E000000000000", 3, NOW_MS), ("E000000000001", 2, NOW_MS + 1)]);
    assert_eq!(replica.counter("staged_records_total", None), 5);
}

#[tokio::test]
async fn a_repeat_is_acknowledged_and_changes_nothing_also_after_the_segment_is_gone() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let replicas = [0, 1].map(|_| Replica::new(&store, Arc::new(bucket.clone())));
    assert_eq!(replicas[0].take(file(1, 3)).await.unwrap(), Staged::New);
    let before = store.head().await.unwrap();
    assert_eq!(replicas[1].take(file(1, 3)).await.unwrap(), Staged::Repeated);
    assert_eq!(store.head().await.unwrap(), before);
    assert_eq!(bucket.puts(&object_key("p/", &id(1))), 1);

    retire(&store, &bucket, 1).await;
    assert_eq!(replicas[1].take(file(1, 3)).await.unwrap(), Staged::Repeated);
    assert!(bucket.objects().is_empty() && document(&store, 1).await.is_none());
    assert_eq!(replicas[1].counter("repeated_segments_total", None), 2);
    assert_eq!(replicas[1].take(file(2, 3)).await.unwrap(), Staged::New, "the next one is news");
}

#[tokio::test]
async fn a_mark_that_a_later_segment_raised_covers_those_before_it() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let replica = Replica::new(&store, Arc::new(bucket.clone()));
    for number in 1..=2 {
        replica.take(file(number, 1)).await.unwrap();
    }
    // The second is delivered first: a bucket of the first one's refuses.
    retire(&store, &bucket, 2).await;
    assert_eq!(replica.take(file(1, 1)).await.unwrap(), Staged::Repeated);
    assert!(document(&store, 1).await.is_some(), "it still waits for delivery");
    retire(&store, &bucket, 1).await;
    assert_eq!(replica.take(file(1, 1)).await.unwrap(), Staged::Repeated);
    assert!(document(&store, 1).await.is_none());
}

#[tokio::test]
async fn a_staging_bucket_that_fails_leaves_no_trace_and_the_next_attempt_succeeds() {
    let (store, memory) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let faults = Faults::new(1);
    let replica = Replica::new(&store, Arc::new(FaultyBucket::new(Arc::new(memory.clone()), faults.clone())));
    for fault in [Fault::denied(), Fault::slow_down(), Fault::away(), Fault::LosesTheAnswer] {
        faults.next([Some(fault)]);
        assert!(matches!(replica.take(file(1, 1)).await, Err(StageError::Bucket(_))));
        assert!(document(&store, 1).await.is_none(), "it is not known to stand");
    }
    assert_eq!(replica.counter("stage_failures_total", Some("bucket")), 4);
    assert_eq!(replica.take(file(1, 1)).await.unwrap(), Staged::New);
    let missing = Replica::new(&store, Arc::new(MemoryBucket::missing("staging")));
    let error = missing.take(file(2, 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "staging: there is no bucket 'staging'");
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_delivered_while_another_replica_still_stages_it_is_not_entered_again() {
    let (store, memory) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let faults = Faults::new(1);
    let slow = FaultyBucket::new(Arc::new(memory.clone()), faults.clone());
    let (slow, quick) =
        (Replica::new(&store, Arc::new(slow)), Replica::new(&store, Arc::new(memory.clone())));
    faults.next([Some(Fault::Delays(std::time::Duration::from_secs(60)))]);
    let late = tokio::spawn(async move { slow.take(file(1, 4)).await.unwrap() });
    let asked = async {
        while faults.calls() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    // Half of what its bucket then takes.
    tokio::time::timeout(std::time::Duration::from_secs(30), asked).await.expect("the slow replica puts it");
    assert_eq!(quick.take(file(1, 4)).await.unwrap(), Staged::New);
    retire(&store, &memory, 1).await;
    assert_eq!(late.await.unwrap(), Staged::Repeated);
    assert!(document(&store, 1).await.is_none());
    // What it wrote late lies under the mark, where the sweep finds it.
    assert_eq!(memory.objects().len(), 1);
}

#[tokio::test]
async fn what_is_no_sealed_segment_is_refused_before_anything_is_written() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let replica = Replica::new(&store, Arc::new(bucket.clone()));
    let whole = file(1, 3);
    let mut damaged = whole.to_vec();
    damaged[whole.len() / 2] ^= 1;
    for bad in
        [Bytes::new(), whole.slice(..whole.len() - 1), damaged.into(), Bytes::from_static(b"GET / HTTP/1.1")]
    {
        let error = replica.take(bad).await.unwrap_err();
        assert!(matches!(error, StageError::Invalid(_)), "{error}");
    }
    assert_eq!(replica.counter("stage_failures_total", Some("invalid")), 4);
    assert!(bucket.objects().is_empty());
}

#[tokio::test]
async fn another_segment_of_the_same_name_is_not_taken_for_a_repeat() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let replica = Replica::new(&store, Arc::new(bucket.clone()));
    replica.take(file(1, 3)).await.unwrap();
    let error = replica.take(file(1, 4)).await.unwrap_err();
    assert!(matches!(&error, StageError::Invalid(text) if text.contains("copied")), "{error}");
    assert_eq!(bucket.objects().values().next(), Some(&file(1, 3)));
}

#[tokio::test]
async fn f35_a_replica_with_a_wrong_clock_takes_what_any_other_takes_and_says_that_one_is_wrong() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    const DAY_MS: u64 = 86_400_000;
    // Its clock is unset; 30 hours, a year behind; right; a year ahead.
    let clocks = [0, NOW_MS - DAY_MS * 5 / 4, NOW_MS - 365 * DAY_MS, NOW_MS, NOW_MS + 365 * DAY_MS];
    for (number, now_ms) in (1..).zip(clocks) {
        let replica = Replica::at(now_ms, &store, Arc::new(bucket.clone()));
        assert_eq!(replica.take(file(number, 3)).await.unwrap(), Staged::New, "{now_ms}");
        let told = if now_ms < NOW_MS { 3 } else { 0 };
        assert_eq!(replica.counter("far_off_records_total", None), told, "{now_ms}");
        assert_eq!(replica.counter("stage_failures_total", None), 0);
    }
}

#[tokio::test]
async fn f35_one_record_of_an_implausible_hour_costs_its_segment_nothing() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let replica = Replica::new(&store, Arc::new(bucket.clone()));
    let mut out = BytesMut::new();
    let mut writer = SegmentWriter::new(id(1), &mut out);
    for time_ms in [NOW_MS, 7, NOW_MS + 1, u64::MAX] {
        let target = LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), ..Default::default() };
        let record = AccessRecord {
            time_ms,
            distribution_id: "E000000000000".into(),
            target: Some(target),
            ..Default::default()
        };
        writer.put(&record, &mut out);
    }
    writer.seal(&mut out);
    assert_eq!(replica.take(out.freeze()).await.unwrap(), Staged::New);
    let hours: Vec<_> =
        document(&store, 1).await.unwrap().index.iter().map(|e| (e.hour, e.records)).collect();
    assert_eq!(hours, [(0, 1), (hour_of(NOW_MS), 2), (u32::MAX, 1)]);
    assert_eq!(replica.counter("far_off_records_total", None), 2);
}

#[tokio::test]
async fn a_segment_whose_verification_breaks_off_is_not_refused_for_good() {
    /// Breaks the task that gives it up.
    struct Breaks;
    impl Drop for Breaks {
        fn drop(&mut self) {
            panic!("as ordered");
        }
    }
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let replica = Replica::new(&store, Arc::new(bucket));
    let error = replica.stage.verify(file(1, 1), Breaks).await.unwrap_err();
    assert!(matches!(error, StageError::Unverified(_)), "{error}");
    let failures =
        ["unverified", "invalid"].map(|reason| replica.counter("stage_failures_total", Some(reason)));
    assert_eq!(failures, [1, 0]);
    assert!(replica.stage.verify(file(1, 1), ()).await.is_ok());
}

/// The store as it is now, in another.
async fn copy_of(store: &Store) -> Store {
    let copy = memory::open().await.unwrap();
    for entry in store.list("").await.unwrap().entries {
        copy.commit(Transaction::default().put(entry.key, entry.value)).await.unwrap();
    }
    copy
}

#[tokio::test]
async fn what_the_store_forgot_of_an_epoch_is_entered_before_what_comes_next() {
    let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let of = |store: &Store| Replica::new(store, Arc::new(bucket.clone()));
    for number in 1..=2 {
        of(&store).take(file(number, 2)).await.unwrap();
    }
    retire(&store, &bucket, 1).await;
    let snapshot = copy_of(&store).await;
    for number in 3..=7 {
        of(&store).take(file(number, 2)).await.unwrap();
    }
    // Delivered since, and gone; and one that somebody has damaged.
    retire(&store, &bucket, 4).await;
    bucket.put(&object_key("p/", &id(5)), "damaged".into()).await.unwrap();
    bucket.put(&object_key("p/", &SegmentId { epoch: "f".repeat(16), ..id(6) }), file(6, 2)).await.unwrap();

    let replica = of(&snapshot);
    assert_eq!(replica.take(file(8, 2)).await.unwrap(), Staged::New);
    let mut known = Vec::new();
    for number in 1..=9 {
        if document(&snapshot, number).await.is_some() {
            known.push(number);
        }
    }
    assert_eq!(known, [2, 3, 6, 7, 8]);
    assert_eq!(replica.counter("rejoined_segments_total", None), 3);
    // A gap that the edge made is none of that.
    assert_eq!(replica.take(file(11, 2)).await.unwrap(), Staged::New);
    assert_eq!(replica.counter("rejoined_segments_total", None), 3);
}

#[tokio::test]
async fn a_segment_is_not_entered_while_those_before_it_can_not_be_looked_for() {
    let (store, memory) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
    let faults = Faults::new(1);
    let replica = Replica::new(&store, Arc::new(FaultyBucket::new(Arc::new(memory.clone()), faults.clone())));
    memory.put(&object_key("p/", &id(3)), file(3, 1)).await.unwrap();
    // It is put; then listed; then the one before it is read.
    for faulty in [vec![None, Some(Fault::away())], vec![None, None, Some(Fault::denied())]] {
        faults.next(faulty);
        assert!(matches!(replica.take(file(4, 1)).await, Err(StageError::Bucket(_))));
        assert!(document(&store, 4).await.is_none());
    }
    assert_eq!(replica.take(file(4, 1)).await.unwrap(), Staged::New);
    assert!(document(&store, 3).await.is_some());
}

/// What happens next in a cluster of two replicas, one edge, and a merger.
#[derive(Clone, Debug)]
enum Step {
    /// The edge hands its oldest segment to a replica; the bucket behaves so.
    Ship { replica: usize, fault: Option<Fault> },
    /// The edge hands it to both at once.
    ShipToBoth,
    /// The merger has delivered a staged segment, the oldest or another.
    Deliver { nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let fault = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Fault::denied())),
        1 => Just(Some(Fault::LosesTheAnswer)),
        1 => Just(Some(Fault::Delays(std::time::Duration::from_secs(1)))),
    ];
    prop_oneof![
        5 => (0..2usize, fault).prop_map(|(replica, fault)| Step::Ship { replica, fault }),
        2 => Just(Step::ShipToBoth),
        2 => (0..3usize).prop_map(|nth| Step::Deliver { nth }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The edge loses some acknowledgements, so it repeats itself; in the end each segment was entered once and delivered once.
    #[test]
    fn each_segment_is_entered_exactly_once(steps in prop::collection::vec((step(), any::<bool>()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (store, bucket) = (memory::open().await.unwrap(), MemoryBucket::new("staging"));
            let faults = Faults::new(1);
            let behind = Arc::new(FaultyBucket::new(Arc::new(bucket.clone()), faults.clone()));
            let replicas = [0, 1].map(|_| Replica::new(&store, behind.clone()));
            let (mut next, mut entered, mut delivered) = (1, Vec::new(), Vec::new());
            for (step, answer_lost) in steps {
                let mut results = Vec::new();
                match step {
                    Step::Ship { replica, fault } => {
                        faults.next([fault]);
                        results.push(replicas[replica].take(file(next, 2)).await);
                        faults.end();
                    }
                    Step::ShipToBoth => {
                        let both = tokio::join!(replicas[0].take(file(next, 2)), replicas[1].take(file(next, 2)));
                        results.extend([both.0, both.1]);
                    }
                    Step::Deliver { nth } => {
                        let waiting = store.list(crate::documents::LOG_SEGMENTS).await.unwrap().entries;
                        if let Some(entry) = waiting.get(nth) {
                            let number = StagedSegment::decode(entry.value.clone()).unwrap().id.unwrap().number;
                            assert_eq!(bucket.objects().get(&object_key("p/", &id(number))), Some(&file(number, 2)));
                            delivered.push(number);
                            retire(&store, &bucket, number).await;
                        }
                    }
                }
                entered.extend(results.iter().filter(|r| matches!(r, Ok(Staged::New))).map(|_| next));
                if results.iter().any(Result::is_ok) {
                    // It stands, or stood, whoever says so.
                    assert!(document(&store, next).await.is_some() || delivered.contains(&next));
                    next += u64::from(!answer_lost);
                }
            }
            let unique = |numbers: &[u64]| numbers.iter().collect::<BTreeSet<_>>().len() == numbers.len();
            assert!(unique(&entered), "entered twice: {entered:?}");
            assert!(unique(&delivered), "delivered twice: {delivered:?}");
        });
    }
}
