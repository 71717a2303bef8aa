//! `seek` and `pause`: the same machinery, because an unpause is a seek to where the player says it is. And what any slow operation of a
//! stream brought is handed out here (`apply`).
//!
//! What is already in the batch is still sent (it is small); the sample at hand is dropped. The
//! replies precede the new media, because librtmp and ffmpeg throw away everything before Seek.Notify. A newer seek replaces one
//! that is still looking for its place.
//!
//! Each costs reads and a burst of media, so a viewer has one every `seek_interval_ms`: what comes faster waits, and the latest wins; the one
//! under way has that long to be found. A thumb dragged along a time line notices nothing; a storm costs no more than a drag.

use tokio::time::{Duration, Instant, sleep_until};
use tracing::info;

use super::Session;
use super::stream::{Done, Later, Reposition, State};
use crate::config::SeekTimeline;
use crate::media::{Cursor, MediaError};
use crate::object::ObjectReader;
use crate::rtmp::amf::Value;
use crate::rtmp::command::Command;
use crate::rtmp::{control, reply};

impl Session {
    pub(super) fn on_seek(&mut self, stream_id: u32, command: &Command) {
        let ms = command.args.first().and_then(Value::as_number).unwrap_or(f64::NAN);
        let Some(stream) = self.stream(stream_id) else { return };
        match &stream.state {
            // Players seek before Play.Start and when idle: kept until the file is open, or of no effect. Never an error.
            State::Opening(_) => stream.early_seek_ms = Some(ms),
            State::Idle | State::Waiting(..) => {}
            State::Playing(_) => self.seek_to(stream_id, ms),
        }
    }

    pub(super) fn seek_to(&mut self, stream_id: u32, ms: f64) {
        let file_timeline = self.shared.config.seek_timeline == SeekTimeline::File;
        let Some(stream) = self.stream(stream_id) else { return };
        let State::Playing(playing) = &stream.state else { return };
        let signed = playing.request.name.clone();
        let name = signed.display.clone();
        if ms.is_nan() || ms < 0.0 {
            let text = format!("Invalid seek time {ms} (stream ID: {stream_id}).");
            self.status(stream_id, "error", "NetStream.Seek.InvalidTime", &text, &name);
            return;
        }
        let origin_ms = playing.playback.origin_ms;
        if !self.may_seek(stream_id, &signed) {
            return;
        }
        let target_ms = if file_timeline { ms as u64 } else { origin_ms.saturating_add(ms as u64) };
        self.settle_unpause(stream_id, &name);
        match self.next_turn() {
            None => self.reposition(stream_id, Reposition::Seek { ms }, target_ms, None),
            Some(turn) => {
                if let Some(stream) = self.stream(stream_id) {
                    stream.later = Some(Later::new(ms, target_ms, turn));
                }
            }
        }
    }

    pub(super) fn on_pause(&mut self, stream_id: u32, command: &Command) {
        let now_paused = self.stream(stream_id).is_some_and(|stream| stream.paused);
        let pause = command.args.first().and_then(Value::as_bool).unwrap_or(!now_paused);
        let ms = command.args.get(1).and_then(Value::as_number).filter(|ms| *ms >= 0.0);
        let Some(stream) = self.stream(stream_id) else { return };
        let State::Playing(playing) = &stream.state else {
            // Before the file is open, only the flag: it opens paused.
            stream.paused = pause;
            return;
        };
        let name = playing.request.name.display.clone();
        let at_ms = ms.map_or(playing.playback.time_ms, |ms| ms as u64);
        let (base_ms, over) = (playing.playback.base_ms, playing.over);
        // An item that follows another may be thought to begin at 0.
        let target_ms =
            playing.playback.file_time(if at_ms < base_ms { base_ms.saturating_add(at_ms) } else { at_ms });
        info!(
            session = self.id,
            stream = stream_id,
            name,
            at_ms,
            "{}",
            if pause { "pause" } else { "unpause" }
        );
        self.settle_unpause(stream_id, &name);
        if let Some(stream) = self.stream(stream_id) {
            stream.paused = pause;
            if let Some(playing) = stream.playing() {
                playing.paused_at_ms = pause.then_some(at_ms);
            }
        }
        let pending = self.stream(stream_id).and_then(|stream| stream.pending);
        let seeking = matches!(pending, Some(Reposition::Seek { .. }))
            || self.stream(stream_id).is_some_and(|stream| stream.later.is_some());
        if pause {
            self.record_pause(stream_id, true);
            control::stream_eof(stream_id, &mut self.out.batch);
            self.status(stream_id, "status", "NetStream.Pause.Notify", &format!("Pausing {name}."), &name);
        } else if over || seeking {
            // Everything was sent and announced, so there is nothing to go on with; or a seek is on its way to where the viewer wants
            // to be, and its media start when it is there.
            self.record_pause(stream_id, false);
            self.status(
                stream_id,
                "status",
                "NetStream.Unpause.Notify",
                &format!("Unpausing {name}."),
                &name,
            );
        } else {
            let turn = self.next_turn();
            self.reposition(stream_id, Reposition::Unpause { ms: at_ms }, target_ms, turn);
        }
    }

