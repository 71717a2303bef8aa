//! Fuzz targets: a client's side of the handshake, plain and encrypted.

use bytes::{Bytes, BytesMut};
use proto::fuzzing::Input;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::dh::{self, KEY_BYTES, Key, PrivateKey};
use super::digest::{self, PLAYER_KEY, SERVER_KEY, Scheme};
use super::{
    ENCRYPTED, HandshakeError, HandshakeStep, PACKET_BYTES, PLAIN, Packet, ServerHandshake, SessionKeys,
    packet,
};
use crate::fuzzing::pieces;

const C0_C1: usize = 1 + PACKET_BYTES;
const WHOLE: usize = C0_C1 + PACKET_BYTES;

/// What a server made of a client's bytes.
#[derive(Debug, PartialEq)]
struct Outcome {
    reply: Option<Bytes>,
    end: Result<bool, HandshakeError>,
    keys: Option<SessionKeys>,
    left: Vec<u8>,
}

fn serve<'a>(deliveries: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let mut handshake = ServerHandshake::new(&mut StdRng::seed_from_u64(7));
    let mut input = BytesMut::new();
    let mut outcome = Outcome { reply: None, end: Ok(false), keys: None, left: Vec::new() };
    let mut fed = 0;
    for piece in deliveries {
        fed += piece.len();
        input.extend_from_slice(piece);
        while outcome.end == Ok(false) {
            let reply = match handshake.advance(&mut input) {
                Ok(HandshakeStep::NeedMore) => break,
                Ok(HandshakeStep::Reply(reply)) => reply,
                Ok(HandshakeStep::KeyExchange(work)) => {
                    assert_eq!(handshake.advance(&mut input), Ok(HandshakeStep::NeedMore));
                    handshake.resume(work.run())
                }
                Ok(HandshakeStep::Done) => {
                    outcome.end = Ok(true);
                    break;
                }
                Ok(HandshakeStep::Encrypted(keys)) => {
                    (outcome.end, outcome.keys) = (Ok(true), Some(keys));
                    break;
                }
                Err(error) => {
                    outcome.end = Err(error);
                    break;
                }
            };
            assert!(fed >= C0_C1, "answered after {fed} bytes");
            assert_eq!(outcome.reply.replace(reply), None, "answered twice");
        }
    }
    outcome.left = input.to_vec();
    outcome
}

/// The packet in what a client sends, if it is whole.
fn c1_of(sent: &mut [u8]) -> Option<&mut Packet> {
    sent.get_mut(1..)?.first_chunk_mut()
}

fn sign(sent: &mut [u8], signing: u8) -> Option<Scheme> {
    let scheme = match signing % 4 {
        0 => Scheme::Zero,
        1 => Scheme::One,
        _ => return None,
    };
    digest::sign(c1_of(sent)?, PLAYER_KEY, scheme);
    Some(scheme)
}

/// The first byte chooses how the bytes arrive, the second whether C1 gets a right digest; the rest is what the client sends.
pub fn handshake(data: &[u8]) {
    let mut choices = Input::new(data);
    let (seed, signing) = (choices.u8(), choices.u8());
    let mut sent = choices.rest().to_vec();
    sign(&mut sent, signing);
    check(&sent, seed, None);
}

/// The first byte chooses how the bytes arrive, the second whether C1 gets a right digest, the third its public key (a right one,
/// one that must be refused, or what comes), the fourth the type; the rest is what the client sends after that.
pub fn handshake_encrypted(data: &[u8]) {
    let mut choices = Input::new(data);
    let (seed, signing, key, kind) = (choices.u8(), choices.u8(), choices.u8(), choices.u8());
    let mut sent = vec![[6, 8, 9][usize::from(kind % 3)]];
    sent.extend_from_slice(choices.rest());
    let scheme = if signing % 4 == 0 { Scheme::Zero } else { Scheme::One };
    let mut private = None;
    if let Some(c1) = c1_of(&mut sent) {
        let public = match key % 8 {
            0..4 => {
                let chosen = [key; 32];
                private = Some(chosen);
                Some(dh::public_key(&chosen))
            }
            4 => Some([0; KEY_BYTES]),
            5 => Some(std::array::from_fn(|i| u8::from(i + 1 == KEY_BYTES))),
            6 => Some([0xff; KEY_BYTES]),
            _ => None,
        };
        if let Some(public) = public {
            let at = scheme.key_at(c1);
            c1[at..at + KEY_BYTES].copy_from_slice(&public);
        }
    }
    if sign(&mut sent, signing) != Some(scheme) {
        private = None;
    }
    check(&sent, seed, private);
}

