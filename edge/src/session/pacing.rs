//! When a sample may leave.
//!
//! FMS fills twice the client's buffer as fast as TCP allows and then keeps the client that far ahead of real time. The
//! target is `2 × max(buffer, 1 s)`, capped. A play, a seek and an unpause each open a new window. A download (a buffer of an
//! hour or more, librtmp's 36,000,000 ms) is not held back before the cap.
//!
//! Media then goes out a *tick* at a time, so that a wake-up, a write and a packet train are paid for some 100 KiB instead of a frame:
//! a tick is as long as `tick_bytes` last at the film's bitrate, within limits, and never over a third of the client's buffer, so
//! that the client always holds more than its own buffer. (At 500 kb/s, ticks of 100 ms cost 2.0 CPU seconds a GB, ticks of 1 s 0.7.)
//! Ticks are timers of the runtime's wheel, which all sessions share; there is none a frame.
//!
//! The end of the file is announced late on purpose: ffmpeg and mpv take a NetStream.Play.Stop that is in flight while they seek for
//! the end of everything.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::EdgeConfig;

/// From this buffer on a client is a download, in ms.
pub(crate) const DOWNLOAD_MS: u64 = 3_600_000;

/// How much media leaves at a time for a client that buffers `buffer_ms` of a film of `bytes_per_second`.
pub(crate) fn tick(config: &EdgeConfig, bytes_per_second: u64, buffer_ms: u64) -> Duration {
    let most_ms = config.tick_max_ms.min(buffer_ms.max(1000) / 3).max(config.tick_ms);
    let ms = config.tick_bytes.saturating_mul(1000) / bytes_per_second.max(1);
    Duration::from_millis(ms.clamp(config.tick_ms, most_ms))
}

/// One window of pacing. Times are milliseconds on the stream's own timeline.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    opened: Instant,
    base_ms: u64,
    cap_ms: u64,
    unpaced: bool,
}

impl Pacer {
    /// A window that opens now with media at `base_ms`. `unpaced` delivers everything at once (play's reset 2 and 3).
    pub(crate) fn open(now: Instant, base_ms: u64, cap_ms: u64, unpaced: bool) -> Self {
        Self { opened: now, base_ms, cap_ms, unpaced }
    }

    fn target_ms(&self, buffer_ms: u64) -> u64 {
        buffer_ms.max(1000).saturating_mul(2).min(self.cap_ms)
    }

    /// When media of `time_ms` may leave, for a client that buffers `buffer_ms`.
    pub(crate) fn due(&self, time_ms: u64, buffer_ms: u64) -> Instant {
        if self.unpaced {
            return self.opened;
        }
        let ahead = time_ms.saturating_sub(self.base_ms).saturating_sub(self.target_ms(buffer_ms));
        self.opened + Duration::from_millis(ahead)
    }

    /// Where a viewer would be that began when the window opened and never had to wait; `None` where time plays no part.
    pub(crate) fn clock_ms(&self, now: Instant) -> Option<u64> {
        let elapsed_ms = now.saturating_duration_since(self.opened).as_millis() as u64;
        (!self.unpaced).then(|| self.base_ms.saturating_add(elapsed_ms))
    }

    /// The same pace from now on, with media at `base_ms`.
    pub(crate) fn reopen(&mut self, now: Instant, base_ms: u64) {
        (self.opened, self.base_ms) = (now, base_ms);
    }

    /// When the end of the file, whose last sample ends at `end_ms`, may be announced.
    pub(crate) fn end_due(&self, end_ms: u64, buffer_ms: u64) -> Instant {
        if self.unpaced || buffer_ms >= DOWNLOAD_MS {
            return self.opened;
        }
        let played = end_ms.saturating_sub(self.base_ms);
        self.opened + Duration::from_millis(played.saturating_sub(buffer_ms.min(1000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn twice_the_buffer_leaves_at_once_and_the_rest_in_real_time() {
        let now = Instant::now();
        let pacer = Pacer::open(now, 0, 3_600_000, false);
        assert_eq!(pacer.due(6_000, 3_000), now);
        assert_eq!(pacer.due(7_000, 3_000), now + Duration::from_secs(1));
        assert_eq!(pacer.due(2_000, 0), now);
        assert_eq!(pacer.due(3_000, 0), now + Duration::from_secs(1));
    }

    #[test]
    fn a_tick_is_a_write_worth_its_cost_but_never_much_of_the_buffer() {
        let config = EdgeConfig::default();
        let ms = |bits_per_second: u64, buffer_ms| tick(&config, bits_per_second / 8, buffer_ms).as_millis();
        assert_eq!(ms(500_000, 3_000), 1000);
        assert_eq!(ms(500_000, 0), 333);
        assert_eq!(ms(5_000_000, 3_000), 209);
        assert_eq!(ms(50_000_000, 3_000), 100);
        assert_eq!(ms(0, 36_000_000), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_download_is_held_back_only_by_the_cap() {
        let now = Instant::now();
        let pacer = Pacer::open(now, 0, 3_600_000, false);
        assert_eq!(pacer.due(3_600_000, 36_000_000), now);
        assert!(pacer.due(3_700_000, 36_000_000) > now);
        assert_eq!(pacer.end_due(60_000, 36_000_000), now);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_announced_when_the_client_is_nearly_there() {
        let now = Instant::now();
        let pacer = Pacer::open(now, 10_000, 3_600_000, false);
        assert_eq!(pacer.end_due(70_000, 3_000), now + Duration::from_secs(59));
        assert_eq!(pacer.end_due(70_000, 300), now + Duration::from_millis(59_700));
        assert_eq!(Pacer::open(now, 0, 1, true).end_due(70_000, 300), now);
    }
}
