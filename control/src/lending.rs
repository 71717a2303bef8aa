//! What an operator lends to accounts by hand, beside the API: the S3 keys of an [origin access identity](secrets), the
//! right to have buckets [read by the nodes' own role or logs written to them](grants), and public keys under [ids that signing scripts know](signers).
//!
//! Each is a document; but for grants of logs they are published to nodes (secrets and grants to shields only), so each change touches the head
//! and reaches them as the next config revision. They are the operator's to give: no access key of the API can.

pub mod grants;
pub mod secrets;
pub mod signers;

use crate::seal::SealError;
use crate::store::StoreError;

/// How often a change is tried anew because somebody else was first.
const TRIES: usize = 8;

/// Why an operator's change was not made.
#[derive(Debug, thiserror::Error)]
pub enum LendingError {
    /// What was given can't be used; the text names it.
    #[error("{0}")]
    Invalid(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The secret can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn check_account(account: &str) -> Result<(), LendingError> {
    if proto::distribution::is_account(account) {
        return Ok(());
    }
    Err(LendingError::Invalid(format!("account: '{account}' is not 12 digits")))
}

#[cfg(test)]
mod tests;
