//! What a viewer's messages mean.
//!
//! Everything FMS's players are known to send is answered in FMS's way; an unknown call with a transaction gets `_result` null (players take
//! FMS's own Call.Failed for an error); publishing is refused; anything else is ignored. Nothing here waits.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info};

use super::authorise::Granted;
use super::names::StreamName;
use super::stream::{State, Stream};
use super::{End, Session, opening};
use crate::rtmp::amf::{Limits, Value};
use crate::rtmp::command::{self, Command};
use crate::rtmp::control::{self, UserControl};
use crate::rtmp::{Message, reply};

impl Session {
    pub(super) fn on_message(&mut self, message: Message) -> Result<(), End> {
        if self.swf.is_awaited() {
            return self.on_message_unverified(message);
        }
        match message.type_id {
            4 => self.on_user_control(&message),
            5 => {
                if let Some(window) = message.payload.first_chunk::<4>() {
                    self.peer_window_bytes = u64::from(u32::from_be_bytes(*window));
                }
                Ok(())
            }
            17 | 20 => match command::parse(&message, &Limits::default()) {
                Ok(Some(command)) => self.on_command(message.stream_id, command),
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            },
            // Acknowledgements, peer bandwidth, data, shared objects, unsolicited media: nothing to do.
            _ => Ok(()),
        }
    }

    fn on_user_control(&mut self, message: &Message) -> Result<(), End> {
        match UserControl::parse(&message.payload) {
            Some(UserControl::SetBufferLength { stream, ms }) => {
                if stream == 0 {
                    self.early_buffer_ms = u64::from(ms);
                }
                let all = stream == 0;
                for stream in self.streams.iter_mut().filter(|s| all || s.id == stream) {
                    stream.buffer_ms = u64::from(ms);
                    // The new buffer may let media leave now, or the end be announced later.
                    if let Some(playing) = stream.playing() {
                        playing.sleeps_until = None;
                    }
                }
            }
            Some(UserControl::PingRequest(time)) => control::ping_response(time, &mut self.out.batch),
            _ => {}
        }
        Ok(())
    }

    fn on_command(&mut self, stream_id: u32, command: Command) -> Result<(), End> {
        self.count(&command.name);
        // A stream that doesn't exist has no chunk streams to answer on: the connection's are used.
        let stream_id = if self.stream(stream_id).is_some() { stream_id } else { 0 };
        let transaction = command.transaction;
        if command.name == "connect" {
            return self.on_connect(&command);
        }
        match command.name.as_str() {
            "_result" | "_error" => {
                self.on_bandwidth_answer(transaction);
            }
            "createStream" => self.on_create_stream(transaction),
            "deleteStream" => {
                if let Some(id) = command.args.first().and_then(Value::as_number) {
                    self.drop_stream(id as u32);
                }
            }
            "closeStream" => self.on_close_stream(stream_id),
            "getStreamLength" => self.on_get_stream_length(&command),
            "FCSubscribe" => {
                let name = command.args.first().and_then(Value::as_str).unwrap_or("");
                self.out.command(0, reply::on_fc_subscribe(name));
            }
            "checkBandwidth" => {
                if transaction != 0.0 {
                    self.out.command(0, reply::result(transaction, Value::Null));
                }
                self.start_bandwidth_check(false);
            }
            "_checkbw" => self.start_bandwidth_check(true),
            "play" => self.on_play(stream_id, &command),
            "play2" => self.on_play2(stream_id, &command),
            "seek" => self.on_seek(stream_id, &command),
            "pause" | "pauseRaw" => self.on_pause(stream_id, &command),
            "receiveAudio" | "receiveVideo" => self.on_receive(stream_id, &command),
            "releaseStream" | "FCPublish" => {
                let text = "Penstock serves files; it takes no publishers.";
                self.out.command(0, reply::error(transaction, "NetConnection.Call.Failed", text));
            }
            "publish" => {
                let name = command.args.first().and_then(Value::as_str).unwrap_or("");
                let text = format!("{name}: publishing is not allowed.");
                self.status(stream_id, "error", "NetStream.Publish.Denied", &text, name);
            }
            _ if transaction != 0.0 => self.out.command(stream_id, reply::result(transaction, Value::Null)),
            _ => debug!(session = self.id, command = command.name, "a command is ignored"),
        }
        Ok(())
    }

    fn count(&self, name: &str) {
        const KNOWN: &[&str] = &[
            "connect",
            "createStream",
            "deleteStream",
            "closeStream",
            "getStreamLength",
            "FCSubscribe",
            "checkBandwidth",
            "_checkbw",
            "play",
            "play2",
            "seek",
            "pause",
            "pauseRaw",
            "receiveAudio",
            "receiveVideo",
            "releaseStream",
            "FCPublish",
            "publish",
            "_result",
            "_error",
        ];
        let label = if KNOWN.contains(&name) { name } else { "other" };
        self.shared.metrics.commands.with_label_values(&[label]).inc();
    }

