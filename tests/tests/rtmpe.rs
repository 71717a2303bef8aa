//! RTMPE with real clients and scripted ones. Numbers are those of the wire contract's acceptance statements.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tests::players::Outcome;
use tests::standalone::{Options, Standalone, shared};
use tests::viewer::{DOWNLOAD, Film, Plan};
use tests::wire::chunk::{Chunker, Dechunker, Message};
use tests::wire::handshake::{Kind, PACKET, c1};
use tests::wire::rtmpe::{self, Rtmpe};
use tests::wire::{Client, PATIENCE, amf};
use tests::{eventually, flv, media, parallel, players, scale};

/// rtmpdump over a variant of RTMP, telling all it knows.
fn rtmpdump(scheme: &str, addr: &str, play: &str, to: &Path, more: &[&str]) -> Outcome {
    let url = format!("{scheme}://{addr}/cfx/st");
    let mut args = vec!["-V", "-r", &url, "-a", "cfx/st", "-y", play, "-o", to.to_str().unwrap()];
    args.extend(more);
    players::run(120, "rtmpdump", &args)
}

/// The file and exit code of a whole download.
fn download(scheme: &str, addr: &str, play: &str, folder: &Path, more: &[&str]) -> (Vec<u8>, i32, String) {
    let to = folder.join(format!("{scheme}-{}.flv", play.replace([':', '/'], "_")));
    let done = rtmpdump(scheme, addr, play, &to, more);
    assert!(
        matches!(done.code, 0 | 2),
        "rtmpdump {scheme} {play}: {} {}",
        done.code,
        last_lines(&done.stderr)
    );
    (fs::read(to).unwrap(), done.code, done.stderr)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

const FILES: [&str; 8] =
    ["clip.flv", "no-index.flv", "first.mp4", "last.mp4", "fragmented.mp4", "song.m4a", "cbr.mp3", "vbr.mp3"];

#[test]
fn s05_rtmpdump_meets_a_genuine_server_and_writes_the_same_file_as_over_rtmp() {
    let folder = tempfile::tempdir().unwrap();
    parallel(2, FILES.to_vec(), |key| {
        let play = media::play_name(key);
        let (plain, plain_code, _) = download("rtmp", shared().rtmp(), &play, folder.path(), &[]);
        let (encrypted, code, said) = download("rtmpe", shared().rtmp(), &play, folder.path(), &[]);
        assert!(plain == encrypted, "{key}: {} and {} bytes", plain.len(), encrypted.len());
        assert_eq!(code, plain_code, "{key}");
        assert!(said.contains("Genuine Adobe Flash Media Server"), "{key}: {}", last_lines(&said));
        assert!(said.contains("FMS Version   : 3.5.1.1"), "{key}: {}", last_lines(&said));
        assert!(!said.contains("Type mismatch"), "{key}: {said}");
    });
}

#[test]
fn s05_windows_are_the_same_bytes_as_over_rtmp() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["minute.mp4", "minute.flv", "film.mp3"] {
        let play = media::play_name(key);
        let window = ["-A", "21", "-B", "31"];
        let (plain, ..) = download("rtmp", shared().rtmp(), &play, folder.path(), &window);
        let (encrypted, ..) = download("rtmpe", shared().rtmp(), &play, folder.path(), &window);
        assert!(plain == encrypted && plain.len() > 10_000, "{key}");
    }
}

#[test]
fn s29_a_download_is_resumed_over_rtmpe() {
    for key in ["clip.flv", "first.mp4", "cbr.mp3"] {
        let folder = tempfile::tempdir().unwrap();
        let play = media::play_name(key);
        let (full, code, _) = download("rtmpe", shared().rtmp(), &play, folder.path(), &[]);
        let tags = flv::tags(&full).unwrap();
        let has_video = tags.iter().any(|t| t.kind == 9);
        let anchor = |t: &flv::Tag| t.timestamp > 0 && if has_video { t.is_keyframe() } else { t.is_sound() };
        let first = tags.iter().position(anchor).unwrap();
        let mut cuts: Vec<usize> =
            tags[first..].iter().map(|t| t.end).filter(|end| *end < full.len()).collect();
        cuts.shuffle(&mut StdRng::seed_from_u64(5));
        cuts.truncate(scale(6));
        parallel(2, cuts, |cut| {
            let to = folder.path().join(format!("{cut}.flv"));
            fs::write(&to, &full[..cut]).unwrap();
            let done = rtmpdump("rtmpe", shared().rtmp(), &play, &to, &["-e"]);
            assert!(fs::read(&to).unwrap() == full, "{key} cut at {cut}: {}", last_lines(&done.stderr));
            assert_eq!(done.code, code, "{key} cut at {cut}");
        });
    }
}

