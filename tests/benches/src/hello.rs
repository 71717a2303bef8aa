//! The client's half of the handshake: plain, or RTMPE with its keys.
//!
//! All viewers send the same C0 and C1, made once. RTMPE's private exponent is short (64 bits): the driver has no secret to keep, and one that
//! computed as long as the server does would measure itself. What comes of it differs for each viewer all the same, as the server's
//! key does. Every value a server must get right is checked (its digest, its signature, the range of its key), so that a run that
//! succeeds says something about them; a wrong one fails the session with what was wrong.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U64, U1024};
use hmac::{Hmac, KeyInit, Mac};
use rc4::{Rc4, StreamCipher};
use sha2::Sha256;

/// C1, S1, C2 and S2 are this long.
const PACKET_BYTES: usize = 1536;
/// S0, S1 and S2.
pub const ANSWER_BYTES: usize = 1 + 2 * PACKET_BYTES;

const PLAYER: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// What both names are followed by in the keys of the second packets.
const TAIL: [u8; 32] = [
    0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57, 0x6e,
    0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
];
/// The prime of RFC 2409's second group; its generator is 2.
const PRIME: Odd<U1024> = Odd::<U1024>::from_be_hex(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74\
     020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437\
     4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
     EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF",
);

/// What every viewer sends first, and what is needed to understand the answer.
#[derive(Clone, Debug)]
pub struct Hello {
    packets: Vec<u8>,
    secret: Option<Secret>,
}

/// The half of RTMPE that isn't on the wire.
#[derive(Clone, Debug)]
struct Secret {
    group: FixedMontyParams<{ U1024::LIMBS }>,
    exponent: U64,
    public: [u8; 128],
    digest: [u8; 32],
}

/// The two key streams of one session.
pub struct Ciphers {
    incoming: Rc4,
    outgoing: Rc4,
}

impl std::fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ciphers")
    }
}

impl Ciphers {
    /// From the first bytes of two keys; both streams begin after what the handshake discards.
    fn new(incoming: &[u8; 32], outgoing: &[u8; 32]) -> Self {
        Self {
            incoming: stream(&incoming[..16], PACKET_BYTES),
            outgoing: stream(&outgoing[..16], PACKET_BYTES),
        }
    }

    /// Takes received bytes apart.
    #[inline]
    pub fn open(&mut self, bytes: &mut [u8]) {
        self.incoming.apply_keystream(bytes);
    }

    /// Hides bytes that are to be sent.
    #[inline]
    pub fn seal(&mut self, bytes: &mut [u8]) {
        self.outgoing.apply_keystream(bytes);
    }
}

