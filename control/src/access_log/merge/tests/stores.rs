//! The same histories over the stores that are used: redb as it is in a standalone process, and a slice over a real etcd, in real time.

use proto::clock::Clock;

use super::simulation::{history, paused};
use super::world::*;
use super::*;
use crate::access_log::ledger::LEASE;
use crate::store::tests::etcd_process::EtcdProcess;

#[test]
fn f34_the_same_histories_come_out_right_over_redb() {
    for seed in 7000..7003 {
        paused().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = crate::store::redb::open(&dir.path().join("config.redb")).await.unwrap();
            println!("seed {seed}");
            history(seed, store).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f34_mergers_that_die_over_etcd_lose_nothing_and_double_nothing() {
    const SEGMENTS: u64 = 40;
    let etcd = EtcdProcess::start().await;
    let world = Arc::new(World::new(etcd.store("merge")));
    let config = MergeConfig {
        file_age: Duration::from_secs(1),
        file_bytes: 2000,
        sweep_every: Duration::from_secs(5),
        ..MergeConfig::default()
    };
    let start = || {
        let (staging, buckets) = (Arc::new(world.staging.clone()), Arc::new(world.checked.clone()));
        let (merger, _) = world.merger_with(etcd.store("merge"), staging, buckets, config.clone());
        tokio::spawn(async move { merger.run(CancellationToken::new()).await })
    };
    let edge = |name: &'static str, first: u64| {
        let world = world.clone();
        async move {
            for number in 1..=SEGMENTS {
                let now_ms = world.clock.now_ms();
                let of = |i: u64| {
                    let id = first + number * 10 + i;
                    record(id, &format!("E{}", i % 4), now_ms, Some(target("one.example", "log", "")))
                };
                world.stage(&segment(name, 1, number, &(0..8).map(of).collect::<Vec<_>>())).await;
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        }
    };
    let deaths = async {
        let stands = start();
        for _ in 0..6 {
            let dies = start();
            tokio::time::sleep(Duration::from_millis(900)).await;
            dies.abort();
        }
        (stands, start())
    };
    let ((), (), mergers) = tokio::join!(edge("edge-1", 0), edge("edge-2", 10_000), deaths);
    // What the dead had claimed is free after their leases.
    world.empties(3 * LEASE).await;
    mergers.0.abort();
    mergers.1.abort();
    let arrived = world.arrived(&["one.example"]);
    assert_eq!(arrived.len() as u64, 2 * SEGMENTS * 8);
    assert!(arrived.values().all(|there| there.len() == 1), "{arrived:?}");
    assert_eq!(world.totals().await.records, 2 * SEGMENTS * 8);
}
