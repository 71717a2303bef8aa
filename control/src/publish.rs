//! What one subscriber is sent: a snapshot in pages or the changes it lacks, then each change as it comes, shield maps
//! between them, and a sign of life when nothing else was sent for a while.
//!
//! A subscription compares the newest view with what it sent last, so it needs no queue of its own per change: a reader
//! that is slow gets several changes at once, one that has fallen behind the history gets a snapshot, and one that takes
//! nothing for [`PublishConfig::slow`] is dropped.

mod audience;

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use proto::status::{Reason, RemoteError};
use proto::token::Role;
use proto::v1::{
    Published, Purge, Revision, ShieldMap, SnapshotPage, SubscribeEvent, subscribe_event::Event,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::metrics::Metrics;
use crate::mirror::view::View;
use crate::seal::Sealer;
use crate::store::Store;

/// Bytes of documents after which a page is full.
const PAGE_BYTES: usize = 1 << 20;

/// How subscriptions are served.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// Documents a snapshot page holds at most.
    pub page_documents: usize,
    /// A sign of life comes when nothing was sent for this long.
    pub alive: Duration,
    /// Events that wait for a slow reader.
    pub queue: usize,
    /// A reader whose queue stays full for this long is dropped.
    pub slow: Duration,
    /// A subscriber ahead of this replica for this long makes it ask the store whether history ran backwards.
    pub ahead: Duration,
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self {
            page_documents: 200,
            alive: Duration::from_secs(3),
            queue: 64,
            slow: Duration::from_secs(10),
            ahead: Duration::from_secs(5),
        }
    }
}

/// One subscriber.
pub(crate) struct Subscription {
    pub(crate) node_id: String,
    /// What it may hear depends on it: secrets and grants are for shields.
    pub(crate) role: Role,
    /// Opens the secrets it may hear.
    pub(crate) sealer: Sealer,
    /// The revision the subscriber has; `None` has nothing.
    pub(crate) at: Option<Revision>,
    pub(crate) views: watch::Receiver<Arc<View>>,
    pub(crate) store: Store,
    pub(crate) config: PublishConfig,
    pub(crate) metrics: Metrics,
    pub(crate) sender: mpsc::Sender<Result<SubscribeEvent, Status>>,
    pub(crate) shutdown: CancellationToken,
}

/// The subscriber is gone or was dropped.
struct Gone;

