//! What goes wrong with access logs, one thing at a time, each with its stated outcome. Faults 33 to 35 carry their numbers.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::log_chaos::boxes::{LogCluster, LogSetup, spooled_bytes};
use tests::log_chaos::check::{STRICT, Strictness, check};
use tests::log_chaos::gate::Deed;
use tests::log_chaos::now_ms;
use tests::log_chaos::pickup::{self, LogFile};
use tests::log_chaos::valve::Fault;
use tests::log_chaos::viewer::Viewer;
use tests::log_chaos::viewer::flood::Flooded;
use tests::log_chaos::witness::{Connection, Event, Fate};
use tests::logs::Entry;
use tests::{eventually, netns};

const LONG: Duration = Duration::from_secs(90);
/// How long the last records may take to their files: the longest backoff and more.
const DRAIN: Duration = Duration::from_secs(400);

const DROPPED: &str = "penstock_edge_log_dropped_events_total";

/// A connection with a play under way.
fn playing(cluster: &LogCluster, letter: usize, id: &str) -> Viewer {
    let host = &cluster.logged[letter].host;
    let mut viewer = Viewer::open(&cluster.edges[0].addr, host, id).unwrap();
    assert_eq!(viewer.connected(), Fate::Seen);
    viewer.create_stream();
    assert_eq!(viewer.play("mp3:film", "film", &format!("p={id}"), None), Fate::Seen);
    viewer
}

/// Seven events: connect, play, seek, pause, unpause, stop, disconnect.
fn session(cluster: &LogCluster, letter: usize, id: &str) -> Connection {
    let mut viewer = playing(cluster, letter, id);
    assert_eq!(viewer.seek(4000.0), Fate::Seen);
    assert_eq!(viewer.pause(), Fate::Seen);
    assert_eq!(viewer.unpause(), Fate::Seen);
    viewer.stop();
    viewer.leave()
}

/// Waits until all is delivered, reads it, and holds it against what was seen.
fn settle(cluster: &mut LogCluster, mut seen: Vec<Connection>, strictness: Strictness) -> Vec<LogFile> {
    seen.append(&mut cluster.probes);
    pickup::wait_empty(cluster, DRAIN);
    let files = pickup::collect(&cluster.place(), &cluster.logged);
    if let Err(faults) = check(&seen, &files, &cluster.logged, strictness) {
        panic!("{faults:#?}");
    }
    files
}

fn of<'a>(files: &'a [LogFile], id: &str) -> Vec<&'a Entry> {
    let query = format!("c={id}");
    files.iter().flat_map(|f| &f.entries).filter(|e| e.uri_query.as_deref() == Some(&query)).collect()
}

/// What a full spool lost and kept: no record is there twice; each that isn't there was counted; and of the sessions, which came one after
/// another, those at the end are whole, down to one of which a part is there.
fn check_dropped(cluster: &mut LogCluster, sessions: &[Connection]) {
    let dropped = cluster.edges[0].metric(DROPPED) as usize;
    pickup::wait_empty(cluster, DRAIN);
    let dropped = dropped.max(cluster.edges[0].metric(DROPPED) as usize);
    let files = pickup::collect(&cluster.place(), &cluster.logged);
    let mut counts: HashMap<(&str, Event), usize> = HashMap::new();
    let entries: Vec<&Entry> = files.iter().flat_map(|file| &file.entries).collect();
    for entry in &entries {
        let id = entry.uri_query.as_deref().unwrap_or("").trim_start_matches("c=");
        *counts.entry((id, entry.event)).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 1), "a record is there twice");
    let expected: usize = sessions.iter().chain(&cluster.probes).map(Connection::seen).sum();
    assert_eq!(expected - entries.len(), dropped, "what is lost was counted, and nothing else was");
    let kept: Vec<usize> =
        sessions.iter().map(|s| counts.keys().filter(|(id, _)| *id == s.id).count()).collect();
    let partial = kept.iter().filter(|count| !matches!(count, 0 | 7)).count();
    let first = kept.iter().position(|count| *count > 0).unwrap();
    assert!(first > 0 && kept.last() == Some(&7), "the oldest go, the newest stay: {kept:?}");
    // A session's last event and the next one's first may share a segment; those of one that is being dropped are of two.
    assert!(partial <= 1 && kept[first + 1..].iter().all(|count| *count == 7), "{kept:?}");
}

