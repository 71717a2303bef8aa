//! `probe`: what an operator is told of a stream, and by which exit code.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::players::Outcome;
use tests::process::{Running, product};
use tests::standalone::{Standalone, shared, wait_ready};
use tests::{eventually, media};

/// Runs `PROGRAM probe WORDS`, for two minutes at most.
fn run(program: &str, words: &[&str]) -> Outcome {
    let begun = Instant::now();
    let out = Command::new("timeout")
        .args(["-k", "1", "120"])
        .arg(product(program))
        .arg("probe")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

fn url(scheme: &str, key: &str) -> String {
    format!("{scheme}://{}/cfx/st/{}", shared().rtmp(), media::play_name(key))
}

/// Probes with `--json`; panics unless it exits with `code` and says so.
fn json(code: i32, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    let done = run("penstock", &words).expect(code);
    let report: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"));
    assert_eq!(report["exit_code"], code, "{report:#}");
    assert_eq!(report["error"].is_null(), code == 0, "{report:#}");
    report
}

fn played(report: &Value, at_least: f64) {
    let media = &report["media"];
    assert!(media["played_seconds"].as_f64().unwrap() >= at_least, "{report:#}");
    assert!(media["first_frame_ms"].is_u64() && media["bitrate_kbps"].as_f64().unwrap() > 10.0, "{report:#}");
    let codes: Vec<&str> =
        report["events"].as_array().unwrap().iter().filter_map(|e| e["code"].as_str()).collect();
    assert!(codes.contains(&"NetStream.Play.Start"), "{codes:?}");
}

#[test]
fn a_stream_is_played_and_described() {
    let report = json(0, &[&url("rtmp", "first.mp4"), "--seconds", "3"]);
    played(&report, 3.0);
    assert_eq!(report["handshake"]["type"], 3);
    assert_eq!(report["handshake"]["server_version"], "3.5.1.1");
    assert_eq!(report["connect"]["code"], "NetConnection.Connect.Success");
    assert_eq!(report["connect"]["server"], "FMS/3,5,7,7009");
    assert_eq!(report["chunk_size_bytes"], 4096);
    assert_eq!(
        (&report["media"]["video_codec"], &report["media"]["audio_codec"]),
        (&"H.264".into(), &"AAC".into())
    );
    assert!((report["metadata"]["duration"].as_f64().unwrap() - 10.0).abs() < 0.2, "{report:#}");
    assert_eq!(report["media"]["stalls"], 0, "{report:#}");
    assert!(report["tls"].is_null() && report["tunnel"].is_null());
    // In real time: the buffer's double ahead, no more.
    assert!(report["media"]["played_seconds"].as_f64().unwrap() < 9.9, "{report:#}");
    assert!(report["media"]["wall_seconds"].as_f64().unwrap() >= 2.9, "{report:#}");
}

#[test]
fn both_programs_probe_and_people_read_lines() {
    for program in ["penstock", "penstock-edge"] {
        let done = run(program, &[&url("rtmp", "clip.flv"), "--seconds", "1"]).expect(0);
        for word in [
            "tcp",
            "handshake",
            "connect",
            "NetStream.Play.Start",
            "metadata",
            "frame",
            "played",
            "H.264",
            "OK",
        ] {
            assert!(done.stdout.contains(word), "{program}: no {word} in\n{}", done.stdout);
        }
    }
}

#[test]
fn a_whole_file_is_taken_unpaced_and_its_end_is_seen() {
    for key in ["clip.flv", "bare.mp3", "first.mp4"] {
        let report = json(0, &[&url("rtmp", key), "--unpaced", "--seconds", "60"]);
        played(&report, 9.0);
        assert_eq!(report["media"]["ended"], true, "{report:#}");
        assert!(report["media"]["wall_seconds"].as_f64().unwrap() < 9.0, "{report:#}");
    }
}

#[test]
fn a_seek_is_timed() {
    let report = json(0, &[&url("rtmp", "film.mp4"), "--seconds", "3", "--seek", "100000"]);
    let seek = &report["seek"];
    assert!((97_000..=101_000).contains(&seek["landed_ms"].as_u64().unwrap()), "{report:#}");
    assert!(seek["notify_ms"].as_u64().unwrap() <= seek["frame_ms"].as_u64().unwrap(), "{report:#}");
    let played = report["media"]["played_seconds"].as_f64().unwrap();
    assert!((3.0..30.0).contains(&played), "{report:#}");
}

#[test]
fn tls_is_described_and_checked() {
    let server = Standalone::start();
    let certificate = server.data.join("tls/certificate.pem");
    let ca = certificate.to_str().unwrap();
    let address = server.rtmp().to_owned();
    let url = format!("rtmps://{address}/cfx/st/mp4:first.mp4");
    let report = json(0, &[&url, "--seconds", "1", "--ca", ca]);
    played(&report, 1.0);
    assert_eq!(
        (&report["tls"]["version"], &report["tls"]["verified"]),
        (&"TLSv1_3".into(), &true.into()),
        "{report:#}"
    );
    assert!(report["tls"]["subject"].as_str().unwrap().contains("Penstock"), "{report:#}");
    assert_eq!(report["tls"]["valid_until"], "2049-12-31");
    let sha256 = report["tls"]["sha256"].as_str().unwrap();
    assert!(server.log().contains(sha256), "{sha256} is not in the server's log");
    let report = json(0, &[&url, "--seconds", "1", "--insecure"]);
    assert_eq!(report["tls"]["verified"], false);
    // Nobody vouches for it, and another name is not its own.
    let report = json(3, &[&url]);
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("certificate") && error.contains(sha256), "{error}");
    let loopback = address.replace("127.0.0.1", "127.0.0.2");
    if std::net::TcpStream::connect(&loopback).is_ok() {
        let report = json(3, &[&format!("rtmps://{loopback}/cfx/st/mp4:first.mp4"), "--ca", ca]);
        assert!(report["error"].as_str().unwrap().contains("certificate"), "{report:#}");
    }
    // TLS to what speaks none: the S3 endpoint.
    let report = json(3, &[&format!("rtmps://{}/cfx/st/x", server.s3()), "--insecure", "--timeout", "5"]);
    assert!(report["error"].as_str().unwrap().contains("TLS"), "{report:#}");
}

