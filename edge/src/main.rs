//! `penstock-edge`: flags → config → runtime → run → drain, in reading order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use control::client::config as files;
use control::client::credentials::TlsFiles;
use control::client::logs::{self, EdgeLogs, EdgeLogsConfig};
use control::client::ship::Route;
use control::client::telemetry::{self, LogControl, LogFormat, Readiness};
use control::client::tls::peers::{self, TlsMetrics};
use control::client::{Credentials, Node, NodeConfig, NodeRole, NodeState, ShieldMap, StopSignal};
use edge::Edge;
use edge::config::EdgeConfig;
use edge::drain::Phase;
use penstock_edge as edge;
use proto::token::Role;
use serde::Deserialize;
use shield::client::{ClientConfig, ShieldClient};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Long-lived blocks and short-lived frames share the heap: glibc's fragments under it. Its threads give back what lies unused for
/// ten seconds, however quiet the process is.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Penstock's edge: speaks RTMP to viewers and asks shields for byte ranges.
///
/// `penstock-edge probe URL` plays a stream and says how that went: see `penstock-edge probe --help`.
#[derive(Parser)]
#[command(name = "penstock-edge", version, after_help = reference())]
struct Flags {
    /// The YAML configuration file.
    #[arg(long, env = "PENSTOCK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, say what is wrong with it, and stop.
    #[arg(long)]
    check_config: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Unique and stable name of this node.
    node_id: String,
    /// Failure zone or region.
    #[serde(default)]
    zone: String,
    /// HOST:PORT shown to operators; the first listen address by default.
    #[serde(default)]
    address: String,
    #[serde(default = "default_listen")]
    listen: Vec<SocketAddr>,
    #[serde(default = "default_metrics")]
    metrics: SocketAddr,
    control: Vec<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    tls: Option<TlsFiles>,
    state_dir: PathBuf,
    #[serde(default)]
    log_format: LogFormat,
    #[serde(default = "default_filter")]
    log_filter: String,
    #[serde(default)]
    logs: EdgeLogsConfig,
    #[serde(default)]
    edge: EdgeConfig,
    #[serde(default)]
    shield_client: ClientConfig,
}

fn default_listen() -> Vec<SocketAddr> {
    [1935, 8080].map(|port| SocketAddr::from(([0, 0, 0, 0], port))).to_vec()
}

fn default_metrics() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 9145))
}

fn default_filter() -> String {
    "info".into()
}

fn reference() -> String {
    format!("{}\n{}", edge::config::reference::REFERENCE, logs::reference())
}

fn main() -> anyhow::Result<()> {
    if let Some(code) = edge::probe::run_if_asked("penstock-edge") {
        std::process::exit(i32::from(code));
    }
    let flags = Flags::parse();
    let mut file: File = files::load(flags.config.as_deref())?;
    let (token, token_file) = (file.token.as_deref(), file.token_file.as_deref());
    let credentials =
        Credentials::load(Role::Edge, Some(&file.node_id), token, token_file, file.tls.as_ref())?;
    file.edge.log.locate(&file.zone, &file.node_id);
    file.edge.check().context("edge")?;
    file.logs.check().map_err(anyhow::Error::msg)?;
    file.shield_client.validate().map_err(anyhow::Error::msg).context("shield_client")?;
    anyhow::ensure!(!file.listen.is_empty(), "listen: names no address");
    if flags.check_config {
        edge::tls::Certificates::load(&file.edge.tls).context("edge.tls")?;
        println!("the configuration is valid");
        return Ok(());
    }
    let log = telemetry::init_logging(file.log_format, &file.log_filter);
    edge::descriptors::settle(&mut file.edge, edge::descriptors::RESERVE)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(file, credentials, log));
    // A file that hangs (a dead network mount) must not keep a process that is done.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

