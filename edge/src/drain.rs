//! How an edge stops: in phases, each told to whom it concerns.
//!
//! ```text
//! serving ─SIGTERM─▶ settling ─settle_ms─▶ draining ─drain_ms, or no session left─▶ closing ─▶ gone
//! ```
//!
//! * *settling*: `/readyz` says no, so balancers look away; until they have, connections are accepted and served as ever;
//! * *draining*: a new connect is rejected with `ServerDraining`; running sessions go on, also to another file;
//! * *closing*: listeners are closed; every session is sent `NetConnection.Connect.Closed` and `close`, and has
//!   [`FLUSH`] for them to leave;
//! * *gone*: the last session has ended; the caller gives up its place in the cluster and exits.
//!
//! A second signal goes straight to closing. An operator's order ([`hold`](Drain::hold)) takes the same way as far as draining, says goodbye to whoever is
//! still there at the end of that time, and then waits, listeners open and connects rejected, until the order is taken back. The gauge `penstock_edge_drain_phase` is 1 for the phase the edge is in, and
//! `penstock_edge_drain_phase_seconds` tells how long each took.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::metrics::Metrics;

/// How long a session's last words may take to leave.
pub const FLUSH: Duration = Duration::from_secs(3);
/// How often the sessions left are counted.
const LOOK: Duration = Duration::from_millis(50);

/// Where an edge is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It serves, but says it is not ready.
    Settling,
    /// New connects are rejected.
    Draining,
    /// Sessions are being closed.
    Closing,
    /// All have ended.
    Gone,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Serving, Self::Settling, Self::Draining, Self::Closing, Self::Gone];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Settling => "settling",
            Self::Draining => "draining",
            Self::Closing => "closing",
            Self::Gone => "gone",
        }
    }
}

/// An edge's phase, and what moves it on. Clones are the same.
#[derive(Clone)]
pub struct Drain {
    phase: Arc<AtomicU8>,
    metrics: Arc<Metrics>,
    goodbye: Arc<Mutex<Goodbye>>,
}

/// What sessions end by.
#[derive(Default)]
struct Goodbye {
    /// The end of the edge, once it serves.
    closing: Option<CancellationToken>,
    /// That of the sessions there are now, which may come earlier.
    sessions: Option<CancellationToken>,
}

