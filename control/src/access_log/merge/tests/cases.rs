//! One case each: what a merger does with what is staged, and with buckets that refuse.

use bytes::Bytes;
use prost::Message;
use proto::clock::Clock;
use proto::v1::{LogMark, LogTarget, StagedSegment};

use super::world::*;
use super::*;
use crate::access_log::bucket::faulty::{Fault, Faults, FaultyBuckets};
use crate::access_log::ledger;
use crate::documents::{LOG_GROUPS, LOG_SEGMENTS};
use crate::store::ConfigStore;

const HOUR_MS: u64 = 3_600_000;
pub(super) const MINUTES: Duration = Duration::from_secs(60);

/// A merger that runs until it is dropped.
pub(super) struct Running {
    pub(super) merger: Merger,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(super) fn start(merger: Merger) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (merger, stop) = (merger.clone(), stop.clone());
            async move { merger.run(stop).await }
        });
        Self { merger, stop, task }
    }

    pub(super) fn metrics(&self) -> &MergeMetrics {
        &self.merger.shared.metrics
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn in_a(prefix: &str) -> Option<LogTarget> {
    Some(target("one.example", prefix, ""))
}

pub(super) async fn groups(store: &dyn ConfigStore) -> Vec<LogGroup> {
    let entries = store.list(LOG_GROUPS).await.unwrap().entries;
    entries.into_iter().map(|entry| LogGroup::decode(entry.value).unwrap()).collect()
}

async fn segments(store: &dyn ConfigStore) -> usize {
    store.list(LOG_SEGMENTS).await.unwrap().entries.len()
}

#[tokio::test(start_paused = true)]
async fn a_group_is_delivered_when_its_first_record_is_old_enough_and_all_traces_go() {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    for number in 1..=3 {
        let records = [record(number, "E1", BEGIN_MS + number, in_a("log"))];
        world.stage(&segment("edge-1", 1, number, &records)).await;
    }
    tokio::time::sleep(Duration::from_secs(290)).await;
    assert!(world.arrived(&["one.example"]).is_empty(), "others may still join them");
    world.empties(Duration::from_secs(30)).await;
    let arrived = world.arrived(&["one.example"]);
    assert_eq!(arrived.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    let key = &arrived[&1][0].key;
    assert!(arrived.values().all(|there| there[0].key == *key), "one file");
    assert!(key.starts_with("log/E1XXXXXXXXXXX.2019-11-14-19.") && key.ends_with(".gz"), "{key}");
    let totals = world.totals().await;
    assert_eq!((totals.records, totals.files), (3, 1));
    assert_eq!(running.metrics().retired.get(), 3);
    assert_eq!(running.metrics().segment_reads.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn f35_an_hour_that_ends_within_a_segment_and_records_that_come_late_go_into_files_of_their_hours() {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    // 19:58, 20:01, and one of a clock that was set back an hour.
    let times = [BEGIN_MS, BEGIN_MS + 180_000, BEGIN_MS - HOUR_MS];
    let records = (1..).zip(times).map(|(id, time_ms)| record(id, "E1", time_ms, in_a("")));
    world.stage(&segment("edge-1", 1, 1, &records.collect::<Vec<_>>())).await;
    running.merger.flush().await;
    world.empties(MINUTES).await;
    // The hour has been delivered; its documents are gone; another record of it comes.
    world.stage(&segment("edge-1", 1, 2, &[record(4, "E1", BEGIN_MS + 1, in_a(""))])).await;
    running.merger.flush().await;
    let arrived = world.arrived(&["one.example"]);
    let hours: Vec<&str> = arrived.values().map(|there| &there[0].key[14..27]).collect();
    assert_eq!(hours, ["2019-11-14-19", "2019-11-14-20", "2019-11-14-18", "2019-11-14-19"]);
    assert_ne!(arrived[&1][0].key, arrived[&4][0].key);
}

#[tokio::test(start_paused = true)]
async fn records_go_where_their_event_said_though_logging_was_moved_or_the_distribution_is_gone() {
    // No distribution is in the store any more.
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    let targets = [in_a("old"), in_a("new"), Some(target("two.example", "old", "")), None];
    let records = (1..).zip(targets).map(|(id, target)| record(id, "EGONE", BEGIN_MS, target));
    world.stage(&segment("edge-1", 1, 1, &records.collect::<Vec<_>>())).await;
    running.merger.flush().await;
    let arrived = world.arrived(&["one.example", "two.example"]);
    assert_eq!(arrived.len(), 3, "what was not to be logged is not");
    let at = |id: u64| (arrived[&id][0].bucket.as_str(), arrived[&id][0].key.split('/').next().unwrap());
    assert_eq!(
        (at(1), at(2), at(3)),
        (("one.example", "old"), ("one.example", "new"), ("two.example", "old"))
    );
    world.empties(MINUTES).await;
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_is_handed_over_again_is_not_delivered_again() {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    let files: Vec<Bytes> =
        (1..=2).map(|n| segment("edge-1", 1, n, &[record(n, "E1", BEGIN_MS, in_a(""))])).collect();
    for _ in 0..3 {
        for file in &files {
            world.stage(file).await;
            world.stage(file).await;
        }
        running.merger.flush().await;
        world.empties(MINUTES).await;
    }
    let arrived = world.arrived(&["one.example"]);
    assert!(arrived.len() == 2 && arrived.values().all(|there| there.len() == 1), "{arrived:?}");
}

#[tokio::test(start_paused = true)]
async fn a_segment_of_as_many_distributions_as_one_may_have_is_read_once_and_each_gets_its_file() {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    let records: Vec<_> = (0..4096)
        .map(|id| record(id, &format!("E{id:05}"), BEGIN_MS, in_a(&format!("{}", id % 7))))
        .collect();
    world.stage(&segment("edge-1", 1, 1, &records)).await;
    running.merger.flush().await;
    world.empties(MINUTES).await;
    assert_eq!(world.arrived(&["one.example"]).len(), 4096);
    assert_eq!(running.metrics().files.get(), 4096);
    assert_eq!(running.metrics().segment_reads.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_with_more_records_than_a_file_takes_gets_several_and_memory_stays_bounded() {
    let world = World::in_memory().await;
    let config =
        MergeConfig { file_bytes: 4000, cache_bytes: 16_000, memory_bytes: 8192, ..MergeConfig::default() };
    let running = Running::start(world.merger(config).0);
    for number in 1..=200 {
        let records: Vec<_> =
            (0..10).map(|i| record(number * 10 + i, &format!("E{}", i % 2), BEGIN_MS, in_a(""))).collect();
        world.stage(&segment(&format!("edge-{}", number % 3), 1, number, &records)).await;
    }
    running.merger.flush().await;
    world.empties(MINUTES).await;
    let arrived = world.arrived(&["one.example"]);
    assert!(arrived.len() == 2000 && arrived.values().all(|there| there.len() == 1));
    assert!(running.metrics().files.get() > 20);
    // Each is read for both groups at one time.
    assert!(running.metrics().segment_reads.get() <= 300, "{}", running.metrics().segment_reads.get());
}

#[tokio::test(start_paused = true)]
async fn f34_a_bucket_that_refuses_for_an_hour_delays_nobody_and_gets_all_of_its_files_later() {
    let world = World::in_memory().await;
    let faults = Faults::new(1);
    struct One(Arc<dyn Buckets>, Arc<dyn Buckets>);
    impl Buckets for One {
        fn open(&self, target: &LogTarget) -> Arc<dyn Bucket> {
            if target.bucket_host == "refuses.example" { self.1.open(target) } else { self.0.open(target) }
        }
        fn bucket_name(&self, target: &LogTarget) -> Option<String> {
            self.0.bucket_name(target)
        }
    }
    let checked: Arc<dyn Buckets> = Arc::new(world.checked.clone());
    let buckets = One(checked.clone(), Arc::new(FaultyBuckets::new(checked, faults.clone())));
    let config = MergeConfig { file_age: Duration::from_secs(10), concurrency: 4, ..MergeConfig::default() };
    let staging = Arc::new(world.staging.clone());
    let (merger, _) = world.merger_with(world.store.clone(), staging, Arc::new(buckets), config);
    let running = Running::start(merger);
    faults.always(Some(Fault::denied()));
    let refused = || Some(target("refuses.example", "r", ""));
    for number in 1..=60 {
        let records = [
            record(2 * number, "E1", world.clock.now_ms(), in_a("")),
            record(2 * number + 1, &format!("E{}", 2 + number % 9), world.clock.now_ms(), refused()),
        ];
        world.stage(&segment("edge-1", 1, number, &records)).await;
        tokio::time::sleep(MINUTES).await;
        assert!(
            world.arrived(&["one.example"]).contains_key(&(2 * number)),
            "minute {number}: the other waited"
        );
    }
    assert!(segments(&*world.store).await < 5, "segments go though a bucket refuses");
    assert!(world.arrived(&["refuses.example"]).is_empty());
    let waiting = groups(&*world.store).await;
    assert!(waiting.iter().any(|group| group.held.len() > 1 && group.last_error.contains("AccessDenied")));
    let metrics = running.metrics();
    assert!(metrics.held.get() >= 9 && metrics.refusals.with_label_values(&["refused"]).get() > 50);
    // 9 distributions in 2 hours, each asked for every 5 minutes at most once.
    assert!(faults.calls() < 18 * 40, "{} calls of a bucket that refuses", faults.calls());
    faults.end();
    world.empties(10 * MINUTES).await;
    let arrived = world.arrived(&["one.example", "refuses.example"]);
    assert!(arrived.len() == 120 && arrived.values().all(|there| there.len() == 1));
    let totals = world.totals().await;
    assert_eq!((totals.records, totals.dropped_records), (120, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_grant_an_accounts_records_wait_for_one() {
    const BUCKET: &str = "own.s3.amazonaws.com";
    let world = World::in_memory().await;
    let config = MergeConfig { file_age: Duration::from_secs(1), ..MergeConfig::default() };
    let running = Running::start(world.merger(config).0);
    let of = |account: &str| Some(target(BUCKET, account, account));
    let records = [
        record(1, "E1", BEGIN_MS, of("111111111111")),
        record(2, "E2", BEGIN_MS, of("222222222222")),
        record(3, "E3", BEGIN_MS, of("")),
    ];
    world.grant("222222222222", "*").await;
    world.stage(&segment("edge-1", 1, 1, &records)).await;
    tokio::time::sleep(2 * MINUTES).await;
    assert_eq!(world.arrived(&[BUCKET]).keys().copied().collect::<Vec<_>>(), [2, 3]);
    assert!(groups(&*world.store).await.iter().any(|group| group.last_error.contains("grant")));
    assert!(running.metrics().refusals.with_label_values(&["grant"]).get() > 2);
    world.grant("111111111111", "another").await;
    world.grant("111111111111", "own").await;
    world.empties(10 * MINUTES).await;
    assert_eq!(world.arrived(&[BUCKET]).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn records_for_places_that_were_never_published_are_kept_shown_and_delivered_nowhere() {
    let world = World::in_memory().await;
    let config = MergeConfig { file_age: Duration::from_secs(1), ..MergeConfig::default() };
    let running = Running::start(world.merger(config).0);
    let file = segment("edge-1", 1, 1, &[record(1, "E1", BEGIN_MS, in_a("films"))]);
    world.publish(&file).await;
    // The operator's right for another place, another account's name, and a distribution that nobody made.
    let forged = [
        record(2, "E1", BEGIN_MS, in_a("other")),
        record(3, "E1", BEGIN_MS, Some(target("two.example", "films", ""))),
        record(4, "E1", BEGIN_MS, Some(target("one.example", "films", "111111111111"))),
        record(5, "E2", BEGIN_MS, in_a("films")),
    ];
    world.grant("111111111111", "*").await;
    world.stage_unpublished(&file).await;
    world.stage_unpublished(&segment("edge-1", 1, 2, &forged)).await;
    tokio::time::sleep(10 * MINUTES).await;
    assert_eq!(world.arrived(&["one.example", "two.example"]).keys().copied().collect::<Vec<_>>(), [1]);
    let waiting = groups(&*world.store).await;
    assert_eq!(waiting.len(), 4);
    assert!(waiting.iter().all(|group| group.last_error.contains("unknown distribution or account")));
    assert!(running.metrics().refusals.with_label_values(&["unknown"]).get() >= 4);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_refused_for_too_long_is_given_up_counted_and_forgotten() {
    let world = World::in_memory().await;
    world.checked.buckets.set_missing("one.example", true);
    let config = MergeConfig { undeliverable: 60 * MINUTES, ..MergeConfig::default() };
    let running = Running::start(world.merger(config).0);
    world.stage(&segment("edge-1", 1, 1, &[record(1, "E1", BEGIN_MS, in_a(""))])).await;
    tokio::time::sleep(60 * MINUTES).await;
    assert_eq!(groups(&*world.store).await[0].held.len(), 1);
    world.empties(15 * MINUTES).await;
    world.checked.buckets.set_missing("one.example", false);
    assert!(world.arrived(&["one.example"]).is_empty());
    assert_eq!(world.totals().await.dropped_records, 1);
    assert_eq!((running.metrics().dropped_files.get(), running.metrics().dropped_records.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_staged_segment_that_somebody_deleted_is_told_and_holds_up_no_other_group() {
    let world = World::in_memory().await;
    let config = MergeConfig { undeliverable: 60 * MINUTES, ..MergeConfig::default() };
    let running = Running::start(world.merger(config).0);
    world.stage(&segment("edge-1", 1, 1, &[record(1, "E1", BEGIN_MS, in_a(""))])).await;
    let key = world.staging.objects().into_keys().next().unwrap();
    world.staging.delete(&key).await.unwrap();
    world.stage(&segment("edge-1", 1, 2, &[record(2, "E2", BEGIN_MS, in_a(""))])).await;
    running.merger.flush().await;
    assert_eq!(world.arrived(&["one.example"]).keys().copied().collect::<Vec<_>>(), [2]);
    assert!(groups(&*world.store).await.iter().any(|group| group.last_error.contains("gone from staging")));
    world.empties(2 * 60 * MINUTES).await;
    let totals = world.totals().await;
    assert_eq!((totals.lost_records, totals.dropped_records), (1, 0));
    assert!(running.metrics().refusals.with_label_values(&["lost"]).get() >= 5);
}

#[tokio::test(start_paused = true)]
async fn what_staging_would_refuse_of_an_edge_the_sweeper_does_not_enter_and_what_was_not_published_goes_nowhere()
 {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    let good = || record(1, "E1", BEGIN_MS, in_a(""));
    let strange_id = proto::v1::AccessRecord { distribution_id: "../E1".into(), ..good() };
    let strange_place = record(1, "E1", BEGIN_MS, Some(target("one.example", "../logs", "")));
    let strange_account = record(1, "E1", BEGIN_MS, Some(target("one.example", "logs", "12")));
    let orphans = [strange_id, strange_place, strange_account, good()];
    for (number, record) in (1..).zip(orphans) {
        // Each of its own edge: none waits for another.
        let file = segment(&format!("edge-{number}"), 1, 1, &[record]);
        let id = proto::access_log::Segment::verify(file.clone()).unwrap().id;
        world.staging.put(&ledger::object_key(STAGING, &id), file).await.unwrap();
    }
    // Segments are known, so that nothing is entered at once.
    world.stage(&segment("edge-9", 1, 1, &[record(9, "E9", BEGIN_MS, in_a(""))])).await;
    tokio::time::sleep(60 * MINUTES).await;
    assert_eq!(running.metrics().adopted.get(), 1, "the good one");
    assert!(running.metrics().unreadable.get() >= 3);
    let waiting = groups(&*world.store).await;
    assert!(waiting.len() == 1 && waiting[0].last_error.contains("never told to log there"), "{waiting:?}");
    assert_eq!(world.arrived(&["one.example"]).keys().copied().collect::<Vec<_>>(), [9]);
    let left = world.staging.objects();
    assert!((1..=3).all(|n| left.keys().any(|key| key.contains(&format!("/edge-{n}/")))), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_staging_and_in_no_ledger_is_deleted_below_the_mark_and_entered_above_it() {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    let of = |number: u64| segment("edge-1", 1, number, &[record(number, "E1", BEGIN_MS, in_a(""))]);
    world.stage(&of(1)).await;
    let key = world.staging.objects().into_keys().next().unwrap();
    running.merger.flush().await;
    world.empties(MINUTES).await;
    // An upload that came late, one whose control died before it entered it, and a held file that nobody holds.
    let above = key.replace("01.seg", "02.seg");
    world.staging.put(&key, of(1)).await.unwrap();
    world.staging.put(&above, of(2)).await.unwrap();
    let store_id = world.store.head().await.unwrap().store_id;
    world.staging.put(&format!("{STAGING}held/{store_id}/E1/5/00/E1.x.gz"), "x".into()).await.unwrap();
    world.staging.put("somebody-elses", "x".into()).await.unwrap();
    tokio::time::sleep(6 * MINUTES).await;
    let left: Vec<String> = world.staging.objects().into_keys().collect();
    assert_eq!(left, [above, "somebody-elses".into()]);
    tokio::time::sleep(20 * MINUTES).await;
    let arrived = world.arrived(&["one.example"]);
    assert!(arrived.len() == 2 && arrived.values().all(|there| there.len() == 1), "{arrived:?}");
    assert_eq!((running.metrics().adopted.get(), running.metrics().swept.get()), (1, 2));
    assert_eq!(world.staging.objects().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_merger_left_pending_another_delivers_under_the_same_name() {
    let world = World::in_memory().await;
    let faults = Faults::new(1);
    let checked: Arc<dyn Buckets> = Arc::new(world.checked.clone());
    let faulty = Arc::new(FaultyBuckets::new(checked, faults.clone()));
    let (config, staging) = (MergeConfig::default(), Arc::new(world.staging.clone()));
    let (first, _) = world.merger_with(world.store.clone(), staging, faulty, config.clone());
    let first = Running::start(first);
    world.stage(&segment("edge-1", 1, 1, &[record(1, "E1", BEGIN_MS, in_a(""))])).await;
    // It uploads, and dies before it hears of it.
    faults.always(Some(Fault::HappensLater(Duration::ZERO)));
    tokio::time::sleep(Duration::from_secs(302)).await;
    let pending = groups(&*world.store).await[0].pending.clone().expect("a pending file");
    drop(first);
    let second = Running::start(world.merger(config).0);
    world.empties(5 * MINUTES).await;
    let arrived = world.arrived(&["one.example"]);
    assert_eq!((arrived.len(), arrived[&1].len(), &arrived[&1][0].key), (1, 1, &pending.key));
    assert_eq!(world.checked.buckets.at("one.example").puts(&pending.key), 2);
    assert_eq!(second.metrics().files.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_merger_that_is_stopped_ends_what_is_under_way_within_its_bound() {
    let world = World::in_memory().await;
    let faults = Faults::new(1);
    let checked: Arc<dyn Buckets> = Arc::new(world.checked.clone());
    let faulty = Arc::new(FaultyBuckets::new(checked, faults.clone()));
    let start = || {
        let (staging, buckets) = (Arc::new(world.staging.clone()), faulty.clone());
        let config = MergeConfig { file_age: Duration::from_secs(1), ..MergeConfig::default() };
        Running::start(world.merger_with(world.store.clone(), staging, buckets, config).0)
    };
    for (number, takes, ends) in [(1, 3, true), (2, 25, false)] {
        let mut running = start();
        faults.always(Some(Fault::Delays(Duration::from_secs(takes))));
        world.stage(&segment("edge-1", 1, number, &[record(number, "E1", BEGIN_MS, in_a(""))])).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        let asked = Instant::now();
        running.stop.cancel();
        (&mut running.task).await.unwrap();
        assert_eq!(world.arrived(&["one.example"]).contains_key(&number), ends);
        assert!(asked.elapsed() <= Duration::from_millis(if ends { 3000 } else { 10_100 }));
    }
    faults.end();
    let _next = start();
    world.empties(2 * MINUTES).await;
    assert_eq!(world.arrived(&["one.example"]).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_read_is_left_alone_and_stops_nobody() {
    let world = World::in_memory().await;
    let broken = [format!("{LOG_SEGMENTS}edge-1/x/1"), format!("{LOG_GROUPS}E1/1/1"), "log-marks/x".into()];
    for key in &broken {
        world.store.commit(Transaction::default().put(key, &b"\xff\xff"[..])).await.unwrap();
    }
    let nameless = StagedSegment::default().encode_to_vec();
    world.store.commit(Transaction::default().put(format!("{LOG_SEGMENTS}x/y/z"), nameless)).await.unwrap();
    let running = Running::start(world.merger(MergeConfig::default()).0);
    world.stage(&segment("edge-1", 1, 1, &[record(1, "E1", BEGIN_MS, in_a(""))])).await;
    running.merger.flush().await;
    assert_eq!(world.arrived(&["one.example"]).len(), 1);
    assert!(world.store.get(&broken[0]).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn gauges_tell_what_waits_and_for_how_long() {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    let file =
        segment("edge-1", 1, 1, &[record(1, "E1", BEGIN_MS, in_a("")), record(2, "E2", BEGIN_MS, in_a(""))]);
    world.stage(&file).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let backlog = lock(&running.merger.shared.books).backlog();
    assert_eq!((backlog.groups, backlog.records, backlog.staged_segments), (2, 2, 1));
    assert_eq!((backlog.first_ms, backlog.staged_bytes), (Some(BEGIN_MS), file.len() as u64));
    assert_eq!(backlog.refused_groups + backlog.held_files, 0);
    running.merger.flush().await;
    assert_eq!(lock(&running.merger.shared.books).backlog(), Default::default());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_outlives_an_import_and_another_stores_held_files_are_left_alone() {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    world.checked.buckets.set_missing("one.example", true);
    world.stage(&segment("edge-1", 1, 1, &[record(1, "E1", BEGIN_MS, in_a(""))])).await;
    tokio::time::sleep(10 * MINUTES).await;
    let held: Vec<String> = world.staging.objects().into_keys().collect();
    let id = world.store.head().await.unwrap().store_id;
    assert!(
        held.len() == 1 && held[0].starts_with(&format!("{STAGING}held/{id}/E1XXXXXXXXXXX/")),
        "{held:?}"
    );
    let foreign = held[0].replace(&id, "another");
    world.staging.put(&foreign, "x".into()).await.unwrap();

    crate::backup::import(&*world.store, &[], true).await.unwrap();
    assert_ne!(world.store.head().await.unwrap().store_id, id);
    // The group names one of the two files; either is of a store that this one no longer is.
    tokio::time::sleep(30 * MINUTES).await;
    assert_eq!(world.staging.objects().len(), 2);
    world.checked.buckets.set_missing("one.example", false);
    tokio::time::sleep(10 * MINUTES).await;
    assert_eq!(world.arrived(&["one.example"])[&1].len(), 1);
    assert!(groups(&*world.store).await.is_empty());
    assert_eq!(world.staging.objects().into_keys().collect::<Vec<_>>(), [foreign]);
    assert_eq!(running.metrics().swept.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_store_over_older_staging_delivers_the_segments_there_and_deletes_nothing_undelivered() {
    let old = World::in_memory().await;
    old.checked.buckets.set_missing("two.example", true);
    let of = |number: u64| segment("edge-1", 1, number, &[record(number, "E1", BEGIN_MS, in_a(""))]);
    let refused = record(100, "E1", BEGIN_MS, Some(target("two.example", "", "")));
    let running = Running::start(old.merger(MergeConfig::default()).0);
    old.stage(&segment("edge-1", 1, 1, &[refused])).await;
    tokio::time::sleep(10 * MINUTES).await;
    let held: Vec<String> = old.staging.objects().into_keys().collect();
    assert!(held.len() == 1 && held[0].contains("/held/"), "{held:?}");
    old.stage(&of(2)).await;
    old.stage(&of(3)).await;
    drop(running);

    let World { staging, checked, clock, .. } = old;
    let new = World { store: crate::store::memory::open().await.unwrap(), staging, checked, clock };
    let running = Running::start(new.merger(MergeConfig::default()).0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    new.stage(&of(4)).await;
    tokio::time::sleep(30 * MINUTES).await;
    let arrived = new.arrived(&["one.example"]);
    assert_eq!(arrived.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    assert!(arrived.values().all(|there| there.len() == 1), "{arrived:?}");
    assert_eq!(running.metrics().adopted.get(), 2);
    assert_eq!(new.staging.objects().into_keys().collect::<Vec<_>>(), held);
}

#[tokio::test(start_paused = true)]
async fn a_mark_goes_when_its_spool_has_been_silent_for_thirty_days_unless_something_of_it_is_left() {
    const DAYS: Duration = Duration::from_secs(86_400);
    let world = World::in_memory().await;
    // A month is many wakings: the marks have been quiet for most of one.
    let quiet_ms = 29 * DAYS.as_millis() as u64 + 72_000_000;
    let config = MergeConfig { sweep_every: DAYS / 48, ..MergeConfig::default() };
    let id = |edge: &str, number| proto::access_log::SegmentId {
        edge_id: edge.into(),
        epoch: format!("{:016}", 1),
        number,
    };
    let mark = |edge: &str| ledger::mark_key(edge, &format!("{:016}", 1));
    let of = |edge: &str, n: u64| segment(edge, 1, n, &[record(n, "E1", world.clock.now_ms(), in_a(""))]);
    let edges = ["gone", "lives", "refused", "older"];
    for edge in edges {
        let object = LogMark { number: 4, changed_ms: BEGIN_MS - quiet_ms, first: 3, quiet_ms };
        world.store.commit(Transaction::default().put(mark(edge), object.encode_to_vec())).await.unwrap();
    }
    // A segment that waits, with a list that another replica holds for ever; an object from before the mark.
    let waits =
        StagedSegment { id: Some(id("refused", 3).header()), staged_ms: BEGIN_MS, ..Default::default() };
    let nobodys = format!("{LOG_SEGMENTS}refused/{:016}/x", 1);
    world.store.commit(Transaction::default().put(nobodys, waits.encode_to_vec())).await.unwrap();
    world.staging.put(&ledger::object_key(STAGING, &id("older", 1)), of("older", 1)).await.unwrap();
    let _running = Running::start(world.merger(config).0);
    tokio::time::sleep(DAYS / 48).await;
    world.stage(&of("lives", 5)).await;
    tokio::time::sleep(DAYS / 24).await;
    for edge in edges {
        assert!(world.store.get(&mark(edge)).await.unwrap().is_some(), "{edge}");
    }
    tokio::time::sleep(DAYS / 6).await;
    for edge in edges {
        assert_eq!(world.store.get(&mark(edge)).await.unwrap().is_some(), edge != "gone", "{edge}");
    }
    assert_eq!(world.arrived(&["one.example"]).keys().copied().collect::<Vec<_>>(), [5]);
}

#[tokio::test(start_paused = true)]
async fn a_segment_from_before_the_first_that_the_store_knows_of_its_epoch_is_not_deleted() {
    let world = World::in_memory().await;
    let running = Running::start(world.merger(MergeConfig::default()).0);
    let of = |number: u64| segment("edge-1", 1, number, &[record(number, "E1", BEGIN_MS, in_a(""))]);
    world.stage(&of(5)).await;
    world.stage(&of(6)).await;
    running.merger.flush().await;
    world.empties(MINUTES).await;
    let object = |number| {
        let id =
            proto::access_log::SegmentId { edge_id: "edge-1".into(), epoch: format!("{:016}", 1), number };
        ledger::object_key(STAGING, &id)
    };
    for number in [4, 5] {
        world.staging.put(&object(number), of(number)).await.unwrap();
    }
    tokio::time::sleep(30 * MINUTES).await;
    assert_eq!(world.staging.objects().into_keys().collect::<Vec<_>>(), [object(4)]);
    assert_eq!(world.arrived(&["one.example"]).len(), 2);
}
