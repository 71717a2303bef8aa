//! Accepting connections, and telling protocols apart by their first bytes.
//!
//! Every listener takes every protocol, because players try RTMP on port 80 and HTTP on 1935:
//!
//! | first byte | protocol |
//! |---|---|
//! | `0x03` | RTMP |
//! | `0x06`, `0x08`, `0x09` | RTMPE |
//! | `A`–`Z` | HTTP: RTMPT, `/crossdomain.xml`, else 404 |
//! | `<` | a Flash socket policy request |
//! | `0x16` | TLS, with any of the above inside, told apart the same way ([`crate::tls`]) |
//! | `0x0d` | PROXY protocol v2, from listed networks only, and then required |
//!
//! Anything else, silence past the handshake time, and connections past a limit are closed without an answer: nothing is
//! known about the peer yet that an answer could be spelled in ([`crate::admission`] has the rest).
//!
//! A connection is a task of its own; one that panics ends alone and is counted. Accepting never ends and never spins: see
//! [`accept`].

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info};

use crate::budget::{CONNECTION_BYTES, Charge};
use crate::http::tunnel::Tunnels;
use crate::metrics::Metrics;
use crate::session::{self, Shared};
use crate::tls;
use crate::transport::Transport;
use crate::transport::tcp::{self, Tcp};
use crate::transport::tls::{self as tls_transport, Tls};

pub mod accept;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub mod proxy;

use accept::Acceptor;

/// What a Flash player reads before it may open sockets or read pixels: everything from everywhere, as CloudFront says.
pub(crate) const POLICY: &str = "<?xml version=\"1.0\"?>\n<cross-domain-policy><allow-access-from domain=\"*\" to-ports=\"*\"/></cross-domain-policy>\n";
const POLICY_REQUEST: &[u8] = b"<policy-file-request/>\0";

/// Connections open now, in total and an address.
#[derive(Default)]
struct Census {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts a connection for as long as it lives.
struct Place {
    census: Arc<Mutex<Census>>,
    /// The viewer's, once it is known: behind a balancer only its header tells.
    address: Option<IpAddr>,
    shared: Arc<Shared>,
    /// From the accept on, so that a burst of connections is seen before their tasks have run.
    _charge: Charge,
}

impl Place {
    /// A place for a connection, or the name of the limit that refuses it.
    fn take(census: &Arc<Mutex<Census>>, shared: &Arc<Shared>) -> Result<Self, &'static str> {
        let mut counts = census.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= shared.config.max_connections {
            return Err("max_connections");
        }
        if let Err(refusal) = shared.admit_connection() {
            return Err(refusal.reason());
        }
        counts.total += 1;
        shared.metrics.connections.inc();
        let charge = Charge::new(&shared.budget().queues, CONNECTION_BYTES);
        Ok(Self { census: census.clone(), address: None, shared: shared.clone(), _charge: charge })
    }

    /// Counts it for `address` too, or names the limit that refuses it.
    fn claim(&mut self, address: IpAddr) -> Result<(), &'static str> {
        let mut counts = self.census.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = counts.by_address.entry(address).or_default();
        if *of_address >= self.shared.config.max_connections_per_address {
            return Err("max_connections_per_address");
        }
        *of_address += 1;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(address) = self.address
            && let Some(of_address) = counts.by_address.get_mut(&address)
        {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&address);
            }
        }
        self.shared.metrics.connections.dec();
    }
}

/// Serves all `listeners` until `shutdown`, then waits for the sessions to end.
pub async fn serve(shared: Arc<Shared>, listeners: Vec<TcpListener>, shutdown: CancellationToken) {
    let census = Arc::new(Mutex::new(Census::default()));
    let tracker = TaskTracker::new();
    let tunnels = Tunnels::new(shared.clone(), tracker.clone(), shutdown.clone());
    for listener in listeners {
        let (shared, census, sessions, shutdown) =
            (shared.clone(), census.clone(), tracker.clone(), shutdown.clone());
        let tunnels = tunnels.clone();
        tracker.spawn(async move {
            let mut acceptor = Acceptor::new(listener, shared.metrics.clone());
            loop {
                let (stream, peer) = tokio::select! {
                    accepted = acceptor.next() => accepted,
                    () = shutdown.cancelled() => return,
                };
                // Before a task is made: past a limit a connection costs an accept and a close.
                match Place::take(&census, &shared) {
                    Ok(place) => {
                        let tunnels = tunnels.clone();
                        let connection =
                            serve_connection(shared.clone(), tunnels, place, stream, peer, shutdown.clone());
                        sessions.spawn(contained(shared.metrics.clone(), connection));
                    }
                    Err(limit) => {
                        shared.metrics.refused.with_label_values(&[limit]).inc();
                        debug!(%peer, limit, "a connection is refused");
                    }
                }
            }
        });
    }
    shutdown.cancelled().await;
    tracker.close();
    tracker.wait().await;
}

