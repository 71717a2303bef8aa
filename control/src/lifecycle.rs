//! When a change is deployed.
//!
//! Every node that registers gets an entry in the durable *roster* and counts from then on. The *floor* is the highest config revision that all
//! that count have acknowledged; it is a document of the store, so every replica tells the same, and it only ever rises. A change is Deployed
//! once the floor has reached its revision, and no node that counts refuses its document (one that a newer control wrote): such a node has applied
//! the revision, and serves by the form before or not at all. Nor is one Deployed that control can't read: nodes were sent the form before.
//!
//! ```text
//!           Register                lease lapses            exclude_after             applied the newest revision
//! (nobody) ─────────▶ live, counts ─────────────▶ lapsed, ──────────────▶ excluded, ─────────────────────────────▶ live, counts
//!                        ▲                        counts │                counts no more, not in the shield map
//!                        └──────── Register ─────────────┘                      └─ forget_after ─▶ (nobody)
//! ```
//!
//! A node that stops cleanly leaves the roster at once. Without an edge that is ready the floor stands still: nobody is served by the change.
//!
//! Any replica may move the floor, from what it has mirrored, by compare-and-set. That is safe though mirrors lag: acknowledgements only rise,
//! so an old view errs on the side of waiting; and a node that joins (or counts again) writes the floor's document anew in the same transaction, so
//! a replica that has not heard of it fails its compare-and-set.

use std::sync::Arc;

use proto::v1::{Distribution, NodeRole, NodeState, Refusals, RegisterRequest, RosterEntry};

use crate::client::catalogue::refusals::{Refusal, find};
use crate::documents::DISTRIBUTIONS;
use crate::mirror::view::View;

pub(crate) mod keep;
pub(crate) mod roster;
mod step;

pub use keep::Report;

/// A distribution as it was last written: what is to be deployed.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Its id.
    pub id: &'a str,
    /// The revision that last changed the document, as the store tells it: a view that has not heard of the change yet must not answer for the one
    /// before.
    pub revision: u64,
    /// Whether it is to serve anybody.
    pub enabled: bool,
    /// Features a node must have to serve it.
    pub required_features: &'a [String],
}

impl<'a> Change<'a> {
    /// That revision `revision` made `document`.
    pub fn of(document: &'a Distribution, revision: u64) -> Self {
        Self {
            id: &document.id,
            revision,
            enabled: document.enabled,
            required_features: &document.required_features,
        }
    }
}

/// Whether every node that counts serves by a change: has applied it, and neither lacks a feature nor refuses the document. Where a disabled
/// distribution is refused it serves nobody, which is all that disabled asks, unless an older form stayed in force.
pub fn is_deployed(view: &View, change: &Change<'_>) -> bool {
    has_reached_all(view, change.revision)
        && !is_unreadable(view, change.id)
        && view.members.values().filter(|m| !is_excluded(view, &m.node_id)).all(|m| takes(m, change))
        && lapsed(view).all(|entry| !objects(find(entry.refusals.as_ref(), change.id), change))
}

/// Whether all nodes that count have acknowledged config revision `revision`, whatever they made of it.
pub fn has_reached_all(view: &View, revision: u64) -> bool {
    revision <= view.deployed_floor
}

/// Whether the document of distribution `id` can't be read: nodes were sent the form before, if there was one.
pub fn is_unreadable(view: &View, id: &str) -> bool {
    !view.damaged.is_empty() && view.damaged.contains(&format!("{DISTRIBUTIONS}{id}"))
}

/// Whether a live node that has applied `change` serves by it.
fn takes(member: &RegisterRequest, change: &Change<'_>) -> bool {
    let has_all = || change.required_features.iter().all(|f| member.features.contains(f));
    (!change.enabled || has_all()) && !objects(find(member.refusals.as_ref(), change.id), change)
}

fn objects(refusal: Option<Refusal>, change: &Change<'_>) -> bool {
    refusal.is_some_and(|refusal| change.enabled || refusal.serves_older)
}

/// What a node refuses, as it last told; that of a lapsed one stands in the roster.
pub fn refusals<'a>(view: &'a View, node_id: &str) -> Option<&'a Refusals> {
    match view.members.get(node_id) {
        Some(member) => member.refusals.as_ref(),
        None => view.roster.get(node_id)?.refusals.as_ref(),
    }
}

/// Nodes that count though their leases have lapsed.
fn lapsed(view: &View) -> impl Iterator<Item = &Arc<RosterEntry>> {
    view.roster.values().filter(|e| !e.excluded && !view.members.contains_key(&e.node_id))
}

/// What stands between a node and the newest revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It has applied it.
    Current,
    /// It has not yet.
    Behind,
    /// It lives, and has not for long: [`keep`] is asked how long.
    Hanging,
    /// Its lease lapsed; it still counts.
    Lapsed,
    /// It counts no more until it has applied the newest revision.
    Excluded,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Current, Self::Behind, Self::Hanging, Self::Lapsed, Self::Excluded];

    /// Its name in metrics and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Hanging => "hanging",
            Self::Lapsed => "lapsed",
            Self::Excluded => "excluded",
        }
    }

    /// The condition of node `node_id` at `view`; `None` if nobody knows it. How long it has been behind no view tells: it is never
    /// [`Condition::Hanging`] here.
    pub fn of(view: &View, node_id: &str) -> Option<Self> {
        let (member, entry) = (view.members.get(node_id), view.roster.get(node_id));
        match (member, entry) {
            (None, None) => None,
            (_, Some(entry)) if entry.excluded => Some(Self::Excluded),
            (None, Some(_)) => Some(Self::Lapsed),
            (Some(member), _) if acknowledged(view, member) >= view.revision => Some(Self::Current),
            (Some(_), _) => Some(Self::Behind),
        }
    }
}

/// The revision of this store that a live node has applied; 0 for none.
pub(crate) fn acknowledged(view: &View, member: &RegisterRequest) -> u64 {
    member
        .applied
        .as_ref()
        .filter(|applied| applied.store_id == view.store_id)
        .map_or(0, |applied| applied.number)
}

/// The same of one whose lease has lapsed.
fn acknowledged_last(view: &View, entry: &RosterEntry) -> u64 {
    if entry.store_id == view.store_id { entry.applied } else { 0 }
}

/// Whether the node was away for too long and counts no more.
pub(crate) fn is_excluded(view: &View, node_id: &str) -> bool {
    view.roster.get(node_id).is_some_and(|entry| entry.excluded)
}

/// The highest revision that all nodes that count have acknowledged; `None` while no edge that is ready has any.
fn floor(view: &View) -> Option<u64> {
    let live = view.members.values().filter(|member| !is_excluded(view, &member.node_id));
    let serves = live.clone().any(|m| m.role() == NodeRole::Edge && m.state() == NodeState::Ready);
    let acknowledged = live.map(|member| acknowledged(view, member));
    let all = acknowledged.chain(lapsed(view).map(|entry| acknowledged_last(view, entry)));
    // A node that follows another replica may know more than this one: that is no more than what this one knows of.
    all.min().filter(|_| serves).map(|lowest| lowest.min(view.revision))
}

#[cfg(test)]
mod tests;
