//! RTMPS and RTMPTS: the players that speak them, and peers that speak TLS badly.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::standalone::{Options, Standalone, shared};
use tests::tls::{Hello, Tls};
use tests::wire::chunk::{Chunker, Dechunker};
use tests::wire::handshake::{Kind, PACKET, c1};
use tests::wire::{Client, PATIENCE, amf};
use tests::{eventually, media, packets, players};

fn url(scheme: &str, key: &str) -> String {
    format!("{scheme}://{}/cfx/st/{}", shared().rtmp(), media::play_name(key))
}

fn count(server: &Standalone, metric: &str, label: &str) -> f64 {
    let samples = server.metrics();
    samples
        .iter()
        .filter(|(name, _)| {
            name.starts_with(&format!("penstock_edge_{metric}{{")) && name.contains(&format!("\"{label}\""))
        })
        .map(|(_, n)| n)
        .sum()
}

fn with(config: &str) -> Standalone {
    Standalone::with(Options { config: Some(config.into()), ..Default::default() })
}

/// Writes a self-signed certificate and its key.
fn make_pair(folder: &Path, stem: &str, name: &str) {
    let [key, certificate] =
        ["key", "crt"].map(|kind| folder.join(format!("{stem}.{kind}")).display().to_string());
    let subject = format!("/CN={name}");
    let words = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "30",
    ];
    let done = Command::new("openssl")
        .args(words)
        .args(["-subj", &subject, "-keyout", &key, "-out", &certificate])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn ffprobe_and_ffmpeg_play_over_tls() {
    for key in ["first.mp4", "clip.flv", "bare.mp3"] {
        let seen = players::ffprobe(&url("rtmps", key)).expect(0).stdout;
        assert!(seen.contains("h264") || seen.contains("mp3"), "{key}: {seen}");
    }
    let folder = tempfile::tempdir().unwrap();
    let [plain, encrypted] = ["rtmp", "rtmps"].map(|scheme| {
        let to = folder.path().join(format!("{scheme}.flv"));
        players::ffmpeg_copy(&["-rtmp_buffer", "3600000"], &url(scheme, "first.mp4"), &[], &to).expect(0);
        packets::of(&to).unwrap()
    });
    assert_eq!(packets::difference(&plain, &encrypted), None);
    assert!(count(shared(), "accepted_total", "rtmps") >= 4.0);
}

#[test]
fn ffmpeg_seeks_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    players::ffmpeg_copy(&["-ss", "100"], &url("rtmps", "film.mp4"), &["-t", "3"], &to).expect(0);
    assert!(players::times(&to, "v").len() > 50);
}

#[test]
fn ffprobe_and_ffmpeg_play_through_a_tunnel_over_tls() {
    let seen = players::ffprobe(&url("rtmpts", "first.mp4")).expect(0).stdout;
    assert!(seen.contains("h264") && seen.contains("aac"), "{seen}");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    players::ffmpeg_copy(&["-rtmp_buffer", "3600000"], &url("rtmpts", "clip.flv"), &["-t", "5"], &to)
        .expect(0);
    assert!(players::times(&to, "v").len() > 100);
}

#[test]
fn gstreamer_s_own_rtmp_source_plays_over_tls() {
    let location = format!("location={}", url("rtmps", "first.mp4"));
    let words = [
        "-q",
        "rtmp2src",
        &location,
        "tls-validation-flags=0",
        "num-buffers=200",
        "idle-timeout=3",
        "!",
        "fakesink",
    ];
    players::run(30, "gst-launch-1.0", &words).expect(0);
}

#[test]
fn mpv_plays_and_seeks_over_tls() {
    players::mpv(&url("rtmps", "first.mp4"), &["--length=2"]).expect(0);
    players::mpv(&url("rtmps", "film.mp4"), &["--start=100", "--length=1"]).expect(0);
}

