//! A node of the cluster: what an edge or a shield starts to learn the config and to be known.
//!
//! [`Node::start`] reads the last known good, then keeps two tasks running until it is cancelled: the subscription and
//! the heartbeat. Both retry for ever; control being away shows in metrics and logs, not in the node's service.

use std::path::PathBuf;
use std::sync::Arc;

use prometheus::Registry;
use proto::v1::{NodeRole, NodeState, Revision, ShieldMap};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::admin::{self, Client, ConnectError};
use super::catalogue::Catalogue;
use super::credentials::Credentials;
use super::dial::Dialer;
use super::metrics::ClientMetrics;
use super::{heartbeat, last_known_good, subscribe};

/// Who a node is and where control is.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Unique in the cluster and stable over restarts: 1 to 128 of `[A-Za-z0-9._-]`.
    pub node_id: String,
    /// Edge or shield.
    pub role: NodeRole,
    /// `HOST:PORT` others reach it by (shields: gRPC).
    pub address: String,
    /// Failure zone; may be empty.
    pub zone: String,
    /// Share of the ring in hundredths; 0 means 100.
    pub weight: u32,
    /// Control's endpoints, `http://HOST:PORT` (or all `https://`) each; any of them will do.
    pub control: Vec<String>,
    /// What it proves itself with.
    pub credentials: Credentials,
    /// Folder for the last known good; made if absent. Empty: nothing is kept, so a restart needs control.
    pub state_dir: PathBuf,
    /// The node's software version.
    pub version: String,
}

/// Why a node can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A field of the config can't be used.
    #[error("{field}: {reason}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// An endpoint can't be used.
    #[error("control: {0}")]
    Connect(#[from] ConnectError),
    /// The metrics exist already in this registry.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What the two tasks and the owner share.
pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) clients: Vec<Client>,
    pub(crate) metrics: ClientMetrics,
    pub(crate) catalogue: watch::Sender<Arc<Catalogue>>,
    pub(crate) shields: watch::Sender<Arc<ShieldMap>>,
    pub(crate) state: watch::Sender<NodeState>,
    /// What the owner says it applied; `None` until it first says so.
    pub(crate) applied: watch::Sender<Option<Revision>>,
    pub(crate) live: watch::Sender<bool>,
    pub(crate) orders: watch::Sender<Orders>,
    pub(crate) shutdown: CancellationToken,
    /// Names this process to control: 16 letters and digits, random.
    pub(crate) process: String,
    /// Held while a Register is under way.
    pub(crate) registering: tokio::sync::Mutex<()>,
    /// Stops the heartbeat alone, before the lease is given up.
    pub(crate) leave: CancellationToken,
}

/// What control wants of a node, as of its last answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// An operator wants it to drain: to take nobody new and send those it has elsewhere, without ending.
    pub drain: bool,
    /// It was away for too long, counts no more, and has not caught up: it is not to call itself ready.
    pub must_sync: bool,
}

/// A running node. Clones are the same node.
#[derive(Clone)]
pub struct Node {
    /// The newest catalogue; empty until one is known.
    pub catalogue: watch::Receiver<Arc<Catalogue>>,
    /// The newest shield map; generation 0 until one is known.
    pub shields: watch::Receiver<Arc<ShieldMap>>,
    /// Whether the catalogue came from, or was confirmed by, control in this process's life.
    pub live: watch::Receiver<bool>,
    /// What control wants; nothing while control is away.
    pub orders: watch::Receiver<Orders>,
    shared: Arc<Shared>,
}

pub use proto::token::is_node_id;

impl Node {
    /// Loads the last known good and starts following control.
    pub fn start(
        config: NodeConfig,
        registry: &Registry,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        Self::start_by(config, None, registry, shutdown)
    }

