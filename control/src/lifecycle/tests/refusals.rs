//! Documents that nodes refuse: never deployed while a node that counts serves otherwise.

use proto::v1::{Refusals, RefusedDistribution};

use super::*;
use crate::documents::DISTRIBUTIONS;

fn refuses(ids: &[&str], serves_older: bool) -> Refusals {
    let one =
        |id: &&str| RefusedDistribution { id: (*id).into(), reason: "origin: is none".into(), serves_older };
    Refusals { listed: ids.iter().map(one).collect(), count: ids.len() as u32 }
}

/// `id` says that it has applied `applied`, and what it refuses of it.
async fn tells(store: &Store, view: &View, id: &str, applied: u64, refusals: Refusals) {
    let request = RegisterRequest { refusals: Some(refusals), ..node(id, applied, &view.store_id) };
    crate::membership::register(store, view, &request, LEASE).await.unwrap();
}

fn of(id: &str, revision: u64, enabled: bool) -> Change<'_> {
    Change { id, revision, enabled, required_features: &[] }
}

async fn deployed(store: &Store, change: &Change<'_>) -> bool {
    super::super::is_deployed(&look(store).await, change)
}

#[tokio::test]
async fn a_document_that_a_node_refuses_is_not_deployed_though_all_have_applied_its_revision() {
    let store = memory::open().await.unwrap();
    let revision = publish(&store).await;
    tells(&store, &look(&store).await, "edge-1", revision, Refusals::default()).await;
    tells(&store, &look(&store).await, "shield-1", revision, refuses(&["E1"], true)).await;
    act(&store, &look(&store).await, 1).await;
    assert_eq!(floor_of(&store).await, revision, "one document holds up no other");
    assert!(deployed(&store, &of("E2", revision, true)).await);
    for enabled in [true, false] {
        assert!(!deployed(&store, &of("E1", revision, enabled)).await, "the form before is in force");
    }
    tells(&store, &look(&store).await, "shield-1", revision, refuses(&["E1"], false)).await;
    assert!(!deployed(&store, &of("E1", revision, true)).await);
    assert!(deployed(&store, &of("E1", revision, false)).await, "it serves nobody, as it should");
    tells(&store, &look(&store).await, "shield-1", revision, Refusals::default()).await;
    assert!(deployed(&store, &of("E1", revision, true)).await);
}

#[tokio::test]
async fn a_node_that_refuses_more_than_it_lists_may_refuse_any() {
    let store = memory::open().await.unwrap();
    let revision = publish(&store).await;
    let many = Refusals { count: 1000, ..refuses(&["E1"], false) };
    tells(&store, &look(&store).await, "edge-1", revision, many).await;
    act(&store, &look(&store).await, 1).await;
    for enabled in [true, false] {
        assert!(!deployed(&store, &of("E2", revision, enabled)).await);
    }
    assert!(deployed(&store, &of("E1", revision, false)).await, "what is listed is known");
    assert!(super::super::has_reached_all(&look(&store).await, revision));
}

#[tokio::test]
async fn a_node_that_lapses_refuses_what_it_refused_until_it_is_excluded() {
    let store = memory::open().await.unwrap();
    let first = publish(&store).await;
    tells(&store, &look(&store).await, "edge-1", first, Refusals::default()).await;
    tells(&store, &look(&store).await, "edge-2", first, refuses(&["E1"], true)).await;
    act(&store, &look(&store).await, 1).await;
    // The view of the replica that takes the next Registers lags: the entry is true all the same.
    let lagging = look(&store).await;
    let second = publish(&store).await;
    tells(&store, &lagging, "edge-2", second, Refusals::default()).await;
    let third = publish(&store).await;
    tells(&store, &lagging, "edge-2", third, refuses(&["E1"], true)).await;
    tells(&store, &look(&store).await, "edge-1", third, Refusals::default()).await;
    act(&store, &look(&store).await, 2).await;
    assert_eq!(floor_of(&store).await, third);
    store.commit(Transaction::default().delete(format!("{MEMBERS}edge-2"))).await.unwrap();
    assert!(!deployed(&store, &of("E1", third, true)).await, "even before anybody wrote that it lapsed");
    act(&store, &look(&store).await, 10).await;
    assert_eq!(Condition::of(&look(&store).await, "edge-2"), Some(Condition::Lapsed));
    assert!(!deployed(&store, &of("E1", third, true)).await);
    act(&store, &look(&store).await, 1010).await;
    assert!(is_excluded(&look(&store).await, "edge-2"));
    assert!(deployed(&store, &of("E1", third, true)).await);
    // Back, it counts again once it has caught up, and refuses still.
    tells(&store, &look(&store).await, "edge-2", third, refuses(&["E1"], true)).await;
    act(&store, &look(&store).await, 1020).await;
    assert!(!deployed(&store, &of("E1", third, true)).await);
}

#[tokio::test]
async fn what_a_node_refuses_is_written_when_it_changes_and_costs_nothing_else() {
    let store = memory::open().await.unwrap();
    let revision = publish(&store).await;
    tells(&store, &look(&store).await, "edge-1", revision, refuses(&["E1"], true)).await;
    act(&store, &look(&store).await, 1).await;
    let (entry, floor) =
        (roster::entry(&*store, "edge-1").await.unwrap(), store.get(DEPLOYED).await.unwrap());
    tells(&store, &look(&store).await, "edge-1", revision, refuses(&["E1"], true)).await;
    assert_eq!(roster::entry(&*store, "edge-1").await.unwrap(), entry, "a sign of life writes none");
    tells(&store, &look(&store).await, "edge-1", revision, refuses(&["E2"], true)).await;
    let (next, _) = roster::entry(&*store, "edge-1").await.unwrap().unwrap();
    assert_eq!(next.refusals, Some(refuses(&["E2"], true)));
    assert_eq!(store.get(DEPLOYED).await.unwrap(), floor, "the floor's writers aren't disturbed");
}

#[tokio::test]
async fn a_document_that_control_can_t_read_is_not_deployed() {
    let store = memory::open().await.unwrap();
    store.commit(Transaction::default().put(format!("{DISTRIBUTIONS}E1"), vec![0xff; 9])).await.unwrap();
    let revision = publish(&store).await;
    register(&store, &look(&store).await, "edge-1", revision).await;
    act(&store, &look(&store).await, 1).await;
    assert!(!deployed(&store, &of("E1", revision, true)).await, "nodes were sent the form before");
    assert!(deployed(&store, &of("E2", revision, true)).await);
}

#[tokio::test]
async fn a_disabled_distribution_needs_no_feature() {
    let store = memory::open().await.unwrap();
    let revision = publish(&store).await;
    register(&store, &look(&store).await, "edge-1", revision).await;
    act(&store, &look(&store).await, 1).await;
    let features = ["signed-names".to_owned()];
    let change = |enabled| Change { required_features: &features, ..of("E1", revision, enabled) };
    assert!(deployed(&store, &change(false)).await && !deployed(&store, &change(true)).await);
}
