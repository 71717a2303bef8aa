//! Whether a viewer gets in time what it watches.
//!
//! A viewer whose connection is slower than the film runs dry, however much it buffered at first. Real time has then passed what was sent;
//! when that has lasted for `insufficient_bandwidth_ms`, NetStream.Play.InsufficientBW (a warning) tells its player, which may switch to
//! a lower bitrate; again after as long, while it lasts. It is not said of a film that is paused, of a download, of one that waits for its
//! own bytes (that is our doing), or to a viewer that takes nothing at all: that one has stopped by itself, or is gone.

use tokio::time::{Duration, Instant};
use tracing::info;

use super::Session;
use super::pacing::DOWNLOAD_MS;

impl Session {
    /// Looks at every stream; when to look again, where that matters.
    pub(super) fn watch_delivery(&mut self, now: Instant) -> Option<Instant> {
        let patience = Duration::from_millis(self.shared.config.insufficient_bandwidth_ms);
        if patience.is_zero() {
            return None;
        }
        let (blocked, wrote_at) = (!self.out.batch.is_empty(), self.wrote_at);
        let mut again: Option<Instant> = None;
        for index in 0..self.streams.len() {
            let stream = &mut self.streams[index];
            let (stream_id, waits) = (stream.id, stream.op.is_some());
            let excused = stream.paused || stream.buffer_ms >= DOWNLOAD_MS || !(stream.audio || stream.video);
            let Some(playing) = stream.playing() else { continue };
            let Some(clock_ms) = playing.playback.clock_ms(now) else { continue };
            let newest_ms = playing.playback.newest_ms;
            if excused || playing.is_sent() || (waits && !blocked) {
                playing.late_since = None;
                continue;
            }
            if clock_ms <= newest_ms {
                playing.late_since = None;
                // Of one that takes all it is sent, the next sample wakes the session.
                let due = now + Duration::from_millis(newest_ms - clock_ms + 1);
                again = again.into_iter().chain(blocked.then_some(due)).min();
                continue;
            }
            let since = *playing.late_since.get_or_insert(now);
            if now < since + patience {
                again = again.into_iter().chain([since + patience]).min();
                continue;
            }
            if wrote_at <= since {
                continue;
            }
            playing.late_since = Some(now);
            let (name, late_ms) = (playing.request.name.display.clone(), clock_ms - newest_ms);
            info!(
                session = self.id,
                stream = stream_id,
                name,
                late_ms,
                "the viewer's connection is too slow for the film"
            );
            self.shared.metrics.insufficient_bandwidth.inc();
            let text = format!("Insufficient bandwidth for {name}: {late_ms} ms behind real time.");
            self.status(stream_id, "warning", "NetStream.Play.InsufficientBW", &text, &name);
        }
        again
    }
}
