//! Budgets with real processes: what is refused, how the peer hears of it, and that a viewer beside it feels nothing.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tests::process::{Running, product};
use tests::standalone::{Options, Standalone, wait_ready};
use tests::wire::amf::{self, Value};
use tests::wire::chunk::{Chunker, Message};
use tests::wire::handshake::{self, Kind};
use tests::wire::{Client, PATIENCE};
use tests::{eventually, http, media, packets, players};

const MIB: f64 = 1_048_576.0;

/// A film of 8 MiB, written once for all tests of this binary.
fn film() -> &'static Path {
    static FILM: OnceLock<PathBuf> = OnceLock::new();
    FILM.get_or_init(|| media::noise_film(8))
}

/// A standalone whose sessions may hold 16 MiB, over `folder`.
fn small(folder: &Path) -> Standalone {
    let config = "edge:
  cache_bytes: 8388608
  session_bytes: 16777216
  read_ahead_total_bytes: 8388608
  fetches: 8
  handshake_timeout_ms: 60000
shield:
  cache_bytes: 33554432
";
    Standalone::with(Options {
        media: Some(folder.to_owned()),
        config: Some(config.into()),
        ..Default::default()
    })
}

fn sample(server: &Standalone, name: &str) -> f64 {
    server.metrics().get(name).copied().unwrap_or(0.0)
}

fn refused(server: &Standalone, reason: &str) -> f64 {
    sample(server, &format!("penstock_edge_refused_total{{reason=\"{reason}\"}}"))
}

fn account(server: &Standalone, name: &str) -> f64 {
    sample(server, &format!("penstock_edge_memory_bytes{{account=\"{name}\"}}"))
}

/// A viewer of a film in real time, with a buffer of two seconds, that says when it ran dry.
struct Watcher {
    client: Client,
    began: Instant,
}

impl Watcher {
    fn start(addr: &str, name: &str) -> Self {
        let mut client = Client::streaming(addr);
        client.set_buffer(1, 2000);
        client.play(1, name, &[0.0]);
        client.wait("pictures", PATIENCE, Message::is_picture);
        Self { client, began: Instant::now() }
    }

    /// Panics unless everything due by now has come; what was fetched ahead (4 s) is the viewer's to live on.
    fn check(&self) {
        let due = self.began.elapsed().as_millis() as u32;
        let newest = self.client.messages().iter().rev().find(|m| m.is_picture()).unwrap().timestamp;
        assert!(newest >= due, "the viewer ran dry: it is at {due} ms and has {newest} ms");
        assert!(!self.client.is_closed());
    }
}

/// A connection that asks for all of `name` at once and never reads.
fn zero_window(addr: &str, name: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    let asked = handshake::run(&mut stream, Kind::Simple).and_then(|()| {
        let chunker = Chunker::default();
        let connect = Value::Object(vec![
            ("app".into(), "cfx/st".into()),
            ("tcUrl".into(), Value::String(format!("rtmp://{addr}/cfx/st"))),
        ]);
        let mut buffer = vec![0, 3, 0, 0, 0, 1];
        buffer.extend(36_000_000u32.to_be_bytes());
        for bytes in [
            chunker.message(3, 0, 20, 0, &amf::command("connect", 1.0, &[connect])),
            chunker.message(3, 0, 20, 0, &amf::command("createStream", 2.0, &[Value::Null])),
            chunker.message(2, 0, 4, 0, &buffer),
            chunker.message(8, 0, 20, 1, &amf::command("play", 0.0, &[Value::Null, name.into()])),
        ] {
            stream.write_all(&bytes)?;
        }
        Ok(())
    });
    // Refused in the middle of it: that is allowed.
    let _ = asked;
    stream
}

/// A media folder with `count` films of 8 MiB, each an object of its own, and one to watch.
fn films(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..count {
        let to = folder.path().join(format!("film{n}.flv"));
        if fs::hard_link(film(), &to).is_err() {
            fs::copy(film(), &to).unwrap();
        }
    }
    fs::copy(media::file("film.mp4"), folder.path().join("watched.mp4")).unwrap();
    folder
}

