//! A viewer against scripted servers: what it asks, what it makes of the answers, how it leaves.

use clap::Parser;

use super::*;

fn shared(options: &Options) -> Shared<'_> {
    let films = options.names.iter().map(|_| Film::default()).collect();
    Shared { options, hello: Hello::plain(), films, figures: Figures::default(), now_us: 0 }
}

fn options(words: &[&str]) -> Options {
    Options::parse_from([&["load"], words].concat())
}

/// What it has sent since the last time.
fn sent(viewer: &mut Viewer) -> Vec<u8> {
    let mut wire = Vec::new();
    viewer.send(&mut wire);
    assert_eq!(viewer.pending_bytes(), 0);
    wire
}

fn say(viewer: &mut Viewer, shared: &mut Shared, kind: u8, body: &[u8]) {
    let mut bytes = Vec::new();
    chunk::write(&mut bytes, 3, kind, 0, body);
    viewer.feed(&mut bytes, shared);
}

fn result(transaction: f64, id: f64) -> Vec<u8> {
    let mut b = Vec::new();
    amf::string(&mut b, "_result");
    amf::number(&mut b, transaction);
    amf::null(&mut b);
    amf::number(&mut b, id);
    b
}

fn status(level: &str, code: &str) -> Vec<u8> {
    let mut b = Vec::new();
    amf::string(&mut b, "onStatus");
    amf::number(&mut b, 0.0);
    amf::null(&mut b);
    amf::object(&mut b, &[("level", level), ("code", code)], &[]);
    b
}

/// A viewer that has sent `play`.
fn playing(shared: &mut Shared) -> Viewer {
    let mut viewer = Viewer::new(0, 0, 0, shared);
    viewer.greet(shared);
    assert_eq!(sent(&mut viewer).len(), 1537);
    viewer.feed(&mut [3; ANSWER_BYTES], shared);
    assert_eq!(*viewer.stage(), Stage::Connecting);
    say(&mut viewer, shared, 20, &result(1.0, 0.0));
    say(&mut viewer, shared, 20, &result(2.0, 1.0));
    assert_eq!(*viewer.stage(), Stage::Playing);
    viewer
}

#[test]
fn a_play_from_handshake_to_end() {
    let options = options(&["--paced"]);
    let shared = &mut shared(&options);
    let mut viewer = playing(shared);
    assert!(!viewer.is_served());
    shared.now_us = 5000;
    say(&mut viewer, shared, 9, &[0x17, 0, 1]);
    assert!(!viewer.is_served(), "a codec header is no frame");
    say(&mut viewer, shared, 9, &[0x17, 1, 1]);
    assert!(viewer.is_served());
    assert_eq!(shared.figures.first_frame.quantile_ms(0.5), 5.0);
    assert_eq!(shared.figures.hashes_right, 1);
    say(&mut viewer, shared, 20, &status("status", "NetStream.Play.Stop"));
    assert_eq!(*viewer.stage(), Stage::Over(End::Completed));
}

#[test]
fn media_before_a_seek_is_answered_is_not_wanted() {
    let options = options(&[]);
    let shared = &mut shared(&options);
    let mut viewer = playing(shared);
    say(&mut viewer, shared, 9, &[0x17, 1, 1]);
    assert!(viewer.is_at_leisure());
    viewer.seek(1000, shared);
    assert!(!viewer.is_at_leisure());
    say(&mut viewer, shared, 9, &[0x27, 1, 2]);
    say(&mut viewer, shared, 20, &status("status", "NetStream.Play.Stop"));
    assert_eq!(shared.figures.hashes_right, 1);
    shared.now_us = 7000;
    say(&mut viewer, shared, 20, &status("status", "NetStream.Seek.Notify"));
    say(&mut viewer, shared, 9, &[0x17, 1, 1]);
    assert_eq!(shared.figures.seek.quantile_ms(1.0), 7.0);
    assert!(viewer.is_at_leisure());
}

