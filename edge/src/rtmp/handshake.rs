//! The handshake: C0 and C1 are answered with S0, S1 and S2; C2 is read and ignored.
//!
//! Old clients send a C1 of version 0 and expect it back (the simple handshake). Newer ones hide a digest in C1 and check
//! the one in S1, at a place that one of two schemes determines: the answer uses the client's scheme. A version with no
//! valid digest is answered the simple way. What C2 holds is never checked: GStreamer rewrites a field that should be
//! echoed, ffmpeg signs with its own idea of the key.
//!
//! # RTMPE
//!
//! A client that begins with 6, 8 or 9 wants encryption: its C1 also hides a public key, the answer hides ours, and all that
//! follows C2 and S2 is encrypted ([`cipher`]). It is answered with 6, as FMS 3.5.1 answers. Types 8 and 9 differ from 6 only in
//! that the last 32 bytes of S2 and C2 are scrambled once more, with tables of keys; clients that ask for them take a 6 as well.
//! Those tables are published under the LGPL only, so they are not here: what is licensed as this project is can't hold them.
//!
//! The key exchange is costly, so [`ServerHandshake::advance`] gives it to its caller as a [`KeyExchange`] to run where it may,
//! and goes on when it has the outcome ([`ServerHandshake::resume`]).
//!
//! Fails on the first byte of what doesn't speak RTMP; and, where encryption is asked for, on a C1 without a valid digest or
//! with a public key that would give the secret away. There is no simpler handshake to fall back to then.

use bytes::{Buf, Bytes, BytesMut};
use rand::RngCore;

pub mod cipher;
pub mod client;
mod dh;
mod digest;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
pub(crate) mod tests;

pub use cipher::SessionKeys;
use dh::{KEY_BYTES, PrivateKey};
pub use digest::Scheme;
pub use exchange::{Exchanged, KeyExchange};

/// Bytes of C1, S1, C2 and S2 each.
pub const PACKET_BYTES: usize = 1536;

/// The only type of plain RTMP.
const PLAIN: u8 = 3;

/// The type RTMPE is answered with.
const ENCRYPTED: u8 = 6;

/// What S1 calls us when it carries a digest: an FMS 3.5.1. ffmpeg checks S1's digest from version 3 on.
const SERVER_VERSION: [u8; 4] = [3, 5, 1, 1];

type Packet = [u8; PACKET_BYTES];

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Read more bytes.
    NeedMore,
    /// Run this where it holds up nobody, then [`resume`](ServerHandshake::resume). Until then nothing more is read.
    KeyExchange(Box<KeyExchange>),
    /// Send these 3073 bytes (S0, S1, S2), then advance again: C2 may be in the buffer already.
    Reply(Bytes),
    /// C2 has been read; what is left in the buffer are chunks.
    Done,
    /// C2 has been read; what is left in the buffer are chunks encrypted with these keys, and so is all that follows in both
    /// directions.
    Encrypted(SessionKeys),
}

/// Why a handshake can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// C0 is neither 3 nor 6, 8 or 9.
    #[error("client speaks type {0}, not rtmp")]
    Type(u8),
    /// An encrypted C1 has no valid digest.
    #[error("client asks for encrypted rtmp, but its packet has no valid digest")]
    Digest,
    /// An encrypted C1 has a public key outside of 2..=p-2.
    #[error("client asks for encrypted rtmp with a public key that is not valid")]
    PublicKey,
}

impl HandshakeError {
    /// Its label in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Type(_) => "handshake_type",
            Self::Digest => "rtmpe_digest",
            Self::PublicKey => "rtmpe_public_key",
        }
    }
}

/// The server's side of one handshake.
pub struct ServerHandshake {
    state: State,
    s1_end: [u8; 32],
}

enum State {
    /// Waiting for C0 and C1.
    Hello(Box<Random>),
    /// Waiting for the key exchange.
    Exchange,
    /// Waiting for C2.
    Acknowledgement(Option<SessionKeys>),
    Finished,
}

/// What is filled in at random, before it is known what is needed.
struct Random {
    s1: Packet,
    s2: Packet,
    private: PrivateKey,
}

/// How far it is, and nothing of its keys.
impl std::fmt::Debug for ServerHandshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::Hello(_) => "Hello",
            State::Exchange => "Exchange",
            State::Acknowledgement(_) => "Acknowledgement",
            State::Finished => "Finished",
        };
        f.debug_tuple("ServerHandshake").field(&state).finish()
    }
}

