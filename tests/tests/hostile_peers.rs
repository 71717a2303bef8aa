//! Peers that mean harm, one kind a test, each beside well-behaved viewers on the same edge: the limit they meet moves its metric, they get their
//! error, and the viewers see no stall. What single malformed messages do to their own session is in `hostile.rs`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::crowd::{Crowd, Film, Habit, Plan, Witnesses};
use tests::standalone::{Options, Standalone};
use tests::wire::amf::{self, Value};
use tests::wire::chunk::Chunker;
use tests::wire::handshake::{Kind, PACKET, c1};
use tests::wire::{Client, PATIENCE};
use tests::{eventually, media, scale};

/// A server with these limits, and viewers who watch it.
fn attacked(limits: &str) -> (Standalone, Witnesses) {
    let config = Some(format!("edge:\n{limits}"));
    let server = Standalone::with(Options { config, ..Default::default() });
    let witnesses = Witnesses::start(server.rtmp());
    (server, witnesses)
}

/// How often a connection was refused or ended for that reason.
fn refused(server: &Standalone, reason: &str) -> f64 {
    let name = format!("penstock_edge_refused_total{{reason=\"{reason}\"}}");
    server.metrics().get(&name).copied().unwrap_or(0.0)
}

/// Ends the attack: the viewers noticed nothing, and nothing of the peers stays behind.
fn over(server: &Standalone, witnesses: Witnesses) {
    witnesses.noticed_nothing();
    eventually("no session and no connection left", Duration::from_secs(20), || {
        let left = ["sessions", "playing_streams", "connections"]
            .map(|g| server.metric(&format!("penstock_edge_{g}")));
        (left == [0.0; 3]).then_some(())
    });
}

/// Whether the server has closed this connection, which sends us nothing more.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

fn all_closed(peers: &mut [TcpStream], within: Duration) {
    eventually("every peer's connection closed", within, || peers.iter_mut().all(is_closed).then_some(()));
}

#[test]
fn claims_of_sixteen_megabytes_are_skipped_counted_and_hold_no_memory() {
    let (server, witnesses) = attacked("  message_bytes: 65536\n");
    let before_kib = server.process.resident_kib();
    let mut peers: Vec<Client> = (0..scale(30)).map(|_| Client::connected(server.rtmp())).collect();
    let claims = 40;
    for peer in &mut peers {
        for csid in 3..3 + claims {
            peer.send_raw(&Chunker::header(csid, 0, 0xff_ffff, 20, 0));
            peer.send_raw(&[2; 128]);
        }
    }
    let claimed = (claims as usize * peers.len()) as f64;
    eventually("every claim counted", PATIENCE, || {
        (server.metric("penstock_edge_oversized_messages_total") == claimed).then_some(())
    });
    let grown_kib = server.process.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 48 << 10, "{grown_kib} KiB more for {claimed} claims");
    // Such a message is read over; the connection is answered as before.
    peers.iter_mut().for_each(|peer| assert_eq!(peer.create_stream(), 1));
    drop(peers);
    over(&server, witnesses);
}

#[test]
fn sixty_five_thousand_chunk_streams_end_their_connection_at_the_limit() {
    let (server, witnesses) = attacked("");
    let peers = scale(10);
    for _ in 0..peers {
        let mut peer = Client::connected(server.rtmp());
        for csid in (64..65_600).step_by(64) {
            let many: Vec<u8> = (csid..csid + 64)
                .flat_map(|csid| [Chunker::header(csid, 0, 300, 20, 0), vec![2; 128]].concat())
                .collect();
            peer.send_raw(&many);
        }
        peer.wait_closed(PATIENCE);
    }
    eventually("the limit's metric", PATIENCE, || {
        (refused(&server, "chunk_streams") == peers as f64).then_some(())
    });
    over(&server, witnesses);
}

