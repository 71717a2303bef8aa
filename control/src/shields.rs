//! How control speaks to shields: orders to forget.
//!
//! Every shield is asked, as one keeps what it fetched while another was the home. A shield that does not answer hears of the order later,
//! through its subscription; the caller names it.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use proto::status::{Reason, RemoteError};
use proto::token::{Bearer, MasterToken};
use proto::v1::shield_client::ShieldClient;
use proto::v1::{NodeRole, PurgeRequest};
use tonic::transport::Endpoint;

use crate::client::credentials::Tls;
use crate::client::dial;
use crate::metrics::Metrics;
use crate::mirror::view::View;

/// Time one shield has to connect and answer.
const ANSWER: Duration = Duration::from_secs(5);
/// What each order after the first adds to it.
const EACH_MORE: Duration = Duration::from_millis(2);
/// Orders on their way to one shield.
const ORDERS_AT_ONCE: usize = 16;
/// Shields asked at once.
const AT_ONCE: usize = 16;

/// The way to the shields. Clones are the same.
#[derive(Clone)]
pub struct Shields {
    peer: Bearer,
    tls: Option<Tls>,
}

/// What shields said to an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Entries dropped by those that answered.
    pub entries: u64,
    /// Node ids of those that did not.
    pub unreached: Vec<String>,
}

impl Shields {
    /// Shields of the cluster of `master`, by TLS if that is how it speaks.
    pub fn new(master: &MasterToken, tls: Option<Tls>) -> Self {
        Self { peer: master.peer(), tls }
    }

    /// Of a cluster nobody belongs to.
    #[cfg(test)]
    pub(crate) fn of_nobody() -> Self {
        Self { peer: Bearer::none(), tls: None }
    }

    /// Asks every live shield of `view` to forget what `orders` name. To be done before edges hear of it: one that refetches must not find the
    /// old bytes there.
    pub(crate) async fn purge(&self, view: &View, orders: &[PurgeRequest], metrics: &Metrics) -> Purged {
        if orders.is_empty() {
            return Purged::default();
        }
        let answers: Vec<(String, Result<u64, RemoteError>)> =
            futures::stream::iter(view.members.values().cloned())
                .filter(|m| std::future::ready(m.role() == NodeRole::Shield))
                .map(async |m| (m.node_id.clone(), self.ask(&m.address, orders).await))
                .buffered(AT_ONCE)
                .collect()
                .await;
        let mut purged = Purged::default();
        for (node, answer) in answers {
            match answer {
                Ok(entries) => purged.entries += entries,
                Err(error) => {
                    tracing::warn!(shield = %node, %error, "a shield did not take the purge; it will hear of it later");
                    metrics.unreached_shields.inc();
                    purged.unreached.push(node);
                }
            }
        }
        purged
    }

    /// Asks one shield; the entries it dropped.
    async fn ask(&self, address: &str, orders: &[PurgeRequest]) -> Result<u64, RemoteError> {
        let failed =
            |e: &dyn std::fmt::Display| RemoteError::new(Reason::Unavailable, format!("{address}: {e}"));
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| failed(&e))?
            .connect_timeout(ANSWER / 2);
        let call = async {
            let channel = match &self.tls {
                Some(tls) => endpoint.connect_with_connector(dial::inside(tls.clone(), None)).await,
                None => endpoint.connect().await,
            };
            let channel = channel.map_err(|e| failed(&e))?;
            let client = ShieldClient::with_interceptor(channel, self.peer.clone());
            futures::stream::iter(orders.to_vec())
                .map(|order| {
                    let mut client = client.clone();
                    async move { Ok::<_, RemoteError>(client.purge(order).await?.into_inner().entries) }
                })
                .buffer_unordered(ORDERS_AT_ONCE)
                .try_fold(0, async |sum, entries| Ok(sum + entries))
                .await
        };
        let patience = ANSWER + EACH_MORE * orders.len() as u32;
        tokio::time::timeout(patience, call).await.unwrap_or_else(|_| Err(failed(&"no answer in time")))
    }
}