/// Outcome: viewers notice nothing; the spool stays within its bound; the oldest sealed segments are dropped, each event counted; what is left
/// is delivered, once, when control is back.
#[test]
fn f33_with_control_gone_the_spool_fills_to_its_bound_and_drops_the_oldest_and_counts_them() {
    const BOUND: u64 = 64 << 10;
    let mut cluster = LogCluster::start(&LogSetup {
        spool: format!("bytes: {BOUND}\nsegment_bytes: 8192\nseal_after_ms: 1000"),
        ..Default::default()
    });
    pickup::wait_empty(&cluster, LONG);
    cluster.controls[0].process.kill();
    let mut sessions = Vec::new();
    while cluster.edges[0].metric(DROPPED) < 200.0 {
        assert!(sessions.len() < 2000, "nothing is dropped");
        sessions.push(session(&cluster, 0, &format!("s{}", sessions.len())));
        let bytes = spooled_bytes(&cluster.spool(0));
        assert!(bytes <= BOUND, "{bytes} bytes in the spool");
    }
    assert!(cluster.edges[0].process.log().contains("drop"), "the operator is told");
    cluster.controls[0].restart();
    cluster.controls[0].wait_ready();
    check_dropped(&mut cluster, &sessions);
}

/// Outcome: as [`f33_with_control_gone_the_spool_fills_to_its_bound_and_drops_the_oldest_and_counts_them`], with the disk as the bound: on the
/// first write that doesn't fit, the oldest sealed segments make room.
#[test]
fn on_a_full_disk_playing_goes_on_and_the_oldest_events_go_and_are_counted() {
    if !netns::is_root() {
        let _ = writeln!(std::io::stderr(), "a full disk: NOT RUN: it mounts a tmpfs, which needs root");
        return;
    }
    let script = "mkdir -p STATE && mount -t tmpfs -o size=512k tmpfs STATE && exec \"$0\" \"$@\"";
    let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script];
    let mut cluster = LogCluster::start(&LogSetup {
        spool: "segment_bytes: 16384\nseal_after_ms: 1000".into(),
        before_edge: words.map(str::to_owned).to_vec(),
        ..Default::default()
    });
    pickup::wait_empty(&cluster, LONG);
    cluster.controls[0].process.kill();
    let mut sessions = Vec::new();
    while cluster.edges[0].metric(DROPPED) < 200.0 {
        assert!(sessions.len() < 4000, "the disk isn't full");
        sessions.push(session(&cluster, 0, &format!("s{}", sessions.len())));
    }
    assert!(cluster.edges[0].process.ended().is_none());
    cluster.controls[0].restart();
    cluster.controls[0].wait_ready();
    check_dropped(&mut cluster, &sessions);
}

/// Commands of a viewer that doesn't wait, with no way from the edge to control: what is recorded meanwhile has to fit the spool, whose bound is small.
fn flooded(edge: &str) -> LogCluster {
    let cluster = LogCluster::start(&LogSetup {
        spool: format!("bytes: {FLOODED_BYTES}\nsegment_bytes: 8192\nseal_after_ms: 1000"),
        edge: edge.into(),
        ..Default::default()
    });
    pickup::wait_empty(&cluster, LONG);
    cluster.ways_of_edge(0).iter().for_each(|way| way.set(Fault::Closed));
    cluster
}

/// Room for some 700 records.
const FLOODED_BYTES: u64 = 256 << 10;
/// `edge.log.events_per_second`, and how many seconds' worth of them a connection saves up.
const ALLOWED: (f64, f64) = (10.0, 10.0);

