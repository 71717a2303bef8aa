//! What a replica's view calls for, one write at a time. [`steps`] decides and does nothing; [`Step::carry_out`] writes, on condition that what the
//! decision was based on still holds.

use std::collections::BTreeMap;

use prost::Message;
use proto::v1::{Deployed, RosterEntry};

use super::{acknowledged, floor, roster};
use crate::documents::{DEPLOYED, MEMBERS, ROSTER};
use crate::mirror::view::View;
use crate::store::{ConfigStore, StoreError, Transaction};

/// Times after which a node that is away counts no more and is forgotten, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) exclude_after_ms: u64,
    pub(super) forget_after_ms: u64,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A live node is not in the roster (a replica of an older version took its Register).
    Adopt(String),
    /// Its lease has lapsed, and this is what it had applied.
    Lapse(String, u64),
    /// It came back in time.
    Return(String),
    /// It was away for too long.
    Exclude(String),
    /// It was excluded and has caught up.
    Readmit(String),
    /// It has been gone for long.
    Forget(String),
    /// All that count have applied this revision.
    Raise(u64),
}

/// What `view` calls for at `now_ms`. While leases `settle` (control or the store was away itself) no node is taken for lapsed. `last` is what
/// nodes had applied when this replica last saw them alive.
pub(super) fn steps(
    view: &View,
    now_ms: u64,
    settling: bool,
    last: &BTreeMap<String, u64>,
    patience: Patience,
) -> Vec<Step> {
    let mut steps = Vec::new();
    for node in view.members.keys().filter(|node| !view.roster.contains_key(*node)) {
        steps.push(Step::Adopt(node.clone()));
    }
    for (node, entry) in view.roster.iter() {
        let node = node.clone();
        let away_ms = now_ms.saturating_sub(entry.lapsed_ms);
        match view.members.get(&node) {
            Some(member) if entry.excluded && acknowledged(view, member) >= view.revision => {
                steps.push(Step::Readmit(node));
            }
            Some(_) if entry.excluded => (),
            Some(_) if entry.lapsed_ms != 0 => steps.push(Step::Return(node)),
            Some(_) => (),
            None if settling => (),
            None if entry.lapsed_ms == 0 => {
                let applied = last.get(&node).copied().unwrap_or(0);
                steps.push(Step::Lapse(node, applied));
            }
            None if !entry.excluded && away_ms >= patience.exclude_after_ms => {
                steps.push(Step::Exclude(node))
            }
            None if entry.excluded && away_ms >= patience.forget_after_ms => steps.push(Step::Forget(node)),
            None => (),
        }
    }
    // Last: whoever of the above changes who counts also changes the floor's document or this replica's next view.
    if let Some(floor) = floor(view).filter(|floor| *floor > view.deployed_floor) {
        steps.push(Step::Raise(floor));
    }
    steps
}

/// When the next step may fall due though nothing changes, in milliseconds from `now_ms`.
pub(super) fn next_due_ms(view: &View, now_ms: u64, patience: Patience) -> Option<u64> {
    let away = view.roster.values().filter(|e| e.lapsed_ms != 0 && !view.members.contains_key(&e.node_id));
    let due = away.map(|entry| {
        let after = if entry.excluded { patience.forget_after_ms } else { patience.exclude_after_ms };
        (entry.lapsed_ms + after).saturating_sub(now_ms)
    });
    due.min()
}

impl Step {
    /// Does it, unless somebody else was first; whether it was done.
    pub(super) async fn carry_out(
        &self,
        store: &dyn ConfigStore,
        view: &View,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let transaction = match self {
            Self::Adopt(node) => {
                let Some(member) = view.members.get(node) else { return Ok(false) };
                return roster::join(store, &view.store_id, member, None).await.map(|_| true);
            }
            Self::Raise(revision) => {
                let deployed = Deployed { revision: *revision, store_id: view.store_id.clone() };
                Transaction::default()
                    .when(DEPLOYED, view.deployed_modified)
                    .put(DEPLOYED, deployed.encode_to_vec())
            }
            Self::Lapse(node, _)
            | Self::Return(node)
            | Self::Exclude(node)
            | Self::Readmit(node)
            | Self::Forget(node) => {
                let Some((mut entry, modified)) = roster::entry(store, node).await? else { return Ok(false) };
                if !self.fits(&entry) {
                    return Ok(false);
                }
                let key = format!("{ROSTER}{node}");
                let transaction = Transaction::default().when(&key, modified);
                match self.change(&mut entry, view, now_ms) {
                    true => self.guard(transaction.put(key, entry.encode_to_vec()), view, node),
                    false => self.guard(transaction.delete(key), view, node),
                }
            }
        };
        match store.commit(transaction).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the stored entry is still what the view had shown.
    fn fits(&self, entry: &RosterEntry) -> bool {
        match self {
            Self::Lapse(..) => entry.lapsed_ms == 0,
            Self::Return(_) | Self::Exclude(_) => entry.lapsed_ms != 0 && !entry.excluded,
            Self::Readmit(_) | Self::Forget(_) => entry.excluded,
            Self::Adopt(_) | Self::Raise(_) => true,
        }
    }

    /// Changes the entry; false if it is to go.
    fn change(&self, entry: &mut RosterEntry, view: &View, now_ms: u64) -> bool {
        match self {
            Self::Lapse(_, applied) => {
                entry.lapsed_ms = now_ms.max(1);
                (entry.applied, entry.store_id) = (*applied, view.store_id.clone());
            }
            Self::Return(_) => entry.lapsed_ms = 0,
            Self::Exclude(_) => entry.excluded = true,
            Self::Readmit(_) => (entry.lapsed_ms, entry.excluded) = (0, false),
            Self::Forget(_) => return false,
            Self::Adopt(_) | Self::Raise(_) => (),
        }
        true
    }

    /// Adds what must still hold: that the node is away, or that the floor is where it was when the node was found to have caught up.
    fn guard(&self, transaction: Transaction, view: &View, node: &str) -> Transaction {
        match self {
            Self::Lapse(..) | Self::Exclude(_) | Self::Forget(_) => {
                transaction.when(format!("{MEMBERS}{node}"), 0)
            }
            Self::Readmit(_) => {
                let deployed = Deployed { revision: view.deployed_floor, store_id: view.store_id.clone() };
                transaction.when(DEPLOYED, view.deployed_modified).put(DEPLOYED, deployed.encode_to_vec())
            }
            _ => transaction,
        }
    }
}
