//! The handshake: C0 and C1 are answered with S0, S1 and S2; C2 is read and ignored.
//!
//! Old clients send a C1 of version 0 and expect it back (the simple handshake). Newer ones hide a digest in C1 and check
//! the one in S1, at a place that one of two schemes determines: the answer uses the client's scheme. A version with no
//! valid digest is answered the simple way. What C2 holds is never checked: GStreamer rewrites a field that should be
//! echoed, ffmpeg signs with its own idea of the key.
//!
//! Fails on the first byte of a client that asks for encryption (RTMPE), or that doesn't speak RTMP. A later type of
//! handshake is a new way to answer C1, beside the simple and the signed one.

use bytes::{Buf, Bytes, BytesMut};
use rand::RngCore;

mod digest;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use digest::Scheme;

/// Bytes of C1, S1, C2 and S2 each.
pub const PACKET_BYTES: usize = 1536;

/// The only type of plain RTMP.
const PLAIN: u8 = 3;

/// What S1 calls us when it carries a digest: an FMS 3.5.1. ffmpeg checks S1's digest from version 3 on.
const SERVER_VERSION: [u8; 4] = [3, 5, 1, 1];

type Packet = [u8; PACKET_BYTES];

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeStep {
    /// Read more bytes.
    NeedMore,
    /// Send these 3073 bytes (S0, S1, S2), then advance again: C2 may be in the buffer already.
    Reply(Bytes),
    /// C2 has been read; what is left in the buffer are chunks.
    Done,
}

/// Why a handshake can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// C0 is 6, 8 or 9: the client wants RTMPE.
    #[error("client asks for encrypted rtmp (type {0}), which is not offered")]
    Encrypted(u8),
    /// C0 is anything else but 3.
    #[error("client speaks type {0}, not rtmp")]
    Type(u8),
}

/// The server's side of one handshake.
#[derive(Debug)]
pub struct ServerHandshake {
    /// Random filling for S1, and for S2 where it isn't an echo; taken when the reply is made.
    random: Option<Box<[Packet; 2]>>,
    finished: bool,
    s1_end: [u8; 32],
}

impl ServerHandshake {
    /// A handshake that fills its packets from `random`. Only [`s1_end`](Self::s1_end) is better not guessed.
    pub fn new(random: &mut impl RngCore) -> Self {
        let mut packets = Box::new([[0; PACKET_BYTES]; 2]);
        for packet in packets.iter_mut() {
            random.fill_bytes(packet);
        }
        Self { random: Some(packets), finished: false, s1_end: [0; 32] }
    }

    /// The last 32 bytes of S1, once it was given out: what a client's answer to SWF verification is keyed with.
    pub fn s1_end(&self) -> [u8; 32] {
        self.s1_end
    }

    /// Goes on with what `input` holds, and takes what it has used from its front.
    pub fn advance(&mut self, input: &mut BytesMut) -> Result<HandshakeStep, HandshakeError> {
        if self.finished {
            return Ok(HandshakeStep::Done);
        }
        if self.random.is_some() {
            match input.first() {
                None => return Ok(HandshakeStep::NeedMore),
                Some(&PLAIN) => {}
                Some(&encrypted @ (6 | 8 | 9)) => return Err(HandshakeError::Encrypted(encrypted)),
                Some(&other) => return Err(HandshakeError::Type(other)),
            }
            let Some(c1) = packet(&input[1..]) else { return Ok(HandshakeStep::NeedMore) };
            let Some(random) = self.random.take() else { return Ok(HandshakeStep::NeedMore) };
            let reply = reply(c1, *random);
            if let Some(end) = reply[..1 + PACKET_BYTES].last_chunk() {
                self.s1_end = *end;
            }
            input.advance(1 + PACKET_BYTES);
            return Ok(HandshakeStep::Reply(reply));
        }
        if input.len() < PACKET_BYTES {
            return Ok(HandshakeStep::NeedMore);
        }
        input.advance(PACKET_BYTES);
        self.finished = true;
        Ok(HandshakeStep::Done)
    }
}

fn packet(bytes: &[u8]) -> Option<&Packet> {
    bytes.first_chunk()
}

/// S0, S1 and S2 for a C1.
fn reply(c1: &Packet, [mut s1, mut s2]: [Packet; 2]) -> Bytes {
    s1[..8].fill(0);
    let signed = c1[4..8] != [0; 4];
    let found = if signed { digest::find(c1, digest::PLAYER_KEY, [Scheme::Zero, Scheme::One]) } else { None };
    match found {
        Some((scheme, client_digest)) => {
            s1[4..8].copy_from_slice(&SERVER_VERSION);
            digest::sign(&mut s1, digest::SERVER_KEY, scheme);
            digest::acknowledge(&mut s2, &client_digest);
        }
        None => s2 = *c1,
    }
    let mut reply = BytesMut::with_capacity(1 + 2 * PACKET_BYTES);
    reply.extend_from_slice(&[PLAIN]);
    reply.extend_from_slice(&s1);
    reply.extend_from_slice(&s2);
    reply.freeze()
}
