//! From a request to an operation and back: bounds, signature, rate, path, document, in this order.
//!
//! Nothing of a request is looked into before its sender is known, but its first line and lengths: a stranger's XML is never parsed. Whatever goes
//! wrong below, a panic too, the client gets an error document with the request's id, and the log has the id with the reason.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use http::header::{AUTHORIZATION, HOST, IF_MATCH};
use http::{Method, Request, Response, request};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::body::Bodies;
use super::rate::{Rate, Rates};
use super::render::{Stamp, unavailable};
use super::request_id::RequestId;
use super::route::{self, Resource, Route};
use super::{
    ApiConfig, ApiError, Call, Context, Reply, Version, identity, invalidation, key_group, public_key,
    streaming, tagging, web, xml,
};
use crate::accounts::Principal;
use crate::door::{CLOUDFRONT, DoorConfig, Peer};

/// Who signed a request, by its head and the SHA-256 of its body.
pub type Verify = Arc<dyn Fn(&request::Parts, &[u8; 32]) -> Result<Principal, ApiError> + Send + Sync>;

/// Where requests of the API are answered.
pub(crate) struct Desk {
    context: Context,
    /// In force now: what is in `context` is what was at the start.
    config: watch::Sender<Arc<ApiConfig>>,
    verify: Verify,
    rates: Rates,
    bodies: Bodies,
    work: TaskTracker,
}

impl Desk {
    /// Answers by `context` those whom `verify` knows.
    pub(crate) fn new(context: Context, verify: Verify) -> Self {
        let bodies = Bodies::new(context.metrics.door.body_bytes.clone());
        let config = watch::Sender::new(context.config.clone());
        Self { context, config, verify, rates: Rates::default(), bodies, work: TaskTracker::new() }
    }

    /// What an answer to a request for `path` that comes now says about itself.
    pub(crate) fn stamp(&self, path: &str) -> Stamp {
        let version = path.trim_start_matches('/').split('/').next().and_then(Version::parse);
        Stamp {
            id: RequestId::random(),
            now_seconds: self.context.clock.now_seconds(),
            version: version.unwrap_or(Version::NEWEST),
        }
    }

    /// Refuses a request for `path` that got no further than the door.
    pub(crate) fn refuse(&self, path: &str, label: &str, error: &ApiError) -> Response<Body> {
        let stamp = self.stamp(path);
        let response = stamp.refusal(error);
        self.context.metrics.door.requests.with_label_values(&[label, response.status().as_str()]).inc();
        tracing::info!(request = %stamp.id, path = path.chars().take(200).collect::<String>(), %error, "a request was refused at the door");
        response
    }

    /// Answers `request`, which came from `peer`.
    pub(crate) async fn answer<B>(
        &self,
        config: &DoorConfig,
        peer: Peer,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let (head, body) = request.into_parts();
        let stamp = self.stamp(head.uri.path());
        let route = route::route(head.uri.path());
        let label = route.as_ref().map_or("none", |route| route.resource.label());
        let began = Instant::now();
        let base_url = base_url(&head, peer.tls);
        let outcome =
            match AssertUnwindSafe(self.outcome(config, &head, route, body, &base_url, peer.address.ip()))
                .catch_unwind()
                .await
            {
                Ok(outcome) => outcome,
                Err(_) => Err(self.panicked()),
            };
        let (response, refusal) = match outcome {
            Ok(reply) => (stamp.reply(reply, &base_url), None),
            Err(error) => (stamp.refusal(&error), Some(error)),
        };
        let metrics = &self.context.metrics.door;
        metrics.requests.with_label_values(&[label, response.status().as_str()]).inc();
        metrics.request_seconds.with_label_values(&[label]).observe(began.elapsed().as_secs_f64());
        log(&head, &stamp, &response, refusal.as_ref());
        response
    }

