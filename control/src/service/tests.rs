//! Control and nodes in one process, joined by real gRPC.

mod access;
mod lending;
mod logs;
mod refusals;
mod shipping;

use super::*;
use crate::client::catalogue::tests::document;
use crate::client::{Node, NodeConfig, NodeRole, NodeState};
use crate::documents::{self, put_distribution};
use crate::store::tests::etcd_process::EtcdProcess;
use crate::store::{StoreError, Transaction, memory};
use proto::object::OriginId;
use proto::status::Reason;
use proto::token::Role;
use std::net::SocketAddr;
use std::path::Path;

const LONG: Duration = Duration::from_secs(30);

fn master() -> MasterToken {
    MasterToken::new("0123456789abcdef").unwrap()
}

fn credentials(role: Role) -> crate::client::Credentials {
    master().token(role, None).into()
}

struct Replica {
    control: Control,
    address: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<Result<(), ControlError>>,
}

fn quick() -> ControlConfig {
    let publish = PublishConfig {
        alive: Duration::from_millis(200),
        ahead: Duration::from_millis(500),
        ..Default::default()
    };
    ControlConfig { lease: Duration::from_secs(3), publish, ..Default::default() }
}

impl Replica {
    async fn start(store: Store, address: &str, config: ControlConfig) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let control = Control::new(store, config, &Registry::new()).unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn({
            let (control, stop) = (control.clone(), stop.clone());
            async move { control.serve(listener, &master(), stop).await }
        });
        Self { control, address, stop, served }
    }

    async fn stop(self) -> SocketAddr {
        self.stop.cancel();
        self.served.await.unwrap().unwrap();
        self.address
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

struct TestNode {
    node: Node,
    registry: Registry,
    stop: CancellationToken,
}

fn node(id: &str, role: NodeRole, control: &[String], state_dir: &Path) -> TestNode {
    let (registry, stop) = (Registry::new(), CancellationToken::new());
    let config = NodeConfig {
        node_id: id.into(),
        role,
        address: "127.0.0.1:9".into(),
        zone: "z".into(),
        weight: 0,
        control: control.to_vec(),
        credentials: credentials(if role == NodeRole::Edge { Role::Edge } else { Role::Shield }),
        state_dir: state_dir.to_owned(),
        version: "test".into(),
    };
    TestNode { node: Node::start(config, &registry, stop.clone()).unwrap(), registry, stop }
}

impl TestNode {
    async fn until(
        &self,
        holds: impl Fn(&crate::client::Catalogue) -> bool,
    ) -> Arc<crate::client::Catalogue> {
        let mut catalogue = self.node.catalogue.clone();
        let found = tokio::time::timeout(LONG, catalogue.wait_for(|c| holds(c))).await;
        found.expect("in time").unwrap().clone()
    }

    async fn map_until(&self, holds: impl Fn(&proto::v1::ShieldMap) -> bool) -> Arc<proto::v1::ShieldMap> {
        let mut shields = self.node.shields.clone();
        let found = tokio::time::timeout(LONG, shields.wait_for(|m| holds(m))).await;
        found.expect("in time").unwrap().clone()
    }

    fn counter(&self, name: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|f| f.name() == format!("penstock_control_client_{name}")).unwrap();
        let metric = &family.get_metric()[0];
        metric.get_counter().get_value() as u64 + metric.get_gauge().get_value() as u64
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn put(store: &Store, id: &str, alias: &str) -> u64 {
    let known = documents::distribution(&**store, id).await.unwrap();
    store.commit(put_distribution(known.as_ref(), &document(id, alias)).unwrap()).await.unwrap()
}

async fn saved(dir: &Path, holds: impl Fn(&crate::client::Catalogue, &proto::v1::ShieldMap) -> bool) {
    let load = async {
        loop {
            if let Ok(Some((catalogue, map))) = crate::client::last_known_good::load(dir)
                && holds(&catalogue, &map)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, load).await.expect("saved in time");
}

const A: &str = "E1234567890001";
const B: &str = "E1234567890002";

#[tokio::test]
async fn two_nodes_get_a_paged_snapshot_then_changes() {
    let store = memory::open().await.unwrap();
    for i in 0..25 {
        put(&store, &format!("E12345678910{i:02}"), &format!("{i}.example")).await;
    }
    let mut config = quick();
    config.publish.page_documents = 4;
    let replica = Replica::start(store.clone(), "127.0.0.1:0", config).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], &dir.path().join("e"));
    let shield = node("shield-1", NodeRole::Shield, &[replica.url()], &dir.path().join("s"));
    for n in [&edge, &shield] {
        n.until(|c| c.distributions.len() == 25).await;
        assert_eq!(n.counter("snapshots_total"), 1);
    }
    let revision = put(&store, A, "new.example").await;
    for n in [&edge, &shield] {
        let catalogue = n.until(|c| c.revision.number >= revision).await;
        assert_eq!(catalogue.find_host("new.example").unwrap().id, A);
        assert_eq!((n.counter("snapshots_total"), n.counter("deltas_total")), (1, 1));
    }
    replica.stop().await;
}

#[tokio::test]
async fn after_a_restart_of_control_a_node_gets_changes_only() {
    let store = memory::open().await.unwrap();
    put(&store, A, "a.example").await;
    let replica = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], dir.path());
    edge.until(|c| c.distributions.len() == 1).await;
    let address = replica.stop().await;
    let replica = Replica::start(store.clone(), &address.to_string(), quick()).await;
    replica.control.loaded().await;
    put(&store, B, "b.example").await;
    edge.until(|c| c.distributions.len() == 2).await;
    assert_eq!((edge.counter("snapshots_total"), edge.counter("deltas_total")), (1, 1));
    replica.stop().await;
}