#[test]
fn rtmpe_is_described() {
    let report = json(0, &[&url("rtmpe", "first.mp4"), "--seconds", "1"]);
    played(&report, 1.0);
    assert_eq!((&report["handshake"]["type"], &report["handshake"]["encrypted"]), (&6.into(), &true.into()));
}

#[test]
fn tunnels_are_described() {
    for (scheme, encrypted) in [("rtmpt", false), ("rtmpte", true), ("rtmpts", false)] {
        let report = json(0, &[&url(scheme, "first.mp4"), "--seconds", "2", "--insecure"]);
        played(&report, 2.0);
        assert_eq!(report["handshake"]["encrypted"], encrypted, "{report:#}");
        let tunnel = &report["tunnel"];
        assert!(!tunnel["session"].as_str().unwrap().is_empty(), "{report:#}");
        assert!(
            tunnel["idles"].as_u64().unwrap() >= 1 && tunnel["sends"].as_u64().unwrap() >= 4,
            "{report:#}"
        );
        assert_eq!(report["tls"].is_null(), scheme != "rtmpts");
        assert_eq!(report["media"]["stalls"], 0, "{report:#}");
    }
}

#[test]
fn a_missing_stream_is_5_and_a_silent_wait_for_one_6() {
    let report = json(5, &[&url("rtmp", "nosuch.mp4")]);
    assert!(report["error"].as_str().unwrap().contains("NetStream.Play.StreamNotFound"), "{report:#}");
    assert_eq!(report["connect"]["code"], "NetConnection.Connect.Success");
    let report = json(6, &[&url("rtmp", "nosuch.mp4"), "--start", "-2000", "--timeout", "1"]);
    assert!(report["error"].as_str().unwrap().contains("no frame"), "{report:#}");
}

#[test]
fn a_refused_connect_is_4() {
    let server = shared().rtmp();
    for (url, code) in [
        (format!("rtmp://{server}/vod/x/mp4:first.mp4"), "InvalidURI"),
        (format!("rtmp://{server}/cfx/other/mp4:first.mp4"), "InvalidInstance"),
    ] {
        let report = json(4, &[&url]);
        assert!(report["error"].as_str().unwrap().contains(code), "{report:#}");
    }
    let report = json(4, &[&format!("rtmp://{server}/x"), "--app", "vod", "--stream", "mp4:first.mp4"]);
    assert_eq!((&report["app"], &report["stream"]), (&"vod".into(), &"mp4:first.mp4".into()));
}

