//! The blocks one stream has asked for ahead of sending them.
//!
//! The stream works on its window while it is polled; in between, while its edge doesn't read, the budget may take back
//! what was asked ahead. Nothing is lost by that: the window remembers from which block to ask again, and the fills that ran
//! have left their blocks in the cache.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Hold;
use crate::fill::coalesce::Pending;

/// A block asked ahead, and its part of the budget.
pub(super) struct Asked {
    pub(super) index: u64,
    pub(super) pending: Pending,
    pub(super) hold: Hold,
}

struct State {
    asked: VecDeque<Asked>,
    /// The first block not yet asked for.
    next_block: u64,
    /// Since when the stream waits for its edge; none while it works.
    idle_since: Option<Instant>,
}

/// See the module.
pub(super) struct Window {
    state: Mutex<State>,
}

impl Window {
    /// An empty window before `next_block`.
    pub(super) fn new(next_block: u64) -> Self {
        Self { state: Mutex::new(State { asked: VecDeque::new(), next_block, idle_since: None }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream works from now on: nothing is taken back.
    pub(super) fn work(&self) {
        self.lock().idle_since = None;
    }

    /// The stream waits for its edge from now on.
    pub(super) fn rest(&self) {
        self.lock().idle_since = Some(Instant::now());
    }

    /// What to ask for now: up to `most` blocks before `end`, and none while over a quarter of `most` is still there: asked
    /// block by block, misses would not merge into long GETs.
    pub(super) fn wants(&self, end: u64, most: u64) -> Range<u64> {
        let state = self.lock();
        let next = state.next_block;
        if state.asked.len() as u64 > most / 4 {
            next..next
        } else {
            next..end.min(next.saturating_add(most))
        }
    }

    /// Notes that these were asked for.
    pub(super) fn push(&self, asked: impl Iterator<Item = Asked>) {
        let mut state = self.lock();
        for asked in asked {
            state.next_block = asked.index + 1;
            state.asked.push_back(asked);
        }
    }

    /// The next block to send.
    pub(super) fn pop(&self) -> Option<Asked> {
        self.lock().asked.pop_front()
    }

    /// The next block before `end`, when none was asked ahead.
    pub(super) fn step(&self, end: u64) -> Option<u64> {
        let mut state = self.lock();
        let index = state.next_block;
        (index < end).then(|| {
            state.next_block += 1;
            index
        })
    }

    /// If the stream has waited for its edge for `slow`, forgets what it asked for; how many blocks.
    pub(super) fn take_back(&self, now: Instant, slow: Duration) -> usize {
        let taken = {
            let mut state = self.lock();
            let is_slow = state.idle_since.is_some_and(|since| now >= since + slow);
            let Some(first) = state.asked.front().filter(|_| is_slow).map(|asked| asked.index) else {
                return 0;
            };
            state.next_block = first;
            std::mem::take(&mut state.asked)
        };
        taken.len()
    }
}
