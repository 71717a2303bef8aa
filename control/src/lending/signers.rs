//! The document by which nodes check signed names: an account's public keys under the ids that names call Key-Pair-Id.
//!
//! The keys of the API's [public keys](crate::api::public_key) stand in it under their ids (`K…`), in the same transaction that makes or
//! deletes them. An operator adds others under ids of their own: a script that signs with an old `APKA…` key pair goes on
//! working when its public half is imported under that id.

use prost::Message;
use proto::v1::{Signer, SignerKey};

use super::{LendingError, TRIES, check_account};
use crate::api::public_key::spki;
use crate::documents::SIGNERS;
use crate::store::{ConfigStore, Entry, HEAD_KEY, StoreError, Transaction};

/// What an id of the API's own public keys begins with.
pub(crate) const PUBLIC_KEY_LETTER: char = 'K';
/// Imported keys of an account.
pub const IMPORTED_MAX: usize = 100;

/// The document of an account as read from the store.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The document; without keys if there is none.
    pub(crate) signer: Signer,
    modified: u64,
}

fn decode(entry: Entry) -> Result<Signer, StoreError> {
    Signer::decode(entry.value).map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", entry.key)))
}

/// The document of an account.
pub(crate) async fn load(store: &dyn ConfigStore, account: &str) -> Result<Held, StoreError> {
    match store.get(&format!("{SIGNERS}{account}")).await? {
        Some(entry) => {
            let modified = entry.modified;
            Ok(Held { signer: decode(entry)?, modified })
        }
        None => Ok(Held { signer: Signer { account: account.into(), keys: Vec::new() }, modified: 0 }),
    }
}

impl Held {
    /// `transaction` with these keys in the place of the ones there are; nodes hear of it.
    pub(crate) fn replace(&self, transaction: Transaction, mut keys: Vec<SignerKey>) -> Transaction {
        keys.sort_by(|a, b| a.key_pair_id.cmp(&b.key_pair_id));
        let key = format!("{SIGNERS}{}", self.signer.account);
        let transaction = transaction.when(&key, self.modified).put(HEAD_KEY, "");
        if keys.is_empty() {
            return transaction.delete(key);
        }
        transaction.put(key, Signer { account: self.signer.account.clone(), keys }.encode_to_vec())
    }

    /// The keys with another one.
    pub(crate) fn with(&self, key_pair_id: &str, public_key: Vec<u8>) -> Vec<SignerKey> {
        let mut keys = self.without(key_pair_id);
        keys.push(SignerKey { key_pair_id: key_pair_id.into(), public_key: public_key.into() });
        keys
    }

    /// The keys without one.
    pub(crate) fn without(&self, key_pair_id: &str) -> Vec<SignerKey> {
        self.signer.keys.iter().filter(|key| key.key_pair_id != key_pair_id).cloned().collect()
    }

    fn imported(&self) -> impl Iterator<Item = &SignerKey> {
        self.signer.keys.iter().filter(|key| !key.key_pair_id.starts_with(PUBLIC_KEY_LETTER))
    }
}

fn check_id(id: &str) -> Result<(), LendingError> {
    let plain =
        (4..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if plain && !id.starts_with(PUBLIC_KEY_LETTER) {
        return Ok(());
    }
    Err(LendingError::Invalid(format!(
        "id: '{id}' is not 4 to 64 of [A-Z0-9], such as APKAEIBAERJR2EXAMPLE ({PUBLIC_KEY_LETTER}… are the API's own)"
    )))
}

async fn change(
    store: &dyn ConfigStore,
    account: &str,
    next: impl Fn(&Held) -> Result<Vec<SignerKey>, LendingError>,
) -> Result<(), LendingError> {
    for _ in 0..TRIES {
        let held = load(store, account).await?;
        match store.commit(held.replace(Transaction::default(), next(&held)?)).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict { key: format!("{SIGNERS}{account}") }.into())
}

/// Imports the public key `pem` under `id`, in the place of one that has the id already.
pub async fn add(store: &dyn ConfigStore, account: &str, id: &str, pem: &str) -> Result<(), LendingError> {
    check_account(account)?;
    check_id(id)?;
    let public_key =
        spki::rsa_public_key(pem).map_err(|e| LendingError::Invalid(format!("public key: it {e}")))?;
    change(store, account, |held| {
        if held.imported().filter(|key| key.key_pair_id != id).count() >= IMPORTED_MAX {
            return Err(LendingError::Invalid(format!("account {account} has {IMPORTED_MAX} imported keys")));
        }
        Ok(held.with(id, public_key.clone()))
    })
    .await
}

/// Forgets the key imported under `id`.
pub async fn remove(store: &dyn ConfigStore, account: &str, id: &str) -> Result<(), LendingError> {
    check_account(account)?;
    check_id(id)?;
    change(store, account, |held| {
        if held.signer.keys.iter().any(|key| key.key_pair_id == id) {
            return Ok(held.without(id));
        }
        Err(LendingError::NotFound(format!("account {account} has no signing key '{id}'")))
    })
    .await
}

/// The keys of all accounts, the API's own among them.
pub async fn list(store: &dyn ConfigStore) -> Result<Vec<Signer>, LendingError> {
    let entries = store.list(SIGNERS).await?.entries;
    entries.into_iter().map(|entry| decode(entry).map_err(LendingError::from)).collect()
}
