//! What a session holds in memory, and what it lets go of when its viewer does not take it.
//!
//! A viewer that takes what it is sent holds a block or two that it reads from. One that doesn't would hold, for as long as it likes, those and
//! every block of which a slice is queued: megabytes. So a viewer whose queue has not been empty for [`SLOW_AFTER`], and who took less than a
//! full queue in that time, is *slow*, and:
//!
//! * when it takes nothing, it is sent nothing more and its reader lets go of its blocks; they are found or fetched again if it goes on;
//! * under memory pressure its queue is copied out of the blocks it pins (some 256 KiB instead of as many MiB), and filled again only when
//!   nearly empty;
//! * when memory is short and it has taken nothing for [`STALLED_AFTER`], it is closed: its place is worth more to others. At the cap,
//!   [`SLOW_AFTER`] is long enough.
//!
//! A session that plays nothing keeps no buffers either: ten thousand of them are idle sockets and little else.

use tokio::time::{Duration, Instant};

use super::stream::State;
use super::{End, Session};
use crate::budget::{Account, Charge, Pressure};
use crate::egress::Paid;

/// How long a queue may stay behind before its viewer is judged, and how long it is judged by.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// Under pressure, who takes nothing for so long is closed.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How often a slow session is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// The same under memory pressure.
const LOOK_UNDER_PRESSURE: Duration = Duration::from_secs(1);

/// A session's part of the budget.
pub(super) struct Holding {
    charge: Charge,
    /// Since when the queue was never empty.
    blocked_since: Option<Instant>,
    /// When the viewer was last judged, and what it had been sent by then.
    judged: Option<(Instant, u64)>,
    /// It took less than a queue's worth in the time before that.
    slow: bool,
    /// The viewer is slow and memory is short: little is queued, and nothing of it pins a block.
    frugal: bool,
    /// The viewer takes nothing.
    stalled: bool,
    /// The egress cap lets nothing more leave before this.
    pub(super) throttled_until: Option<Instant>,
    pub(super) paid: Paid,
}

impl Holding {
    pub(super) fn new(queues: &std::sync::Arc<Account>) -> Self {
        Self {
            charge: Charge::new(queues, 0),
            blocked_since: None,
            judged: None,
            slow: false,
            frugal: false,
            stalled: false,
            throttled_until: None,
            paid: Paid::default(),
        }
    }

    /// The viewer has taken everything, or it is not it that holds back.
    fn keep_up(&mut self) {
        (self.blocked_since, self.judged) = (None, None);
        (self.slow, self.frugal, self.stalled) = (false, false, false);
    }
}

impl Session {
    /// How much may be queued for the viewer.
    pub(super) fn batch_limit(&self) -> usize {
        let mut limit = self.shared.egress.batch_bytes(self.shared.config.batch_bytes);
        if self.shared.budget().pressure() >= Pressure::High {
            limit /= 4;
        }
        limit.max(4096)
    }

    /// Whether media is to be queued at all now.
    pub(super) fn wants_media(&self) -> bool {
        let queued = self.out.queued_bytes();
        queued == 0
            || !(self.holding.stalled || self.holding.frugal && queued >= self.shared.config.batch_bytes / 16)
    }

    /// Accounts for what the session holds after a write, and lets go of what it need not hold. When to look again, while the viewer
    /// has not taken everything.
    pub(super) fn hold(&mut self, now: Instant) -> Result<Option<Instant>, End> {
        let queued = self.out.queued_bytes();
        if queued == 0 {
            self.holding.keep_up();
            self.release_when_idle();
            self.charge();
            return Ok(None);
        }
        self.charge();
        if self.holding.throttled_until.is_some() || self.trail.withholds() {
            // It is we who hold back.
            self.holding.keep_up();
            return Ok(None);
        }
        let since = *self.holding.blocked_since.get_or_insert(now);
        let (judged, sent_bytes) = *self.holding.judged.get_or_insert((now, self.sent_bytes));
        if now >= judged + SLOW_AFTER {
            let windows = now.duration_since(judged).as_secs_f64() / SLOW_AFTER.as_secs_f64();
            let took = (self.sent_bytes - sent_bytes) as f64;
            self.holding.slow = took < windows * self.shared.config.batch_bytes as f64;
            self.holding.judged = Some((now, self.sent_bytes));
        }
        if !self.holding.slow {
            (self.holding.frugal, self.holding.stalled) = (false, false);
            let judged = self.holding.judged.map_or(now, |(at, _)| at);
            return Ok(Some(judged + SLOW_AFTER));
        }
        let took_nothing = now.duration_since(self.wrote_at.max(since));
        let pressure = self.shared.budget().pressure();
        self.holding.stalled = took_nothing >= SLOW_AFTER;
        self.holding.frugal = pressure >= Pressure::High;
        let patience = if pressure >= Pressure::Over { SLOW_AFTER } else { STALLED_AFTER };
        if pressure >= Pressure::Full && took_nothing >= patience {
            self.shared.metrics.refused.with_label_values(&["stalled"]).inc();
            return Err(End::Crowded);
        }
        if self.holding.stalled || self.holding.frugal {
            self.release_readers(|_| true);
        }
        if self.holding.frugal && !self.out.batch.is_detached() {
            self.out.batch.detach();
            self.shared.metrics.detached.inc();
            self.charge();
        }
        Ok(Some(now + if self.holding.frugal { LOOK_UNDER_PRESSURE } else { LOOK }))
    }

    /// Bytes that are the session's own, its connection apart, which is charged from its accept on: slices of blocks are charged with their block.
    fn charge(&mut self) {
        let queued = self.out.batch.own_bytes() + self.out.held.own_bytes;
        let taken = self.input.capacity()
            + self.reader.in_flight_bytes()
            + self.swf.held_bytes()
            + self.trail.held_bytes();
        self.holding.charge.set_in_steps((queued + taken) as u64);
    }

    /// A session without a running play waits for its viewer, maybe for hours.
    fn release_when_idle(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.input = bytes::BytesMut::new();
        }
        self.release_readers(|stream| stream.paused);
        let plays =
            |s: &super::Stream| matches!(&s.state, State::Playing(playing) if !s.paused && !playing.over);
        if !self.streams.iter().any(plays) {
            self.out.batch.shrink();
        }
    }

    /// The readers of the streams that fit let go of their blocks.
    pub(super) fn release_readers(&mut self, fits: impl Fn(&super::Stream) -> bool) {
        for stream in self.streams.iter_mut().filter(|stream| fits(stream)) {
            if let State::Playing(playing) = &mut stream.state {
                playing.playback.reader.release();
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
