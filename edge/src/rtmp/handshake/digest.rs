//! Digests in handshake packets.
//!
//! A packet's digest is an HMAC-SHA256 of its other 1504 bytes under a key everyone knows; it proves nothing but that the
//! sender knows the format. Its place follows from four bytes of the packet itself, in one of two schemes, and so does that of
//! the public key of an encrypted handshake, which stands in the other half. A second packet ends with a signature, whose key
//! is derived from the other side's digest. Nothing here fails: a digest is found or not.

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
pub(super) const DIGEST_BYTES: usize = 32;

/// A digest or signature.
pub(super) type Digested = [u8; DIGEST_BYTES];

/// Where a second packet's signature stands.
const SIGNATURE_AT: usize = PACKET_BYTES - DIGEST_BYTES;

/// HMAC-SHA256's block.
const KEY_BLOCK_BYTES: usize = 64;

/// Where a packet keeps the digest and, if it is encrypted, the public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The digest in the first half, the key in the second: ffmpeg, librtmp, Flash 9.
    Zero,
    /// The other way round: Flash 10 with RTMPE, librtmp likewise, rml_rtmp.
    One,
}

impl Scheme {
    /// First byte of the digest in this packet.
    pub(super) fn digest_at(self, packet: &Packet) -> usize {
        let base = match self {
            Self::Zero => 8,
            Self::One => 772,
        };
        base + 4 + sum(packet, base) % 728
    }

    /// First byte of the public key in this packet. Neither the key nor the four bytes that place it touch the digest or its four.
    pub(super) fn key_at(self, packet: &Packet) -> usize {
        match self {
            Self::Zero => 772 + sum(packet, 1532) % 632,
            Self::One => 8 + sum(packet, 768) % 632,
        }
    }
}

/// The four bytes from `at` on, added up.
fn sum(packet: &Packet, at: usize) -> usize {
    packet[at..at + 4].iter().map(|byte| usize::from(*byte)).sum()
}

/// The first of `schemes` in which the packet's digest is right, and that digest.
pub(super) fn find(packet: &Packet, key: &[u8], schemes: [Scheme; 2]) -> Option<(Scheme, Digested)> {
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

/// Ends a second packet with the signature that answers the other side's digest; `key` is the signer's.
pub(super) fn acknowledge(packet: &mut Packet, key: &[u8], digest: &Digested) {
    let signature = signature(packet, key, digest);
    packet[SIGNATURE_AT..].copy_from_slice(&signature);
}

/// Whether a second packet ends with the right signature.
pub(super) fn is_acknowledged(packet: &Packet, key: &[u8], digest: &Digested) -> bool {
    packet[SIGNATURE_AT..] == signature(packet, key, digest)
}

fn signature(packet: &Packet, key: &[u8], digest: &Digested) -> Digested {
    let key = hmac(&[key, &KEY_TAIL].concat(), &[digest]);
    hmac(&key, &[&packet[..SIGNATURE_AT]])
}

fn digest(packet: &Packet, key: &[u8], scheme: Scheme) -> Digested {
    let at = scheme.digest_at(packet);
    hmac(key, &[&packet[..at], &packet[at + DIGEST_BYTES..]])
}

/// HMAC-SHA256 of `parts`, one after the other.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Digested {
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