    /// onStatus on a stream.
    pub(super) fn status(
        &mut self,
        stream_id: u32,
        level: &str,
        code: &str,
        description: &str,
        details: &str,
    ) {
        self.out.command(stream_id, reply::status(level, code, description, Some(details), &self.id, &[]));
    }

    fn on_create_stream(&mut self, transaction: f64) {
        if self.connection().is_none() || self.streams.len() >= self.shared.config.max_streams {
            self.shared.metrics.refused.with_label_values(&["streams"]).inc();
            self.out.command(
                0,
                reply::error(transaction, "NetConnection.Call.Failed", "no more streams on this connection"),
            );
            return;
        }
        let id = self.next_stream_id;
        self.next_stream_id += 1;
        self.streams.push(Stream::new(id, self.early_buffer_ms));
        self.out.open_stream(id);
        self.out.command(0, reply::result(transaction, Value::Number(f64::from(id))));
    }

    fn on_close_stream(&mut self, stream_id: u32) {
        if self.stream(stream_id).is_some() {
            self.stop_stream(stream_id);
            control::stream_eof(stream_id, &mut self.out.batch);
        }
    }

    /// Ends what a stream plays; the stream stays usable.
    pub(super) fn stop_stream(&mut self, stream_id: u32) {
        self.leave_file(stream_id);
        let Some(stream) = self.stream(stream_id) else { return };
        stream.early_seek_ms = None;
        stream.paused = false;
        stream.playlist.clear();
    }

    /// Ends what a stream plays and nothing else.
    pub(super) fn leave_file(&mut self, stream_id: u32) {
        let session = self.id.clone();
        let Some(stream) = self.stream(stream_id) else { return };
        stream.give_up();
        if let State::Playing(playing) = std::mem::replace(&mut stream.state, State::Idle) {
            info!(
                session,
                stream = stream_id,
                name = playing.request.name.display,
                sent_bytes = playing.playback.sent_bytes,
                at_ms = playing.playback.time_ms,
                finished = playing.over,
                "stop"
            );
        }
        self.record_stop(stream_id);
    }

    pub(super) fn drop_stream(&mut self, stream_id: u32) {
        self.stop_stream(stream_id);
        self.streams.retain(|stream| stream.id != stream_id);
        self.out.close_stream(stream_id);
    }

    fn on_get_stream_length(&mut self, command: &Command) {
        let transaction = command.transaction;
        let name = command.args.first().and_then(Value::as_str);
        match (name, self.connection()) {
            (Some(name), Some(connection)) if self.calls.len() < self.shared.config.max_calls => {
                let name = Arc::new(StreamName::parse(&connection.folders, name));
                match self.authorise(&name) {
                    Ok(Granted { name, origin }) => {
                        let name = Arc::unwrap_or_clone(name);
                        let length = opening::length_seconds(self.shared.library.clone(), origin, name);
                        self.calls.push(Box::pin(async move { (transaction, length.await) }));
                    }
                    // As of a name that isn't there.
                    Err(_) => self.answer_length(transaction, 0.0),
                }
            }
            _ => self.answer_length(transaction, 0.0),
        }
    }

    pub(super) fn answer_length(&mut self, transaction: f64, seconds: f64) {
        self.out.command(0, reply::result(transaction, Value::Number(seconds)));
    }

    fn on_receive(&mut self, stream_id: u32, command: &Command) {
        let on = command.args.first().and_then(Value::as_bool).unwrap_or(true);
        let video = command.name == "receiveVideo";
        let mut details = None;
        if let Some(stream) = self.stream(stream_id) {
            let flag = if video { &mut stream.video } else { &mut stream.audio };
            let was_on = std::mem::replace(flag, on);
            let turned_on = on && !was_on;
            let stood_still = turned_on && !(stream.audio && stream.video);
            if let Some(playing) = stream.playing() {
                // Nothing is sent, and nothing is due, while both are off.
                playing.sleeps_until = None;
                if stood_still && !playing.is_sent() {
                    playing.playback.resume(Instant::now());
                }
            }
            if let Some(playing) = stream.playing().filter(|_| turned_on) {
                if video {
                    playing.playback.await_keyframe();
                }
                details = Some((playing.request.name.display.clone(), playing.playback.time_ms));
            }
        }
        // False has no answer; true is answered as FMS does, like a seek to where the stream is.
        if let Some((name, at_ms)) = details {
            let text = format!("Seeking {at_ms} (stream ID: {stream_id}).");
            self.status(stream_id, "status", "NetStream.Seek.Notify", &text, &name);
            self.status(
                stream_id,
                "status",
                "NetStream.Play.Start",
                &format!("Started playing {name}."),
                &name,
            );
        }
    }
}
