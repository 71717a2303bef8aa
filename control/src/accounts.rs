//! Who asks: accounts and their access keys.
//!
//! An account is twelve digits and a name; everything the control API makes belongs to one. An access key is an id that
//! requests name and a secret that signs them; the store has the secret [sealed](crate::seal) for the key's own document.
//! A key may be limited to reading, and may be disabled, after which it is as unknown as one that never was.
//!
//! [`Accounts`] changes them, always by compare-and-set. Every new key also rewrites its account's document, and an
//! account is deleted only as it was before its keys were looked for: so no account is gone while a key of it is left, and
//! of two operators who differ one hears of the other.

use proto::clock::SharedClock;
use proto::v1::AccessKey;
use serde::Deserialize;

use crate::seal::{SealError, Sealer};
use crate::store::{Store, StoreError};

mod account;
mod key;

pub use key::{KeyChange, MadeKey, NewKey};

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

impl From<&AccessKey> for Principal {
    fn from(key: &AccessKey) -> Self {
        Self { account: key.account.clone(), key_id: key.id.clone(), read_only: key.read_only }
    }
}

/// Why an account or key was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A field is not valid.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The account exists already.
    #[error("account {0} exists already")]
    AccountExists(String),
    /// There is no such account.
    #[error("there is no account {0}")]
    NoSuchAccount(String),
    /// No account was named, and more than one could be meant.
    #[error("there are {0} accounts: say which one")]
    WhichAccount(usize),
    /// The account still has something.
    #[error("account {account} still has {what}: delete that first")]
    NotEmpty {
        /// The account.
        account: String,
        /// What it has.
        what: String,
    },
    /// The key exists already, in another account.
    #[error("access key {0} exists already in another account")]
    KeyExists(String),
    /// There is no such key.
    #[error("there is no access key {0}")]
    NoSuchKey(String),
    /// A limit is reached.
    #[error("{what}: {limit} exist already, which is the limit")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// The secret can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountLimits {
    /// Accounts of a cluster.
    pub accounts_max: usize,
    /// Access keys of an account.
    pub access_keys_max: usize,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self { accounts_max: 10_000, access_keys_max: 100 }
    }
}

/// Makes and changes accounts and access keys. Clones share the store.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    sealer: Sealer,
    clock: SharedClock,
    limits: AccountLimits,
}

/// Times a change is tried again when somebody else was first.
const ATTEMPTS: usize = 8;

impl Accounts {
    /// Over `store`, where secrets are sealed by `sealer`.
    pub fn new(store: Store, sealer: Sealer, clock: SharedClock, limits: AccountLimits) -> Self {
        Self { store, sealer, clock, limits }
    }

    /// Whether keys can be made: there is a key to seal their secrets under.
    pub fn can_make_keys(&self) -> bool {
        self.sealer.has_key()
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), AccountError> {
    if text.chars().count() > 128 || text.chars().any(char::is_control) {
        return Err(AccountError::Invalid {
            field,
            reason: "is over 128 characters or has control ones".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
