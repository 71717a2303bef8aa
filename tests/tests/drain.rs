//! SIGTERM on each kind of box: who is still served, who is refused and how, what viewers are told, and that it ends with 0.

use std::time::{Duration, Instant};

use tests::cluster::{Cluster, Node, PUBLIC, Setup};
use tests::standalone::{Options, Standalone};
use tests::wire::amf::Value;
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{eventually, http, media, packets, players, scale};

const SLOW: Duration = Duration::from_secs(40);

/// A cluster in which both edges play. (Boxes are ready with the first config they hear of; the distributions, and shields that
/// are ready too, may be news that is still on its way.)
fn cluster(edge: &str) -> Cluster {
    let cluster = Cluster::start(Setup { edge: edge.into(), ..Default::default() });
    for edge in 0..2 {
        eventually("a play", SLOW, || {
            let mut client = Client::open(cluster.rtmp(edge));
            client.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
            if client.wait_answer(1.0, PATIENCE).0 != "_result" {
                return None;
            }
            client.create_stream();
            client.play(1, "clip", &[0.0]);
            client
                .try_wait(PATIENCE, |m| m.is_picture() || m.status_code() == Some("NetStream.Failed".into()))
                .filter(Message::is_picture)
        });
    }
    cluster
}

fn streaming(addr: &str) -> Client {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    assert_eq!(client.create_stream(), 1);
    client
}

fn watch(addr: &str) -> Client {
    let mut client = streaming(addr);
    client.set_buffer(1, 1000);
    client.play(1, "mp4:film.mp4", &[0.0]);
    let first = client.wait("pictures or an error", Duration::from_secs(30), |m| {
        m.is_picture() || m.status().is_some_and(|s| s.field("level") == "error")
    });
    assert!(first.is_picture(), "{first}");
    client
}

fn newest(client: &Client) -> u32 {
    client.messages().iter().rev().find(|m| m.is_picture()).map_or(0, |m| m.timestamp)
}

fn wait_phase(node: &Node, phase: &str) {
    eventually(phase, SLOW, || {
        let gauge = format!("penstock_edge_drain_phase{{phase=\"{phase}\"}}");
        (http::metrics(&node.metrics).ok()?.get(&gauge) == Some(&1.0)).then_some(())
    });
}

/// The line of `node` in what control knows, if it knows it.
fn known(cluster: &Cluster, node: &str) -> Option<String> {
    let told = cluster.control_command(&["nodes"]);
    assert_eq!(told.code, 0, "{told:?}");
    told.stdout.lines().find(|line| line.split_whitespace().any(|word| word == node)).map(str::to_owned)
}

fn told_goodbye(client: &mut Client) {
    let info = client.wait_status("NetConnection.Connect.Closed");
    assert_eq!(info.field("level"), "status");
    client.wait("close", PATIENCE, |m| m.command().is_some_and(|c| c.name == "close"));
    client.wait_closed(PATIENCE);
}

#[test]
fn f26_an_edge_drains_in_phases_that_balancers_players_and_control_can_follow() {
    let edge = "settle_ms: 5000\ndrain_ms: 12000\nsession_bytes_per_second: 600000";
    let mut cluster = cluster(edge);
    let addr = cluster.rtmp(0).to_owned();
    let mut watchers: Vec<Client> = (0..3).map(|_| watch(&addr)).collect();
    let mut idle: Vec<Client> = (0..scale(100)).map(|_| streaming(&addr)).collect();
    assert!(known(&cluster, "edge-1").is_some_and(|line| line.contains("ready")));

    cluster.edges[0].process.signal("TERM");
    let began = Instant::now();

    // Settling: balancers are sent away, viewers that come none the less are served.
    eventually("/readyz", PATIENCE, || {
        http::get(&cluster.edges[0].metrics, "/readyz").is_ok_and(|a| a.status == 503).then_some(())
    });
    wait_phase(&cluster.edges[0], "settling");
    watchers.push(watch(&addr));
    // A download that lasts into the next phase: 5.6 MB at 0.6 MB a second.
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    let download = std::thread::spawn({
        let (addr, to) = (addr.clone(), to.clone());
        move || {
            let (url, tc) = (format!("rtmp://{addr}/cfx/st"), format!("rtmp://{PUBLIC}/cfx/st"));
            let args = ["-q", "-r", &url, "-t", &tc, "-a", "cfx/st", "-y", "mp4:film.mp4", "-o"];
            players::run(60, "rtmpdump", &[&args[..], &[to.to_str().unwrap()]].concat())
        }
    });
    assert!(began.elapsed() < Duration::from_secs(5), "too slow a machine to see the settling phase");

    // Draining: newcomers are told why, those who are here go on, also to another play.
    wait_phase(&cluster.edges[0], "draining");
    assert!(known(&cluster, "edge-1").is_some_and(|line| line.contains("draining")));
    let before = newest(&watchers[0]);
    let mut late = Client::open(&addr);
    late.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
    let (name, args) = late.wait_answer(1.0, PATIENCE);
    let info = args.get(1).unwrap();
    assert_eq!((name.as_str(), info.field("code")), ("_error", "NetConnection.Connect.Rejected"));
    assert_eq!(info.get("application").unwrap().field("message"), "ServerDraining");
    late.wait("close", PATIENCE, |m| m.command().is_some_and(|c| c.name == "close"));
    late.wait_closed(PATIENCE);
    idle[0].play(1, "clip", &[0.0]);
    idle[0].wait("pictures of a play that began while draining", PATIENCE, Message::is_picture);
    eventually("the film to go on", PATIENCE, || (newest(&watchers[0]) > before + 1000).then_some(()));
    let done = download.join().unwrap();
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    assert_eq!(
        packets::difference(&packets::of(&media::file("film.mp4")).unwrap(), &packets::of(&to).unwrap()),
        None
    );
    assert!(began.elapsed() > Duration::from_secs(6), "the download ended before the drain began");

    // Closing: everybody is told, the process ends well, control knows at once.
    let status = cluster.edges[0].process.wait(SLOW).unwrap();
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took >= Duration::from_secs(16) && took < Duration::from_secs(30), "{took:?}");
    watchers.iter_mut().chain(idle.iter_mut()).for_each(told_goodbye);
    assert_eq!(known(&cluster, "edge-1"), None);
    assert!(known(&cluster, "edge-2").is_some());
    let log = cluster.edges[0].process.log();
    for phase in ["settling", "draining", "closing", "gone"] {
        assert!(log.contains(&format!("phase=\"{phase}\"")), "{phase} is not in the log");
    }
}

