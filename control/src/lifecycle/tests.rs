//! Tests of `lifecycle`: the floor, by a model and by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use prost::Message;
use proto::v1::{Deployed, Revision, RosterEntry};

use super::step::{Patience, Step, next_due_ms, steps};
use super::{
    Change, Condition, NodeRole, NodeState, RegisterRequest, View, acknowledged, is_excluded, roster,
};
use crate::documents::{DEPLOYED, MEMBERS, ROSTER};
use crate::mirror::view::Pending;
use crate::store::{HEAD_KEY, Store, Transaction, memory};

mod refusals;

const PATIENCE: Patience = Patience { exclude_after_ms: 1000, forget_after_ms: 5000 };
const LEASE: Duration = Duration::from_secs(3600);

/// What a replica that has heard of everything knows.
async fn look(store: &Store) -> View {
    let listing = store.list("").await.unwrap();
    let (mut view, mut pending) = (View::of_store(&listing.head.store_id), Pending::default());
    for entry in &listing.entries {
        view.set(&entry.key, &entry.value, entry.modified, &mut pending);
        if entry.key == HEAD_KEY {
            view.revision = entry.modified;
        }
    }
    view
}

fn node(id: &str, applied: u64, store_id: &str) -> RegisterRequest {
    let role = if id.starts_with('e') { NodeRole::Edge } else { NodeRole::Shield };
    RegisterRequest {
        node_id: id.into(),
        role: role.into(),
        address: "127.0.0.1:9".into(),
        state: NodeState::Ready.into(),
        applied: (applied > 0).then(|| Revision { store_id: store_id.into(), number: applied }),
        ..Default::default()
    }
}

/// Whether an enabled distribution that was last changed by `revision` is deployed.
fn is_deployed(view: &View, revision: u64, required_features: &[String]) -> bool {
    super::is_deployed(view, &Change { id: "E1", revision, enabled: true, required_features })
}

async fn publish(store: &Store) -> u64 {
    store.commit(Transaction::default().put(HEAD_KEY, "")).await.unwrap()
}

async fn register(store: &Store, view: &View, id: &str, applied: u64) {
    let request = node(id, applied, &view.store_id);
    crate::membership::register(store, view, &request, LEASE).await.unwrap();
}

async fn act(store: &Store, view: &View, now_ms: u64) -> Vec<Step> {
    let last = view.members.values().map(|m| (m.node_id.clone(), acknowledged(view, m))).collect();
    let mut done = Vec::new();
    for step in steps(view, now_ms, false, &last, PATIENCE) {
        if step.carry_out(&**store, view, now_ms).await.unwrap() {
            done.push(step);
        }
    }
    done
}

async fn floor_of(store: &Store) -> u64 {
    let Some(entry) = store.get(DEPLOYED).await.unwrap() else { return 0 };
    Deployed::decode(entry.value).unwrap().revision
}

#[tokio::test]
async fn the_floor_waits_for_every_node_and_needs_an_edge() {
    let store = memory::open().await.unwrap();
    let revision = publish(&store).await;
    register(&store, &look(&store).await, "shield-1", revision).await;
    act(&store, &look(&store).await, 1).await;
    assert_eq!(floor_of(&store).await, 0, "no edge serves by it");
    register(&store, &look(&store).await, "edge-1", 0).await;
    act(&store, &look(&store).await, 1).await;
    assert_eq!(floor_of(&store).await, 0, "the edge has not applied it");
    register(&store, &look(&store).await, "edge-1", revision).await;
    act(&store, &look(&store).await, 1).await;
    assert_eq!(floor_of(&store).await, revision);
    let view = look(&store).await;
    assert!(is_deployed(&view, revision, &[]) && !is_deployed(&view, revision + 1, &[]));
    assert!(!is_deployed(&view, revision, &["signed-names".into()]), "they lack a feature");
    // An edge that joins does not take it back.
    register(&store, &view, "edge-2", 0).await;
    act(&store, &look(&store).await, 1).await;
    assert!(is_deployed(&look(&store).await, revision, &[]));
}

