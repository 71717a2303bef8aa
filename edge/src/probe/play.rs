//! Playing: from `play` to the end of the time given, or of the stream.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::client::{self, Client, Status};
use super::report::{Narrator, Seek};
use super::target::Target;
use super::watch::{self, Watch};
use super::{Args, Failure};
use crate::rtmp::amf::Value;
use crate::rtmp::message::type_id;

/// A seek waits for so much of the play, at most.
const SEEK_AFTER: Duration = Duration::from_secs(1);
/// What a buffer is set to that wants everything at once, in ms: librtmp's figure.
const UNPACED_MS: u32 = 36_000_000;

/// What a seek has come to.
struct Sought {
    at: Instant,
    notified: bool,
}

/// Plays the target's stream and judges what comes.
pub(super) async fn play(
    client: &mut Client,
    target: &Target,
    args: &Args,
    told: &mut Narrator,
) -> Result<(), Failure> {
    let stream = client.create_stream(told).await?;
    let buffer_ms = if args.unpaced { UNPACED_MS } else { args.buffer };
    client.command(
        stream,
        "play",
        0.0,
        &[Value::Null, target.name.as_str().into(), f64::from(args.start).into(), (-1.0).into()],
    )?;
    client.buffer(stream, buffer_ms);
    client.flush(told).await?;
    let asked = Instant::now();
    let mut playing = Playing { watch: Watch::new(buffer_ms), asked, sought: None };
    let outcome = playing.run(client, stream, args, told).await;
    playing.sum_up(client, told);
    outcome?;
    // A player that stops says so; whether it is heard matters no more.
    client.command(0, "deleteStream", 0.0, &[Value::Null, f64::from(stream).into()])?;
    let _ = client.flush(told).await;
    Ok(())
}

struct Playing {
    watch: Watch,
    asked: Instant,
    sought: Option<Sought>,
}