/// Holds a server to its promises about what a client sends, whose private key may be known.
fn check(sent: &[u8], seed: u8, private: Option<PrivateKey>) {
    let outcome = serve(pieces(sent, seed));
    assert_eq!(outcome, serve(std::iter::once(sent)), "how bytes arrive makes a difference");
    let c1 = packet(sent.get(1..).unwrap_or_default());
    let refused = match (sent.first(), c1) {
        (None | Some(&PLAIN), _) | (Some(6 | 8 | 9), None) => None,
        (Some(6 | 8 | 9), Some(c1)) => match encrypted_part(c1) {
            None => Some(HandshakeError::Digest),
            Some((_, key)) if !dh::is_valid(&key) => Some(HandshakeError::PublicKey),
            Some(_) => None,
        },
        (Some(&other), _) => Some(HandshakeError::Type(other)),
    };
    if let Some(error) = refused {
        assert!(outcome.reply.is_none() && outcome.keys.is_none() && outcome.left == sent);
        assert_eq!(outcome.end, Err(error));
        return;
    }
    assert_eq!(outcome.end, Ok(sent.len() >= WHOLE));
    let used = [WHOLE, C0_C1, 0].into_iter().find(|used| sent.len() >= *used).unwrap_or_default();
    assert_eq!(outcome.left, &sent[used..], "bytes of the client are lost or left over");
    assert_eq!(outcome.reply.is_some(), sent.len() >= C0_C1);
    let (Some(reply), Some(c1)) = (&outcome.reply, c1) else { return };
    let encrypted = sent[0] != PLAIN;
    assert_eq!((reply.len(), reply[0]), (WHOLE, if encrypted { ENCRYPTED } else { PLAIN }));
    let (Some(s1), Some(s2)) = (packet(&reply[1..]), packet(&reply[C0_C1..])) else { return };
    check_reply(s1, s2, c1, encrypted);
    assert_eq!(outcome.keys.is_some(), encrypted && sent.len() >= WHOLE);
    if encrypted {
        check_keys(s1, c1, outcome.keys, private);
    }
}

/// The scheme of an encrypted C1, and its public key.
fn encrypted_part(c1: &Packet) -> Option<(Scheme, Key)> {
    let (scheme, _) = digest::find(c1, PLAYER_KEY, [Scheme::One, Scheme::Zero])?;
    Some((scheme, *c1[scheme.key_at(c1)..].first_chunk()?))
}

fn check_reply(s1: &Packet, s2: &Packet, c1: &Packet, encrypted: bool) {
    assert_eq!(s1[..4], [0; 4], "the server's clock starts at 0");
    let schemes = if encrypted { [Scheme::One, Scheme::Zero] } else { [Scheme::Zero, Scheme::One] };
    let asked = digest::find(c1, PLAYER_KEY, schemes).filter(|_| encrypted || c1[4..8] != [0; 4]);
    match asked {
        Some((scheme, client_digest)) => {
            let signed = digest::find(s1, SERVER_KEY, [scheme, scheme]);
            assert!(signed.is_some(), "S1 is not signed in the client's scheme");
            assert!(
                digest::is_acknowledged(s2, SERVER_KEY, &client_digest),
                "S2 does not acknowledge the client's digest"
            );
        }
        None => {
            assert_eq!(s1[4..8], [0; 4]);
            assert_eq!(s2, c1, "S2 is not C1's echo");
        }
    }
}

/// Both sides must have arrived at the same keys.
fn check_keys(s1: &Packet, c1: &Packet, keys: Option<SessionKeys>, private: Option<PrivateKey>) {
    let Some((scheme, client)) = encrypted_part(c1) else { return };
    let Some(server) = s1[scheme.key_at(s1)..].first_chunk::<KEY_BYTES>() else { return };
    assert!(dh::is_valid(server));
    if let (Some(keys), Some(private)) = (keys, private) {
        let secret = dh::shared_secret(&private, server);
        assert_eq!(keys, SessionKeys::derive(&secret, server, &client));
    }
}