    /// As [`Node::start`], reaching control through `dialer` if there is one.
    pub fn start_by(
        config: NodeConfig,
        dialer: Option<&Dialer>,
        registry: &Registry,
        shutdown: CancellationToken,
    ) -> Result<Self, StartError> {
        let bad = |field, reason: &str| Err(StartError::Config { field, reason: reason.into() });
        if !is_node_id(&config.node_id) {
            return bad("node_id", "is not 1 to 128 of [A-Za-z0-9._-]");
        }
        let role = match config.role {
            NodeRole::Edge => "edge",
            NodeRole::Shield => "shield",
            NodeRole::Unspecified => return bad("role", "is neither edge nor shield"),
        };
        if config.control.is_empty() {
            return bad("control", "names no endpoint");
        }
        let clients = config
            .control
            .iter()
            .map(|endpoint| admin::connect(endpoint, &config.credentials, dialer))
            .collect::<Result<Vec<_>, _>>()?;
        let metrics = ClientMetrics::new(registry, role)?;
        let (known, map) = last_known(&config);
        metrics.show(&known);
        metrics.generation.set(map.generation as i64);
        let (catalogue, catalogue_reader) = watch::channel(Arc::new(known));
        let (shields, shields_reader) = watch::channel(Arc::new(map));
        let (live, live_reader) = watch::channel(false);
        let (orders, orders_reader) = watch::channel(Orders::default());
        let shared = Arc::new(Shared {
            config,
            clients,
            metrics,
            catalogue,
            shields,
            state: watch::Sender::new(NodeState::Joining),
            applied: watch::Sender::new(None),
            live,
            orders,
            process: rand::Rng::sample_iter(rand::rng(), rand::distr::Alphanumeric)
                .take(16)
                .map(char::from)
                .collect(),
            registering: tokio::sync::Mutex::default(),
            leave: shutdown.child_token(),
            shutdown,
        });
        tokio::spawn(subscribe::run(shared.clone()));
        if !shared.config.state_dir.as_os_str().is_empty() {
            tokio::spawn(subscribe::keep_saved(shared.clone()));
        }
        tokio::spawn(heartbeat::run(shared.clone()));
        Ok(Self {
            catalogue: catalogue_reader,
            shields: shields_reader,
            live: live_reader,
            orders: orders_reader,
            shared,
        })
    }

    /// Tells the cluster what this node does: joining (the start), ready, draining. Sent at once.
    pub fn set_state(&self, state: NodeState) {
        self.shared.state.send_replace(state);
    }

    /// What tells the cluster the revision this node serves by, all of its orders carried out. Until it is first called the newest catalogue counts
    /// as applied when it is published: a node that does not serve yet has nothing to forget.
    pub fn tell_applied(&self) -> impl Fn(Revision) + Send + Sync + use<> {
        let shared = self.shared.clone();
        move |revision| {
            shared.applied.send_replace(Some(revision));
        }
    }

    /// Gives up the lease, so that others notice at once; waits at most two seconds for a Register that is under way, and two for this call. The node stops
    /// renewing; its catalogue stays current until the shutdown token fires.
    pub async fn deregister(&self) {
        heartbeat::leave(&self.shared).await;
    }

    /// Returns once a catalogue is known, live or last known good.
    pub async fn synced(&self) {
        // The sender lives in `shared`, so waiting can't fail.
        let _ = self.catalogue.clone().wait_for(|c| !c.is_empty()).await;
    }
}

fn last_known(config: &NodeConfig) -> (Catalogue, ShieldMap) {
    let kept = match config.state_dir.as_os_str().is_empty() {
        true => Ok(None),
        false => last_known_good::load(&config.state_dir),
    };
    match kept {
        Ok(Some((catalogue, map))) => {
            tracing::info!(
                node = %config.node_id,
                revision = catalogue.revision.number,
                distributions = catalogue.distributions.len(),
                shields = map.shields.len(),
                "starting from the last known good"
            );
            (catalogue, map)
        }
        Ok(None) => (Catalogue::empty(), ShieldMap::default()),
        Err(error) => {
            tracing::warn!(node = %config.node_id, %error, "the last known good is ignored");
            (Catalogue::empty(), ShieldMap::default())
        }
    }
}