#[test]
fn f20_and_21_viewers_that_read_nothing_cost_little_and_others_play_on() {
    let folder = films(60);
    let server = small(folder.path());
    let watcher = Watcher::start(server.rtmp(), "mp4:watched.mp4");
    let mut stalled = Vec::new();
    let mut most: f64 = 0.0;
    for n in 0..60 {
        stalled.push(zero_window(server.rtmp(), &format!("film{n}")));
        std::thread::sleep(Duration::from_millis(50));
        watcher.check();
        most = most.max(account(&server, "sessions"));
    }
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
        watcher.check();
        most = most.max(account(&server, "sessions"));
    }
    let cap = sample(&server, "penstock_edge_memory_cap_bytes{account=\"sessions\"}");
    assert_eq!(cap, 16.0 * MIB);
    // What opens were under way when the cap was met may overshoot it by their blocks.
    assert!(most <= 1.5 * cap, "sessions held {most} bytes of {cap}");
    assert!(most >= cap / 2.0, "the test never came near the cap: {most}");
    let acted = sample(&server, "penstock_edge_detached_batches_total")
        + refused(&server, "stalled")
        + refused(&server, "play_memory")
        + refused(&server, "memory");
    assert!(acted >= 5.0, "{acted}");
    // With the pressure gone, newcomers are served.
    drop(stalled);
    eventually("room", PATIENCE, || (account(&server, "sessions") < cap / 4.0).then_some(()));
    let to = folder.path().join("o.flv");
    let done = players::download(server.rtmp(), "film7", &to);
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    let (source, got) = (packets::of(film()).unwrap(), packets::of(&to).unwrap());
    assert_eq!(packets::difference(&source, &got), None);
    watcher.check();
}

#[test]
fn connects_are_refused_with_a_clear_status_before_memory_runs_out() {
    let folder = films(0);
    let server = small(folder.path());
    let watcher = Watcher::start(server.rtmp(), "mp4:watched.mp4");
    let cap = sample(&server, "penstock_edge_memory_cap_bytes{account=\"sessions\"}");
    let half_open = |count: usize| -> Vec<TcpStream> {
        let open = |_| {
            let mut stream = TcpStream::connect(server.rtmp()).unwrap();
            let _ = stream.write_all(&[3]);
            stream
        };
        (0..count).map(open).collect()
    };
    // Each is counted with 8 KiB and its input: some 12 KiB.
    let waiting = half_open((0.945 * cap / 12_288.0) as usize);
    eventually("the account to fill", PATIENCE, || {
        (account(&server, "sessions") >= 0.92 * cap).then_some(())
    });
    let mut client = Client::open(server.rtmp());
    client.connect("cfx/st", &format!("rtmp://{}/cfx/st", server.rtmp()), &[]);
    let (name, args) = client.wait_answer(1.0, PATIENCE);
    let info = args.get(1).unwrap();
    assert_eq!((name.as_str(), info.field("code")), ("_error", "NetConnection.Connect.Rejected"));
    assert_eq!(info.get("application").unwrap().field("message"), "ServerBusy");
    assert!(info.field("description").contains("memory") && info.get("ex").is_none(), "{info:?}");
    client.wait("close", PATIENCE, |m| m.command().is_some_and(|c| c.name == "close"));
    client.wait_closed(PATIENCE);
    assert!(refused(&server, "memory") >= 1.0);
    // At the cap itself a connection isn't worth a handshake.
    let mut more = Vec::new();
    eventually("closes at accept", PATIENCE, || {
        more.extend(half_open(50));
        (refused(&server, "memory") >= 5.0).then_some(())
    });
    watcher.check();
    drop((waiting, more));
    eventually("room", PATIENCE, || (account(&server, "sessions") < MIB).then_some(()));
    Client::connected(server.rtmp());
}

#[test]
fn f25_without_descriptors_the_edge_sheds_connections_and_recovers() {
    let folder = films(0);
    let server = Standalone::over(folder.path());
    let watchers = [(); 2].map(|()| Watcher::start(server.rtmp(), "mp4:watched.mp4"));
    let open = fs::read_dir(format!("/proc/{}/fd", server.process.pid())).unwrap().count();
    let limit = format!("--nofile={0}:{0}", open + 40);
    let pid = format!("--pid={}", server.process.pid());
    let lowered = Command::new("prlimit").args([&pid, &limit]).status().unwrap();
    assert!(lowered.success(), "prlimit {pid} {limit}");
    let begun = Instant::now();
    let mut flood = Vec::new();
    eventually("descriptors to run out", Duration::from_secs(30), || {
        flood.extend((0..10).filter_map(|_| TcpStream::connect(server.rtmp()).ok()));
        // The metrics port may be refused too: then there is no descriptor left for sure.
        let page = http::metrics(server.metrics_addr()).unwrap_or_default();
        let shed = page.get("penstock_edge_refused_total{reason=\"descriptors\"}").copied();
        watchers.iter().for_each(Watcher::check);
        (shed.unwrap_or(0.0) >= 3.0 || flood.len() >= 300).then_some(())
    });
    watchers.iter().for_each(Watcher::check);
    let flooded = flood.len();
    drop(flood);
    let shed = eventually("the metric", PATIENCE, || {
        let page = http::metrics(server.metrics_addr()).ok()?;
        page.get("penstock_edge_refused_total{reason=\"descriptors\"}").copied()
    });
    assert!(shed >= 3.0, "{shed}");
    // It sheds what comes and otherwise waits: accepting does not spin.
    let most = flooded as f64 + 30.0 * begun.elapsed().as_secs_f64();
    assert!(shed <= most, "{shed} failing accepts, with {flooded} connections tried");
    // The accept loop lives.
    eventually("a new viewer", PATIENCE, || {
        std::panic::catch_unwind(|| drop(Client::connected(server.rtmp()))).ok()
    });
    watchers.iter().for_each(Watcher::check);
}

