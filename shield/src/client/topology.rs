//! The shields of one map: who is asked for what, in which order.
//!
//! Only ready shields are homes. Draining ones come after all ready ones: they still serve, but their bytes are moving. Joining ones
//! are not asked: they don't know the origins yet. A shield that fails keeps its place on the ring; its breaker decides
//! whether it is asked. Nodes (and so their connections and breakers) are carried over from map to map by id and address; those that
//! left are dropped with the last call that uses them. One that was not in the map before is eased in.

use std::collections::VecDeque;
use std::sync::Arc;

use control::client::Dialer;
use control::client::credentials::Tls;
use proto::object::ObjectKey;
use proto::v1::{NodeState, ShieldMap};
use tokio::time::Instant;

use super::channels::Node;
use super::config::ClientConfig;
use super::ring::{Ring, position_of};

/// Nodes in one state and their ring.
#[derive(Clone)]
struct Group {
    nodes: Vec<Arc<Node>>,
    /// What the ring was made of: ids and weights.
    placed: Vec<(String, u32)>,
    ring: Arc<Ring>,
}

impl Group {
    fn new(placed: Vec<(String, u32)>, nodes: Vec<Arc<Node>>, before: &Group) -> Self {
        // Most maps change one state or address: the other ring, or both, stay.
        let ring = if placed == before.placed {
            before.ring.clone()
        } else {
            Arc::new(Ring::new(placed.iter().map(|(id, weight)| (id.as_str(), *weight))))
        };
        Self { nodes, placed, ring }
    }

    fn order(&self, at: u64) -> impl Iterator<Item = &Arc<Node>> {
        self.ring.order(at).map(|node| &self.nodes[node])
    }
}

/// The shields of one map.
pub(super) struct Topology {
    map: Arc<ShieldMap>,
    ready: Group,
    draining: Group,
}

impl Default for Topology {
    fn default() -> Self {
        let none = Group { nodes: Vec::new(), placed: Vec::new(), ring: Arc::new(Ring::new([])) };
        Self { map: Arc::default(), ready: none.clone(), draining: none }
    }
}

impl Topology {
    /// The topology of `map`, which follows `before`.
    pub(super) fn new(
        map: Arc<ShieldMap>,
        before: &Topology,
        config: &ClientConfig,
        tls: Option<&Tls>,
        dialer: Option<&Dialer>,
    ) -> Self {
        let group = |state: NodeState, same: &Group| {
            let mut shields: Vec<_> = map.shields.iter().filter(|s| s.state() == state).collect();
            shields.sort_by(|a, b| a.node_id.cmp(&b.node_id));
            shields.dedup_by(|a, b| a.node_id == b.node_id);
            let mut placed = Vec::with_capacity(shields.len());
            let mut nodes = Vec::with_capacity(shields.len());
            for shield in shields {
                let known = before.nodes().find(|n| n.id == shield.node_id && n.address == shield.address);
                let node = match known.cloned() {
                    Some(node) => Ok(node),
                    None => Node::new(&shield.node_id, &shield.address, config, tls, dialer).map(Arc::new),
                };
                match node {
                    Ok(node) => {
                        if known.is_none() && !before.is_empty() {
                            node.ramp.start();
                        }
                        placed.push((shield.node_id.clone(), shield.weight));
                        nodes.push(node);
                    }
                    Err(error) => {
                        tracing::warn!(shield = shield.node_id, address = shield.address, %error, "can't use this shield");
                    }
                }
            }
            Group::new(placed, nodes, same)
        };
        let (ready, draining) =
            (group(NodeState::Ready, &before.ready), group(NodeState::Draining, &before.draining));
        Self { map, ready, draining }
    }

    /// All that can be asked.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.ready.nodes.iter().chain(&self.draining.nodes)
    }

    pub(super) fn generation(&self) -> u64 {
        self.map.generation
    }

    pub(super) fn len(&self) -> usize {
        self.ready.nodes.len() + self.draining.nodes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many have a breaker that isn't closed.
    pub(super) fn tripped(&self) -> usize {
        self.nodes().filter(|node| node.breaker.is_tripped()).count()
    }

    /// Whom to ask for a segment: its home first, draining shields last.
    pub(super) fn order(&self, object: &ObjectKey, segment: u64) -> impl Iterator<Item = &Arc<Node>> {
        let at = position_of(object, segment);
        self.ready.order(at).chain(self.draining.order(at))
    }
}

/// The current topology, and rings before it.
pub(super) struct Maps {
    current: Arc<Topology>,
    /// Newest first, with the time each was replaced.
    past: VecDeque<(Instant, Arc<Topology>)>,
    kept: usize,
}

impl Maps {
    /// None yet; of those to come, `kept` past ones are remembered.
    pub(super) fn new(kept: usize) -> Self {
        Self { current: Arc::default(), past: VecDeque::new(), kept }
    }

    /// Makes `map` the current one; whether it wasn't.
    pub(super) fn follow(
        &mut self,
        map: Arc<ShieldMap>,
        config: &ClientConfig,
        tls: Option<&Tls>,
        dialer: Option<&Dialer>,
    ) -> bool {
        if Arc::ptr_eq(&self.current.map, &map) {
            return false;
        }
        let next = Arc::new(Topology::new(map, &self.current, config, tls, dialer));
        let before = std::mem::replace(&mut self.current, next);
        // Only homes matter of the past: what has the same ring has the same homes.
        if self.kept > 0 && !before.is_empty() && before.ready.placed != self.current.ready.placed {
            self.past.truncate(self.kept - 1);
            self.past.push_front((Instant::now(), before));
        }
        true
    }

    pub(super) fn current(&self) -> &Arc<Topology> {
        &self.current
    }

    /// Those that were replaced after `since`, newest first.
    #[cfg(feature = "server")]
    pub(super) fn past(&mut self, since: Option<Instant>) -> impl Iterator<Item = &Arc<Topology>> {
        // Dropped by the first who asks too late, and with them connections to shields that left.
        self.past.retain(|(until, _)| since.is_none_or(|since| *until > since));
        self.past.iter().map(|(_, topology)| topology)
    }
}
