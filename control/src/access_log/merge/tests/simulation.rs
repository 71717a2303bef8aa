//! Whole histories by seed: edges ship, mergers die and come back, the store and all buckets fail before and after the fact, and each box's clock
//! steps back and forth by hours, days and years, to stay wrong at the end; every record that was acknowledged has arrived once, in the
//! hour that its edge's clock said.
//!
//! In every second history somebody also deletes and damages what is staged ([`super::saboteur`]). Its outcome: no record arrives twice; those that were
//! acknowledged and don't arrive were in what was destroyed, and are counted as lost; nothing else is.
//!
//! `PENSTOCK_LOG_SEED=7` runs that seed alone; `PENSTOCK_LOG_SEEDS=2000` runs so many, from `PENSTOCK_LOG_FROM` on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use proto::clock::Clock;

use super::saboteur::sabotage;
use super::world::*;
use super::*;
use crate::access_log::bucket::faulty::{Fault, Faults, FaultyBucket, FaultyBuckets};
use crate::access_log::bucket::{BucketError, Buckets};

const SEEDS: u64 = 60;
const BUCKETS: [&str; 3] = ["one.example", "two.example", "refuses.example"];
/// How long edges write and things fail.
const TROUBLE: Duration = Duration::from_secs(420);

/// What became of the records that edges wrote.
#[derive(Default)]
struct Shipped {
    /// Acknowledged: to arrive once.
    surely: BTreeSet<u64>,
    /// Their edge died before it heard: to arrive once or not at all.
    perhaps: BTreeSet<u64>,
}

#[derive(Clone)]
struct Play {
    chance: Chance,
    calm: Arc<AtomicBool>,
    faults: Faults,
    world: Arc<World>,
    shipped: Arc<Mutex<Shipped>>,
    ids: Arc<Mutex<u64>>,
}

impl Play {
    fn store(&self) -> Store {
        let (inner, chance, calm) = (self.world.store.clone(), self.chance.clone(), self.calm.clone());
        Arc::new(Shaky { inner, chance, calm })
    }

    fn staging(&self) -> FaultyBucket {
        FaultyBucket::new(Arc::new(self.world.staging.clone()), self.faults.clone())
    }

    /// The customers' buckets: they fail as staging does, and one of them refuses besides.
    fn buckets(&self, refusing: Faults) -> Arc<dyn Buckets> {
        struct Both(FaultyBuckets, FaultyBuckets);
        impl Buckets for Both {
            fn open(&self, target: &proto::v1::LogTarget) -> Arc<dyn Bucket> {
                if target.bucket_host == BUCKETS[2] { self.1.open(target) } else { self.0.open(target) }
            }
            fn bucket_name(&self, target: &proto::v1::LogTarget) -> Option<String> {
                self.0.bucket_name(target)
            }
        }
        let checked = Arc::new(self.world.checked.clone());
        let at_random = FaultyBuckets::new(checked.clone(), self.faults.clone());
        Arc::new(Both(at_random, FaultyBuckets::new(checked, refusing)))
    }

    /// Sets a box's clock every now and then.
    async fn steps(self, clock: Arc<Apart>) {
        const HOUR_MS: i64 = 3_600_000;
        let apart = [0, 0, 0, HOUR_MS, -HOUR_MS, 30 * HOUR_MS, -30 * HOUR_MS, 960 * HOUR_MS, -9600 * HOUR_MS];
        while !self.calm.load(Ordering::Relaxed) {
            clock.set(apart[self.chance.below(apart.len() as u64) as usize]);
            tokio::time::sleep(self.chance.ms(90_000)).await;
        }
    }

    fn records(&self, now_ms: u64) -> Vec<proto::v1::AccessRecord> {
        let targets = [
            Some(target(BUCKETS[0], "log", "")),
            Some(target(BUCKETS[0], "", "111111111111")),
            Some(target(BUCKETS[1], "x/", "")),
            Some(target(BUCKETS[2], "r", "")),
            None,
        ];
        let draw = |_| {
            let id = {
                let mut ids = self.ids.lock().unwrap();
                *ids += 1;
                *ids
            };
            let distribution = format!("E{}", self.chance.below(3));
            let target = targets[self.chance.below(targets.len() as u64) as usize].clone();
            // Some come late.
            let late = if self.chance.of_1000(100) { 7_200_000 } else { 60_000 };
            record(id, &distribution, now_ms - self.chance.below(late), target)
        };
        (0..1 + self.chance.below(8)).map(draw).collect()
    }

