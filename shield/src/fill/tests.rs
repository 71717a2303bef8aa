//! Fills over an origin in memory, with faults.

use std::time::Duration;

use bytes::Bytes;
use proto::object::{ObjectKey, OriginId};
use proto::purge::Scope;

use super::*;
use crate::cache::Block;
use crate::cache::memory::Memory as BlocksInMemory;
use crate::origin::fault::{Fault, Faulty};
use crate::origin::memory::Memory;
use crate::origin::table;

struct Bench {
    fills: Arc<Fills>,
    stats: Arc<Stats>,
    table: Arc<Table>,
    source: Arc<Source>,
    origin: Faulty,
    objects: Memory,
    version: ObjectVersion,
    bytes: Bytes,
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|i| (i * 31 + i / 4093) as u8).collect()
}

fn bench_with(len: usize, config: ShieldConfig) -> Bench {
    bench_over(Memory::new(), len, config)
}

fn bench_over(objects: Memory, len: usize, config: ShieldConfig) -> Bench {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let config = Arc::new(config);
    let bytes = bytes(len);
    let version = objects.put("film", bytes.clone());
    let origin = Faulty::new(objects.clone());
    let origins = table::Table::new(config.clone(), metrics.clone());
    let id = OriginId::of("bucket", "");
    origins.add(id.clone(), Arc::new(origin.clone()));
    let source = origins.get(&id).unwrap();
    let table = Arc::new(Table::new(Arc::new(BlocksInMemory::new(config.cache_bytes)), metrics.clone()));
    let stats = Arc::new(Stats::new(config.clone(), metrics.clone()));
    let fills = Arc::new(Fills::new(&config, table.clone(), stats.clone(), metrics));
    let version = ObjectVersion { object: ObjectKey::new(id, "film"), version };
    Bench { fills, stats, table, source, origin, objects, version, bytes }
}

fn bench(len: usize) -> Bench {
    bench_with(len, ShieldConfig::default())
}

/// One whose origin knows MD5s.
fn verifying(len: usize) -> Bench {
    bench_over(Memory::with_sums(), len, ShieldConfig::default())
}

const MIB: usize = 1 << 20;

impl Bench {
    fn ask(&self, blocks: Range<u64>, priority: Priority) -> Vec<Pending> {
        self.fills.ask(&self.source, &self.version, blocks, priority, false)
    }

    async fn read(&self, blocks: Range<u64>) -> Result<Bytes, FillError> {
        let mut out = Vec::new();
        for pending in self.ask(blocks, Priority::Demand) {
            out.extend_from_slice(&pending.wait().await?.unwrap().data);
        }
        Ok(out.into())
    }
}

#[tokio::test]
async fn fifty_askers_cost_one_get() {
    let bench = bench(3 * MIB + 5);
    let gate = bench.origin.gate();
    let asked: Vec<_> = (0..50).flat_map(|_| bench.ask(1..2, Priority::Demand)).collect();
    gate.add_permits(100);
    for pending in asked {
        let block = pending.wait().await.unwrap().unwrap();
        assert_eq!(block.data, bench.bytes.slice(MIB..2 * MIB));
        assert_eq!(block.size_bytes, bench.bytes.len() as u64);
    }
    assert_eq!(bench.origin.gets(), [ByteRange::new(MIB as u64, 2 * MIB as u64)]);
    // And later askers none.
    assert_eq!(bench.read(1..2).await.unwrap(), bench.bytes.slice(MIB..2 * MIB));
    assert_eq!(bench.origin.gets().len(), 1);
}

#[tokio::test]
async fn a_first_asker_who_hangs_up_strands_nobody() {
    let bench = bench(MIB);
    let gate = bench.origin.gate();
    let first = bench.ask(0..1, Priority::Demand);
    let second = bench.ask(0..1, Priority::Demand);
    drop(first);
    gate.add_permits(1);
    for pending in second {
        assert_eq!(pending.wait().await.unwrap().unwrap().data, bench.bytes);
    }
    assert_eq!(bench.origin.gets().len(), 1);
}

#[tokio::test]
async fn neighbouring_misses_become_one_get_around_what_is_cached() {
    let bench = bench(12 * MIB + 100);
    bench.read(4..5).await.unwrap();
    assert_eq!(bench.read(0..13).await.unwrap(), bench.bytes);
    let gets: Vec<_> =
        bench.origin.gets().iter().map(|r| (r.start as usize / MIB, r.end as usize / MIB)).collect();
    assert_eq!(gets, [(4, 5), (0, 4), (5, 13)]);
}

