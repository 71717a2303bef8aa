//! Channels to control, and the operator's calls the command line makes.
//!
//! A channel connects when first used and again after a failure; a dead peer is noticed by HTTP/2 pings.

mod access;
mod lending;
mod logs;
mod secrets;

pub use logs::Tail;

use std::time::Duration;

use proto::status::RemoteError;
use proto::token::Bearer;
use proto::v1::access_logs_client::AccessLogsClient;
use proto::v1::control_client::ControlClient;
use proto::v1::{
    ApplyRequest, ApplyResponse, BackupEntry, BackupPage, DeploymentStatus, Distribution, DrainRequest,
    ExportRequest, GetCertificateAuthorityRequest, ImportResponse, ListDistributionsRequest,
    ListNodesRequest, ListNodesResponse, PurgeDistributionRequest, PurgeDistributionResponse, Revision,
};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::credentials::Credentials;
use super::dial::{self, Dialer};

/// Bytes one message from control may have; a snapshot page stays far below.
pub const MESSAGE_BYTES: usize = 16 << 20;

const CONNECT: Duration = Duration::from_secs(3);
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Distributions asked for at a time.
const LIST_PAGE: u32 = 1000;
const CALL: Duration = Duration::from_secs(30);
/// For calls that read or write the whole config.
const LONG_CALL: Duration = Duration::from_secs(300);

/// A channel whose calls carry a token, unless a certificate speaks for them.
type Proven = InterceptedService<Channel, Bearer>;

/// A client of control.
pub type Client = ControlClient<Proven>;

/// A client of control's access logs.
pub type LogClient = AccessLogsClient<Proven>;

/// Why a channel can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither `http://HOST:PORT` nor `https://HOST:PORT`, or not with these TLS files.
    #[error("'{endpoint}' can't be an endpoint: {reason}")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// What does not fit.
        reason: String,
    },
}

/// A client of the control at `endpoint` (`http://HOST:PORT`, or `https://` with TLS files), through `dialer` if there is one. Connects
/// lazily; must be called inside a runtime.
pub fn connect(
    endpoint: &str,
    credentials: &Credentials,
    dialer: Option<&Dialer>,
) -> Result<Client, ConnectError> {
    Ok(ControlClient::new(proven(endpoint, credentials, dialer)?).max_decoding_message_size(MESSAGE_BYTES))
}

/// As [`connect`], a client of the access logs at the same endpoint, on a connection of its own.
pub fn access_logs(
    endpoint: &str,
    credentials: &Credentials,
    dialer: Option<&Dialer>,
) -> Result<LogClient, ConnectError> {
    Ok(AccessLogsClient::new(proven(endpoint, credentials, dialer)?).max_decoding_message_size(MESSAGE_BYTES))
}

fn proven(
    endpoint: &str,
    credentials: &Credentials,
    dialer: Option<&Dialer>,
) -> Result<Proven, ConnectError> {
    let bad = |reason: String| ConnectError::Endpoint { endpoint: endpoint.to_owned(), reason };
    let parsed = Endpoint::from_shared(endpoint.to_owned()).map_err(|e| bad(e.to_string()))?;
    if parsed.uri().port().is_none() {
        return Err(bad("a port must be named".into()));
    }
    let scheme = parsed.uri().scheme_str().unwrap_or_default().to_owned();
    let parsed = match (scheme.as_str(), &credentials.tls) {
        ("http", None) => parsed,
        // TLS is what the channel dials; for tonic it is a plain one.
        ("https", Some(_)) => {
            let plain = endpoint.replacen("https", "http", 1);
            Endpoint::from_shared(plain).map_err(|e| bad(e.to_string()))?
        }
        ("https", None) => return Err(bad("https needs the cluster's CA: give tls.ca".into())),
        ("http", Some(_)) => return Err(bad("TLS files are given, so the scheme must be https".into())),
        _ => return Err(bad("the scheme must be http or https".into())),
    };
    let parsed = parsed
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let channel = dial::channel(&parsed, dialer, credentials.tls.as_ref());
    Ok(InterceptedService::new(channel, credentials.bearer()))
}

/// All distributions, as of the last page.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// By id.
    pub distributions: Vec<Distribution>,
    /// Of each, in the same order; `None` if control could not tell.
    pub deployments: Vec<Option<DeploymentStatus>>,
    /// The config's revision.
    pub newest: Revision,
    /// The highest revision that every node that counts has applied.
    pub deployed_floor: u64,
}

/// The operator's calls.
#[derive(Clone)]
pub struct Admin {
    client: Client,
    logs: LogClient,
}

impl Admin {
    /// Calls go to the control at `endpoint`.
    pub fn new(endpoint: &str, credentials: &Credentials) -> Result<Self, ConnectError> {
        let logs = access_logs(endpoint, credentials, None)?;
        Ok(Self { client: connect(endpoint, credentials, None)?, logs })
    }

    /// All live nodes.
    pub async fn nodes(&mut self) -> Result<ListNodesResponse, RemoteError> {
        let mut request = tonic::Request::new(ListNodesRequest {});
        request.set_timeout(CALL);
        Ok(self.client.list_nodes(request).await?.into_inner())
    }

    /// All distributions, page by page, and how they are deployed.
    pub async fn distributions(&mut self) -> Result<Listed, RemoteError> {
        let mut all = Listed::default();
        loop {
            let after = all.distributions.last().map(|d| d.id.clone()).unwrap_or_default();
            let mut request = tonic::Request::new(ListDistributionsRequest { after, limit: LIST_PAGE });
            request.set_timeout(CALL);
            let page = self.client.list_distributions(request).await?.into_inner();
            let more = page.truncated && !page.distributions.is_empty();
            let mut deployments = page.deployments.into_iter();
            all.deployments.extend(page.distributions.iter().map(|_| deployments.next()));
            all.distributions.extend(page.distributions);
            all.newest = page.newest.unwrap_or_default();
            all.deployed_floor = page.deployed_floor;
            if !more {
                return Ok(all);
            }
        }
    }

    /// Orders a node to drain, or back into service.
    pub async fn drain(&mut self, node_id: &str, undo: bool) -> Result<(), RemoteError> {
        let mut request = tonic::Request::new(DrainRequest { node_id: node_id.into(), undo });
        request.set_timeout(CALL);
        self.client.drain(request).await?;
        Ok(())
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

    /// Makes the cluster forget what it cached of a distribution's keys that begin with `key` (empty: all), or of this key alone.
    pub async fn purge(
        &mut self,
        distribution_id: &str,
        key: &str,
        exact: bool,
    ) -> Result<PurgeDistributionResponse, RemoteError> {
        let mut request = tonic::Request::new(PurgeDistributionRequest {
            distribution_id: distribution_id.into(),
            key_prefix: key.into(),
            exact,
        });
        request.set_timeout(CALL);
        Ok(self.client.purge(request).await?.into_inner())
    }
}
