//! Announces a node and keeps its lease: a Register every two seconds, and at once when its state or what it applied
//! changes. An endpoint that fails is left for the next one.
//!
//! Failing for longer than the lease takes a shield out of the map; it keeps answering whoever still asks it.

use std::sync::Arc;
use std::time::Duration;

use proto::status::RemoteError;
use proto::v1::{DeregisterRequest, RegisterRequest, RegisterResponse};

use super::catalogue::refusals::refusals;
use super::node::{Orders, Shared};

const EVERY: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(2);

pub(crate) async fn run(shared: Arc<Shared>) {
    let mut state = shared.state.subscribe();
    let mut applied = shared.applied.subscribe();
    let mut catalogue = shared.catalogue.subscribe();
    let mut at = rand::random_range(0..shared.clients.len());
    let mut failing = false;
    loop {
        state.mark_unchanged();
        applied.mark_unchanged();
        catalogue.mark_unchanged();
        let outcome = {
            // Ended even when the node leaves meanwhile: a Register that is still on its way could arrive after the Deregister.
            let _turn = shared.registering.lock().await;
            if shared.leave.is_cancelled() {
                return;
            }
            register(&shared, at).await
        };
        let outcome = outcome.map(|answer| take_orders(&shared, &answer));
        let wait = match outcome {
            Ok(()) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(node = %shared.config.node_id, "the lease is renewed again");
                }
                shared.metrics.heartbeats.inc();
                EVERY
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    let endpoint = &shared.config.control[at];
                    tracing::warn!(node = %shared.config.node_id, %endpoint, %error, "can't renew the lease");
                }
                shared.metrics.heartbeat_failures.inc();
                at = (at + 1) % shared.clients.len();
                EVERY / 4
            }
        };
        let changed = async {
            // Changes are news for control only if it can be reached; else the retry brings them.
            if failing {
                return std::future::pending().await;
            }
            // What was published is no news while the owner has not applied it.
            let owner_tells = shared.applied.borrow().is_some();
            tokio::select! {
                _ = state.changed() => (),
                _ = applied.changed() => (),
                _ = catalogue.changed(), if !owner_tells => (),
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => (),
            () = changed => (),
            () = shared.leave.cancelled() => return,
        }
    }
}

async fn register(shared: &Shared, at: usize) -> Result<RegisterResponse, RemoteError> {
    // What was applied first: refusals may be of a newer revision than it, never of an older one.
    let applied = shared.applied.borrow().clone();
    let catalogue = shared.catalogue.borrow().clone();
    let applied = applied.or_else(|| (!catalogue.is_empty()).then(|| catalogue.revision.clone()));
    let config = &shared.config;
    let state = *shared.state.borrow();
    let mut request = tonic::Request::new(RegisterRequest {
        node_id: config.node_id.clone(),
        role: config.role.into(),
        address: config.address.clone(),
        zone: config.zone.clone(),
        weight: config.weight,
        state: state.into(),
        applied,
        features: proto::distribution::FEATURES.iter().map(|&f| f.into()).collect(),
        version: config.version.clone(),
        process: shared.process.clone(),
        refusals: Some(refusals(&catalogue)),
    });
    request.set_timeout(CALL);
    let mut client = shared.clients[at].clone();
    within(CALL, client.register(request)).await
}

/// What control said beside renewing the lease.
fn take_orders(shared: &Shared, answer: &RegisterResponse) {
    // It has caught up meanwhile: the next Register tells control so, and makes it count again.
    let behind = answer.newest.as_ref() != Some(&shared.catalogue.borrow().revision);
    let orders = Orders { drain: answer.drain, must_sync: answer.excluded && behind };
    let node = &shared.config.node_id;
    shared.orders.send_if_modified(|known| {
        if orders.drain != known.drain {
            tracing::info!(%node, drain = orders.drain, "an operator's order came from control");
        }
        if orders.must_sync && !known.must_sync {
            tracing::warn!(%node, "control has excluded this node: it is not ready before it knows the newest config");
        }
        std::mem::replace(known, orders) != orders
    });
}

/// Stops renewing and gives up the lease.
pub(crate) async fn leave(shared: &Shared) {
    shared.leave.cancel();
    let _ended = tokio::time::timeout(CALL, shared.registering.lock()).await;
    for client in &shared.clients {
        let request = DeregisterRequest { node_id: shared.config.node_id.clone() };
        match within(CALL / shared.clients.len() as u32, client.clone().deregister(request)).await {
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(node = %shared.config.node_id, %error, "could not give up the lease here")
            }
        }
    }
    tracing::warn!(node = %shared.config.node_id, "control is away: the lease will lapse by itself");
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, RemoteError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner).map_err(RemoteError::from),
        Err(_) => Err(RemoteError::new(proto::status::Reason::Deadline, "control did not answer in time")),
    }
}