#[test]
fn amf_bombs_end_their_connection_at_the_limit() {
    let nested = |marker: &[u8]| [amf::command("createStream", 5.0, &[]), marker.repeat(12_000)].concat();
    // References to references: what one names is the object before, twice.
    let mut doubling = amf::command("createStream", 5.0, &[]);
    for n in 0..200u16 {
        doubling.extend([3, 0, 1, b'a', 7]);
        doubling.extend(n.saturating_sub(1).to_be_bytes());
        doubling.extend([0, 1, b'b', 7]);
        doubling.extend(n.saturating_sub(1).to_be_bytes());
        doubling.extend([0, 0, 9]);
    }
    let bombs = [nested(&[3, 0, 1, b'a']), nested(&[10, 0, 0, 0, 1]), nested(&[5]), doubling];
    let (server, witnesses) = attacked("");
    let mut ended = 0.0;
    for round in 0..scale(5) {
        for (bomb, payload) in bombs.iter().enumerate() {
            let mut peer = Client::connected(server.rtmp());
            peer.send(3, 20, 0, payload);
            peer.wait_closed(PATIENCE);
            ended += 1.0;
            assert!(round < 100_000 && bomb < bombs.len());
        }
    }
    eventually("the limit's metric", PATIENCE, || {
        (refused(&server, "amf_depth") + refused(&server, "amf_values") == ended).then_some(())
    });
    assert!(refused(&server, "amf_depth") > 0.0 && refused(&server, "amf_values") > 0.0);
    over(&server, witnesses);
}

#[test]
fn half_handshakes_are_closed_when_their_time_is_over() {
    let (server, witnesses) = attacked("  handshake_timeout_ms: 2000\n  connect_timeout_ms: 1000\n");
    let hello = [&[3], &c1(Kind::Simple)[..], &[0; PACKET]].concat();
    let cuts = [1, 700, 1 + PACKET, 2 * PACKET];
    let begun = Instant::now();
    let each = scale(30);
    let mut peers = Vec::new();
    for cut in cuts {
        for _ in 0..each {
            let mut peer = TcpStream::connect(server.rtmp()).unwrap();
            peer.write_all(&hello[..cut]).unwrap();
            peers.push(peer);
        }
    }
    // Those who say nothing at all, and those who shake hands and then don't connect.
    let mut mute: Vec<_> = (0..each).map(|_| TcpStream::connect(server.rtmp()).unwrap()).collect();
    let strangers: Vec<_> = (0..each).map(|_| Client::open(server.rtmp())).collect();
    assert!(!peers.iter_mut().any(is_closed) || begun.elapsed() > Duration::from_secs(2), "closed too early");
    all_closed(&mut peers, Duration::from_secs(10));
    all_closed(&mut mute, Duration::from_secs(10));
    strangers.iter().for_each(|peer| peer.wait_closed(Duration::from_secs(10)));
    let count = |cuts: usize| (cuts * each) as f64;
    eventually("the limits' metrics", PATIENCE, || {
        let told = ["handshake_timeout", "silent", "connect_timeout"].map(|reason| refused(&server, reason));
        (told == [count(cuts.len()), count(1), count(1)]).then_some(())
    });
    over(&server, witnesses);
}

#[test]
fn one_byte_a_second_is_too_slow_for_a_handshake_and_for_a_connect() {
    let (server, witnesses) = attacked("  handshake_timeout_ms: 3000\n  connect_timeout_ms: 3000\n");
    let each = scale(20);
    let mut shaking: Vec<_> = (0..each).map(|_| TcpStream::connect(server.rtmp()).unwrap()).collect();
    let mut connecting: Vec<_> = (0..each).map(|_| Client::open(server.rtmp())).collect();
    let hello = [&[3], &c1(Kind::Simple)[..]].concat();
    let connect = Chunker::default().message(3, 0, 20, 0, &amf::command("connect", 1.0, &[Value::Null]));
    let begun = Instant::now();
    for second in 0.. {
        for peer in &mut shaking {
            let _ = peer.write_all(&hello[second..=second]);
        }
        connecting.iter_mut().for_each(|peer| peer.send_raw(&connect[second..=second]));
        if shaking.iter_mut().all(is_closed) && connecting.iter().all(Client::is_closed) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "one byte a second keeps a connection open");
        std::thread::sleep(Duration::from_secs(1));
    }
    // A byte is no sign of life that moves the deadline.
    assert!(begun.elapsed() > Duration::from_secs(2));
    eventually("the limits' metrics", PATIENCE, || {
        let told = ["handshake_timeout", "connect_timeout"].map(|reason| refused(&server, reason));
        (told == [each as f64; 2]).then_some(())
    });
    over(&server, witnesses);
}