/// A standalone's arguments, with `more`, and where its ready file goes.
fn arguments(folder: &Path, config: &str) -> (Vec<String>, PathBuf) {
    let (ready_file, yaml) = (folder.join("ready"), folder.join("c.yaml"));
    fs::write(&yaml, config).unwrap();
    let mut args = vec![media::folder().display().to_string()];
    for port in ["--listen", "--api", "--s3", "--metrics"] {
        args.extend([port.to_owned(), "127.0.0.1:0".into()]);
    }
    for (name, path) in
        [("--data", folder.join("d")), ("--ready-file", ready_file.clone()), ("--config", yaml)]
    {
        args.extend([name.to_owned(), path.display().to_string()]);
    }
    (args, ready_file)
}

#[test]
fn more_connections_than_open_files_are_refused_at_start_and_the_default_is_fitted() {
    let folder = tempfile::tempdir().unwrap();
    let with_limits = |limits: &str, config: &str| {
        let (args, ready_file) = arguments(folder.path(), config);
        let mut all = vec![limits.to_owned(), product("penstock").display().to_string()];
        all.extend(args);
        let log = folder.path().join("log");
        let _ = fs::remove_file(&log);
        (Running::start(Path::new("prlimit"), &all, &[], &log).unwrap(), ready_file)
    };

    let (mut process, _) = with_limits("--nofile=1024:4096", "edge: {max_connections: 5000}\n");
    let status = process.wait(Duration::from_secs(20)).unwrap();
    assert_ne!(status.code(), Some(0));
    let log = process.log();
    for part in ["5000 connections", "RLIMIT_NOFILE", "4096", "ulimit -n", "max_connections to"] {
        assert!(log.contains(part), "{part} is not named in: {log}");
    }

    // The soft limit is raised to what is needed, and the default becomes what fits under the hard one.
    let (mut process, ready_file) = with_limits("--nofile=1024:4096", "{}\n");
    let ready = wait_ready(&mut process, &ready_file).unwrap();
    let page = http::metrics(ready["metrics"].as_str().unwrap()).unwrap();
    let most = page["penstock_edge_limit{limit=\"max_connections\"}"];
    assert!((2000.0..4096.0).contains(&most), "{most}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let files = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("4096"), "{files}");
    assert!(process.log().contains("for want of open files"), "{}", process.log());
}

#[test]
fn egress_caps_hold_are_shared_fairly_and_cost_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(film(), folder.path().join("film.flv")).unwrap();
    let server = Standalone::with(Options {
        media: Some(folder.path().to_owned()),
        config: Some("edge: {egress_bytes_per_second: 4194304}\n".into()),
        ..Default::default()
    });
    let source = packets::of(film()).unwrap();
    let began = Instant::now();
    let done = tests::parallel(3, vec![0, 1, 2], |n| {
        let to = folder.path().join(format!("{n}.out"));
        let done = players::download(server.rtmp(), "film", &to);
        assert!(matches!(done.code, 0 | 2), "{done:?}");
        assert_eq!(packets::difference(&source, &packets::of(&to).unwrap()), None);
        began.elapsed().as_secs_f64()
    });
    // 24 MiB at 4 MiB a second; kernels' buffers are filled at once, and the machine may be slow, never fast.
    let (first, last) =
        (done.iter().copied().fold(f64::MAX, f64::min), done.iter().copied().fold(0.0, f64::max));
    assert!(last >= 5.0, "{done:?}");
    assert!(first >= 0.6 * last, "one was served before the others: {done:?}");
    assert!(server.metric("penstock_edge_egress_throttled_seconds_total") > 3.0);
}
