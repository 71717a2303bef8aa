//! The store inside one process: documents in memory, optionally written through to a journal before they count.
//!
//! Both [`super::memory`] and [`super::redb`] are this. Watches read from a bounded history; one that asks for more, or
//! falls behind it, is told to list again. Leases run on `tokio::time`; a sweep deletes what lapsed, as a revision of its
//! own.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::{
    Change, ConfigStore, Entry, HEAD_KEY, Head, Listing, Put, STORE_ID_KEY, StoreError, Transaction,
    WATCH_CHANGES, Watch, WatchEnd, random_id,
};

/// Revisions a watch may go back.
const HISTORY: usize = 1024;
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// A document as a journal keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) value: Bytes,
    pub(crate) modified: u64,
    pub(crate) ttl: Option<Duration>,
}

/// Writes a revision where it survives the process.
#[async_trait]
pub(crate) trait Journal: Send + Sync + 'static {
    /// Returns once the revision is durable.
    async fn write(
        &self,
        revision: u64,
        puts: Vec<(String, Kept)>,
        deletes: Vec<String>,
    ) -> Result<(), StoreError>;
}

struct Item {
    kept: Kept,
    renewed: Instant,
}

impl Item {
    fn has_lapsed(&self) -> bool {
        self.kept.ttl.is_some_and(|ttl| self.renewed.elapsed() >= ttl)
    }

    fn entry(&self, key: &str) -> Entry {
        Entry { key: key.to_owned(), value: self.kept.value.clone(), modified: self.kept.modified }
    }
}

struct State {
    revision: u64,
    items: BTreeMap<String, Item>,
    /// Consecutive changes; the one before the first is `floor`.
    history: VecDeque<Change>,
    floor: u64,
    journal: Option<Box<dyn Journal>>,
}

/// See the [module](self).
pub(crate) struct Local {
    state: Mutex<State>,
    /// The newest revision, for watches to wait on.
    newest: watch::Sender<u64>,
    this: Weak<Self>,
}

impl Local {
    /// Starts from what a journal kept (nothing: a new store), and sweeps leases until the store is dropped.
    pub(crate) async fn start(
        revision: u64,
        kept: BTreeMap<String, Kept>,
        journal: Option<Box<dyn Journal>>,
    ) -> Result<Arc<Self>, StoreError> {
        let now = Instant::now();
        let items = kept.into_iter().map(|(key, kept)| (key, Item { kept, renewed: now })).collect();
        let state = State { revision, items, history: VecDeque::new(), floor: revision, journal };
        let local = Arc::new_cyclic(|this| Self {
            state: Mutex::new(state),
            newest: watch::Sender::new(revision),
            this: this.clone(),
        });
        let mut state = local.state.lock().await;
        if !state.items.contains_key(STORE_ID_KEY) {
            let first = Transaction::default().put(STORE_ID_KEY, random_id()).put(HEAD_KEY, "");
            local.write(&mut state, first).await?;
        }
        drop(state);
        tokio::spawn(sweep(Arc::downgrade(&local)));
        Ok(local)
    }

    /// Makes `transaction` the next revision; conditions are the caller's to check.
    async fn write(&self, state: &mut State, transaction: Transaction) -> Result<u64, StoreError> {
        let revision = state.revision + 1;
        let deletes: Vec<String> =
            transaction.deletes.into_iter().filter(|key| state.items.contains_key(key)).collect();
        let puts: Vec<(String, Kept)> = transaction
            .puts
            .into_iter()
            .map(|Put { key, value, ttl }| (key, Kept { value, modified: revision, ttl }))
            .collect();
        if puts.is_empty() && deletes.is_empty() {
            return Ok(state.revision);
        }
        if let Some(journal) = &state.journal {
            journal.write(revision, puts.clone(), deletes.clone()).await?;
        }
        let renewed = Instant::now();
        let change = Change {
            revision,
            puts: puts
                .iter()
                .map(|(key, kept)| Entry { key: key.clone(), value: kept.value.clone(), modified: revision })
                .collect(),
            deletes,
        };
        for key in &change.deletes {
            state.items.remove(key);
        }
        for (key, kept) in puts {
            state.items.insert(key, Item { kept, renewed });
        }
        state.revision = revision;
        state.history.push_back(change);
        if state.history.len() > HISTORY {
            state.floor = state.history.pop_front().map_or(state.floor, |c| c.revision);
        }
        self.newest.send_replace(revision);
        Ok(revision)
    }

    /// Runs a write to its end though its caller goes away: a journal must hold no revision that memory knows nothing of, which a dropped future
    /// (a client that hung up) would leave behind. Without a journal nothing is awaited between the two.
    async fn to_its_end<T, W>(&self, write: impl FnOnce(Arc<Self>) -> W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let Some(this) = self.this.upgrade() else {
            return Err(StoreError::Away("the store is closing".into()));
        };
        let has_journal = this.state.lock().await.journal.is_some();
        let write = write(this);
        if !has_journal {
            return write.await;
        }
        tokio::spawn(write).await.map_err(|e| StoreError::Away(e.to_string()))?
    }