#[tokio::test]
async fn a_node_starts_from_its_last_known_good_and_finds_the_shields() {
    let store = memory::open().await.unwrap();
    put(&store, A, "a.example").await;
    let replica = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let (dir, shield_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = replica.url();
    let edge = node("edge-1", NodeRole::Edge, std::slice::from_ref(&url), dir.path());
    let shield = node("shield-1", NodeRole::Shield, std::slice::from_ref(&url), shield_dir.path());
    shield.node.set_state(NodeState::Ready);
    let ready = |m: &proto::v1::ShieldMap| {
        m.shields.iter().any(|s| s.node_id == "shield-1" && s.state() == NodeState::Ready)
    };
    edge.map_until(ready).await;
    saved(dir.path(), |c, m| c.distributions.len() == 1 && ready(m)).await;
    replica.stop().await;
    drop(edge);
    let edge = node("edge-1", NodeRole::Edge, &[url], dir.path());
    tokio::time::timeout(LONG, edge.node.synced()).await.unwrap();
    assert!(edge.node.catalogue.borrow().find_host("a.example").is_some());
    assert!(ready(&edge.node.shields.borrow()));
    assert!(!*edge.node.live.borrow());
}

#[tokio::test]
async fn a_new_store_id_forces_a_full_snapshot_even_to_a_lower_revision() {
    let store = memory::open().await.unwrap();
    for alias in ["a.example", "b.example", "c.example"] {
        put(&store, A, alias).await;
    }
    let replica = Replica::start(store, "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], dir.path());
    let old = edge.until(|c| c.distributions.len() == 1).await;
    let address = replica.stop().await;
    let restored = memory::open().await.unwrap();
    put(&restored, B, "z.example").await;
    let replica = Replica::start(restored, &address.to_string(), quick()).await;
    let new = edge.until(|c| c.find_host("z.example").is_some()).await;
    assert_ne!(new.revision.store_id, old.revision.store_id);
    assert!(new.revision.number < old.revision.number);
    assert_eq!(new.distributions.len(), 1);
    replica.stop().await;
}

#[tokio::test]
async fn a_store_that_ran_backwards_under_its_id_gets_a_new_one() {
    let store = memory::open().await.unwrap();
    put(&store, A, "a.example").await;
    let replica = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    // What a node would have kept from before a backup was put back: the same store, a later revision.
    let id = store.head().await.unwrap().store_id;
    let later = crate::client::Catalogue::empty().replace(
        proto::v1::Revision { store_id: id.clone(), number: 1_000_000 },
        vec![document(B, "b.example")],
        vec![],
    );
    crate::client::last_known_good::save(dir.path(), &later, &Default::default()).await.unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], dir.path());
    let catalogue = edge.until(|c| c.find_host("a.example").is_some()).await;
    assert_ne!(catalogue.revision.store_id, id);
    assert!(catalogue.find_host("b.example").is_none());
    replica.stop().await;
}

