//! The playhead of one viewer, which makes late media a stall.
//!
//! A player begins once it holds `buffer_ms` of media (or the film has ended) and then plays in real time. When
//! its playhead reaches the newest media it has, and the film isn't over, it stalls: it waits until it holds `buffer_ms` again,
//! and the wait is counted from the moment the media was missing. Nothing ticks: a stall is found when the next message
//! comes, or at the end. Times are microseconds since the driver began, media times milliseconds.

/// One player.
#[derive(Clone, Debug)]
pub struct Player {
    buffer_ms: u64,
    /// Where the playhead stood when, while playing.
    playing: Option<(u64, u64)>,
    /// Where it stands while it doesn't play.
    held_ms: u64,
    /// Time of the newest media; `None` before the first since a reposition.
    newest_ms: Option<u64>,
    /// When the wait under way began, if it is a stall.
    stalled_us: Option<u64>,
    ended: bool,
    paused: bool,
    stalls: u32,
    waited_us: u64,
}

impl Player {
    /// A player that has nothing yet.
    pub fn new(buffer_ms: u64) -> Self {
        Self {
            buffer_ms,
            playing: None,
            held_ms: 0,
            newest_ms: None,
            stalled_us: None,
            ended: false,
            paused: false,
            stalls: 0,
            waited_us: 0,
        }
    }

    /// Where the playhead is, in ms.
    pub fn playhead_ms(&self, now_us: u64) -> u64 {
        match self.playing {
            Some((since_us, from_ms)) => from_ms + now_us.saturating_sub(since_us) / 1000,
            None => self.held_ms,
        }
    }

    /// Media of this time has come.
    pub fn media(&mut self, now_us: u64, time_ms: u64) {
        if self.newest_ms.is_none() {
            self.held_ms = time_ms;
        }
        self.settle(now_us);
        let newest = self.newest_ms.unwrap_or(0).max(time_ms);
        self.newest_ms = Some(newest);
        if self.playing.is_none() && newest - self.held_ms.min(newest) >= self.buffer_ms {
            self.begin(now_us);
        }
    }

    fn begin(&mut self, now_us: u64) {
        if self.paused {
            return;
        }
        if let Some(since) = self.stalled_us.take() {
            self.waited_us += now_us.saturating_sub(since);
        }
        self.playing = Some((now_us, self.held_ms));
    }

    /// Looks whether the playhead has run out of media by now.
    pub fn settle(&mut self, now_us: u64) {
        let (Some((since_us, from_ms)), Some(newest)) = (self.playing, self.newest_ms) else { return };
        if self.ended || self.playhead_ms(now_us) <= newest {
            return;
        }
        self.stalls += 1;
        self.stalled_us = Some(since_us + (newest - from_ms.min(newest)) * 1000);
        self.held_ms = newest;
        self.playing = None;
    }

    /// The server has said that this was all.
    pub fn end(&mut self, now_us: u64) {
        self.settle(now_us);
        self.ended = true;
        if self.playing.is_none() {
            self.begin(now_us);
        }
    }

    /// The viewer pauses; answers where, in ms.
    pub fn pause(&mut self, now_us: u64) -> u64 {
        self.settle(now_us);
        self.held_ms = self.playhead_ms(now_us);
        self.playing = None;
        self.paused = true;
        self.stalled_us = None;
        self.held_ms
    }

    /// What was buffered is thrown away: a seek or an unpause asks for new media.
    pub fn reposition(&mut self, now_us: u64) {
        self.settle(now_us);
        self.held_ms = self.playhead_ms(now_us);
        self.playing = None;
        self.newest_ms = None;
        self.stalled_us = None;
        (self.ended, self.paused) = (false, false);
    }

    /// Stalls so far, and how long they lasted, in µs. One under way counts up to now.
    pub fn stalls(&mut self, now_us: u64) -> (u32, u64) {
        self.settle(now_us);
        let under_way = self.stalled_us.map_or(0, |since| now_us.saturating_sub(since));
        (self.stalls, self.waited_us + under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    #[test]
    fn media_in_time_is_no_stall() {
        let mut player = Player::new(1000);
        for n in 0..=100 {
            player.media(n * 40 * MS, n * 40);
        }
        assert_eq!(player.playhead_ms(4000 * MS), 3000, "it began when it held a second");
        assert_eq!(player.stalls(5000 * MS), (0, 0));
    }

    #[test]
    fn late_media_is_a_stall_from_when_it_was_missing() {
        let mut player = Player::new(1000);
        player.media(0, 0);
        player.media(0, 2000);
        player.media(2500 * MS, 2040);
        assert_eq!(player.stalls(2500 * MS), (1, 500 * MS));
        player.media(2700 * MS, 3000);
        assert_eq!(
            player.playhead_ms(2800 * MS),
            2100,
            "it waits for a whole buffer, then goes on where it stood"
        );
        assert_eq!(player.stalls(2800 * MS), (1, 700 * MS));
    }

    #[test]
    fn a_stall_is_seen_at_the_end_too() {
        let mut player = Player::new(1000);
        player.media(0, 0);
        player.media(0, 1000);
        assert_eq!(player.stalls(3000 * MS), (1, 2000 * MS));
    }

    #[test]
    fn the_end_of_a_film_is_none() {
        let mut player = Player::new(1000);
        player.media(0, 0);
        player.media(0, 500);
        player.end(100 * MS);
        assert_eq!(player.stalls(9000 * MS), (0, 0));
    }

    #[test]
    fn a_pause_stops_the_playhead() {
        let mut player = Player::new(1000);
        player.media(0, 0);
        player.media(0, 5000);
        assert_eq!(player.pause(2000 * MS), 2000);
        assert_eq!(player.stalls(60_000 * MS), (0, 0));
        player.reposition(60_000 * MS);
        player.media(60_000 * MS, 2000);
        player.media(60_000 * MS, 3000);
        assert_eq!(player.playhead_ms(60_500 * MS), 2500);
    }

    #[test]
    fn a_seek_starts_anew_wherever_it_lands() {
        let mut player = Player::new(1000);
        player.media(0, 0);
        player.media(0, 5000);
        player.reposition(100 * MS);
        player.media(9000 * MS, 60_000);
        player.media(9000 * MS, 61_000);
        assert_eq!(player.playhead_ms(9100 * MS), 60_100);
        assert_eq!(player.stalls(9100 * MS), (0, 0));
    }
}
