//! A replica's copy of the store, and how it stays true.
//!
//! The mirror lists the store once, then follows its watch; what it knows at a moment is a [`View`], an immutable value
//! that subscribers read. Every `compare_every` it lists again and compares, since a watch is only a hint: what differs
//! is repaired and counted. The config's revision is the one that last touched the head; a repair, or a document
//! changed by hand without the head, is published by touching the head, so that a revision number never stands for
//! two contents.
//!
//! The documents of the access logs are not mirrored: they change a hundred times as often as all others, and only mergers read them
//! ([`crate::access_log`]).
//!
//! A store whose history runs backwards was restored from a backup: it gets a new id, and subscribers a snapshot. A store
//! that is away leaves the view as it is.

pub mod view;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::documents::LOGS;
use crate::metrics::Metrics;
use crate::store::{
    Change, Entry, HEAD_KEY, Listing, STORE_ID_KEY, Store, StoreError, Transaction, Watch, WatchEnd,
};
use view::{Pending, View};

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// Keeps a [`View`] true. Made by [`Mirror::new`], driven by [`Mirror::run`].
pub(crate) struct Mirror {
    store: Store,
    views: watch::Sender<Arc<View>>,
    metrics: Metrics,
    compare_every: Duration,
    history: usize,
    /// The revisions of all documents as last heard: what a periodic list is compared with.
    documents: HashMap<String, u64>,
    /// Changes not yet published for want of a newer head.
    pending: Pending,
    /// The newest store revision heard of.
    last: u64,
}

/// Whether a change is one of the log ledger's alone: it makes no view, and wakes no subscriber.
fn is_of_logs(change: &Change) -> bool {
    let mut keys = change.puts.iter().map(|put| &put.key).chain(&change.deletes);
    keys.all(|key| key.starts_with(LOGS))
}

enum Follow {
    /// List again.
    Relist,
    /// Watch on from the last revision.
    Rewatch,
}

impl Mirror {
    /// A mirror of `store` whose views appear in `views`; `history` changes are kept for subscribers that resume.
    pub(crate) fn new(
        store: Store,
        views: watch::Sender<Arc<View>>,
        metrics: Metrics,
        compare_every: Duration,
        history: usize,
    ) -> Self {
        let (documents, pending) = (HashMap::new(), Pending::default());
        Self { store, views, metrics, compare_every, history, documents, pending, last: 0 }
    }

