//! The processes of the cluster, as their binaries put them together, on simulated connections.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use control::client::{Credentials, Node, NodeConfig, NodeRole, NodeState};
use control::store::Store;
use control::{Control, ControlConfig};
use edge::Edge;
use edge::config::EdgeConfig;
use prometheus::Registry;
use proto::object::OriginId;
use proto::token::{MasterToken, Role};
use proto::v1::{Distribution, DistributionKind};
use shield::client::{ClientConfig, ShieldClient};
use shield::{Shield, ShieldConfig, follow};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::bucket::Buckets;
use super::network;

pub(crate) const CONTROLS: [&str; 2] = ["control-1", "control-2"];
pub(crate) const SHIELDS: [&str; 3] = ["shield-1", "shield-2", "shield-3"];
pub(crate) const EDGES: [&str; 2] = ["edge-1", "edge-2"];
pub(crate) const RTMP: u16 = 1935;
const GRPC: u16 = 7400;

fn master() -> MasterToken {
    MasterToken::new("a-token-for-simulations").unwrap()
}

/// What a node proves itself with: a token of its own.
fn credentials(role: NodeRole, name: &str) -> Credentials {
    let role = if role == NodeRole::Edge { Role::Edge } else { Role::Shield };
    master().token(role, Some(name)).into()
}

/// What every process is started with, and where it leaves its metrics.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) store: Store,
    pub(crate) buckets: Buckets,
    pub(crate) registries: Arc<Mutex<BTreeMap<&'static str, Registry>>>,
    /// Shields that are told to leave the ring.
    pub(crate) leaving: watch::Receiver<Vec<&'static str>>,
    pub(crate) edge: EdgeConfig,
    pub(crate) shield: ShieldConfig,
}

impl Surroundings {
    /// A new process's registry.
    fn registry(&self, name: &'static str) -> Registry {
        let registry = Registry::new();
        self.registries.lock().unwrap().insert(name, registry.clone());
        registry
    }
}

/// The bucket host behind a number.
fn bucket_host(bucket: usize) -> String {
    format!("bucket-{bucket}.s3.amazonaws.com")
}

/// The id of a bucket's origin.
pub(crate) fn origin_id(bucket: usize) -> OriginId {
    OriginId::of(&bucket_host(bucket), "")
}

/// The name viewers know a bucket by.
pub(crate) fn domain(bucket: usize) -> String {
    format!("s{bucket:013}.penstock.localhost")
}

/// The document that joins the two.
pub(crate) fn distribution(bucket: usize) -> Distribution {
    Distribution {
        id: format!("E{bucket:013}"),
        kind: DistributionKind::Streaming.into(),
        domain: domain(bucket),
        enabled: true,
        origin_host: bucket_host(bucket),
        origin_id: origin_id(bucket).as_str().into(),
        ..Default::default()
    }
}

/// A control replica, until it is killed.
pub(crate) async fn control(name: &'static str, around: Surroundings) -> turmoil::Result {
    let control = Control::new(around.store.clone(), ControlConfig::default(), &around.registry(name))?;
    let connections = network::accepted(network::listen(GRPC).await?);
    control.serve_connections(connections, &master(), CancellationToken::new()).await?;
    Ok(())
}

fn node(
    name: &'static str,
    role: NodeRole,
    port: u16,
    registry: &Registry,
    stop: &CancellationToken,
) -> turmoil::Result<Node> {
    let config = NodeConfig {
        node_id: name.into(),
        role,
        address: format!("{name}:{port}"),
        zone: String::new(),
        weight: 0,
        control: CONTROLS.iter().map(|c| format!("http://{c}:{GRPC}")).collect(),
        credentials: credentials(role, name),
        // Disks are written by threads, whose time is not the simulation's.
        state_dir: PathBuf::new(),
        version: "simulated".into(),
    };
    Ok(Node::start_by(config, Some(&network::dialer()), registry, stop.clone())?)
}

/// A shield, until it is killed or told to leave.
pub(crate) async fn shield(name: &'static str, around: Surroundings) -> turmoil::Result {
    let (registry, stop) = (around.registry(name), CancellationToken::new());
    let listener = network::listen(GRPC).await?;
    let node = node(name, NodeRole::Shield, GRPC, &registry, &stop)?;
    let shield = Shield::new(around.shield.clone(), &registry)?;
    for bucket in 0..2 {
        shield.add_origin(origin_id(bucket), around.buckets.origin(bucket, name));
    }
    node.synced().await;
    let known = node.catalogue.borrow().clone();
    follow::apply(&shield, &known).await;
    tokio::spawn(follow::follow(shield.clone(), node.catalogue.clone(), node.tell_applied(), stop.clone()));
    let serving = {
        let (stop, connections) = (stop.clone(), network::accepted(listener));
        tokio::spawn(async move {
            shield.serve_connections(connections, &credentials(NodeRole::Shield, name), stop).await
        })
    };
    node.set_state(NodeState::Ready);
    tracing::info!(target: "sim", "the shield serves");
    let mut leaving = around.leaving.clone();
    let _ = leaving.wait_for(|names| names.contains(&name)).await;
    tracing::info!(target: "sim", "the shield leaves");
    node.set_state(NodeState::Draining);
    // As a rolling restart does: edges hear of it before it goes.
    tokio::time::sleep(Duration::from_secs(2)).await;
    node.deregister().await;
    stop.cancel();
    serving.await??;
    Ok(())
}

/// An edge, for ever.
pub(crate) async fn edge(name: &'static str, around: Surroundings) -> turmoil::Result {
    let (registry, stop) = (around.registry(name), CancellationToken::new());
    let listener = network::listen(RTMP).await?;
    let node = node(name, NodeRole::Edge, RTMP, &registry, &stop)?;
    let dialer = Some(network::dialer());
    let shields = ShieldClient::new_by(
        &credentials(NodeRole::Edge, name),
        node.shields.clone(),
        ClientConfig::default(),
        dialer,
        &registry,
    )?;
    let edge = Edge::new(around.edge.clone(), Arc::new(shields), node.catalogue.clone(), &registry)?;
    edge.tell_applied(node.tell_applied());
    node.synced().await;
    node.set_state(NodeState::Ready);
    tracing::info!(target: "sim", "the edge serves");
    let shared = edge.shared().clone();
    // Purges and gauges, as without a simulation.
    tokio::spawn(edge.serve(Vec::new(), stop.clone()));
    loop {
        let (stream, peer) = listener.accept().await?;
        tokio::spawn(edge::session::serve(shared.clone(), network::Viewer::new(stream), peer, stop.clone()));
    }
}
