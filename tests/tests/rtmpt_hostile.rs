//! Tunnels and those who mean harm: each is refused clearly, no session is harmed, and a viewer beside them notices nothing.

use std::time::Duration;

use tests::cluster::{Cluster, Setup};
use tests::standalone::{Options, Standalone};
use tests::tunnel::{Bridge, Poster};
use tests::viewer::{Film, Plan, Viewer};
use tests::wire::chunk::Message;
use tests::wire::handshake::{self, Kind};
use tests::wire::{Client, PATIENCE};
use tests::{eventually, scale};

fn greeting() -> Vec<u8> {
    [&[3], handshake::c1(Kind::Simple).as_slice()].concat()
}

/// A server with a film of 500 kb/s, and a viewer that watches it through a tunnel.
struct Scene {
    server: Standalone,
    viewer: Viewer,
    _bridge: Bridge,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn start(tunnel: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let film = Film::noise(7, 300, 500).put(folder.path(), "film");
        let config = Some(format!("edge:\n  tunnel: {{{tunnel}}}\n"));
        let options = Options { media: Some(folder.path().into()), config, ..Default::default() };
        let server = Standalone::with(options);
        let bridge = Bridge::to(server.rtmp());
        let viewer = Plan::new(bridge.addr(), server.domain(), "film", &film)
            .buffer(4000)
            .at_most(Duration::from_secs(250))
            .start();
        viewer.wait_time(6000, Duration::from_secs(20));
        Self { server, viewer, _bridge: bridge, _folder: folder }
    }

    fn refused(&self, reason: &str) -> f64 {
        let name = format!("penstock_edge_refused_total{{reason=\"{reason}\"}}");
        self.server.metrics().get(&name).copied().unwrap_or_default()
    }

    /// Ends it: the viewer saw every byte in time.
    fn end(self) {
        let seen = self.viewer.hang_up();
        seen.honest("the viewer beside").no_stall_over(Duration::from_secs(1), "the viewer beside");
        assert_eq!(self.server.metric("penstock_edge_session_panics_total"), 0.0);
    }
}

