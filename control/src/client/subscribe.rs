//! Follows control: the task that keeps a node's catalogue and shield map current.
//!
//! One subscription at a time, to any endpoint; when it breaks or falls silent the next endpoint is tried, with growing,
//! jittered waits. Revisions never run backwards: within one store id only newer revisions are taken, a change must name
//! the revision it follows (a gap makes the node ask for a snapshot), and the pages of a snapshot take effect together
//! when the end marker has come. A new store id (a restored backup) is taken only as a full snapshot.

use std::sync::Arc;
use std::time::Duration;

use proto::status::{Reason, RemoteError};
use proto::v1::{
    Delta, Distribution, Published, Purge, Revision, ShieldMap, SnapshotPage, SubscribeRequest,
    subscribe_event::Event,
};

use super::backoff::Backoff;
use super::catalogue::Catalogue;
use super::last_known_good;
use super::node::Shared;

/// Control says something at least this often, or it is given up.
const SILENCE: Duration = Duration::from_secs(15);
const OPEN: Duration = Duration::from_secs(5);
/// Changes that come in a burst are written to disk together.
const SAVE_AFTER: Duration = Duration::from_millis(200);

/// Follows control until the node is shut down.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut at = rand::random_range(0..shared.clients.len());
    let mut backoff = Backoff::new();
    let mut follower = Follower { shared: shared.clone(), pages: None, resume: true, confirmed: false };
    loop {
        follower.pages = None;
        follower.confirmed = false;
        let endpoint = &shared.config.control[at];
        let error = tokio::select! {
            result = follower.follow(at) => match result { Ok(never) => match never {}, Err(error) => error },
            () = shared.shutdown.cancelled() => return,
        };
        shared.metrics.connected.set(0);
        shared.metrics.failures.inc();
        if follower.confirmed {
            backoff.reset();
        }
        let wait = backoff.next();
        tracing::warn!(
            node = %shared.config.node_id, %endpoint, %error, wait_ms = wait.as_millis() as u64,
            "subscription to control ended; serving by what is known"
        );
        at = (at + 1) % shared.clients.len();
        tokio::select! {
            () = tokio::time::sleep(wait) => (),
            () = shared.shutdown.cancelled() => return,
        }
    }
}

