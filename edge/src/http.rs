//! HTTP on an edge's ports: the cross-domain policy, and a clear 404 for the rest.
//!
//! The policy is the service's, allows everything and can't be changed by what lies in a bucket, as with CloudFront. Tunnelled RTMP and HTTP
//! delivery join here.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::drain::FLUSH;
use crate::listener::POLICY;

pub(crate) mod rewind;

/// One small file is all there is: a connection that lasts longer belongs to a peer that does not read.
const LONGEST: Duration = Duration::from_secs(60);

/// Serves one HTTP connection; `early` is what was read from it so far.
pub async fn serve<S>(stream: S, early: BytesMut, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let io = TokioIo::new(rewind::Rewind::new(stream, early.freeze()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(16 << 10)
        .serve_connection(io, service_fn(answer));
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(LONGEST, &mut connection) => outcome.unwrap_or(Ok(())),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // An answer under way is finished; a peer that takes its time with a request is not waited for.
            match tokio::time::timeout(FLUSH, connection).await {
                Ok(outcome) => outcome,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

async fn answer(request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if readable && request.uri().path() == "/crossdomain.xml" {
        let mut response = Response::new(Full::from(POLICY));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/x-cross-domain-policy"));
        response
    } else {
        let mut response = Response::new(Full::from("not found\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
