//! `penstock-shield`: flags → config → runtime → run → drain, in reading order.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use control::client::config as files;
use control::client::credentials::TlsFiles;
use control::client::descriptors::{self, TooFew};
use control::client::telemetry::{self, LogFormat, Readiness};
use control::client::tls::peers::{self, TlsMetrics};
use control::client::{Credentials, Node, NodeConfig, NodeRole, NodeState, StopSignal};
use penstock_shield::{Shield, ShieldConfig, follow};
use proto::token::Role;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Long-lived blocks and short-lived frames share the heap: glibc's fragments under it. Its threads give back what lies unused for
/// ten seconds, however quiet the process is.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Penstock's shield: the block cache between edges and S3.
#[derive(Parser)]
#[command(name = "penstock-shield", version, after_help = penstock_shield::config::reference::REFERENCE)]
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
    /// Share of the ring in hundredths of a normal shield.
    #[serde(default)]
    weight: u32,
    /// HOST:PORT edges reach it by.
    #[serde(default)]
    address: String,
    #[serde(default = "default_listen")]
    listen: SocketAddr,
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
    shield: ShieldConfig,
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 7400))
}

fn default_metrics() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 9145))
}

fn default_filter() -> String {
    "info".into()
}

fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let file: File = files::load(flags.config.as_deref())?;
    let (token, token_file) = (file.token.as_deref(), file.token_file.as_deref());
    let credentials =
        Credentials::load(Role::Shield, Some(&file.node_id), token, token_file, file.tls.as_ref())?;
    file.shield.validate().context("shield")?;
    let wildcard = file.listen.ip().is_unspecified();
    anyhow::ensure!(
        !wildcard || !file.address.is_empty(),
        "address: is needed beside a wildcard listen address"
    );
    if flags.check_config {
        println!("the configuration is valid");
        return Ok(());
    }
    // The first provider installed stays; there is only this one in the build.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run(file, credentials));
    // A file that hangs (a dead network mount) must not keep a process that is done.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

async fn run(file: File, credentials: Credentials) -> anyhow::Result<()> {
    let log = telemetry::init_logging(file.log_format, &file.log_filter);
    provide_files(&file.shield)?;
    let mut stop = StopSignal::new()?;
    let registry = prometheus::Registry::new();
    let shutdown = CancellationToken::new();
    let readiness = Readiness::new();
    readiness.set("config", false);

    let tls_metrics = TlsMetrics::new(&registry, "shield")?;
    tokio::spawn(peers::follow(credentials.tls.clone(), tls_metrics, shutdown.clone()));

    let metrics =
        TcpListener::bind(file.metrics).await.with_context(|| format!("metrics: {}", file.metrics))?;
    let listener =
        TcpListener::bind(file.listen).await.with_context(|| format!("listen: {}", file.listen))?;
    let bound = listener.local_addr()?;
    let address = if file.address.is_empty() { bound.to_string() } else { file.address };
    let node = Node::start(
        NodeConfig {
            node_id: file.node_id.clone(),
            role: NodeRole::Shield,
            address: address.clone(),
            zone: file.zone,
            weight: file.weight,
            control: file.control,
            credentials: credentials.clone(),
            state_dir: file.state_dir,
            version: env!("CARGO_PKG_VERSION").into(),
        },
        &registry,
        shutdown.clone(),
    )?;
    let settle = Duration::from_millis(file.shield.read.settle_ms);
    let shield = Shield::new(file.shield, &registry)?;
    shield.follow_map(&file.node_id, &credentials, node.shields.clone(), None, &registry)?;
    // Health is answered from the start; ready once a catalogue is known, be it the last known good.
    let telemetry =
        tokio::spawn(telemetry::serve(metrics, registry, readiness.clone(), log, shutdown.clone()));
    tokio::select! {
        () = node.synced() => {}
        () = stop.received() => {
            node.deregister().await;
            return Ok(());
        }
    }
    let known = node.catalogue.borrow().clone();
    follow::apply(&shield, &known).await;
    let applied = node.tell_applied();
    tokio::spawn(follow::follow(shield.clone(), node.catalogue.clone(), applied, shutdown.clone()));
    let serving = {
        let stop = shutdown.clone();
        tokio::spawn(async move { shield.serve(listener, &credentials, stop).await })
    };
    readiness.set("config", true);
    node.set_state(NodeState::Ready);
    tracing::info!(node = file.node_id, listen = %bound, address, "the shield serves");

    tokio::select! {
        () = stop.received() => {}
        () = obey(&node, &readiness) => stop.received().await,
    }
    // As a draining shield it is asked last and still answers everybody, until edges have heard; then it leaves the map, answers
    // what is under way, and ends.
    tracing::info!(settle_ms = settle.as_millis() as u64, "stopping: edges are sent to other shields");
    readiness.set("serving", false);
    node.set_state(NodeState::Draining);
    tokio::select! {
        () = tokio::time::sleep(settle) => {}
        () = stop.received() => tracing::info!("a second signal: the shield leaves now"),
    }
    node.deregister().await;
    shutdown.cancel();
    serving.await??;
    tracing::info!("the shield stopped");
    telemetry.await?;
    Ok(())
}

/// Carries out what control wants of this shield: to be asked last (drain), and not to call itself ready while it is excluded and behind.
async fn obey(node: &Node, readiness: &Readiness) {
    let mut orders = node.orders.clone();
    let mut drains = false;
    loop {
        let wanted = *orders.borrow_and_update();
        readiness.set("the newest config", !wanted.must_sync);
        if std::mem::replace(&mut drains, wanted.drain) != wanted.drain {
            tracing::info!(drain = wanted.drain, "by an operator's order");
            node.set_state(if wanted.drain { NodeState::Draining } else { NodeState::Ready });
        }
        if orders.changed().await.is_err() {
            return;
        }
    }
}

/// Connections from edges (a few each), requests to each of a few origins, and a margin must fit the limit of open files.
fn provide_files(config: &ShieldConfig) -> Result<(), TooFew> {
    const EDGES: u64 = 512;
    let requests = config.connections.demand + config.connections.read_ahead + config.connections.stat;
    let (what, needed) = (format!("{requests} requests to origins at once"), EDGES + requests as u64);
    let available = descriptors::provide(needed);
    if available < needed {
        let remedy = "lower shield.connections".to_owned();
        return Err(TooFew { what, reserve: EDGES, needed, available, remedy });
    }
    Ok(())
}
