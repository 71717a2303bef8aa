//! Bounds how many segments are taken at a time, before their bytes are.
//!
//! A segment is up to 16 MiB, held as it comes in and while it is staged. Who is let in is decided by the request's head; bodies of those that wait
//! stay with their senders, but for what HTTP/2 lets them send unasked. A wait that gets long, and a segment that takes too long, end with
//! an answer that sends the edge to another replica. Other calls of the service pass by.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use proto::status::Reason;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::NamedService;
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
    room: Arc<Semaphore>,
    timeout: Duration,
}

impl<S> Gate<S> {
    /// In front of `inner`, as wide as `config` says.
    pub(super) fn new(inner: S, config: Option<&LogsConfig>) -> Self {
        let ships = config.map_or(WITHOUT_STAGING, |c| c.ships.max(1));
        let timeout = config.map_or(WAIT, |c| c.ship_timeout);
        Self { inner, room: Arc::new(Semaphore::new(ships)), timeout }
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone is as ready as the original was asked to be: neither ever waits.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        if request.uri().path() != SHIP {
            return Box::pin(inner.call(request));
        }
        let (room, timeout) = (self.room.clone(), self.timeout);
        Box::pin(async move {
            let Ok(Ok(_permit)) = tokio::time::timeout(WAIT.min(timeout), room.acquire_owned()).await else {
                let reason = "as many segments are being taken as may be (logs.ships)";
                return Ok(refused(Reason::Overloaded, reason).into_http());
            };
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
        Gate { inner: slow.clone(), room: Arc::new(Semaphore::new(ships)), timeout: Duration::from_secs(60) }
    }

    fn request(path: &str) -> Request<Body> {
        Request::builder().uri(format!("http://control{path}")).body(Body::empty()).unwrap()
    }

    fn reason(answer: &Response<Body>) -> Option<&str> {
        answer.headers().get(proto::status::REASON_KEY).map(|v| v.to_str().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn segments_come_in_a_few_at_a_time_and_other_calls_pass_by() {
        let slow = Slow { takes: Duration::from_secs(2), ..Default::default() };
        let gate = gate(&slow, 3);
        let ships = futures::future::join_all((0..12).map(|_| gate.clone().oneshot(request(SHIP)))).await;
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
        assert_eq!(gate.room.available_permits(), 1);
    }
}
