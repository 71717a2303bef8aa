//! The shields of one map: who is asked for what, in which order.
//!
//! Only ready shields are homes. Draining ones come after all ready ones: they still serve, but their bytes are moving. Joining ones
//! are not asked: they don't know the origins yet. A shield that just failed keeps its place on the ring but is asked
//! last for a while. Nodes (and so their connections) are carried over from map to map by id and address; those that
//! left are dropped with the last call that uses them.

use std::sync::Arc;

use control::client::Dialer;
use proto::object::ObjectKey;
use proto::v1::{NodeState, ShieldMap};

use super::ClientConfig;
use super::channels::Node;
use super::ring::{Ring, position_of};

/// Nodes in one state and their ring.
struct Group {
    nodes: Vec<Arc<Node>>,
    ring: Ring,
}

/// The shields of one map.
pub(super) struct Topology {
    map: Arc<ShieldMap>,
    ready: Group,
    draining: Group,
}

impl Default for Topology {
    fn default() -> Self {
        let none = || Group { nodes: Vec::new(), ring: Ring::new([]) };
        Self { map: Arc::default(), ready: none(), draining: none() }
    }
}

impl Topology {
    /// The topology of `map`, which follows `before`.
    pub(super) fn new(
        map: Arc<ShieldMap>,
        before: &Topology,
        config: &ClientConfig,
        dialer: Option<&Dialer>,
    ) -> Self {
        let group = |state: NodeState| {
            let mut shields: Vec<_> = map.shields.iter().filter(|s| s.state() == state).collect();
            shields.sort_by(|a, b| a.node_id.cmp(&b.node_id));
            shields.dedup_by(|a, b| a.node_id == b.node_id);
            let mut placed = Vec::with_capacity(shields.len());
            let mut nodes = Vec::with_capacity(shields.len());
            for shield in shields {
                let known = before.ready.nodes.iter().chain(&before.draining.nodes);
                let known =
                    known.clone().find(|n| n.id == shield.node_id && n.address == shield.address).cloned();
                match known.map_or_else(
                    || Node::new(&shield.node_id, &shield.address, config, dialer).map(Arc::new),
                    Ok,
                ) {
                    Ok(node) => {
                        placed.push((shield.node_id.as_str(), shield.weight));
                        nodes.push(node);
                    }
                    Err(error) => {
                        tracing::warn!(shield = shield.node_id, address = shield.address, %error, "can't use this shield");
                    }
                }
            }
            Group { ring: Ring::new(placed), nodes }
        };
        let (ready, draining) = (group(NodeState::Ready), group(NodeState::Draining));
        Self { map, ready, draining }
    }

    pub(super) fn is_of(&self, map: &Arc<ShieldMap>) -> bool {
        Arc::ptr_eq(&self.map, map)
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

    /// Whom to ask for a segment: its home first, unless it just failed.
    pub(super) fn order(&self, object: &ObjectKey, segment: u64) -> Vec<Arc<Node>> {
        let at = position_of(object, segment);
        let of = |group: &Group| {
            group.ring.order(at).into_iter().map(|n| group.nodes[n].clone()).collect::<Vec<_>>()
        };
        let mut order = of(&self.ready);
        order.extend(of(&self.draining));
        order.sort_by_key(|node| node.is_avoided());
        order
    }
}
