//! One connection: its first byte, its handshake, its requests, its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::census::Place;
use super::patient::Patient;
use super::{Peer, Shared, hall};

/// First byte of a TLS connection: a record that carries a handshake.
const TLS: u8 = 0x16;
/// Most headers of a request.
const HEADERS: usize = 128;
/// A head may be this much longer than allowed before it is not even answered with a document.
const HEAD_ROOM: usize = 4;

/// A connection's bytes, of whatever kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// What a connection needs of the house.
#[derive(Clone)]
struct Guest {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// Held as long as the connection lives, also in a tunnel.
    _place: Arc<Place>,
}

/// Starts to serve a connection, if there is a place for it.
pub(super) fn begin(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr, stop: &CancellationToken) {
    let config = shared.config();
    let place = shared.census.enter(address.ip(), config.connections_max, config.connections_per_address_max);
    match place {
        Ok(place) => {
            let guest = Guest { shared: shared.clone(), stop: stop.clone(), _place: Arc::new(place) };
            shared.connections.spawn(greet(guest, stream, address));
        }
        Err(limit) => {
            shared.metrics.refused.with_label_values(&[limit]).inc();
            debug!(%address, limit, "a connection is refused");
        }
    }
}

async fn greet(guest: Guest, stream: TcpStream, address: SocketAddr) {
    let config = guest.shared.config();
    let _ = stream.set_nodelay(true);
    let mut first = [0];
    let first = tokio::select! {
        peeked = timeout(config.head_timeout, stream.peek(&mut first)) => match peeked {
            Ok(Ok(1..)) => first[0],
            Ok(_) => return,
            Err(_) => return guest.refuse("silent"),
        },
        () = guest.stop.cancelled() => return,
    };
    match first {
        TLS => shake_hands(guest, Box::new(stream), address, false).await,
        b'A'..=b'Z' => {
            let peer = Peer { address, tls: false, tunnelled: false };
            speak(guest, Box::new(stream), peer).await;
        }
        _ => guest.refuse("protocol"),
    }
}

impl Guest {
    fn refuse(&self, reason: &'static str) {
        self.shared.metrics.refused.with_label_values(&[reason]).inc();
    }
}

/// TLS, then what is inside.
async fn shake_hands(guest: Guest, stream: Box<dyn Stream>, address: SocketAddr, tunnelled: bool) {
    let Some(tls) = guest.shared.tls() else { return guest.refuse("no_certificate") };
    let patience = guest.shared.config().handshake_timeout;
    let shaken = tokio::select! {
        shaken = timeout(patience, TlsAcceptor::from(tls).accept(stream)) => shaken,
        () = guest.stop.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => speak(guest, Box::new(stream), Peer { address, tls: true, tunnelled }).await,
        Ok(Err(error)) => {
            guest.shared.metrics.handshake_failures.inc();
            debug!(%address, %error, "a TLS handshake failed");
        }
        Err(_) => {
            guest.shared.metrics.handshake_failures.inc();
            debug!(%address, "a TLS handshake took too long");
        }
    }
}

/// HTTP, request after request, until one side has enough.
async fn speak(guest: Guest, stream: Box<dyn Stream>, peer: Peer) {
    let config = guest.shared.config();
    let io = TokioIo::new(Patient::new(stream, config.write_timeout));
    let service = service_fn({
        let guest = guest.clone();
        move |request| answer(guest.clone(), request, peer)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_headers(HEADERS)
        // The least that hyper takes is 8 KiB.
        .max_buf_size((config.head_max_bytes * HEAD_ROOM).max(8 << 10))
        // Ours, by the injected clock.
        .auto_date_header(false)
        // A client may close its sending side once it has asked.
        .half_close(true);
    let mut connection = pin!(http.serve_connection(io, service).with_upgrades());
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = guest.stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        if error.is_timeout() {
            guest.refuse("slow_head");
        }
        debug!(address = %peer.address, %error, "a connection ended");
    }
}

async fn answer(
    guest: Guest,
    mut request: Request<Incoming>,
    peer: Peer,
) -> Result<Response<Body>, Infallible> {
    if request.method() != Method::CONNECT {
        return Ok(hall::answer(&guest.shared, request, peer).await);
    }
    let config = guest.shared.config();
    Ok(match hall::connect(&guest.shared, &config, &request, peer) {
        Ok(agreed) => {
            let upgrade = hyper::upgrade::on(&mut request);
            guest.shared.connections.spawn(tunnel(guest.clone(), upgrade, peer.address));
            agreed
        }
        Err(refused) => refused,
    })
}

/// What follows a CONNECT that was agreed to: TLS, with the door itself at this end. Boxed, for it leads to [`speak`] again.
fn tunnel(guest: Guest, upgrade: OnUpgrade, address: SocketAddr) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        match upgrade.await {
            Ok(upgraded) => shake_hands(guest, Box::new(TokioIo::new(upgraded)), address, true).await,
            Err(error) => debug!(%address, %error, "a tunnel was not entered"),
        }
    })
}