#[tokio::test]
async fn an_invalid_document_is_refused_alone() {
    let store = memory::open().await.unwrap();
    let mut broken = document(A, "a.example");
    broken.origin_host = "nowhere".into();
    let key = format!("{}{A}", documents::DISTRIBUTIONS);
    let write = Transaction::default().put(key, prost::Message::encode_to_vec(&broken)).put("head", "");
    store.commit(write).await.unwrap();
    put(&store, B, "b.example").await;
    let replica = Replica::start(store, "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], dir.path());
    let catalogue = edge.until(|c| c.find_host("b.example").is_some()).await;
    assert!(catalogue.find_host("a.example").is_none());
    assert!(catalogue.refused[A].reason.starts_with("origin:"));
    assert_eq!(edge.counter("refused_distributions"), 1);
    replica.stop().await;
}

#[tokio::test]
async fn the_shield_map_grows_its_generation_with_every_change_on_all_replicas() {
    let store = memory::open().await.unwrap();
    let one = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let two = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge_one = node("edge-1", NodeRole::Edge, &[one.url()], &dir.path().join("1"));
    let edge_two = node("edge-2", NodeRole::Edge, &[two.url()], &dir.path().join("2"));
    let a = node("shield-a", NodeRole::Shield, &[one.url()], &dir.path().join("a"));
    let first = edge_two.map_until(|m| m.shields.len() == 1).await;
    let b = node("shield-b", NodeRole::Shield, &[two.url()], &dir.path().join("b"));
    let second = edge_one.map_until(|m| m.shields.len() == 2).await;
    assert!(second.generation > first.generation);
    assert_eq!(second.shields[0].node_id, "shield-a");
    a.node.set_state(NodeState::Draining);
    let third = edge_two.map_until(|m| m.shields.iter().any(|s| s.state() == NodeState::Draining)).await;
    assert!(third.generation > second.generation);
    assert_eq!(edge_one.map_until(|m| m.generation >= third.generation).await.shields, third.shields);
    a.node.deregister().await;
    edge_one.map_until(|m| m.shields.len() == 1).await;
    // One that just vanishes goes when its lease lapses.
    drop(b);
    let last = edge_one.map_until(|m| m.shields.is_empty()).await;
    assert_eq!(*edge_two.map_until(|m| m.generation >= last.generation).await, *last);
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_control_that_comes_back_late_does_not_empty_the_shield_map() {
    let store = memory::open().await.unwrap();
    let replica = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], &dir.path().join("e"));
    let shield = node("shield-1", NodeRole::Shield, &[replica.url()], &dir.path().join("s"));
    edge.map_until(|m| m.shields.len() == 1).await;
    let address = replica.stop().await;
    // Away for longer than the lease: the record lapses.
    let mut watch = store.watch(store.head().await.unwrap().revision).await.unwrap();
    let lapsed = async {
        while let Some(change) = watch.recv().await {
            if change.unwrap().deletes.contains(&"members/shield-1".to_owned()) {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, lapsed).await.unwrap();
    let mut maps = edge.node.shields.clone();
    let emptied = tokio::spawn(async move { maps.wait_for(|m| m.shields.is_empty()).await.map(drop) });
    let replica = Replica::start(store.clone(), &address.to_string(), quick()).await;
    let mut views = replica.control.views();
    let back = views.wait_for(|v| v.members.contains_key("shield-1") && v.shield_map_modified > 0);
    drop(tokio::time::timeout(LONG, back).await.unwrap().unwrap());
    assert!(!emptied.is_finished());
    emptied.abort();
    drop(shield);
    replica.stop().await;
}

#[tokio::test]
async fn register_reports_what_was_applied_and_any_replica_lists_it() {
    let store = memory::open().await.unwrap();
    let revision = put(&store, A, "a.example").await;
    let one = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let two = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[one.url()], dir.path());
    let mut views = two.control.views();
    let applied = |number: u64| {
        move |v: &Arc<View>| {
            v.members.get("edge-1").and_then(|m| m.applied.as_ref()).is_some_and(|a| a.number == number)
        }
    };
    drop(tokio::time::timeout(LONG, views.wait_for(applied(revision))).await.unwrap().unwrap());
    // Once the owner speaks, only what it says counts.
    let store_id = store.head().await.unwrap().store_id;
    edge.node.tell_applied()(proto::v1::Revision { store_id: store_id.clone(), number: revision });
    let next = put(&store, B, "b.example").await;
    edge.until(|c| c.revision.number == next).await;
    let mut admin = crate::client::admin::Admin::new(&two.url(), &credentials(Role::Operator)).unwrap();
    let nodes = admin.nodes().await.unwrap();
    assert_eq!(nodes.nodes[0].node.as_ref().unwrap().applied.as_ref().unwrap().number, revision);
    assert!(nodes.nodes[0].age_ms <= 3000);
    edge.node.tell_applied()(proto::v1::Revision { store_id, number: next });
    drop(tokio::time::timeout(LONG, views.wait_for(applied(next))).await.unwrap().unwrap());
    let listed = admin.distributions().await.unwrap();
    assert_eq!((listed.distributions.len(), listed.newest.number), (2, next));
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_purge_reaches_every_node_as_a_change_and_newcomers_in_the_snapshot() {
    let store = memory::open().await.unwrap();
    put(&store, A, "a.example").await;
    let replica = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], &dir.path().join("1"));
    // A shield whose port answers nobody.
    let shield = node("shield-1", NodeRole::Shield, &[replica.url()], &dir.path().join("s"));
    edge.map_until(|m| m.shields.len() == 1).await;
    edge.until(|c| c.distributions.len() == 1).await;
    let mut admin = crate::client::admin::Admin::new(&replica.url(), &credentials(Role::Operator)).unwrap();
    let answer = admin.purge(A, "films/", false).await.unwrap();
    assert_eq!(answer.unreached, ["shield-1"]);
    let newcomer = node("edge-2", NodeRole::Edge, &[replica.url()], &dir.path().join("2"));
    for n in [&edge, &shield, &newcomer] {
        let catalogue = n.until(|c| !c.purges.is_empty()).await;
        assert_eq!(catalogue.purges.len(), 1);
        assert_eq!(catalogue.purges[0].key_prefix, "films/");
        assert_eq!(catalogue.purges[0].origin_id, OriginId::of("media.s3.amazonaws.com", "").as_str());
        assert_eq!(Some(&catalogue.revision), answer.revision.as_ref());
    }
    assert_eq!(admin.purge("E0000000000000", "", false).await.unwrap_err().reason, Reason::NotFound);
    assert_eq!(admin.purge(A, "a\nb", false).await.unwrap_err().reason, Reason::Invalid);
    assert_eq!(admin.purge(A, "", true).await.unwrap_err().reason, Reason::Invalid);
    let one = admin.purge(A, "films/a.mp4", true).await.unwrap();
    let catalogue = edge.until(|c| Some(&c.revision) == one.revision.as_ref()).await;
    let purges: Vec<_> = catalogue.purges.iter().map(|p| (p.key_prefix.as_str(), p.exact)).collect();
    assert_eq!(purges, [("films/", false), ("films/a.mp4", true)]);
    replica.stop().await;
}