#[test]
fn smuggling_forms_get_a_4xx_and_the_end_of_their_connection_and_the_session_they_name_goes_on() {
    let scene = Scene::start("body_bytes: 8192");
    let mut owner = Poster::to(scene.server.rtmp());
    let id = owner.open();
    let send = format!("POST /send/{id}/0 HTTP/1.1\r\nHost: e\r\n");
    let hidden = format!("POST /close/{id}/1 HTTP/1.1\r\nHost: e\r\nContent-Length: 1\r\n\r\n\0");
    let huge = "x".repeat(20_000);
    let many: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    let forms: [(&str, String, u16); 17] = [
        (
            "conflicting lengths",
            format!("{send}Content-Length: 1\r\nContent-Length: 9\r\n\r\n\0{hidden}"),
            400,
        ),
        ("conflicting lengths in a list", format!("{send}Content-Length: 1, 9\r\n\r\n\0{hidden}"), 400),
        ("a signed length", format!("{send}Content-Length: +1\r\n\r\n\0{hidden}"), 400),
        ("a length past all numbers", format!("{send}Content-Length: 99999999999999999999999\r\n\r\n"), 400),
        (
            "a chunked body",
            format!("{send}Transfer-Encoding: chunked\r\n\r\n1\r\n\0\r\n0\r\n\r\n{hidden}"),
            400,
        ),
        (
            "a chunked body with a length",
            format!("{send}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
            400,
        ),
        (
            "a coding that looks like chunked",
            format!("{send}Content-Length: 1\r\nTransfer-Encoding: xchunked\r\n\r\n\0{hidden}"),
            400,
        ),
        ("a folded header", format!("{send}X: a\r\n b\r\nContent-Length: 1\r\n\r\n\0{hidden}"), 400),
        ("a space before the colon", format!("{send}Content-Length : 1\r\n\r\n\0{hidden}"), 400),
        ("HTTP/1.0", format!("{}Content-Length: 1\r\n\r\n\0{hidden}", send.replace("1.1", "1.0")), 400),
        ("no length", format!("{send}\r\n{hidden}"), 411),
        ("another method", format!("GET /idle/{id}/0 HTTP/1.1\r\nHost: e\r\n\r\n{hidden}"), 405),
        ("PUT", format!("{}Content-Length: 1\r\n\r\n\0{hidden}", send.replace("POST", "PUT")), 405),
        ("a giant header", format!("{send}X: {huge}\r\n\r\n"), 431),
        ("many headers", format!("{send}{many}Content-Length: 1\r\n\r\n\0"), 431),
        ("a body over the limit", format!("{send}Content-Length: 9000\r\n\r\n{}", "x".repeat(9000)), 413),
        (
            "a path that goes on",
            format!("{}Content-Length: 1\r\n\r\n\0", send.replace("/0 ", "/0/../1 ")),
            400,
        ),
    ];
    let before = scene.server.metric("penstock_edge_refused_total");
    for (name, bytes, status) in &forms {
        let mut stranger = Poster::to(scene.server.rtmp());
        stranger.write(bytes.as_bytes());
        let answer = stranger.read().unwrap_or_else(|e| panic!("{name}: {e:#}"));
        assert_eq!(answer.status, *status, "{name}: {answer:?}");
        assert!(stranger.is_closed(PATIENCE), "{name}: the connection goes on");
    }
    let metered = scene.server.metric("penstock_edge_refused_total") - before;
    assert!(metered >= forms.len() as f64, "{metered} of {} were metered", forms.len());
    // None of it was taken, nor what was hidden behind it. Equal headers given twice are.
    let greeting = greeting();
    let mut request = format!(
        "{send}Content-Length: {0}\r\nContent-Length: {0}\r\nContent-Type: application/x-fcs\r\nContent-Type: application/x-fcs\r\n\r\n",
        greeting.len()
    )
    .into_bytes();
    request.extend(&greeting);
    owner.write(&request);
    let answer = owner.read().unwrap();
    assert!(answer.status == 200 && answer.body.len() > 3000, "{answer:?}");
    scene.end();
}

#[test]
fn guessed_ids_are_refused_counted_and_limited() {
    let scene = Scene::start("unknown_per_minute: 30");
    let mut statuses = Vec::new();
    for n in 0..60 {
        let mut stranger = Poster::to(scene.server.rtmp());
        let kind = ["send", "idle", "close"][n % 3];
        let answer = stranger.post(&format!("/{kind}/{n:016}/{n}"), &greeting());
        assert!(answer.closes() && !answer.body.is_empty(), "{answer:?}");
        statuses.push(answer.status);
    }
    assert!(statuses[..30].iter().all(|status| *status == 404), "{statuses:?}");
    assert!(statuses[31..].iter().all(|status| *status == 429), "{statuses:?}");
    assert!(scene.refused("tunnel_unknown") >= 30.0 && scene.refused("tunnel_guesses") >= 29.0);
    // Who knows an id is served from there as ever.
    let mut owner = Poster::to(scene.server.rtmp());
    let id = owner.open();
    assert_eq!(owner.post(&format!("/send/{id}/0"), &greeting()).status, 200);
    scene.end();
}

#[test]
fn f22_sequence_jumps_floods_and_replays_get_a_4xx_and_the_session_goes_on() {
    let scene = Scene::start("window: 4, replays: 3");
    let addr = scene.server.rtmp();
    let mut owner = Poster::to(addr);
    let id = owner.open();
    let first = owner.post(&format!("/send/{id}/0"), &greeting());
    assert!(first.body.len() > 3000);
    for n in 0..scale(100) as u64 {
        let number = 6 + n * 1_000_003;
        let answer = Poster::to(addr).post(&format!("/send/{id}/{number}"), &[0; 1000]);
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    let replays: Vec<_> =
        (0..10).map(|_| Poster::to(addr).post(&format!("/send/{id}/0"), &greeting())).collect();
    assert!(replays[..3].iter().all(|answer| answer.body == first.body));
    assert!(replays[3..].iter().all(|answer| answer.status == 429));
    assert!(scene.refused("tunnel_sequence") >= 100.0 && scene.refused("tunnel_replays") >= 7.0);
    let answer = owner.post(&format!("/idle/{id}/1"), &[0]);
    assert_eq!((answer.status, &answer.body[..]), (200, &[1][..]));
    scene.end();
}

#[test]
fn f22_half_sessions_and_gaps_that_never_fill_are_ended() {
    let scene = Scene::start("gap_ms: 500");
    let addr = scene.server.rtmp();
    let count = scale(50);
    let mut early: Vec<(String, Poster)> = (0..count)
        .map(|_| {
            let mut poster = Poster::to(addr);
            let id = poster.open();
            poster.send(&format!("/send/{id}/2"), &[0; 1000]);
            (id, poster)
        })
        .collect();
    // Sessions of which nothing is heard after the open.
    let silent: Vec<Poster> = (0..count)
        .map(|_| {
            let mut poster = Poster::to(addr);
            poster.open();
            poster
        })
        .collect();
    for (id, poster) in &mut early {
        let answer = poster.read().unwrap();
        assert!(answer.status == 410 && answer.closes(), "{answer:?}");
        let late = Poster::to(addr).post(&format!("/send/{id}/0"), &greeting());
        assert!(matches!(late.status, 404 | 410), "{late:?}");
    }
    // The time for a handshake ends those too; the viewer's is the one that is left.
    eventually("the end of half sessions", Duration::from_secs(30), || {
        (scene.server.metric("penstock_edge_tunnel_sessions") == 1.0).then_some(())
    });
    drop(silent);
    assert!(scene.refused("tunnel_gap") >= count as f64);
    scene.end();
}

#[test]
fn half_closed_and_cut_connections_harm_no_session() {
    let scene = Scene::start("");
    let addr = scene.server.rtmp();
    for _ in 0..scale(30) {
        let mut owner = Poster::to(addr);
        let id = owner.open();
        owner.post(&format!("/send/{id}/0"), &greeting());
        // An idle that is held when its connection says it will send no more.
        let mut half = Poster::to(addr);
        half.send(&format!("/idle/{id}/1"), &[0]);
        half.half_close();
        // A request of which half comes.
        let mut cut = Poster::to(addr);
        let request = Poster::request(&format!("/send/{id}/2"), &[0; 1000]);
        cut.write(&request[..request.len() - 500]);
        cut.half_close();
        let answer = owner.post(&format!("/idle/{id}/1"), &[0]);
        assert_eq!((answer.status, &answer.body[..]), (200, &[1][..]), "{answer:?}");
        assert!(half.is_closed(PATIENCE) || half.is_closed(PATIENCE));
        owner.post(&format!("/close/{id}/2"), &[0]);
    }
    scene.end();
}

#[test]
fn bodies_that_come_slowly_are_charged_and_those_that_say_nothing_are_short() {
    // Nobody plays beside: the account moves by these bodies alone.
    let server = Standalone::start();
    let mut owner = Poster::to(server.rtmp());
    let id = owner.open();
    // A stranger's long bodies are not read: ident2 and open say nothing.
    for path in ["/fcs/ident2", "/open/1"] {
        let mut stranger = Poster::to(server.rtmp());
        assert_eq!(stranger.post(path, &[0; 2000]).status, 413, "{path}");
    }
    let charged = || {
        let metrics = server.metrics();
        metrics.get("penstock_edge_memory_bytes{account=\"sessions_queues\"}").copied().unwrap_or_default()
    };
    let before = charged();
    let halves: Vec<Poster> = (0..20)
        .map(|_| {
            let mut poster = Poster::to(server.rtmp());
            let request = Poster::request(&format!("/send/{id}/0"), &[0; 60_000]);
            poster.write(&request[..request.len() - 1]);
            poster
        })
        .collect();
    eventually("their bytes in the account", PATIENCE, || {
        (charged() - before >= 20.0 * 60_000.0).then_some(())
    });
    drop(halves);
    eventually("the account without them", PATIENCE, || (charged() - before < 60_000.0).then_some(()));
}

#[test]
fn sessions_have_limits_of_their_own() {
    let scene = Scene::start("max_sessions_per_address: 5");
    let addr = scene.server.rtmp();
    let mut poster = Poster::to(addr);
    let ids: Vec<String> = (0..4).map(|_| poster.open()).collect();
    let answer = Poster::to(addr).post("/open/1", &[0]);
    assert!(answer.status == 503 && answer.closes() && !answer.body.is_empty(), "{answer:?}");
    assert!(scene.refused("tunnel_sessions_per_address") >= 1.0);
    poster.post(&format!("/close/{}/0", ids[0]), &[0]);
    eventually("a place", PATIENCE, || (Poster::to(addr).post("/open/1", &[0]).status == 200).then_some(()));
    scene.end();
}

#[test]
fn f28_a_player_that_hops_to_another_edge_is_told_that_its_session_is_unknown_there() {
    let cluster =
        Cluster::start(Setup { edge: "tunnel: {public_address: 192.0.2.1}".into(), ..Default::default() });
    let edges: Vec<&str> = cluster.edges.iter().map(|edge| edge.addr.as_str()).collect();
    let mut here = Poster::to(edges[0]);
    // Players that ask first are pinned.
    assert_eq!(here.post("/fcs/ident2", &[0]).body, b"192.0.2.1");
    let id = here.open();
    assert!(here.post(&format!("/send/{id}/0"), &greeting()).body.len() > 3000);
    for kind in ["idle", "send", "close"] {
        let answer = Poster::to(edges[1]).post(&format!("/{kind}/{id}/1"), &[0]);
        assert!(answer.status == 404 && answer.closes(), "{answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains("no such session"), "{answer:?}");
    }
    // Where it is known, nothing has happened; and the other edge serves its own.
    assert_eq!(here.post(&format!("/idle/{id}/1"), &[0]).body, [1]);
    let bridge = Bridge::to(edges[1]);
    let mut client = Client::open(bridge.addr());
    client.connect("cfx/st", &format!("rtmp://{}/cfx/st", tests::cluster::PUBLIC), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    assert_eq!(client.create_stream(), 1);
    client.play(1, "clip", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
}

#[test]
fn s11_the_viewer_s_address_reaches_the_session_through_a_proxy_header() {
    let config = Some("edge:\n  proxy_protocol_from: ['127.0.0.0/8']\n".to_owned());
    let server = Standalone::with(Options { config, ..Default::default() });
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 77, 192, 0, 2, 2, 0x12, 0x34, 0x07, 0x8f]);
    let mut poster = Poster::to(server.rtmp());
    poster.write(&header);
    let id = poster.open();
    poster.post(&format!("/close/{id}/0"), &[0]);
    eventually("the viewer's address in the log", PATIENCE, || {
        server.log().contains("192.0.2.77").then_some(())
    });
}
