//! SWF verification: a distribution that names the SWF files its players must be, and players that are, aren't, or don't say.

use std::fs;
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tests::s3::hmac;
use tests::standalone::{Options, Standalone, shared};
use tests::wire::amf::Value;
use tests::wire::handshake::{self, Kind};
use tests::wire::{Client, PATIENCE};
use tests::{media, players};

/// What a compiler might have made.
const SWF: &[u8] = b"FWS\x0a a player's bytes, decompressed, its first letter an F";

fn hash(swf: &[u8]) -> Vec<u8> {
    hmac(b"Genuine Adobe Flash Player 001", swf)
}

/// Standalone whose distribution allows [`SWF`] and another file of any length.
fn guarded() -> &'static Standalone {
    static GUARDED: OnceLock<Standalone> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let config = format!(
            "edge: {{swf_timeout_ms: 2000}}\ndistribution:\n  swf_verification:\n    - {{hash: {}, size_bytes: {}}}\n    - {{hash: {}}}\n",
            hex::encode(hash(SWF)),
            SWF.len(),
            hex::encode(hash(b"FWS another"))
        );
        Standalone::with(Options { config: Some(config), ..Default::default() })
    })
}

fn rejected() -> f64 {
    let code = "penstock_edge_rejected_total{code=\"SwfVerificationFailed\"}";
    guarded().metrics().get(code).copied().unwrap_or(0.0)
}

/// A connection whose `connect` was answered, and the end of its S1.
fn connected(addr: &str) -> (Client, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).unwrap();
    let (_, s1, _) = handshake::first_half(&mut stream, 3, &handshake::c1(Kind::Digest(0))).unwrap();
    std::io::Write::write_all(&mut stream, &handshake::c2(&s1, Kind::Digest(0))).unwrap();
    let mut client = Client::over(stream);
    client.connect("cfx/st", &format!("rtmp://{addr}/cfx/st"), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    (client, s1[s1.len() - 32..].to_vec())
}

fn answer(key: &[u8], swf: &[u8]) -> Vec<u8> {
    let size = (swf.len() as u32).to_be_bytes();
    [&[0, 27, 1, 1][..], &size, &size, &hmac(key, &hash(swf))].concat()
}

/// Waits for the rejection and the close that follow.
fn told_off(client: &mut Client, within: Duration) {
    let status = client.wait_status_within("NetConnection.Connect.Rejected", within);
    assert_eq!(status.field("level"), "error");
    assert!(status.field("description").contains("SwfVerificationFailed"), "{status:?}");
    assert_eq!(status.get("application").unwrap().field("message"), "SwfVerificationFailed");
    client.wait("close", PATIENCE, |m| m.command().is_some_and(|c| c.name == "close"));
    client.wait_closed(PATIENCE);
    assert!(client.messages().iter().all(|m| !m.is_media()), "{}", client.outline());
}

#[test]
fn rtmpdump_with_an_allowed_swf_gets_the_very_file() {
    let folder = tempfile::tempdir().unwrap();
    let (open, verified) = (folder.path().join("open.flv"), folder.path().join("verified.flv"));
    players::download(shared().rtmp(), "mp4:first.mp4", &open);
    let (sum, size) = (hex::encode(hash(SWF)), SWF.len().to_string());
    let done = players::rtmpdump(
        guarded().rtmp(),
        "mp4:first.mp4",
        &verified,
        &["--swfhash", &sum, "--swfsize", &size],
    );
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    assert!(fs::read(&open).unwrap() == fs::read(&verified).unwrap(), "the files differ");
    // The second file may be of any length.
    let sum = hex::encode(hash(b"FWS another"));
    let done = players::rtmpdump(
        guarded().rtmp(),
        "mp4:first.mp4",
        &verified,
        &["--swfhash", &sum, "--swfsize", "77"],
    );
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    assert!(fs::read(&open).unwrap() == fs::read(&verified).unwrap(), "the files differ");
}

#[test]
fn rtmpdump_proves_its_swf_over_every_variant() {
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open.flv");
    players::download(shared().rtmp(), "mp4:first.mp4", &open);
    let (right, wrong, size) =
        (hex::encode(hash(SWF)), hex::encode(hash(b"FWS not this")), SWF.len().to_string());
    for scheme in ["rtmpe", "rtmpt", "rtmpte"] {
        let to = folder.path().join(format!("{scheme}.flv"));
        let proof = ["-b", "36000000", "--swfhash", &right, "--swfsize", &size];
        let done = players::rtmpdump_over(scheme, guarded().rtmp(), "mp4:first.mp4", &to, &proof);
        assert!(matches!(done.code, 0 | 2), "{scheme}: {done:?}");
        assert!(fs::read(&open).unwrap() == fs::read(&to).unwrap(), "{scheme}: the files differ");
        let lie = ["--swfhash", &wrong, "--swfsize", &size];
        let done = players::rtmpdump_over(scheme, guarded().rtmp(), "mp4:first.mp4", &to, &lie);
        assert_eq!(done.code, 1, "{scheme}: {done:?}");
    }
}

