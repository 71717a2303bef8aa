//! The roster's entries: who joins, who leaves, who is to drain.

use std::time::Duration;

use prost::Message;
use proto::v1::{Deployed, NodeState, RegisterRequest, RosterEntry};

use super::acknowledged;
use crate::documents::{DEPLOYED, MEMBERS, ROSTER};
use crate::mirror::view::View;
use crate::store::{ConfigStore, StoreError, Transaction};

/// Writers who are faster, before a join is given up (the node tries again in a moment).
const ATTEMPTS: usize = 8;

/// The entry of a node and the revision that wrote it.
pub(crate) async fn entry(
    store: &dyn ConfigStore,
    node_id: &str,
) -> Result<Option<(RosterEntry, u64)>, StoreError> {
    let key = format!("{ROSTER}{node_id}");
    let Some(entry) = store.get(&key).await? else { return Ok(None) };
    let document = RosterEntry::decode(entry.value)
        .map_err(|e| StoreError::Damaged(format!("{key} can't be read: {e}")))?;
    Ok(Some((document, entry.modified)))
}

/// What a Register brings beside a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing the roster keeps.
    Nothing,
    /// It refuses other documents than before.
    Refusals,
    /// It is new, has another role, is a new process, or has applied less than it once had (it lost its disk).
    Joins,
}

/// What a Register of `node` brings.
pub(crate) fn news(view: &View, node: &RegisterRequest) -> News {
    let Some(known) = view.roster.get(&node.node_id) else { return News::Joins };
    let member = view.members.get(&node.node_id);
    let starts = node.state() == NodeState::Joining && member.is_none_or(|m| m.state() != NodeState::Joining);
    let (had, has) = (member.map_or(0, |member| acknowledged(view, member)), acknowledged(view, node));
    if known.role != node.role || starts || is_other_process(known, node) || has < had {
        return News::Joins;
    }
    let told = node.refusals.clone().unwrap_or_default();
    // What it refuses of a newer revision is written even if the view, which may lag, knows it so already: the entry may say otherwise by now.
    let again = told.count > 0 && has > had;
    if again || told != known.refusals.clone().unwrap_or_default() { News::Refusals } else { News::Nothing }
}

/// Whether it is another process than the one that registered last. Its state does not tell: one that knows the config from its disk may be Ready before
/// it first reaches control. (Nodes of before processes were told send none.)
fn is_other_process(known: &RosterEntry, node: &RegisterRequest) -> bool {
    !node.process.is_empty() && known.process != node.process
}

/// A drained node whose process begins anew: the order has been carried out.
fn restarts(known: &RosterEntry, node: &RegisterRequest) -> bool {
    known.drain && (node.state() == NodeState::Joining || is_other_process(known, node))
}

/// Puts a node that registers in the roster, where it counts from now on, together with its record if it is to have a lease; the floor can't be
/// raised by whoever has not heard of it. Returns the entry as it stands: the mirror may not know of it yet.
pub(crate) async fn join(
    store: &dyn ConfigStore,
    store_id: &str,
    node: &RegisterRequest,
    lease: Option<Duration>,
) -> Result<RosterEntry, StoreError> {
    let key = format!("{ROSTER}{}", node.node_id);
    for _ in 0..ATTEMPTS {
        let (known, modified) = entry(store, &node.node_id).await?.unwrap_or_default();
        let mut next = known.clone();
        (next.node_id, next.role, next.process) = (node.node_id.clone(), node.role, node.process.clone());
        next.refusals = node.refusals.clone();
        if restarts(&known, node) {
            next.drain = false;
        }
        let deployed = store.get(DEPLOYED).await?;
        let as_it_is = match &deployed {
            Some(deployed) => deployed.value.clone(),
            None => Deployed { revision: 0, store_id: store_id.to_owned() }.encode_to_vec().into(),
        };
        let mut transaction = Transaction::default()
            .when(&key, modified)
            .put(&key, next.encode_to_vec())
            .when(DEPLOYED, deployed.map_or(0, |d| d.modified))
            .put(DEPLOYED, as_it_is);
        if let Some(lease) = lease {
            transaction =
                transaction.put_for(format!("{MEMBERS}{}", node.node_id), node.encode_to_vec(), lease);
        }
        match store.commit(transaction).await {
            Ok(_) => {
                tracing::info!(node = %node.node_id, role = %crate::membership::role_name(node), "node joined");
                return Ok(next);
            }
            Err(StoreError::Conflict { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict { key })
}

/// Keeps what a node refuses, together with its record: should its lease lapse, it refuses that still. `None` if it must join.
pub(crate) async fn keep_refusals(
    store: &dyn ConfigStore,
    node: &RegisterRequest,
    lease: Duration,
) -> Result<Option<RosterEntry>, StoreError> {
    let key = format!("{ROSTER}{}", node.node_id);
    for _ in 0..ATTEMPTS {
        let Some((known, modified)) = entry(store, &node.node_id).await? else { return Ok(None) };
        let next = RosterEntry { refusals: node.refusals.clone(), ..known };
        let both = Transaction::default().when(&key, modified).put(&key, next.encode_to_vec());
        let both = both.put_for(format!("{MEMBERS}{}", node.node_id), node.encode_to_vec(), lease);
        match store.commit(both).await {
            Ok(_) => return Ok(Some(next)),
            Err(StoreError::Conflict { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict { key })
}

/// Takes a node that stops cleanly out of the cluster: it counts no more.
pub(crate) async fn leave(store: &dyn ConfigStore, node_id: &str) -> Result<(), StoreError> {
    let both =
        Transaction::default().delete(format!("{MEMBERS}{node_id}")).delete(format!("{ROSTER}{node_id}"));
    store.commit(both).await.map(drop)
}

/// Orders a node to drain, or back into service; whether there is such a node.
pub(crate) async fn drain(store: &dyn ConfigStore, node_id: &str, drain: bool) -> Result<bool, StoreError> {
    let key = format!("{ROSTER}{node_id}");
    for _ in 0..ATTEMPTS {
        let Some((known, modified)) = entry(store, node_id).await? else { return Ok(false) };
        if known.drain == drain {
            return Ok(true);
        }
        let next = RosterEntry { drain, ..known };
        match store.commit(Transaction::default().when(&key, modified).put(&key, next.encode_to_vec())).await
        {
            Ok(_) => return Ok(true),
            Err(StoreError::Conflict { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict { key })
}
