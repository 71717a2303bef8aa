//! Tests of `subscribe`: what a node makes of events that are not as they should be.

use super::*;
use crate::client::Credentials;
use crate::client::catalogue::tests::document;
use crate::client::metrics::ClientMetrics;
use crate::client::node::NodeConfig;
use proto::v1::{NodeRole, NodeState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const A: &str = "E1234567890001";
const B: &str = "E1234567890002";

fn follower() -> Follower {
    let config = NodeConfig {
        node_id: "edge-1".into(),
        role: NodeRole::Edge,
        address: "127.0.0.1:9".into(),
        zone: String::new(),
        weight: 0,
        control: Vec::new(),
        credentials: Credentials::default(),
        state_dir: Default::default(),
        version: "test".into(),
    };
    let shutdown = CancellationToken::new();
    let shared = Shared {
        config,
        clients: Vec::new(),
        metrics: ClientMetrics::new(&prometheus::Registry::new(), "edge").unwrap(),
        catalogue: watch::Sender::new(Arc::new(Catalogue::empty())),
        shields: watch::Sender::new(Arc::default()),
        state: watch::Sender::new(NodeState::Joining),
        applied: watch::Sender::new(None),
        live: watch::Sender::new(false),
        orders: watch::Sender::default(),
        process: "one".into(),
        registering: tokio::sync::Mutex::default(),
        leave: shutdown.child_token(),
        shutdown,
    };
    Follower { shared: Arc::new(shared), pages: None, resume: true, confirmed: false }
}

fn at(store_id: &str, number: u64) -> Revision {
    Revision { store_id: store_id.into(), number }
}

fn page(revision: Revision, documents: Vec<Distribution>, end: bool) -> SnapshotPage {
    SnapshotPage { revision: Some(revision), distributions: documents, end, ..Default::default() }
}

fn delta(after: u64, number: u64, documents: Vec<Distribution>) -> Delta {
    Delta { revision: Some(at("s", number)), upserts: documents, after, ..Default::default() }
}

impl Follower {
    /// The revision and which of the two documents are known.
    fn known(&self) -> (u64, bool, bool) {
        let known = self.shared.catalogue.borrow().clone();
        let has = |id: &str| known.distributions.contains_key(id);
        (known.revision.number, has(A), has(B))
    }

    fn stale(&self) -> u64 {
        self.shared.metrics.stale.get()
    }
}

#[test]
fn f30_a_change_that_comes_twice_or_late_is_ignored_and_counted() {
    let mut node = follower();
    node.page(page(at("s", 5), vec![document(A, "a.example")], true)).unwrap();
    node.delta(delta(5, 7, vec![document(B, "b.example")])).unwrap();
    assert_eq!(node.known(), (7, true, true));
    let undo = Delta { deletes: vec![B.into()], ..delta(4, 6, vec![]) };
    node.delta(delta(5, 7, vec![])).unwrap();
    node.delta(undo).unwrap();
    assert_eq!((node.known(), node.stale()), ((7, true, true), 2));
}

#[test]
fn f30_an_older_snapshot_of_the_same_store_is_refused_and_what_is_known_stays() {
    let mut node = follower();
    node.page(page(at("s", 5), vec![document(A, "a.example")], true)).unwrap();
    let refused = node.page(page(at("s", 4), vec![], true)).unwrap_err();
    assert!(refused.message.contains("older than 5"), "{refused}");
    assert_eq!((node.known(), node.stale()), ((5, true, false), 1));
    // Of another store any number is news.
    node.page(page(at("t", 4), vec![document(B, "b.example")], true)).unwrap();
    assert_eq!(node.known(), (4, false, true));
}

#[test]
fn f30_a_gap_or_a_change_of_another_store_asks_for_a_snapshot() {
    let mut node = follower();
    node.page(page(at("s", 5), vec![document(A, "a.example")], true)).unwrap();
    assert!(node.delta(delta(6, 7, vec![])).unwrap_err().message.contains("missed"));
    assert!(!node.resume);
    node.page(page(at("s", 7), vec![document(A, "a.example")], true)).unwrap();
    assert!(node.resume);
    let other = Delta { revision: Some(at("t", 8)), ..delta(7, 8, vec![]) };
    assert!(node.delta(other).unwrap_err().message.contains("another store"));
    assert_eq!((node.known(), node.resume), ((7, true, false), false));
}

#[test]
fn f30_part_of_a_snapshot_changes_nothing() {
    let mut node = follower();
    node.page(page(at("s", 5), vec![document(A, "a.example")], true)).unwrap();
    node.page(page(at("s", 6), vec![document(B, "b.example")], false)).unwrap();
    assert_eq!(node.known(), (5, true, false));
    // Pages of two revisions make no snapshot.
    assert!(node.page(page(at("s", 7), vec![], true)).unwrap_err().message.contains("differ"));
    assert_eq!(node.known(), (5, true, false));
    // The next subscription begins anew.
    node.pages = None;
    assert!(node.page(SnapshotPage { end: true, ..Default::default() }).is_err());
    node.page(page(at("s", 7), vec![document(B, "b.example")], false)).unwrap();
    node.page(page(at("s", 7), vec![document(A, "a.example")], true)).unwrap();
    assert_eq!(node.known(), (7, true, true));
}