impl Subscription {
    /// Serves it until it goes, is dropped, or control stops.
    pub(crate) async fn run(mut self) {
        self.metrics.subscribers.inc();
        let sender = self.sender.clone();
        let shutdown = self.shutdown.clone();
        tokio::select! {
            Err(Gone) = self.serve() => (),
            () = sender.closed() => (),
            () = shutdown.cancelled() => {
                let error = RemoteError::new(Reason::Unavailable, "control is stopping");
                let _ = sender.try_send(Err(error.into()));
            }
        }
        self.metrics.subscribers.dec();
        tracing::debug!(node = %self.node_id, "subscription ended");
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, Gone> {
        let mut map_sent: Option<Arc<ShieldMap>> = None;
        let mut ahead_since: Option<Instant> = None;
        let mut greeted = false;
        loop {
            let view = self.views.borrow_and_update().clone();
            let ahead = view.is_loaded()
                && self
                    .at
                    .as_ref()
                    .is_some_and(|at| at.store_id == view.store_id && at.number > view.revision);
            if ahead {
                // It has heard more than we have, from another replica. Ours comes by the watch, unless the store
                // was put back.
                let since = *ahead_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.config.ahead {
                    self.check_store(&view).await;
                    ahead_since = None;
                }
            } else if view.is_loaded() {
                ahead_since = None;
                self.send_config(&view).await?;
                let differs = map_sent.as_ref().is_none_or(|sent| {
                    sent.generation != view.shield_map.generation || sent.store_id != view.shield_map.store_id
                });
                if differs {
                    map_sent = Some(view.shield_map.clone());
                    self.send(Event::ShieldMap((*view.shield_map).clone())).await?;
                }
                if !std::mem::replace(&mut greeted, true) {
                    // Tells one that resumed and lacks nothing so.
                    self.send(Event::Alive(view.revision())).await?;
                }
            }
            tokio::select! {
                changed = self.views.changed() => changed.map_err(|_| Gone)?,
                () = tokio::time::sleep(self.config.alive) => {
                    self.send(Event::Alive(view.revision())).await?;
                }
            }
        }
    }

    /// Brings the subscriber to `view`.
    async fn send_config(&mut self, view: &View) -> Result<(), Gone> {
        let changes = match &self.at {
            Some(at) if at.store_id == view.store_id => view.changes_after(at.number),
            _ => None,
        };
        match changes {
            Some(changes) => {
                for delta in changes {
                    self.metrics.deltas.inc();
                    let delta = audience::delta(delta, self.role, &self.sealer, &self.metrics);
                    self.send(Event::Delta(delta)).await?;
                }
            }
            None => {
                self.metrics.snapshots.inc();
                tracing::info!(node = %self.node_id, revision = view.revision, "sending a full snapshot");
                let published = audience::published(view, self.role, &self.sealer, &self.metrics);
                for page in pages(view, published, self.config.page_documents) {
                    self.send(Event::SnapshotPage(page)).await?;
                }
            }
        }
        self.at = Some(view.revision());
        Ok(())
    }

    async fn check_store(&self, view: &View) {
        let Some(at) = &self.at else { return };
        let Ok(head) = self.store.head().await else { return };
        if head.store_id == view.store_id && head.revision < at.number {
            self.metrics.new_store_ids.inc();
            tracing::error!(
                node = %self.node_id, known = at.number, found = head.revision, store = %head.store_id,
                "a node knows more than the store (a restored backup?): giving the store a new id"
            );
            if let Err(error) = self.store.renew_id(&head.store_id).await {
                tracing::warn!(%error, "the store's id can't be renewed");
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        let event = SubscribeEvent { event: Some(event) };
        match tokio::time::timeout(self.config.slow, self.sender.send(Ok(event))).await {
            Ok(sent) => sent.map_err(|_| Gone),
            Err(_) => {
                self.metrics.dropped_subscribers.inc();
                tracing::warn!(node = %self.node_id, "subscriber dropped: it reads too slowly");
                Err(Gone)
            }
        }
    }
}

/// The pages of a full snapshot, made one at a time; the last has the end marker. Purges travel oldest first.
fn pages(
    view: &View,
    published: Published,
    page_documents: usize,
) -> impl Iterator<Item = SnapshotPage> + use<> {
    let Published { signers, origin_secrets, grants } = published;
    let mut signers = signers.into_iter().peekable();
    let mut origin_secrets = origin_secrets.into_iter().peekable();
    let mut grants = grants.into_iter().peekable();
    let mut documents = view.distributions.values().cloned().collect::<Vec<_>>().into_iter().peekable();
    let mut purges: Vec<(u64, Purge)> = view.purges.values().cloned().collect();
    purges.sort_by_key(|(modified, _)| *modified);
    let mut purges = purges.into_iter().map(|(_, purge)| purge).peekable();
    let revision = view.revision();
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        let mut page = SnapshotPage { revision: Some(revision.clone()), ..Default::default() };
        let (mut count, mut bytes) = (0, 0);
        while count < page_documents.max(1) && bytes < PAGE_BYTES {
            if let Some(document) = documents.next() {
                bytes += document.encoded_len();
                page.distributions.push((*document).clone());
            } else if let Some(purge) = purges.next() {
                bytes += purge.encoded_len();
                page.purges.push(purge);
            } else if let Some(signer) = signers.next() {
                bytes += signer.encoded_len();
                page.published.get_or_insert_default().signers.push(signer);
            } else if let Some(secret) = origin_secrets.next() {
                bytes += secret.encoded_len();
                page.published.get_or_insert_default().origin_secrets.push(secret);
            } else if let Some(grant) = grants.next() {
                bytes += grant.encoded_len();
                page.published.get_or_insert_default().grants.push(grant);
            } else {
                break;
            }
            count += 1;
        }
        let access = signers.peek().is_none() && origin_secrets.peek().is_none() && grants.peek().is_none();
        ended = documents.peek().is_none() && purges.peek().is_none() && access;
        page.end = ended;
        Some(page)
    })
}