#[test]
fn an_edge_without_sessions_does_not_wait_and_a_second_signal_hurries_one_that_has() {
    let edge = "settle_ms: 0\ndrain_ms: 60000";
    let mut cluster = cluster(edge);
    cluster.edges[1].process.signal("TERM");
    let status = cluster.edges[1].process.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(0));

    let mut client = watch(cluster.rtmp(0));
    cluster.edges[0].process.signal("TERM");
    wait_phase(&cluster.edges[0], "draining");
    cluster.edges[0].process.signal("TERM");
    let status = cluster.edges[0].process.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(0));
    told_goodbye(&mut client);
    assert_eq!(known(&cluster, "edge-1").or(known(&cluster, "edge-2")), None);
}

#[test]
fn a_shield_that_stops_first_lets_edges_move_away_and_no_play_notices() {
    let small = "cache_bytes: 8388608\nread_ahead_seconds: 1\nread_ahead_total_bytes: 4194304";
    let mut cluster = cluster(small);
    let addr = cluster.rtmp(0).to_owned();
    let watchers: Vec<Client> = (0..4).map(|_| watch(&addr)).collect();
    cluster.shields[0].process.signal("TERM");
    eventually("the shield draining in control's list", Duration::from_secs(10), || {
        known(&cluster, "shield-1").filter(|line| line.contains("draining"))
    });
    assert_eq!(http::get(&cluster.shields[0].metrics, "/readyz").unwrap().status, 503);
    // Cold reads in the middle of it.
    let folder = tempfile::tempdir().unwrap();
    for (n, name) in ["film", "minute", "clip"].into_iter().enumerate() {
        let to = folder.path().join(format!("{n}.flv"));
        let (url, tc) = (format!("rtmp://{addr}/cfx/st"), format!("rtmp://{PUBLIC}/cfx/st"));
        let args = ["-q", "-r", &url, "-t", &tc, "-a", "cfx/st", "-y", name, "-o", to.to_str().unwrap()];
        let done = players::run(60, "rtmpdump", &args);
        assert!(matches!(done.code, 0 | 2), "{done:?}");
        let source = packets::of(&media::file(&format!("{name}.flv"))).unwrap();
        assert_eq!(packets::difference(&source, &packets::of(&to).unwrap()), None);
    }
    let status = cluster.shields[0].process.wait(Duration::from_secs(30)).unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(known(&cluster, "shield-1"), None);
    cluster.wait_shields(1);
    for client in &watchers {
        let at = newest(client);
        eventually("the film to go on", PATIENCE, || (newest(client) > at + 1000).then_some(()));
        assert!(client.broken().is_none() && !client.is_closed());
    }
}

#[test]
fn control_stops_cleanly_and_edges_serve_on() {
    let mut cluster = cluster("");
    let client = watch(cluster.rtmp(0));
    cluster.control.process.signal("TERM");
    let status = cluster.control.process.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(0), "{}", cluster.control.process.log());
    let at = newest(&client);
    eventually("the film to go on", PATIENCE, || (newest(&client) > at + 1000).then_some(()));
    drop(watch(cluster.rtmp(1)));
}

#[test]
fn standalone_stops_at_once_unless_it_is_told_to_drain() {
    let mut server = Standalone::start();
    let mut client = Client::streaming(server.rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "minute", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    let mut paused = Client::streaming(server.rtmp());
    paused.play(1, "minute", &[0.0]);
    paused.wait("pictures", PATIENCE, Message::is_picture);
    paused.command(1, "pause", 0.0, &[Value::Null, Value::Boolean(true), Value::Number(0.0)]);
    paused.wait_status("NetStream.Pause.Notify");
    server.process.signal("TERM");
    assert_eq!(server.process.wait(Duration::from_secs(15)).unwrap().code(), Some(0));
    told_goodbye(&mut client);
    told_goodbye(&mut paused);

    let config = Some("edge: {drain_ms: 3000}\n".into());
    let mut server = Standalone::with(Options { config, ..Default::default() });
    let mut client = Client::streaming(server.rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "minute", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    let began = Instant::now();
    server.process.signal("TERM");
    assert_eq!(server.process.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    told_goodbye(&mut client);
}
