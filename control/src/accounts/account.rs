//! Accounts: create, list, delete.

use prost::Message;
use proto::distribution::is_account;
use proto::v1::Account;

use super::{ATTEMPTS, AccountError, Accounts, check_text};
use crate::documents::{ACCOUNTS, API, GRANTS};
use crate::store::{Entry, StoreError, Transaction, random_text};

/// The kinds of resources an account may have, as their keys spell them.
const KINDS: [&str; 6] = [
    "streaming-distribution",
    "distribution",
    "origin-access-identity",
    "public-key",
    "key-group",
    "invalidation",
];

impl Accounts {
    /// Makes an account; its number is drawn if none is given.
    pub async fn create(&self, number: Option<&str>, name: &str) -> Result<Account, AccountError> {
        check_text("name", name)?;
        let limit = self.limits.accounts_max;
        if self.store.list(ACCOUNTS).await?.entries.len() >= limit {
            return Err(AccountError::TooMany { what: "accounts".into(), limit });
        }
        let account = match number {
            Some(number) if is_account(number) => number.to_owned(),
            Some(number) => {
                let reason = format!("'{number}' is not 12 digits");
                return Err(AccountError::Invalid { field: "account", reason });
            }
            None => random_text(b"123456789", 1) + &random_text(b"0123456789", 11),
        };
        let document = Account { account, name: name.into(), created_ms: self.clock.now_ms() };
        let key = format!("{ACCOUNTS}{}", document.account);
        match self.store.commit(Transaction::default().when(&key, 0).put(key, document.encode_to_vec())).await
        {
            Ok(_) => {
                tracing::info!(account = %document.account, %name, "account made");
                Ok(document)
            }
            Err(StoreError::Conflict { .. }) => Err(AccountError::AccountExists(document.account)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the account `number` if there is none.
    pub async fn ensure(&self, number: &str, name: &str) -> Result<Account, AccountError> {
        match self.create(Some(number), name).await {
            Err(AccountError::AccountExists(number)) => Ok(self.account(&number).await?.1),
            made => made,
        }
    }

    /// All accounts by number.
    pub async fn list(&self) -> Result<Vec<Account>, AccountError> {
        self.store.list(ACCOUNTS).await?.entries.iter().map(|entry| Ok(read(entry)?)).collect()
    }

    /// The account `number`, or, if none is named, the only one; makes a first one if there is none at all.
    pub async fn or_only(&self, number: Option<&str>) -> Result<Account, AccountError> {
        if let Some(number) = number {
            return Ok(self.account(number).await?.1);
        }
        let mut all = self.list().await?;
        match (all.pop(), all.len()) {
            (None, _) => self.create(None, "default").await,
            (Some(only), 0) => Ok(only),
            (Some(_), others) => Err(AccountError::WhichAccount(others + 1)),
        }
    }

    /// Deletes an account that has no access keys and no resources left.
    pub async fn delete(&self, number: &str) -> Result<(), AccountError> {
        for attempt in 1.. {
            // In this order: a key made after the account was read has rewritten it, and the commit fails.
            let (modified, _) = self.account(number).await?;
            let keys = self.keys(Some(number)).await?;
            if let Some(key) = keys.first() {
                let what = match keys.len() {
                    1 => format!("the access key {}", key.id),
                    several => format!("{several} access keys"),
                };
                return Err(AccountError::NotEmpty { account: number.into(), what });
            }
            if let Some(what) = self.left_of(number).await? {
                return Err(AccountError::NotEmpty { account: number.into(), what });
            }
            let key = format!("{ACCOUNTS}{number}");
            match self.store.commit(Transaction::default().when(&key, modified).delete(key)).await {
                Ok(_) => break,
                Err(StoreError::Conflict { .. }) if attempt < ATTEMPTS => (),
                Err(error) => return Err(error.into()),
            }
        }
        tracing::info!(account = %number, "account deleted");
        Ok(())
    }

    /// The account and the revision of its document.
    pub(super) async fn account(&self, number: &str) -> Result<(u64, Account), AccountError> {
        let entry = self.store.get(&format!("{ACCOUNTS}{number}")).await?;
        let entry = entry.ok_or_else(|| AccountError::NoSuchAccount(number.to_owned()))?;
        Ok((entry.modified, read(&entry)?))
    }

    /// Something that belongs to the account, in words.
    async fn left_of(&self, number: &str) -> Result<Option<String>, StoreError> {
        for kind in KINDS {
            let prefix = format!("{API}{kind}/{number}/");
            if let Some(entry) = self.store.page(&prefix, "", 1).await?.first() {
                return Ok(Some(format!("the {} {}", kind.replace('-', " "), &entry.key[prefix.len()..])));
            }
        }
        let prefix = format!("{GRANTS}{number}/");
        let grant = self.store.page(&prefix, "", 1).await?;
        Ok(grant.first().map(|entry| format!("the grant of the bucket {}", &entry.key[prefix.len()..])))
    }
}

fn read(entry: &Entry) -> Result<Account, StoreError> {
    Account::decode(entry.value.clone())
        .map_err(|e| StoreError::Damaged(format!("{} can't be read: {e}", entry.key)))
}
