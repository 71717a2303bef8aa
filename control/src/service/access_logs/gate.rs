//! Bounds how many segments are taken at a time, before their bytes are.
//!
//! A segment is up to 16 MiB, held as it comes in and while it is staged. Who is let in is decided by the request's head; bodies of those that wait
//! stay with their senders, but for what HTTP/2 lets them send unasked. A wait that gets long, and a segment that takes too long, end with
//! an answer that sends the edge to another replica. Other calls of the service pass by.
//!
//! One caller has at most half of the places at a time: an edge ships one segment after another, and one that opens many calls and lets them hang
//! leaves the others room. A place counts as taken until the segment's verification has ended, also when the call was given up before.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use proto::status::Reason;
use proto::token::Caller;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::Service;

use crate::access_log::config::LogsConfig;
use crate::service::calls::refused;

/// The path of the call that is bounded.
const SHIP: &str = "/penstock.v1.AccessLogs/Ship";
/// Segments taken at a time by a replica that takes none: enough to say so.
const WITHOUT_STAGING: usize = 8;
/// How long a segment waits to be let in: a store or bucket that hangs fills the gate, and edges shall hear of it.
const WAIT: Duration = Duration::from_secs(10);

/// A service whose Ship calls are bounded.
#[derive(Clone)]
pub(in crate::service) struct Gate<S> {
    inner: S,
    room: Arc<Room>,
    timeout: Duration,
}

/// The places, and each caller's share of them.
struct Room {
    all: Arc<Semaphore>,
    /// Places one caller may have.
    share: usize,
    /// By caller: those that have a place or wait for one. As many as there are calls, and as many again that ended.
    shares: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// One of the places, as long as any clone of it lives. In the extensions of each request that was let in.
#[derive(Clone)]
pub(super) struct Place {
    _permits: Arc<[OwnedSemaphorePermit; 2]>,
}

impl Room {
    fn new(ships: usize) -> Arc<Self> {
        let (all, share) = (Arc::new(Semaphore::new(ships)), (ships / 2).max(1));
        Arc::new(Self { all, share, shares: Mutex::default() })
    }

    fn share_of(&self, caller: String) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(&caller).and_then(Weak::upgrade) {
            return share;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.share));
        shares.insert(caller, Arc::downgrade(&share));
        share
    }

    /// Waits for a place; `None` only if there are none any more.
    async fn enter(&self, caller: String) -> Option<Place> {
        let own = self.share_of(caller).acquire_owned().await.ok()?;
        let any = self.all.clone().acquire_owned().await.ok()?;
        Some(Place { _permits: Arc::new([own, any]) })
    }
}

/// Who calls: the node that its token or certificate names, or the address it calls from.
fn caller_of(request: &Request<Body>) -> String {
    let extensions = request.extensions();
    if let Some(node) = extensions.get::<Caller>().and_then(|caller| caller.node.as_ref()) {
        return format!("node {node}");
    }
    let plain = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let tls = || extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?.get_ref().remote_addr();
    plain.or_else(tls).map_or_else(String::new, |peer| format!("address {}", peer.ip()))
}

