//! Connections to one shield.
//!
//! A tonic channel is one TCP connection driven by one task, which is about one core's worth of bytes: so several for
//! demand, others for read-ahead (a burst of which must not stand in front of a waiting viewer's bytes), and one for Stat and
//! probes. The settings are those that halve the reader's cost for blocks of 1 MiB: frames of 1 MiB (the reader's value counts)
//! and windows of several blocks. Connections are made when first used, and again after they break.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use control::client::credentials::Tls;
use control::client::dial::{self, Dialer};
use proto::token::Bearer;
use proto::v1::Priority;
use proto::v1::shield_client::ShieldClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Error};

use super::breaker::Breaker;
use super::config::ClientConfig;
use super::ramp::Ramp;
use super::stub::ReadStub;

const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const FRAME_BYTES: u32 = 1 << 20;
/// How often a connection is pinged, idle or not, and how long the ping may take.
const PING: Duration = Duration::from_secs(5);

/// A shield's stub that carries its caller's token.
pub(super) type Stub = ShieldClient<InterceptedService<Channel, Bearer>>;

/// One shield: its connections, and how it has been doing.
pub(super) struct Node {
    pub(super) id: String,
    pub(super) address: String,
    stat: Channel,
    demand: Vec<Channel>,
    read_ahead: Vec<Channel>,
    turn: AtomicUsize,
    /// Whether it is asked.
    pub(super) breaker: Breaker,
    /// How much at a time, if it returned lately.
    pub(super) ramp: Arc<Ramp>,
}

impl Node {
    /// The shield at `address` (HOST:PORT). Must be called within a tokio runtime.
    pub(super) fn new(
        id: &str,
        address: &str,
        config: &ClientConfig,
        tls: Option<&Tls>,
        dialer: Option<&Dialer>,
    ) -> Result<Self, Error> {
        // Whether it is TLS inside is the channel's matter.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(Duration::from_millis(config.connect_ms))
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .http2_adaptive_window(false)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .keep_alive_while_idle(true);
        let channels = |count: usize| (0..count).map(|_| dial::channel(&endpoint, dialer, tls)).collect();
        Ok(Self {
            id: id.to_owned(),
            address: address.to_owned(),
            stat: dial::channel(&endpoint, dialer, tls),
            demand: channels(config.demand_connections),
            read_ahead: channels(config.read_ahead_connections),
            turn: AtomicUsize::new(0),
            breaker: Breaker::default(),
            ramp: Arc::default(),
        })
    }

    /// A stub on the connection for Stat and probes.
    pub(super) fn stat_stub(&self, bearer: &Bearer) -> Stub {
        ShieldClient::with_interceptor(self.stat.clone(), bearer.clone())
    }

    /// A stub on the next connection for `priority`.
    pub(super) fn read_stub(&self, priority: Priority, bearer: &Bearer) -> ReadStub {
        let channels = match priority {
            Priority::Demand => &self.demand,
            Priority::ReadAhead => &self.read_ahead,
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let channel = channels.get(turn % channels.len().max(1)).unwrap_or(&self.stat);
        ReadStub::new(channel.clone(), bearer)
    }
}