async fn run(file: File, credentials: Credentials, log: LogControl) -> anyhow::Result<()> {
    let mut stop = StopSignal::new()?;
    let registry = prometheus::Registry::new();
    let shutdown = CancellationToken::new();
    let readiness = Readiness::new();
    readiness.set("config", false);
    readiness.set("shields", false);

    let tls_metrics = TlsMetrics::new(&registry, "edge")?;
    tokio::spawn(peers::follow(credentials.tls.clone(), tls_metrics, shutdown.clone()));

    let metrics =
        TcpListener::bind(file.metrics).await.with_context(|| format!("metrics: {}", file.metrics))?;
    let mut listeners = Vec::new();
    for address in &file.listen {
        listeners.push(TcpListener::bind(address).await.with_context(|| format!("listen: {address}"))?);
    }
    let bound: Vec<SocketAddr> = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
    let first = bound.first().map(ToString::to_string).unwrap_or_default();
    // Health is answered from the start, also while a spool of much is repaired; ready, and serving, once a catalogue is known, be it the last
    // known good; ready with a shield.
    let telemetry =
        tokio::spawn(telemetry::serve(metrics, registry.clone(), readiness.clone(), log, shutdown.clone()));
    // Before anything is announced: an edge that would lose its events does not start.
    let route = Route {
        node_id: file.node_id.clone(),
        control: file.control.clone(),
        credentials: credentials.clone(),
    };
    let logs = EdgeLogs::open(file.logs, &file.state_dir, route, &registry).await.context("access logs")?;
    let node = Node::start(
        NodeConfig {
            node_id: file.node_id.clone(),
            role: NodeRole::Edge,
            address: if file.address.is_empty() { first } else { file.address },
            zone: file.zone,
            weight: 0,
            control: file.control,
            credentials: credentials.clone(),
            state_dir: file.state_dir,
            version: env!("CARGO_PKG_VERSION").into(),
        },
        &registry,
        shutdown.clone(),
    )?;
    let shields = ShieldClient::new(&credentials, node.shields.clone(), file.shield_client, &registry)?;
    let [settle, drain_time] = [file.edge.settle_ms, file.edge.drain_ms].map(Duration::from_millis);
    let edge = Edge::new(file.edge, Arc::new(shields), node.catalogue.clone(), &registry)?;
    edge.tell_applied(node.tell_applied());
    if let Some(logs) = &logs {
        edge.log_to(Arc::new(logs.log()));
    }
    tokio::select! {
        () = node.synced() => {}
        () = stop.received() => {
            tokio::join!(EdgeLogs::finish(logs), node.deregister());
            return Ok(());
        }
    }
    readiness.set("config", true);
    let knows_shields = tokio::spawn(first_shield(node.shields.clone(), readiness.clone()));
    node.set_state(NodeState::Ready);
    tracing::info!(node = file.node_id, listen = ?bound, "the edge serves");

    let (drain, closing) = (edge.drain(), CancellationToken::new());
    let serving = tokio::spawn(edge.serve(listeners, closing.clone()));
    tokio::select! {
        () = stop.received() => {}
        () = edge::orders::follow(&node, &drain, &readiness, settle, drain_time) => stop.received().await,
    }

    // Out of service in the order in which others can follow: balancers, then newcomers, then viewers, then control.
    readiness.set("serving", false);
    node.set_state(NodeState::Draining);
    // Whom an operator drained before has nobody to settle for.
    let settle = if drain.phase() >= Phase::Draining { Duration::ZERO } else { settle };
    drain.run(settle, drain_time, &closing, stop.received()).await;
    serving.await?;
    drain.finish();
    knows_shields.abort();
    // Together: where control is away, both only wait for it.
    tokio::join!(EdgeLogs::finish(logs), node.deregister());
    shutdown.cancel();
    telemetry.await?;
    tracing::info!("the edge stopped");
    Ok(())
}

/// Marks the edge ready once it has seen a shield it may ask: a new edge has nothing cached, and until then every play would fail. When shields
/// go later it stays ready, for what it has cached plays on.
async fn first_shield(mut map: watch::Receiver<Arc<ShieldMap>>, readiness: Readiness) {
    let known = map.wait_for(|map| map.shields.iter().any(|shield| shield.state() == NodeState::Ready)).await;
    if known.is_ok() {
        readiness.set("shields", true);
    }
}
