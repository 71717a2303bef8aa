//! The gRPC service of access logs: edges hand over segments, operators look on.
//!
//! One file a call; [`gate`] bounds the memory that segments on their way in can take.

use std::sync::Arc;

use proto::clock::SharedClock;
use proto::token::{Guard, MasterToken};
use proto::v1::access_logs_server::{AccessLogs, AccessLogsServer};
use proto::v1::{LogStatsRequest, LogStatsResponse, ShipRequest, ShipResponse, TailRequest};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

use super::rights;
use crate::access_log::config::LogsConfig;
use crate::access_log::stage::Stage;
use crate::access_log::tail::Tails;
use crate::mirror::view::View;
use crate::store::Store;
use gate::Gate;

pub(super) mod gate;
mod look;
mod ship;

/// Bytes of one message: the largest segment that is taken.
const MESSAGE_BYTES: usize = 16 << 20;

/// What the calls work on.
pub(super) struct Logs {
    /// `None`: this replica has no staging bucket.
    pub(super) stage: Option<Stage>,
    /// As `stage`.
    pub(super) tails: Option<Tails>,
    pub(super) store: Store,
    pub(super) clock: SharedClock,
    pub(super) views: watch::Receiver<Arc<View>>,
    pub(super) shutdown: CancellationToken,
}

/// The service as a server takes it: callers are checked by what they derived from `master`, then segments pass the gate.
pub(super) fn server(
    logs: Logs,
    config: Option<&LogsConfig>,
    master: &MasterToken,
) -> InterceptedService<Gate<AccessLogsServer<Logs>>, Guard> {
    let server = AccessLogsServer::new(logs).max_decoding_message_size(MESSAGE_BYTES);
    InterceptedService::new(Gate::new(server, config), master.guard())
}

#[tonic::async_trait]
impl AccessLogs for Logs {
    async fn ship(&self, request: Request<ShipRequest>) -> Result<Response<ShipResponse>, Status> {
        ship::ship(self, request).await.map(Response::new)
    }

    type TailStream = look::Events;

    async fn tail(&self, request: Request<TailRequest>) -> Result<Response<Self::TailStream>, Status> {
        rights::operator(&request, "following access logs")?;
        look::tail(self, request.into_inner()).await.map(Response::new)
    }

    async fn log_stats(
        &self,
        request: Request<LogStatsRequest>,
    ) -> Result<Response<LogStatsResponse>, Status> {
        rights::operator(&request, "reading the figures of access logs")?;
        look::stats(self, &request.into_inner()).await.map(Response::new)
    }
}
