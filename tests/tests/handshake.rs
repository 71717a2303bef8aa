//! Handshakes over plain RTMP, byte by byte. Numbers are those of the wire contract's acceptance statements.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tests::standalone::shared;
use tests::wire::handshake::{Kind, PACKET, c1, c2, filler, first_half, s1_verifies, s2_verifies};
use tests::wire::{Client, PATIENCE, amf, chunk::Chunker};
use tests::{eventually, players};

fn socket() -> TcpStream {
    let stream = TcpStream::connect(shared().rtmp()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn connect_bytes() -> Vec<u8> {
    let url = shared().url();
    let object =
        amf::Value::Object(vec![("app".into(), "cfx/st".into()), ("tcUrl".into(), url.as_str().into())]);
    Chunker::default().message(3, 0, 20, 0, &amf::command("connect", 1.0, &[object]))
}

fn succeeds(stream: TcpStream) {
    let mut client = Client::over(stream);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
}

#[test]
fn s1_a_version_zero_client_gets_a_zero_version_and_its_own_packet_back() {
    let (s0, s1, s2) = first_half(&mut socket(), 3, &c1(Kind::Simple)).unwrap();
    assert_eq!(s0, 3);
    assert_eq!(s1[4..8], [0; 4]);
    assert_eq!(s2, c1(Kind::Simple));
}

#[test]
fn s2_a_scheme_0_digest_is_answered_in_scheme_0_by_a_version_3_5_server() {
    let sent = c1(Kind::Digest(0));
    let (s0, s1, s2) = first_half(&mut socket(), 3, &sent).unwrap();
    assert_eq!(s0, 3);
    assert_eq!(s1[4..6], [3, 5], "S1's version is {:?}", &s1[4..8]);
    assert!(s1_verifies(&s1, 0));
    assert!(s2_verifies(&s2, &sent, 0));
}

#[test]
fn s2_ffprobe_which_checks_the_digest_plays() {
    let seen = players::ffprobe(&format!("{}/mp4:first.mp4", shared().url())).expect(0);
    assert!(seen.stdout.contains("h264") && seen.stdout.contains("aac"), "{}", seen.stdout);
}

#[test]
fn s3_a_scheme_1_digest_is_answered_in_scheme_1() {
    let sent = c1(Kind::Digest(1));
    let (_, s1, s2) = first_half(&mut socket(), 3, &sent).unwrap();
    assert!(s1_verifies(&s1, 1));
    assert!(s2_verifies(&s2, &sent, 1));
}

#[test]
fn s4_a_version_without_a_valid_digest_falls_back_to_the_simple_handshake() {
    let mut sent = filler(99);
    sent[4..8].copy_from_slice(&[10, 0, 45, 2]);
    let (s0, s1, s2) = first_half(&mut socket(), 3, &sent).unwrap();
    assert_eq!((s0, &s1[4..8]), (3, &[0; 4][..]));
    assert_eq!(s2, sent);
}

#[test]
fn s8_a_c2_that_is_no_echo_is_accepted() {
    for kind in [Kind::Simple, Kind::Digest(0), Kind::Digest(1)] {
        let mut stream = socket();
        let (_, s1, _) = first_half(&mut stream, 3, &c1(kind)).unwrap();
        let mut altered = c2(&s1, kind);
        altered[4..8].copy_from_slice(&[1, 2, 3, 4]);
        altered[PACKET - 40..].fill(0x55);
        stream.write_all(&[altered, connect_bytes()].concat()).unwrap();
        succeeds(stream);
    }
}

#[test]
fn s9_c2_and_connect_in_one_segment_work() {
    let mut stream = socket();
    let (_, s1, _) = first_half(&mut stream, 3, &c1(Kind::Digest(0))).unwrap();
    stream.write_all(&[c2(&s1, Kind::Digest(0)), connect_bytes()].concat()).unwrap();
    succeeds(stream);
}

#[test]
fn s9_one_byte_a_segment_works() {
    let mut stream = socket();
    let mut all = vec![3];
    all.extend(c1(Kind::Simple));
    for byte in &all {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = vec![0; 1 + 2 * PACKET];
    stream.read_exact(&mut answer).unwrap();
    let mut rest = answer[1..=PACKET].to_vec();
    rest.extend(connect_bytes());
    for byte in rest {
        stream.write_all(&[byte]).unwrap();
    }
    succeeds(stream);
}

#[test]
fn s6_a_version_byte_of_no_protocol_closes_within_a_second() {
    let mut stream = socket();
    stream.write_all(&[&[7], c1(Kind::Simple).as_slice()].concat()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    eventually("the close", Duration::from_secs(1), || match stream.read(&mut [0; 16]) {
        Ok(0) => Some(()),
        Ok(n) => panic!("{n} bytes of answer"),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Some(()),
        Err(_) => None,
    });
}
