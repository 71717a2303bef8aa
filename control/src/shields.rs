//! Orders to forget, told to shields directly.
//!
//! Every node hears of a purge through its subscription. Shields are told first and by themselves, so that an edge that has forgotten and
//! fetches again does not find the old bytes at its shield. One that can't be reached is named; it hears of the purge later.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use proto::status::{Reason, RemoteError};
use proto::token::Bearer;
use proto::v1::shield_client::ShieldClient;
use proto::v1::{NodeRole, PurgeRequest};
use tonic::transport::Endpoint;

use crate::metrics::Metrics;
use crate::mirror::view::View;

/// Time one shield has to connect and answer; more than one order adds to it.
const SHIELD_PURGE: Duration = Duration::from_secs(5);
/// What each order after the first adds to it.
const EACH_MORE: Duration = Duration::from_millis(2);
/// Shields told at once.
const SHIELDS_AT_ONCE: usize = 16;
/// Orders on their way to one shield.
const ORDERS_AT_ONCE: usize = 16;

/// What telling came to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Entries the shields dropped.
    pub(crate) entries: u64,
    /// Shields that did not answer.
    pub(crate) unreached: Vec<String>,
}

/// Has one shield forget; the entries it dropped.
async fn tell(address: &str, token: &str, orders: &[PurgeRequest]) -> Result<u64, RemoteError> {
    let failed = |e: &dyn std::fmt::Display| RemoteError::new(Reason::Unavailable, format!("{address}: {e}"));
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|e| failed(&e))?
        .connect_timeout(SHIELD_PURGE / 2);
    let bearer = Bearer::new(token).map_err(|e| failed(&e))?;
    let call = async {
        let channel = endpoint.connect().await.map_err(|e| failed(&e))?;
        let client = ShieldClient::with_interceptor(channel, bearer);
        futures::stream::iter(orders.to_vec())
            .map(|order| {
                let mut client = client.clone();
                async move { Ok::<_, RemoteError>(client.purge(order).await?.into_inner().entries) }
            })
            .buffer_unordered(ORDERS_AT_ONCE)
            .try_fold(0, async |sum, entries| Ok(sum + entries))
            .await
    };
    let patience = SHIELD_PURGE + EACH_MORE * orders.len() as u32;
    tokio::time::timeout(patience, call).await.unwrap_or_else(|_| Err(failed(&"no answer in time")))
}

/// Has every live shield of `view` forget what `orders` name.
pub(crate) async fn forget(view: &View, token: &str, metrics: &Metrics, orders: &[PurgeRequest]) -> Told {
    if orders.is_empty() {
        return Told::default();
    }
    let shields = view.members.values().filter(|m| m.role() == NodeRole::Shield).cloned();
    let shields: Vec<_> = shields.collect();
    let answers: Vec<(String, Result<u64, RemoteError>)> = futures::stream::iter(shields)
        .map(|m| async move { (m.node_id.clone(), tell(&m.address, token, orders).await) })
        .buffered(SHIELDS_AT_ONCE)
        .collect()
        .await;
    let mut told = Told::default();
    for (node, answer) in answers {
        match answer {
            Ok(entries) => told.entries += entries,
            Err(error) => {
                tracing::warn!(shield = %node, %error, "a shield did not take the purge; it will hear of it later");
                metrics.unreached_shields.inc();
                told.unreached.push(node);
            }
        }
    }
    told
}
