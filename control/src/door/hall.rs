//! Where a request goes: the API, the console, the health check; and which CONNECT is agreed to.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, request};
use tower::ServiceExt;

use super::{DoorConfig, Peer, Shared};
use crate::api::ApiError;

/// Answers what is no CONNECT.
pub(super) async fn answer<B>(shared: &Shared, request: Request<B>, peer: Peer) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Display,
{
    let config = shared.config();
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let path = path.as_str();
    let is_local = peer.address.ip().to_canonical().is_loopback();
    if path == "/healthz" {
        return text(StatusCode::OK, "ok\n");
    }
    if path == "/readyz" {
        return match shared.context.views.borrow().is_loaded() {
            true => text(StatusCode::OK, "ready\n"),
            false => text(StatusCode::SERVICE_UNAVAILABLE, "not ready: the store has not been read yet\n"),
        };
    }
    if !peer.tls && !is_local && !config.allow_plain_http {
        let error = ApiError::forbidden(
            "AccessDenied",
            "plain HTTP is taken from this machine only: use https, or set api.allow_plain_http where the network is trusted",
        );
        return shared.desk.refuse(path, "none", &error);
    }
    if head_bytes(&head) > config.head_max_bytes {
        let error = ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "RequestHeaderSectionTooLarge",
            format!("the first line and headers of a request may have {} bytes", config.head_max_bytes),
        );
        return shared.desk.refuse(path, "none", &error);
    }
    let is_console = path == "/console" || (path.starts_with("/console/") && path != "/console/");
    match (&shared.console, path) {
        (Some(console), _) if is_console => {
            let mut request = Request::from_parts(head, Body::new(body));
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(shared.desk.config());
            let work = console.clone().oneshot(request);
            match tokio::time::timeout(config.request_timeout + config.body_timeout, work).await {
                Ok(Ok(mut response)) => {
                    shared.desk.stamp(path).on(&mut response);
                    response
                }
                Ok(Err(never)) => match never {},
                Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "The page took too long. Try again.\n"),
            }
        }
        (None, _) if is_console => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "There is no console: control has no key for secrets (secrets.key_file).\n",
        ),
        // Whoever opens the bare address is a person with a browser.
        (Some(_), "/" | "/console/") if head.method == Method::GET => {
            let mut response = text(StatusCode::SEE_OTHER, "");
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("/console"));
            response
        }
        _ => shared.desk.answer(&config, peer, Request::from_parts(head, body)).await,
    }
}

/// The answer to a CONNECT after which the tunnel begins, or the refusal.
///
/// # Errors
/// 403 with a document for other targets, 400 within a tunnel.
#[allow(clippy::result_large_err, reason = "made once a tunnel, and both sides are a response")]
pub(super) fn connect<B>(
    shared: &Shared,
    config: &DoorConfig,
    request: &Request<B>,
    peer: Peer,
) -> Result<Response<Body>, Response<Body>> {
    let target = request.uri().authority().map(|target| target.as_str()).unwrap_or_default();
    let refusal = if peer.tunnelled {
        Some(ApiError::bad_request("InvalidArgument", "a tunnel within a tunnel leads nowhere"))
    } else if !config.is_proxied(target) {
        let shown: String = target.chars().take(200).collect();
        Some(ApiError::forbidden(
            "AccessDenied",
            format!(
                "CONNECT to {shown:?} is refused: this is no proxy, it answers for cloudfront.amazonaws.com:443 and api.proxy_hosts only"
            ),
        ))
    } else {
        None
    };
    let outcome = if refusal.is_some() { "refused" } else { "agreed" };
    shared.metrics.tunnels.with_label_values(&[outcome]).inc();
    match refusal {
        Some(error) => {
            let mut refused = shared.desk.refuse("", "none", &error);
            // Who asked for a tunnel has nothing else to ask.
            refused.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            Err(refused)
        }
        None => {
            let mut agreed = Response::new(Body::empty());
            // RFC 9110: no length in the answer to a CONNECT; clients of 2010 would wait for a body.
            agreed.headers_mut().remove(CONTENT_LENGTH);
            Ok(agreed)
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// What a head takes on the wire, roughly.
fn head_bytes(head: &request::Parts) -> usize {
    let line = head.uri.path_and_query().map_or(0, |target| target.as_str().len()) + 16;
    head.headers.iter().fold(line, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4)
}
