//! RC4 as RTMPE uses it: a key a direction, the first 1536 bytes of each keystream thrown away.
//!
//! RTMPE is obfuscation. RC4 is broken, the key exchange authenticates nobody, and the keys of the digests are known to
//! everyone: it hides a stream from a casual look at the wire, and from nothing else. RTMPS is there for the rest.
//!
//! The cipher is RustCrypto's `rc4`, table-driven and so not constant in time. `edge/benches/rtmpe.rs` compares it with a plain
//! loop of our own, which is not enough faster to be kept. Nothing here fails.

use rc4::{KeyInit, Rc4, StreamCipher};

use super::dh::Key;
use super::digest::hmac;
use super::{PACKET_BYTES, Packet};

/// Bytes of a session's keys.
const KEY_BYTES: usize = 16;

/// What an encrypted handshake comes to: a key for each direction, seen from one side.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKeys {
    send: [u8; KEY_BYTES],
    receive: [u8; KEY_BYTES],
}

impl SessionKeys {
    /// The keys of the side whose public key is `own`.
    pub(super) fn derive(secret: &Key, own: &Key, peer: &Key) -> Self {
        let key = |public: &Key| {
            let mut key = [0; KEY_BYTES];
            key.copy_from_slice(&hmac(secret, &[public])[..KEY_BYTES]);
            key
        };
        Self { send: key(peer), receive: key(own) }
    }

    /// The ciphers for what is sent and for what is received. Each starts at the first byte after C2, or S2.
    pub fn ciphers(&self) -> (Cipher, Cipher) {
        (Cipher::new(&self.send), Cipher::new(&self.receive))
    }
}

/// Says nothing of the keys: logs are kept.
impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys").finish_non_exhaustive()
    }
}

/// One direction of an encrypted connection.
pub struct Cipher(Rc4);

impl Cipher {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        // RC4 goes round and round its key, so a key and the same key twice are one; and this length is the one that can't fail.
        let mut twice = [0; 2 * KEY_BYTES];
        twice[..KEY_BYTES].copy_from_slice(key);
        twice[KEY_BYTES..].copy_from_slice(key);
        let mut cipher = Self(Rc4::new(&twice.into()));
        let mut skipped: Packet = [0; PACKET_BYTES];
        cipher.apply(&mut skipped);
        cipher
    }

    /// Encrypts or decrypts the next `bytes` of the stream where they lie.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cipher").finish_non_exhaustive()
    }
}
