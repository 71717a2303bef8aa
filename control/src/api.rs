//! The CloudFront control API.
//!
//! A request passes the [door](crate::door) and comes to the [desk], which bounds it, asks [auth] who signed it, finds its [route], and hands it
//! as a [`Call`] to the module of its resource. That answers with a [`Reply`] or an [`ApiError`]; [render] makes documents of both, in the schema
//! of the version asked. What the resources share is [resource] and [held] (the store, caller references, guards), `names` (of
//! distributions), [paging] and [xml].

pub mod auth;
mod body;
mod desk;
pub mod error;
pub(crate) mod held;
pub mod identity;
pub mod invalidation;
pub mod key_group;
pub mod limits;
pub(crate) mod names;
pub mod paging;
pub mod public_key;
mod rate;
mod render;
pub mod reply;
pub mod request_id;
pub mod resource;
pub mod route;
pub mod streaming;
pub mod tagging;
pub mod timestamp;
pub mod version;
pub mod web;
pub mod xml;

use std::sync::Arc;

use http::Method;
use proto::clock::SharedClock;
use tokio::sync::watch;

use crate::accounts::Principal;
use crate::metrics::Metrics;
use crate::mirror::view::View;
use crate::seal::Sealer;
use crate::shields::Shields;
use crate::store::Store;
pub(crate) use desk::Desk;
pub use desk::Verify;
pub use error::ApiError;
pub use limits::Limits;
pub use reply::Reply;
pub use version::Version;
use xml::Element;

/// What operations work on. Clones share all of it.
#[derive(Clone)]
pub struct Context {
    /// The documents.
    pub store: Store,
    /// What this replica knows of nodes, keys and signers; resources themselves are read from the store.
    pub views: watch::Receiver<Arc<View>>,
    /// Behaviour.
    pub config: Arc<ApiConfig>,
    /// Wall time.
    pub clock: SharedClock,
    /// Opens and seals secrets.
    pub sealer: Sealer,
    /// Control's metrics.
    pub(crate) metrics: Metrics,
    /// The way to the shields: orders to forget.
    pub shields: Shields,
}

/// How the API behaves.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The zone of generated domains.
    pub zone: String,
    /// Bounds of what an account may have and say.
    pub limits: Limits,
    /// Beside AWS's own, what may follow a bucket's name in an origin, such as `minio.internal`: the suffixes that shields have an entry for.
    pub origin_suffixes: Vec<String>,
    /// How far a request's date may be from now, either way, in seconds.
    pub clock_window_seconds: u64,
    /// The regions a SigV4 scope may name.
    pub regions: Vec<String>,
    /// How long an order to forget is kept for nodes that are away.
    pub purge_ttl: std::time::Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            zone: "penstock.localhost".into(),
            limits: Limits::default(),
            origin_suffixes: Vec::new(),
            clock_window_seconds: 900,
            regions: vec![auth::REGION.into()],
            purge_ttl: std::time::Duration::from_secs(24 * 3600),
        }
    }
}

/// One authenticated request, as a resource's module gets it.
#[derive(Clone, Debug)]
pub struct Call {
    /// The API version asked.
    pub version: Version,
    /// Who asks.
    pub principal: Principal,
    /// GET, POST, PUT or DELETE (a HEAD arrives as GET).
    pub method: Method,
    /// Path segments after the resource's name, decoded: `[]`, `[ID]`, `[ID, "config"]`, for identities `["cloudfront", …]`.
    pub path: Vec<String>,
    /// Query parameters in order, decoded; a bare name has an empty value.
    pub query: Vec<(String, String)>,
    /// `If-Match` as sent.
    pub if_match: Option<String>,
    /// The body's root element; `None` if there was no body.
    pub body: Option<Element>,
    /// `https://HOST` (or `http://`) as the client wrote it: what a Location begins with.
    pub base_url: String,
}

impl Call {
    /// The value of a query parameter.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}
