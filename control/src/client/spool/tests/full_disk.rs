//! The spool on a disk that is really full: a small tmpfs in a mount namespace of the test's own.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use prometheus::Registry;
use proto::access_log::Segment;
use proto::v1::AccessEvent::{Connect, Disconnect};
use tokio::time::timeout;

use super::events::event;
use crate::client::spool::{DropReason, Outcome, Spool, SpoolConfig};

const NAME: &str =
    "client::spool::tests::full_disk::a_really_full_disk_loses_the_oldest_events_counts_them_and_goes_on";
const FOLDER: &str = "PENSTOCK_TEST_TMPFS";

#[tokio::test]
async fn a_really_full_disk_loses_the_oldest_events_counts_them_and_goes_on() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return within(Path::new(&folder)).await;
    }
    let allowed = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    if !allowed {
        // Not eprintln: of a test that passes, that is never seen.
        let _ = writeln!(
            std::io::stderr(),
            "a full disk: NOT RUN: this machine lets nobody make mount namespaces"
        );
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // This same test again, alone, with a disk of 1 MiB.
    let script = "mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$@\"";
    let run = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(FOLDER, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

async fn within(folder: &Path) {
    let registry = Registry::new();
    let config = SpoolConfig {
        segment_bytes: 64 << 10,
        wait_ms: 30_000,
        ..SpoolConfig::in_folder(folder.join("spool"))
    };
    let spool = Spool::open(config, "edge-1", &registry).unwrap();
    let log = spool.log();
    let record = |n: u64| log.record(event(n / 2, n, if n.is_multiple_of(2) { Connect } else { Disconnect }));
    // More than there is room for: what is new stands, what is oldest goes.
    for n in 0..8000 {
        assert_eq!(record(n).await, Outcome::Stands, "event {n}");
    }
    let lost = || dropped(&registry, DropReason::DiskFull);
    let by_room = lost();
    assert!(by_room > 1000, "{by_room}");
    // Something else takes all the room there is, and more than the spool could give up.
    let mut filler = Vec::new();
    let (mut refused, mut made) = (0, 8000);
    for n in 8000..12_000 {
        if refused == 0 {
            filler.push(fill(folder, filler.len()));
        }
        made += 1;
        match record(n).await {
            Outcome::Stands => {}
            Outcome::Dropped(DropReason::DiskFull) => refused += 1,
            other => panic!("event {n}: {other:?}"),
        }
        if refused >= 200 {
            break;
        }
    }
    assert!(refused >= 200, "{refused}");
    filler.into_iter().for_each(|path| std::fs::remove_file(path).unwrap());
    // The pause after a failure, and then all is well.
    tokio::time::sleep(Duration::from_millis(400)).await;
    for n in 20_000..20_100 {
        assert_eq!(record(n).await, Outcome::Stands, "event {n}");
    }
    assert!(spool.seal().await);
    let mut numbers = Vec::new();
    while spool.waiting().segments > 0 {
        let segment = timeout(Duration::from_secs(10), spool.next_sealed()).await.unwrap();
        let read = Segment::verify(std::fs::read(&segment.path).unwrap().into()).unwrap();
        numbers.extend(read.records().map(|record| record.unwrap().0.time_ms - 1_700_000_000_000));
        spool.forget(&segment.id);
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, each once");
    assert!(numbers.ends_with(&(20_000..20_100).collect::<Vec<_>>()));
    assert!(lost() > by_room + 200, "{}", lost());
    assert_eq!(numbers.len() as u64 + lost(), made + 100, "shipped or counted");
    assert_eq!(
        metric(&registry, "penstock_edge_log_dropped_events_total", ""),
        lost(),
        "for no other reason"
    );
}

/// A file that takes 64 KiB, or what is left.
fn fill(folder: &Path, n: usize) -> std::path::PathBuf {
    use std::io::Write;
    let path = folder.join(format!("filler-{n}"));
    let mut file = std::fs::File::create(&path).unwrap();
    for _ in 0..16 {
        if file.write_all(&[0; 4096]).is_err() {
            break;
        }
    }
    path
}

fn dropped(registry: &Registry, reason: DropReason) -> u64 {
    metric(registry, "penstock_edge_log_dropped_events_total", reason.label())
}

fn metric(registry: &Registry, name: &str, label: &str) -> u64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let labelled = |m: &&prometheus::proto::Metric| {
        label.is_empty() || m.get_label().iter().any(|pair| pair.value() == label)
    };
    family.get_metric().iter().filter(labelled).map(|m| m.get_counter().get_value() as u64).sum()
}
