//! Replicas and edges whose clocks are wrong, and a store that was set back: what arrives, and what is kept.

use bytes::Bytes;
use proto::clock::Clock;
use proto::v1::{LogMark, LogTarget};

use super::world::*;
use super::*;
use crate::access_log::bucket::faulty::{Fault, Faults, FaultyBuckets};
use crate::access_log::ledger;
use crate::access_log::stage::{Stage, Staged};
use crate::documents::{LOG_MERGERS, LOG_SWEEPER};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const ID: &str = "EDFDVBD632BHD";

/// Mergers that run until they are dropped.
struct Running(Vec<tokio::task::JoinHandle<()>>);

impl Running {
    fn start(mergers: impl IntoIterator<Item = Merger>) -> Self {
        let run = |merger: Merger| tokio::spawn(async move { merger.run(CancellationToken::new()).await });
        Self(mergers.into_iter().map(run).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn in_a() -> Option<LogTarget> {
    Some(target("a.example", "log", ""))
}

/// A merger whose clock is so far apart, over buckets that fail as told.
fn apart(world: &World, by_ms: i64, faults: &Faults, config: &MergeConfig) -> Merger {
    let buckets = FaultyBuckets::new(Arc::new(world.checked.clone()), faults.clone());
    let (clock, staging) = (world.clock_apart(by_ms), Arc::new(world.staging.clone()));
    world.merger_by(clock, world.store.clone(), staging, Arc::new(buckets), config.clone()).0
}

/// Hands `file` to a control whose clock is so far apart, as its edge would.
async fn ship(world: &World, by_ms: i64, file: &Bytes) -> Staged {
    let staging = Arc::new(world.staging.clone());
    let clock = world.clock_apart(by_ms);
    let stage = Stage::new(world.store.clone(), staging, STAGING.into(), clock, &Registry::new()).unwrap();
    let segment = stage.verify(file.clone(), ()).await.unwrap();
    stage.stage(&segment, file.clone()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn f35_records_are_delivered_in_the_hour_they_say_whatever_replicas_take_it_for() {
    let world = World::in_memory().await;
    let calm = Faults::new(1);
    let _running =
        Running::start([-40 * DAY_MS, 40 * DAY_MS].map(|by| apart(&world, by, &calm, &Default::default())));
    let now_ms = world.clock.now_ms();
    let times = [now_ms, 5_000, now_ms + 400 * DAY_MS as u64, now_ms - 30 * HOUR_MS as u64];
    let records: Vec<_> = (1..).zip(times).map(|(n, time_ms)| record(n, ID, time_ms, in_a())).collect();
    let file = segment("edge-1", 1, 1, &records);
    world.publish(&file).await;
    assert_eq!(ship(&world, -31 * HOUR_MS, &file).await, Staged::New);
    world.empties(10 * MINUTE).await;
    let arrived = world.arrived(&["a.example"]);
    let hours: Vec<&str> = arrived.values().map(|there| &there[0].key["log/E.".len() + 12..][..13]).collect();
    assert_eq!(hours, ["2019-11-14-19", "1970-01-01-00", "2020-12-18-19", "2019-11-13-13"]);
    assert!(arrived.values().all(|there| there.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn f35_no_replicas_clock_alone_gives_a_file_up() {
    let world = World::in_memory().await;
    let refusing = Faults::new(1);
    refusing.always(Some(Fault::denied()));
    let config = MergeConfig { file_age: Duration::from_secs(10), ..MergeConfig::default() };
    // One commits lists of long ago, one believes that the time for them is over.
    let mergers = [-40 * DAY_MS, 0, 40 * DAY_MS].map(|by| apart(&world, by, &refusing, &config));
    let _running = Running::start(mergers);
    for number in 1..=6 {
        world.stage(&segment("edge-1", 1, number, &[record(number, ID, BEGIN_MS, in_a())])).await;
        tokio::time::sleep(10 * MINUTE).await;
    }
    assert_eq!(world.totals().await.dropped_records, 0);
    // Each asks once a minute at most, and the bucket's patience is not tried by their number only.
    assert!(refusing.calls() < 3 * 70, "{} calls of a bucket that refuses", refusing.calls());
    refusing.end();
    world.empties(10 * MINUTE).await;
    assert_eq!(world.arrived(&["a.example"]).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn f35_a_file_that_is_refused_long_enough_is_given_up_also_by_replicas_that_come_and_go() {
    let world = World::in_memory().await;
    let refusing = Faults::new(1);
    refusing.always(Some(Fault::denied()));
    let config = MergeConfig {
        file_age: Duration::from_secs(10),
        undeliverable: 120 * MINUTE,
        ..MergeConfig::default()
    };
    world.stage(&segment("edge-1", 1, 1, &[record(1, ID, BEGIN_MS, in_a())])).await;
    let began = Instant::now();
    while world.totals().await.dropped_records == 0 {
        assert!(began.elapsed() < 240 * MINUTE, "it is tried for ever");
        let _running = Running::start([apart(&world, 0, &refusing, &config)]);
        tokio::time::sleep(25 * MINUTE).await;
    }
    assert!(began.elapsed() >= 120 * MINUTE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn f35_a_clock_a_month_ahead_forgets_no_mark_and_a_repeat_stays_one() {
    let world = World::in_memory().await;
    let calm = Faults::new(1);
    let config = MergeConfig { sweep_every: 10 * MINUTE, ..MergeConfig::default() };
    let _running = Running::start([apart(&world, 40 * DAY_MS, &calm, &config)]);
    // Staged and delivered; its edge, cut off, has not heard of it.
    let file = segment("edge-1", 1, 1, &[record(1, ID, BEGIN_MS, in_a())]);
    world.publish(&file).await;
    assert_eq!(ship(&world, 0, &file).await, Staged::New);
    world.empties(10 * MINUTE).await;
    let key = ledger::mark_key("edge-1", &format!("{:016}", 1));
    for day in 0..2 {
        tokio::time::sleep(24 * 60 * MINUTE).await;
        let mark: ledger::Known<LogMark> = ledger::read(&*world.store, &key).await.unwrap();
        assert_eq!(mark.document.number, 1, "day {day}");
        // What was seen is written down, so that another replica goes on from there.
        let seen_ms = i64::try_from(mark.document.quiet_ms).unwrap();
        assert!((day * DAY_MS..=(day + 1) * DAY_MS).contains(&seen_ms), "day {day}: {seen_ms}");
    }
    assert_eq!(ship(&world, 0, &file).await, Staged::Repeated);
    assert_eq!(world.arrived(&["a.example"])[&1].len(), 1);
}

/// The world with the store as it is now, in another.
async fn snapshot(world: &World) -> World {
    let store = crate::store::memory::open().await.unwrap();
    let is_leased = |key: &str| key.starts_with(LOG_MERGERS) || key == LOG_SWEEPER;
    let entries = world.store.list("").await.unwrap().entries;
    for entry in entries.into_iter().filter(|entry| !is_leased(&entry.key)) {
        store.commit(Transaction::default().put(entry.key, entry.value)).await.unwrap();
    }
    let (staging, checked, clock) = (world.staging.clone(), world.checked.clone(), world.clock.clone());
    World { store, staging, checked, clock }
}

#[tokio::test(start_paused = true)]
async fn a_store_set_back_to_an_older_snapshot_loses_no_segment_that_stands_in_staging() {
    let old = World::in_memory().await;
    let calm = Faults::new(1);
    let of = |number: u64| segment("edge-1", 1, number, &[record(number, ID, BEGIN_MS, in_a())]);
    old.publish(&of(1)).await;
    let running = Running::start([apart(&old, 0, &calm, &Default::default())]);
    for number in 1..=3 {
        assert_eq!(ship(&old, 0, &of(number)).await, Staged::New);
    }
    old.empties(10 * MINUTE).await;
    drop(running);
    let new = snapshot(&old).await;
    // Acknowledged, and then the store is set back.
    for number in 4..=9 {
        assert_eq!(ship(&old, 0, &of(number)).await, Staged::New);
    }
    // The edge goes on, and its next segment is delivered and retired before anybody sweeps.
    assert_eq!(ship(&new, 0, &of(10)).await, Staged::New);
    let merger = apart(&new, 0, &calm, &Default::default());
    let _running = Running::start([merger.clone()]);
    merger.flush().await;
    new.empties(60 * MINUTE).await;
    let arrived = new.arrived(&["a.example"]);
    assert_eq!(arrived.keys().copied().collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert!(arrived.values().all(|there| there.len() == 1), "{arrived:?}");
}
