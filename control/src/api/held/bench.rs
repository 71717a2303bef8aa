//! A replica for tests of operations: the memory store, the real mirror over it, a clock that stands until it is set, and calls as the door
//! makes them.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::Registry;
use prost::Message;
use proto::clock::SetClock;
use proto::v1::{Deployed, NodeRole, NodeState, RegisterRequest};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::accounts::Principal;
use crate::api::xml::{Bounds, Element, document, read};
use crate::api::{ApiConfig, ApiError, Call, Context, Limits, Reply, Version};
use crate::documents::{DEPLOYED, MEMBERS};
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::mirror::view::View;
use crate::seal::Sealer;
use crate::shields::Shields;
use crate::store::{Head, Store, Transaction, memory};

pub(crate) const ALICE: &str = "111122223333";
pub(crate) const BOB: &str = "444455556666";
/// 2026-11-21T11:00:00Z.
pub(crate) const NOW_MS: u64 = 1_795_258_800_000;
const LONG: Duration = Duration::from_secs(30);

/// A public key of 2048 bits, PEM.
pub(crate) const PEM: &str = include_str!("../public_key/spki/2048.pem");
/// Another, of 1024 bits.
pub(crate) const OTHER_PEM: &str = include_str!("../public_key/spki/1024.pem");

pub(crate) struct Bench {
    pub(crate) context: Context,
    pub(crate) clock: Arc<SetClock>,
    _stop: DropGuard,
}

pub(crate) fn principal(account: &str) -> Principal {
    Principal { account: account.into(), key_id: "AKIDEXAMPLE".into(), read_only: false }
}

impl Bench {
    /// A replica with CloudFront's limits.
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        Self::over(memory::open().await.unwrap(), limits)
    }

    /// One over a store that others may use too.
    pub(crate) fn over(store: Store, limits: Limits) -> Self {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let (sender, views) = watch::channel(Arc::new(View::default()));
        let stop = CancellationToken::new();
        let mirror = Mirror::new(store.clone(), sender, metrics.clone(), Duration::from_secs(180), 64);
        tokio::spawn(mirror.run(stop.clone()));
        let clock = SetClock::at_ms(NOW_MS);
        let config = ApiConfig { limits, ..ApiConfig::default() };
        let context = Context {
            store,
            views,
            config: Arc::new(config),
            clock: clock.clone(),
            sealer: Sealer::none(),
            metrics,
            shields: Shields::of_nobody(),
        };
        Self { context, clock, _stop: stop.drop_guard() }
    }

    /// Puts documents into the store as somebody else would.
    pub(crate) async fn commit(&self, transaction: Transaction) -> u64 {
        self.context.store.commit(transaction).await.unwrap()
    }

    /// Waits for the replica to know what `known` looks for.
    pub(crate) async fn until(&self, known: impl FnMut(&Arc<View>) -> bool) {
        let mut views = self.context.views.clone();
        tokio::time::timeout(LONG, views.wait_for(known)).await.expect("in time").unwrap();
    }

    /// Every node (there is an edge) has applied all there is so far.
    pub(crate) async fn deploy(&self) {
        let edge = RegisterRequest {
            node_id: "edge-1".into(),
            role: NodeRole::Edge.into(),
            state: NodeState::Ready.into(),
            features: proto::distribution::FEATURES.iter().map(|f| (*f).to_owned()).collect(),
            ..Default::default()
        };
        let Head { store_id, revision } = self.context.store.head().await.unwrap();
        self.commit(
            Transaction::default()
                .put(format!("{MEMBERS}edge-1"), edge.encode_to_vec())
                .put(DEPLOYED, Deployed { revision, store_id }.encode_to_vec()),
        )
        .await;
        self.until(|view| view.deployed_floor == revision && !view.members.is_empty()).await;
    }
}

/// A call as the door makes it: `path` after the resource's name, the body as text.
pub(crate) fn call(account: &str, version: &str, method: Method, path: &str, body: &str) -> Call {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    Call {
        version: Version::parse(version).unwrap(),
        principal: principal(account),
        method,
        path: path.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect(),
        query: pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        if_match: None,
        body: read(body.as_bytes(), Bounds::default()).unwrap(),
        base_url: "http://127.0.0.1:18443".into(),
    }
}

pub(crate) fn get(account: &str, version: &str, path: &str) -> Call {
    call(account, version, Method::GET, path, "")
}

pub(crate) fn post(account: &str, version: &str, path: &str, body: &str) -> Call {
    call(account, version, Method::POST, path, body)
}

pub(crate) fn put(account: &str, version: &str, path: &str, etag: &str, body: &str) -> Call {
    Call { if_match: Some(etag.into()), ..call(account, version, Method::PUT, path, body) }
}

pub(crate) fn delete(account: &str, version: &str, path: &str, etag: &str) -> Call {
    Call { if_match: Some(etag.into()), ..call(account, version, Method::DELETE, path, "") }
}

/// The body of an answer, which must have this status.
pub(crate) fn answered(reply: Result<Reply, ApiError>, status: u16) -> (Element, Reply) {
    let reply = reply.unwrap_or_else(|error| panic!("refused: {error}"));
    assert_eq!(reply.status, StatusCode::from_u16(status).unwrap());
    let body = reply.body.clone().unwrap_or_default();
    if !body.name.is_empty() {
        let text = document(&body, "2020-05-31");
        assert_eq!(read(text.as_bytes(), Bounds::default()).unwrap().unwrap(), body, "it can be written");
    }
    (body, reply)
}

/// What a refusal says.
pub(crate) fn refused(reply: Result<Reply, ApiError>) -> (u16, &'static str) {
    let error = reply.expect_err("a refusal");
    (error.status.as_u16(), error.code)
}

/// The text at `path` (names with slashes between) below `element`.
pub(crate) fn at<'a>(element: &'a Element, path: &str) -> &'a str {
    let found = path.split('/').try_fold(element, |element, name| element.child(name));
    found.unwrap_or_else(|| panic!("{} has no {path}: {element:?}", element.name)).text.as_str()
}
