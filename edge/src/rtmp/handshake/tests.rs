//! Tests of `rtmp/handshake`.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};

use super::digest::{PLAYER_KEY, SERVER_KEY};
use super::*;

mod client;
mod encrypted;

/// A packet with a pattern in it, and ffmpeg's version.
fn pattern() -> Packet {
    let mut packet = std::array::from_fn(|i| (i * 7 + 13) as u8);
    packet[..8].copy_from_slice(&[0, 0, 0, 0, 9, 0, 124, 2]);
    packet
}

fn signed(scheme: Scheme) -> Packet {
    let mut c1 = pattern();
    digest::sign(&mut c1, PLAYER_KEY, scheme);
    c1
}

fn c0c1(c1: &Packet) -> BytesMut {
    let mut bytes = BytesMut::from(&[PLAIN][..]);
    bytes.extend_from_slice(c1);
    bytes
}

fn handshake() -> ServerHandshake {
    ServerHandshake::new(&mut StdRng::seed_from_u64(1))
}

/// Some keys.
pub(crate) fn keys() -> SessionKeys {
    SessionKeys::derive(&[1; KEY_BYTES], &[2; KEY_BYTES], &[3; KEY_BYTES])
}

/// S1 and S2 in answer to a C1.
fn answer(c1: &Packet) -> (Packet, Packet) {
    let HandshakeStep::Reply(reply) = handshake().advance(&mut c0c1(c1)).unwrap() else {
        panic!("no reply to a whole C1")
    };
    assert_eq!(reply.len(), 3073);
    assert_eq!(reply[0], PLAIN);
    (*packet(&reply[1..]).unwrap(), *packet(&reply[1 + PACKET_BYTES..]).unwrap())
}

/// Computed with Python's hmac over the same pattern.
#[test]
fn digests_match_those_of_another_implementation() {
    for (scheme, at, player, server) in [
        (
            Scheme::Zero,
            330,
            "29b9dea873ad3d372b1185084ec3435c12553d3fc9700c2494fa03c905e41af7",
            "c394da1dc6825593607a8279123f1aed4ecfa6bea5319d276ecfc505375427eb",
        ),
        (
            Scheme::One,
            982,
            "a273b7e0dcdcf796d7a737252b5fda124f271a9194db2a709da00dd39797ca4c",
            "ceeeceddab70ef838d607308e0ae88c4fa81369edc9ab6b38a34efc4c30f67d9",
        ),
    ] {
        assert_eq!(scheme.digest_at(&pattern()), at);
        for (key, expected) in [(PLAYER_KEY, player), (SERVER_KEY, server)] {
            let mut packet = pattern();
            digest::sign(&mut packet, key, scheme);
            assert_eq!(hex::encode(&packet[at..at + 32]), expected);
        }
    }
}

#[test]
fn signatures_match_those_of_another_implementation() {
    for (scheme, expected) in [
        (Scheme::Zero, "df997d3c0ed3051c2119b30fa90e56dffcaeb7a3a6b707c9dffe0ac8de826b02"),
        (Scheme::One, "99900aaf6167fc218686d47ec572e71fa13d08b5d6a08d910f429b2cbf64d4b6"),
    ] {
        let c1 = signed(scheme);
        let at = scheme.digest_at(&c1);
        let mut s2 = pattern();
        digest::acknowledge(&mut s2, SERVER_KEY, &c1[at..at + 32].try_into().unwrap());
        assert_eq!(hex::encode(&s2[1504..]), expected);
        assert_eq!(s2[..1504], pattern()[..1504]);
    }
}

#[test]
fn statement_1_a_simple_client_gets_its_c1_back() {
    let mut c1 = pattern();
    c1[4..8].fill(0);
    let (s1, s2) = answer(&c1);
    assert_eq!(s1[4..8], [0; 4]);
    assert_ne!(s1[8..], [0; 1528][..], "S1 is filled with random bytes");
    assert_eq!(s2, c1);
}

#[test]
fn statements_2_and_3_a_signed_client_is_answered_in_its_own_scheme() {
    for scheme in [Scheme::Zero, Scheme::One] {
        let c1 = signed(scheme);
        let (s1, s2) = answer(&c1);
        assert_eq!(s1[4..8], [3, 5, 1, 1]);
        let found = digest::find(&s1, SERVER_KEY, [Scheme::One, Scheme::Zero]);
        assert_eq!(found.map(|(scheme, _)| scheme), Some(scheme));

        let at = scheme.digest_at(&c1);
        let mut expected = s2;
        digest::acknowledge(&mut expected, SERVER_KEY, &c1[at..at + 32].try_into().unwrap());
        assert_eq!(s2, expected);
        assert_ne!(s2[..1504], c1[..1504], "S2 is no echo");
    }
}