impl<S> Gate<S> {
    /// In front of `inner`, as wide as `config` says.
    pub(super) fn new(inner: S, config: Option<&LogsConfig>) -> Self {
        let ships = config.map_or(WITHOUT_STAGING, |c| c.ships.max(1));
        let timeout = config.map_or(WAIT, |c| c.ship_timeout);
        Self { inner, room: Room::new(ships), timeout }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The clone is as ready as the original was asked to be: neither ever waits.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        if request.uri().path() != SHIP {
            return Box::pin(inner.call(request));
        }
        let (room, timeout) = (self.room.clone(), self.timeout);
        Box::pin(async move {
            let entered = tokio::time::timeout(WAIT.min(timeout), room.enter(caller_of(&request))).await;
            let Ok(Some(place)) = entered else {
                let reason = "as many segments are being taken as may be (logs.ships)";
                return Ok(refused(Reason::Overloaded, reason).into_http());
            };
            request.extensions_mut().insert(place.clone());
            match tokio::time::timeout(timeout, inner.call(request)).await {
                Ok(answer) => answer,
                Err(_) => {
                    let reason =
                        format!("the segment was not staged within {timeout:?} (logs.ship_timeout_ms)");
                    Ok(refused(Reason::Deadline, reason).into_http())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower::ServiceExt;

    use super::*;

    /// Takes a second for each call, and knows how many there are at a time.
    #[derive(Clone, Default)]
    struct Slow {
        now: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        takes: Duration,
    }

    impl Service<Request<Body>> for Slow {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            let slow = self.clone();
            Box::pin(async move {
                slow.most.fetch_max(slow.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(slow.takes).await;
                slow.now.fetch_sub(1, Ordering::Relaxed);
                Ok(Response::new(Body::empty()))
            })
        }
    }

    fn gate(slow: &Slow, ships: usize) -> Gate<Slow> {
        Gate { inner: slow.clone(), room: Room::new(ships), timeout: Duration::from_secs(60) }
    }

    fn request(path: &str) -> Request<Body> {
        Request::builder().uri(format!("http://control{path}")).body(Body::empty()).unwrap()
    }

    fn ship_of(node: &str) -> Request<Body> {
        let mut request = request(SHIP);
        request.extensions_mut().insert(Caller { role: proto::token::Role::Edge, node: Some(node.into()) });
        request
    }

    fn reason(answer: &Response<Body>) -> Option<&str> {
        answer.headers().get(proto::status::REASON_KEY).map(|v| v.to_str().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn segments_come_in_a_few_at_a_time_and_other_calls_pass_by() {
        let slow = Slow { takes: Duration::from_secs(2), ..Default::default() };
        let gate = gate(&slow, 3);
        let ships =
            futures::future::join_all((0..12).map(|n| gate.clone().oneshot(ship_of(&format!("edge-{n}")))))
                .await;
        assert!(ships.iter().all(|answer| reason(answer.as_ref().unwrap()).is_none()));
        assert_eq!(slow.most.load(Ordering::Relaxed), 3);
        let other = "/penstock.v1.AccessLogs/Tail";
        futures::future::join_all((0..12).map(|_| gate.clone().oneshot(request(other)))).await;
        assert_eq!(slow.most.load(Ordering::Relaxed), 12);
    }

    #[test]
    fn an_edge_waits_longer_for_an_answer_than_it_takes_unless_it_is_told_otherwise() {
        let settings = crate::settings::logs::LogsSettings::default();
        let edge = crate::client::ship::ShipConfig::default();
        let longest = WAIT + Duration::from_millis(settings.ship_timeout_ms);
        assert!(longest < Duration::from_millis(edge.call_timeout_ms), "{longest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_and_a_segment_that_take_too_long_are_ended_with_an_answer() {
        let slow = Slow { takes: Duration::from_secs(3600), ..Default::default() };
        let gate = gate(&slow, 1);
        let (first, second) =
            tokio::join!(gate.clone().oneshot(request(SHIP)), gate.clone().oneshot(request(SHIP)));
        assert_eq!(reason(&first.unwrap()), Some("deadline"));
        assert_eq!(reason(&second.unwrap()), Some("overloaded"));
        // Whoever was given up has left its place.
        assert_eq!(gate.room.all.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_has_half_of_the_places_and_others_come_in_beside_it() {
        let slow = Slow { takes: Duration::from_secs(3600), ..Default::default() };
        let gate = gate(&slow, 4);
        let hanging: Vec<_> = (0..4).map(|_| tokio::spawn(gate.clone().oneshot(ship_of("edge-1")))).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((slow.now.load(Ordering::Relaxed), gate.room.all.available_permits()), (2, 2));
        let others = ["edge-2", "edge-3"].map(|node| tokio::spawn(gate.clone().oneshot(ship_of(node))));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(slow.now.load(Ordering::Relaxed), 4);
        let mut answers = Vec::new();
        for ship in hanging.into_iter().chain(others) {
            answers.push(reason(&ship.await.unwrap().unwrap()).unwrap().to_owned());
        }
        assert_eq!(answers, ["deadline", "deadline", "overloaded", "overloaded", "deadline", "deadline"]);
        assert_eq!(gate.room.all.available_permits(), 4);
        drop(gate.room.share_of("another".into()));
        assert_eq!(gate.room.shares.lock().unwrap().len(), 1, "who left is forgotten");
    }

    #[test]
    fn callers_without_a_node_are_told_apart_by_their_address() {
        let from = |addr: &str, node: Option<&str>| {
            let mut request = request(SHIP);
            let info = TcpConnectInfo { local_addr: None, remote_addr: Some(addr.parse().unwrap()) };
            request.extensions_mut().insert(info);
            request
                .extensions_mut()
                .insert(Caller { role: proto::token::Role::Edge, node: node.map(str::to_owned) });
            caller_of(&request)
        };
        assert_eq!(from("192.0.2.1:5", None), from("192.0.2.1:6", None));
        assert_ne!(from("192.0.2.1:5", None), from("192.0.2.2:5", None));
        assert_eq!(from("192.0.2.1:5", Some("edge-1")), from("192.0.2.2:5", Some("edge-1")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_taken_until_the_verification_of_a_ship_that_was_given_up_ends() {
        #[derive(Clone)]
        struct Keeps(Arc<Mutex<Vec<Place>>>);
        impl Service<Request<Body>> for Keeps {
            type Response = Response<Body>;
            type Error = Infallible;
            type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;
            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }
            fn call(&mut self, request: Request<Body>) -> Self::Future {
                self.0.lock().unwrap().push(request.extensions().get::<Place>().unwrap().clone());
                Box::pin(std::future::pending())
            }
        }
        let kept = Keeps(Arc::default());
        let gate = Gate { inner: kept.clone(), room: Room::new(2), timeout: Duration::from_secs(60) };
        let answer = gate.clone().oneshot(ship_of("edge-1")).await.unwrap();
        assert_eq!(reason(&answer), Some("deadline"));
        assert_eq!(gate.room.all.available_permits(), 1, "it still works on the bytes");
        let next = gate.clone().oneshot(ship_of("edge-1")).await.unwrap();
        assert_eq!(reason(&next), Some("overloaded"));
        kept.0.lock().unwrap().clear();
        assert_eq!(gate.room.all.available_permits(), 2);
    }
}