    async fn outcome<B>(
        &self,
        config: &DoorConfig,
        head: &request::Parts,
        route: Result<Route, ApiError>,
        body: B,
        base_url: &str,
        address: IpAddr,
    ) -> Result<Reply, ApiError>
    where
        B: hyper::body::Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        if !head.headers.contains_key(AUTHORIZATION) {
            // Refused, whatever would follow: nothing is read of one who doesn't even say who it is.
            (self.verify)(head, &Sha256::digest(b"").into())?;
        }
        let is_long = route.as_ref().is_ok_and(|route| route.resource.is_long());
        let limit = if is_long { config.web_body_max_bytes } else { config.body_max_bytes };
        let body =
            self.bodies.read(body, limit, config.bodies_max_bytes, config.body_timeout, address).await?;
        let principal = (self.verify)(head, &Sha256::digest(&body.bytes).into())?;
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        if principal.read_only && !reads {
            return Err(ApiError::forbidden("AccessDenied", "this access key may only read"));
        }
        let rate =
            Rate { per_second: config.requests_per_second.into(), burst: config.requests_burst.into() };
        if !self.rates.admit(&principal.account, rate, Instant::now()) {
            self.context.metrics.door.throttled.inc();
            return Err(ApiError::bad_request("Throttling", "the account asks too fast; try again later"));
        }
        let Route { version, resource, segments } = route?;
        // What a GET or DELETE carries, if anything, means nothing.
        let writes = matches!(head.method, Method::POST | Method::PUT);
        let root = if writes { xml::read(&body.bytes, config.xml)? } else { None };
        let if_match = head.headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
        let call = Call {
            version,
            principal,
            method: if head.method == Method::HEAD { Method::GET } else { head.method.clone() },
            path: segments,
            query: route::query(head.uri.query())?,
            if_match: if_match.map(str::to_owned),
            body: root,
            base_url: base_url.to_owned(),
        };
        // On a task of its own: a client that leaves, or a time that is up, must not stop a change halfway.
        let context = Context { config: self.config(), ..self.context.clone() };
        let work = self.work.spawn(dispatch(context, resource, call));
        match timeout(config.request_timeout, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.panicked()),
            // The change may yet be made: as with a store that goes away, the client is told to find out.
            Err(_) => {
                Err(unavailable("the request took too long; look whether it was carried out, and try again"))
            }
        }
    }

    fn panicked(&self) -> ApiError {
        self.context.metrics.door.panics.inc();
        ApiError::internal("the request could not be carried out; its id is in control's log")
    }

    /// What is in force now.
    pub(crate) fn config(&self) -> Arc<ApiConfig> {
        self.config.borrow().clone()
    }

    /// Puts `config` in force for requests that come from now on.
    pub(crate) fn reconfigure(&self, config: ApiConfig) {
        self.config.send_replace(Arc::new(config));
    }

    /// Returns once what was begun is done.
    pub(crate) async fn finish(&self) {
        self.work.close();
        self.work.wait().await;
    }
}

async fn dispatch(context: Context, resource: Resource, call: Call) -> Result<Reply, ApiError> {
    match resource {
        Resource::Streaming => streaming::handle(&context, &call).await,
        Resource::Web => web::handle(&context, &call).await,
        Resource::Invalidation => invalidation::handle(&context, &call).await,
        Resource::Identity => identity::handle(&context, &call).await,
        Resource::PublicKey => public_key::handle(&context, &call).await,
        Resource::KeyGroup => key_group::handle(&context, &call).await,
        Resource::Tagging => tagging::handle(&context, &call).await,
    }
}

/// What a Location begins with: the host as the client wrote it. Whoever asks CloudFront's own host does so by https, whatever lies between.
fn base_url(head: &request::Parts, tls: bool) -> String {
    let written = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = head.uri.authority().map(|authority| authority.as_str()).or(written);
    let plain = |c: u8| c.is_ascii_alphanumeric() || b".-_:[]".contains(&c);
    let host = host.filter(|host| !host.is_empty() && host.bytes().all(plain)).unwrap_or(CLOUDFRONT);
    let name = host.strip_suffix(":443").unwrap_or(host);
    if tls || name.eq_ignore_ascii_case(CLOUDFRONT) {
        format!("https://{host}")
    } else {
        format!("http://{host}")
    }
}

/// One line a request: changes and failures are told, reading is not. Signatures stay out of it.
fn log(head: &request::Parts, stamp: &Stamp, response: &Response<Body>, refusal: Option<&ApiError>) {
    let (method, path, status) = (&head.method, head.uri.path(), response.status().as_u16());
    let path: String = path.chars().take(200).collect();
    match refusal {
        Some(error) if error.status.is_server_error() => {
            tracing::error!(request = %stamp.id, %method, path, status, %error, "an API request failed");
        }
        Some(error) => {
            tracing::info!(request = %stamp.id, %method, path, status, %error, "an API request was refused");
        }
        None if *method == Method::GET || *method == Method::HEAD => {
            tracing::debug!(request = %stamp.id, %method, path, status, "API request");
        }
        None => tracing::info!(request = %stamp.id, %method, path, status, "API request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_begins_with_what_the_client_asked() {
        let url = |uri: &str, host: Option<&str>, tls: bool| {
            let mut request = Request::builder().uri(uri);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            base_url(&request.body(()).unwrap().into_parts().0, tls)
        };
        for (uri, host, tls, expected) in [
            ("/x", Some("cloudfront.amazonaws.com"), true, "https://cloudfront.amazonaws.com"),
            ("/x", Some("cloudfront.amazonaws.com"), false, "https://cloudfront.amazonaws.com"),
            ("/x", Some("127.0.0.1:7380"), false, "http://127.0.0.1:7380"),
            ("/x", Some("[::1]:7380"), true, "https://[::1]:7380"),
            ("http://other.example/x", Some("a.example"), false, "http://other.example"),
            ("/x", None, false, "https://cloudfront.amazonaws.com"),
            ("/x", Some("a\"><b"), true, "https://cloudfront.amazonaws.com"),
        ] {
            assert_eq!(url(uri, host, tls), expected, "{uri} {host:?}");
        }
    }
}