#[test]
fn rtmpdump_downloads_the_same_bytes_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    for key in ["clip.flv", "first.mp4", "bare.mp3"] {
        let name = media::play_name(key);
        let [plain, encrypted] = ["rtmp", "rtmps"].map(|scheme| {
            let to = folder.path().join(scheme);
            let from = format!("{scheme}://{}/cfx/st", shared().rtmp());
            let words = ["-q", "-r", &from, "-a", "cfx/st", "-y", &name, "-o", to.to_str().unwrap()];
            let done = players::run(60, "rtmpdump", &words);
            assert!(matches!(done.code, 0 | 2), "{scheme} {key}: {done:?}");
            fs::read(to).unwrap()
        });
        assert!(
            plain.len() > 50_000 && plain == encrypted,
            "{key}: {} and {} bytes",
            plain.len(),
            encrypted.len()
        );
    }
}

/// The bytes of a viewer's first words, up to `connect`.
fn greeting() -> Vec<u8> {
    let tc_url = format!("rtmps://{}/cfx/st", shared().rtmp());
    let object =
        amf::Value::Object(vec![("app".into(), "cfx/st".into()), ("tcUrl".into(), tc_url.as_str().into())]);
    let connect = Chunker::default().message(3, 0, 20, 0, &amf::command("connect", 1.0, &[object]));
    [&[3], &c1(Kind::Simple)[..], &[0; PACKET], &connect].concat()
}

/// A session over TLS, up to its accepted connect.
fn connected(server: &Standalone, hello: Hello<'_>) -> (Tls, Dechunker) {
    let mut tls = Tls::connect(server.rtmp(), hello).unwrap();
    tls.write_all(&greeting()).unwrap();
    let mut reply = vec![0; 1 + 2 * PACKET];
    tls.read_exact(&mut reply).unwrap();
    let (mut reader, mut buffer) = (Dechunker::default(), vec![0; 4096]);
    loop {
        let n = tls.read(&mut buffer).unwrap();
        assert!(n > 0, "closed before connect was answered");
        let found = reader.push(&buffer[..n]).unwrap();
        if found.iter().any(|m| m.command().is_some_and(|c| c.name == "_result")) {
            return (tls, reader);
        }
    }
}

#[test]
fn both_versions_of_tls_are_spoken_and_the_tunnel_s_policy_is_served_inside() {
    for tls12 in [true, false] {
        connected(shared(), Hello { tls12, ..Default::default() });
        let mut tls = Tls::connect(shared().rtmp(), Hello { tls12, ..Default::default() }).unwrap();
        tls.write_all(b"GET /crossdomain.xml HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("allow-access-from"), "{answer}");
        let mut tls = Tls::connect(shared().rtmp(), Hello { tls12, ..Default::default() }).unwrap();
        tls.write_all(b"<policy-file-request/>\0").unwrap();
        let mut answer = String::new();
        tls.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("<cross-domain-policy>"), "{answer}");
    }
    assert!(count(shared(), "accepted_total", "https") >= 2.0);
}