#[tokio::test]
async fn a_control_that_has_not_read_its_store_confirms_nothing() {
    let mut etcd = EtcdProcess::start().await;
    let store = etcd.store("late");
    put(&store, A, "a.example").await;
    etcd.kill().await;
    let replica = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], dir.path());
    let mut admin = crate::client::admin::Admin::new(&replica.url(), &credentials(Role::Operator)).unwrap();
    assert_eq!(admin.nodes().await.unwrap_err().reason, Reason::Unavailable);
    etcd.restart().await;
    let mut live = edge.node.live.clone();
    drop(tokio::time::timeout(LONG, live.wait_for(|live| *live)).await.unwrap().unwrap());
    // Live means a snapshot was read, never an empty sign of life.
    assert!(edge.node.catalogue.borrow().find_host("a.example").is_some());
    replica.stop().await;
}

#[tokio::test]
async fn without_the_token_nothing_is_answered() {
    let replica = Replica::start(memory::open().await.unwrap(), "127.0.0.1:0", quick()).await;
    let other = MasterToken::new("fedcba9876543210").unwrap().token(Role::Operator, None);
    let mut admin = crate::client::admin::Admin::new(&replica.url(), &other.into()).unwrap();
    assert_eq!(admin.nodes().await.unwrap_err().reason, Reason::Unauthenticated);
    replica.stop().await;
}

