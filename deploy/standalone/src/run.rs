//! Joining the parts: the same edge, shield and control as in a cluster, by real gRPC and real S3 calls, on loopback ports of their own.
//!
//! Order of start: ports, S3 endpoint, control with its store, shield, edge. Only when a viewer would be served is the ready file
//! written. At SIGTERM or SIGINT the edge drains ([`edge::drain`]; by default both of its times are 0, so viewers are told goodbye
//! at once), access logs are delivered, edge and shield deregister, then everything stops together.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use control::client::logs::EdgeLogs;
use control::client::ship::Route;
use control::client::telemetry::{self, LogFormat, Readiness};
use control::client::{Credentials, Node, NodeConfig, NodeRole, NodeState, StopSignal};
use control::declare::{Declared, DeclaredLogging, DeclaredSet, Kind};
use control::seal::{Sealer, SealingKey};
use control::{Control, ControlConfig};
use edge::Edge;
use proto::object::OriginId;
use proto::token::{MasterToken, Role};
use shield::client::{ClientConfig, ShieldClient};
use shield::{Shield, follow};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::identity::{Identity, write_private};
use crate::logs::delivery::{Buckets, Delivery};
use crate::options::{Options, Rules};
use crate::ready::{Bound, Ready};
use crate::s3::{MediaSource, S3, S3Config, S3Limits};
use crate::{MEDIA_BUCKET, api, certificate};