    async fn commit_now(&self, transaction: Transaction) -> Result<u64, StoreError> {
        let mut state = self.state.lock().await;
        for (key, modified) in &transaction.conditions {
            if state.items.get(key).map_or(0, |item| item.kept.modified) != *modified {
                return Err(StoreError::Conflict { key: key.clone() });
            }
        }
        self.write(&mut state, transaction).await
    }

    async fn renew_id_now(&self, old: &str) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        if head(&state)?.store_id == old {
            self.write(&mut state, Transaction::default().put(STORE_ID_KEY, random_id())).await?;
        }
        Ok(())
    }

    async fn put_leased_now(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        let mut state = self.state.lock().await;
        if let Some(item) = state.items.get_mut(key)
            && item.kept.value == value
            && item.kept.ttl == Some(ttl)
        {
            item.renewed = Instant::now();
            return Ok(());
        }
        self.write(&mut state, Transaction::default().put_for(key, value, ttl)).await?;
        Ok(())
    }

    /// Forgets the history, as etcd does when it compacts.
    #[cfg(test)]
    pub(crate) async fn compact(&self) {
        let mut state = self.state.lock().await;
        state.history.clear();
        state.floor = state.revision;
    }
}

fn head(state: &State) -> Result<Head, StoreError> {
    let id =
        state.items.get(STORE_ID_KEY).ok_or_else(|| StoreError::Damaged("there is no store id".into()))?;
    Ok(Head { store_id: String::from_utf8_lossy(&id.kept.value).into_owned(), revision: state.revision })
}

async fn sweep(store: Weak<Local>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(store) = store.upgrade() else { return };
        let mut state = store.state.lock().await;
        let deletes: Vec<String> =
            state.items.iter().filter(|(_, item)| item.has_lapsed()).map(|(key, _)| key.clone()).collect();
        if deletes.is_empty() {
            continue;
        }
        if let Err(error) = store.write(&mut state, Transaction { deletes, ..Default::default() }).await {
            tracing::error!(%error, "lapsed documents can't be deleted");
        }
    }
}

/// Feeds one watch. Holds the store weakly: a forgotten watch must not keep a closed store's file open.
async fn feed(
    store: Weak<Local>,
    mut newest: watch::Receiver<u64>,
    mut after: u64,
    sender: mpsc::Sender<Result<Change, WatchEnd>>,
) {
    loop {
        newest.mark_unchanged();
        let changes: Vec<Change> = {
            let Some(store) = store.upgrade() else { return };
            let state = store.state.lock().await;
            if after < state.floor {
                let _ = sender.send(Err(WatchEnd::Compacted)).await;
                return;
            }
            state.history.iter().filter(|c| c.revision > after).take(WATCH_CHANGES).cloned().collect()
        };
        if changes.is_empty() {
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
        for change in changes {
            after = change.revision;
            if sender.send(Ok(change)).await.is_err() {
                return;
            }
        }
    }
}

#[async_trait]
impl ConfigStore for Local {
    async fn head(&self) -> Result<Head, StoreError> {
        head(&*self.state.lock().await)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.state.lock().await.items.get(key).map(|item| item.entry(key)))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let state = self.state.lock().await;
        let entries = state
            .items
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, item)| item.entry(key))
            .collect();
        Ok(Listing { head: head(&state)?, entries })
    }

    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let state = self.state.lock().await;
        let from = if after >= prefix { Bound::Excluded(after) } else { Bound::Included(prefix) };
        let items = state.items.range::<str, _>((from, Bound::Unbounded));
        let below = items.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(below.map(|(key, item)| item.entry(key)).collect())
    }

    async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError> {
        self.to_its_end(|this| async move { this.commit_now(transaction).await }).await
    }

    async fn watch(&self, after: u64) -> Result<Watch, StoreError> {
        let (sender, receiver) = mpsc::channel(WATCH_CHANGES);
        tokio::spawn(feed(self.this.clone(), self.newest.subscribe(), after, sender));
        Ok(receiver)
    }

    async fn renew_id(&self, old: &str) -> Result<(), StoreError> {
        let old = old.to_owned();
        self.to_its_end(|this| async move { this.renew_id_now(&old).await }).await
    }

    async fn put_leased(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.to_its_end(|this| async move { this.put_leased_now(&key, value, ttl).await }).await
    }

    async fn lease_age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        let state = self.state.lock().await;
        Ok(state.items.get(key).filter(|item| item.kept.ttl.is_some()).map(|item| item.renewed.elapsed()))
    }
}