#[tokio::test]
async fn a_lapsed_node_counts_until_it_is_excluded_and_again_once_it_has_caught_up() {
    let store = memory::open().await.unwrap();
    let first = publish(&store).await;
    for id in ["edge-1", "shield-1"] {
        register(&store, &look(&store).await, id, first).await;
    }
    act(&store, &look(&store).await, 1).await;
    store.commit(Transaction::default().delete(format!("{MEMBERS}shield-1"))).await.unwrap();
    let second = publish(&store).await;
    register(&store, &look(&store).await, "edge-1", second).await;
    assert_eq!(act(&store, &look(&store).await, 10).await, [Step::Lapse("shield-1".into(), 0)]);
    assert_eq!(Condition::of(&look(&store).await, "shield-1"), Some(Condition::Lapsed));
    assert_eq!(next_due_ms(&look(&store).await, 510, PATIENCE), Some(500));
    assert!(act(&store, &look(&store).await, 1009).await.is_empty());
    assert_eq!(floor_of(&store).await, first);
    assert_eq!(act(&store, &look(&store).await, 1010).await, [Step::Exclude("shield-1".into())]);
    assert_eq!(act(&store, &look(&store).await, 1010).await, [Step::Raise(second)]);
    // Back, but behind: it does not count, and holds up nothing.
    register(&store, &look(&store).await, "shield-1", first).await;
    assert!(act(&store, &look(&store).await, 1020).await.is_empty());
    assert!(is_excluded(&look(&store).await, "shield-1"));
    register(&store, &look(&store).await, "shield-1", second).await;
    assert_eq!(act(&store, &look(&store).await, 1030).await, [Step::Readmit("shield-1".into())]);
    assert_eq!(Condition::of(&look(&store).await, "shield-1"), Some(Condition::Current));
    let third = publish(&store).await;
    register(&store, &look(&store).await, "edge-1", third).await;
    act(&store, &look(&store).await, 1040).await;
    assert_eq!(floor_of(&store).await, second, "it counts again");
}

#[tokio::test]
async fn a_node_that_stays_away_is_forgotten_and_one_that_leaves_at_once() {
    let store = memory::open().await.unwrap();
    let revision = publish(&store).await;
    for id in ["edge-1", "edge-2"] {
        register(&store, &look(&store).await, id, revision).await;
    }
    store.commit(Transaction::default().delete(format!("{MEMBERS}edge-2"))).await.unwrap();
    for now in [1, 1001] {
        act(&store, &look(&store).await, now).await;
    }
    assert!(is_excluded(&look(&store).await, "edge-2"));
    act(&store, &look(&store).await, 1002).await;
    assert_eq!(act(&store, &look(&store).await, 5001).await, [Step::Forget("edge-2".into())]);
    roster::leave(&*store, "edge-1").await.unwrap();
    let view = look(&store).await;
    assert!(view.roster.is_empty() && view.members.is_empty());
    // What was deployed stays so without anybody.
    assert!(is_deployed(&view, revision, &[]));
}

#[tokio::test]
async fn a_restored_backup_starts_over() {
    let store = memory::open().await.unwrap();
    let revision = publish(&store).await;
    register(&store, &look(&store).await, "edge-1", revision).await;
    act(&store, &look(&store).await, 1).await;
    let before = look(&store).await;
    assert!(is_deployed(&before, revision, &[]));
    store.renew_id(&before.store_id).await.unwrap();
    let after = look(&store).await;
    assert!(!is_deployed(&after, revision, &[]), "nodes may serve by the history that is gone");
    let request = node("edge-1", after.revision, &after.store_id);
    crate::membership::register(&store, &after, &request, LEASE).await.unwrap();
    act(&store, &look(&store).await, 2).await;
    assert!(is_deployed(&look(&store).await, revision, &[]));
}

#[tokio::test]
async fn a_drain_is_forgotten_when_the_node_starts_anew() {
    let store = memory::open().await.unwrap();
    publish(&store).await;
    register(&store, &look(&store).await, "edge-1", 1).await;
    assert!(!roster::drain(&*store, "edge-9", true).await.unwrap());
    assert!(roster::drain(&*store, "edge-1", true).await.unwrap());
    register(&store, &look(&store).await, "edge-1", 1).await;
    assert!(look(&store).await.roster["edge-1"].drain);
    let view = look(&store).await;
    let anew = RegisterRequest { state: NodeState::Joining.into(), ..node("edge-1", 1, &view.store_id) };
    crate::membership::register(&store, &view, &anew, LEASE).await.unwrap();
    assert!(!look(&store).await.roster["edge-1"].drain);
}

#[tokio::test]
async fn a_process_that_is_ready_before_it_first_reaches_control_has_started_anew_all_the_same() {
    let store = memory::open().await.unwrap();
    publish(&store).await;
    let store_id = look(&store).await.store_id;
    let of = |process: &str| RegisterRequest { process: process.into(), ..node("edge-1", 1, &store_id) };
    crate::membership::register(&store, &look(&store).await, &of("first"), LEASE).await.unwrap();
    assert!(roster::drain(&*store, "edge-1", true).await.unwrap());
    let hears_of_the_order = look(&store).await;
    assert!(
        crate::membership::register(&store, &hears_of_the_order, &of("first"), LEASE)
            .await
            .unwrap()
            .is_none()
    );
    assert!(look(&store).await.roster["edge-1"].drain, "the same process is still to drain");
    // The replica's view lags: its answers must not repeat the order.
    for _ in 0..2 {
        let joined =
            crate::membership::register(&store, &hears_of_the_order, &of("second"), LEASE).await.unwrap();
        assert!(!joined.unwrap().drain);
    }
    assert!(!look(&store).await.roster["edge-1"].drain);
    assert!(roster::drain(&*store, "edge-1", true).await.unwrap());
    let view = look(&store).await;
    crate::membership::register(&store, &view, &of("second"), LEASE).await.unwrap();
    assert!(look(&store).await.roster["edge-1"].drain, "an order to the new process stands");
}

