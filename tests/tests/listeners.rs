//! What arrives at an RTMP port besides RTMP, and what the process around it promises to scripts.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::process::{Running, product};
use tests::standalone::{Options, Standalone, shared, wait_ready};
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{eventually, http, media, packets, players};

/// Sends these bytes and gives all that comes back before the server closes.
fn exchange(addr: &str, bytes: &[u8], within: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(bytes).unwrap();
    until_closed(stream, within)
}

fn until_closed(mut stream: TcpStream, within: Duration) -> Vec<u8> {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    eventually("the server's close", within, || match stream.read(&mut buffer) {
        Ok(0) => Some(()),
        Ok(n) => {
            all.extend(&buffer[..n]);
            None
        }
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Some(()),
        Err(_) => None,
    });
    all
}

#[test]
fn s11_a_policy_file_request_is_answered_on_the_rtmp_port_and_closed() {
    let answer = exchange(shared().rtmp(), b"<policy-file-request/>\0", PATIENCE);
    let text = String::from_utf8(answer).unwrap();
    assert!(
        text.ends_with('\0') && text.contains("<cross-domain-policy>") && text.contains(r#"domain="*""#),
        "{text}"
    );
}

#[test]
fn s12_c31_crossdomain_xml_allows_all_whatever_the_bucket_holds() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crossdomain.xml"), "<cross-domain-policy/>").unwrap();
    let server = Standalone::over(folder.path());
    let answer = http::get(server.rtmp(), "/crossdomain.xml").unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains(r#"<allow-access-from domain="*""#), "{}", answer.text());
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/x-cross-domain-policy") || kind.starts_with("text/xml"), "{kind}");
}

#[test]
fn s11_other_http_is_not_found() {
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/clip.flv"),
        ("POST", "/fcs/ident2"),
        ("GET", "/../../etc/passwd"),
        ("HEAD", "/x"),
    ] {
        let answer =
            http::request(shared().rtmp(), method, path, &[], &[0; 1][..usize::from(method == "POST")])
                .unwrap();
        assert_eq!(answer.status, 404, "{method} {path}");
    }
}

#[test]
fn s11_anything_else_is_closed_without_a_word() {
    for bytes in [
        &b"\x00\x01\x02\x03"[..],
        b"\xff\xff\xff\xff",
        b"hello there\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"<?xml version='1.0'?>",
        b"SSH-2.0-x\r\n",
    ] {
        let answer = exchange(shared().rtmp(), bytes, PATIENCE);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{bytes:?}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
}

#[test]
fn s11_proxy_headers_of_peers_not_listed_are_closed() {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0x07, 0x8f]);
    header.extend([3]);
    header.extend(tests::wire::handshake::c1(tests::wire::handshake::Kind::Simple));
    assert!(exchange(shared().rtmp(), &header, PATIENCE).is_empty());
}

#[test]
fn s11_proxy_headers_of_listed_peers_are_required_and_name_the_viewer() {
    let config = Some("edge:\n  proxy_protocol_from: ['127.0.0.0/8']\n".to_owned());
    let server = Standalone::with(Options { config, ..Default::default() });
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 77, 192, 0, 2, 2, 0x12, 0x34, 0x07, 0x8f]);
    let mut stream = TcpStream::connect(server.rtmp()).unwrap();
    stream.write_all(&header).unwrap();
    tests::wire::handshake::run(&mut stream, tests::wire::handshake::Kind::Digest(0)).unwrap();
    let mut client = Client::over(stream);
    client.connect("cfx/st", &server.url(), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    eventually("the viewer's address in the log", PATIENCE, || {
        server.log().contains("192.0.2.77").then_some(())
    });
    // A header that says nothing of addresses (LOCAL, as balancers' health checks send it) is taken too.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0<policy-file-request/>\0";
    assert!(exchange(server.rtmp(), local, PATIENCE).ends_with(b"\0"));
    for garbage in [
        &b"\x03"[..],
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ] {
        let mut bytes = garbage.to_vec();
        bytes.extend([0; 200]);
        assert!(exchange(server.rtmp(), &bytes, Duration::from_secs(15)).is_empty(), "{garbage:?}");
    }
}

#[test]
fn s11_silence_is_closed_by_a_deadline_before_and_within_the_handshake() {
    let quiet = TcpStream::connect(shared().rtmp()).unwrap();
    let mut slow = TcpStream::connect(shared().rtmp()).unwrap();
    slow.write_all(&[3, 0, 0]).unwrap();
    let mut http = TcpStream::connect(shared().rtmp()).unwrap();
    http.write_all(b"GET /cross").unwrap();
    let end = Instant::now() + Duration::from_secs(35);
    for stream in [quiet, slow, http] {
        until_closed(stream, end.saturating_duration_since(Instant::now()));
    }
}

