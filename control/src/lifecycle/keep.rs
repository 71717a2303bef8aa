//! The task that keeps roster and floor true, on every replica, and tells how long nodes have been behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::clock::SharedClock;
use proto::v1::NodeRole;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::step::{Patience, Step, next_due_ms, steps};
use super::{Condition, acknowledged, refusals};
use crate::membership::settling;
use crate::metrics::Metrics;
use crate::mirror::view::View;
use crate::store::Store;

const RETRY: Duration = Duration::from_millis(500);
/// The least time between two looks of our own; what changes is looked at at once.
const LOOK_LEAST: Duration = Duration::from_millis(50);

/// How a node stands, as one replica sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Edge, shield.
    pub role: NodeRole,
    /// What stands between it and the newest revision.
    pub condition: Condition,
    /// Since when it has not moved on though there is something newer.
    pub behind_since: Option<Instant>,
    /// The revision it has applied, 0 for none.
    pub applied: u64,
    /// How many distributions it refuses.
    pub refused: u32,
}

/// What the task needs.
pub(crate) struct Keeper {
    pub(crate) store: Store,
    pub(crate) views: watch::Receiver<Arc<View>>,
    pub(crate) clock: SharedClock,
    pub(crate) metrics: Metrics,
    pub(crate) lease: Duration,
    pub(crate) exclude_after: Duration,
    pub(crate) forget_after: Duration,
    pub(crate) hang_after: Duration,
    pub(crate) reports: watch::Sender<Arc<BTreeMap<String, Report>>>,
}

impl Keeper {
    /// Runs until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let patience = Patience {
            exclude_after_ms: self.exclude_after.as_millis() as u64,
            forget_after_ms: self.forget_after.as_millis() as u64,
        };
        // What live nodes had applied when they were last seen, so that a lapsed one is not taken for knowing nothing.
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        loop {
            let view = self.views.borrow_and_update().clone();
            let mut wait = None;
            if view.is_loaded() {
                for member in view.members.values() {
                    last.insert(member.node_id.clone(), acknowledged(&view, member));
                }
                last.retain(|node, _| view.roster.contains_key(node) || view.members.contains_key(node));
                let now_ms = self.clock.now_ms();
                let still = settling(&view, self.lease);
                let due = steps(&view, now_ms, !still.is_zero(), &last, patience);
                let failed = self.carry_out(&due, &view, now_ms).await;
                self.report(&view);
                wait = next_due_ms(&view, now_ms, patience).map(Duration::from_millis);
                let hangs = self.reports.borrow().values().any(|report| report.behind_since.is_some());
                for (applies, due) in [
                    (failed, RETRY),
                    (hangs, self.hang_after.min(Duration::from_secs(1))),
                    (!still.is_zero(), still),
                ] {
                    if applies {
                        wait = Some(wait.map_or(due, |wait| wait.min(due)));
                    }
                }
            }
            let again = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait.max(LOOK_LEAST)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.views.changed() => if changed.is_err() { return },
                () = again => (),
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Writes what is due; whether the store failed.
    async fn carry_out(&self, due: &[Step], view: &View, now_ms: u64) -> bool {
        for step in due {
            match step.carry_out(&*self.store, view, now_ms).await {
                Ok(true) => self.tell(step, view),
                // Another replica was first, or things have changed; what is so now comes by the watch.
                Ok(false) => (),
                Err(error) => {
                    tracing::warn!(%error, ?step, "the roster can't be written");
                    return true;
                }
            }
        }
        false
    }

    fn tell(&self, step: &Step, view: &View) {
        match step {
            Step::Lapse(node, applied) => {
                tracing::warn!(%node, applied, newest = view.revision, "a node's lease has lapsed; it still counts towards Deployed");
            }
            Step::Return(node) => tracing::info!(%node, "a node whose lease had lapsed is back"),
            Step::Exclude(node) => {
                self.metrics.exclusions.inc();
                let after_ms = self.exclude_after.as_millis() as u64;
                tracing::error!(%node, after_ms, "a node was away for too long: excluded, Deployed no longer waits for it");
            }
            Step::Readmit(node) => tracing::info!(%node, "an excluded node has caught up and counts again"),
            Step::Forget(node) => tracing::info!(%node, "a node that was excluded long ago is forgotten"),
            Step::Raise(revision) => tracing::debug!(revision, "deployed on every node that counts"),
            Step::Adopt(_) => (),
        }
    }

    /// Works out how nodes stand, and shows it.
    fn report(&self, view: &View) {
        let before = self.reports.borrow().clone();
        let mut reports = BTreeMap::new();
        for node in view.members.keys().chain(view.roster.keys()) {
            let Some(condition) = Condition::of(view, node) else { continue };
            let (member, entry) = (view.members.get(node), view.roster.get(node));
            let role =
                member.map(|m| m.role()).or(entry.map(|e| NodeRole::try_from(e.role).unwrap_or_default()));
            let applied = member.map(|m| acknowledged(view, m)).or(entry.map(|e| e.applied)).unwrap_or(0);
            let refused = refusals(view, node).map_or(0, |refusals| refusals.count);
            if refused > 0 && before.get(node).is_none_or(|known| known.refused != refused) {
                tracing::error!(%node, applied, refused, "a node refuses distributions: they are not Deployed");
            }
            let mut report =
                Report { role: role.unwrap_or_default(), condition, behind_since: None, applied, refused };
            if condition == Condition::Behind {
                let known = before.get(node).filter(|known| known.applied == applied);
                let since = known.and_then(|known| known.behind_since).unwrap_or_else(Instant::now);
                report.behind_since = Some(since);
                if since.elapsed() >= self.hang_after {
                    report.condition = Condition::Hanging;
                    if known.is_none_or(|known| known.condition != Condition::Hanging) {
                        let behind_ms = since.elapsed().as_millis() as u64;
                        tracing::error!(
                            %node, applied, newest = view.revision, behind_ms,
                            "a node lives but does not apply the config: it holds up Deployed"
                        );
                    }
                }
            }
            reports.insert(node.clone(), report);
        }
        let drains =
            |role: NodeRole| view.roster.values().filter(|e| e.drain && e.role == i32::from(role)).count();
        self.metrics.nodes.show(&before, &reports, drains);
        self.metrics.deployed_floor.set(view.deployed_floor as i64);
        self.reports.send_if_modified(|shown| {
            let differs = **shown != reports;
            if differs {
                *shown = Arc::new(reports);
            }
            differs
        });
    }
}
