//! A scripted RTMPE client: the tests' own reading of it, down to the arithmetic, sharing nothing with the edge.
//!
//! [`handshake`] does it on a socket and gives a [`Rtmpe`] connection. [`Rtmpe::plain`] makes a socket out of that which carries
//! chunks as any other, so that every scripted client and viewer can be encrypted ones.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use socket2::{Domain, SockAddr, Socket, Type};

use super::handshake::{PACKET, c2, filler, s1_verifies, s2_verifies, sign};
use crate::s3::hmac;

/// The prime of RFC 2409's second group; the least significant limb first.
const PRIME: [u64; 16] = [
    0xffff_ffff_ffff_ffff,
    0x4928_6651_ece6_5381,
    0xae9f_2411_7c4b_1fe6,
    0xee38_6bfb_5a89_9fa5,
    0x0bff_5cb6_f406_b7ed,
    0xf44c_42e9_a637_ed6b,
    0xe485_b576_625e_7ec6,
    0x4fe1_356d_6d51_c245,
    0x302b_0a6d_f25f_1437,
    0xef95_19b3_cd3a_431b,
    0x514a_0879_8e34_04dd,
    0x020b_bea6_3b13_9b22,
    0x2902_4e08_8a67_cc74,
    0xc4c6_628b_80dc_1cd1,
    0xc90f_daa2_2168_c234,
    0xffff_ffff_ffff_ffff,
];

type Number = [u64; 16];

fn less_prime(number: &mut Number) {
    let mut borrow = false;
    for (limb, p) in number.iter_mut().zip(PRIME) {
        let (a, b) = limb.overflowing_sub(p);
        let (a, c) = a.overflowing_sub(u64::from(borrow));
        (*limb, borrow) = (a, b || c);
    }
}

fn is_at_least_prime(number: &Number) -> bool {
    number.iter().rev().cmp(PRIME.iter().rev()).is_ge()
}

/// a × b ÷ 2^1024 in the group (Montgomery's product; the inverse it needs is 1, because the prime ends with 64 ones).
fn product(a: &Number, b: &Number) -> Number {
    let mut sum = [0u64; 18];
    for limb in a {
        let mut carry = 0u128;
        for (at, other) in b.iter().enumerate() {
            carry += u128::from(sum[at]) + u128::from(*limb) * u128::from(*other);
            (sum[at], carry) = (carry as u64, carry >> 64);
        }
        carry += u128::from(sum[16]);
        (sum[16], sum[17]) = (carry as u64, (carry >> 64) as u64);
        let factor = sum[0];
        let mut carry = 0u128;
        for (at, p) in PRIME.iter().enumerate() {
            carry += u128::from(sum[at]) + u128::from(factor) * u128::from(*p);
            if at > 0 {
                sum[at - 1] = carry as u64;
            }
            carry >>= 64;
        }
        carry += u128::from(sum[16]);
        sum[15] = carry as u64;
        sum[16] = sum[17] + (carry >> 64) as u64;
    }
    let mut result: Number = sum[..16].try_into().unwrap();
    if sum[16] > 0 || is_at_least_prime(&result) {
        less_prime(&mut result);
    }
    result
}

/// `base` to the power of `exponent`, both most significant byte first; 128 bytes.
pub fn power(base: &[u8], exponent: &[u8]) -> Vec<u8> {
    let mut number = [0; 16];
    for (at, byte) in base.iter().rev().enumerate() {
        number[at / 8] |= u64::from(*byte) << (at % 8 * 8);
    }
    // 2^1024 and 2^2048 in the group, by doubling 2^1024 - p.
    let mut one = [0; 16];
    less_prime(&mut one);
    let mut squared = one;
    for _ in 0..1024 {
        let over = squared[15] >> 63 == 1;
        for at in (0..16).rev() {
            squared[at] = squared[at] << 1 | if at > 0 { squared[at - 1] >> 63 } else { 0 };
        }
        if over || is_at_least_prime(&squared) {
            less_prime(&mut squared);
        }
    }
    let base = product(&number, &squared);
    let mut result = one;
    for bit in exponent.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)) {
        result = product(&result, &result);
        if bit == 1 {
            result = product(&result, &base);
        }
    }
    let mut plain = [0; 16];
    plain[0] = 1;
    product(&result, &plain).iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

/// One direction's cipher.
pub struct Rc4 {
    table: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    /// With that key, its first 1536 bytes thrown away.
    fn new(key: &[u8]) -> Self {
        let mut table: [u8; 256] = std::array::from_fn(|at| at as u8);
        let mut j = 0u8;
        for i in 0..256 {
            j = j.wrapping_add(table[i]).wrapping_add(key[i % key.len()]);
            table.swap(i, usize::from(j));
        }
        let mut cipher = Self { table, i: 0, j: 0 };
        cipher.apply(&mut [0; PACKET]);
        cipher
    }

    /// Encrypts or decrypts what comes next.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            let a = self.table[usize::from(self.i)];
            self.j = self.j.wrapping_add(a);
            let b = self.table[usize::from(self.j)];
            (self.table[usize::from(self.i)], self.table[usize::from(self.j)]) = (b, a);
            *byte ^= self.table[usize::from(a.wrapping_add(b))];
        }
    }
}