#[tokio::test]
async fn a_block_is_handed_out_before_its_run_ends() {
    let bench = bench(4 * MIB);
    bench.origin.inject([Fault::Stall(MIB as u64 + 1)]);
    let mut asked = bench.ask(0..4, Priority::Demand).into_iter();
    let first = asked.next().unwrap().wait().await.unwrap().unwrap();
    assert_eq!(first.data, bench.bytes.slice(..MIB));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_breaks_or_stalls_is_resumed() {
    let bench = bench(3 * MIB + 7);
    bench.origin.inject([Fault::Truncate(MIB as u64 + 5), Fault::Reset(10), Fault::Stall(MIB as u64)]);
    assert_eq!(bench.read(0..4).await.unwrap(), bench.bytes);
    let mib = MIB as u64;
    let starts: Vec<_> = bench.origin.gets().iter().map(|r| r.start).collect();
    assert_eq!(starts, [0, mib + 5, mib + 15, 2 * mib + 15]);
}

#[tokio::test(start_paused = true)]
async fn resuming_ends_somewhere() {
    let bench = bench(2 * MIB);
    bench.origin.inject(std::iter::repeat_n(Fault::Truncate(100), 20));
    let error = bench.read(0..2).await.unwrap_err();
    assert!(matches!(error, FillError::Origin(OriginError::Connection(_))), "{error}");
    assert_eq!(bench.origin.gets().len(), 5);
    // A failed fill leaves nothing behind.
    bench.origin.inject([]);
    let bench = bench_with(MIB, ShieldConfig::default());
    bench.origin.inject([Fault::Error(OriginError::Server { status: 503, message: "slow down".into() })]);
    assert!(bench.read(0..1).await.is_err());
    assert_eq!(bench.read(0..1).await.unwrap(), bench.bytes);
}

#[tokio::test(start_paused = true)]
async fn a_crawling_origin_is_given_up() {
    let mut config = ShieldConfig::default();
    config.timeouts.fill_ms = 3_000;
    let bench = bench_with(MIB, config);
    bench.origin.inject([Fault::Delay(Duration::from_secs(60))]);
    let error = bench.read(0..1).await.unwrap_err();
    assert!(matches!(error, FillError::Origin(OriginError::Timeout(_))), "{error}");
}

#[tokio::test]
async fn a_fill_that_panics_tells_its_waiters() {
    let bench = bench(MIB);
    bench.origin.inject([Fault::Panic]);
    assert_eq!(bench.read(0..1).await, Err(FillError::Abandoned));
    assert_eq!(bench.read(0..1).await.unwrap(), bench.bytes);
}

#[tokio::test]
async fn a_small_object_is_fetched_whole_and_only_right_bytes_are_handed_out() {
    let bench = verifying(3 * MIB + 7);
    let version = bench.version.version.clone();
    let source = bench.source.clone();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    let question =
        crate::stat::Question { object: &bench.version.object, retired: None, cache_only: false, deadline };
    assert_eq!(bench.stats.stat(&source, question).await.unwrap().0.version, version);
    bench.origin.inject([Fault::Corrupt(2 * MIB as u64 + 9), Fault::Truncate(MIB as u64)]);
    assert_eq!(bench.read(1..2).await.unwrap(), bench.bytes.slice(MIB..2 * MIB));
    assert_eq!(bench.read(0..4).await.unwrap(), bench.bytes);
    let whole = bench.bytes.len() as u64;
    let starts: Vec<_> = bench.origin.gets().iter().map(|r| (r.start, r.end.min(whole))).collect();
    assert_eq!(starts, [(0, whole), (0, whole), (MIB as u64, whole)]);
}

#[tokio::test]
async fn a_part_of_a_small_object_of_unknown_size_brings_the_whole() {
    let bench = verifying(3 * MIB + 7);
    assert_eq!(bench.read(1..2).await.unwrap(), bench.bytes.slice(MIB..2 * MIB));
    assert_eq!(bench.read(0..4).await.unwrap(), bench.bytes);
    assert_eq!(bench.origin.gets().len(), 2);
    assert_eq!(bench.origin.gets()[1].len(), bench.bytes.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_stay_wrong_are_an_error() {
    let bench = verifying(MIB);
    assert!(bench.read(0..1).await.is_ok());
    bench.table.purge(&Scope::whole(&bench.version.object.origin)).await;
    bench.origin.inject(std::iter::repeat_n(Fault::Corrupt(5), 3));
    let error = bench.read(0..1).await.unwrap_err();
    assert!(matches!(error, FillError::Origin(OriginError::Corrupt(_))), "{error}");
    assert_eq!(bench.origin.gets().len(), 4);
    assert_eq!(bench.read(0..1).await.unwrap(), bench.bytes);
}

#[tokio::test]
async fn a_deleted_object_is_a_retired_version() {
    let bench = bench(6 * MIB);
    bench.read(0..1).await.unwrap();
    bench.objects.delete("film");
    let error = bench.read(1..2).await.unwrap_err();
    assert!(matches!(error, FillError::Origin(OriginError::VersionRetired(_))), "{error}");
}

#[tokio::test]
async fn a_replaced_object_is_a_retired_version() {
    let bench = bench(2 * MIB);
    bench.read(0..1).await.unwrap();
    bench.objects.put("film", bytes(5));
    assert!(bench.read(0..1).await.is_ok(), "what is cached of a version plays on");
    let error = bench.read(1..2).await.unwrap_err();
    assert!(matches!(error, FillError::Origin(OriginError::VersionRetired(_))), "{error}");
}

#[tokio::test]
async fn blocks_past_the_end_are_an_error_and_the_others_come() {
    for bench in [bench(MIB + 1), verifying(MIB + 1)] {
        let asked = bench.ask(0..4, Priority::Demand);
        let mut got = Vec::new();
        for pending in asked {
            got.push(pending.wait().await.map(|b: Option<Block>| b.unwrap().data.len()));
        }
        let end = || Err(FillError::PastEnd(MIB as u64 + 1));
        assert_eq!(got, [Ok(MIB), Ok(1), end(), end()]);
    }
    let bench = bench(MIB + 1);
    let error = bench.read(5..6).await.unwrap_err();
    assert!(matches!(error, FillError::Origin(OriginError::PastEnd(_))), "{error}");
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let mut config = ShieldConfig::default();
    config.connections.demand = 1;
    config.queue.demand = 1;
    config.run_bytes = MIB as u64;
    let bench = bench_with(4 * MIB, config);
    let gate = bench.origin.gate();
    let mut asked = bench.ask(0..3, Priority::Demand);
    let refused = asked.pop().unwrap();
    assert_eq!(refused.wait().await, Err(FillError::Overloaded));
    gate.add_permits(10);
    for pending in asked {
        pending.wait().await.unwrap();
    }
    assert_eq!(bench.read(2..3).await.unwrap().len(), MIB);
}

#[tokio::test]
async fn a_viewer_who_comes_to_wait_promotes_read_ahead() {
    let mut config = ShieldConfig::default();
    config.connections.read_ahead = 1;
    config.run_bytes = MIB as u64;
    let bench = bench_with(4 * MIB, config);
    let gate = bench.origin.gate();
    let ahead = bench.ask(0..3, Priority::ReadAhead);
    let demand = bench.ask(2..3, Priority::Demand);
    gate.add_permits(10);
    for pending in ahead.into_iter().chain(demand) {
        pending.wait().await.unwrap();
    }
    let blocks = |p| {
        let gets = bench.origin.gets_with_priority();
        gets.iter().filter(|g| g.1 == p).map(|g| g.0.start as usize / MIB).collect::<Vec<_>>()
    };
    assert_eq!(blocks(Priority::Demand), [2]);
    assert_eq!(blocks(Priority::ReadAhead), [0, 1]);
}

#[tokio::test]
async fn a_purge_during_a_fill_keeps_its_bytes_out_of_the_cache() {
    let bench = bench(MIB);
    let gate = bench.origin.gate();
    let asked = bench.ask(0..1, Priority::Demand);
    bench.table.purge(&Scope::of([(bench.version.object.origin.as_str(), "fi", false)])).await;
    gate.add_permits(10);
    for pending in asked {
        assert_eq!(pending.wait().await.unwrap().unwrap().data, bench.bytes);
    }
    bench.read(0..1).await.unwrap();
    assert_eq!(bench.origin.gets().len(), 2);
}

#[tokio::test]
async fn asking_only_the_cache_fetches_nothing() {
    let bench = bench(2 * MIB);
    bench.read(0..1).await.unwrap();
    let asked = bench.fills.ask(&bench.source, &bench.version, 0..2, Priority::Demand, true);
    let mut got = Vec::new();
    for pending in asked {
        got.push(pending.wait().await.unwrap().is_some());
    }
    assert_eq!(got, [true, false]);
    assert_eq!(bench.origin.gets().len(), 1);
}