/// A server that takes a connection, says `words`, and nothing more.
fn saying(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = stream.write_all(words);
                while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
            });
        }
    });
    address
}

#[test]
fn what_is_not_there_or_speaks_something_else_is_3() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = json(3, &[&format!("rtmp://{closed}/cfx/st/x")]);
    assert!(report["error"].as_str().unwrap().contains("reached"), "{report:#}");
    for scheme in ["rtmp", "rtmpe", "rtmpt", "rtmps", "rtmpts", "rtmpte"] {
        let silent = saying(b"");
        let from = format!("{scheme}://{silent}/cfx/st/x");
        let words = [from.as_str(), "--timeout", "1", "--insecure"];
        let begun = Instant::now();
        json(3, &words);
        assert!(begun.elapsed() < Duration::from_secs(20), "{scheme}");
        let chatty = saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\nand so on, for as long as it takes to be sure");
        json(3, &[&format!("{scheme}://{chatty}/cfx/st/x"), "--timeout", "2", "--insecure"]);
    }
    json(3, &["rtmp://nosuch.invalid/cfx/st/x"]);
}

#[test]
fn usage_is_2() {
    for words in [
        &[][..],
        &["http://127.0.0.1/x"],
        &["rtmp://127.0.0.1/cfx/st"],
        &["rtmp://127.0.0.1/cfx/st/x", "--seconds", "0"],
        &["rtmp://127.0.0.1/cfx/st/x", "--unpaced", "--buffer", "1"],
        &["rtmps://127.0.0.1/cfx/st/x", "--ca", "/nowhere.pem"],
        &["rtmp://127.0.0.1/cfx/st/x", "--nonsense"],
    ] {
        let done = run("penstock-edge", words).expect(2);
        assert!(!done.stderr.is_empty());
    }
    let help = run("penstock", &["--help"]).expect(0).stdout;
    assert!(help.contains("Exit codes") && help.contains("penstock probe"), "{help}");
}

#[test]
fn a_server_that_stops_in_mid_play_is_5_and_one_that_freezes_7() {
    for (signal, code) in [("TERM", 5), ("STOP", 7)] {
        let mut server = Standalone::start();
        let url = format!("rtmp://{}/cfx/st/mp4:film.mp4", server.rtmp());
        let probe = std::thread::spawn(move || {
            json(code, &[&url, "--seconds", "60", "--stall", "3", "--buffer", "1000"])
        });
        eventually("the probe plays", Duration::from_secs(20), || {
            (server.metric("penstock_edge_playing_streams") >= 1.0).then_some(())
        });
        std::thread::sleep(Duration::from_millis(1500));
        server.process.signal(signal);
        let report = probe.join().unwrap();
        assert!(report["media"]["played_seconds"].as_f64().unwrap() > 0.5, "{report:#}");
        server.process.kill();
    }
}

#[test]
fn a_folder_named_probe_is_served_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("probe")).unwrap();
    std::fs::copy(media::file("first.mp4"), folder.path().join("probe/first.mp4")).unwrap();
    // The words as a person would type them, in that folder.
    let at = |name: &str| folder.path().join(name).display().to_string();
    let mut words = vec!["-C".to_owned(), folder.path().display().to_string()];
    words.push(product("penstock").canonicalize().unwrap().display().to_string());
    words.extend([
        "./probe".to_owned(),
        "--data".into(),
        at("data"),
        "--ready-file".into(),
        at("ready.json"),
    ]);
    for option in ["--listen", "--api", "--s3", "--metrics"] {
        words.extend([option.to_owned(), "127.0.0.1:0".into()]);
    }
    let mut server = Running::start(Path::new("env"), &words, &[], &folder.path().join("log")).unwrap();
    let ready = wait_ready(&mut server, &folder.path().join("ready.json")).unwrap();
    let address = ready["rtmp"][0].as_str().unwrap();
    let report = json(0, &[&format!("rtmp://{address}/cfx/st/mp4:first.mp4"), "--seconds", "1"]);
    played(&report, 1.0);
}