    /// Follows the store until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let _ = shutdown.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&mut self) {
        let mut retry = RETRY_FIRST;
        let mut next = Follow::Relist;
        loop {
            match self.step(&next).await {
                Ok(after) => {
                    next = after;
                    retry = RETRY_FIRST;
                }
                Err(error) => {
                    if self.metrics.store_up.get() == 1 || retry == RETRY_LAST {
                        tracing::warn!(%error, "the store can't be followed; publishing what is known");
                    }
                    self.metrics.store_up.set(0);
                    self.metrics.store_failures.inc();
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_LAST);
                }
            }
        }
    }

    async fn step(&mut self, how: &Follow) -> Result<Follow, StoreError> {
        let known = self.views.borrow().store_id.clone();
        if let Follow::Rewatch = how {
            let head = self.store.head().await?;
            if head.store_id != known || head.revision < self.last {
                return Ok(Follow::Relist);
            }
        } else {
            self.relist(&known).await?;
        }
        let mut watch = self.store.watch(self.last).await?;
        if self.metrics.store_up.get() == 0 {
            self.metrics.store_up.set(1);
            self.views.send_modify(|view| Arc::make_mut(view).followed_since = Some(Instant::now()));
            let view = self.views.borrow();
            let (revision, distributions) = (view.revision, view.distributions.len());
            tracing::info!(store = %view.store_id, revision, distributions, "following the store");
        }
        self.read(&mut watch).await
    }

    /// Reads the watch until it ends.
    async fn read(&mut self, watch: &mut Watch) -> Result<Follow, StoreError> {
        let mut compare_at = Instant::now() + self.compare_every;
        loop {
            let change = tokio::select! {
                change = watch.recv() => change,
                () = tokio::time::sleep_until(compare_at) => {
                    let known = self.views.borrow().store_id.clone();
                    self.relist(&known).await?;
                    compare_at = Instant::now() + self.compare_every;
                    continue;
                }
            };
            match change {
                Some(Ok(change)) if change.revision <= self.last => (),
                // The most frequent of all, and none of a view's.
                Some(Ok(change)) if is_of_logs(&change) => self.last = change.revision,
                Some(Ok(change)) => {
                    if change.puts.iter().any(|e| e.key == STORE_ID_KEY) {
                        return Ok(Follow::Relist);
                    }
                    self.take(change);
                    if self.publish() {
                        self.touch_head().await?;
                    }
                }
                Some(Err(WatchEnd::Compacted)) => {
                    self.metrics.resyncs.inc();
                    tracing::warn!(
                        after = self.last,
                        "the store no longer keeps the history we need: listing again"
                    );
                    return Ok(Follow::Relist);
                }
                Some(Err(WatchEnd::Lost)) | None => {
                    self.metrics.store_failures.inc();
                    return Ok(Follow::Rewatch);
                }
            }
        }
    }

    /// Lists the store whole and takes what differs.
    async fn relist(&mut self, known: &str) -> Result<(), StoreError> {
        let listing = self.store.list_but(LOGS).await?;
        let fresh = listing.head.store_id != known;
        if !fresh && listing.head.revision < self.last {
            self.metrics.new_store_ids.inc();
            tracing::error!(
                store = %known, known = self.last, found = listing.head.revision,
                "the store's history ran backwards (a restored backup?): giving it a new id"
            );
            self.store.renew_id(known).await?;
            return Err(StoreError::Away("its id is being renewed".into()));
        }
        if fresh {
            self.start_over(&listing);
        } else {
            let difference = self.difference(&listing);
            self.last = listing.head.revision;
            let before = self.pending.len();
            self.take(difference);
            let repaired = self.pending.len() - before;
            if repaired > 0 {
                self.metrics.repairs.inc();
                tracing::warn!(documents = repaired, "a full list differed from what the watch had told");
            }
        }
        if self.publish() { self.touch_head().await } else { Ok(()) }
    }

    fn start_over(&mut self, listing: &Listing) {
        self.documents.clear();
        self.pending = Pending::default();
        self.views.send_replace(Arc::new(View::of_store(&listing.head.store_id)));
        let change =
            Change { revision: listing.head.revision, puts: listing.entries.clone(), deletes: Vec::new() };
        self.last = listing.head.revision;
        self.take(change);
        // The first view is a snapshot, not a change: nothing is pending unless it was changed without the head.
        let head = self.documents.get(HEAD_KEY).copied().unwrap_or(0);
        let stray = listing.entries.iter().any(|e| Pending::concerns(&e.key) && e.modified > head);
        self.pending = Pending::default();
        self.pending.stray = stray;
    }

    fn difference(&self, listing: &Listing) -> Change {
        let mut gone: HashSet<&String> = self.documents.keys().collect();
        let mut puts = Vec::new();
        for entry in &listing.entries {
            gone.remove(&entry.key);
            if self.documents.get(&entry.key).is_none_or(|known| *known != entry.modified) {
                puts.push(entry.clone());
            }
        }
        let deletes = gone.into_iter().cloned().collect();
        Change { revision: listing.head.revision, puts, deletes }
    }

    /// Takes a change into the copy and the next view.
    fn take(&mut self, change: Change) {
        self.last = self.last.max(change.revision);
        let mut view = View::clone(&self.views.borrow());
        view.store_revision = self.last;
        for key in change.deletes.into_iter().filter(|key| !key.starts_with(LOGS)) {
            self.documents.remove(&key);
            view.remove(&key, &mut self.pending);
        }
        for entry in change.puts.into_iter().filter(|put| !put.key.starts_with(LOGS)) {
            let Entry { key, value, modified } = entry;
            view.set(&key, &value, modified, &mut self.pending);
            self.documents.insert(key, modified);
        }
        self.views.send_if_modified(|current| {
            *current = Arc::new(view);
            // Not news yet: `publish` says when.
            false
        });
    }

    /// Makes the view public. If the head has moved, what is pending becomes a change; else returns whether the head
    /// must be touched to publish it.
    fn publish(&mut self) -> bool {
        let head = self.documents.get(HEAD_KEY).copied().unwrap_or(0);
        let mut view = View::clone(&self.views.borrow());
        if head > view.revision {
            view.advance(head, std::mem::take(&mut self.pending), self.history);
        }
        self.show(&view);
        self.views.send_replace(Arc::new(view));
        !self.pending.is_empty()
    }

    async fn touch_head(&self) -> Result<(), StoreError> {
        let head = self.documents.get(HEAD_KEY).copied().unwrap_or(0);
        match self.store.commit(Transaction::default().when(HEAD_KEY, head).put(HEAD_KEY, "")).await {
            // Another replica was first; its touch comes by the watch.
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn show(&self, view: &View) {
        let metrics = &self.metrics;
        metrics.revision.set(view.revision as i64);
        metrics.distributions.set(view.distributions.len() as i64);
        metrics.signers.set(view.signers.len() as i64);
        metrics.origin_secrets.set(view.origin_secrets.len() as i64);
        metrics.grants.set(view.grants.len() as i64);
        metrics.purges_kept.set(view.purges.len() as i64);
        metrics.damaged.set(view.damaged.len() as i64);
        metrics.generation.set(view.shield_map.generation as i64);
        metrics.history.set(view.history.len() as i64);
        metrics.members.reset();
        let mut lagging = 0;
        for member in view.members.values() {
            let (role, state) = (crate::membership::role_name(member), crate::membership::state_name(member));
            metrics.members.with_label_values(&[role, state]).inc();
            lagging += i64::from(member.applied.as_ref() != Some(&view.revision()));
        }
        metrics.lagging.set(lagging);
    }
}

#[cfg(test)]
mod tests;
