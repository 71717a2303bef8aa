//! Who asks: accounts and their access keys.

/// Who asks, once a signature or a login was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account, 12 digits.
    pub account: String,
    /// The access key.
    pub key_id: String,
    /// Whether the key may only read.
    pub read_only: bool,
}