impl Drain {
    /// An edge that serves.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let drain = Self { phase: Arc::default(), metrics, goodbye: Arc::default() };
        drain.enter(Phase::Serving);
        drain
    }

    /// Where the edge is.
    pub fn phase(&self) -> Phase {
        let at = usize::from(self.phase.load(Ordering::Relaxed));
        Phase::ALL.get(at).copied().unwrap_or(Phase::Gone)
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        for other in Phase::ALL {
            self.metrics.drain_phase.with_label_values(&[other.name()]).set(i64::from(other == phase));
        }
    }

    async fn within(&self, phase: Phase, limit: Duration, done: impl Future<Output = ()>) {
        self.enter(phase);
        let sessions = self.metrics.sessions.get();
        info!(phase = phase.name(), sessions, limit_ms = limit.as_millis() as u64, "drain");
        let began = Instant::now();
        let _ = timeout(limit, done).await;
        let took = self.metrics.drain_seconds.with_label_values(&[phase.name()]);
        took.set(began.elapsed().as_secs_f64());
    }

    /// From now on sessions end by `closing` at the latest.
    pub(crate) fn serves_until(&self, closing: &CancellationToken) {
        let mut goodbye = self.goodbye.lock().unwrap_or_else(PoisonError::into_inner);
        goodbye.sessions = Some(closing.child_token());
        goodbye.closing = Some(closing.clone());
    }

    /// What a new session ends by; `closing` where the edge itself does not serve (a session of its own).
    pub(crate) fn session_end(&self, closing: CancellationToken) -> CancellationToken {
        let goodbye = self.goodbye.lock().unwrap_or_else(PoisonError::into_inner);
        goodbye.sessions.clone().unwrap_or(closing)
    }

    /// Tells the sessions there are now goodbye; later ones are not concerned.
    fn say_goodbye(&self) {
        let mut goodbye = self.goodbye.lock().unwrap_or_else(PoisonError::into_inner);
        let next = goodbye.closing.as_ref().map(CancellationToken::child_token);
        if let Some(now) = std::mem::replace(&mut goodbye.sessions, next) {
            now.cancel();
        }
    }

    /// An operator's order: settles, drains, tells the rest goodbye, and stays out of service until `undo`; then it serves again.
    pub async fn hold(&self, settle: Duration, drain: Duration, undo: impl Future<Output = ()>) {
        let out = async {
            self.within(Phase::Settling, settle, std::future::pending()).await;
            self.within(Phase::Draining, drain, self.empty()).await;
            info!(
                sessions = self.metrics.sessions.get(),
                "drained by order: out of service until it is taken back"
            );
            self.say_goodbye();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = out => {}
            () = undo => {}
        }
        self.enter(Phase::Serving);
        info!(phase = Phase::Serving.name(), "drain");
    }

    /// Goes from serving to closing and fires `closing`. `hurry` is the second signal. The sessions end with `Edge::serve`, which the
    /// caller awaits and then calls [`finish`](Self::finish).
    pub async fn run(
        &self,
        settle: Duration,
        drain: Duration,
        closing: &CancellationToken,
        hurry: impl Future<Output = ()>,
    ) {
        let orderly = async {
            if !settle.is_zero() {
                self.within(Phase::Settling, settle, std::future::pending()).await;
            }
            if !drain.is_zero() {
                self.within(Phase::Draining, drain, self.empty()).await;
            }
        };
        tokio::select! {
            () = orderly => {}
            () = hurry => info!("a second signal: sessions are closed now"),
        }
        self.enter(Phase::Closing);
        info!(phase = Phase::Closing.name(), sessions = self.metrics.sessions.get(), "drain");
        closing.cancel();
    }

    /// The sessions have ended.
    pub fn finish(&self) {
        self.enter(Phase::Gone);
        info!(phase = Phase::Gone.name(), "drain");
    }

    /// Returns when no session is connected.
    async fn empty(&self) {
        while self.metrics.sessions.get() > 0 {
            sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counted;

    const SECOND: Duration = Duration::from_secs(1);

    struct Setup {
        drain: Drain,
        metrics: Arc<Metrics>,
        closing: CancellationToken,
    }

    fn setup() -> Setup {
        let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
        let drain = Drain::new(metrics.clone());
        Setup { drain, metrics, closing: CancellationToken::new() }
    }

    impl Setup {
        fn phases(&self) -> Vec<&'static str> {
            let gauge = |phase: &Phase| self.metrics.drain_phase.with_label_values(&[phase.name()]).get();
            Phase::ALL.into_iter().filter(|phase| gauge(phase) == 1).map(Phase::name).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_goes_through_its_phases_in_their_time() {
        let setup = setup();
        let _session = Counted::new(&setup.metrics.sessions);
        let began = Instant::now();
        let run = setup.drain.run(2 * SECOND, 5 * SECOND, &setup.closing, std::future::pending());
        tokio::pin!(run);
        assert_eq!(setup.phases(), ["serving"]);
        assert!(timeout(SECOND, &mut run).await.is_err());
        assert_eq!((setup.phases(), setup.drain.phase()), (vec!["settling"], Phase::Settling));
        assert!(timeout(2 * SECOND, &mut run).await.is_err());
        assert_eq!(setup.phases(), ["draining"]);
        assert!(!setup.closing.is_cancelled());
        run.await;
        assert!(setup.closing.is_cancelled());
        assert_eq!((began.elapsed().as_secs(), setup.phases()), (7, vec!["closing"]));
        setup.drain.finish();
        assert_eq!(setup.phases(), ["gone"]);
        assert_eq!(setup.metrics.drain_seconds.with_label_values(&["draining"]).get().round(), 5.0);
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_wait_for_sessions_that_are_not_there() {
        let setup = setup();
        let session = Counted::new(&setup.metrics.sessions);
        let leaves = async {
            sleep(SECOND).await;
            drop(session);
            std::future::pending().await
        };
        let began = Instant::now();
        tokio::select! {
            () = setup.drain.run(Duration::ZERO, 60 * SECOND, &setup.closing, std::future::pending()) => {}
            () = leaves => {}
        }
        assert_eq!(began.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_says_goodbye_at_the_end_of_its_time_and_can_be_taken_back() {
        let setup = setup();
        setup.drain.serves_until(&setup.closing);
        let _session = Counted::new(&setup.metrics.sessions);
        let end = setup.drain.session_end(CancellationToken::new());
        let (undo, undone) = tokio::sync::oneshot::channel::<()>();
        let hold = setup.drain.hold(2 * SECOND, 5 * SECOND, async { undone.await.unwrap() });
        tokio::pin!(hold);
        assert!(timeout(SECOND, &mut hold).await.is_err());
        assert_eq!(setup.drain.phase(), Phase::Settling);
        assert!(timeout(5 * SECOND, &mut hold).await.is_err());
        assert_eq!((setup.drain.phase(), end.is_cancelled()), (Phase::Draining, false));
        assert!(timeout(5 * SECOND, &mut hold).await.is_err());
        assert_eq!((setup.drain.phase(), end.is_cancelled()), (Phase::Draining, true));
        undo.send(()).unwrap();
        hold.await;
        assert_eq!((setup.phases(), setup.closing.is_cancelled()), (vec!["serving"], false));
        // Who comes now stays, until the edge ends.
        let next = setup.drain.session_end(CancellationToken::new());
        assert!(!next.is_cancelled());
        setup.closing.cancel();
        assert!(next.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_closes_at_once() {
        let setup = setup();
        let _session = Counted::new(&setup.metrics.sessions);
        let began = Instant::now();
        setup.drain.run(60 * SECOND, 60 * SECOND, &setup.closing, sleep(SECOND)).await;
        assert_eq!((began.elapsed().as_secs(), setup.drain.phase()), (1, Phase::Closing));
    }
}
