//! HTTP on an edge's ports: the cross-domain policy, RTMP through HTTP ([`tunnel`]), and a clear 404 for the rest.
//!
//! The policy is the service's, allows everything and can't be changed by what lies in a bucket, as with CloudFront.
//!
//! A connection that does not say anything understandable in its first seconds is closed, and so is one that lasts longer than one small
//! file can take, unless a tunnel uses it: that lives as long as the tunnel does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::budget::Charge;
use crate::drain::FLUSH;
use crate::listener::POLICY;
use crate::transport::tunnel::Line;

mod answer;
pub(crate) mod rewind;
pub mod tunnel;

use answer::Answer;
use tunnel::Tunnels;
use tunnel::path::Call;

/// One small file is all there is without a tunnel: a connection that lasts longer belongs to a peer that does not read.
const LONGEST: Duration = Duration::from_secs(60);
/// A request's head is at most so long.
const HEAD_BYTES: usize = 16 << 10;

/// What an HTTP connection takes beside its socket: its parser's buffers.
const BUFFER_BYTES: u64 = 24 << 10;

/// What the requests of a connection share.
struct Connection {
    tunnels: Arc<Tunnels>,
    viewer: SocketAddr,
    /// A request was understood.
    begun: AtomicBool,
    /// The session that was last asked for here.
    line: Mutex<Weak<Line>>,
}

impl Connection {
    /// The tunnel that uses the connection, if one does.
    fn line(&self) -> Option<Arc<Line>> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        line.filter(|line| !line.gone().is_cancelled())
    }

    fn used_by(&self, line: &Arc<Line>) {
        let mut slot = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(slot.as_ptr(), Arc::as_ptr(line)) {
            *slot = Arc::downgrade(line);
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.begun.store(true, Ordering::Relaxed);
        if let Some(call) = Call::of(request.uri().path()) {
            return self.tunnels.serve(call, request, self.viewer, |line| self.used_by(line)).await;
        }
        let readable = matches!(*request.method(), Method::GET | Method::HEAD);
        if readable && request.uri().path() == "/crossdomain.xml" {
            return answer::plain(StatusCode::OK, "text/x-cross-domain-policy", POLICY);
        }
        answer::plain(StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(b"not found\n"))
    }
}

/// Serves one HTTP connection of `viewer`; `early` is what was read from it so far.
pub async fn serve<S>(
    stream: S,
    early: BytesMut,
    viewer: SocketAddr,
    tunnels: Arc<Tunnels>,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = Instant::now();
    let _charge = Charge::new(&tunnels.budget().queues, BUFFER_BYTES);
    let metrics = tunnels.metrics().clone();
    let (first, between) = tunnels.patience();
    let line = Mutex::new(Weak::new());
    let shared = Arc::new(Connection { tunnels, viewer, begun: AtomicBool::new(false), line });
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let io = TokioIo::new(rewind::Rewind::new(stream, early.freeze()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(between)
        .title_case_headers(true)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(io, service);
    tokio::pin!(connection);
    let mut deadline = opened + first;
    let outcome = loop {
        tokio::select! {
            outcome = connection.as_mut() => break outcome,
            () = sleep_until(deadline) => {
                let served = shared.begun.load(Ordering::Relaxed) && Instant::now() < opened + LONGEST;
                if !served && shared.line().is_none() {
                    metrics.refused.with_label_values(&["http_timeout"]).inc();
                    return;
                }
                deadline = Instant::now() + LONGEST;
            }
            () = shutdown.cancelled() => {
                let end = Instant::now() + FLUSH;
                if let Some(line) = shared.line() {
                    // Its session says goodbye in answers to requests that are still to come.
                    tokio::select! {
                        outcome = connection.as_mut() => break outcome,
                        _ = timeout_at(end, line.gone().cancelled()) => {}
                    }
                }
                connection.as_mut().graceful_shutdown();
                // An answer under way is finished; a peer that takes its time with a request is not waited for.
                let left = end.saturating_duration_since(Instant::now()).max(FLUSH / 4);
                match timeout(left, connection.as_mut()).await {
                    Ok(outcome) => break outcome,
                    Err(_) => return,
                }
            }
        }
    };
    if let Err(error) = outcome {
        if error.is_parse() || error.is_parse_too_large() {
            metrics.refused.with_label_values(&["http_request"]).inc();
        }
        tracing::debug!(%viewer, %error, "an HTTP connection ended");
    }
}