#[test]
fn standalone_keeps_its_certificate_and_logs_its_fingerprint() {
    let data = tempfile::tempdir().unwrap();
    let shown = || {
        let server = Standalone::with(Options { data: Some(data.path().to_owned()), ..Default::default() });
        let shown = Tls::connect(server.rtmp(), Hello::default()).unwrap().fingerprint();
        assert!(server.log().contains(&shown), "{shown} is not in the log");
        shown
    };
    assert_eq!(shown(), shown());
    let key = fs::metadata(data.path().join("tls/key.pem")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

#[test]
fn certificates_are_replaced_under_running_sessions() {
    let folder = tempfile::tempdir().unwrap();
    for stem in ["old", "new", "other"] {
        make_pair(folder.path(), stem, "penstock.example");
    }
    // Whole files only, as anything that replaces certificates does it.
    let put = |from: &str, kind: &str| {
        let [from, beside, to] =
            [from, "beside", "in-use"].map(|stem| folder.path().join(format!("{stem}.{kind}")));
        fs::copy(from, &beside).unwrap();
        fs::rename(beside, to).unwrap();
    };
    put("old", "crt");
    put("old", "key");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = with(&format!(
        "edge:\n  tls:\n    certificate_file: {}\n    key_file: {}\n    reload_seconds: 1\n    names:\n      - {{name: other.example, certificate_file: {}, key_file: {}}}\n",
        path("in-use.crt"),
        path("in-use.key"),
        path("other.crt"),
        path("other.key"),
    ));
    let shown =
        |name: &str| Tls::connect(server.rtmp(), Hello { name, ..Default::default() }).unwrap().fingerprint();
    let (old, other) = (shown("penstock.example"), shown("other.example"));
    assert_ne!(old, other);
    let (mut session, mut reader) = connected(&server, Hello::default());
    let (rtmp, to) = (server.rtmp().to_owned(), folder.path().join("o.flv"));
    let watched = std::thread::spawn(move || {
        let from = format!("rtmps://{rtmp}/cfx/st/mp4:first.mp4");
        players::ffmpeg_copy(&["-rtmp_buffer", "1000"], &from, &[], &to).expect(0);
        players::times(&to, "v").len()
    });
    eventually("the player plays", Duration::from_secs(20), || {
        (server.metric("penstock_edge_playing_streams") >= 1.0).then_some(())
    });
    // Half of a change is no change; it is told, and ends when the other half is there.
    put("new", "key");
    eventually("a failed reload", Duration::from_secs(20), || {
        (count(&server, "tls_reloads_total", "failed") >= 1.0).then_some(())
    });
    assert_eq!(shown(""), old);
    put("new", "crt");
    eventually("the new certificate", Duration::from_secs(20), || (shown("") != old).then_some(()));
    assert_eq!(shown("other.example"), other);
    eventually("a counted reload", PATIENCE, || {
        (count(&server, "tls_reloads_total", "loaded") == 1.0).then_some(())
    });
    // Who was there goes on.
    let create =
        Chunker::default().message(3, 0, 20, 0, &amf::command("createStream", 2.0, &[amf::Value::Null]));
    session.write_all(&create).unwrap();
    let mut buffer = vec![0; 4096];
    loop {
        let n = session.read(&mut buffer).unwrap();
        let found = reader.push(&buffer[..n]).unwrap();
        if found.iter().any(|m| m.command().is_some_and(|c| c.name == "_result" && c.tx == 2.0)) {
            break;
        }
    }
    assert!(watched.join().unwrap() >= 240);
}

/// Sends `bytes` to a new connection and gives what comes back until the server closes it.
fn exchange(addr: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(bytes).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => all,
    }
}

/// The first bytes of a TLS client, as openssl sends them.
fn client_hello() -> Vec<u8> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let client = std::thread::spawn(move || Tls::connect(&addr, Hello::default()).is_ok());
    let mut hello = vec![0; 4096];
    let n = listener.accept().unwrap().0.read(&mut hello).unwrap();
    hello.truncate(n);
    assert!(!client.join().unwrap());
    hello
}

#[test]
fn half_handshakes_end_at_the_deadline_and_are_counted() {
    let server = with("edge:\n  handshake_timeout_ms: 1000\n");
    let hello = client_hello();
    let timeouts = || count(&server, "refused_total", "tls_timeout");
    for sent in [&hello[..1], &hello[..40], &hello[..hello.len() - 1], &hello[..]] {
        let before = timeouts();
        exchange(server.rtmp(), sent);
        eventually("a counted timeout", PATIENCE, || (timeouts() == before + 1.0).then_some(()));
    }
    // Nor does one wait who has shaken hands and says nothing.
    let mut silent = Tls::connect(server.rtmp(), Hello::default()).unwrap();
    assert!(!silent.read(&mut [0; 16]).is_ok_and(|n| n > 0));
    eventually("a counted timeout", PATIENCE, || (timeouts() == 5.0).then_some(()));
    assert!(server.log().contains("a tls handshake failed"));
    eventually("no connection left", PATIENCE, || {
        (server.metric("penstock_edge_connections") == 0.0).then_some(())
    });
    Client::connected(server.rtmp());
}

