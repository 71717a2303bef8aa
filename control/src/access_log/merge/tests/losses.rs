//! Staged objects that are gone or damaged: what is lost by that, what is not, and what comes of uploads from before.

use bytes::Bytes;
use proto::access_log::SegmentId;
use proto::v1::LogTarget;

use super::cases::{MINUTES, Running, groups, in_a};
use super::saboteur::damaged;
use super::world::*;
use super::*;
use crate::access_log::bucket::BucketError;
use crate::access_log::bucket::faulty::{Fault, Faults, FaultyBucket, FaultyBuckets};
use crate::access_log::bucket::memory::MemoryBucket;
use crate::access_log::ledger;

const BUCKET: &str = "one.example";

fn file(number: u64) -> Bytes {
    segment("edge-1", 1, number, &[record(number, "E1", BEGIN_MS + number, in_a(""))])
}

fn object(number: u64) -> String {
    let id = SegmentId { edge_id: "edge-1".into(), epoch: format!("{:016}", 1), number };
    ledger::object_key(STAGING, &id)
}

/// Three segments of one list are staged.
async fn staged() -> World {
    let world = World::in_memory().await;
    world.checked.may_lose.store(true, std::sync::atomic::Ordering::Relaxed);
    for number in 1..=3 {
        world.stage(&file(number)).await;
    }
    world
}

impl World {
    fn numbers(&self) -> Vec<u64> {
        let arrived = self.arrived(&[BUCKET]);
        assert!(arrived.values().all(|there| there.len() == 1), "{arrived:?}");
        arrived.into_keys().collect()
    }

    /// A merger whose customers' buckets are these.
    fn running(&self, buckets: Arc<dyn Buckets>) -> Running {
        let staging = Arc::new(self.staging.clone());
        Running::start(self.merger_with(self.store.clone(), staging, buckets, MergeConfig::default()).0)
    }