    /// An edge: it hands over segment after segment, each until it is acknowledged; drops some, loses its spool, and dies at the end.
    async fn edge(self, name: String) {
        let (mut epoch, mut number) = (self.chance.below(1000), 1);
        // Its own, and that of the control it ships to.
        let (clock, staging_clock) = (self.world.clock_apart(0), self.world.clock_apart(0));
        let _steps =
            [&clock, &staging_clock].map(|c| AbortOnDrop(tokio::spawn(self.clone().steps(c.clone()))));
        while !self.calm.load(Ordering::Relaxed) {
            tokio::time::sleep(self.chance.ms(12_000)).await;
            let records = self.records(clock.now_ms());
            let file = segment(&name, epoch, number, &records);
            number += 1;
            self.world.publish(&file).await;
            if self.chance.of_1000(40) {
                // Dropped for want of room: nobody ever sees it.
                continue;
            }
            let mut stands = false;
            let dies = self.chance.of_1000(60);
            while !stands {
                // Control dies on the way, or takes long.
                let patience = self.chance.ms(if self.chance.of_1000(300) { 200 } else { 120_000 });
                let store = self.store();
                let staging = self.staging();
                let now_ms = staging_clock.now_ms();
                let staging = stage(&*store, &staging, &file, now_ms);
                stands = matches!(tokio::time::timeout(patience, staging).await, Ok(Ok(true)));
                if dies {
                    break;
                }
            }
            let ids = records.iter().filter(|r| r.target.is_some());
            let ids = ids.map(|r| r.uri_query[2..].parse::<u64>().unwrap());
            let mut shipped = self.shipped.lock().unwrap();
            if stands {
                shipped.surely.extend(ids)
            } else {
                shipped.perhaps.extend(ids)
            }
            if dies {
                // With its disk.
                (epoch, number) = (epoch + 1000, 1);
            }
        }
    }

    fn config(&self) -> MergeConfig {
        MergeConfig {
            file_age: Duration::from_secs(3 + self.chance.below(40)),
            file_bytes: 300 + self.chance.below(20_000),
            cache_bytes: 1500 + self.chance.below(50_000),
            memory_bytes: 2048 + self.chance.below(100_000),
            concurrency: 2 + self.chance.below(8) as usize,
            lost_after: Duration::from_secs(20 + self.chance.below(100)),
            lost_answers: 2 + self.chance.below(3) as u32,
            compare_every: Duration::from_secs(10 + self.chance.below(60)),
            sweep_every: Duration::from_secs(20 + self.chance.below(40)),
            ..MergeConfig::default()
        }
    }

