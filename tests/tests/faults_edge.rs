//! Faults at the edge's door and within it, with real processes: numbers are those of the reliability list. (27, a session that panics, is beside the
//! edge: it needs a seam no process offers.)
//!
//! After each: bytes of one version only, memory within the budget, nothing left behind, and a well-behaved viewer beside it has
//! noticed nothing.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::crowd::{Crowd, Film, Habit, Plan, Witnesses};
use tests::standalone::{Options, Standalone};
use tests::wire::amf::{self, Value};
use tests::wire::chunk::Chunker;
use tests::wire::handshake::{Kind, c1};
use tests::wire::{Client, PATIENCE};
use tests::{eventually, media, process, scale};

/// A server with this under `edge:`, over the witnesses' film and these.
fn server(edge: &str, films: &[(&Path, &str)]) -> (Standalone, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(media::file("minute.flv"), folder.path().join("minute.flv")).unwrap();
    for (film, name) in films {
        fs::copy(film, folder.path().join(name)).unwrap();
    }
    let options = Options {
        media: Some(folder.path().to_owned()),
        config: Some(format!("edge:\n{edge}")),
        ..Default::default()
    };
    (Standalone::with(options), folder)
}

fn sample(server: &Standalone, name: &str) -> f64 {
    server.metrics().get(name).copied().unwrap_or(0.0)
}

fn refused(server: &Standalone, reason: &str) -> f64 {
    sample(server, &format!("penstock_edge_refused_total{{reason=\"{reason}\"}}"))
}

fn settles(server: &Standalone) {
    eventually("nothing left of the sessions", Duration::from_secs(20), || {
        let left = ["sessions", "playing_streams", "connections"]
            .map(|g| server.metric(&format!("penstock_edge_{g}")));
        (left == [0.0; 3]).then_some(())
    });
}

/// Waits until the server's memory has stopped growing for two seconds; gives it in KiB.
fn memory_at_rest_kib(server: &Standalone) -> u64 {
    let mut last = (server.process.resident_kib(), Instant::now());
    eventually("memory at rest", Duration::from_secs(60), || {
        let now = server.process.resident_kib();
        if now > last.0 + 1024 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(2)).then_some(last.0)
    })
}

#[test]
fn f21_viewers_that_read_nothing_for_hours_hold_their_place_and_no_more_memory_and_may_read_on() {
    let noise = media::noise_film(64);
    let limits = "  cache_bytes: 33554432\n  read_ahead_total_bytes: 33554432\n";
    let (server, _folder) = server(limits, &[(&noise, "noise.flv")]);
    let witnesses = Witnesses::start(server.rtmp());
    // Each at another place of the film, so that no two want the same block; 4 MB/s each if they read.
    let count = 60;
    let stopped = |n: u32| {
        let plan = Plan::watch("noise").buffer_ms(3_600_000).from_ms(n * 1000);
        plan.with(Habit::StopReading(300_000))
    };
    let crowd = Crowd::start(server.rtmp(), (0..count).map(stopped).collect());
    crowd.wait("every window closed", Duration::from_secs(60), |s| s.bytes >= 300_000);
    let before_kib = memory_at_rest_kib(&server);
    let sent = server.metric("penstock_edge_sent_bytes_total");
    // Hours are a matter of what grows by the second: nothing may.
    let hours = Instant::now() + Duration::from_secs(12) * scale(1) as u32;
    while Instant::now() < hours {
        let now_kib = server.process.resident_kib();
        assert!(now_kib < before_kib + (8 << 10), "{before_kib} KiB grew to {now_kib} KiB");
        std::thread::sleep(Duration::from_millis(500));
    }
    let given = server.metric("penstock_edge_sent_bytes_total") - sent;
    assert!(given < 4e6 * scale(1) as f64, "{given} bytes went to viewers that read nothing");
    assert_eq!(crowd.count(|s| s.ended), 0, "an hour is allowed by default");
    // The process itself, the edge's cache, the film in the shield's, and each viewer's window of blocks and batch.
    let budget_kib = (64 << 10) + (32 << 10) + (64 << 10) + u64::from(count) * ((3 << 10) + 256);
    assert!(before_kib < budget_kib, "{before_kib} KiB for {count} stalled viewers, budget {budget_kib} KiB");
    witnesses.reach(20_000);
    crowd.resume();
    crowd.wait("a second more of film", Duration::from_secs(90), |s| s.bytes > 12 << 20 || s.ended);
    let film = Film::of_file(&noise);
    for (n, seen) in (0..).zip(crowd.close()) {
        assert_eq!(seen.broken, None, "viewer {n}");
        let first = film.media().iter().position(|m| m.1 == seen.media[0].1).unwrap();
        let wrong = seen.media.iter().zip(&film.media()[first..]).position(|(a, b)| a.1 != b.1);
        assert_eq!(wrong, None, "viewer {n} was sent something else than the film");
        assert_eq!(film.media()[first].0, n * 1000, "viewer {n}");
    }
    witnesses.noticed_nothing();
    settles(&server);
}

