//! What a writer does when it is time, not because something came.

use std::time::Duration;

use tokio::time::Instant;

use super::Writer;
use crate::client::spool::part::Part;

/// How often an operator's numbers are brought up to date.
const SHOW_EVERY: Duration = Duration::from_secs(1);

impl Writer {
    fn sync_due(&self) -> Option<Instant> {
        let since = self.part.as_ref().and_then(Part::unsynced)?;
        Some(since + Duration::from_millis(self.config.sync_ms))
    }

    fn seal_due(&self) -> Option<Instant> {
        let part = self.part.as_ref().filter(|part| part.records() > 0)?;
        let aged = part.since() + Duration::from_millis(self.config.seal_after_ms);
        let due = if part.is_ending() { part.since() } else { aged };
        Some(self.paused.map_or(due, |(until, _)| due.max(until)))
    }

    fn is_idle(&self) -> bool {
        let records = self.part.as_ref().map_or(0, Part::records);
        records == 0 && self.sessions.len() == 0 && self.shared.shelf.held().0 == 0 && self.emptied.is_empty()
    }

    /// How long it may sleep; `None`: until something comes.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        let mut due = vec![self.sync_due(), self.seal_due()];
        if !self.is_idle() || !self.sessions.is_saved() {
            due.extend([Some(self.journal_due), Some(self.show_due)]);
        }
        due.into_iter().flatten().min().map(|due| due.saturating_duration_since(now))
    }

    /// Does what is due; true if that was to bring an operator's numbers up to date.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        if self.sync_due().is_some_and(|due| due <= now) {
            self.sync();
        }
        if self.seal_due().is_some_and(|due| due <= now) {
            self.seal(now);
            self.keep_within_bound(now);
        }
        if self.journal_due <= now {
            self.save(now, false);
        }
        let shows = self.show_due <= now;
        if shows {
            self.show_due = now + SHOW_EVERY;
            self.show();
            self.shared.drops.tell(false);
        }
        self.shared.lag.is_in_part(self.part.as_ref().and_then(Part::first_ms));
        shows
    }

    /// Brings an operator's numbers up to date.
    pub(crate) fn show(&self) {
        let metrics = &self.shared.metrics;
        metrics.spool_bytes.set(self.bytes() as i64);
        metrics.waiting.set(self.shared.shelf.held().0 as i64);
        metrics.sessions.set(self.sessions.len() as i64);
    }

    /// The end: what there is is sealed, and the journal up to date.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.seal(now);
        if let Some(part) = self.part.take_if(|part| part.records() == 0) {
            // It never came to hold anything; its number stays unused, which the mark knows.
            let _ = self.disk.remove(part.path());
        }
        self.save(now, true);
        self.show();
        self.shared.drops.tell(true);
    }
}