#[tokio::test]
async fn two_writers_of_one_document_cannot_both_win_and_names_stay_unique() {
    let store = memory::open().await.unwrap();
    put(&store, A, "a.example").await;
    let known = documents::distribution(&*store, A).await.unwrap();
    let first = put_distribution(known.as_ref(), &document(A, "b.example")).unwrap();
    let second = put_distribution(known.as_ref(), &document(A, "c.example")).unwrap();
    store.commit(first).await.unwrap();
    assert!(matches!(store.commit(second).await, Err(StoreError::Conflict { .. })));
    let taken = store.commit(put_distribution(None, &document(B, "b.example")).unwrap()).await.unwrap_err();
    assert!(matches!(
        documents::DocumentError::from(taken),
        documents::DocumentError::NameTaken { host } if host == "b.example"
    ));
}

#[tokio::test]
async fn nodes_outlive_an_etcd_that_is_killed_and_follow_it_again() {
    let mut etcd = EtcdProcess::start().await;
    let store = etcd.store("cluster");
    put(&store, A, "a.example").await;
    let replica = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], &dir.path().join("e"));
    let shield = node("shield-1", NodeRole::Shield, &[replica.url()], &dir.path().join("s"));
    let before = edge.until(|c| c.distributions.len() == 1).await;
    let map = edge.map_until(|m| m.shields.len() == 1).await;
    etcd.kill().await;
    assert!(store.head().await.is_err());
    // Control still publishes what it knows: a node that comes now is served.
    let late = node("edge-2", NodeRole::Edge, &[replica.url()], &dir.path().join("l"));
    assert_eq!(late.until(|c| c.distributions.len() == 1).await.revision, before.revision);
    assert_eq!(late.map_until(|m| m.shields.len() == 1).await.generation, map.generation);
    etcd.restart().await;
    let revision = put(&store, B, "b.example").await;
    for n in [&edge, &late, &shield] {
        n.until(|c| c.revision.number >= revision && c.distributions.len() == 2).await;
    }
    assert_eq!(edge.counter("snapshots_total"), 1);
    let now = edge.node.shields.borrow().clone();
    assert_eq!(now.shields.len(), 1);
    replica.stop().await;
}

#[tokio::test]
async fn an_etcd_put_back_to_nothing_is_a_new_store() {
    let mut etcd = EtcdProcess::start().await;
    let store = etcd.store("wiped");
    for alias in ["a.example", "b.example", "c.example"] {
        put(&store, A, alias).await;
    }
    let replica = Replica::start(store.clone(), "127.0.0.1:0", quick()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], dir.path());
    edge.until(|c| c.distributions.len() == 1).await;
    etcd.kill().await;
    etcd.wipe();
    etcd.restart().await;
    put(&store, B, "z.example").await;
    edge.until(|c| c.find_host("z.example").is_some() && c.distributions.len() == 1).await;
    replica.stop().await;
}

mod security;