#[test]
fn f22_slow_and_half_handshakes_in_hundreds_leave_room_for_a_viewer_and_then_nothing() {
    let (server, _folder) = server("  handshake_timeout_ms: 4000\n", &[]);
    let witnesses = Witnesses::start(server.rtmp());
    let before = (server.process.resident_kib(), server.process.descriptors());
    let hello = [&[3], &c1(Kind::Simple)[..]].concat();
    let count = scale(300);
    let mut slow: Vec<TcpStream> = (0..count)
        .map(|i| {
            let mut stream = TcpStream::connect(server.rtmp()).unwrap();
            stream.write_all(&hello[..1 + i % 1500]).unwrap();
            stream
        })
        .collect();
    // One byte a second more from each, for as long as the server lets them; a viewer comes in meanwhile.
    let late = Crowd::start(server.rtmp(), vec![Plan::watch("minute")]);
    for second in 0..3 {
        for (i, stream) in slow.iter_mut().enumerate() {
            let at = 1 + i % 1500 + second;
            let _ = stream.write_all(&hello[at..=at]);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    late.wait("media for the viewer that came during it", PATIENCE, |s| s.reached_ms() > 5000);
    let grown_kib = server.process.resident_kib().saturating_sub(before.0);
    assert!(grown_kib < 32 * count as u64 + 8192, "{grown_kib} KiB for {count} half handshakes");
    eventually("all of them ended", Duration::from_secs(20), || {
        (refused(&server, "handshake_timeout") == count as f64).then_some(())
    });
    late.close().iter().for_each(|s| s.is_beginning_of(&Film::of_flv("minute.flv")));
    witnesses.noticed_nothing();
    settles(&server);
    drop(slow);
    eventually("every descriptor given back", PATIENCE, || {
        (server.process.descriptors() <= before.1 + 4).then_some(())
    });
}

/// An MP4 whose moov claims `claim` bytes: all of it there as a hole, or none of it.
fn lying_mp4(path: &Path, claim: u64, there: bool) {
    let mut head = 16u32.to_be_bytes().to_vec();
    head.extend(b"ftypisom\0\0\0\0");
    if claim > u64::from(u32::MAX) {
        head.extend(1u32.to_be_bytes());
        head.extend(b"moov");
        head.extend(claim.to_be_bytes());
    } else {
        head.extend((claim as u32).to_be_bytes());
        head.extend(b"moov");
    }
    // A header box of a track whose sample table says it holds what the claim leaves room for.
    head.extend([0; 64]);
    let mut file = fs::File::create(path).unwrap();
    file.write_all(&head).unwrap();
    if there {
        file.set_len(16 + claim).unwrap();
    }
}

#[test]
fn f23_malformed_chunks_amf_bombs_and_lengths_of_4_gib_end_at_most_their_own_session() {
    let (server, folder) = server("  index_bytes: 8388608\n", &[]);
    let lies = [(500 << 20, true), (500 << 20, false), (7 << 20, true), (5 << 30, false), (u64::MAX, false)];
    for (n, (claim, there)) in lies.into_iter().enumerate() {
        lying_mp4(&folder.path().join(format!("lie-{n}.mp4")), claim, there);
    }
    let witnesses = Witnesses::start(server.rtmp());
    let before_kib = server.process.resident_kib();
    let all = |body: &[u8]| [amf::command("createStream", 5.0, &[]), body.to_vec()].concat();
    let payloads = [
        all(&[3, 0, 1, b'a'].repeat(15_000)),
        all(&[10, 0xff, 0xff, 0xff, 0xff]),
        all(&[8, 0xff, 0xff, 0xff, 0xff]),
        all(&[12, 0xff, 0xff, 0xff, 0xff, b'x']),
        all(&[15, 0xff, 0xff, 0xff, 0xf0, b'<']),
        all(&[17, 9, 0x9f, 0xff, 0xff, 0xff]),
        vec![2, 0xff, 0xff],
    ];
    for round in 0..scale(4) {
        for (n, payload) in payloads.iter().enumerate() {
            let mut peer = Client::connected(server.rtmp());
            for (type_id, stream) in [(18, 0), (15, 1), (17, 0), (20, 0)] {
                peer.send(3, type_id, stream, payload);
            }
            // What can be read is answered (an array's count is a hint only); what can't ends the connection. Nothing hangs.
            peer.command(0, "createStream", 77.0, &[Value::Null]);
            let answered = peer.try_wait(PATIENCE, |m| m.command().is_some_and(|c| c.tx == 77.0)).is_some();
            assert!(answered || peer.is_closed(), "round {round}, payload {n}: neither answered nor closed");
        }
        // Chunk headers that refer to nothing, or claim a chunk of 2 GiB, or a message inside another of its own stream.
        let mut peer = Client::connected(server.rtmp());
        peer.send_raw(&Chunker::basic(3, 900));
        peer.send_raw(&[0; 300]);
        peer.wait_closed(PATIENCE);
        let mut peer = Client::connected(server.rtmp());
        peer.send(2, 1, 0, &0x7fff_ffffu32.to_be_bytes());
        peer.chunker().size = 0x7fff_ffff;
        peer.command(0, "createStream", 9.0, &[Value::Null]);
        assert_eq!(peer.wait_answer(9.0, PATIENCE).0, "_result");
    }
    for n in 0..lies.len() {
        let mut viewer = Client::streaming(server.rtmp());
        viewer.play(1, &format!("mp4:lie-{n}.mp4"), &[0.0]);
        viewer.wait_status("NetStream.Play.FileStructureInvalid");
        assert!(!viewer.is_closed());
    }
    let grown_kib = memory_at_rest_kib(&server).saturating_sub(before_kib);
    assert!(grown_kib < 96 << 10, "{grown_kib} KiB more after claims of gigabytes");
    let read = server.metric("penstock_edge_fetched_bytes_total");
    assert!(read < f64::from(64 << 20), "{read} bytes were read for indexes that are none");
    witnesses.noticed_nothing();
    settles(&server);
}

#[test]
fn f24_a_hundred_seeks_a_second_cost_no_more_fetches_than_the_film_has_blocks() {
    let noise = media::noise_film(64);
    let (server, _folder) = server("  cache_bytes: 134217728\n", &[(&noise, "noise.flv")]);
    let witnesses = Witnesses::start(server.rtmp());
    let sent = 600 * scale(1) as u64;
    let storm = Habit::Seek { count: sent, per_second: 100, within_ms: 60_000 };
    let crowd = Crowd::start(server.rtmp(), Plan::watch("noise").buffer_ms(500).with(storm).times(6));
    crowd.wait("the storm", Duration::from_secs(40) * scale(1) as u32, |s| s.seeks.0 >= sent || s.ended);
    assert_eq!(crowd.count(|s| s.ended), 0, "a storm is no reason to close");
    crowd.wait("what the last seek asked for", PATIENCE, |s| s.has_obeyed(sent));
    // A seek each tenth of a second is obeyed, of a hundred a second: the others are replaced by later ones.
    let seen = crowd.seen();
    for s in &seen {
        assert!(s.seeks.1 * 4 < s.seeks.0, "{:?} seeks sent and obeyed", s.seeks);
    }
    assert!(server.metric("penstock_edge_deferred_seeks_total") > 1000.0);
    let film = Film::of_file(&noise);
    crowd.close().iter().for_each(|s| s.is_of(&film));
    let fetched = server.metric("penstock_edge_fetched_bytes_total");
    let once = (fs::metadata(&noise).unwrap().len() + (4 << 20)) as f64;
    assert!(
        fetched <= once,
        "{fetched} bytes were fetched of a film of {once}, though all of it fits the cache"
    );
    witnesses.noticed_nothing();
    settles(&server);
}

#[test]
fn f25_a_flood_past_the_limits_of_connections_is_turned_away_and_nobody_inside_notices() {
    let (server, _folder) = server("  max_connections: 100\n  max_connections_per_address: 80\n", &[]);
    let witnesses = Witnesses::start(server.rtmp());
    let begun = Instant::now();
    let count = scale(1000);
    let flood = Crowd::start(server.rtmp(), Plan::watch("minute").with(Habit::Idle).times(count));
    let places = 78;
    flood.wait_for(count - places, "those without a place turned away", Duration::from_secs(60), |s| s.ended);
    assert_eq!(flood.count(|s| s.connected && !s.ended), places, "after {:?}", begun.elapsed());
    let told = refused(&server, "max_connections_per_address") + refused(&server, "max_connections");
    assert_eq!(told, (count - places) as f64);
    drop(flood);
    eventually("their places free", PATIENCE, || {
        (server.metric("penstock_edge_connections") == 2.0).then_some(())
    });
    Client::streaming(server.rtmp());
    witnesses.noticed_nothing();
    settles(&server);
}

#[test]
fn f26_two_thousand_sessions_are_told_and_closed_when_the_server_stops() {
    let count = scale(2000).min(10_000);
    let descriptors = process::raise_descriptors();
    assert!(
        descriptors > count as u64 + 500,
        "{count} sessions need more descriptors than the {descriptors} allowed (ulimit -Hn)"
    );
    let room = count + 100;
    let limits = format!("  max_connections: {room}\n  max_connections_per_address: {room}\n");
    let (mut server, _folder) = server(&limits, &[]);
    let playing = Crowd::start(server.rtmp(), Plan::watch("minute").times(50));
    let idle = Crowd::start(server.rtmp(), Plan::watch("minute").with(Habit::Idle).times(count - 50));
    idle.wait("every session", Duration::from_secs(120), |s| s.connected);
    playing.wait("media", Duration::from_secs(30), |s| s.reached_ms() > 2000);
    assert_eq!(server.metric("penstock_edge_sessions"), count as f64);
    let begun = Instant::now();
    server.process.signal("TERM");
    let status = server.process.wait(Duration::from_secs(25)).unwrap();
    assert_eq!(status.code(), Some(0), "{status} after {:?}", begun.elapsed());
    for crowd in [idle, playing] {
        crowd.wait("the close", PATIENCE, |s| s.ended);
        for seen in crowd.close() {
            assert!(seen.has("NetConnection.Connect.Closed"), "{:?}", seen.codes);
            assert_eq!(seen.broken, None);
            seen.is_beginning_of(&Film::of_flv("minute.flv"));
        }
    }
    // One connect and one disconnect each, with the bytes it was sent.
    let log = server.log();
    let lines = |what: &str| log.lines().filter(|l| l.contains(what)).count();
    assert_eq!(lines(": connect session="), count);
    assert_eq!(lines(": disconnect session="), count);
    assert_eq!(lines("end=\"the edge is shutting down\""), count);
}