/// RC4 under a key of any length RC4 takes, so many bytes of it passed over.
pub fn stream(key: &[u8], passed_over: usize) -> Rc4 {
    let Ok(mut rc4) = Rc4::new_from_slice(key) else { unreachable!("RC4 takes keys of 1 to 256 bytes") };
    rc4.apply_keystream(&mut vec![0; passed_over]);
    rc4
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn sum(packet: &[u8], at: usize) -> usize {
    packet[at..at + 4].iter().map(|b| usize::from(*b)).sum()
}

/// Where a packet's digest and public key stand; RTMPE's clients ask for the second of the two schemes.
fn digest_at(packet: &[u8]) -> usize {
    sum(packet, 772) % 728 + 776
}

fn public_at(packet: &[u8]) -> usize {
    sum(packet, 768) % 632 + 8
}

/// A packet's digest: of all of it but the digest.
fn digest(key: &[u8], packet: &[u8]) -> [u8; 32] {
    let at = digest_at(packet);
    mac(key, &[&packet[..at], &packet[at + 32..]])
}

/// The signature a second packet ends with.
fn signature(name: &[u8], peer_digest: &[u8], packet: &[u8]) -> [u8; 32] {
    let key = mac(&[name, &TAIL].concat(), &[peer_digest]);
    mac(&key, &[&packet[..PACKET_BYTES - 32]])
}

/// `base` to the power of `exponent`, in the group.
fn power(group: &FixedMontyParams<{ U1024::LIMBS }>, base: &U1024, exponent: &U64) -> [u8; 128] {
    let result = FixedMontyForm::new(base, group).pow_vartime(exponent).retrieve();
    let mut bytes = [0; 128];
    bytes.copy_from_slice(result.to_be_bytes().as_ref());
    bytes
}

/// C1's filling.
fn filling() -> Vec<u8> {
    (0..PACKET_BYTES as u32).map(|n| if n < 8 { 0 } else { (n * 31 + n / 256) as u8 }).collect()
}

impl Hello {
    /// The plain handshake: version zero, echoes.
    pub fn plain() -> Self {
        Self { packets: [&[3], &filling()[..]].concat(), secret: None }
    }

    /// RTMPE of type 6.
    pub fn encrypted(exponent: u64) -> Self {
        let group = FixedMontyParams::new_vartime(PRIME);
        let exponent = U64::from_u64(exponent | 1 << 63);
        let public = power(&group, &U1024::from_u64(2), &exponent);
        let mut c1 = filling();
        c1[4..8].copy_from_slice(&[128, 0, 3, 2]);
        let at = public_at(&c1);
        c1[at..at + 128].copy_from_slice(&public);
        let digest = digest(PLAYER, &c1);
        let at = digest_at(&c1);
        c1[at..at + 32].copy_from_slice(&digest);
        Self { packets: [&[6], &c1[..]].concat(), secret: Some(Secret { group, exponent, public, digest }) }
    }

    /// C0 and C1.
    pub fn packets(&self) -> &[u8] {
        &self.packets
    }

    /// Takes S0, S1 and S2, appends C2, and answers the session's key streams if it has any: what is sent or received after this goes
    /// through them.
    pub fn answer(&self, packets: &[u8], out: &mut Vec<u8>) -> Result<Option<Ciphers>, &'static str> {
        let (s0, rest) = packets.split_first().ok_or("nothing")?;
        let (s1, s2) = rest.split_at_checked(PACKET_BYTES).ok_or("too short")?;
        let Some(secret) = &self.secret else {
            out.extend_from_slice(s1);
            return Ok(None);
        };
        if *s0 != 6 {
            return Err("RTMPE of another type than was asked for");
        }
        let theirs = &s1[digest_at(s1)..][..32];
        if theirs != digest(SERVER, s1) {
            return Err("S1's digest is wrong");
        }
        if s2[PACKET_BYTES - 32..] != signature(SERVER, &secret.digest, s2) {
            return Err("S2's signature is wrong");
        }
        let public = &s1[public_at(s1)..][..128];
        let base = U1024::from_be_slice(public);
        if base < U1024::from_u64(2) || base >= PRIME.get().wrapping_sub(&U1024::ONE) {
            return Err("the server's key is no key");
        }
        let shared = power(&secret.group, &base, &secret.exponent);
        let mut c2 = filling();
        let signature = signature(PLAYER, theirs, &c2);
        c2[PACKET_BYTES - 32..].copy_from_slice(&signature);
        out.extend(c2);
        Ok(Some(Ciphers::new(&mac(&shared, &[&secret.public]), &mac(&shared, &[public]))))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A server's answer to an encrypted hello, and the key streams it would have.
    pub(crate) fn serve(c1: &[u8], exponent: u64) -> (Vec<u8>, Ciphers) {
        let group = FixedMontyParams::new_vartime(PRIME);
        let exponent = U64::from_u64(exponent);
        let public = power(&group, &U1024::from_u64(2), &exponent);
        let mut s1: Vec<u8> = (0..PACKET_BYTES as u32).map(|n| (n * 7) as u8).collect();
        s1[4..8].copy_from_slice(&[3, 5, 1, 1]);
        let at = public_at(&s1);
        s1[at..at + 128].copy_from_slice(&public);
        let own = digest(SERVER, &s1);
        let at = digest_at(&s1);
        s1[at..at + 32].copy_from_slice(&own);
        let theirs = &c1[digest_at(c1)..][..32];
        assert_eq!(theirs, digest(PLAYER, c1), "C1's digest");
        let mut s2 = vec![9; PACKET_BYTES];
        let last = signature(SERVER, theirs, &s2);
        s2[PACKET_BYTES - 32..].copy_from_slice(&last);
        let client = &c1[public_at(c1)..][..128];
        let shared = power(&group, &U1024::from_be_slice(client), &exponent);
        let ciphers = Ciphers::new(&mac(&shared, &[&public]), &mac(&shared, &[client]));
        ([&[6], &s1[..], &s2[..]].concat(), ciphers)
    }

    #[test]
    fn both_ends_come_to_the_same_key_streams() {
        let hello = Hello::encrypted(0x1234_5678_9abc_def1);
        assert_eq!((hello.packets().len(), hello.packets()[0]), (1537, 6));
        let (answer, mut server) = serve(&hello.packets()[1..], 0xdead_beef);
        let mut c2 = Vec::new();
        let mut client = hello.answer(&answer, &mut c2).unwrap().unwrap();
        let own = &answer[1..1537];
        assert_eq!(
            c2[PACKET_BYTES - 32..],
            signature(PLAYER, &own[digest_at(own)..][..32], &c2),
            "C2 is signed"
        );
        let mut said = *b"connect";
        client.seal(&mut said);
        assert_ne!(&said, b"connect");
        server.open(&mut said);
        assert_eq!(&said, b"connect");
        let mut answered = *b"_result";
        server.seal(&mut answered);
        client.open(&mut answered);
        assert_eq!(&answered, b"_result");
    }

    #[test]
    fn what_is_wrong_in_an_answer_is_named() {
        let hello = Hello::encrypted(77);
        let (answer, _) = serve(&hello.packets()[1..], 99);
        for (at, what) in [(0, "type"), (1537 - 1, "digest"), (ANSWER_BYTES - 1, "signature")] {
            let mut changed = answer.clone();
            changed[at] ^= 1;
            let why = hello.answer(&changed, &mut Vec::new()).unwrap_err();
            assert!(why.contains(what), "{why}");
        }
    }

    #[test]
    fn the_plain_one_is_an_echo() {
        let hello = Hello::plain();
        assert_eq!((hello.packets()[0], &hello.packets()[5..9]), (3, &[0; 4][..]));
        let answer: Vec<u8> = (0..ANSWER_BYTES).map(|n| n as u8).collect();
        let mut c2 = Vec::new();
        assert!(hello.answer(&answer, &mut c2).unwrap().is_none());
        assert_eq!(c2, answer[1..1537]);
    }

    #[test]
    fn rc4_is_rc4() {
        // RFC 6229: the key 0102030405, from the stream's beginning and from its byte 16 on.
        let mut bytes = [0; 8];
        stream(&[1, 2, 3, 4, 5], 0).apply_keystream(&mut bytes);
        assert_eq!(bytes, [0xb2, 0x39, 0x63, 0x05, 0xf0, 0x3d, 0xc0, 0x27]);
        let mut later = [0; 8];
        stream(&[1, 2, 3, 4, 5], 16).apply_keystream(&mut later);
        assert_eq!(later, [0x69, 0x82, 0x94, 0x4f, 0x18, 0xfc, 0x82, 0xd5]);
    }
}
