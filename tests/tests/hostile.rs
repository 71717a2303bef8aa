//! Peers and files that mean harm: the session may end, the server lives, and the others notice nothing.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tests::broken::{self, Verdict};
use tests::standalone::{Standalone, shared};
use tests::wire::amf::{self, Value};
use tests::wire::chunk::{Chunker, Message};
use tests::wire::{Client, PATIENCE};
use tests::{media, scale};

/// A command too long for one chunk of 128 bytes.
fn long_call(tx: f64) -> Vec<u8> {
    amf::command("createStream", tx, &[Value::Null, Value::String("x".repeat(500))])
}

fn lives() {
    let mut client = Client::streaming(shared().rtmp());
    client.play(1, "clip", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
}

fn answered(client: &mut Client, tx: f64) {
    assert_eq!(client.wait_answer(tx, PATIENCE).0, "_result");
}

#[test]
fn s40_messages_on_interleaved_chunk_streams_are_put_together_apart() {
    let mut client = Client::connected(shared().rtmp());
    let chunker = Chunker::default();
    let (a, b, c) = (long_call(10.0), long_call(11.0), long_call(12.0));
    let lanes = [(5, &a), (70, &b), (400, &c)];
    let pieces: Vec<Vec<Vec<u8>>> =
        lanes.iter().map(|(csid, payload)| chunker.pieces(*csid, 0, payload)).collect();
    for i in 0..pieces[0].len() {
        for ((csid, payload), lane) in lanes.iter().zip(&pieces) {
            if i == 0 {
                client.send_raw(&Chunker::header(*csid, 0, payload.len(), 20, 0));
            }
            client.send_raw(&lane[i]);
        }
    }
    for tx in [10.0, 11.0, 12.0] {
        client.try_wait(Duration::ZERO, |_| false);
        let all = tests::eventually("the answers", PATIENCE, || {
            let found = client
                .messages()
                .into_iter()
                .filter_map(|m| m.command())
                .any(|c| c.tx == tx && c.name == "_result");
            found.then_some(true)
        });
        assert!(all);
    }
}

#[test]
fn s40_the_chunk_size_may_change_in_mid_session() {
    let mut client = Client::connected(shared().rtmp());
    for (tx, size) in [(10.0, 1usize), (11.0, 4096), (12.0, 128), (13.0, 65_536)] {
        client.send(2, 1, 0, &(size as u32).to_be_bytes());
        client.chunker().size = size;
        let call = long_call(tx);
        client.send(3, 20, 0, &call);
        answered(&mut client, tx);
    }
}

#[test]
fn s40_an_aborted_message_is_forgotten() {
    let mut client = Client::connected(shared().rtmp());
    let call = long_call(10.0);
    client.send_raw(&Chunker::header(5, 0, call.len(), 20, 0));
    client.send_raw(&call[..128]);
    client.send(2, 2, 0, &5u32.to_be_bytes());
    let call = long_call(11.0);
    client.send(5, 20, 0, &call);
    answered(&mut client, 11.0);
    assert!(!client.messages().iter().filter_map(|m| m.command()).any(|c| c.tx == 10.0));
    client.send(2, 2, 0, &99u32.to_be_bytes());
    client.send(2, 2, 0, &[]);
    assert!(client.create_stream() > 1);
}

#[test]
fn s40_unknown_user_control_events_are_ignored() {
    let mut client = Client::connected(shared().rtmp());
    for event in [26u16, 27, 99, 3, 6, 7, 0xffff] {
        for len in [0, 1, 4, 42, 5000] {
            client.send(2, 4, 0, &[&event.to_be_bytes()[..], &vec![1; len]].concat());
        }
    }
    client.send(2, 4, 0, &[]);
    client.send(2, 4, 0, &[0]);
    assert_eq!(client.create_stream(), 1);
}

#[test]
fn s40_a_ping_is_answered() {
    let mut client = Client::connected(shared().rtmp());
    client.send(2, 4, 0, &[0, 6, 1, 2, 3, 4]);
    client.wait("the answer to a ping", PATIENCE, |m| m.event() == Some((7, &[1, 2, 3, 4][..])));
}

#[test]
fn s40_zero_length_messages_and_unknown_types_are_ignored() {
    let mut client = Client::connected(shared().rtmp());
    for type_id in [3, 5, 6, 8, 9, 15, 16, 17, 18, 19, 20, 22, 99] {
        client.send(6, type_id, 0, &[]);
        client.send(6, type_id, 7, &[]);
    }
    for type_id in [15, 16, 19, 23, 99, 255] {
        client.send(6, type_id, 0, &[1, 2, 3]);
    }
    assert_eq!(client.create_stream(), 1);
}

#[test]
fn t13_type_1_headers_inherit_the_stream_and_wrapped_negative_deltas_are_taken() {
    let mut client = Client::streaming(shared().rtmp());
    client.play(1, "clip", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    for (delta, on) in [(0x00_1000u32, true), (0xffff_ff66, false), (0xffff_ff66, true)] {
        let pause = amf::command("pause", 0.0, &[Value::Null, on.into(), 500.0.into()]);
        let mut bytes = Chunker::basic(1, 8);
        bytes.extend(&delta.min(0xff_ffff).to_be_bytes()[1..]);
        bytes.extend(&(pause.len() as u32).to_be_bytes()[1..]);
        bytes.push(20);
        if delta >= 0xff_ffff {
            bytes.extend(delta.to_be_bytes());
        }
        bytes.extend(pause);
        client.send_raw(&bytes);
        client.wait_status(if on { "NetStream.Pause.Notify" } else { "NetStream.Unpause.Notify" });
    }
}

/// Resident memory of the server in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn s40_claims_of_sixteen_megabytes_don_t_bloat_the_server() {
    let server = Standalone::start();
    let before = resident_kib(server.process.pid());
    let mut clients: Vec<Client> = (0..40).map(|_| Client::connected(server.rtmp())).collect();
    for client in &mut clients {
        for csid in 3..20 {
            client.send_raw(&Chunker::header(csid, 0, 0xff_ffff, 20, 0));
            client.send_raw(&[2; 128]);
        }
    }
    Client::streaming(server.rtmp());
    let after = resident_kib(server.process.pid());
    assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
    // One that does send what it claims: it is cut off, or its message is dropped; it isn't all held.
    let mut greedy = Client::connected(server.rtmp());
    greedy.chunker().size = 0xff_ffff;
    greedy.send(2, 1, 0, &0xff_ffffu32.to_be_bytes());
    for csid in 3..12 {
        greedy.send_raw(&Chunker::header(csid, 0, 0xff_ffff, 20, 0));
        greedy.send_raw(&vec![0; 0xff_fffe]);
    }
    Client::streaming(server.rtmp());
    let after = resident_kib(server.process.pid());
    assert!(after < before + 96 * 1024, "{before} KiB before, {after} KiB after");
}

#[test]
fn s40_absurd_chunk_sizes_end_at_most_their_own_session() {
    for size in [0u32, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let mut client = Client::connected(shared().rtmp());
        client.send(2, 1, 0, &size.to_be_bytes());
        client.command(0, "createStream", 5.0, &[Value::Null]);
        client.try_wait(Duration::from_millis(300), |m| m.command().is_some_and(|c| c.tx == 5.0));
    }
    lives();
}

#[test]
fn s40_deep_and_lying_amf_ends_at_most_its_own_session() {
    let mut deep = amf::command("createStream", 5.0, &[]);
    for _ in 0..20_000 {
        deep.extend([3, 0, 1, b'a']);
    }
    let mut arrays = amf::command("createStream", 5.0, &[]);
    for _ in 0..20_000 {
        arrays.extend([10, 0, 0, 0, 1]);
    }
    let mut claims = amf::command("createStream", 5.0, &[]);
    claims.extend([10, 0xff, 0xff, 0xff, 0xff]);
    let mut text = amf::command("createStream", 5.0, &[]);
    text.extend([12, 0xff, 0xff, 0xff, 0xff, 1, 2]);
    let seventeen = vec![2, 0, 4, b'p', b'l', b'a', b'y', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for payload in [deep, arrays, claims, text, seventeen, vec![2, 0xff], vec![0x11; 300], vec![0xff; 10]] {
        let mut client = Client::connected(shared().rtmp());
        for (type_id, stream) in [(20, 0), (20, 1), (17, 0), (18, 0), (15, 0)] {
            client.send(3, type_id, stream, &payload);
        }
        client.command(0, "_checkbw", 6.0, &[Value::Null]);
        client.try_wait(Duration::from_millis(200), |m| m.command().is_some_and(|c| c.tx == 6.0));
    }
    lives();
}

#[test]
fn s40_headers_that_refer_to_nothing_end_at_most_their_own_session() {
    for form in 1..4 {
        let mut client = Client::connected(shared().rtmp());
        client.send_raw(&Chunker::basic(form, 33));
        client.send_raw(&[0; 200]);
        client.try_wait(Duration::from_millis(100), |_| false);
    }
    lives();
}

#[test]
fn s40_random_bytes_after_the_handshake_end_at_most_their_own_session() {
    let mut random = StdRng::seed_from_u64(40);
    for _ in 0..scale(50) {
        let mut client = Client::connected(shared().rtmp());
        let mut bytes = vec![0; 3000];
        random.fill_bytes(&mut bytes);
        client.send_raw(&bytes);
    }
    lives();
}

#[test]
fn s40_flipped_bits_in_a_session_end_at_most_their_own_session() {
    let mut random = StdRng::seed_from_u64(41);
    let chunker = Chunker::default();
    let mut script = Vec::new();
    script.extend(chunker.message(3, 0, 20, 0, &amf::command("createStream", 2.0, &[Value::Null])));
    script.extend(chunker.message(
        8,
        0,
        20,
        1,
        &amf::command("play", 0.0, &[Value::Null, "clip".into(), 0.0.into()]),
    ));
    script.extend(chunker.message(8, 0, 20, 1, &amf::command("seek", 0.0, &[Value::Null, 3000.0.into()])));
    script.extend(chunker.message(
        8,
        0,
        20,
        1,
        &amf::command("pause", 0.0, &[Value::Null, true.into(), 3000.0.into()]),
    ));
    for _ in 0..scale(100) {
        let mut bytes = script.clone();
        for _ in 0..3 {
            let at = random.next_u32() as usize % bytes.len();
            bytes[at] ^= 1 << (random.next_u32() % 8);
        }
        Client::connected(shared().rtmp()).send_raw(&bytes);
    }
    lives();
}

#[test]
fn s40_times_above_sixteen_million_have_an_extended_timestamp_on_every_chunk() {
    // A slide show of five hours: a Sorenson keyframe of three chunks every 10 s.
    let mut film = b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec();
    for i in 0..1800u32 {
        let time = i * 10_000;
        let mut body = vec![0x12];
        body.extend((0..9000u32).map(|n| (n ^ i) as u8));
        let (len, t) = ((body.len() as u32).to_be_bytes(), time.to_be_bytes());
        film.extend([9, len[1], len[2], len[3], t[1], t[2], t[3], t[0], 0, 0, 0]);
        film.extend(&body);
        film.extend((body.len() as u32 + 11).to_be_bytes());
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("slides.flv"), film).unwrap();
    let server = Standalone::over(folder.path());
    let mut client = Client::streaming(server.rtmp());
    client.set_buffer(1, 3_600_000);
    client.play(1, "slides", &[0.0]);
    client.wait_status("NetStream.Play.Start");
    client.seek(1, 16_700_000.0);
    client.wait_status("NetStream.Seek.Notify");
    let past =
        client.wait("a picture past 0xFFFFFF", PATIENCE, |m| m.is_picture() && m.timestamp > 0xff_ffff);
    assert_eq!(past.payload.len(), 9001);
    assert!(past.payload[1..].iter().zip(0u32..).all(|(b, n)| *b == (n ^ (past.timestamp / 10_000)) as u8));
    client.wait_status("NetStream.Play.Stop");
    let last = client.messages().iter().rfind(|m| m.is_picture()).unwrap().clone();
    assert_eq!((last.timestamp, last.payload.len()), (17_990_000, 9001));
    client.seek(1, 10_000.0);
    let back =
        client.wait("a picture after the jump back", PATIENCE, |m| m.is_picture() && m.timestamp <= 10_000);
    assert_eq!((back.form, back.extended), (0, false));
    assert_eq!(client.broken(), None);
}

#[test]
fn broken_and_lying_files_are_refused_clearly_while_another_viewer_notices_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = broken::write(folder.path());
    fs::copy(media::file("minute.flv"), folder.path().join("minute.flv")).unwrap();
    let server = Standalone::over(folder.path());
    let mut other = Client::streaming(server.rtmp());
    other.set_buffer(1, 1000);
    other.play(1, "minute", &[0.0]);
    other.wait("pictures", PATIENCE, Message::is_picture);
    let mut wrong = Vec::new();
    for (name, verdict) in files {
        let mut client = Client::streaming(server.rtmp());
        client.set_buffer(1, 36_000_000);
        client.play(1, &media::play_name(&name), &[0.0]);
        let end = client.try_wait(PATIENCE, |m| {
            m.status()
                .is_some_and(|s| s.field("level") == "error" || s.field("code") == "NetStream.Play.Stop")
        });
        let code = end.and_then(|m| m.status_code()).unwrap_or_else(|| "nothing".into());
        let (invalid, no_track) =
            ("NetStream.Play.FileStructureInvalid", "NetStream.Play.NoSupportedTrackFound");
        let fits = match verdict {
            Verdict::Refused => code == invalid || code == no_track,
            Verdict::NoTrack => code == no_track,
            Verdict::Invalid => code == invalid,
            Verdict::Either => code == invalid || code == no_track || code == "NetStream.Play.Stop",
        };
        if !fits || client.is_closed() {
            wrong.push(format!("{name}: {code}, should be {verdict:?} (closed: {})", client.is_closed()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let now = other.messages().iter().rfind(|m| m.is_picture()).unwrap().timestamp;
    other.wait("the other viewer's film goes on", PATIENCE, |m| m.is_picture() && m.timestamp > now);
    assert_eq!(other.broken(), None);
}

#[test]
fn half_open_and_vanishing_clients_leave_the_server_alone() {
    for cut in [0, 1, 700, 1537, 2000, 3073] {
        let mut stream = TcpStream::connect(shared().rtmp()).unwrap();
        let mut bytes = vec![3];
        bytes.extend(tests::wire::handshake::c1(tests::wire::handshake::Kind::Simple));
        bytes.extend([0; 1536]);
        let _ = stream.write_all(&bytes[..cut]);
    }
    for _ in 0..scale(20) {
        let mut client = Client::streaming(shared().rtmp());
        client.set_buffer(1, 36_000_000);
        client.play(1, "minute", &[0.0]);
        client.try_wait(Duration::from_millis(20), Message::is_picture);
    }
    lives();
}
