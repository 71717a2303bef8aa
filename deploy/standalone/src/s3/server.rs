//! HTTP/1.1 for the endpoint: connections, their limits, their end.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::refusal::not_implemented;
use super::{S3, S3Error};

/// Largest head of a request: twice what S3 allows keys and metadata together.
const HEAD_BYTES: usize = 32 << 10;
/// What a connection past the limit is told, whatever it was about to ask.
const FULL: &[u8] =
    b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\nretry-after: 1\r\n\r\n";

/// Travels with a request, so that its answer can be counted under the operation it turned out to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperationName(Arc<OnceLock<String>>);

impl OperationName {
    /// Called once the operation is known.
    pub(crate) fn set(&self, name: &str) {
        // A request is one operation; a second name can't come.
        let _ = self.0.set(name.to_owned());
    }

    fn get(&self) -> &str {
        self.0.get().map_or("none", String::as_str)
    }
}

/// Accepts until `shutdown`, then waits for running requests within the drain time.
pub(crate) async fn serve(
    s3: &S3,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), S3Error> {
    let room = Arc::new(Semaphore::new(s3.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "s3: a connection was not accepted");
                // Out of descriptors, most likely: accept would fail again at once, and without end.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            Err(error) => return Err(S3Error::Accept(error)),
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            s3.metrics.refused_connections.inc();
            turn_away(stream);
            continue;
        };
        let (s3, shutdown) = (s3.clone(), shutdown.clone());
        connections.spawn(async move {
            s3.metrics.connections.inc();
            connection(&s3, stream, shutdown).await;
            s3.metrics.connections.dec();
            drop(permit);
        });
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(s3.limits.drain, drained).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "s3: requests were still running at the end of the drain time"
        );
        s3.metrics.connections.sub(connections.len() as i64);
        connections.shutdown().await;
    }
    Ok(())
}

/// Says why, if a fresh socket's buffer takes it, and closes; no task and no wait for a connection past the limit.
fn turn_away(stream: TcpStream) {
    // Not through the runtime, which doesn't know yet that the socket can be written to.
    if let Ok(mut stream) = stream.into_std() {
        let _ = std::io::Write::write(&mut stream, FULL);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
}

/// Whether accepting may work again later.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}

async fn connection(s3: &S3, stream: TcpStream, shutdown: CancellationToken) {
    // Answers are written whole; waiting for acknowledgements would only delay their last segment.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(s3, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(s3.limits.header_read)
        .max_buf_size(HEAD_BYTES.max(64 << 10))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "s3: connection ended");
    }
}

async fn answer(s3: &S3, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let operation = OperationName::default();
    let mut request = request.map(Body::from);
    request.extensions_mut().insert(operation.clone());
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let range = request.headers().get(header::RANGE).cloned();
    let answered = if is_form(&request) {
        // Browser uploads. The protocol layer would read the form before it asks whether they're wanted.
        operation.set("PostObject");
        not_implemented("PostObject").to_http_response().map_err(|error| error.to_string())
    } else {
        forgive_range(&mut request);
        s3.service.call(request).await.map_err(|error| format!("{error:?}"))
    };
    let mut response = answered.unwrap_or_else(|error| {
        tracing::error!(error, "s3: no answer could be made");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    // The protocol layer forgets that HEAD answers as GET would.
    if method == Method::HEAD
        && response.headers().contains_key(header::CONTENT_RANGE)
        && response.status().is_success()
    {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    let status = response.status().as_u16();
    s3.metrics.answer(operation.get(), status);
    // The query of a presigned URL is as good as a password: only the path is logged.
    tracing::debug!(operation = operation.get(), %method, path = uri.path(), ?range, status, "s3: answered");
    Ok(response)
}

fn is_form(request: &Request<Body>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    *request.method() == Method::POST
        && content_type.is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"))
}

/// S3 takes a range it doesn't understand, or several, for none. The protocol layer refuses them, so they're taken off here, unless the
/// header may be part of a signature.
fn forgive_range(request: &mut Request<Body>) {
    let signed = request.headers().contains_key(header::AUTHORIZATION)
        || request.uri().query().is_some_and(|query| query.contains("Signature"));
    let unreadable =
        |value: &http::HeaderValue| value.to_str().is_ok_and(|v| s3s::dto::Range::parse(v).is_err());
    if !signed && request.headers().get(header::RANGE).is_some_and(unreadable) {
        request.headers_mut().remove(header::RANGE);
    }
}