    /// An unpause that is still looking for its place is overtaken by another command: it gets its notification, in its turn, and nothing
    /// more, because the place no longer matters.
    fn settle_unpause(&mut self, stream_id: u32, name: &str) {
        let Some(stream) = self.stream(stream_id) else { return };
        if matches!(stream.pending, Some(Reposition::Unpause { .. })) {
            (stream.op, stream.pending) = (None, None);
            self.record_pause(stream_id, false);
            self.status(stream_id, "status", "NetStream.Unpause.Notify", &format!("Unpausing {name}."), name);
        }
    }

    /// Looks for the place of `target_ms` (file time), from `turn` on; media stops until it is found.
    fn reposition(&mut self, stream_id: u32, why: Reposition, target_ms: u64, turn: Option<Instant>) {
        let Some(stream) = self.stream(stream_id) else { return };
        let State::Playing(playing) = &mut stream.state else { return };
        (playing.end_due, playing.over, playing.sleeps_until, playing.waits_since) =
            (None, false, None, None);
        let (media, mut reader) = (playing.playback.media.clone(), playing.playback.reader.clone());
        stream.pending = Some(why);
        stream.op = Some(Box::pin(async move {
            if let Some(turn) = turn {
                sleep_until(turn).await;
            }
            let cursor = media.cursor(&mut reader, target_ms).await;
            Done::Repositioned(why, target_ms, cursor.map(|cursor| (cursor, reader)))
        }));
    }

    /// When the viewer's next seek or unpause may begin: `None` is at once.
    pub(super) fn next_turn(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let interval = Duration::from_millis(self.shared.config.seek_interval_ms);
        let turn = match self.repositioned_at {
            // The one that waits is replaced, and its turn taken over.
            Some(at) if at > now => Some(at),
            Some(at) if at + interval > now => Some(at + interval),
            _ => None,
        };
        self.shared.metrics.deferred_seeks.inc_by(u64::from(turn.is_some()));
        self.repositioned_at = Some(turn.unwrap_or(now));
        turn
    }

    pub(super) fn on_repositioned(
        &mut self,
        stream_id: u32,
        why: Reposition,
        target_ms: u64,
        result: Result<(Cursor, ObjectReader), MediaError>,
    ) {
        let cap_ms = self.shared.config.max_buffer_ms;
        let play_start = self.shared.config.play_start_after_seek;
        let Some(index) = self.streams.iter().position(|stream| stream.id == stream_id) else { return };
        let paused = self.streams[index].paused;
        self.streams[index].pending = None;
        let Some(playing) = self.streams[index].playing() else { return };
        let (cursor, reader) = match result {
            Ok(place) => place,
            Err(error) => {
                self.fail(index, &error);
                return;
            }
        };
        let (film, container) = (playing.request.name.clone(), playing.playback.media.container);
        let name = film.display.clone();
        if let Reposition::Seek { .. } = why {
            // Seeks count from the item's own start, and so does time from then on.
            playing.playback.base_ms = 0;
        }
        let stream_ms =
            playing.playback.base_ms.saturating_add(target_ms.saturating_sub(playing.playback.origin_ms));
        playing.playback.jump(cursor, reader, stream_ms, cap_ms, paused);
        playing.begins = true;
        let start = format!("Started playing {name}.");
        if let Reposition::Seek { .. } = why {
            control::stream_eof(stream_id, &mut self.out.batch);
        }
        self.out.jump(stream_id);
        control::stream_is_recorded(stream_id, &mut self.out.batch);
        control::stream_begin(stream_id, &mut self.out.batch);
        match why {
            Reposition::Seek { ms } => {
                // Logged when obeyed: what a storm asks for on top is only counted.
                info!(session = self.id, stream = stream_id, name, ms, "seek");
                self.record_seek(stream_id, &film, container);
                let text = format!("Seeking {ms} (stream ID: {stream_id}).");
                self.status(stream_id, "status", "NetStream.Seek.Notify", &text, &name);
                if play_start {
                    self.status(stream_id, "status", "NetStream.Play.Start", &start, &name);
                }
            }
            Reposition::Unpause { .. } => {
                self.record_pause(stream_id, false);
                self.status(
                    stream_id,
                    "status",
                    "NetStream.Unpause.Notify",
                    &format!("Unpausing {name}."),
                    &name,
                );
                self.status(stream_id, "status", "NetStream.Play.Start", &start, &name);
            }
        }
        self.out.data(stream_id, stream_ms as u32, self.sample_access());
        self.out.data(stream_id, stream_ms as u32, reply::data_start());
        self.move_transition(stream_id);
    }

    /// Applies what a stream's slow operation brought.
    pub(super) fn apply(&mut self, stream_id: u32, done: Done) {
        match done {
            Done::Turn => {
                let Some(later) = self.stream(stream_id).and_then(|stream| stream.later.take()) else {
                    return;
                };
                self.reposition(stream_id, Reposition::Seek { ms: later.ms }, later.target_ms, None);
            }
            Done::Opened(result) => self.on_opened(stream_id, result),
            Done::Repositioned(why, target_ms, result) => {
                self.on_repositioned(stream_id, why, target_ms, result)
            }
            Done::Fetched(fetched) => self.on_fetched(stream_id, fetched),
            Done::Looked(looked) => self.on_looked(stream_id, looked),
        }
    }
}
