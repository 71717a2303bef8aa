//! The web console: what the AWS console gave for distributions, in a browser.
//!
//! Pages are made on the server and need no script; the little there is copies text and follows a status. A page of one account shows what is that
//! account's and nothing else: it is looked up below the account, as the API does, and changed by the API's own operations ([`calls`]), so
//! a form can do what `aws cloudfront` can and is refused with the same codes.
//!
//! A request, in reading order:
//!
//! 1. [`guard`] refuses what another site caused and puts the headers on that browsers enforce;
//! 2. [`visitor`] finds out by the cookie ([`session`]) who asks, or sends the browser to [`login`] ([`throttle`]);
//! 3. a page answers: [`distributions`], [`nodes`], [`keys`], all in the frame of [`page`];
//! 4. a form ([`form`]) is refused unless it carries its session's token and a key that may write;
//! 5. what the API refuses comes back in the form, what was entered still there, the code beside the field it is about ([`failure`]).

mod assets;
mod buckets;
mod calls;
mod distributions;
mod elements;
mod failure;
mod form;
mod guard;
mod keys;
mod login;
mod nodes;
mod page;
mod session;
mod throttle;
mod urls;
mod visitor;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use http::Extensions;
use serde::Deserialize;
use tokio::sync::watch;

use crate::accounts::{AccountLimits, Accounts};
use crate::api::Context;
use crate::api::auth::Verifier;
use crate::door;
use crate::lifecycle::Report;
use crate::seal::SealError;
use buckets::OfferedBuckets;
pub use buckets::{BucketConfig, BucketSource};
use session::Sessions;
use throttle::Throttle;
pub use urls::PlayerConfig;
use visitor::{Site, SiteParts, Visitor};

/// How the nodes stand, as control tells.
pub type Reports = watch::Receiver<Arc<BTreeMap<String, Report>>>;

/// What a form may have in bytes; a config of a thousand names is far below.
const FORM_BYTES_MAX: usize = 256 * 1024;
/// What the login may have: whoever sends it is still a stranger.
const LOGIN_BYTES_MAX: usize = 8 * 1024;

/// How the console behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// A session ends after so many seconds without a request.
    pub idle_seconds: u64,
    /// A session ends so many seconds after its login in any case.
    pub session_seconds: u64,
    /// Logins of an address that may fail within `login_window_seconds`.
    pub login_failures: u32,
    /// See `login_failures`.
    pub login_window_seconds: u64,
    /// Where viewers reach the edges: what player URLs are made of.
    pub players: PlayerConfig,
    /// The S3 endpoint whose buckets are offered as origins.
    pub buckets: BucketConfig,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            idle_seconds: 30 * 60,
            session_seconds: 12 * 3600,
            login_failures: 10,
            login_window_seconds: 300,
            players: PlayerConfig::default(),
            buckets: BucketConfig::default(),
        }
    }
}

impl ConsoleConfig {
    /// What is wrong with it, naming the field.
    pub(crate) fn check(&self) -> Result<(), String> {
        let within = |field: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(format!("console.{field}: {value} is not within {low} and {high}"))
        };
        within("idle_seconds", self.idle_seconds, 60, 7 * 86_400)?;
        within("session_seconds", self.session_seconds, 60, 30 * 86_400)?;
        within("login_failures", u64::from(self.login_failures), 1, 10_000)?;
        within("login_window_seconds", self.login_window_seconds, 1, 86_400)?;
        self.buckets.check()
    }
}

/// From where a request came, as the front door tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    /// The client's address.
    address: IpAddr,
    /// Whether it came through TLS.
    tls: bool,
}

impl Peer {
    fn of(extensions: &Extensions) -> Self {
        let told =
            extensions.get::<door::Peer>().map(|peer| Self { address: peer.address.ip(), tls: peer.tls });
        // Only tests of the router alone come without a door.
        told.unwrap_or(Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), tls: false })
    }
}

/// The console as a process opens it: none, and a line in the log, without a key for secrets, which also signs cookies.
pub fn open(context: &Context, reports: Reports, config: ConsoleConfig) -> Result<Option<Router>, SealError> {
    if !context.sealer.has_key() {
        tracing::warn!("no key for secrets is configured: nobody can log in, so there is no console");
        return Ok(None);
    }
    routes(context.clone(), Verifier::of(context)?, reports, config).map(Some)
}

/// The console's pages, to be nested at `/console`. Fails without a key to sign cookies with.
pub fn routes(
    context: Context,
    verifier: Verifier,
    reports: Reports,
    config: ConsoleConfig,
) -> Result<Router, SealError> {
    let keys = context.sealer.derive("console-sessions")?;
    let accounts = Accounts::new(
        context.store.clone(),
        context.sealer.clone(),
        context.clock.clone(),
        AccountLimits::default(),
    );
    let site = Site(Arc::new(SiteParts {
        context,
        verifier,
        reports,
        accounts,
        sessions: Sessions::new(&keys, config.idle_seconds * 1000, config.session_seconds * 1000),
        throttle: Throttle::new(config.login_failures, Duration::from_secs(config.login_window_seconds)),
        buckets: OfferedBuckets::of(config.buckets),
        players: config.players,
    }));
    let pages = Router::new()
        .route("/", get(start))
        .route("/login", get(login::form).post(login::log_in).layer(DefaultBodyLimit::max(LOGIN_BYTES_MAX)))
        .route("/logout", post(login::log_out))
        .route("/nodes", get(nodes::page))
        .merge(distributions::routes())
        .merge(keys::routes())
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(site.clone(), visitor::know))
        .with_state(site);
    let routes = Router::new().route("/static/{hash}/{name}", get(file)).merge(pages);
    Ok(routes.layer(middleware::from_fn(guard::guard)))
}

async fn start(_: Visitor) -> Response {
    page::see_other("/console/distributions")
}

async fn nowhere(visitor: Visitor) -> Response {
    failure::not_found(&visitor)
}

async fn file(Path((hash, name)): Path<(String, String)>) -> Response {
    assets::serve(&hash, &name)
}

#[cfg(test)]
mod tests;