#[test]
fn statement_4_a_version_without_a_digest_falls_back_to_simple() {
    let (s1, s2) = answer(&pattern());
    assert_eq!(s1[4..8], [0; 4]);
    assert_eq!(s2, pattern());
}

#[test]
fn statement_8_any_c2_is_accepted() {
    let mut handshake = handshake();
    handshake.advance(&mut c0c1(&signed(Scheme::Zero))).unwrap();
    assert_eq!(handshake.advance(&mut BytesMut::from(&[0xEE; PACKET_BYTES][..])), Ok(HandshakeStep::Done));
}

#[test]
fn statement_9_one_segment_or_a_byte_at_a_time_are_the_same() {
    let mut sent = c0c1(&signed(Scheme::One));
    sent.extend_from_slice(&[7; PACKET_BYTES]);
    sent.extend_from_slice(b"connect");

    let mut whole = sent.clone();
    let mut at_once = handshake();
    let reply = at_once.advance(&mut whole).unwrap();
    assert!(matches!(reply, HandshakeStep::Reply(_)));
    assert_eq!(at_once.advance(&mut whole), Ok(HandshakeStep::Done));
    assert_eq!(&whole[..], b"connect");
    assert_eq!(at_once.advance(&mut whole), Ok(HandshakeStep::Done));
    assert_eq!(&whole[..], b"connect");

    let mut slow = handshake();
    let mut input = BytesMut::new();
    assert_eq!(slow.advance(&mut input), Ok(HandshakeStep::NeedMore));
    for (count, byte) in (1..).zip(&sent[..sent.len() - 7]) {
        input.extend_from_slice(&[*byte]);
        let expected = match count {
            1537 => reply.clone(),
            3073 => HandshakeStep::Done,
            _ => HandshakeStep::NeedMore,
        };
        assert_eq!(slow.advance(&mut input), Ok(expected), "after {count} bytes");
    }
    assert!(input.is_empty());
}

#[test]
fn other_types_are_refused_by_their_first_byte() {
    for c0 in 0..=255 {
        let result = handshake().advance(&mut BytesMut::from(&[c0][..]));
        match c0 {
            3 | 6 | 8 | 9 => assert_eq!(result, Ok(HandshakeStep::NeedMore)),
            _ => assert_eq!(result, Err(HandshakeError::Type(c0))),
        }
    }
}

#[test]
fn rml_rtmp_as_a_client_completes() {
    let mut client = Handshake::new(PeerType::Client);
    let mut server = handshake();
    let mut input = BytesMut::from(&client.generate_outbound_p0_and_p1().unwrap()[..]);
    let HandshakeStep::Reply(reply) = server.advance(&mut input).unwrap() else { panic!("no reply") };
    assert_eq!(reply[5..9], SERVER_VERSION, "its scheme-1 digest is found");
    let Ok(HandshakeProcessResult::Completed { response_bytes, .. }) = client.process_bytes(&reply) else {
        panic!("client is not content")
    };
    input.extend_from_slice(&response_bytes);
    assert_eq!(server.advance(&mut input), Ok(HandshakeStep::Done));
}

/// Places of digests and keys stay inside their half of the packet whatever their four bytes sum up to.
#[test]
fn digests_and_keys_stay_inside_their_halves() {
    for byte in 0..=255 {
        let packet = [byte; PACKET_BYTES];
        assert!((12..=739).contains(&Scheme::Zero.digest_at(&packet)));
        assert!((776..=1503).contains(&Scheme::One.digest_at(&packet)));
        assert!((772..=1403).contains(&Scheme::Zero.key_at(&packet)));
        assert!((8..=639).contains(&Scheme::One.key_at(&packet)));
    }
}

#[test]
fn the_end_of_s1_is_what_was_sent() {
    for version in [[0; 4], [9, 0, 124, 2]] {
        let mut server = handshake();
        let mut input = BytesMut::zeroed(1 + PACKET_BYTES);
        input[0] = 3;
        input[5..9].copy_from_slice(&version);
        let HandshakeStep::Reply(reply) = server.advance(&mut input).unwrap() else { panic!("no reply") };
        assert_eq!(server.s1_end(), reply[1 + PACKET_BYTES - 32..1 + PACKET_BYTES]);
        assert_ne!(server.s1_end(), [0; 32]);
    }
}