#[test]
fn listeners_are_told_in_the_order_of_the_options_and_all_serve() {
    let server = Standalone::with(Options {
        listen: vec!["127.0.0.1:0".into(), "0.0.0.0:0".into(), "[::1]:0".into()],
        ..Default::default()
    });
    let all: Vec<String> =
        server.ready["rtmp"].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect();
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(
        all[0].starts_with("127.0.0.1:") && all[1].starts_with("127.0.0.1:") && all[2].starts_with("[::1]:"),
        "{all:?}"
    );
    for addr in &all {
        let mut client = Client::streaming(addr);
        client.play(1, "clip", &[0.0]);
        client.wait("pictures", PATIENCE, Message::is_picture);
    }
}

#[test]
fn the_ready_file_has_what_scripts_rely_on_and_is_for_its_owner_only() {
    let server = shared();
    assert_eq!(fs::metadata(&server.ready_file).unwrap().permissions().mode() & 0o777, 0o600);
    let domain = server.domain();
    let (label, zone) = domain.split_once('.').unwrap();
    assert_eq!((label.len(), zone), (14, "penstock.localhost"), "{domain}");
    assert!(label.starts_with('s') && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    assert_eq!(server.ready["bucket"], "media");
    assert!(server.ready["distribution"]["id"].as_str().unwrap().starts_with('E'));
    assert!(!server.keys().0.is_empty() && !server.keys().1.is_empty());
    for key in ["api", "s3", "metrics"] {
        let addr = server.ready[key].as_str().unwrap();
        assert!(addr.parse::<std::net::SocketAddr>().unwrap().port() > 0, "{key}: {addr}");
    }
}

#[test]
fn health_readiness_and_metrics_are_served() {
    let server = shared();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(http::get(server.api(), path).unwrap().status, 200, "{path} of the API");
        assert_eq!(http::get(server.metrics_addr(), path).unwrap().status, 200, "{path} of metrics");
    }
    // The API itself asks who is there.
    let unsigned = http::get(server.api(), "/2020-05-31/streaming-distribution").unwrap();
    assert!(
        unsigned.status == 403 && unsigned.text().contains("MissingAuthenticationToken"),
        "{}",
        unsigned.text()
    );
    let metrics = server.metrics();
    assert!(metrics.keys().any(|k| k.contains("build_info")), "{metrics:#?}");
    assert!(metrics.keys().filter(|k| k.starts_with("penstock_")).count() > 10, "{metrics:#?}");
    let labels = metrics
        .keys()
        .filter(|k| k.contains("distribution=") || k.contains("key=") || k.contains("session="))
        .count();
    assert_eq!(labels, 0, "unbounded labels");
}

#[test]
fn a_restart_keeps_id_domain_and_keys_and_another_data_folder_has_others() {
    let data = tempfile::tempdir().unwrap();
    let options = Options { data: Some(data.path().join("d")), ..Default::default() };
    let identity = |s: &Standalone| {
        (
            s.ready["distribution"].clone(),
            s.ready["access_key_id"].clone(),
            s.ready["secret_access_key"].clone(),
        )
    };
    let first = identity(&Standalone::with(options.clone()));
    let second = identity(&Standalone::with(options));
    assert_eq!(first, second);
    assert_ne!(identity(shared()), first);
}

#[test]
fn term_and_int_close_the_sessions_and_exit_with_zero() {
    for signal in ["TERM", "INT"] {
        let mut server = Standalone::start();
        let mut client = Client::streaming(server.rtmp());
        client.play(1, "minute", &[0.0]);
        client.wait("pictures", PATIENCE, Message::is_picture);
        server.process.signal(signal);
        let status = server.process.wait(Duration::from_secs(15)).unwrap();
        assert_eq!(status.code(), Some(0), "SIG{signal}: {status}");
        client.wait_closed(PATIENCE);
    }
}

fn started(args: &[String], env: &[(&str, String)], folder: &Path) -> Running {
    Running::start(&product("penstock"), args, env, &folder.join("log")).unwrap()
}

