//! Channels to control, and the operator's calls the command line makes.
//!
//! A channel connects when first used and again after a failure; a dead peer is noticed by HTTP/2 pings.

mod access;

use std::time::Duration;

use proto::status::RemoteError;
use proto::token::{BadToken, Bearer};
use proto::v1::control_client::ControlClient;
use proto::v1::{
    ApplyRequest, ApplyResponse, BackupEntry, BackupPage, Distribution, ExportRequest,
    GetCertificateAuthorityRequest, ImportResponse, ListDistributionsRequest, ListNodesRequest,
    ListNodesResponse, PurgeDistributionRequest, PurgeDistributionResponse, Revision,
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
/// For calls that read or write the whole config.
const LONG_CALL: Duration = Duration::from_secs(300);

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

    /// Makes the declared distributions those of the file `yaml`.
    pub async fn apply(&mut self, yaml: &str) -> Result<ApplyResponse, RemoteError> {
        let mut request = tonic::Request::new(ApplyRequest { yaml: yaml.into() });
        request.set_timeout(LONG_CALL);
        Ok(self.client.apply(request).await?.into_inner())
    }

    /// The config at one revision: where the store stood, and its documents by key.
    pub async fn export(&mut self) -> Result<(Revision, Vec<BackupEntry>), RemoteError> {
        let mut request = tonic::Request::new(ExportRequest {});
        request.set_timeout(LONG_CALL);
        let mut pages = self.client.export(request).await?.into_inner();
        let (mut revision, mut entries) = (Revision::default(), Vec::new());
        while let Some(page) = pages.message().await? {
            revision = page.revision.unwrap_or(revision);
            entries.extend(page.entries);
        }
        Ok((revision, entries))
    }

    /// Puts a backup's documents into the store.
    pub async fn import(
        &mut self,
        entries: Vec<BackupEntry>,
        replace: bool,
    ) -> Result<ImportResponse, RemoteError> {
        // A document is a few kilobytes: these pages stay far below the bound of a message.
        let mut pages: Vec<BackupPage> = entries
            .chunks(100)
            .map(|entries| BackupPage { entries: entries.to_vec(), ..Default::default() })
            .collect();
        pages.insert(0, BackupPage { replace, ..Default::default() });
        let mut request = tonic::Request::new(futures::stream::iter(pages));
        request.set_timeout(LONG_CALL);
        Ok(self.client.import(request).await?.into_inner())
    }

    /// The certificate, PEM, of the authority that clients of the control API are to trust.
    pub async fn certificate_authority(&mut self) -> Result<String, RemoteError> {
        let mut request = tonic::Request::new(GetCertificateAuthorityRequest {});
        request.set_timeout(CALL);
        Ok(self.client.get_certificate_authority(request).await?.into_inner().certificate_pem)
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