#[test]
fn what_is_no_tls_is_refused_with_an_alert_and_harms_nobody() {
    let server = Standalone::start();
    let (mut witness, _) = connected(&server, Hello::default());
    let hello = client_hello();
    let mut wrong = hello.clone();
    // A session id longer than there can be.
    wrong[43] = 0xff;
    let mut long = hello.clone();
    long[3..5].copy_from_slice(&[0xff, 0xff]);
    // Once both sides have a key, an alert looks like any other record.
    let cases: [Vec<u8>; 5] = [
        b"\x16\x03\x01\x00\x05\xff\x00\x00\x01x".to_vec(),
        b"\x16GET / HTTP/1.1\r\n\r\n".to_vec(),
        long,
        wrong,
        [hello, b"\x03plain rtmp after a hello, which is no record".to_vec()].concat(),
    ];
    for (n, sent) in (1u32..).zip(&cases) {
        let answer = exchange(server.rtmp(), sent);
        assert!(n == 5 || answer.starts_with(&[0x15, 3]), "case {n}: no alert in {answer:02x?}");
        eventually("a counted refusal", PATIENCE, || {
            (count(&server, "refused_total", "tls") == f64::from(n)).then_some(())
        });
    }
    // TLS inside TLS.
    let mut tls = Tls::connect(server.rtmp(), Hello::default()).unwrap();
    tls.write_all(&client_hello()).unwrap();
    assert!(!tls.read(&mut [0; 16]).is_ok_and(|n| n > 0));
    // Plain bytes after the handshake, and what isn't spoken inside.
    let mut tls = Tls::connect(server.rtmp(), Hello::default()).unwrap();
    tls.socket().write_all(&greeting()).unwrap();
    assert!(tls.read(&mut [0; 16]).is_err());
    let mut tls = Tls::connect(server.rtmp(), Hello::default()).unwrap();
    tls.write_all(b"\x01what is this").unwrap();
    assert!(!tls.read(&mut [0; 16]).is_ok_and(|n| n > 0));
    eventually("counted refusals", PATIENCE, || {
        let refused = |reason| count(&server, "refused_total", reason);
        (refused("tls") == 7.0 && refused("unknown_protocol") == 1.0).then_some(())
    });
    let create =
        Chunker::default().message(3, 0, 20, 0, &amf::command("createStream", 2.0, &[amf::Value::Null]));
    witness.write_all(&create).unwrap();
    assert!(witness.read(&mut [0; 16]).unwrap() > 0);
}

#[test]
fn records_that_are_none_in_mid_session_end_it_alone() {
    let server = Standalone::start();
    let (mut witness, _) = connected(&server, Hello::default());
    for tls12 in [true, false] {
        let (mut tls, _) = connected(&server, Hello { tls12, ..Default::default() });
        tls.socket().write_all(b"\x17\x03\x03\x00\x20this is not enciphered with our key").unwrap();
        let error = tls.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    }
    let create =
        Chunker::default().message(3, 0, 20, 0, &amf::command("createStream", 2.0, &[amf::Value::Null]));
    witness.write_all(&create).unwrap();
    assert!(witness.read(&mut [0; 16]).unwrap() > 0);
}

#[test]
fn an_edge_that_stops_says_goodbye_in_both_protocols() {
    for tls12 in [true, false] {
        let mut server = Standalone::start();
        let (mut tls, _) = connected(&server, Hello { tls12, ..Default::default() });
        server.process.signal("TERM");
        let mut last = Vec::new();
        // Without close_notify this fails: the end would be one that anybody on the way could have made.
        tls.read_to_end(&mut last).unwrap();
        let said = String::from_utf8_lossy(&last).into_owned();
        assert!(said.contains("NetConnection.Connect.Closed"), "{said}");
        assert!(server.process.wait(Duration::from_secs(20)).unwrap().success());
    }
}