#[test]
fn s10_gstreamer_s_librtmp_source_plays() {
    for name in ["mp4:first.mp4", "clip"] {
        let location = format!("location=rtmpe://{}/cfx/st/{name}", shared().rtmp());
        players::run(60, "gst-launch-1.0", &["-q", "rtmpsrc", &location, "num-buffers=100", "!", "fakesink"])
            .expect(0);
    }
}

#[test]
fn s11_every_listener_takes_rtmpe_and_counts_it_as_such() {
    let listen = vec!["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()];
    let server = Standalone::with(Options { listen, ..Default::default() });
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for at in 0..2 {
        let addr = server.ready["rtmp"][at].as_str().unwrap();
        files.push(download("rtmpe", addr, "mp4:first.mp4", folder.path(), &[]).0);
    }
    assert!(files[0] == files[1]);
    let counted = server.metrics()["penstock_edge_accepted_total{protocol=\"rtmpe\"}"];
    assert_eq!(counted, 2.0);
    assert!(server.metrics()["penstock_edge_key_exchange_seconds_count"] >= 2.0);
    assert_eq!(server.metrics()["penstock_edge_key_exchanges"], 0.0);
}

fn socket() -> TcpStream {
    let stream = TcpStream::connect(shared().rtmp()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Panics unless the server closes within a second without a byte of answer.
fn is_closed(mut stream: TcpStream, what: &str) {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    eventually(what, Duration::from_secs(1), || match stream.read(&mut [0; 16]) {
        Ok(0) => Some(()),
        Ok(n) => panic!("{what}: {n} bytes of answer"),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Some(()),
        Err(_) => None,
    });
}

fn connect_bytes() -> Vec<u8> {
    let object = amf::Value::Object(vec![
        ("app".into(), "cfx/st".into()),
        ("tcUrl".into(), shared().url().as_str().into()),
    ]);
    Chunker::default().message(3, 0, 20, 0, &amf::command("connect", 1.0, &[object]))
}

/// Waits for the answer to `connect` on an encrypted connection.
fn succeeds(sealed: Rtmpe, what: &str) {
    let mut client = Client::over(sealed.plain().unwrap());
    let (name, _) = client.wait_answer(1.0, 2 * PATIENCE);
    assert_eq!(name, "_result", "{what}");
}

#[test]
fn s06_types_6_8_and_9_are_answered_with_6_and_any_other_is_closed() {
    for (kind, scheme) in [(6, 1), (6, 0), (8, 1), (9, 1), (9, 0)] {
        let mut sealed = rtmpe::handshake(socket(), kind, scheme, u32::from(kind)).unwrap();
        sealed.write(&connect_bytes()).unwrap();
        succeeds(sealed, &format!("type {kind}, scheme {scheme}"));
    }
    for kind in [0, 1, 2, 4, 5, 7, 10, 0x80, 0xff] {
        let mut stream = socket();
        stream.write_all(&rtmpe::hello(kind, 1, 1).bytes).unwrap();
        is_closed(stream, &format!("type {kind}"));
    }
}

#[test]
fn what_is_no_honest_rtmpe_client_is_closed_and_counted() {
    let server = shared();
    let refused = |reason: &str| {
        let name = format!("penstock_edge_refused_total{{reason=\"{reason}\"}}");
        server.metrics().get(&name).copied().unwrap_or_default()
    };
    let before = (refused("rtmpe_digest"), refused("rtmpe_public_key"));
    let mut tampered = rtmpe::hello(6, 1, 2).bytes;
    tampered[1000] ^= 1;
    let unsigned = [&[6], c1(Kind::Simple).as_slice()].concat();
    for bytes in [tampered, unsigned] {
        let mut stream = socket();
        stream.write_all(&bytes).unwrap();
        is_closed(stream, "a wrong digest");
    }
    let one: Vec<u8> = (0..128).map(|at| u8::from(at == 127)).collect();
    for public in [vec![0; 128], one, vec![0xff; 128]] {
        let mut stream = socket();
        stream.write_all(&rtmpe::hello_with(6, 1, 3, vec![1], public).bytes).unwrap();
        is_closed(stream, "a weak key");
    }
    eventually("the counts", PATIENCE, || {
        let now = (refused("rtmpe_digest"), refused("rtmpe_public_key"));
        (now.0 >= before.0 + 2.0 && now.1 >= before.1 + 3.0).then_some(())
    });
}

#[test]
fn s07_three_hundred_consecutive_connects_succeed() {
    let seeds: Vec<u32> = (0..scale(300) as u32).collect();
    parallel(3, seeds, |seed| {
        let scheme = u8::from(seed % 5 != 0);
        let mut sealed =
            rtmpe::handshake(socket(), 6, scheme, seed + 1000).unwrap_or_else(|e| panic!("{seed}: {e:#}"));
        sealed.write(&connect_bytes()).unwrap();
        let mut reader = Dechunker::default();
        let mut buffer = [0; 4096];
        let is_result = |m: &Message| m.command().is_some_and(|c| c.name == "_result");
        loop {
            let n = sealed.stream.read(&mut buffer).unwrap_or_else(|e| panic!("connect {seed}: {e}"));
            assert!(n > 0, "connect {seed}: the server closed");
            sealed.receive.apply(&mut buffer[..n]);
            let found = reader.push(&buffer[..n]).unwrap_or_else(|e| panic!("connect {seed}: {e}"));
            if found.iter().any(is_result) {
                break;
            }
        }
    });
}

#[test]
fn s07_forty_downloads_with_rtmpdump_succeed() {
    let folder = tempfile::tempdir().unwrap();
    parallel(3, (0..scale(40)).collect(), |n| {
        let to = folder.path().join(format!("{n}.flv"));
        let done = rtmpdump("rtmpe", shared().rtmp(), "mp4:first.mp4", &to, &["-B", "1"]);
        assert!(matches!(done.code, 0 | 2), "{n}: {} {}", done.code, last_lines(&done.stderr));
        assert!(fs::metadata(&to).unwrap().len() > 1000, "{n}");
    });
}

#[test]
fn s09_c2_and_connect_in_one_segment_or_a_byte_a_segment_work() {
    for bytewise in [false, true] {
        let hello = rtmpe::hello(6, 1, 77);
        let mut stream = socket();
        let send = |stream: &mut TcpStream, bytes: &[u8]| {
            for part in bytes.chunks(if bytewise { 1 } else { bytes.len() }) {
                stream.write_all(part).unwrap();
            }
        };
        send(&mut stream, &hello.bytes);
        let mut answer = vec![0; 1 + 2 * PACKET];
        stream.read_exact(&mut answer).unwrap();
        let (c2, mut out, receive) = hello.answer(&answer).unwrap();
        let mut connect = connect_bytes();
        out.apply(&mut connect);
        send(&mut stream, &[c2, connect].concat());
        succeeds(Rtmpe { stream, send: out, receive }, "connect");
    }
}

/// A scripted client over RTMPE that has made stream 1.
fn streaming(server: &Standalone) -> Client {
    let stream = TcpStream::connect(server.rtmp()).unwrap();
    let mut client = Client::over(rtmpe::handshake(stream, 6, 1, 5).unwrap().plain().unwrap());
    client.connect("cfx/st", &server.url(), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    assert_eq!(client.create_stream(), 1);
    client
}

#[test]
fn s32_s34_seeks_and_pauses_over_rtmpe_lose_no_byte_of_the_stream() {
    let mut client = streaming(shared());
    client.set_buffer(1, DOWNLOAD);
    client.play(1, "mp4:film.mp4", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    // What is encrypted already when a seek comes must still be sent, or everything after it is noise.
    for n in 0..20 {
        let target = f64::from(n * 7 % 100) * 1000.0;
        client.seek(1, target);
        client.wait_status("NetStream.Seek.Notify");
        let picture = client.wait("a picture", PATIENCE, Message::is_picture);
        assert!(picture.is_keyframe(), "seek to {target}: {picture}");
        if n % 5 == 0 {
            client.pause(1, true, target);
            client.wait_status("NetStream.Pause.Notify");
            client.pause(1, false, target);
            client.wait_status("NetStream.Unpause.Notify");
            client.wait("a picture", PATIENCE, Message::is_picture);
        }
    }
    assert_eq!(client.broken(), None);
}

#[test]
fn the_last_word_of_an_edge_that_stops_arrives_encrypted_too() {
    let server = Standalone::start();
    let mut client = streaming(&server);
    client.play(1, "mp4:minute.mp4", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    server.process.signal("TERM");
    let said = client.wait("a goodbye", 3 * PATIENCE, |m| {
        m.status_code().as_deref() == Some("NetConnection.Connect.Closed")
    });
    assert_eq!(said.stream_id, 0);
    client.wait_closed(3 * PATIENCE);
    assert_eq!(client.broken(), None);
}

#[test]
fn a_viewer_that_takes_nothing_is_queued_for_within_bounds_and_can_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let film = Film::noise(91, 20, 8000).put(folder.path(), "noise");
    let server = Standalone::over(folder.path());
    let viewer = Plan::new(server.rtmp(), server.domain(), "noise", &film).buffer(DOWNLOAD).encrypted();
    let viewer = viewer.at_most(Duration::from_secs(120)).start();
    viewer.wait_time(40, 2 * PATIENCE);
    viewer.deaf(true);
    std::thread::sleep(Duration::from_secs(3));
    let queues = server.metrics()["penstock_edge_memory_bytes{account=\"sessions_queues\"}"];
    assert!(queues < 2e6, "{queues} bytes queued for one viewer");
    viewer.deaf(false);
    viewer.finish().complete("a viewer that paused its socket");
    eventually("the queue to be given back", 2 * PATIENCE, || {
        (server.metrics()["penstock_edge_memory_bytes{account=\"sessions_queues\"}"] < 64e3).then_some(())
    });
}

#[test]
fn a_flood_of_handshakes_from_one_address_is_limited_and_its_neighbour_plays_on() {
    let folder = tempfile::tempdir().unwrap();
    let film = Film::noise(92, 12, 2000).put(folder.path(), "film");
    let config = "edge:\n  rtmpe:\n    dh_per_address_per_second: 20\n";
    let server = Standalone::with(Options {
        media: Some(folder.path().to_owned()),
        config: Some(config.to_owned()),
        ..Default::default()
    });
    let viewer = Plan::new(server.rtmp(), server.domain(), "film", &film).encrypted().start();
    viewer.wait_time(40, 2 * PATIENCE);
    // Each with a key of its own would cost the flood more than the edge.
    let hello = rtmpe::hello(6, 1, 1);
    let began = std::time::Instant::now();
    let answered: usize = parallel(2, vec![0, 1], |_| {
        let (mut answered, mut open) = (0, std::collections::VecDeque::new());
        while began.elapsed() < Duration::from_secs(6) {
            if let Ok(mut stream) = rtmpe::connect_from([127, 0, 0, 3].into(), server.rtmp())
                && stream.write_all(&hello.bytes).is_ok()
            {
                open.push_back(stream);
            }
            if open.len() > 20 {
                let mut stream: TcpStream = open.pop_front().unwrap();
                let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                answered += usize::from(stream.read(&mut [0; 16]).is_ok_and(|n| n > 0));
            }
        }
        answered
    })
    .into_iter()
    .sum();
    let refused = server.metrics()["penstock_edge_refused_total{reason=\"key_exchange_rate\"}"];
    assert!(refused > 50.0, "{refused} refused, {answered} answered");
    let most = 40.0 + 20.0 * (began.elapsed().as_secs_f64() + 1.0);
    let done = server.metrics()["penstock_edge_key_exchange_seconds_count"];
    assert!(done <= most + 1.0, "{done} key exchanges");
    // From another address a newcomer gets in at once, flood or not.
    rtmpe::handshake(rtmpe::connect_from([127, 0, 0, 4].into(), server.rtmp()).unwrap(), 6, 1, 9).unwrap();
    let seen = viewer.finish();
    seen.complete("the neighbour").no_stall_over(Duration::from_secs(1), "the neighbour");
}