#[test]
fn zero_windows_cost_little_and_end_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(media::noise_film(64), folder.path().join("noise.flv")).unwrap();
    std::fs::copy(media::file("minute.flv"), folder.path().join("minute.flv")).unwrap();
    // Minutes of it in the long tier.
    let stall = Duration::from_secs(4) * scale(1) as u32;
    let config = format!("edge:\n  stall_timeout_ms: {}\n  cache_bytes: 33554432\n", stall.as_millis());
    let server = Standalone::with(Options {
        media: Some(folder.path().to_owned()),
        config: Some(config),
        ..Default::default()
    });
    let witnesses = Witnesses::start(server.rtmp());
    let peers = 40;
    let plan = Plan::watch("noise").buffer_ms(3_600_000).with(Habit::StopReading(1 << 20));
    let crowd = Crowd::start(server.rtmp(), plan.times(peers));
    crowd.wait("every peer's window closed", Duration::from_secs(30), |s| s.bytes >= 1 << 20);
    eventually("the server out of room in every socket", Duration::from_secs(20), || {
        let sent = server.metric("penstock_edge_sent_bytes_total");
        std::thread::sleep(Duration::from_millis(500));
        // The witnesses' film is a few ten KB a second.
        (server.metric("penstock_edge_sent_bytes_total") - sent < 300_000.0).then_some(())
    });
    eventually("every stalled peer ended", stall + Duration::from_secs(20), || {
        (refused(&server, "stall_timeout") == peers as f64).then_some(())
    });
    let ended = server.metrics().get("penstock_edge_session_seconds_count{end=\"stalled\"}").copied();
    assert_eq!(ended, Some(peers as f64));
    over(&server, witnesses);
}

#[test]
fn seek_storms_are_slowed_down_and_every_byte_is_still_the_film_s() {
    let (server, witnesses) = attacked("");
    let sent = 400 * scale(1) as u64;
    let storm = Habit::Seek { count: sent, per_second: 100, within_ms: 55_000 };
    let plan = Plan::watch("mp4:minute.mp4").buffer_ms(1000).with(storm);
    let flv = Plan::watch("minute").buffer_ms(1000).with(storm);
    let crowd = Crowd::start(server.rtmp(), [plan.times(5), flv.times(5)].concat());
    crowd.wait("storms", Duration::from_secs(30) * scale(1) as u32, |s| s.seeks.0 >= sent || s.ended);
    assert_eq!(crowd.count(|s| s.ended), 0, "a storm is no reason to close");
    // The last seek of all is obeyed, however many came before it.
    crowd.wait("what the last seek asked for", PATIENCE, |s| s.has_obeyed(sent));
    let deferred = server.metric("penstock_edge_deferred_seeks_total");
    assert!(deferred > 0.0, "{deferred} of {} seeks were deferred", sent * 10);
    let film = Film::of_flv("minute.flv");
    crowd.close()[5..].iter().for_each(|s| s.is_of(&film));
    over(&server, witnesses);
}

#[test]
fn connection_floods_past_the_limits_are_closed_at_once_and_leave_room_again() {
    let config = "edge:\n  max_connections: 60\n  max_connections_per_address: 40\n".to_owned();
    let listen = vec!["127.0.0.1:0".to_owned(), "[::1]:0".to_owned()];
    let server = Standalone::with(Options { listen, config: Some(config), ..Default::default() });
    let witnesses = Witnesses::start(server.rtmp());
    let count = scale(300);
    let hello = [&[3], &c1(Kind::Simple)[..]].concat();
    let mut peers = Vec::new();
    for _ in 0..count {
        let mut peer = TcpStream::connect(server.rtmp()).unwrap();
        let _ = peer.write_all(&hello);
        peers.push(peer);
    }
    // Two of the forty places of this address are the witnesses'.
    let turned_away = (count - 38) as f64;
    eventually("all but those with a place closed", PATIENCE, || {
        (peers.iter_mut().filter_map(|p| is_closed(p).then_some(())).count() as f64 == turned_away)
            .then_some(())
    });
    let told = refused(&server, "max_connections_per_address") + refused(&server, "max_connections");
    assert_eq!(told, turned_away);
    // Another address has room meanwhile: that limit is each one's own.
    Client::streaming(server.ready["rtmp"][1].as_str().unwrap());
    drop(peers);
    eventually("room again", PATIENCE, || (server.metric("penstock_edge_connections") <= 2.0).then_some(()));
    Client::streaming(server.rtmp());
    over(&server, witnesses);
}