#[test]
fn rtmpdump_with_another_swf_or_length_or_none_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong, size) =
        (hex::encode(hash(SWF)), hex::encode(hash(b"FWS not this")), SWF.len().to_string());
    let before = rejected();
    let cases: [&[&str]; 3] =
        [&["--swfhash", &wrong, "--swfsize", &size], &["--swfhash", &right, "--swfsize", "9"], &[]];
    for (n, more) in cases.into_iter().enumerate() {
        let to = folder.path().join(format!("{n}.flv"));
        let done = players::rtmpdump(guarded().rtmp(), "mp4:first.mp4", &to, more);
        assert_eq!(done.code, 1, "{more:?}: {done:?}");
        let written = fs::read(&to).unwrap_or_default();
        assert!(written.len() <= 13, "{more:?}: {} bytes", written.len());
    }
    assert!(rejected() >= before + 3.0, "{} after {before}", rejected());
    assert!(guarded().log().contains("SwfVerificationFailed"));
}

#[test]
fn until_the_answer_nothing_is_acted_on_and_then_all_of_it() {
    let (mut client, key) = connected(guarded().rtmp());
    client.wait("event 26", PATIENCE, |m| m.event() == Some((26, &[1][..])));
    let asked = client.messages().iter().position(|m| m.event().is_some_and(|(event, _)| event == 26));
    let greeted = client.messages().iter().position(|m| m.command().is_some_and(|c| c.name == "_result"));
    assert!(asked > greeted, "{}", client.outline());
    client.command(0, "createStream", 2.0, &[Value::Null]);
    client.set_buffer(1, 36_000_000);
    client.play(1, "clip", &[0.0]);
    // The answer to a ping that was sent after them shows that they were read.
    client.send(2, 4, 0, &[0, 6, 1, 2, 3, 4]);
    client.wait("the answer to a ping", PATIENCE, |m| m.event() == Some((7, &[1, 2, 3, 4][..])));
    assert!(
        client.messages().iter().all(|m| m.command().is_none_or(|c| c.tx != 2.0)),
        "{}",
        client.outline()
    );
    client.send(2, 4, 0, &answer(&key, SWF));
    assert_eq!(client.wait_answer(2.0, PATIENCE).0, "_result");
    client.wait_status("NetStream.Play.Start");
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(30));
    // A second answer is one nobody asked for.
    client.send(2, 4, 0, &answer(&key, b"FWS nonsense"));
    assert_eq!(client.create_stream(), 2);
}

#[test]
fn a_wrong_answer_is_told_and_closed() {
    let (mut client, key) = connected(guarded().rtmp());
    client.send(2, 4, 0, &answer(&key, b"FWS somebody else's"));
    told_off(&mut client, PATIENCE);
    let (mut client, key) = connected(guarded().rtmp());
    client.send(2, 4, 0, &answer(&key, SWF)[..43]);
    told_off(&mut client, PATIENCE);
    // An answer that was right on another connection.
    let (_other, key) = connected(guarded().rtmp());
    let (mut client, _) = connected(guarded().rtmp());
    client.send(2, 4, 0, &answer(&key, SWF));
    told_off(&mut client, PATIENCE);
}

#[test]
fn silence_is_told_and_closed_when_its_time_is_up() {
    let begun = Instant::now();
    let (mut client, _) = connected(guarded().rtmp());
    client.command(0, "createStream", 2.0, &[Value::Null]);
    told_off(&mut client, Duration::from_secs(20));
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    assert!(client.messages().iter().all(|m| m.command().is_none_or(|c| c.tx != 2.0)));
}

#[test]
fn what_is_kept_before_the_answer_has_a_limit() {
    let refused = "penstock_edge_refused_total{reason=\"swf_held\"}";
    let count = || guarded().metrics().get(refused).copied().unwrap_or(0.0);
    let before = count();
    let (mut client, _) = connected(guarded().rtmp());
    for tx in 0..200 {
        client.command(0, "createStream", f64::from(tx), &[Value::Null]);
    }
    client.wait_closed(PATIENCE);
    let (mut client, _) = connected(guarded().rtmp());
    for tx in 0..3 {
        let long = "x".repeat(30_000);
        client.command(0, "whatever", f64::from(tx), &[Value::Null, long.as_str().into()]);
    }
    client.wait_closed(PATIENCE);
    tests::eventually("both counted", PATIENCE, || (count() >= before + 2.0).then_some(()));
}

#[test]
fn without_a_rule_nobody_is_asked_and_an_answer_is_ignored() {
    let (mut client, key) = connected(shared().rtmp());
    client.send(2, 4, 0, &answer(&key, SWF));
    assert_eq!(client.create_stream(), 1);
    client.play(1, "clip", &[0.0]);
    client.wait_status("NetStream.Play.Start");
    assert!(client.messages().iter().all(|m| m.event().is_none_or(|(event, _)| event != 26)));
    assert!(media::file("clip.flv").is_file());
}
