//! Access logs under everything that can die: the union of all files is the set of events that viewers saw, none lost and none doubled.
//!
//! Edges have their default spool: [`tests::log_chaos`] states which events must be there.
//!
//! `PENSTOCK_TEST_SEED` chooses another storm; each run prints its own, and what it came to. `PENSTOCK_TEST_SCALE` (over 1) makes it 200,000
//! events over five minutes.

use std::io::Write;
use std::time::{Duration, Instant};

use tests::log_chaos::boxes::{LogCluster, LogSetup};
use tests::log_chaos::check::{STRICT, check};
use tests::log_chaos::moto::Moto;
use tests::log_chaos::pickup;
use tests::log_chaos::storm::{self, Damage, Field};
use tests::log_chaos::troupe::{Program, Troupe};
use tests::{eventually, scale};

/// Past the test harness's capture: what a run did is of interest when it passes, too.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn seed(of_test: u64) -> u64 {
    let given = std::env::var("PENSTOCK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()) * 1000 + of_test)
}

/// How much is asked of a run.
struct Size {
    events: usize,
    during: Duration,
    viewers: usize,
}

/// Lets viewers play through storms until there are enough events, and holds the files against what they saw.
fn run(name: &str, mut cluster: LogCluster, size: &Size, s3_dies: bool, seed: u64) {
    say(&format!("{name}: seed {seed} (PENSTOCK_TEST_SEED={seed} repeats its plan)"));
    let program = Program {
        edges: cluster.edges.iter().map(|edge| edge.addr.clone()).collect(),
        hosts: cluster.logged.iter().map(|one| one.host.clone()).collect(),
        viewers: size.viewers,
        // A little more than is asked for: boxes that are down cost time.
        per_second: 1.25 * size.events as f64 / size.during.as_secs_f64(),
        seed,
    };
    let field = Field {
        edges: cluster.edges.len(),
        controls: cluster.controls.len(),
        s3: s3_dies,
        ways: cluster.ways.len(),
    };
    let troupe = Troupe::start(&program);
    let (began, mut damage) = (Instant::now(), Damage::default());
    for round in 0.. {
        let during = if round == 0 { size.during } else { Duration::from_secs(20) };
        storm::strike(&mut cluster, &storm::plan(seed + round, field, during), &mut damage);
        if troupe.events() >= size.events {
            break;
        }
        assert!(began.elapsed() < 5 * size.during, "only {} events", troupe.events());
    }
    let storm_took = began.elapsed();
    let mut connections = troupe.finish();
    connections.append(&mut cluster.probes);
    let let_off: usize = connections.iter_mut().map(|connection| connection.excuse(&damage.edges)).sum();
    // Everything stands again: what is left must come out by itself.
    cluster.s3.wait_ready();
    cluster.controls.iter_mut().chain(&mut cluster.edges).for_each(|node| node.wait_ready());
    pickup::wait_empty(&cluster, Duration::from_secs(240));
    let drained = began.elapsed() - storm_took;
    let files = pickup::collect(&cluster.place(), &cluster.logged);
    let outcome = check(&connections, &files, &cluster.logged, STRICT);
    match outcome {
        Ok(totals) => {
            say(&format!(
                "{name}: {} records in {} files; {} events seen on {} connections, {let_off} more let off ({} of {} killed edges had said they are late); \
                 {} boxes killed, {} ways cut in {} s; empty after {} s",
                totals.records,
                totals.files,
                totals.seen,
                connections.len(),
                damage.edges.iter().filter(|kill| kill.late_ms.is_some()).count(),
                damage.edges.len(),
                damage.deaths,
                damage.cuts,
                storm_took.as_secs(),
                drained.as_secs(),
            ));
            assert!(totals.seen + let_off >= size.events, "{totals:?}");
            assert!(
                10 * let_off <= totals.seen,
                "this disk is too slow to be held to anything: {let_off} let off"
            );
            if scale(1) > 1 {
                pickup::wait_swept(&cluster, Duration::from_secs(1500));
            }
        }
        Err(faults) => {
            let kept = keep(&cluster, seed, &connections, &files, &faults);
            let shown: Vec<&String> = faults.iter().take(40).collect();
            panic!("seed {seed}: {} faults; all is in {kept}\n{shown:#?}", faults.len());
        }
    }
}

/// Writes down what a failed run was, for whoever looks for the reason.
fn keep(
    cluster: &LogCluster,
    seed: u64,
    connections: &[tests::log_chaos::witness::Connection],
    files: &[pickup::LogFile],
    faults: &[String],
) -> String {
    let folder = std::env::temp_dir().join(format!("penstock-log-chaos-{seed}"));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write("faults.txt", faults.join("\n"));
    write("connections.txt", format!("{connections:#?}"));
    let lines = files
        .iter()
        .flat_map(|file| file.entries.iter().map(move |entry| format!("{}\t{:?}", file.key, entry.values())));
    write("records.txt", lines.collect::<Vec<_>>().join("\n"));
    for log in std::fs::read_dir(cluster.folder()).unwrap().flatten() {
        if log.path().extension().is_some_and(|extension| extension == "log") {
            let _ = std::fs::copy(log.path(), folder.join(log.file_name()));
        }
    }
    folder.display().to_string()
}

#[test]
fn every_event_that_was_seen_is_in_the_files_once_whatever_is_killed_and_cut() {
    let long = scale(1) > 1;
    let size = Size {
        events: if long { 200_000 } else { 16_000 },
        during: Duration::from_secs(if long { 300 } else { 75 }),
        viewers: if long { 48 } else { 24 },
    };
    let cluster =
        LogCluster::start(&LogSetup { edges: 3, controls: 2, letters: "abc", ..Default::default() });
    run("chaos", cluster, &size, true, seed(1));
}

#[test]
fn the_same_holds_for_staging_and_buckets_on_an_s3_server_that_is_not_ours() {
    let folder = tempfile::tempdir().unwrap();
    let moto = Moto::start(folder.path());
    let size = Size { events: 3000, during: Duration::from_secs(30), viewers: 8 };
    let cluster = LogCluster::start(&LogSetup {
        edges: 2,
        controls: 2,
        letters: "ab",
        elsewhere: Some(moto.place()),
        ..Default::default()
    });
    // It keeps objects in memory, so it lives; the ways to it don't.
    run("chaos elsewhere", cluster, &size, false, seed(2));
    eventually("moto to be there still", Duration::from_secs(10), || {
        tests::http::get(&moto.place().addr, "/").is_ok().then_some(())
    });
}
