//! Secrets at rest: what the store keeps of an access key or an origin's key can be read only by a control that has the
//! sealing key.
//!
//! A sealed secret is AES-256-GCM under a random nonce. What it is bound to is authenticated with it: the store key of its
//! document, so that one who can write to the store can't give his own key another's secret by copying bytes. The sealing
//! key never is in the store; it comes from a file or the environment ([`key`]). Its id stands in the sealed bytes, so during
//! a rotation other keys than the current one open what they sealed, while everything new is sealed under the current one. [`reseal`] brings
//! all of it under the current key; then the former one can go.
//!
//! ```text
//! version 1 | key id, 8 bytes | nonce, 12 bytes | ciphertext | tag, 16 bytes
//! ```
//!
//! It fails closed: without a key nothing is sealed and nothing is opened, and the error says which it was.

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

pub mod document;
pub mod key;
pub mod reseal;

pub use key::{KeyError, SealingKey};

/// The first byte of what this module seals.
const VERSION: u8 = 1;
/// Bytes of a key's id.
pub const KEY_ID_BYTES: usize = 8;
const NONCE_AT: usize = 1 + KEY_ID_BYTES;
const CIPHERTEXT_AT: usize = NONCE_AT + NONCE_LEN;
/// Binds the ciphertext to this use of the key, should it ever get another.
const PURPOSE: &[u8] = b"penstock sealed secret\0";
const DERIVED: &[u8] = b"penstock derived key\0";

/// Tells a sealing key from others and tells nothing of it; written as hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; KEY_ID_BYTES]);

impl KeyId {
    /// The key that sealed this; `None` if it is no sealed secret.
    pub fn of_sealed(sealed: &[u8]) -> Option<Self> {
        key_id(sealed).map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What a sealing key is to a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It seals.
    Current,
    /// It opens only.
    Former,
    /// This control does not have it.
    Unknown,
}

impl Standing {
    /// Its name on the wire and the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Former => "former",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a secret was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// There is no sealing key at all.
    #[error("control has no key for secrets: set secrets.key_file or secrets.key")]
    NoKey,
    /// Not the bytes of a sealed secret.
    #[error("the sealed secret is no sealed secret")]
    Malformed,
    /// Sealed under a key that is not among those configured.
    #[error(
        "the secret is sealed under key {0}, which this control does not have: give it in secrets.old_key_files or secrets.old_keys"
    )]
    OtherKey(KeyId),
    /// Changed since, or the secret of another document.
    #[error("the sealed secret was changed or belongs to another document")]
    Tampered,
    /// The system gave no random bytes.
    #[error("the system has no random bytes to give")]
    NoRandom,
}

struct Cipher {
    id: [u8; KEY_ID_BYTES],
    key: LessSafeKey,
    /// HMAC-SHA256 under the same key; what it is fed begins with its purpose.
    derivation: hmac::Key,
}

/// Seals and opens secrets. Clones share the keys.
#[derive(Clone, Default)]
pub struct Sealer {
    /// The first seals; all open.
    ciphers: Arc<[Cipher]>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.ciphers.len())
    }
}

impl Sealer {
    /// Seals under `key`; opens what it or one of `old` sealed.
    pub fn new(key: &SealingKey, old: &[SealingKey]) -> Self {
        let ciphers = std::iter::once(key).chain(old).filter_map(|key| {
            let unbound = UnboundKey::new(&AES_256_GCM, key.bytes()).ok()?;
            let derivation = hmac::Key::new(hmac::HMAC_SHA256, key.bytes());
            Some(Cipher { id: key.id(), key: LessSafeKey::new(unbound), derivation })
        });
        Self { ciphers: ciphers.collect() }
    }

    /// One without a key: it seals and opens nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there is a key.
    pub fn has_key(&self) -> bool {
        !self.ciphers.is_empty()
    }

    /// Seals `plain`, the secret of the document at `store_key`.
    pub fn seal(&self, store_key: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let cipher = self.ciphers.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::NoRandom)?;
        let mut sealed = Vec::with_capacity(CIPHERTEXT_AT + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&cipher.id);
        sealed.extend_from_slice(&nonce);
        let mut text = plain.to_vec();
        let aad = Aad::from(bound_to(&cipher.id, store_key));
        // Fails only for a text of 64 GiB.
        let sealing =
            cipher.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text);
        sealing.map_err(|_| SealError::Malformed)?;
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// The secret of the document at `store_key`.
    pub fn open(&self, store_key: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        if !self.has_key() {
            return Err(SealError::NoKey);
        }
        let id = key_id(sealed).ok_or(SealError::Malformed)?;
        let cipher = self.ciphers.iter().find(|c| c.id == id).ok_or(SealError::OtherKey(KeyId(id)))?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed[NONCE_AT..CIPHERTEXT_AT])
            .map_err(|_| SealError::Malformed)?;
        let mut text = sealed[CIPHERTEXT_AT..].to_vec();
        let aad = Aad::from(bound_to(&id, store_key));
        let plain = cipher.key.open_in_place(nonce, aad, &mut text).map_err(|_| SealError::Tampered)?;
        let bytes = plain.len();
        text.truncate(bytes);
        Ok(text)
    }

    /// Keys of 32 bytes for another purpose, named by `label` (such as signing the console's cookies), one of each sealing key: the first is to
    /// be used, the others to be taken as well. So replicas that are between two steps of a rotation understand each other.
    ///
    /// # Errors
    /// Without a key.
    pub fn derive(&self, label: &str) -> Result<Vec<[u8; 32]>, SealError> {
        if !self.has_key() {
            return Err(SealError::NoKey);
        }
        let derived = self.ciphers.iter().map(|cipher| {
            let tag = hmac::sign(&cipher.derivation, &[DERIVED, label.as_bytes()].concat());
            let mut key = [0; 32];
            key.copy_from_slice(tag.as_ref());
            key
        });
        Ok(derived.collect())
    }

    /// What the key `id` is to this control.
    pub fn standing(&self, id: KeyId) -> Standing {
        match self.ciphers.iter().position(|cipher| cipher.id == id.0) {
            Some(0) => Standing::Current,
            Some(_) => Standing::Former,
            None => Standing::Unknown,
        }
    }

    /// Whether `sealed` was sealed under the key that seals now, and not under an old one.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        self.ciphers.first().is_some_and(|cipher| key_id(sealed) == Some(cipher.id))
    }
}

fn key_id(sealed: &[u8]) -> Option<[u8; KEY_ID_BYTES]> {
    if sealed.first() != Some(&VERSION) || sealed.len() < CIPHERTEXT_AT + AES_256_GCM.tag_len() {
        return None;
    }
    sealed[1..NONCE_AT].try_into().ok()
}

fn bound_to(id: &[u8; KEY_ID_BYTES], store_key: &str) -> Vec<u8> {
    [PURPOSE, &[VERSION], id, store_key.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