#[test]
fn refusals_are_failures_with_their_code() {
    let options = options(&[]);
    let shared = &mut shared(&options);
    let mut viewer = playing(shared);
    say(&mut viewer, shared, 20, &status("error", "NetStream.Play.StreamNotFound"));
    let Stage::Over(End::Failed(reason)) = viewer.stage() else { panic!("{:?}", viewer.stage()) };
    assert_eq!(reason, "refused: NetStream.Play.StreamNotFound");
}

#[test]
fn pings_and_windows_are_answered() {
    let options = options(&["--idle"]);
    let shared = &mut shared(&options);
    let mut viewer = Viewer::new(0, 0, 0, shared);
    viewer.feed(&mut [3; ANSWER_BYTES], shared);
    say(&mut viewer, shared, 20, &result(1.0, 0.0));
    assert_eq!(*viewer.stage(), Stage::Idle);
    sent(&mut viewer);
    say(&mut viewer, shared, 4, &[0, 6, 1, 2, 3, 4]);
    assert!(sent(&mut viewer).ends_with(&[0, 7, 1, 2, 3, 4]));
    sent(&mut viewer);
    say(&mut viewer, shared, 5, &10u32.to_be_bytes());
    assert_eq!(sent(&mut viewer)[7], 3, "an acknowledgement");
}

#[test]
fn an_encrypted_session_is_clear_up_to_c2_and_hidden_after_it() {
    let options = options(&["--protocol", "rtmpe", "--verify", "none"]);
    let shared = &mut shared(&options);
    shared.hello = Hello::encrypted(5);
    let mut viewer = Viewer::new(0, 0, 0, shared);
    viewer.greet(shared);
    let hello = sent(&mut viewer);
    let (mut answer, mut server) = crate::hello::tests::serve(&hello[1..], 7);
    viewer.feed(&mut answer, shared);
    let mut said = sent(&mut viewer);
    assert!(said.len() > 1536 && !said.windows(7).any(|w| w == b"connect"));
    server.open(&mut said[1536..]);
    let url = format!("rtmpe://{}/cfx/st", options.target);
    for word in ["connect", &url] {
        assert!(said[1536..].windows(word.len()).any(|w| w == word.as_bytes()), "no {word}");
    }
    let mut bytes = Vec::new();
    chunk::write(&mut bytes, 3, 20, 0, &result(1.0, 0.0));
    server.seal(&mut bytes);
    viewer.feed(&mut bytes, shared);
    assert_eq!(*viewer.stage(), Stage::Creating);
    let mut said = sent(&mut viewer);
    server.open(&mut said);
    assert!(said.windows(12).any(|w| w == b"createStream"));
}

#[test]
fn a_wrong_answer_to_an_encrypted_hello_fails_the_session() {
    let options = options(&["--protocol", "rtmpe"]);
    let shared = &mut shared(&options);
    shared.hello = Hello::encrypted(5);
    let mut viewer = Viewer::new(0, 0, 0, shared);
    viewer.feed(&mut [3; ANSWER_BYTES], shared);
    let Stage::Over(End::Failed(reason)) = viewer.stage() else { panic!("{:?}", viewer.stage()) };
    assert!(reason.starts_with("handshake: "), "{reason}");
}

#[test]
fn one_that_stays_paused_pauses_at_its_first_frame() {
    let options = options(&["--paced", "--stay-paused"]);
    let shared = &mut shared(&options);
    let mut viewer = playing(shared);
    sent(&mut viewer);
    say(&mut viewer, shared, 9, &[0x17, 1, 1]);
    assert!(sent(&mut viewer).windows(5).any(|w| w == b"pause"));
    assert!(viewer.is_served() && !viewer.is_at_leisure());
    assert_eq!(shared.figures.pauses, 1);
    say(&mut viewer, shared, 9, &[0x27, 1, 1]);
    assert!(sent(&mut viewer).is_empty(), "once");
}
