//! Fuzz target: a client's side of the handshake.

use bytes::{Bytes, BytesMut};
use proto::fuzzing::Input;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::digest::{self, PLAYER_KEY, SERVER_KEY, Scheme};
use super::{HandshakeError, HandshakeStep, PACKET_BYTES, PLAIN, Packet, ServerHandshake, packet};
use crate::fuzzing::pieces;

const C0_C1: usize = 1 + PACKET_BYTES;
const WHOLE: usize = C0_C1 + PACKET_BYTES;

/// What a server made of a client's bytes.
#[derive(Debug, PartialEq)]
struct Outcome {
    reply: Option<Bytes>,
    end: Result<bool, HandshakeError>,
    left: Vec<u8>,
}

fn serve<'a>(deliveries: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut handshake = ServerHandshake::new(&mut StdRng::seed_from_u64(7));
    let mut input = BytesMut::new();
    let mut outcome = Outcome { reply: None, end: Ok(false), left: Vec::new() };
    let mut fed = 0;
    for piece in deliveries {
        fed += piece.len();
        input.extend_from_slice(piece);
        while outcome.end == Ok(false) {
            match handshake.advance(&mut input) {
                Ok(HandshakeStep::NeedMore) => break,
                Ok(HandshakeStep::Reply(reply)) => {
                    assert!(fed >= C0_C1, "answered after {fed} bytes");
                    assert_eq!(outcome.reply.replace(reply), None, "answered twice");
                }
                Ok(HandshakeStep::Done) => outcome.end = Ok(true),
                Err(error) => outcome.end = Err(error),
            }
        }
    }
    outcome.left = input.to_vec();
    outcome
}

/// The first byte chooses how the bytes arrive, the second whether C1 gets a right digest; the rest is what the client sends.
pub fn handshake(data: &[u8]) {
    let mut choices = Input::new(data);
    let (seed, signing) = (choices.u8(), choices.u8());
    let mut sent = choices.rest().to_vec();
    let scheme = match signing % 4 {
        0 => Some(Scheme::Zero),
        1 => Some(Scheme::One),
        _ => None,
    };
    if let (Some(scheme), Some(c1)) = (scheme, sent.get_mut(1..).and_then(|rest| rest.first_chunk_mut())) {
        digest::sign(c1, PLAYER_KEY, scheme);
    }

    let outcome = serve(pieces(&sent, seed));
    assert_eq!(outcome, serve(std::iter::once(&sent[..])), "how bytes arrive makes a difference");
    match sent.first() {
        Some(&PLAIN) => {
            assert_eq!(outcome.end, Ok(sent.len() >= WHOLE));
            let used = if sent.len() >= WHOLE {
                WHOLE
            } else if sent.len() >= C0_C1 {
                C0_C1
            } else {
                0
            };
            assert_eq!(outcome.left, &sent[used..], "bytes of the client are lost or left over");
            assert_eq!(outcome.reply.is_some(), sent.len() >= C0_C1);
        }
        Some(&other) => {
            assert!(outcome.reply.is_none() && outcome.left == sent);
            let expected = match other {
                6 | 8 | 9 => HandshakeError::Encrypted(other),
                _ => HandshakeError::Type(other),
            };
            assert_eq!(outcome.end, Err(expected));
        }
        None => assert_eq!(outcome.end, Ok(false)),
    }
    if let (Some(reply), Some(c1)) = (&outcome.reply, packet(sent.get(1..).unwrap_or_default())) {
        check_reply(reply, c1);
    }
}

fn check_reply(reply: &[u8], c1: &Packet) {
    assert_eq!((reply.len(), reply[0]), (1 + 2 * PACKET_BYTES, PLAIN));
    let (Some(s1), Some(s2)) = (packet(&reply[1..]), packet(&reply[C0_C1..])) else { return };
    assert_eq!(s1[..4], [0; 4], "the server's clock starts at 0");
    let schemes = [Scheme::Zero, Scheme::One];
    let asked = digest::find(c1, PLAYER_KEY, schemes).filter(|_| c1[4..8] != [0; 4]);
    match asked {
        Some((scheme, client_digest)) => {
            let signed = digest::find(s1, SERVER_KEY, [scheme, scheme]);
            assert!(signed.is_some(), "S1 is not signed in the client's scheme");
            let mut acknowledged = *s2;
            digest::acknowledge(&mut acknowledged, &client_digest);
            assert_eq!(acknowledged, *s2, "S2 does not acknowledge the client's digest");
        }
        None => {
            assert_eq!(s1[4..8], [0; 4]);
            assert_eq!(s2, c1, "S2 is not C1's echo");
        }
    }
}
