//! The last step of a rotation: what is sealed under a former key is opened and sealed under the current one.
//!
//! Documents are rewritten one by one, each by compare-and-set: whoever else changes one meanwhile wins, and what he wrote is looked at again. So it may
//! break off anywhere and be begun anew, at any replica or at several; what is done already is passed over. A document that no key here opens stays
//! as it is, and is named. A replica that still seals under a former key (it was not restarted with the new settings) goes on making such
//! documents: [`Usage`] tells.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::document::{Document, SEALED};
use super::{KeyId, SealError, Sealer, Standing};
use crate::store::{ConfigStore, Entry, HEAD_KEY, StoreError, Transaction};

/// Documents looked at by one call of [`some`].
const AT_ONCE: usize = 500;
/// Documents rewritten side by side.
const SIDE_BY_SIDE: usize = 8;
/// How often one is tried anew because somebody else was first.
const TRIES: usize = 8;
/// Documents that are named because they can't be opened.
const NAMED_MAX: usize = 20;

/// Under which keys secrets are sealed: how many documents under each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By key.
    pub keys: BTreeMap<KeyId, u64>,
    /// Documents whose secret is none, or that can't be read.
    pub damaged: u64,
}

impl Usage {
    /// Of these documents, by their keys in the store; others are passed over.
    pub fn of<'a>(documents: impl IntoIterator<Item = (&'a str, &'a Bytes)>) -> Self {
        let mut usage = Self::default();
        for (key, value) in documents {
            usage.count(key, value);
        }
        usage
    }

    /// Of all documents of the store.
    pub async fn of_store(store: &dyn ConfigStore) -> Result<Self, StoreError> {
        let mut usage = Self::default();
        let mut after = String::new();
        loop {
            let page = page(store, &after, AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(usage) };
            after.clone_from(&last.key);
            page.iter().for_each(|entry| usage.count(&entry.key, &entry.value));
        }
    }

    fn count(&mut self, key: &str, value: &Bytes) {
        if !SEALED.iter().any(|prefix| key.starts_with(prefix)) {
            return;
        }
        let id = Document::read(key, value).and_then(|document| KeyId::of_sealed(document.sealed()));
        match id {
            Some(id) => *self.keys.entry(id).or_default() += 1,
            None => self.damaged += 1,
        }
    }

    /// How many documents are sealed under keys that stand so for `sealer`.
    pub fn count_of(&self, sealer: &Sealer, standing: Standing) -> u64 {
        self.keys.iter().filter(|(id, _)| sealer.standing(**id) == standing).map(|(_, count)| count).sum()
    }
}

/// What resealing some documents came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Written anew under the current key.
    pub resealed: u64,
    /// That were under it already.
    pub current: u64,
    /// That no key here opens, or that are damaged.
    pub unopened: u64,
    /// The keys of the first of those, with the reason.
    pub named: Vec<String>,
    /// The key of the last that was looked at: the next call goes on after it. `None`: that was all.
    pub next: Option<String>,
}

enum Outcome {
    Resealed,
    Current,
    Gone,
    Unopened(SealError),
}

/// Reseals a number of documents after the one at `after` (empty: from the first on).
pub async fn some(store: &dyn ConfigStore, sealer: &Sealer, after: &str) -> Result<Resealed, StoreError> {
    let page = page(store, after, AT_ONCE).await?;
    let mut all = Resealed { next: page.last().map(|entry| entry.key.clone()), ..Default::default() };
    let mut outcomes: Vec<(String, Outcome)> = futures::stream::iter(page)
        .map(async |entry| {
            let key = entry.key.clone();
            reseal(store, sealer, entry).await.map(|outcome| (key, outcome))
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    outcomes.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (key, outcome) in outcomes {
        match outcome {
            Outcome::Resealed => all.resealed += 1,
            Outcome::Current => all.current += 1,
            Outcome::Gone => (),
            Outcome::Unopened(error) => {
                tracing::error!(%key, %error, "a secret can't be sealed anew; it stays as it is");
                all.unopened += 1;
                if all.named.len() < NAMED_MAX {
                    all.named.push(format!("{key}: {error}"));
                }
            }
        }
    }
    Ok(all)
}

/// At most `limit` of the documents with secrets after the one at `after`.
async fn page(store: &dyn ConfigStore, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let mut all: Vec<Entry> = Vec::new();
    for prefix in SEALED {
        if all.len() < limit && (after < prefix || after.starts_with(prefix)) {
            all.extend(store.page(prefix, after, limit - all.len()).await?);
        }
    }
    Ok(all)
}

async fn reseal(store: &dyn ConfigStore, sealer: &Sealer, entry: Entry) -> Result<Outcome, StoreError> {
    let key = entry.key.clone();
    let mut known = Some(entry);
    for _ in 0..TRIES {
        let Some(entry) = known else { return Ok(Outcome::Gone) };
        let Some(document) = Document::read(&key, &entry.value) else {
            return Ok(Outcome::Unopened(SealError::Malformed));
        };
        if sealer.is_current(document.sealed()) {
            return Ok(Outcome::Current);
        }
        let sealed = match sealer.open(&key, document.sealed()).and_then(|plain| sealer.seal(&key, &plain)) {
            Ok(sealed) => sealed,
            Err(error) => return Ok(Outcome::Unopened(error)),
        };
        let published = document.is_published();
        let mut transaction =
            Transaction::default().when(&key, entry.modified).put(&key, document.with(sealed));
        if published {
            transaction = transaction.put(HEAD_KEY, "");
        }
        match store.commit(transaction).await {
            Ok(_) => return Ok(Outcome::Resealed),
            Err(StoreError::Conflict { .. }) => known = store.get(&key).await?,
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict { key })
}

#[cfg(test)]
mod tests;
