//! A folder that goes away under a running spool.

use std::fs;
use std::path::Path;
use std::time::Duration;

use prometheus::Registry;
use proto::access_log::Segment;
use proto::v1::AccessEvent::{Connect, Disconnect};
use tokio::time::timeout;

use super::events::event;
use crate::client::spool::{DropReason, Spool, SpoolConfig};

const PATIENCE: Duration = Duration::from_secs(30);

fn open(folder: &Path) -> Spool {
    let config =
        SpoolConfig { journal_ms: 50, wait_ms: 30_000, close_ms: 30_000, ..SpoolConfig::in_folder(folder) };
    Spool::open(config, "edge-1", &Registry::new()).unwrap()
}

async fn record(spool: &Spool, n: u64) {
    let record = event(n / 2, n, if n.is_multiple_of(2) { Connect } else { Disconnect });
    let outcome = timeout(PATIENCE, spool.log().record(record)).await.unwrap();
    assert!(outcome.stands(), "event {n}: {outcome:?}");
}

/// Numbers of the events in the next segment, which is forgotten.
async fn ship(spool: &Spool) -> Vec<String> {
    let segment = timeout(PATIENCE, spool.next_sealed()).await.unwrap();
    let read = Segment::verify(fs::read(&segment.path).unwrap().into()).unwrap();
    spool.forget(&segment.id);
    read.records().map(|record| record.unwrap().0.uri_query).collect()
}

#[tokio::test]
async fn a_folder_that_is_deleted_is_noticed_and_made_again_and_the_open_part_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("spool");
    let spool = open(&folder);
    let failures = || spool.log.metrics.disk_failures.get();
    for n in 0..4 {
        record(&spool, n).await;
    }
    assert_eq!(failures(), 0);
    fs::remove_dir_all(&folder).unwrap();
    // Without anything else that comes: the journal is due.
    timeout(PATIENCE, async {
        while spool.waiting().segments == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert!(failures() > 0);
    record(&spool, 4).await;
    assert!(spool.seal().await);
    assert_eq!(ship(&spool).await, ["n=0", "n=1", "n=2", "n=3"]);
    assert_eq!(ship(&spool).await, ["n=4"]);
    // Nobody else may have the new one.
    let other = Spool::open(SpoolConfig::in_folder(&folder), "edge-1", &Registry::new());
    assert!(other.is_err(), "{other:?}");
    assert!(spool.close().await);
    drop(spool);
    // The session open since then is still known.
    assert_eq!(ship(&open(&folder)).await, ["n=4"]);
}

#[tokio::test]
async fn a_folder_that_is_deleted_while_nothing_is_open_is_made_again_and_what_went_with_it_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("spool");
    let spool = open(&folder);
    record(&spool, 0).await;
    record(&spool, 1).await;
    assert!(spool.seal().await);
    fs::rename(&folder, dir.path().join("moved")).unwrap();
    record(&spool, 2).await;
    record(&spool, 3).await;
    assert!(spool.seal().await);
    assert_eq!(ship(&spool).await, ["n=2", "n=3"]);
    assert!(spool.log.metrics.disk_failures.get() > 0);
    assert!(spool.close().await);
    assert_eq!(spool.log.metrics.dropped_for(DropReason::Damaged), 2, "those in the folder moved away");
    drop(spool);
    // What was moved is whole, and another can ship it.
    let moved = open(&dir.path().join("moved"));
    assert_eq!(ship(&moved).await, ["n=0", "n=1"]);
}

#[tokio::test]
async fn a_part_that_is_deleted_alone_is_saved_from_its_descriptor_before_it_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    record(&spool, 0).await;
    record(&spool, 1).await;
    let is_part = |path: &Path| path.extension().is_some_and(|extension| extension == "part");
    let parts = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).filter(|p| is_part(p));
    parts.for_each(|part| fs::remove_file(part).unwrap());
    record(&spool, 2).await;
    record(&spool, 3).await;
    assert!(spool.seal().await);
    let mut shipped = ship(&spool).await;
    if shipped.len() < 4 {
        // It was noticed between the two.
        shipped.extend(ship(&spool).await);
    }
    assert_eq!(shipped, ["n=0", "n=1", "n=2", "n=3"]);
}
