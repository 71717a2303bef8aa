//! Channels to control, and the operator's calls the command line makes.
//!
//! A channel connects when first used and again after a failure; a dead peer is noticed by HTTP/2 pings.

mod access;

use std::time::Duration;

use proto::status::RemoteError;
use proto::token::{BadToken, Bearer};
use proto::v1::control_client::ControlClient;
use proto::v1::{
    Distribution, ListDistributionsRequest, ListNodesRequest, ListNodesResponse, PurgeDistributionRequest,
    PurgeDistributionResponse, Revision,
};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::dial::{self, Dialer};

/// Bytes one message from control may have; a snapshot page stays far below.
pub const MESSAGE_BYTES: usize = 16 << 20;

const CONNECT: Duration = Duration::from_secs(3);
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
const CALL: Duration = Duration::from_secs(30);

/// A client whose calls carry the node token.
pub type Client = ControlClient<InterceptedService<Channel, Bearer>>;

/// Why a channel can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not `http://HOST:PORT`.
    #[error("'{endpoint}' is not http://HOST:PORT: {reason}")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What does not fit.
        reason: String,
    },
    /// The token can't be used.
    #[error(transparent)]
    Token(#[from] BadToken),
}

/// A client of the control at `endpoint` (`http://HOST:PORT`). Connects lazily; must be called inside a runtime.
pub fn connect(endpoint: &str, token: &str) -> Result<Client, ConnectError> {
    connect_by(endpoint, token, None)
}

/// As [`connect`], through `dialer` if there is one.
pub fn connect_by(endpoint: &str, token: &str, dialer: Option<&Dialer>) -> Result<Client, ConnectError> {
    let bearer = Bearer::new(token)?;
    let bad = |reason: String| ConnectError::Endpoint { endpoint: endpoint.to_owned(), reason };
    let parsed = Endpoint::from_shared(endpoint.to_owned()).map_err(|e| bad(e.to_string()))?;
    if parsed.uri().scheme_str() != Some("http") || parsed.uri().port().is_none() {
        return Err(bad("the scheme must be http and a port must be named".into()));
    }
    let parsed = parsed
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let channel = dial::channel(&parsed, dialer);
    Ok(ControlClient::with_interceptor(channel, bearer).max_decoding_message_size(MESSAGE_BYTES))
}

/// The operator's calls.
#[derive(Clone)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// Calls go to the control at `endpoint`.
    pub fn new(endpoint: &str, token: &str) -> Result<Self, ConnectError> {
        Ok(Self { client: connect(endpoint, token)? })
    }

    /// All live nodes.
    pub async fn nodes(&mut self) -> Result<ListNodesResponse, RemoteError> {
        let mut request = tonic::Request::new(ListNodesRequest {});
        request.set_timeout(CALL);
        Ok(self.client.list_nodes(request).await?.into_inner())
    }

    /// All distributions, page by page, and the revision of the last page.
    pub async fn distributions(&mut self) -> Result<(Vec<Distribution>, Revision), RemoteError> {
        let mut all: Vec<Distribution> = Vec::new();
        loop {
            let after = all.last().map(|d| d.id.clone()).unwrap_or_default();
            let mut request = tonic::Request::new(ListDistributionsRequest { after, limit: 100 });
            request.set_timeout(CALL);
            let page = self.client.list_distributions(request).await?.into_inner();
            let more = page.truncated && !page.distributions.is_empty();
            all.extend(page.distributions);
            if !more {
                return Ok((all, page.newest.unwrap_or_default()));
            }
        }
    }

    /// Makes the cluster forget what it cached of a distribution's keys below `key_prefix` (empty: all).
    pub async fn purge(
        &mut self,
        distribution_id: &str,
        key_prefix: &str,
    ) -> Result<PurgeDistributionResponse, RemoteError> {
        let mut request = tonic::Request::new(PurgeDistributionRequest {
            distribution_id: distribution_id.into(),
            key_prefix: key_prefix.into(),
        });
        request.set_timeout(CALL);
        Ok(self.client.purge(request).await?.into_inner())
    }
}