impl ServerHandshake {
    /// A handshake that fills its packets from `random`, and takes its private key from there: a generator that is fit for keys.
    pub fn new(random: &mut impl RngCore) -> Self {
        let mut filled = Box::new(Random { s1: [0; PACKET_BYTES], s2: [0; PACKET_BYTES], private: [0; 32] });
        random.fill_bytes(&mut filled.s1);
        random.fill_bytes(&mut filled.s2);
        random.fill_bytes(&mut filled.private);
        Self { state: State::Hello(filled), s1_end: [0; 32] }
    }

    /// The last 32 bytes of S1, once it was given out: what a client's answer to SWF verification is keyed with.
    pub fn s1_end(&self) -> [u8; 32] {
        self.s1_end
    }

    /// Goes on with what `input` holds, and takes what it has used from its front.
    pub fn advance(&mut self, input: &mut BytesMut) -> Result<HandshakeStep, HandshakeError> {
        match &mut self.state {
            State::Hello(random) => {
                let encrypted = match input.first() {
                    None => return Ok(HandshakeStep::NeedMore),
                    Some(&PLAIN) => false,
                    Some(6 | 8 | 9) => true,
                    Some(&other) => return Err(HandshakeError::Type(other)),
                };
                let Some(c1) = packet(&input[1..]) else { return Ok(HandshakeStep::NeedMore) };
                let (step, next) = if encrypted {
                    (HandshakeStep::KeyExchange(Box::new(key_exchange(c1, random)?)), State::Exchange)
                } else {
                    let answer = reply(c1, random);
                    self.s1_end = s1_end(&answer);
                    (HandshakeStep::Reply(answer), State::Acknowledgement(None))
                };
                self.state = next;
                input.advance(1 + PACKET_BYTES);
                Ok(step)
            }
            State::Exchange => Ok(HandshakeStep::NeedMore),
            State::Acknowledgement(keys) => {
                if input.len() < PACKET_BYTES {
                    return Ok(HandshakeStep::NeedMore);
                }
                input.advance(PACKET_BYTES);
                let keys = keys.take();
                self.state = State::Finished;
                Ok(keys.map_or(HandshakeStep::Done, HandshakeStep::Encrypted))
            }
            State::Finished => Ok(HandshakeStep::Done),
        }
    }

    /// Takes back what a [`KeyExchange`] came to: what to send now, before advancing again.
    pub fn resume(&mut self, exchanged: Exchanged) -> Bytes {
        self.s1_end = s1_end(&exchanged.reply);
        self.state = State::Acknowledgement(Some(exchanged.keys));
        exchanged.reply
    }
}

fn packet(bytes: &[u8]) -> Option<&Packet> {
    bytes.first_chunk()
}

fn s1_end(reply: &[u8]) -> [u8; 32] {
    reply.get(..=PACKET_BYTES).and_then(|s0_s1| s0_s1.last_chunk()).copied().unwrap_or_default()
}

/// S0, S1 and S2 for a plain C1.
fn reply(c1: &Packet, random: &mut Random) -> Bytes {
    let Random { s1, s2, .. } = random;
    s1[..8].fill(0);
    let signed = c1[4..8] != [0; 4];
    let found = if signed { digest::find(c1, digest::PLAYER_KEY, [Scheme::Zero, Scheme::One]) } else { None };
    match found {
        Some((scheme, client_digest)) => {
            s1[4..8].copy_from_slice(&SERVER_VERSION);
            digest::sign(s1, digest::SERVER_KEY, scheme);
            digest::acknowledge(s2, digest::SERVER_KEY, &client_digest);
        }
        None => *s2 = *c1,
    }
    greeting(PLAIN, s1, s2)
}

/// What is to be computed for an encrypted C1. Scheme 1 is tried first, because that is what such clients use.
fn key_exchange(c1: &Packet, random: &Random) -> Result<KeyExchange, HandshakeError> {
    let found = digest::find(c1, digest::PLAYER_KEY, [Scheme::One, Scheme::Zero]);
    let (scheme, client_digest) = found.ok_or(HandshakeError::Digest)?;
    let at = scheme.key_at(c1);
    let mut client_key = [0; KEY_BYTES];
    client_key.copy_from_slice(&c1[at..at + KEY_BYTES]);
    if !dh::is_valid(&client_key) {
        return Err(HandshakeError::PublicKey);
    }
    let &Random { s1, s2, private } = random;
    Ok(KeyExchange { scheme, client_digest, client_key, private, s1, s2 })
}

/// S0, S1 and S2 as they are sent.
fn greeting(kind: u8, s1: &Packet, s2: &Packet) -> Bytes {
    let mut greeting = BytesMut::with_capacity(1 + 2 * PACKET_BYTES);
    greeting.extend_from_slice(&[kind]);
    greeting.extend_from_slice(s1);
    greeting.extend_from_slice(s2);
    greeting.freeze()
}