impl Playing {
    async fn run(
        &mut self,
        client: &mut Client,
        stream: u32,
        args: &Args,
        told: &mut Narrator,
    ) -> Result<(), Failure> {
        let wanted = Duration::from_secs_f64(args.seconds);
        loop {
            let now = Instant::now();
            let first = self.watch.first_at();
            let end = first.map(|first| first + wanted);
            let frames_due = self.frames_due(client.timeout(), args);
            let seek_due = match (first, args.seek, &self.sought) {
                (Some(first), Some(_), None) => Some(first + SEEK_AFTER.min(wanted / 3)),
                _ => None,
            };
            if let (Some(due), Some(ms)) = (seek_due, args.seek)
                && now >= due
            {
                told.say("seek", format_args!("to {ms} ms"));
                told.report.seek = Some(Seek { to_ms: u64::from(ms), ..Default::default() });
                client.command(stream, "seek", 0.0, &[Value::Null, f64::from(ms).into()])?;
                client.flush(told).await?;
                self.sought = Some(Sought { at: Instant::now(), notified: false });
                continue;
            }
            let sought =
                self.sought.is_none() || told.report.seek.as_ref().is_some_and(|s| s.frame_ms.is_some());
            if end.is_some_and(|end| now >= end) && sought {
                return Ok(());
            }
            if now >= frames_due {
                return Err(self.missed(client.timeout(), args));
            }
            let until =
                [seek_due, end.filter(|_| sought)].into_iter().flatten().fold(frames_due, Instant::min);
            let Ok(message) = timeout_at(until, client.message(told)).await else { continue };
            let message = message.map_err(|failure| match failure {
                Failure::Stream(why) if first.is_none() => {
                    Failure::Stream(format!("{why}, before the first frame"))
                }
                other => other,
            })?;
            match message.type_id {
                type_id::AUDIO | type_id::VIDEO | type_id::AGGREGATE => self.on_media(&message, told),
                type_id::DATA | type_id::DATA_AMF3 => {
                    if self.on_data(&message, told) && first.is_none() {
                        return Err(Failure::Stream("the stream ended before its first frame".into()));
                    }
                }
                _ => {
                    let Some(command) = client::parse(&message)? else { continue };
                    if self.on_command(client, &command, told).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// When the next frame must have come.
    fn frames_due(&self, timeout: Duration, args: &Args) -> Instant {
        match (&self.sought, self.watch.last_at()) {
            (_, Some(last)) => last + Duration::from_secs_f64(args.stall),
            (Some(sought), None) => sought.at + timeout,
            (None, None) => self.asked + timeout,
        }
    }

    fn missed(&self, timeout: Duration, args: &Args) -> Failure {
        match (&self.sought, self.watch.first_at(), self.watch.last_at()) {
            (_, None, _) => Failure::NoFrame(format!("no frame came within {timeout:?} of play")),
            (Some(sought), _, None) if sought.notified => {
                Failure::Stalled(format!("no frame came within {timeout:?} of the seek"))
            }
            (Some(sought), ..) if !sought.notified => {
                Failure::Stalled("the seek was not answered, and frames ceased".into())
            }
            _ => Failure::Stalled(format!("no frame came for {} s in mid-play", args.stall)),
        }
    }

    fn on_media(&mut self, message: &crate::rtmp::Message, told: &mut Narrator) {
        let now = Instant::now();
        let first = self.watch.first_at().is_none();
        if !self.watch.take(message, &mut told.report.media, now) {
            return;
        }
        if first {
            let ms = now.duration_since(self.asked).as_millis() as u64;
            told.report.media.first_frame_ms = Some(ms);
            told.report.media.startup_ms = Some(told.elapsed_ms());
            told.say(
                "frame",
                format_args!("the first one {ms} ms after play, {} ms after the start", told.elapsed_ms()),
            );
        }
        if let Some(sought) = self.sought.as_ref().filter(|sought| sought.notified)
            && let Some(seek) = &mut told.report.seek
            && seek.frame_ms.is_none()
        {
            let ms = now.duration_since(sought.at).as_millis() as u64;
            (seek.frame_ms, seek.landed_ms) = (Some(ms), Some(u64::from(message.timestamp)));
            told.say("seek", format_args!("first frame after {ms} ms, at {} ms", message.timestamp));
        }
    }

    /// Whether it says that the stream is complete.
    fn on_data(&mut self, message: &crate::rtmp::Message, told: &mut Narrator) -> bool {
        watch::metadata(&message.payload, told);
        let values = client::values(&message.payload);
        let (Some(Value::String(name)), information) = (values.first(), values.get(1)) else { return false };
        if name != "onPlayStatus" {
            return false;
        }
        let status = Status::of(information);
        told.event("status", &status.code, &status.description);
        let complete = status.code == "NetStream.Play.Complete";
        told.report.media.ended |= complete;
        complete
    }

    /// Whether the play is over.
    async fn on_command(
        &mut self,
        client: &mut Client,
        command: &crate::rtmp::command::Command,
        told: &mut Narrator,
    ) -> Result<bool, Failure> {
        client.on_call(command, told).await?;
        if command.name != "onStatus" {
            return Ok(false);
        }
        let status = Status::of(command.arg(0));
        if status.level == "error" {
            return Err(Failure::Stream(format!("{} {}", status.code, status.description)));
        }
        match status.code.as_str() {
            "NetConnection.Connect.Closed" => {
                Err(Failure::Stream("the server closed the connection: it is shutting down".into()))
            }
            "NetStream.Seek.Notify" => {
                if let (Some(sought), Some(seek)) = (&mut self.sought, &mut told.report.seek) {
                    sought.notified = true;
                    seek.notify_ms = Some(sought.at.elapsed().as_millis() as u64);
                    self.watch.jump();
                }
                Ok(false)
            }
            "NetStream.Play.Stop" if self.watch.first_at().is_none() => {
                Err(Failure::Stream("the stream ended before its first frame".into()))
            }
            "NetStream.Play.Stop" => {
                told.report.media.ended = true;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The figures, whatever the end.
    fn sum_up(&self, client: &Client, told: &mut Narrator) {
        let wall = self.watch.first_at().map_or(0.0, |first| first.elapsed().as_secs_f64());
        let played = self.watch.played().as_secs_f64();
        told.report.chunk_size_bytes = client.reader.chunk_size();
        let media = &mut told.report.media;
        media.received_bytes = client.link.received_bytes;
        media.skipped_messages = client.reader.skipped();
        (media.played_seconds, media.wall_seconds) = (played, wall);
        let rate = |bytes: u64, seconds: f64| {
            if seconds > 0.0 { bytes as f64 * 8.0 / 1000.0 / seconds } else { 0.0 }
        };
        media.bitrate_kbps = rate(media.bytes, played);
        media.throughput_kbps = rate(media.received_bytes, self.asked.elapsed().as_secs_f64());
        let media = &told.report.media;
        let codec = |codec: &Option<String>| codec.clone().unwrap_or_else(|| "none".into());
        told.say(
            "video",
            format_args!(
                "{}, {} messages, {} keyframes",
                codec(&media.video_codec),
                media.video_messages,
                media.keyframes
            ),
        );
        told.say("audio", format_args!("{}, {} messages", codec(&media.audio_codec), media.audio_messages));
        told.say(
            "played",
            format_args!(
                "{played:.1} s of film in {wall:.1} s: {:.0} kb/s, {} bytes received in chunks of {}",
                media.bitrate_kbps, media.received_bytes, told.report.chunk_size_bytes
            ),
        );
        told.say(
            "smooth",
            format_args!(
                "{} stalls ({} ms), longest gap {} ms",
                media.stalls, media.stalled_ms, media.longest_gap_ms
            ),
        );
    }
}