/// Does something while a viewer floods, for as long as that lasts; gives what it gives, what came of the flood, and how long that was.
fn while_flooding<T>(flooder: &mut Viewer, work: impl FnOnce() -> T) -> (T, Flooded, Duration) {
    let (began, enough) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // It ends by itself where the work panics.
        let flood = scope.spawn(|| {
            let told = flooder.flood(|| enough.load(Ordering::Relaxed) || began.elapsed() > 2 * LONG);
            (told, began.elapsed())
        });
        let done = work();
        enough.store(true, Ordering::Relaxed);
        let (told, took) = flood.join().unwrap();
        (done, told, took)
    })
}

/// Events that the edge's process has dropped.
fn dropped(cluster: &LogCluster) -> f64 {
    let samples = cluster.edges[0].metrics();
    samples.iter().filter(|(name, _)| name.split('{').next() == Some(DROPPED)).map(|(_, count)| count).sum()
}

/// Outcome: the viewer has its allowance of events and no more, the rest of its commands wait unread; sessions beside it are answered and
/// recorded as ever; nothing is dropped, and each record, also of the viewer who floods, is delivered, once.
#[test]
fn a_viewer_that_floods_an_edge_with_commands_costs_neighbours_and_itself_no_event() {
    let mut cluster = flooded("");
    let mut flooder = playing(&cluster, 0, "flooder");
    let (mut seen, told, took) = while_flooding(&mut flooder, || {
        let (began, mut seen) = (Instant::now(), Vec::new());
        while began.elapsed() < Duration::from_secs(15) {
            seen.push(session(&cluster, 0, &format!("s{}", seen.len())));
            let bytes = spooled_bytes(&cluster.spool(0));
            assert!(bytes <= FLOODED_BYTES, "{bytes} bytes in the spool");
            std::thread::sleep(Duration::from_millis(1000));
        }
        seen
    });
    assert!(flooder.is_alive(), "it isn't put out for it: {told:?}");
    assert!(told.asked > 10 * told.answered, "that was no flood: {told:?}");
    // With the connect and the play; one second more, for how far apart both ends look at their clocks.
    let (events, saved) = (told.answered as f64 + 2.0, ALLOWED.0 * ALLOWED.1);
    let allowed = saved..=saved + ALLOWED.0 * (took.as_secs_f64() + 1.0);
    assert!(allowed.contains(&events), "{told:?} in {took:?}");
    seen.push(flooder.leave());
    eventually("the edge to see that all have left", LONG, || {
        (cluster.edges[0].metrics().get("penstock_edge_log_open_sessions") == Some(&0.0)).then_some(())
    });
    assert_eq!(dropped(&cluster), 0.0);
    cluster.ways_of_edge(0).iter().for_each(|way| way.set(Fault::None));
    settle(&mut cluster, seen, STRICT);
    assert_eq!(dropped(&cluster), 0.0);
}

/// Outcome: with an allowance that an operator has made too large the same flood fills the spool, and the oldest events go, whoever's they are. So
/// it is the allowance that keeps them.
#[test]
fn past_an_allowance_that_is_none_one_viewer_s_commands_push_everybody_s_events_out() {
    let cluster = flooded("log: {events_per_second: 100000}");
    let neighbour = session(&cluster, 0, "neighbour");
    let mut flooder = playing(&cluster, 0, "flooder");
    while_flooding(&mut flooder, || {
        eventually("events to be dropped", LONG, || {
            std::thread::sleep(Duration::from_millis(100));
            (dropped(&cluster) > 500.0).then_some(())
        });
    });
    flooder.leave();
    cluster.ways_of_edge(0).iter().for_each(|way| way.set(Fault::None));
    pickup::wait_empty(&cluster, DRAIN);
    let files = pickup::collect(&cluster.place(), &cluster.logged);
    assert!(of(&files, &neighbour.id).is_empty(), "the neighbour's were the oldest");
}