    /// One replica's place: a merger that is stopped, or dies at any await, and is there again.
    async fn replica(self, seed: u64, refusing: Faults) {
        let clock = self.world.clock_apart(0);
        let _steps = AbortOnDrop(tokio::spawn(self.clone().steps(clock.clone())));
        for life in 0.. {
            let (buckets, staging) = (self.buckets(refusing.clone()), Arc::new(self.staging()));
            let (merger, _) =
                self.world.merger_by(clock.clone(), self.store(), staging, buckets, self.config());
            let merger = merger.seeded(seed.wrapping_mul(1000) + life);
            let stop = CancellationToken::new();
            let running = tokio::spawn({
                let stop = stop.clone();
                async move { merger.run(stop).await }
            });
            let running = AbortOnDrop(running);
            if self.calm.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let most = if self.chance.of_1000(300) { 2000 } else { 60_000 };
            tokio::time::sleep(self.chance.ms(most)).await;
            if self.chance.of_1000(200) {
                stop.cancel();
                tokio::time::sleep(Duration::from_secs(11)).await;
            }
            drop(running);
            tokio::time::sleep(self.chance.ms(5000)).await;
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) async fn history(seed: u64, store: Store) {
    let (chance, faults) = (Chance::new(seed), Faults::new(seed));
    let slow = |ms: u64| Fault::Delays(Duration::from_millis(ms));
    let kinds = [
        slow(2),
        slow(15),
        slow(40),
        slow(90),
        slow(400),
        slow(3000),
        slow(50),
        slow(20),
        Fault::away(),
        Fault::LosesTheAnswer,
        Fault::HappensLater(Duration::from_secs(3)),
        Fault::denied(),
        Fault::slow_down(),
        Fault::Says(BucketError::Missing("gone".into())),
    ];
    faults.at_random(200 + chance.below(700) as u32, &kinds);
    let refusing = Faults::new(seed + 1);
    refusing.always(Some(Fault::denied()));
    let world = Arc::new(World::new(store));
    let play = Play {
        chance: chance.clone(),
        calm: Arc::default(),
        faults: faults.clone(),
        world: world.clone(),
        shipped: Arc::default(),
        ids: Arc::default(),
    };
    let edges: Vec<_> =
        (0..1 + chance.below(3)).map(|i| tokio::spawn(play.clone().edge(format!("edge-{i}")))).collect();
    let replicas: Vec<_> = (0..1 + chance.below(3))
        .map(|i| AbortOnDrop(tokio::spawn(play.clone().replica(seed * 8 + i, refusing.clone()))))
        .collect();
    let destroyed = Arc::<Mutex<BTreeSet<u64>>>::default();
    let is_sabotaged = seed % 4 < 2;
    world.checked.may_lose.store(is_sabotaged, Ordering::Relaxed);
    let saboteur = is_sabotaged.then(|| {
        let (chance, calm) = (chance.clone(), play.calm.clone());
        tokio::spawn(sabotage(chance, calm, world.clone(), destroyed.clone()))
    });
    let granted = TROUBLE.mul_f64(0.5);
    tokio::time::sleep(granted).await;
    world.grant("111111111111", "*").await;
    tokio::time::sleep(TROUBLE - granted).await;
    play.calm.store(true, Ordering::Relaxed);
    faults.end();
    refusing.end();
    for task in edges.into_iter().chain(saboteur) {
        task.await.unwrap();
    }
    world.empties(Duration::from_secs(3600)).await;
    drop(replicas);
    let arrived = world.arrived(&BUCKETS);
    let shipped = std::mem::take(&mut *play.shipped.lock().unwrap());
    let destroyed = std::mem::take(&mut *destroyed.lock().unwrap());
    for (id, there) in &arrived {
        assert_eq!(there.len(), 1, "record {id} arrived more than once: {there:?}");
        assert!(shipped.surely.contains(id) || shipped.perhaps.contains(id), "record {id} was never shipped");
    }
    let lost: BTreeSet<u64> = shipped.surely.iter().copied().filter(|id| !arrived.contains_key(id)).collect();
    let spared: Vec<&u64> = lost.difference(&destroyed).collect();
    assert!(spared.is_empty(), "acknowledged and lost: {spared:?} of {}", shipped.surely.len());
    let totals = world.totals().await;
    let (arrived, counted) = (arrived.len() as u64, totals.records + totals.lost_records);
    // An upload of before may bring what is counted as lost.
    assert!(totals.records <= arrived && arrived <= counted, "{arrived} arrived: {totals:?}");
    let (missed, most) = (lost.len() as u64, destroyed.len() as u64);
    assert!(missed <= totals.lost_records && totals.lost_records <= most, "{missed}, {most}: {totals:?}");
    assert_eq!(totals.dropped_records, 0);
    println!(
        "seed {seed}: {arrived} records arrived, {} of {most} that were destroyed are lost",
        totals.lost_records
    );
    assert!(shipped.surely.len() > 30, "a history of {} records is none", shipped.surely.len());
}

pub(super) fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn run(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            paused().block_on(async { history(seed, crate::store::memory::open().await.unwrap()).await });
        });
        assert!(outcome.is_ok(), "PENSTOCK_LOG_SEED={seed} fails");
    }
}

#[test]
fn f34_every_acknowledged_record_arrives_once_whatever_dies_and_whatever_fails() {
    if let Some(seed) = variable("PENSTOCK_LOG_SEED") {
        return run(seed..=seed);
    }
    let from = variable("PENSTOCK_LOG_FROM").unwrap_or(0);
    let seeds = from..from + variable("PENSTOCK_LOG_SEEDS").unwrap_or(SEEDS);
    std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            let seeds = seeds.clone().filter(move |seed| seed % 2 == half);
            scope.spawn(move || run(seeds))
        });
        for half in halves {
            if let Err(panic) = half.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
