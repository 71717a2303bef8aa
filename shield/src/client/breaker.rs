//! Leaving a failing shield alone, and finding out when it is back.
//!
//! ```text
//! closed ── a proof of death, failures in a row, or half of all ──▶ open (longer each time, jittered)
//!   ▲                                                                │ time is up, somebody asks
//!   │ the trial works                                                ▼
//! half-open: one read is let through ◀── alive ── probing (in the background) ── dead ──▶ open
//!   └── the trial fails ──▶ open
//! ```
//!
//! No viewer waits for the answer to "is it back?": a small probe asks first, and only where it is answered does one read go
//! there. The time it stays open doubles with each time in a row; that is forgotten after a while without failures, not
//! with the first success, so a shield that flaps is asked less and less.
//!
//! What was under way when it opened ends as it may: results that come later change nothing, until the trial's.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::config::BreakerConfig;
use super::jitter::Jitter;

/// Failures are counted over this long.
const WINDOW: Duration = Duration::from_secs(10);
/// A trial that was dropped without an outcome (its viewer left) makes room for another after this long.
const TRIAL: Duration = Duration::from_secs(5);
/// Least time between two probes of a shield when there is no other to ask.
const HURRY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { since: Instant, until: Instant },
    Probing,
    HalfOpen { taken_until: Option<Instant> },
}

/// Whether a shield may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Yes.
    Pass,
    /// No.
    Shut,
    /// No, but whoever got this must now probe it and tell [`Breaker::probed`].
    Probe,
}

/// What a result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    HalfOpened,
    Closed,
}

/// One shield's breaker.
pub(super) struct Breaker {
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    in_a_row: u32,
    window_from: Option<Instant>,
    worked: u32,
    failed: u32,
    /// Times it opened, less those forgiven.
    level: u32,
    last_failure: Option<Instant>,
}

impl Default for Breaker {
    fn default() -> Self {
        let state = State {
            phase: Phase::Closed,
            in_a_row: 0,
            window_from: None,
            worked: 0,
            failed: 0,
            level: 0,
            last_failure: None,
        };
        Self { state: Mutex::new(state) }
    }
}

impl State {
    fn open(&mut self, now: Instant, config: &BreakerConfig, jitter: &Jitter) -> Option<Change> {
        let most = Duration::from_millis(config.open_most_ms);
        let whole = Duration::from_millis(config.open_ms).saturating_mul(1 << self.level.min(16)).min(most);
        self.level = self.level.saturating_add(1);
        self.phase = Phase::Open { since: now, until: now + jitter.of(whole) };
        (self.in_a_row, self.worked, self.failed, self.window_from) = (0, 0, 0, None);
        Some(Change::Opened)
    }

    fn count(&mut self, now: Instant, failed: bool) {
        if self.window_from.is_none_or(|from| now - from > WINDOW) {
            (self.window_from, self.worked, self.failed) = (Some(now), 0, 0);
        }
        if failed {
            self.failed += 1;
        } else {
            self.worked += 1;
        }
    }
}

impl Breaker {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the shield may be asked. Takes nothing yet: see [`enter`](Self::enter).
    pub(super) fn gate(&self, now: Instant) -> Gate {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed => Gate::Pass,
            Phase::Open { until, .. } if now < until => Gate::Shut,
            Phase::Open { .. } => {
                state.phase = Phase::Probing;
                Gate::Probe
            }
            Phase::Probing => Gate::Shut,
            Phase::HalfOpen { taken_until: Some(until) } if now < until => Gate::Shut,
            Phase::HalfOpen { .. } => Gate::Pass,
        }
    }

    /// There is nobody else to ask: whether to probe it now, though it isn't due. If so, as with [`Gate::Probe`].
    pub(super) fn hurry(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let due = matches!(state.phase, Phase::Open { since, .. } if now - since >= HURRY);
        if due {
            state.phase = Phase::Probing;
        }
        due
    }

    /// Called as it is asked: whether it still may be. A half-open one lets one asker in.
    pub(super) fn enter(&self, now: Instant) -> bool {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed => true,
            Phase::HalfOpen { taken_until } if taken_until.is_none_or(|until| now >= until) => {
                state.phase = Phase::HalfOpen { taken_until: Some(now + TRIAL) };
                true
            }
            _ => false,
        }
    }

    /// The probe's outcome.
    pub(super) fn probed(
        &self,
        alive: bool,
        now: Instant,
        config: &BreakerConfig,
        jitter: &Jitter,
    ) -> Option<Change> {
        let mut state = self.lock();
        if state.phase != Phase::Probing {
            return None;
        }
        if !alive {
            state.last_failure = Some(now);
            return state.open(now, config, jitter);
        }
        state.phase = Phase::HalfOpen { taken_until: None };
        Some(Change::HalfOpened)
    }

    /// It answered.
    pub(super) fn worked(&self, now: Instant, config: &BreakerConfig) -> Option<Change> {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed => {
                state.in_a_row = 0;
                state.count(now, false);
                let forgive = Duration::from_millis(config.forgive_ms);
                if state.level > 0 && state.last_failure.is_none_or(|at| now - at > forgive) {
                    state.level = 0;
                }
                None
            }
            Phase::HalfOpen { .. } => {
                state.phase = Phase::Closed;
                Some(Change::Closed)
            }
            _ => None,
        }
    }

    /// It failed; `dead` is a proof that it can't serve at all.
    pub(super) fn failed(
        &self,
        dead: bool,
        now: Instant,
        config: &BreakerConfig,
        jitter: &Jitter,
    ) -> Option<Change> {
        let mut state = self.lock();
        match state.phase {
            Phase::Closed => {
                state.last_failure = Some(now);
                state.in_a_row += 1;
                state.count(now, true);
                let all = state.worked + state.failed;
                let share = all >= config.requests && state.failed * 100 >= all * config.percent;
                if dead || state.in_a_row >= config.failures || share {
                    return state.open(now, config, jitter);
                }
                None
            }
            Phase::HalfOpen { .. } => {
                state.last_failure = Some(now);
                state.open(now, config, jitter)
            }
            _ => None,
        }
    }

    /// Whether it is anything but closed.
    pub(super) fn is_tripped(&self) -> bool {
        self.lock().phase != Phase::Closed
    }
}

#[cfg(test)]
mod tests;