/// The newest file of a spool with that extension.
fn newest(spool: &Path, extension: &str) -> PathBuf {
    let files = std::fs::read_dir(spool).unwrap().flatten().map(|file| file.path());
    files.filter(|path| path.extension().is_some_and(|e| e == extension)).max().unwrap()
}

/// Outcome: the record whose end the disk lost is cut off, and nothing else; the restarted edge goes on with what stands and writes the stop and the
/// disconnect that are missing. (Answers wait for their events as long as it takes here: what stands by the kill is what was answered.)
#[test]
fn a_torn_end_of_the_spool_costs_the_record_it_tears_and_sessions_still_get_their_ends() {
    let mut cluster = LogCluster::start(&LogSetup {
        spool: "seal_after_ms: 20000\nwait_ms: 60000".into(),
        ..Default::default()
    });
    pickup::wait_empty(&cluster, LONG);
    let whole = session(&cluster, 0, "whole");
    let mut torn = playing(&cluster, 0, "torn");
    assert_eq!(torn.seek(4000.0), Fate::Seen);
    assert_eq!(torn.pause(), Fate::Seen);
    cluster.edges[0].process.kill();
    let mut torn = torn.leave();
    let part = newest(&cluster.spool(0), "part");
    let bytes = std::fs::read(&part).unwrap();
    std::fs::write(&part, &bytes[..bytes.len() - 5]).unwrap();
    cluster.edges[0].restart();
    cluster.wait_serving();
    assert_eq!(cluster.edges[0].metric("penstock_edge_log_torn_tails_total"), 1.0);
    // The pause is what the disk lost: it is allowed to be missing.
    torn.left = false;
    torn.plays[0].told.last_mut().unwrap().fate = Fate::Cut;
    let files = settle(&mut cluster, vec![whole, torn], STRICT);
    let events: Vec<Event> = of(&files, "torn").iter().map(|entry| entry.event).collect();
    assert_eq!(events, [Event::Connect, Event::Play, Event::Seek, Event::Stop, Event::Disconnect]);
}

/// The clock of processes that are started with [`Clock::words`], set by a file (libfaketime): only wall time, never elapsed time.
struct Clock {
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Clock {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Self { file: folder.path().join("clock"), _folder: folder };
        clock.set(0);
        clock
    }

    /// Sets it apart from the machine's, by so many seconds.
    fn set(&self, apart_s: i64) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{apart_s:+}s\n")).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    fn words(&self) -> Vec<String> {
        let libraries = std::fs::read_dir("/usr/lib").unwrap().flatten();
        let library = libraries.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let library = library.into_iter().find(|path| path.exists());
        let library =
            library.expect("libfaketime (Debian's package faketime; tests/run names what is needed)");
        vec![
            "env".into(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".into(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
            "DONT_FAKE_MONOTONIC=1".into(),
        ]
    }
}

const HOUR_S: i64 = 3600;
const ANY_TIME: Strictness = Strictness { times: false, bytes: true };

/// How far a record's time is from the machine's, in seconds, if the event was just now or since `began_ms`.
fn apart_s(entry: &Entry, began_ms: i64) -> i64 {
    entry.at_s - began_ms / 1000
}

/// Outcome: a session that is open goes on by the time it began with, so its records stay in order; new sessions are of the hour that the clock now
/// says, in a file of that hour; nothing is lost or doubled.
#[test]
fn a_clock_that_steps_back_an_hour_disorders_no_session_and_loses_nothing() {
    let clock = Clock::new();
    let mut cluster = LogCluster::start(&LogSetup { before_edge: clock.words(), ..Default::default() });
    let began = now_ms();
    let mut open = playing(&cluster, 0, "open");
    clock.set(-HOUR_S);
    let back = session(&cluster, 0, "back");
    assert_eq!(open.pause(), Fate::Seen);
    assert_eq!(open.unpause(), Fate::Seen);
    assert_eq!(open.seek(2000.0), Fate::Seen);
    clock.set(0);
    let again = session(&cluster, 0, "again");
    open.stop();
    let seen = vec![open.leave(), back, again];
    let took_s = (now_ms() - began) / 1000 + 2;
    let files = settle(&mut cluster, seen, ANY_TIME);
    for (id, apart) in [("open", 0), ("back", -HOUR_S), ("again", 0)] {
        for entry in of(&files, id) {
            let off = apart_s(entry, began) - apart;
            assert!((-2..=took_s).contains(&off), "{id}: {:?} is {off} s off", entry.event);
        }
    }
}