/// What a client asks with, and what it keeps for itself.
pub struct Hello {
    /// C0 and C1.
    pub bytes: Vec<u8>,
    scheme: u8,
    private: Vec<u8>,
    public: Vec<u8>,
}

fn key_at(packet: &[u8], scheme: u8) -> usize {
    let (from, base) = if scheme == 0 { (1532, 772) } else { (768, 8) };
    packet[from..from + 4].iter().map(|b| usize::from(*b)).sum::<usize>() % 632 + base
}

/// A C0 of type `kind` and a C1 in that scheme; another one for each seed.
pub fn hello(kind: u8, scheme: u8, seed: u32) -> Hello {
    let private = filler(seed.wrapping_mul(0x9e37_79b9) ^ 0x5bd1_e995)[..20].to_vec();
    let public = power(&[2], &private);
    hello_with(kind, scheme, seed, private, public)
}

/// The same with that public key, whether it is one or not.
pub fn hello_with(kind: u8, scheme: u8, seed: u32, private: Vec<u8>, public: Vec<u8>) -> Hello {
    let mut packet = filler(seed.wrapping_mul(0x85eb_ca6b) ^ 0xc2b2_ae35);
    packet[..8].copy_from_slice(&[0, 0, 0, 0, 128, 0, 3, 2]);
    let at = key_at(&packet, scheme);
    packet[at..at + 128].copy_from_slice(&public);
    sign(&mut packet, scheme);
    Hello { bytes: [&[kind], packet.as_slice()].concat(), scheme, private, public }
}

/// An encrypted connection.
pub struct Rtmpe {
    /// The socket; what it carries is encrypted.
    pub stream: TcpStream,
    /// For what is sent.
    pub send: Rc4,
    /// For what comes.
    pub receive: Rc4,
}

impl Hello {
    /// Judges S0, S1 and S2; the C2 that answers them, and the ciphers for sending and receiving.
    pub fn answer(&self, answer: &[u8]) -> Result<(Vec<u8>, Rc4, Rc4)> {
        ensure!(answer[0] == 6, "S0 is {}", answer[0]);
        let (s1, s2) = (&answer[1..=PACKET], &answer[1 + PACKET..]);
        ensure!(s1[4..6] == [3, 5], "S1's version is {:?}", &s1[4..8]);
        ensure!(s1_verifies(s1, self.scheme), "S1 has no digest of scheme {}", self.scheme);
        ensure!(s2_verifies(s2, &self.bytes[1..], self.scheme), "S2's signature is wrong");
        let at = key_at(s1, self.scheme);
        let server = &s1[at..at + 128];
        let secret = power(server, &self.private);
        let (send, receive) = (hmac(&secret, server), hmac(&secret, &self.public));
        let c2 = c2(s1, super::handshake::Kind::Digest(self.scheme));
        Ok((c2, Rc4::new(&send[..16]), Rc4::new(&receive[..16])))
    }
}

/// The whole handshake, the server's half checked.
pub fn handshake(mut stream: TcpStream, kind: u8, scheme: u8, seed: u32) -> Result<Rtmpe> {
    let hello = hello(kind, scheme, seed);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(&hello.bytes)?;
    let mut answer = vec![0; 1 + 2 * PACKET];
    stream.read_exact(&mut answer).context("S0, S1 and S2")?;
    let (c2, send, receive) = hello.answer(&answer)?;
    stream.write_all(&c2)?;
    Ok(Rtmpe { stream, send, receive })
}

impl Rtmpe {
    /// Encrypts and sends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut bytes = bytes.to_vec();
        self.send.apply(&mut bytes);
        self.stream.write_all(&bytes)?;
        Ok(())
    }

    /// A socket that carries the same unencrypted. Two threads see to it until either side closes; they buffer 64 KiB a direction beside the kernel.
    pub fn plain(self) -> Result<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        let far = listener.accept()?.0;
        for stream in [&near, &far, &self.stream] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(None)?;
        }
        let (out, into) = (self.stream.try_clone()?, far.try_clone()?);
        pump(far, out, self.send);
        pump(self.stream, into, self.receive);
        Ok(near)
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut cipher: Rc4) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer)
            && count > 0
        {
            cipher.apply(&mut buffer[..count]);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    });
}

/// A connection to `addr` (`IP:PORT`) that comes from `from`.
pub fn connect_from(from: IpAddr, addr: &str) -> Result<TcpStream> {
    let to: SocketAddr = addr.parse()?;
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
    socket.connect_timeout(&SockAddr::from(to), Duration::from_secs(10))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `pow`, and the stream with another RC4.
    #[test]
    fn powers_and_ciphers_are_those_of_other_implementations() {
        let exponent = hex::decode("1234567890abcdef1234567890abcdef12345678").unwrap();
        let peer = power(&[2], &exponent);
        assert_eq!(hex::encode(&peer[..8]), "481da9978ae3e0dd");
        assert_eq!(hex::encode(&peer[120..]), "c5efb0cbff78337e");
        let private =
            hex::decode("8102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20").unwrap();
        let secret = power(&peer, &private);
        assert_eq!(hex::encode(&secret[..8]), "6d860abdff5b0c61");
        let mut cipher = Rc4::new(&hmac(&secret, &peer)[..16]);
        let mut bytes = [0; 16];
        cipher.apply(&mut bytes);
        assert_eq!(hex::encode(bytes), "116fb120809feb11398520de3b67c04c");
    }
}
