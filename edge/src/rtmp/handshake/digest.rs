//! Digests in handshake packets.
//!
//! A packet's digest is an HMAC-SHA256 of its other 1504 bytes under a key everyone knows; it proves nothing but that the
//! sender knows the format. Its place follows from four bytes of the packet itself, in one of two schemes. A second packet
//! ends with a signature, whose key is derived from the other side's digest. Nothing here fails: a digest is found or not.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{PACKET_BYTES, Packet};

/// What C1 is signed with.
pub(super) const PLAYER_KEY: &[u8] = b"Genuine Adobe Flash Player 001";

/// What S1 is signed with.
pub(super) const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001";

/// Appended to either key for second packets.
const KEY_TAIL: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E,
    0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// Bytes of a digest or signature.
const DIGEST_BYTES: usize = 32;

/// Where a second packet's signature stands.
const SIGNATURE_AT: usize = PACKET_BYTES - DIGEST_BYTES;

/// HMAC-SHA256's block.
const KEY_BLOCK_BYTES: usize = 64;

/// Where a packet keeps the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// In the first half: ffmpeg, librtmp, Flash 9.
    Zero,
    /// In the second half: Flash 10 with RTMPE, librtmp likewise, rml_rtmp.
    One,
}

impl Scheme {
    /// First byte of the digest in this packet.
    pub(super) fn digest_at(self, packet: &Packet) -> usize {
        let base = match self {
            Self::Zero => 8,
            Self::One => 772,
        };
        let sum: usize = packet[base..base + 4].iter().map(|byte| usize::from(*byte)).sum();
        base + 4 + sum % 728
    }
}

/// The first of `schemes` in which the packet's digest is right, and that digest.
pub(super) fn find(
    packet: &Packet,
    key: &[u8],
    schemes: [Scheme; 2],
) -> Option<(Scheme, [u8; DIGEST_BYTES])> {
    schemes.into_iter().find_map(|scheme| {
        let digest = digest(packet, key, scheme);
        let at = scheme.digest_at(packet);
        (packet[at..at + DIGEST_BYTES] == digest).then_some((scheme, digest))
    })
}

/// Puts the packet's digest in its place.
pub(super) fn sign(packet: &mut Packet, key: &[u8], scheme: Scheme) {
    let digest = digest(packet, key, scheme);
    let at = scheme.digest_at(packet);
    packet[at..at + DIGEST_BYTES].copy_from_slice(&digest);
}

/// Ends S2 with the signature that answers a client's digest.
pub(super) fn acknowledge(s2: &mut Packet, client_digest: &[u8; DIGEST_BYTES]) {
    let key = hmac(&[SERVER_KEY, &KEY_TAIL].concat(), &[client_digest]);
    let signature = hmac(&key, &[&s2[..SIGNATURE_AT]]);
    s2[SIGNATURE_AT..].copy_from_slice(&signature);
}

fn digest(packet: &Packet, key: &[u8], scheme: Scheme) -> [u8; DIGEST_BYTES] {
    let at = scheme.digest_at(packet);
    hmac(key, &[&packet[..at], &packet[at + DIGEST_BYTES..]])
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    // Filling up the key's block here, as HMAC would, makes this infallible.
    let mut block = [0; KEY_BLOCK_BYTES];
    if key.len() > KEY_BLOCK_BYTES {
        block[..DIGEST_BYTES].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