/// Runs one connection; a panic in it is counted and goes no further. What it held is given back as the panic unwinds.
pub(crate) async fn contained(metrics: Arc<Metrics>, connection: impl Future<Output = ()>) {
    if std::panic::AssertUnwindSafe(connection).catch_unwind().await.is_err() {
        metrics.panics.inc();
        error!("a connection ended in a panic; the others go on");
    }
}

async fn serve_connection(
    shared: Arc<Shared>,
    tunnels: Arc<Tunnels>,
    mut place: Place,
    mut stream: TcpStream,
    peer: SocketAddr,
    shutdown: CancellationToken,
) {
    let deadline = Instant::now() + Duration::from_millis(shared.config.handshake_timeout_ms);
    let trusted = shared.config.proxy_protocol_from.iter().any(|net| net.contains(&peer.ip().to_canonical()));
    // The peer is the viewer, unless it is a balancer: then only its header tells who is.
    if !trusted && let Err(limit) = place.claim(peer.ip().to_canonical()) {
        shared.metrics.refused.with_label_values(&[limit]).inc();
        debug!(%peer, limit, "a connection is refused");
        return;
    }
    let mut early = BytesMut::with_capacity(4096);
    let greeting = async {
        let viewer =
            if trusted { proxy::read_header(&mut stream, &mut early).await?.unwrap_or(peer) } else { peer };
        if early.is_empty() && stream.read_buf(&mut early).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok::<_, std::io::Error>(viewer)
    };
    let viewer = tokio::select! {
        greeting = timeout_at(deadline, greeting) => match greeting {
            Ok(Ok(viewer)) => viewer,
            Ok(Err(error)) => {
                let reason = if error.kind() == std::io::ErrorKind::InvalidData { "proxy_header" } else { "io" };
                shared.metrics.refused.with_label_values(&[reason]).inc();
                debug!(%peer, %error, "a connection ended before its first byte was understood");
                return;
            }
            Err(_) => {
                shared.metrics.refused.with_label_values(&["silent"]).inc();
                debug!(%peer, "a silent connection is closed");
                return;
            }
        },
        () = shutdown.cancelled() => return,
    };
    if trusted && let Err(limit) = place.claim(viewer.ip().to_canonical()) {
        shared.metrics.refused.with_label_values(&[limit]).inc();
        debug!(peer = %viewer, limit, "a connection is refused");
        return;
    }
    if early.first() == Some(&tls::accept::FIRST_BYTE) {
        // What the handshake and the connection's state take, from before they take it.
        let _charge = Charge::new(&shared.budget().queues, tls_transport::CONNECTION_BYTES);
        if let Some((stream, early)) =
            Box::pin(greet_tls(&shared, stream, early, viewer, deadline, &shutdown)).await
        {
            Box::pin(serve_protocol(shared, tunnels, stream, early, viewer, shutdown)).await;
        }
    } else {
        serve_protocol(shared, tunnels, stream, early, viewer, shutdown).await;
    }
    drop(place);
}

/// The stream inside TLS and its first bytes; `None` when there is none to be had, which is counted and logged here.
async fn greet_tls(
    shared: &Shared,
    stream: TcpStream,
    early: BytesMut,
    peer: SocketAddr,
    deadline: Instant,
    shutdown: &CancellationToken,
) -> Option<(tls::accept::Stream, BytesMut)> {
    let Some(certificates) = &shared.certificates else {
        shared.metrics.refused.with_label_values(&["tls_not_configured"]).inc();
        info!(%peer, "tls is refused: no certificate is configured (edge.tls)");
        return None;
    };
    let greeted = tokio::select! {
        greeted = timeout_at(deadline, tls::accept::greet(certificates, stream, early)) => greeted,
        () = shutdown.cancelled() => return None,
    };
    let (reason, error) = match greeted {
        Ok(Ok(greeted)) => return Some(greeted),
        Ok(Err(error)) => ("tls", error.to_string()),
        Err(_) => ("tls_timeout", "not finished in time".into()),
    };
    shared.metrics.refused.with_label_values(&[reason]).inc();
    info!(%peer, error, "a tls handshake failed");
    None
}

