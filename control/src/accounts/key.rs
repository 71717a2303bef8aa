//! Access keys: create, import, list, disable, delete.

use prost::Message;
use proto::v1::AccessKey;

use super::{ATTEMPTS, AccountError, Accounts, check_text};
use crate::documents::{ACCOUNTS, KEYS};
use crate::store::{Entry, StoreError, Transaction, random_text};

/// What a new key is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewKey {
    /// Its account, which exists.
    pub account: String,
    /// Whether it may only read.
    pub read_only: bool,
    /// For people; up to 128 characters.
    pub comment: String,
}

/// A key and its secret: the one time the secret is told.
#[derive(Clone, PartialEq, Eq)]
pub struct MadeKey {
    /// The document.
    pub key: AccessKey,
    /// What signs requests.
    pub secret: String,
}

impl std::fmt::Debug for MadeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MadeKey({})", self.key.id)
    }
}

/// What happens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It verifies nothing from now on.
    Disable,
    /// It verifies again.
    Enable,
    /// It is forgotten.
    Delete,
}

impl Accounts {
    /// Makes a key: `AKIA` and 16 characters, with a secret of 40.
    pub async fn create_key(&self, new: NewKey) -> Result<MadeKey, AccountError> {
        let id = format!("AKIA{}", random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16));
        let letters = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let secret = random_text(letters, 40);
        let key = self.put_key(new, &id, &secret, false).await?;
        Ok(MadeKey { key, secret })
    }

    /// Makes the key `id` with a secret that is known already. The same id again, in the same account, gets what is given
    /// now.
    pub async fn import_key(&self, new: NewKey, id: &str, secret: &str) -> Result<AccessKey, AccountError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(3..=128).contains(&id.len()) || !id.bytes().all(plain) {
            let reason = "is not 3 to 128 of [A-Za-z0-9._-]".into();
            return Err(AccountError::Invalid { field: "id", reason });
        }
        if !(8..=128).contains(&secret.len()) || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            let reason = "is not 8 to 128 visible ASCII characters".into();
            return Err(AccountError::Invalid { field: "secret", reason });
        }
        self.put_key(new, id, secret, true).await
    }

    async fn put_key(
        &self,
        new: NewKey,
        id: &str,
        secret: &str,
        again: bool,
    ) -> Result<AccessKey, AccountError> {
        check_text("comment", &new.comment)?;
        let store_key = format!("{KEYS}{id}");
        let mut document = AccessKey {
            id: id.to_owned(),
            account: new.account.clone(),
            sealed_secret: self.sealer.seal(&store_key, secret.as_bytes())?.into(),
            read_only: new.read_only,
            disabled: false,
            comment: new.comment,
            created_ms: self.clock.now_ms(),
        };
        for attempt in 1.. {
            let (account_modified, account) = self.account(&new.account).await?;
            let known = self.store.get(&store_key).await?;
            let known_document = known.as_ref().map(read).transpose()?;
            if let Some(known) = &known_document {
                if !again || known.account != new.account {
                    return Err(AccountError::KeyExists(id.to_owned()));
                }
                // What an operator disabled stays so however often it is imported.
                (document.disabled, document.created_ms) = (known.disabled, known.created_ms);
                if self.is_same(known, &document, secret) {
                    return Ok(known.clone());
                }
            } else if self.keys(Some(&new.account)).await?.len() >= self.limits.access_keys_max {
                let what = format!("access keys of account {}", new.account);
                return Err(AccountError::TooMany { what, limit: self.limits.access_keys_max });
            }
            let account_key = format!("{ACCOUNTS}{}", new.account);
            let transaction = Transaction::default()
                .when(&account_key, account_modified)
                .when(&store_key, known.map_or(0, |entry| entry.modified))
                .put(account_key, account.encode_to_vec())
                .put(&store_key, document.encode_to_vec());
            match self.store.commit(transaction).await {
                Ok(_) => break,
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => (),
                Err(error) => return Err(error.into()),
            }
        }
        tracing::info!(key = %id, account = %new.account, read_only = new.read_only, "access key made");
        Ok(document)
    }

    /// Whether `known` already is what `next` says, under the key that seals now.
    fn is_same(&self, known: &AccessKey, next: &AccessKey, secret: &str) -> bool {
        let store_key = format!("{KEYS}{}", known.id);
        let opened = self.sealer.open(&store_key, &known.sealed_secret);
        let sealed = AccessKey { sealed_secret: known.sealed_secret.clone(), ..next.clone() };
        *known == sealed
            && self.sealer.is_current(&known.sealed_secret)
            && opened.is_ok_and(|plain| plain == secret.as_bytes())
    }

    /// The keys of an account, or of all, by id.
    pub async fn keys(&self, account: Option<&str>) -> Result<Vec<AccessKey>, AccountError> {
        let entries = self.store.list(KEYS).await?.entries;
        let keys = entries.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(keys.into_iter().filter(|key| account.is_none_or(|a| key.account == a)).collect())
    }

    /// Changes the key `id`; in `account` only, if one is named. What already is so stays so without an error.
    pub async fn change_key(
        &self,
        id: &str,
        account: Option<&str>,
        change: KeyChange,
    ) -> Result<AccessKey, AccountError> {
        let store_key = format!("{KEYS}{id}");
        let mut attempt = 0;
        let document = loop {
            attempt += 1;
            let known = self.store.get(&store_key).await?;
            let known = known.ok_or_else(|| AccountError::NoSuchKey(id.to_owned()))?;
            let mut document = read(&known)?;
            if account.is_some_and(|a| a != document.account) {
                return Err(AccountError::NoSuchKey(id.to_owned()));
            }
            let transaction = Transaction::default().when(&store_key, known.modified);
            let transaction = match change {
                KeyChange::Delete => transaction.delete(&store_key),
                KeyChange::Disable | KeyChange::Enable => {
                    document.disabled = change == KeyChange::Disable;
                    transaction.put(&store_key, document.encode_to_vec())
                }
            };
            match self.store.commit(transaction).await {
                Ok(_) => break document,
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => (),
                Err(error) => return Err(error.into()),
            }
        };
        tracing::info!(key = %id, account = %document.account, ?change, "access key changed");
        Ok(document)
    }
}

fn read(entry: &Entry) -> Result<AccessKey, StoreError> {
    AccessKey::decode(entry.value.clone())
        .map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", entry.key)))
}