/// Writes the last known good after each change, and keeps trying while the disk refuses.
pub(crate) async fn keep_saved(shared: Arc<Shared>) {
    let (mut catalogue, mut shields) = (shared.catalogue.subscribe(), shared.shields.subscribe());
    // A publication may have come before this task first ran.
    catalogue.mark_changed();
    let (mut retry, mut saved) = (None, false);
    loop {
        let again = async {
            match retry {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = catalogue.changed() => (),
            _ = shields.changed() => (),
            () = again => (),
            () = shared.shutdown.cancelled() => return,
        }
        // The first is saved at once: a node killed right after its start must find one.
        if saved {
            tokio::time::sleep(SAVE_AFTER).await;
        }
        let (known, map) = (catalogue.borrow_and_update().clone(), shields.borrow_and_update().clone());
        if known.is_empty() {
            continue;
        }
        retry = match last_known_good::save(&shared.config.state_dir, &known, &map).await {
            Ok(()) => {
                saved = true;
                None
            }
            Err(error) => {
                shared.metrics.save_failures.inc();
                let dir = shared.config.state_dir.display();
                tracing::warn!(node = %shared.config.node_id, %dir, %error, "can't save the last known good");
                Some(Duration::from_secs(10))
            }
        };
    }
}

struct Pages {
    revision: Revision,
    distributions: Vec<Distribution>,
    purges: Vec<Purge>,
    published: Published,
}

struct Follower {
    shared: Arc<Shared>,
    /// A snapshot whose end has not come.
    pages: Option<Pages>,
    /// Ask only for what is newer than the known revision; false after a gap.
    resume: bool,
    /// Whether this subscription has brought anything of use.
    confirmed: bool,
}

fn broken(message: impl Into<String>) -> RemoteError {
    RemoteError::new(Reason::Internal, message)
}

impl Follower {
    async fn follow(&mut self, at: usize) -> Result<std::convert::Infallible, RemoteError> {
        let known = self.shared.catalogue.borrow().clone();
        let request = SubscribeRequest {
            node_id: self.shared.config.node_id.clone(),
            resume_after: (self.resume && !known.is_empty()).then(|| known.revision.clone()),
            features: proto::distribution::FEATURES.iter().map(|&f| f.into()).collect(),
        };
        let late = |what: &str| RemoteError::new(Reason::Deadline, what);
        let mut client = self.shared.clients[at].clone();
        let mut events = tokio::time::timeout(OPEN, client.subscribe(request))
            .await
            .map_err(|_| late("control did not answer in time"))??
            .into_inner();
        loop {
            let event = tokio::time::timeout(SILENCE, events.message())
                .await
                .map_err(|_| late("control fell silent"))??
                .ok_or_else(|| RemoteError::new(Reason::Unavailable, "control closed the subscription"))?;
            match event.event {
                Some(Event::SnapshotPage(page)) => self.page(page)?,
                Some(Event::Delta(delta)) => self.delta(delta)?,
                Some(Event::ShieldMap(map)) => self.shield_map(map),
                Some(Event::Alive(revision)) => self.alive(&revision),
                // A newer control's event: not for us.
                None => (),
            }
        }
    }

    fn page(&mut self, page: SnapshotPage) -> Result<(), RemoteError> {
        let revision = page.revision.unwrap_or_default();
        if revision.store_id.is_empty() {
            return Err(broken("a snapshot page names no revision"));
        }
        let pages = self.pages.get_or_insert_with(|| Pages {
            revision: revision.clone(),
            distributions: Vec::new(),
            purges: Vec::new(),
            published: Published::default(),
        });
        if pages.revision != revision {
            return Err(broken("the pages of a snapshot differ in their revision"));
        }
        pages.distributions.extend(page.distributions);
        pages.purges.extend(page.purges);
        let published = page.published.unwrap_or_default();
        pages.published.signers.extend(published.signers);
        pages.published.origin_secrets.extend(published.origin_secrets);
        pages.published.grants.extend(published.grants);
        if !page.end {
            return Ok(());
        }
        let Some(Pages { revision, distributions, purges, published }) = self.pages.take() else {
            return Ok(());
        };
        let known = self.shared.catalogue.borrow().clone();
        if known.revision.store_id == revision.store_id && revision.number < known.revision.number {
            self.shared.metrics.stale.inc();
            return Err(broken(format!(
                "a snapshot of revision {} is older than {}, which is known",
                revision.number, known.revision.number
            )));
        }
        if !known.is_empty() && known.revision.store_id != revision.store_id {
            let (old, new) = (&known.revision.store_id, &revision.store_id);
            tracing::warn!(node = %self.shared.config.node_id, %old, %new, "the store was replaced: taking its snapshot whole");
        }
        self.publish(known.replace(revision, distributions, purges).with_published(published));
        self.shared.metrics.snapshots.inc();
        self.resume = true;
        self.current();
        Ok(())
    }

    fn delta(&mut self, delta: Delta) -> Result<(), RemoteError> {
        let known = self.shared.catalogue.borrow().clone();
        let revision = delta.revision.clone().unwrap_or_default();
        if revision.store_id != known.revision.store_id {
            self.resume = false;
            return Err(broken("a change belongs to another store"));
        }
        if revision.number <= known.revision.number {
            self.shared.metrics.stale.inc();
            return Ok(());
        }
        if delta.after > known.revision.number {
            self.resume = false;
            return Err(broken(format!(
                "revision {} follows {}, but {} is known: something was missed",
                revision.number, delta.after, known.revision.number
            )));
        }
        self.publish(known.apply(delta));
        self.shared.metrics.deltas.inc();
        self.current();
        Ok(())
    }

    fn shield_map(&mut self, map: ShieldMap) {
        let newer = {
            let known = self.shared.shields.borrow();
            known.store_id != map.store_id || known.generation < map.generation
        };
        if newer {
            tracing::info!(
                node = %self.shared.config.node_id, generation = map.generation, shields = map.shields.len(),
                "shield map"
            );
            self.shared.metrics.generation.set(map.generation as i64);
            self.shared.shields.send_replace(Arc::new(map));
        } else if self.shared.shields.borrow().generation > map.generation {
            self.shared.metrics.stale.inc();
        }
    }

    fn alive(&mut self, revision: &Revision) {
        let known = self.shared.catalogue.borrow().revision.clone();
        if revision.store_id.is_empty() {
            // This replica has not read its store yet: it lives, and knows less than we do.
        } else if known == *revision {
            self.current();
        } else {
            self.shared.metrics.connected.set(0);
        }
    }

    /// What is known is what control knows.
    fn current(&mut self) {
        self.confirmed = true;
        self.shared.metrics.connected.set(1);
        self.shared.live.send_if_modified(|live| !std::mem::replace(live, true));
    }

    fn publish(&self, catalogue: Catalogue) {
        tracing::info!(
            node = %self.shared.config.node_id, revision = catalogue.revision.number,
            distributions = catalogue.distributions.len(), refused = catalogue.refused.len(), "config applied"
        );
        self.shared.metrics.show(&catalogue);
        self.shared.catalogue.send_replace(Arc::new(catalogue));
    }
}

#[cfg(test)]
mod tests;