/// What a protocol can be served on.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// As what a session is served on it.
    type Transport: Transport;

    /// What it counts as when it carries a protocol of this name.
    fn label(protocol: Protocol) -> &'static str;

    /// Sets its socket up.
    fn tune(&self);

    /// It as a transport; `early` was read from it.
    fn transport(self, early: BytesMut, shared: &Shared) -> Self::Transport;
}

#[derive(Clone, Copy)]
enum Protocol {
    Rtmp,
    Rtmpe,
    Http,
    Policy,
}

impl Wire for TcpStream {
    type Transport = Tcp;

    fn label(protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Rtmp => "rtmp",
            Protocol::Rtmpe => "rtmpe",
            Protocol::Http => "http",
            Protocol::Policy => "policy",
        }
    }

    fn tune(&self) {
        tcp::tune(self);
    }

    fn transport(self, early: BytesMut, _: &Shared) -> Tcp {
        Tcp::new(self, early)
    }
}

impl Wire for tls::accept::Stream {
    type Transport = Tls;

    fn label(protocol: Protocol) -> &'static str {
        match protocol {
            Protocol::Rtmp => "rtmps",
            Protocol::Rtmpe => "rtmpes",
            Protocol::Http => "https",
            Protocol::Policy => "policy",
        }
    }

    fn tune(&self) {
        tcp::tune(self.get_ref().0.get_ref());
    }

    fn transport(self, early: BytesMut, shared: &Shared) -> Tls {
        Tls::new(self, early, &shared.budget().queues)
    }
}

/// Serves what the first bytes ask for.
async fn serve_protocol<S: Wire>(
    shared: Arc<Shared>,
    tunnels: Arc<Tunnels>,
    stream: S,
    early: BytesMut,
    viewer: SocketAddr,
    shutdown: CancellationToken,
) {
    let accepted = |protocol| shared.metrics.accepted.with_label_values(&[S::label(protocol)]).inc();
    match early.first().copied() {
        Some(first @ (0x03 | 0x06 | 0x08 | 0x09)) => {
            accepted(if first == 0x03 { Protocol::Rtmp } else { Protocol::Rtmpe });
            let transport = stream.transport(early, &shared);
            // Boxed, like the others: a connection is as large as what it serves, not as the largest of what it might.
            Box::pin(session::serve(shared.clone(), transport, viewer, shutdown)).await;
        }
        Some(b'A'..=b'Z') => {
            accepted(Protocol::Http);
            stream.tune();
            Box::pin(crate::http::serve(stream, early, viewer, tunnels, shutdown)).await;
        }
        Some(b'<') => {
            accepted(Protocol::Policy);
            let deadline = Duration::from_millis(shared.config.handshake_timeout_ms);
            // A peer that never sends the rest must not hold up an edge that closes.
            tokio::select! {
                _ = timeout(deadline, answer_policy_request(stream, early)) => {}
                () = shutdown.cancelled() => {}
            }
        }
        Some(first) => {
            shared.metrics.refused.with_label_values(&["unknown_protocol"]).inc();
            info!(peer = %viewer, first, "an unknown protocol is refused");
        }
        None => {}
    }
}

async fn answer_policy_request<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    mut early: BytesMut,
) -> std::io::Result<()> {
    while early.len() < POLICY_REQUEST.len() && POLICY_REQUEST.starts_with(&early) {
        if stream.read_buf(&mut early).await? == 0 {
            break;
        }
    }
    if early.starts_with(POLICY_REQUEST) || early[..] == POLICY_REQUEST[..POLICY_REQUEST.len() - 1] {
        stream.write_all(POLICY.as_bytes()).await?;
        stream.write_all(&[0]).await?;
    }
    stream.shutdown().await
}

#[cfg(test)]
mod tests;
