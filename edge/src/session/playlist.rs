//! Playlists: what plays after what plays.
//!
//! `play` without reset and `play2`'s append put items behind what plays; at its end onPlayStatus Play.Switch is sent and the next begins
//! with a Play.Start of its own. Time goes on from item to item. An item that is missing or can't be read is answered with its error,
//! and the next is tried; one that waits in silence (start -2) holds up those behind it, as it would alone. Only the end of the last item is the
//! end: Play.Complete, StreamEOF, Play.Stop. The list holds at most `max_playlist` items.

use tracing::info;

use super::Session;
use super::names::StreamName;
use super::stream::{PlayRequest, State};
use crate::rtmp::reply;

impl Session {
    /// Puts `request` behind what plays and waits. With `starts`, a stream where nothing plays begins with the first item.
    pub(super) fn enqueue(&mut self, stream_id: u32, request: PlayRequest, starts: bool) {
        let busy = self.is_busy(stream_id);
        let limit = self.shared.config.max_playlist;
        let Some(stream) = self.stream(stream_id) else { return };
        if starts && !busy && stream.playlist.is_empty() {
            self.play(stream_id, request);
            return;
        }
        if stream.playlist.len() >= limit {
            let name = request.name.display.clone();
            self.shared.metrics.refused.with_label_values(&["playlist"]).inc();
            self.status(stream_id, "warning", "NetStream.Failed", "The playlist is full.", &name);
            return;
        }
        stream.playlist.push_back(request);
        if starts && !busy {
            self.play_next(stream_id, 0);
        }
    }

    /// The end of a file is due: the next of the playlist, or the end sequence.
    pub(super) fn finish(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        let stream_id = stream.id;
        let State::Playing(playing) = &mut stream.state else { return };
        let playback = &mut playing.playback;
        playback.tell_takeover(&mut self.out, stream_id);
        if !stream.playlist.is_empty() {
            self.out.data(stream_id, playback.time_ms as u32, reply::play_status_switch());
            let end_ms = playback.end_ms().max(playback.newest_ms);
            self.play_next(stream_id, end_ms);
            return;
        }
        playing.over = true;
        playback.reader.release();
        playback.announce_end(&mut self.out, stream_id, &playing.request.name.display, &self.id);
        info!(
            session = self.id,
            stream = stream_id,
            name = playing.request.name.display,
            sent_bytes = playback.sent_bytes,
            "end of file"
        );
        self.record_stop(stream_id);
    }

    /// Begins with the next item, if there is one, at `base_ms` of the stream.
    pub(super) fn play_next(&mut self, stream_id: u32, base_ms: u64) {
        let Some(stream) = self.stream(stream_id) else { return };
        let Some(next) = stream.playlist.pop_front() else { return };
        let rest = std::mem::take(&mut stream.playlist);
        self.stop_stream(stream_id);
        if let Some(stream) = self.stream(stream_id) {
            stream.playlist = rest;
        }
        self.open(stream_id, PlayRequest { base_ms, ..next });
    }

    /// Whether `name` is what the stream plays, or is about to.
    pub(super) fn plays(&mut self, stream_id: u32, name: &StreamName) -> bool {
        let playing = self.stream(stream_id).and_then(|stream| match &stream.state {
            State::Playing(playing) => Some(playing.request.name.clone()),
            State::Opening(request) | State::Waiting(request, _) => Some(request.name.clone()),
            State::Idle => None,
        });
        playing.is_some_and(|playing| playing.may_be(name))
    }

    /// Whether `name` waits in the playlist.
    pub(super) fn is_queued(&mut self, stream_id: u32, name: &StreamName) -> bool {
        self.stream(stream_id).is_some_and(|stream| stream.playlist.iter().any(|item| item.name.may_be(name)))
    }

    /// Puts `request` in the place of the first item that `old` names; whether there is one.
    pub(super) fn replace_queued(&mut self, stream_id: u32, old: &StreamName, request: PlayRequest) -> bool {
        let item = self
            .stream(stream_id)
            .and_then(|stream| stream.playlist.iter_mut().find(|item| item.name.may_be(old)));
        match item {
            Some(item) => {
                *item = PlayRequest { unpaced: item.unpaced, ..request };
                true
            }
            None => false,
        }
    }
}
