//! Who belongs to the cluster, and the shield map made of it.
//!
//! A node's record lives in the store under a lease that each Register renews, through any replica. The shield map is a
//! document too: whichever replica sees that it no longer matches the live shields writes it anew by compare-and-set,
//! and its generation is the revision of that write. So all replicas agree on it, it grows with every change, and a
//! replica that was away cannot put an older one in force.
//!
//! When control or the store was away for longer than a lease, the records of healthy shields have lapsed. So for one lease
//! after the store is followed (again) a replica adds and changes shields but removes none: they get the time to register.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use proto::v1::{NodeRole, NodeState, RegisterRequest, RosterEntry, ShieldMap, ShieldNode};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::client::node::is_node_id;
use crate::documents::{MEMBERS, SHIELD_MAP};
use crate::lifecycle::roster::News;
use crate::lifecycle::{is_excluded, roster};
use crate::mirror::view::View;
use crate::store::{Store, StoreError, Transaction};

/// Heaviest share of the ring a node may claim, in hundredths.
pub const WEIGHT_MAX: u32 = 10_000;
const RETRY: Duration = Duration::from_millis(500);

/// A role's name in metrics and on the command line.
pub fn role_name(member: &RegisterRequest) -> &'static str {
    match member.role() {
        NodeRole::Edge => "edge",
        NodeRole::Shield => "shield",
        NodeRole::Unspecified => "unspecified",
    }
}

/// A state's name in metrics and on the command line.
pub fn state_name(member: &RegisterRequest) -> &'static str {
    match member.state() {
        NodeState::Joining => "joining",
        NodeState::Ready => "ready",
        NodeState::Draining => "draining",
        NodeState::Unspecified => "unspecified",
    }
}

/// What is wrong with a Register, naming the field.
pub(crate) fn check(request: &RegisterRequest) -> Result<(), String> {
    if !is_node_id(&request.node_id) {
        return Err("node_id: is not 1 to 128 of [A-Za-z0-9._-]".into());
    }
    if request.role() == NodeRole::Unspecified {
        return Err("role: is neither edge nor shield".into());
    }
    if request.state() == NodeState::Unspecified {
        return Err("state: is none of joining, ready, draining".into());
    }
    let port = request.address.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
    if port.and_then(|p| p.parse::<u16>().ok()).is_none_or(|p| p == 0) || request.address.len() > 261 {
        return Err(format!("address: '{}' is not HOST:PORT", request.address));
    }
    if request.weight > WEIGHT_MAX {
        return Err(format!("weight: {} is over {WEIGHT_MAX}", request.weight));
    }
    let texts = [&request.zone, &request.version, &request.process];
    if texts.iter().any(|text| text.len() > 128) || request.features.len() > 128 {
        return Err("zone, version, process or features: is too long".into());
    }
    Ok(())
}

/// How long leases still get to be renewed after control, or the store, was away itself; zero once all that matter have had their time.
pub(crate) fn settling(view: &View, lease: Duration) -> Duration {
    view.followed_since.map_or(lease, |since| lease.saturating_sub(since.elapsed()))
}

/// The map of the live shields in `view` that count, by node id; generation 0.
fn shields(view: &View) -> ShieldMap {
    let node = |m: &Arc<RegisterRequest>| ShieldNode {
        node_id: m.node_id.clone(),
        address: m.address.clone(),
        zone: m.zone.clone(),
        weight: m.weight,
        state: m.state,
    };
    let counts = |m: &&Arc<RegisterRequest>| m.role() == NodeRole::Shield && !is_excluded(view, &m.node_id);
    let shields = view.members.values().filter(counts).map(node).collect();
    ShieldMap { generation: 0, shields, store_id: String::new() }
}

/// Adds the shields of `stored` that `wanted` lacks; whether there were any.
fn retain(wanted: &mut ShieldMap, stored: &ShieldMap) -> bool {
    let live = wanted.shields.len();
    for shield in &stored.shields {
        if !wanted.shields[..live].iter().any(|s| s.node_id == shield.node_id) {
            wanted.shields.push(shield.clone());
        }
    }
    wanted.shields.sort_by(|a, b| a.node_id.cmp(&b.node_id));
    wanted.shields.len() > live
}

/// Keeps the stored map equal to the live shields, until `shutdown`.
pub(crate) async fn keep_shield_map(
    store: Store,
    mut views: watch::Receiver<Arc<View>>,
    lease: Duration,
    shutdown: CancellationToken,
) {
    loop {
        let view = views.borrow_and_update().clone();
        let mut wanted = shields(&view);
        let settling = settling(&view, lease);
        let mut wait = None;
        if !settling.is_zero() && retain(&mut wanted, &view.shield_map) {
            wait = Some(settling);
        }
        if view.is_loaded() && (wanted.shields != view.shield_map.shields || view.shield_map_modified == 0) {
            let write = Transaction::default()
                .when(SHIELD_MAP, view.shield_map_modified)
                .put(SHIELD_MAP, wanted.encode_to_vec());
            match store.commit(write).await {
                Ok(generation) => {
                    tracing::info!(generation, shields = wanted.shields.len(), "shield map changed");
                }
                // Another replica was first; what it wrote comes by the watch.
                Err(StoreError::Conflict { .. }) => (),
                Err(error) => {
                    tracing::warn!(%error, "the shield map can't be written");
                    wait = Some(RETRY);
                }
            }
        }
        let again = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = again => (),
            () = shutdown.cancelled() => return,
        }
    }
}

/// Writes or renews a node's record, and lets it count from its first one on. Returns its entry in the roster where that was written.
pub(crate) async fn register(
    store: &Store,
    view: &View,
    request: &RegisterRequest,
    lease: Duration,
) -> Result<Option<RosterEntry>, StoreError> {
    let news = roster::news(view, request);
    if news == News::Refusals
        && let Some(entry) = roster::keep_refusals(&**store, request, lease).await?
    {
        return Ok(Some(entry));
    }
    if news != News::Nothing {
        let store_id = if view.is_loaded() { view.store_id.clone() } else { store.head().await?.store_id };
        return roster::join(&**store, &store_id, request, Some(lease)).await.map(Some);
    }
    let key = format!("{MEMBERS}{}", request.node_id);
    store.put_leased(&key, request.encode_to_vec().into(), lease).await?;
    Ok(None)
}

/// Deletes a node's record; it counts no more.
pub(crate) async fn deregister(store: &Store, node_id: &str) -> Result<(), StoreError> {
    roster::leave(&**store, node_id).await
}