#[test]
fn everything_can_be_said_by_environment_too() {
    let folder = tempfile::tempdir().unwrap();
    let ready_file = folder.path().join("ready");
    let any = || "127.0.0.1:0".to_owned();
    let env = [
        ("PENSTOCK_MEDIA_DIR", media::folder().display().to_string()),
        ("PENSTOCK_DATA", folder.path().join("data").display().to_string()),
        ("PENSTOCK_LISTEN", "127.0.0.1:0,127.0.0.1:0".to_owned()),
        ("PENSTOCK_API", any()),
        ("PENSTOCK_S3", any()),
        ("PENSTOCK_METRICS", any()),
        ("PENSTOCK_READY_FILE", ready_file.display().to_string()),
    ];
    let mut process = started(&[], &env, folder.path());
    let ready = wait_ready(&mut process, &ready_file).unwrap();
    assert_eq!(ready["rtmp"].as_array().unwrap().len(), 2);
    let mut client = Client::streaming(ready["rtmp"][1].as_str().unwrap());
    client.play(1, "clip", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
}

#[test]
fn a_stale_ready_file_is_gone_before_anything_serves() {
    let folder = tempfile::tempdir().unwrap();
    let ready_file = folder.path().join("ready");
    fs::write(&ready_file, r#"{"stale":true}"#).unwrap();
    let mut args = vec![media::folder().display().to_string()];
    for (name, value) in [
        ("--listen", "127.0.0.1:0"),
        ("--api", "127.0.0.1:0"),
        ("--s3", "127.0.0.1:0"),
        ("--metrics", "127.0.0.1:0"),
    ] {
        args.extend([name.to_owned(), value.to_owned()]);
    }
    args.extend(["--data".into(), folder.path().join("data").display().to_string()]);
    args.extend(["--ready-file".into(), ready_file.display().to_string()]);
    let mut process = started(&args, &[], folder.path());
    eventually("the stale file's end", PATIENCE, || {
        (!fs::read_to_string(&ready_file).is_ok_and(|t| t.contains("stale"))).then_some(())
    });
    let ready = wait_ready(&mut process, &ready_file).unwrap();
    assert!(ready.get("stale").is_none() && ready.get("rtmp").is_some());
}

#[test]
fn bad_options_and_bad_configuration_are_refused_naming_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], part: &str| {
        let begun = players::run(20, product("penstock").to_str().unwrap(), args);
        assert!(begun.code != 0 && begun.code != 124, "{args:?}: {begun:?}");
        assert!(
            begun.stderr.contains(part) || begun.stdout.contains(part),
            "{args:?} doesn't name {part}: {begun:?}"
        );
    };
    refused(&["--listen", "nonsense"], "listen");
    refused(&["--no-such-option"], "no-such-option");
    let config = folder.path().join("c.yaml");
    fs::write(&config, "no_such_field: 1\n").unwrap();
    refused(
        &["--config", config.to_str().unwrap(), "--data", folder.path().to_str().unwrap()],
        "no_such_field",
    );
    let missing = folder.path().join("missing");
    refused(&[missing.to_str().unwrap(), "--data", folder.path().to_str().unwrap()], "missing");
}

#[test]
fn help_names_every_option_and_version_the_version() {
    let bin = product("penstock");
    let help = players::run(10, bin.to_str().unwrap(), &["--help"]).expect(0).stdout;
    for option in [
        "MEDIA_DIR",
        "--data",
        "--listen",
        "--api",
        "--s3",
        "--metrics",
        "--ready-file",
        "--config",
        "PENSTOCK_LISTEN",
    ] {
        assert!(help.contains(option), "{option} is not in\n{help}");
    }
    let version = players::run(10, bin.to_str().unwrap(), &["--version"]).expect(0).stdout;
    assert!(version.contains("0.1"), "{version}");
}

#[test]
fn without_a_media_folder_the_sample_plays_by_the_printed_command() {
    let folder = tempfile::tempdir().unwrap();
    let ready_file = folder.path().join("ready");
    let mut args: Vec<String> = Vec::new();
    for name in ["--listen", "--api", "--s3", "--metrics"] {
        args.extend([name.to_owned(), "127.0.0.1:0".to_owned()]);
    }
    args.extend(["--data".into(), folder.path().join("data").display().to_string()]);
    args.extend(["--ready-file".into(), ready_file.display().to_string()]);
    let mut process = started(&args, &[], folder.path());
    wait_ready(&mut process, &ready_file).unwrap();
    let printed = eventually("the printed commands", PATIENCE, || {
        Some(process.log()).filter(|l| l.contains("rtmpdump "))
    });
    assert!(
        printed.contains("rtmp://") && (printed.contains("ffplay ") || printed.contains("mpv ")),
        "{printed}"
    );
    let line = printed.lines().find(|l| l.contains("rtmpdump -r")).unwrap();
    let command = &line[line.find("rtmpdump -r").unwrap()..];
    // As printed, but into a folder of ours.
    let (head, tail) = command.split_once(" -o ").unwrap();
    let rest = tail.split_once(' ').map_or("", |(_, rest)| rest);
    let film = folder.path().join("sample.flv");
    let done = players::run(70, "sh", &["-c", &format!("{head} -q -o {} {rest}", film.display())]);
    assert!(matches!(done.code, 0 | 2), "{command}: {done:?}");
    assert!(packets::of(&film).unwrap()["video"].len() > 50, "{command}");
    let line = printed.lines().find(|l| l.contains("ffplay ") || l.contains("mpv ")).unwrap();
    let url = line.split_whitespace().find(|w| w.contains("rtmp://")).unwrap().trim_matches(['\'', '"']);
    players::mpv(url, &["--length=1"]).expect(0);
}