async fn bind(option: &str, address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("{option} {address}"))?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// A port for one of the parts to reach another by; of `::1` where there is no IPv4, not even a loopback.
async fn bind_inside(part: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    match bind(part, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await {
        Ok(bound) => Ok(bound),
        Err(error) => bind(part, SocketAddr::from((Ipv6Addr::LOCALHOST, 0))).await.map_err(|_| error),
    }
}

/// What the nodes are called.
const EDGE: &str = "edge";
const SHIELD: &str = "shield";
/// And where they are.
const ZONE: &str = "local";

/// Files that the parts open among themselves: gRPC, S3 requests and their other ends, stores, logs, and a margin.
const INSIDE_FILES: u64 = 768;

/// Runs everything until a signal.
pub async fn run(mut options: Options) -> anyhow::Result<()> {
    if let Some(path) = &options.ready_file {
        remove_stale(path)?;
    }
    let log = telemetry::init_logging(LogFormat::Text, &options.log_filter);
    let mut stop = StopSignal::new()?;
    edge::descriptors::settle(&mut options.edge, edge::descriptors::RESERVE + INSIDE_FILES)?;
    let identity = Identity::load_or_make(&options.data)?;
    let sealing = SealingKey::read_or_create(&options.data.join("secrets.key")).context("secrets.key")?;
    let sealer = Sealer::new(&sealing, &[]);
    let domain = format!("{}.{}", identity.domain_label, options.zone);
    certificate::provide(&options.data, &domain, &mut options.edge.tls)?;
    let registry = prometheus::Registry::new();
    let readiness = Readiness::new();
    readiness.set("edge", false);
    let shutdown = CancellationToken::new();
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();

    let mut viewers = Vec::new();
    let mut rtmp = Vec::new();
    for address in &options.listen {
        let (listener, bound) = bind("--listen", *address).await?;
        viewers.push(listener);
        rtmp.push(bound);
    }
    let (api_listener, api) = bind("--api", options.api).await?;
    let (s3_listener, s3) = bind("--s3", options.s3).await?;
    let (metrics_listener, metrics) = bind("--metrics", options.metrics).await?;
    let (control_listener, control_address) = bind_inside("control").await?;
    let (shield_listener, shield_address) = bind_inside("shield").await?;
    let bound = Bound { rtmp, api, s3, metrics, control: control_address };

    tasks.spawn({
        let (registry, readiness, shutdown) = (registry.clone(), readiness.clone(), shutdown.clone());
        async move {
            telemetry::serve(metrics_listener, registry, readiness, log, shutdown).await;
            Ok(())
        }
    });
    // The S3 endpoint.
    let media = options.media_dir.clone().map_or(MediaSource::Bundled, MediaSource::Folder);
    let sample = first_film(options.media_dir.as_deref());
    let endpoint = {
        let config = S3Config {
            data_dir: options.data.clone(),
            media,
            buckets: options.distribution.logging.buckets(),
            access_key_id: identity.access_key_id.clone(),
            secret_access_key: identity.secret_access_key.clone(),
            limits: S3Limits::default(),
            registry: registry.clone(),
        };
        tokio::task::spawn_blocking(move || S3::open(config)).await??
    };
    tasks.spawn({
        let shutdown = shutdown.clone();
        async move { Ok(endpoint.serve(s3_listener, shutdown).await?) }
    });

    let master = MasterToken::new(&identity.node_token).context("identity.json: node_token")?;
    let operator_token = options.data.join("operator.token");
    write_private(&operator_token, master.token(Role::Operator, None).to_string().as_bytes())?;
    // Control, over its embedded store, and the one distribution.
    let store =
        control::store::redb::open(&options.data.join("control.redb")).await.context("the config store")?;
    api::provide(&store, &sealer, &identity).await?;
    let buckets = Buckets::at(&format!("http://{s3}"), &identity)?;
    let config = ControlConfig {
        zone: options.zone.clone(),
        sealer: sealer.clone(),
        logs: Some(buckets.config(&options.logs)),
        ..Default::default()
    };
    let control = Control::new(store.clone(), config, &registry)?;
    let door = api::door(&control, &sealer, &master, &identity, &options.zone, &bound)?;
    control.apply(&declared(&identity, &domain, &options.distribution)).await.context("the distribution")?;
    tasks.spawn({
        let (master, shutdown) = (master.clone(), shutdown.clone());
        async move { Ok(control.serve(control_listener, &master, shutdown).await?) }
    });
    tasks.spawn({
        let shutdown = shutdown.clone();
        async move {
            door.serve(api_listener, shutdown).await;
            Ok(())
        }
    });
    let [edge_credentials, shield_credentials] = [(Role::Edge, EDGE), (Role::Shield, SHIELD)]
        .map(|(role, name)| Credentials::from(master.token(role, Some(name))));
    let node = |role: NodeRole, name: &str, credentials: &Credentials, address: SocketAddr| NodeConfig {
        node_id: name.to_owned(),
        role,
        address: address.to_string(),
        zone: ZONE.into(),
        weight: 0,
        control: vec![format!("http://{control_address}")],
        credentials: credentials.clone(),
        state_dir: options.data.join("state").join(name),
        version: env!("CARGO_PKG_VERSION").into(),
    };

    // The shield.
    let mut shield_config = options.shield;
    shield_config.origins.entry(".amazonaws.com".into()).or_insert_with(|| shield::config::OriginConfig {
        endpoint: format!("http://{s3}"),
        region: "us-east-1".into(),
        path_style: true,
        ..Default::default()
    });
    // What its own S3 endpoint takes: for origin access identities that an operator has granted a bucket.
    shield_config.node_role.get_or_insert_with(|| shield::config::CredentialConfig {
        access_key_id: identity.access_key_id.clone(),
        secret_access_key: Some(identity.secret_access_key.clone()),
        ..Default::default()
    });
    let shield_node = Node::start(
        node(NodeRole::Shield, SHIELD, &shield_credentials, shield_address),
        &registry,
        shutdown.clone(),
    )?;
    let shield = Shield::new(shield_config, &registry)?;
    shield_node.synced().await;
    let known = shield_node.catalogue.borrow().clone();
    follow::apply(&shield, &known).await;
    let applied = shield_node.tell_applied();
    tokio::spawn(follow::follow(shield.clone(), shield_node.catalogue.clone(), applied, shutdown.clone()));
    tasks.spawn({
        let shutdown = shutdown.clone();
        async move { Ok(shield.serve(shield_listener, &shield_credentials, shutdown).await?) }
    });
    shield_node.set_state(NodeState::Ready);

    // The edge. As in a cluster, one that would lose its events is not even announced.
    let edge_node = node(NodeRole::Edge, EDGE, &edge_credentials, bound.rtmp[0]);
    let route = Route {
        node_id: EDGE.into(),
        control: edge_node.control.clone(),
        credentials: edge_credentials.clone(),
    };
    let spooled = EdgeLogs::open(options.logs.edge(), &edge_node.state_dir, route, &registry);
    let spooled = spooled.await.context("access logs")?.context("access logs are enabled here")?;
    let edge_node = Node::start(edge_node, &registry, shutdown.clone())?;
    let shields =
        ShieldClient::new(&edge_credentials, edge_node.shields.clone(), ClientConfig::default(), &registry)?;
    let mut edge_config = options.edge;
    edge_config.log.locate(ZONE, EDGE);
    edge_config.default_distribution.get_or_insert_with(|| identity.distribution_id.clone());
    let [settle, drain_time] = [edge_config.settle_ms, edge_config.drain_ms].map(Duration::from_millis);
    let edge = Edge::new(edge_config, Arc::new(shields), edge_node.catalogue.clone(), &registry)?;
    edge.tell_applied(edge_node.tell_applied());
    edge.log_to(Arc::new(spooled.log()));
    let logs = Delivery::start(spooled, buckets, store, &options.logs, &registry)?;
    let origin = OriginId::of(&origin_host(), "");
    let served = async {
        let known = |map: &Arc<proto::v1::ShieldMap>| {
            map.shields
                .iter()
                .any(|s| s.address == shield_address.to_string() && s.state() == NodeState::Ready)
        };
        edge_node.shields.clone().wait_for(known).await?;
        edge_node.catalogue.clone().wait_for(|catalogue| catalogue.origins.contains_key(&origin)).await?;
        Ok::<_, anyhow::Error>(())
    };
    tokio::select! {
        served = served => served?,
        () = stop.received() => {
            logs.finish(stop.received()).await;
            return Ok(());
        }
        failed = first_failure(&mut tasks) => return failed,
    }
    let (drain, closing) = (edge.drain(), CancellationToken::new());
    let mut serving = tokio::spawn(edge.serve(viewers, closing.clone()));
    edge_node.set_state(NodeState::Ready);
    readiness.set("edge", true);
    let ready = Ready::new(&bound, &identity, &domain, &options.distribution.logging, &options.data);
    if let Some(path) = &options.ready_file {
        ready.write(path)?;
    }
    ready.announce(sample.as_deref(), &operator_token);

    let outcome = tokio::select! {
        () = stop.received() => Ok(()),
        failed = first_failure(&mut tasks) => failed,
        ended = &mut serving => Err(ended.err().map_or_else(|| anyhow::anyhow!("the edge stopped"), Into::into)),
    };
    tracing::info!("stopping");
    readiness.set("edge", false);
    edge_node.set_state(NodeState::Draining);
    if outcome.is_ok() {
        drain.run(settle, drain_time, &closing, stop.received()).await;
    }
    closing.cancel();
    if !serving.is_finished() {
        serving.await?;
    }
    drain.finish();
    logs.finish(stop.received()).await;
    edge_node.deregister().await;
    shield_node.deregister().await;
    shutdown.cancel();
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    if let Some(path) = &options.ready_file {
        remove_stale(path)?;
    }
    outcome
}

/// The first part that stops by itself, which none should.
async fn first_failure(tasks: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    match tasks.join_next().await {
        Some(ended) => ended?.and_then(|()| anyhow::bail!("a part of the process stopped")),
        None => std::future::pending().await,
    }
}

fn origin_host() -> String {
    format!("{MEDIA_BUCKET}.s3.amazonaws.com")
}

fn declared(identity: &Identity, domain: &str, rules: &Rules) -> DeclaredSet {
    DeclaredSet {
        distributions: vec![Declared {
            name: MEDIA_BUCKET.into(),
            kind: Kind::Streaming,
            id: Some(identity.distribution_id.clone()),
            domain: Some(domain.to_owned()),
            aliases: Vec::new(),
            enabled: true,
            origin: origin_host(),
            credential: String::new(),
            comment: "standalone".into(),
            chunk_size_bytes: rules.chunk_size_bytes,
            swf_verification: rules.swf_verification.clone(),
            audio_sample_access: rules.audio_sample_access,
            video_sample_access: rules.video_sample_access,
            account: api::ACCOUNT.into(),
            trusted_signers: Vec::new(),
            logging: rules.logging.enabled.then(|| DeclaredLogging {
                bucket: rules.logging.host(),
                prefix: rules.logging.prefix.clone(),
            }),
            required_features: Vec::new(),
        }],
    }
}

/// A film to name in the printed commands: the sample, or the first one that lies in the media folder itself.
fn first_film(media_dir: Option<&Path>) -> Option<String> {
    let Some(dir) = media_dir else { return Some("sample.mp4".into()) };
    let mut names: Vec<String> =
        std::fs::read_dir(dir).ok()?.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    let rank = |name: &String| [".mp4", ".flv", ".mp3"].iter().position(|e| name.ends_with(e));
    names.into_iter().filter(|name| rank(name).is_some()).min_by_key(rank)
}

fn remove_stale(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("--ready-file {}", path.display()))
        }
        _ => Ok(()),
    }
}
