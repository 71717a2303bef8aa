//! What RTMPE costs: the cipher, the digest and the key exchange, each on one core.
//!
//! ```text
//! cargo bench -p penstock-edge --bench rtmpe
//! ```
//!
//! `rc4` is RustCrypto's crate, which the edge uses; `own` is the plain loop one would write instead, kept here to justify that: it would
//! have to be 1.3 times as fast to be worth keeping. Each line is the best of five rounds, so that a busy machine spoils little.

use std::hint::black_box;

use bytes::BytesMut;
use hmac::{Hmac, Mac};
use penstock_edge::rtmp::handshake::client::{ClientHandshake, Variant};
use penstock_edge::rtmp::handshake::{HandshakeStep, KeyExchange, ServerHandshake};
use rc4::{KeyInit, Rc4, StreamCipher};
use sha2::Sha256;
use tokio::time::Instant;

/// Seconds that one call of `work` takes: the best of five rounds of some 100 ms.
fn seconds(mut work: impl FnMut()) -> f64 {
    let mut calls = 1u32;
    let time = |calls: u32, work: &mut dyn FnMut()| {
        let began = Instant::now();
        for _ in 0..calls {
            work();
        }
        began.elapsed().as_secs_f64()
    };
    while time(calls, &mut work) < 0.05 {
        calls *= 2;
    }
    let best = (0..5).map(|_| time(calls, &mut work)).fold(f64::MAX, f64::min);
    best / f64::from(calls)
}

struct Own {
    table: [u8; 256],
    i: u8,
    j: u8,
}

impl Own {
    fn new(key: &[u8]) -> Self {
        let mut table: [u8; 256] = std::array::from_fn(|at| at as u8);
        let mut j = 0u8;
        for i in 0..256 {
            j = j.wrapping_add(table[i]).wrapping_add(key[i % key.len()]);
            table.swap(i, usize::from(j));
        }
        Self { table, i: 0, j: 0 }
    }

    fn apply(&mut self, bytes: &mut [u8]) {
        let (mut i, mut j) = (self.i, self.j);
        for byte in bytes {
            i = i.wrapping_add(1);
            let a = self.table[usize::from(i)];
            j = j.wrapping_add(a);
            let b = self.table[usize::from(j)];
            self.table[usize::from(i)] = b;
            self.table[usize::from(j)] = a;
            *byte ^= self.table[usize::from(a.wrapping_add(b))];
        }
        (self.i, self.j) = (i, j);
    }
}

/// What a server has to compute for a client.
fn exchange() -> Option<KeyExchange> {
    let client = ClientHandshake::new(Variant::Encrypted, &mut rand::rng());
    let mut server = ServerHandshake::new(&mut rand::rng());
    match server.advance(&mut BytesMut::from(&client.hello()[..])) {
        Ok(HandshakeStep::KeyExchange(work)) => Some(*work),
        _ => None,
    }
}

fn main() {
    let key = [7u8; 32];
    for bytes in [4 << 10, 64 << 10] {
        let mut block = vec![0u8; bytes];
        let (mut library, mut own) = (Rc4::new(&key.into()), Own::new(&key));
        let ours = seconds(|| own.apply(black_box(&mut block[..])));
        let theirs = seconds(|| library.apply_keystream(black_box(&mut block[..])));
        let rate = |seconds: f64| bytes as f64 / seconds / 1e6;
        println!(
            "RC4, blocks of {} KiB: rc4 {:.0} MB/s, own {:.0} MB/s: own is {:.2} times as fast",
            bytes >> 10,
            rate(theirs),
            rate(ours),
            theirs / ours
        );
    }
    let packet = [7u8; 1504];
    let hmac = seconds(|| {
        let mut mac = Hmac::<Sha256>::new(&[7u8; 64].into());
        mac.update(black_box(&packet[..]));
        black_box(mac.finalize());
    });
    println!("HMAC-SHA256 of a packet: {:.2} us", hmac * 1e6);
    let Some(work) = exchange() else { return };
    let whole = seconds(|| {
        black_box(black_box(work.clone()).run());
    });
    println!("key exchange of a server: {:.0} us, {:.0} a second", whole * 1e6, 1.0 / whole);
}