/// Outcome: one segment carries records of two hours, and each is in a file of its own hour.
#[test]
fn an_hour_that_ends_in_mid_segment_parts_its_records_by_their_hours() {
    let clock = Clock::new();
    let mut cluster = LogCluster::start(&LogSetup {
        before_edge: clock.words(),
        spool: "seal_after_ms: 20000".into(),
        ..Default::default()
    });
    pickup::wait_empty(&cluster, LONG);
    // Four seconds before the edge's next hour.
    let to_next = HOUR_S - now_ms() / 1000 % HOUR_S;
    let apart = to_next - 4;
    clock.set(apart);
    let next_ms = (now_ms() / 1000 + to_next - apart) * 1000;
    let mut viewer = playing(&cluster, 0, "long");
    assert!(now_ms() < next_ms, "the machine is too slow for this test");
    eventually("the next hour", LONG, || (now_ms() > next_ms + 1500).then_some(()));
    assert_eq!(viewer.seek(3000.0), Fate::Seen);
    viewer.stop();
    let seen = viewer.leave();
    clock.set(0);
    let files = settle(&mut cluster, vec![seen], ANY_TIME);
    let hours = |events: &[Event]| -> Vec<String> {
        let all = of(&files, "long").into_iter().filter(|entry| events.contains(&entry.event));
        let mut hours: Vec<String> = all.map(Entry::hour).collect();
        hours.dedup();
        hours
    };
    let (before, after) =
        (hours(&[Event::Connect, Event::Play]), hours(&[Event::Seek, Event::Stop, Event::Disconnect]));
    assert!(before.len() == 1 && after.len() == 1 && before < after, "{before:?} {after:?}");
}

/// Outcome: whatever edges' and control's clocks do while segments and files are cut, each record is delivered once, in the hour its session's clock
/// said. (While control's clock is far off, the S3 server may refuse it; then files come when it is right again.)
#[test]
fn f35_clocks_that_jump_across_log_rotations_lose_and_double_nothing() {
    let clock = Clock::new();
    let mut cluster = LogCluster::start(&LogSetup {
        before_edge: clock.words(),
        before_control: clock.words(),
        ..Default::default()
    });
    let mut open = playing(&cluster, 0, "open");
    let mut seen = Vec::new();
    for (round, apart) in [HOUR_S, -HOUR_S, 2 * HOUR_S, -1800, 600, 0].into_iter().enumerate() {
        clock.set(apart);
        seen.push(session(&cluster, 0, &format!("s{round}")));
        assert_eq!(open.seek(1000.0 * round as f64), Fate::Seen);
        // Longer than a segment and a file are written to.
        open.linger(Duration::from_millis(2500));
    }
    open.stop();
    seen.push(open.leave());
    settle(&mut cluster, seen, ANY_TIME);
}

