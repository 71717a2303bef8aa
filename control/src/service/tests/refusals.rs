//! What nodes refuse, over real gRPC: a document that one serves by an older form is not deployed, and who it is is told.

use proto::v1::{DeploymentStatus, NodeStatus};

use super::*;
use crate::client::admin::Admin;

/// Until the operator's list says of the distribution and its nodes what `holds` looks for.
async fn until(admin: &mut Admin, holds: impl Fn(&DeploymentStatus, &[NodeStatus]) -> bool) {
    let look = async {
        loop {
            let listed = admin.distributions().await.unwrap();
            let nodes = admin.nodes().await.unwrap().nodes;
            if listed.deployments.first().and_then(Option::as_ref).is_some_and(|d| holds(d, &nodes)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, look).await.expect("in time");
}

fn refusal(nodes: &[NodeStatus], id: &str) -> Option<crate::client::catalogue::refusals::Refusal> {
    let node = nodes.iter().filter_map(|status| status.node.as_ref()).find(|node| node.node_id == id)?;
    crate::client::catalogue::refusals::find(node.refusals.as_ref(), A)
}

#[tokio::test]
async fn a_document_that_nodes_refuse_is_not_deployed_also_after_they_and_control_began_anew() {
    let store = memory::open().await.unwrap();
    put(&store, A, "a.example").await;
    let config = || ControlConfig { hang_after: Duration::from_secs(60), ..quick() };
    let replica = Replica::start(store.clone(), "127.0.0.1:0", config()).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], &dir.path().join("e"));
    let shield = node("shield-1", NodeRole::Shield, &[replica.url()], &dir.path().join("s"));
    edge.node.set_state(NodeState::Ready);
    let mut admin = Admin::new(&replica.url(), &credentials(Role::Operator)).unwrap();
    until(&mut admin, |deployment, nodes| deployment.deployed && nodes.len() == 2).await;
    // As a newer control may write it.
    let mut newer = document(A, "a.example");
    newer.origin_host = "nowhere".into();
    let key = format!("{}{A}", documents::DISTRIBUTIONS);
    let write = Transaction::default().put(key, prost::Message::encode_to_vec(&newer)).put("head", "");
    let revision = store.commit(write).await.unwrap();
    let refused = |deployment: &DeploymentStatus, nodes: &[NodeStatus]| {
        let all = ["edge-1", "shield-1"].map(|id| refusal(nodes, id));
        if deployment.modified == revision {
            assert!(!deployment.deployed, "{nodes:?}");
        }
        all.iter().all(|r| r.as_ref().is_some_and(|r| r.serves_older && r.reason.starts_with("origin:")))
    };
    until(&mut admin, refused).await;
    // All of it is acknowledged: the rest of the config is not held up.
    until(&mut admin, |deployment, nodes| {
        refused(deployment, nodes) && nodes.iter().all(|status| status.condition == "current")
    })
    .await;
    let mut views = replica.control.views();
    let floor = views.wait_for(|view| view.deployed_floor >= revision);
    drop(tokio::time::timeout(LONG, floor).await.expect("in time").unwrap());
    let mut reports = replica.control.reports();
    let told = reports.wait_for(|reports| reports.get("edge-1").is_some_and(|report| report.refused == 1));
    drop(tokio::time::timeout(LONG, told).await.expect("in time").unwrap());
    until(&mut admin, refused).await;
    // The edge begins anew from its last known good, with what it refused there.
    edge.stop.cancel();
    drop(edge);
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], &dir.path().join("e"));
    edge.node.set_state(NodeState::Ready);
    edge.until(|c| c.find_host("a.example").is_some() && c.refused.contains_key(A)).await;
    until(&mut admin, refused).await;
    // Control begins anew too, and another replica tells the same.
    let address = replica.stop().await;
    let replica = Replica::start(store.clone(), &address.to_string(), config()).await;
    let other = Replica::start(store.clone(), "127.0.0.1:0", config()).await;
    replica.control.loaded().await;
    other.control.loaded().await;
    let mut admin = Admin::new(&other.url(), &credentials(Role::Operator)).unwrap();
    until(&mut admin, refused).await;
    let known = documents::distribution(&*store, A).await.unwrap().unwrap();
    let repaired = put_distribution(Some(&known), &document(A, "a.example")).unwrap();
    store.commit(repaired).await.unwrap();
    until(&mut admin, |deployment, nodes| {
        deployment.deployed && refusal(nodes, "edge-1").is_none() && refusal(nodes, "shield-1").is_none()
    })
    .await;
    drop(shield);
    other.stop().await;
    replica.stop().await;
}