#[derive(Clone, Debug)]
enum Event {
    /// The config changes.
    Publish,
    /// A node's process starts: it knows nothing yet.
    Start(usize),
    /// A live node applies what is newest and says so through a replica.
    Acknowledge(usize, usize),
    /// A live node only says that it lives.
    Renew(usize, usize),
    /// A node's lease lapses; its process is gone.
    Lapse(usize),
    /// A node stops cleanly.
    Leave(usize),
    /// Time passes.
    Wait(u64),
    /// A replica hears of everything there is.
    Hear(usize),
    /// A replica does what its view, old or new, calls for.
    Act(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let (node, replica) = (0..NODES.len(), 0..2usize);
    prop_oneof![
        2 => Just(Event::Publish),
        2 => node.clone().prop_map(Event::Start),
        6 => (node.clone(), replica.clone()).prop_map(|(n, r)| Event::Acknowledge(n, r)),
        2 => (node.clone(), replica.clone()).prop_map(|(n, r)| Event::Renew(n, r)),
        2 => node.clone().prop_map(Event::Lapse),
        1 => node.prop_map(Event::Leave),
        2 => (1..1500u64).prop_map(Event::Wait),
        8 => replica.clone().prop_map(Event::Hear),
        8 => replica.prop_map(Event::Act),
    ]
}

const NODES: [&str; 4] = ["edge-1", "edge-2", "shield-1", "shield-2"];

async fn run(events: Vec<Event>) {
    let store = memory::open().await.unwrap();
    let mut newest = publish(&store).await;
    let mut views = [look(&store).await, look(&store).await];
    // What each node's process has really applied; absent while there is no process.
    let mut applied: BTreeMap<&str, u64> = BTreeMap::new();
    // The same of those whose process is gone: what it last told.
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut now_ms, mut floor) = (1, 0);
    for event in events {
        match event {
            Event::Publish => newest = publish(&store).await,
            Event::Start(n) => {
                if !applied.contains_key(NODES[n]) {
                    applied.insert(NODES[n], 0);
                    let view = look(&store).await;
                    let request = RegisterRequest {
                        state: NodeState::Joining.into(),
                        ..node(NODES[n], 0, &view.store_id)
                    };
                    crate::membership::register(&store, &view, &request, LEASE).await.unwrap();
                    told.insert(NODES[n], 0);
                }
            }
            Event::Acknowledge(n, r) | Event::Renew(n, r) => {
                if let Some(applied) = applied.get_mut(NODES[n]) {
                    if matches!(event, Event::Acknowledge(..)) {
                        *applied = newest;
                    }
                    register(&store, &views[r], NODES[n], *applied).await;
                    told.insert(NODES[n], *applied);
                }
            }
            Event::Lapse(n) => {
                applied.remove(NODES[n]);
                store.commit(Transaction::default().delete(format!("{MEMBERS}{}", NODES[n]))).await.unwrap();
            }
            Event::Leave(n) => {
                applied.remove(NODES[n]);
                roster::leave(&*store, NODES[n]).await.unwrap();
            }
            Event::Wait(ms) => now_ms += ms,
            Event::Hear(r) => views[r] = look(&store).await,
            Event::Act(r) => {
                act(&store, &views[r], now_ms).await;
            }
        }
        let next = floor_of(&store).await;
        assert!(next >= floor, "the floor went back from {floor} to {next}");
        if next > floor {
            assert!(next <= newest);
            let counted = store.list(ROSTER).await.unwrap().entries;
            let counted =
                counted.into_iter().map(|e| RosterEntry::decode(e.value).unwrap()).filter(|e| !e.excluded);
            for entry in counted {
                let knows = told.get(entry.node_id.as_str()).copied().unwrap_or(0);
                assert!(
                    knows >= next,
                    "the floor rose to {next} while {} had told of {knows}",
                    entry.node_id
                );
            }
        }
        floor = next;
    }
    // Whatever went before: once all that live have applied the newest and the others are given up, it is deployed.
    register(&store, &look(&store).await, "edge-1", newest).await;
    for (node, _) in applied.iter().filter(|(node, _)| **node != "edge-1") {
        register(&store, &look(&store).await, node, newest).await;
    }
    for _ in 0..4 {
        now_ms += PATIENCE.exclude_after_ms;
        act(&store, &look(&store).await, now_ms).await;
    }
    assert_eq!(floor_of(&store).await, newest, "it is deployed in the end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_deployed_before_every_counted_node_has_it_and_the_floor_never_goes_back(
        events in proptest::collection::vec(event(), 1..80)
    ) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(run(events));
    }
}