    /// Lets a merger commit the list and try to upload it, by `fault`, and die.
    async fn uploaded_by_the_dead(&self, fault: Fault) {
        let faults = Faults::new(1);
        faults.always(Some(fault));
        let running =
            self.running(Arc::new(FaultyBuckets::new(Arc::new(self.checked.clone()), faults.clone())));
        tokio::time::sleep(Duration::from_secs(303)).await;
        assert_eq!(faults.calls(), 1);
        assert!(groups(&*self.store).await[0].pending.is_some());
        drop(running);
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_gone_costs_its_own_records_alone_and_they_are_counted_and_named() {
    let world = staged().await;
    world.staging.delete(&object(2)).await.unwrap();
    let running = Running::start(world.merger(MergeConfig::default()).0);
    running.merger.flush().await;
    let group = groups(&*world.store).await.remove(0);
    assert!(
        group.last_error.starts_with("segment edge-1/0000000000000001/00000000000000000002 is gone"),
        "{group:?}"
    );
    tokio::time::sleep(9 * MINUTES).await;
    assert!(world.numbers().is_empty(), "ten minutes are not over");
    assert_eq!(running.metrics().lost_records.get(), 0);
    world.empties(4 * MINUTES).await;
    assert_eq!(world.numbers(), [1, 3]);
    let totals = world.totals().await;
    assert_eq!((totals.records, totals.lost_records, totals.dropped_records), (2, 1, 0));
    assert_eq!(totals.last_lost, "edge-1/0000000000000001/00000000000000000002");
    assert_eq!((running.metrics().lost_segments.get(), running.metrics().lost_records.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_segment_is_as_good_as_gone_for_each_group_that_is_in_it() {
    let world = staged().await;
    let shared = [1, 2].map(|n| record(10 + n, &format!("E{n}"), BEGIN_MS, in_a("")));
    world.stage(&segment("edge-1", 1, 4, &shared)).await;
    world.stage(&segment("edge-1", 1, 5, &[record(15, "E2", BEGIN_MS, in_a(""))])).await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    let whole = world.staging.objects()[&object(4)].clone();
    world.staging.put(&object(4), damaged(&whole)).await.unwrap();
    running.merger.flush().await;
    assert!(groups(&*world.store).await.iter().all(|group| group.last_error.starts_with("segment edge-1/")));
    world.empties(15 * MINUTES).await;
    assert_eq!(world.numbers(), [1, 2, 3, 15]);
    let totals = world.totals().await;
    assert_eq!((totals.records, totals.lost_records), (4, 2));
    assert!(running.metrics().refusals.with_label_values(&["damaged"]).get() >= 10);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_that_are_gone_at_once_take_no_longer_than_one() {
    let world = staged().await;
    for number in 4..=100 {
        world.stage(&file(number)).await;
    }
    for number in 2..=100 {
        world.staging.delete(&object(number)).await.unwrap();
    }
    let running = Running::start(world.merger(MergeConfig::default()).0);
    running.merger.flush().await;
    world.empties(13 * MINUTES).await;
    assert_eq!((world.numbers(), world.totals().await.lost_records), (vec![1], 99));
    assert!(world.totals().await.last_lost.ends_with("and 96 more"));
}

#[tokio::test(start_paused = true)]
async fn a_list_of_which_nothing_is_left_makes_no_file() {
    let world = staged().await;
    for number in 1..=3 {
        world.staging.delete(&object(number)).await.unwrap();
    }
    let running = Running::start(world.merger(MergeConfig::default()).0);
    running.merger.flush().await;
    world.empties(15 * MINUTES).await;
    assert!(world.checked.buckets.at(BUCKET).objects().is_empty());
    assert_eq!((world.totals().await.lost_records, world.totals().await.files), (3, 0));
    // What comes after is not touched by that.
    world.stage(&file(4)).await;
    running.merger.flush().await;
    assert_eq!(world.numbers(), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_back_in_time_is_delivered_with_the_rest() {
    let world = staged().await;
    world.staging.delete(&object(2)).await.unwrap();
    let running = Running::start(world.merger(MergeConfig::default()).0);
    running.merger.flush().await;
    tokio::time::sleep(9 * MINUTES).await;
    world.staging.put(&object(2), file(2)).await.unwrap();
    world.empties(5 * MINUTES).await;
    assert_eq!(world.numbers(), [1, 2, 3]);
    assert_eq!(world.totals().await.lost_records, 0);
}

#[tokio::test(start_paused = true)]
async fn what_staging_does_not_answer_or_refuses_is_never_lost() {
    let world = staged().await;
    let faults = Faults::new(1);
    let staging = Arc::new(FaultyBucket::new(Arc::new(world.staging.clone()), faults.clone()));
    let buckets = Arc::new(world.checked.clone());
    let (merger, _) = world.merger_with(world.store.clone(), staging, buckets, MergeConfig::default());
    let running = Running::start(merger);
    for fault in [
        Fault::away(),
        Fault::denied(),
        Fault::slow_down(),
        Fault::Says(BucketError::Missing("staging".into())),
    ] {
        faults.always(Some(fault));
        let before = faults.calls();
        tokio::time::sleep(120 * MINUTES).await;
        assert!(faults.calls() > before + 100, "it was asked all the time");
        assert!(groups(&*world.store).await[0].pending.as_ref().is_some_and(|file| file.losses.is_empty()));
    }
    faults.end();
    world.empties(5 * MINUTES).await;
    assert_eq!(world.numbers(), [1, 2, 3]);
    assert_eq!((world.totals().await.lost_records, running.metrics().lost_records.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_because_another_bucket_does_not_have_it() {
    let world = staged().await;
    let buckets = || Arc::new(world.checked.clone());
    let other = Arc::new(MemoryBucket::new("other"));
    let (merger, _) = world.merger_with(world.store.clone(), other, buckets(), MergeConfig::default());
    let misled = Running::start(merger);
    tokio::time::sleep(24 * 60 * MINUTES).await;
    let group = groups(&*world.store).await.remove(0);
    assert!(group.last_error.contains("but it was put into memory/staging/penstock/"), "{group:?}");
    assert_eq!(crate::access_log::refusal::code(&group.last_error), Some("StagingLost"));
    assert_eq!(world.totals().await.lost_records, 0);
    drop(misled);
    let _running = world.running(buckets());
    world.empties(7 * MINUTES).await;
    assert_eq!(world.numbers(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn f34_a_file_that_was_uploaded_whole_before_its_segments_went_is_left_as_it_is() {
    let world = staged().await;
    world.uploaded_by_the_dead(Fault::LosesTheAnswer).await;
    for number in 1..=3 {
        world.staging.delete(&object(number)).await.unwrap();
    }
    let running = world.running(Arc::new(world.checked.clone()));
    world.empties(20 * MINUTES).await;
    assert_eq!(world.numbers(), [1, 2, 3]);
    let key = world.arrived(&[BUCKET])[&1][0].key.clone();
    assert_eq!(world.checked.buckets.at(BUCKET).puts(&key), 1);
    let totals = world.totals().await;
    assert_eq!((totals.records, totals.lost_records, totals.files), (3, 0, 1));
    assert_eq!((running.metrics().files.get(), running.metrics().lost_records.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn f34_an_upload_from_before_the_loss_that_comes_last_doubles_nothing() {
    let world = staged().await;
    world.uploaded_by_the_dead(Fault::HappensLater(60 * MINUTES)).await;
    world.staging.delete(&object(2)).await.unwrap();
    let _running = world.running(Arc::new(world.checked.clone()));
    world.empties(20 * MINUTES).await;
    assert_eq!(world.numbers(), [1, 3]);
    tokio::time::sleep(60 * MINUTES).await;
    // Under the same name: what was counted as lost is there after all, and all of it once.
    assert_eq!(world.numbers(), [1, 2, 3]);
    let totals = world.totals().await;
    assert_eq!((totals.records, totals.lost_records), (2, 1));
}

/// Customers' buckets that answer who reads with an error; that take what is put.
#[derive(Clone)]
struct Unread(Arc<dyn Buckets>, Arc<Mutex<Option<BucketError>>>);

struct UnreadBucket(Arc<dyn Bucket>, Unread);

impl Buckets for Unread {
    fn open(&self, target: &LogTarget) -> Arc<dyn Bucket> {
        Arc::new(UnreadBucket(self.0.open(target), self.clone()))
    }
    fn bucket_name(&self, target: &LogTarget) -> Option<String> {
        self.0.bucket_name(target)
    }
}

#[async_trait::async_trait]
impl Bucket for UnreadBucket {
    fn place(&self) -> String {
        self.0.place()
    }
    async fn put(&self, key: &str, body: Bytes) -> Result<(), BucketError> {
        self.0.put(key, body).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError> {
        let error = self.1.1.lock().unwrap().clone();
        error.map_or(Ok(()), Err)?;
        self.0.get(key).await
    }
    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.0.delete(key).await
    }
    async fn list(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, u64)>, BucketError> {
        self.0.list(prefix, after, limit).await
    }
}

#[tokio::test(start_paused = true)]
async fn f34_where_nothing_may_be_read_the_file_is_written_over_and_where_nothing_answers_it_waits() {
    let Fault::Says(denied) = Fault::denied() else { panic!("a 403") };
    for (error, waits) in [(denied, false), (BucketError::Away("gone".into()), true)] {
        let world = staged().await;
        world.uploaded_by_the_dead(Fault::LosesTheAnswer).await;
        world.staging.delete(&object(2)).await.unwrap();
        let unread = Unread(Arc::new(world.checked.clone()), Arc::new(Mutex::new(Some(error))));
        let _running = world.running(Arc::new(unread.clone()));
        if waits {
            tokio::time::sleep(60 * MINUTES).await;
            assert_eq!(world.totals().await.lost_records, 0);
            *unread.1.lock().unwrap() = None;
        }
        world.empties(20 * MINUTES).await;
        let totals = world.totals().await;
        let expected = if waits { (vec![1, 2, 3], 3, 0) } else { (vec![1, 3], 2, 1) };
        assert_eq!((world.numbers(), totals.records, totals.lost_records), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_counted_though_the_bucket_refuses_and_the_rest_comes_when_it_takes_files_again() {
    let world = staged().await;
    world.checked.buckets.set_missing(BUCKET, true);
    world.staging.delete(&object(2)).await.unwrap();
    let _running = world.running(Arc::new(world.checked.clone()));
    tokio::time::sleep(20 * MINUTES).await;
    let group = groups(&*world.store).await.remove(0);
    assert!(
        group.held.len() == 1 && group.held[0].records == 2 && group.held[0].losses.is_empty(),
        "{group:?}"
    );
    assert_eq!(world.totals().await.lost_records, 1);
    world.checked.buckets.set_missing(BUCKET, false);
    world.empties(6 * MINUTES).await;
    assert_eq!((world.numbers(), world.totals().await.lost_records), (vec![1, 3], 1));
}

#[tokio::test(start_paused = true)]
async fn a_held_file_that_is_gone_or_damaged_is_lost_and_the_next_is_delivered() {
    for deletes in [true, false] {
        let world = staged().await;
        world.checked.buckets.set_missing(BUCKET, true);
        let running = world.running(Arc::new(world.checked.clone()));
        tokio::time::sleep(10 * MINUTES).await;
        let (held, whole) =
            world.staging.objects().into_iter().find(|(key, _)| key.contains("/held/")).unwrap();
        match deletes {
            true => world.staging.delete(&held).await.unwrap(),
            false => world.staging.put(&held, damaged(&whole)).await.unwrap(),
        }
        world.stage(&file(4)).await;
        tokio::time::sleep(20 * MINUTES).await;
        let group = groups(&*world.store).await.remove(0);
        assert_eq!(group.held.iter().map(|held| held.records).collect::<Vec<_>>(), [1], "{group:?}");
        let totals = world.totals().await;
        assert_eq!((totals.lost_records, totals.dropped_records), (3, 0));
        assert!(held.ends_with(&totals.last_lost) && totals.last_lost.starts_with("held/"), "{totals:?}");
        assert_eq!(running.metrics().lost_segments.get(), 1);
        world.checked.buckets.set_missing(BUCKET, false);
        world.empties(7 * MINUTES).await;
        assert_eq!(world.numbers(), [4]);
    }
}
