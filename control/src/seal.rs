//! Secrets at rest: access keys of operators and keys of origins are sealed before they reach the store.

/// Why a secret can't be sealed or opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    /// No key was configured.
    #[error("no key is configured for secrets at rest (secrets.key or secrets.key_file)")]
    NoKey,
    /// The key can't be used.
    #[error("secrets.key: {0}")]
    BadKey(String),
    /// Sealed under another key, for another document, or damaged.
    #[error(
        "a sealed secret can't be opened: it is damaged, belongs to another document, or was sealed under another key"
    )]
    Sealed,
}

/// Seals and opens secrets. Clones share the key.
#[derive(Clone, Debug, Default)]
pub struct Sealer {}

impl Sealer {
    /// One without a key: it refuses to seal.
    pub fn none() -> Self {
        Self::default()
    }

    /// Seals `plain` for the document at `store_key`.
    pub fn seal(&self, store_key: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let _ = (store_key, plain);
        Err(SealError::NoKey)
    }

    /// Opens what was sealed for the document at `store_key`.
    pub fn open(&self, store_key: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let _ = (store_key, sealed);
        Err(SealError::NoKey)
    }

    /// A key of 32 bytes for another purpose, named by `label` (such as signing the console's cookies): the same on every replica that has
    /// the same key.
    pub fn derive(&self, label: &str) -> Result<[u8; 32], SealError> {
        let _ = label;
        Err(SealError::NoKey)
    }
}
