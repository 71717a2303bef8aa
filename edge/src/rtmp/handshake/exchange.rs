//! The costly part of an encrypted handshake, as a piece of work that can be done anywhere.
//!
//! Two powers in a 1024-bit group take the better part of a millisecond: far too long for a thread that serves a thousand
//! viewers. So [`ServerHandshake`](super::ServerHandshake) hands this out when it has checked all that is cheap to check, and
//! takes back what it came to. It can't fail any more.

use bytes::Bytes;

use super::cipher::SessionKeys;
use super::dh::{self, KEY_BYTES, Key, PrivateKey};
use super::digest::{self, Digested, SERVER_KEY, Scheme};
use super::{ENCRYPTED, Packet, SERVER_VERSION, greeting};

/// What is needed to answer an encrypted C1.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// The client's, and so ours.
    pub(super) scheme: Scheme,
    pub(super) client_digest: Digested,
    pub(super) client_key: Key,
    pub(super) private: PrivateKey,
    /// Random filling.
    pub(super) s1: Packet,
    pub(super) s2: Packet,
}

impl KeyExchange {
    /// The answer, and the keys. Runs for some hundred microseconds.
    pub fn run(mut self) -> Exchanged {
        let public = dh::public_key(&self.private);
        let secret = dh::shared_secret(&self.private, &self.client_key);
        self.s1[..4].fill(0);
        self.s1[4..8].copy_from_slice(&SERVER_VERSION);
        // The key first: the digest covers it.
        let at = self.scheme.key_at(&self.s1);
        self.s1[at..at + KEY_BYTES].copy_from_slice(&public);
        digest::sign(&mut self.s1, SERVER_KEY, self.scheme);
        digest::acknowledge(&mut self.s2, SERVER_KEY, &self.client_digest);
        let keys = SessionKeys::derive(&secret, &public, &self.client_key);
        Exchanged { reply: greeting(ENCRYPTED, &self.s1, &self.s2), keys }
    }
}

/// Says nothing of the private key.
impl std::fmt::Debug for KeyExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyExchange").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// What a [`KeyExchange`] came to.
#[derive(Debug)]
pub struct Exchanged {
    /// S0, S1 and S2.
    pub(super) reply: Bytes,
    pub(super) keys: SessionKeys,
}