/// Outcome: edges' and control's clocks may be days apart, either way. Control refuses no segment for that: it takes them as soon as the S3 server
/// takes control's signatures, and each record is in the hour that its edge's clock said when its session began.
#[test]
fn f35_an_edge_and_a_control_whose_clocks_are_days_apart_lose_nothing_and_keep_the_edges_hours() {
    let (of_edge, of_control) = (Clock::new(), Clock::new());
    let mut cluster = LogCluster::start(&LogSetup {
        before_edge: of_edge.words(),
        before_control: of_control.words(),
        ..Default::default()
    });
    pickup::wait_empty(&cluster, LONG);
    let apart = 30 * HOUR_S;
    let mut told = Vec::new();
    let mut seen = Vec::new();
    for (edge, control) in
        [(0, -apart), (0, apart), (apart, -apart), (-apart, apart), (apart, 0), (-apart, 0)]
    {
        of_edge.set(edge);
        of_control.set(control);
        let id = format!("s{}", told.len());
        let began = now_ms();
        seen.push(session(&cluster, 0, &id));
        told.push((id, edge, began));
        // Longer than a segment is written to, so that it is shipped by these clocks.
        let is_shipped = || spooled_bytes(&cluster.spool(0)) == 0;
        let until = Instant::now() + Duration::from_secs(5);
        while !is_shipped() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    of_edge.set(0);
    of_control.set(0);
    let took_s = (now_ms() - told[0].2) / 1000 + 2;
    let files = settle(&mut cluster, seen, ANY_TIME);
    for (id, edge, began) in told {
        let entries = of(&files, &id);
        assert_eq!(entries.len(), 7, "{id}");
        for entry in entries {
            let off = apart_s(entry, began) - edge;
            assert!((-2..=took_s).contains(&off), "{id}: {:?} is {off} s off", entry.event);
        }
    }
    assert_eq!(cluster.edges[0].metric("penstock_edge_log_ship_refused_segments_total"), 0.0);
    assert!(cluster.controls[0].metric("penstock_control_log_far_off_records_total") > 0.0);
}

/// Outcome: what its viewers did until they were put out is delivered, to where its Logging said last; who comes later is refused and not recorded.
#[test]
fn a_distribution_deleted_with_events_in_flight_still_gets_all_of_them() {
    let mut cluster = LogCluster::start(&LogSetup {
        letters: "ab",
        spool: "seal_after_ms: 8000".into(),
        ..Default::default()
    });
    let mut seen = vec![session(&cluster, 0, "before"), session(&cluster, 1, "other")];
    let mut viewer = playing(&cluster, 0, "meanwhile");
    let kept = cluster.logged[1].clone();
    cluster.declare(&[kept]);
    eventually("its viewer to be put out", LONG, || {
        viewer.linger(Duration::from_millis(100));
        (!viewer.is_alive()).then_some(())
    });
    seen.push(viewer.leave());
    let late = Viewer::open(&cluster.edges[0].addr, &cluster.logged[0].host, "late").unwrap();
    assert_eq!(late.connected(), Fate::Refused);
    seen.push(late.leave());
    seen.push(session(&cluster, 1, "other-later"));
    let files = settle(&mut cluster, seen, STRICT);
    assert_eq!(of(&files, "meanwhile").len(), 4);
}

/// The value of control's counter of deliveries that a bucket did not take, for a reason.
fn refusals(cluster: &LogCluster, reason: &str) -> f64 {
    let name = format!("penstock_control_log_refused_deliveries_total{{reason=\"{reason}\"}}");
    cluster.controls[0].metrics().get(&name).copied().unwrap_or(0.0)
}

/// Outcome: buckets that refuse (403), aren't there (404) or throttle (503) hold up nobody else's files; theirs wait and are shown, and come, each
/// once, when the buckets take them. An hour lasts as long as three attempts here.
#[test]
fn buckets_that_refuse_for_an_hour_hold_up_no_others_and_get_everything_in_the_end() {
    let mut cluster = LogCluster::start(&LogSetup { letters: "abcd", gated: true, ..Default::default() });
    pickup::wait_empty(&cluster, LONG);
    for (bucket, status, code) in
        [("b", 403, "AccessDenied"), ("c", 404, "NoSuchBucket"), ("d", 503, "SlowDown")]
    {
        cluster.gates[1].add("PUT", &format!("/logs-{bucket}/"), Deed::Refused(status, code), usize::MAX);
    }
    let count = |cluster: &LogCluster, letter: usize| {
        pickup::keys(&cluster.place(), &cluster.logged[letter].bucket).len()
    };
    let had: Vec<usize> = (1..4).map(|letter| count(&cluster, letter)).collect();
    let mut seen = Vec::new();
    let mut rounds = 0;
    while ["refused", "missing", "throttled"].iter().any(|reason| refusals(&cluster, reason) < 3.0) {
        let before = count(&cluster, 0);
        seen.extend((0..4).map(|letter| session(&cluster, letter, &format!("s{rounds}-{letter}"))));
        eventually("the willing bucket's next file", LONG, || (count(&cluster, 0) > before).then_some(()));
        rounds += 1;
        assert!(rounds < 200, "the refusals aren't counted");
    }
    assert_eq!(had, (1..4).map(|letter| count(&cluster, letter)).collect::<Vec<_>>());
    assert!(cluster.controls[0].metric("penstock_control_log_groups_refused") >= 3.0);
    cluster.gates[1].open();
    settle(&mut cluster, seen, STRICT);
}

/// Outcome: an upload whose answer is lost, denied or torn is made again under the same name, so no record is doubled or lost. So for
/// staging: there a repeated segment is one object.
#[test]
fn f34_uploads_that_were_done_and_denied_are_made_again_under_the_same_name() {
    let mut cluster = LogCluster::start(&LogSetup { gated: true, ..Default::default() });
    pickup::wait_empty(&cluster, LONG);
    let mut seen = Vec::new();
    for (round, deed) in [Deed::DoneUntold, Deed::DoneDenied, Deed::Torn, Deed::Refused(500, "InternalError")]
        .into_iter()
        .enumerate()
    {
        for gate in &cluster.gates {
            // More than a client's own attempts.
            gate.add("PUT", "/", deed, 4);
            gate.add("DELETE", "/", deed, 2);
        }
        cluster.gates[0].add("GET", "/staging/", deed, 2);
        let hits = cluster.gates.iter().map(|gate| gate.hits()).collect::<Vec<_>>();
        seen.extend((0..5).map(|n| session(&cluster, 0, &format!("s{round}-{n}"))));
        eventually("the uploads to have suffered", DRAIN, || {
            let now = cluster.gates.iter().map(|gate| gate.hits());
            now.zip(&hits).all(|(now, before)| now >= before + 4).then_some(())
        });
        pickup::wait_empty(&cluster, DRAIN);
    }
    let puts = cluster.gates[1].puts();
    let mut names = puts.clone();
    names.sort();
    names.dedup();
    assert!(names.len() < puts.len(), "no name was used again: {puts:?}");
    assert_eq!(names.len(), pickup::keys(&cluster.place(), "logs-a").len(), "{puts:?}");
    settle(&mut cluster, seen, STRICT);
}

/// Outcome: an edge cut off from every control (answers lost, then nothing gets through) keeps its events and ships each segment until one is acknowledged; what control had taken already is dropped
/// as a repeat.
#[test]
fn segments_that_were_taken_without_the_edge_hearing_of_it_are_shipped_again_and_count_once() {
    let mut cluster = LogCluster::start(&LogSetup { controls: 2, ..Default::default() });
    let mut seen = Vec::new();
    for (round, fault) in [Fault::Deaf, Fault::Silent, Fault::Closed].into_iter().enumerate() {
        cluster.ways_of_edge(0).iter().for_each(|way| way.set(fault));
        seen.extend((0..10).map(|n| session(&cluster, 0, &format!("s{round}-{n}"))));
        eventually("the events to wait", LONG, || (spooled_bytes(&cluster.spool(0)) > 0).then_some(()));
        cluster.ways_of_edge(0).iter().for_each(|way| way.set(Fault::None));
        pickup::wait_empty(&cluster, DRAIN);
    }
    settle(&mut cluster, seen, STRICT);
}
