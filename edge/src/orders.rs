//! What control wants of an edge beside serving the config: to drain by an operator's order, and not to call itself ready while it is excluded.
//!
//! Orders come with the answers to heartbeats, so they are a last value: an edge that can't reach control goes on with the last one it heard. A
//! restart forgets an order to drain, on both sides.

use std::time::Duration;

use control::client::telemetry::Readiness;
use control::client::{Node, NodeState};

use crate::drain::Drain;

/// Carries out orders until it is dropped.
pub async fn follow(
    node: &Node,
    drain: &Drain,
    readiness: &Readiness,
    settle: Duration,
    drain_time: Duration,
) {
    let sync = async {
        let mut orders = node.orders.clone();
        loop {
            readiness.set("the newest config", !orders.borrow_and_update().must_sync);
            if orders.changed().await.is_err() {
                return;
            }
        }
    };
    let drains = async {
        let mut orders = node.orders.clone();
        while orders.wait_for(|orders| orders.drain).await.is_ok() {
            // As at a stop: balancers first, then newcomers, then viewers.
            readiness.set("in service", false);
            node.set_state(NodeState::Draining);
            let undone = async {
                let _ = orders.wait_for(|orders| !orders.drain).await;
            };
            drain.hold(settle, drain_time, undone).await;
            node.set_state(NodeState::Ready);
            readiness.set("in service", true);
        }
    };
    tokio::join!(sync, drains);
}
