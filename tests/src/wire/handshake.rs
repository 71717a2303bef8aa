//! The client's half of the handshakes over plain RTMP, and checks of the server's half.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::s3::hmac;

/// C1, S1, C2 and S2 are this long.
pub const PACKET: usize = 1536;

const PLAYER: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER: &[u8] = b"Genuine Adobe Flash Media Server 001";
const TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e,
    0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];

/// Which handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Version zero, echoes.
    Simple,
    /// With a digest at the place of scheme 0 or 1.
    Digest(u8),
}

/// Where the digest of a packet stands.
pub fn digest_at(packet: &[u8], scheme: u8) -> usize {
    let (from, base) = if scheme == 0 { (8, 12) } else { (772, 776) };
    packet[from..from + 4].iter().map(|b| usize::from(*b)).sum::<usize>() % 728 + base
}

fn digest(key: &[u8], packet: &[u8], at: usize) -> Vec<u8> {
    hmac(key, &[&packet[..at], &packet[at + 32..]].concat())
}

/// Pseudo-random filler, the same on each run.
pub fn filler(seed: u32) -> Vec<u8> {
    let mut x = seed | 1;
    (0..PACKET)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x as u8
        })
        .collect()
}

/// A C1 of that kind.
pub fn c1(kind: Kind) -> Vec<u8> {
    let mut packet = filler(7);
    packet[..4].fill(0);
    match kind {
        Kind::Simple => packet[4..8].fill(0),
        Kind::Digest(scheme) => {
            packet[4..8].copy_from_slice(&[9, 0, 124, 2]);
            sign(&mut packet, scheme);
        }
    }
    packet
}

/// Puts a client's digest in its place.
pub fn sign(packet: &mut [u8], scheme: u8) {
    let at = digest_at(packet, scheme);
    let value = digest(PLAYER, packet, at);
    packet[at..at + 32].copy_from_slice(&value);
}

/// Whether `s1` carries a valid server digest in that scheme.
pub fn s1_verifies(s1: &[u8], scheme: u8) -> bool {
    let at = digest_at(s1, scheme);
    digest(SERVER, s1, at) == s1[at..at + 32]
}

/// Whether the signature of `s2` is right for the digest in `c1`.
pub fn s2_verifies(s2: &[u8], c1: &[u8], scheme: u8) -> bool {
    let at = digest_at(c1, scheme);
    let key = hmac(&[SERVER, &TAIL].concat(), &c1[at..at + 32]);
    hmac(&key, &s2[..PACKET - 32]) == s2[PACKET - 32..]
}

/// The C2 that answers `s1`.
pub fn c2(s1: &[u8], kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Simple => s1.to_vec(),
        Kind::Digest(scheme) => {
            let mut packet = filler(11);
            let at = digest_at(s1, scheme);
            let key = hmac(&[PLAYER, &TAIL].concat(), &s1[at..at + 32]);
            let signature = hmac(&key, &packet[..PACKET - 32]);
            packet[PACKET - 32..].copy_from_slice(&signature);
            packet
        }
    }
}

/// What the server sent: version byte, S1 and S2.
pub fn first_half(stream: &mut TcpStream, version: u8, c1: &[u8]) -> Result<(u8, Vec<u8>, Vec<u8>)> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&[&[version], c1].concat())?;
    let mut all = vec![0; 1 + 2 * PACKET];
    stream.read_exact(&mut all).context("S0, S1 and S2")?;
    Ok((all[0], all[1..=PACKET].to_vec(), all[1 + PACKET..].to_vec()))
}

/// The whole handshake, the server's half checked.
pub fn run(stream: &mut TcpStream, kind: Kind) -> Result<()> {
    let sent = c1(kind);
    let (s0, s1, s2) = first_half(stream, 3, &sent)?;
    ensure!(s0 == 3, "S0 is {s0}");
    match kind {
        Kind::Simple => ensure!(s2 == sent, "S2 is no echo of C1"),
        Kind::Digest(scheme) => {
            ensure!(s1_verifies(&s1, scheme), "S1 has no digest of scheme {scheme}");
            ensure!(s2_verifies(&s2, &sent, scheme), "S2's signature is wrong");
        }
    }
    stream.write_all(&c2(&s1, kind))?;
    Ok(())
}
