//! What media messages come to: codecs, times, gaps, and how a player with the asked-for buffer would have fared.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::report::{self, Media, Narrator};
use crate::rtmp::Message;
use crate::rtmp::amf::Value;
use crate::rtmp::message::type_id;

/// Standing still for less goes unseen.
const SEEN: Duration = Duration::from_millis(100);
/// Properties kept of onMetaData.
const PROPERTIES: usize = 64;

/// Looks at media as they come.
pub(super) struct Watch {
    buffer: Duration,
    first_at: Option<Instant>,
    last_at: Option<Instant>,
    /// Timestamp of the first frame since the last [`jump`](Self::jump).
    base_ms: Option<u32>,
    furthest_ms: u32,
    /// Played before the last jump.
    earlier: Duration,
    /// When a player would have begun, pauses for want of media added.
    zero: Option<Instant>,
    stalled: Duration,
}

impl Watch {
    pub(super) fn new(buffer_ms: u32) -> Self {
        Self {
            buffer: Duration::from_millis(u64::from(buffer_ms.min(1000))),
            first_at: None,
            last_at: None,
            base_ms: None,
            furthest_ms: 0,
            earlier: Duration::ZERO,
            zero: None,
            stalled: Duration::ZERO,
        }
    }

    /// When the first frame came.
    pub(super) fn first_at(&self) -> Option<Instant> {
        self.first_at
    }

    /// When the last one came.
    pub(super) fn last_at(&self) -> Option<Instant> {
        self.last_at
    }

    /// Timestamps go on from elsewhere, and the player's buffer is empty.
    pub(super) fn jump(&mut self) {
        self.earlier += self.run();
        (self.base_ms, self.zero, self.last_at) = (None, None, None);
    }

    /// Media since the last jump.
    fn run(&self) -> Duration {
        let since = self.base_ms.map_or(0, |base| self.furthest_ms.wrapping_sub(base));
        Duration::from_millis(u64::from(since))
    }

    /// Media in all.
    pub(super) fn played(&self) -> Duration {
        self.earlier + self.run()
    }

    /// Takes a message; whether it is a frame: sound or picture, no header. Aggregates are opened.
    pub(super) fn take(&mut self, message: &Message, media: &mut Media, now: Instant) -> bool {
        if message.type_id != type_id::AGGREGATE {
            return self.one(message.type_id, message.timestamp, &message.payload, media, now);
        }
        let (mut rest, mut first, mut frames) = (&message.payload[..], None, false);
        while let Some((tag, after)) = rest.split_at_checked(11) {
            let number = |at: usize| u32::from_be_bytes([0, tag[at], tag[at + 1], tag[at + 2]]);
            let time = number(4) | u32::from(tag[7]) << 24;
            let Some((body, after)) = after.split_at_checked(number(1) as usize) else { break };
            // Their times are relative to each other; the message's own is the first one's.
            let since = time.wrapping_sub(*first.get_or_insert(time));
            frames |= self.one(tag[0], message.timestamp.wrapping_add(since), body, media, now);
            rest = after.get(4..).unwrap_or_default();
        }
        frames
    }

    fn one(&mut self, kind: u8, timestamp: u32, body: &[u8], media: &mut Media, now: Instant) -> bool {
        let Some(&head) = body.first() else { return false };
        let is_frame = match kind {
            type_id::VIDEO => {
                media.video_messages += 1;
                media.video_codec.get_or_insert_with(|| video_codec(head & 15).to_owned());
                let frame = body.len() > 5 && (head & 15 != 7 || body[1] == 1) && head >> 4 != 5;
                media.keyframes += u64::from(frame && head >> 4 == 1);
                frame
            }
            type_id::AUDIO => {
                media.audio_messages += 1;
                media.audio_codec.get_or_insert_with(|| audio_codec(head >> 4).to_owned());
                body.len() > 1 && (head >> 4 != 10 || body[1] == 1)
            }
            _ => return false,
        };
        media.bytes += body.len() as u64;
        if !is_frame {
            return false;
        }
        self.first_at.get_or_insert(now);
        if let Some(before) = self.last_at.replace(now) {
            let gap = now.duration_since(before).as_millis() as u64;
            media.longest_gap_ms = media.longest_gap_ms.max(gap);
        }
        let base = *self.base_ms.get_or_insert_with(|| {
            self.furthest_ms = timestamp;
            timestamp
        });
        // Sound and picture need not come in order; what seems to jump back further is not time played.
        if timestamp.wrapping_sub(self.furthest_ms) < 1 << 31 {
            self.furthest_ms = timestamp;
        }
        let due = Duration::from_millis(u64::from(timestamp.wrapping_sub(base)));
        match &mut self.zero {
            None if due >= self.buffer && due < Duration::from_secs(86_400) => {
                self.zero = Some(now - self.buffer.min(due))
            }
            Some(zero) if timestamp.wrapping_sub(base) < 1 << 31 => {
                let late = now.saturating_duration_since(*zero + due);
                *zero += late;
                self.stalled += late;
                media.stalls += u64::from(late >= SEEN);
                media.stalled_ms = self.stalled.as_millis() as u64;
            }
            _ => {}
        }
        true
    }
}

fn video_codec(id: u8) -> &'static str {
    match id {
        2 => "Sorenson H.263",
        3 => "Screen video",
        4 => "VP6",
        5 => "VP6 with alpha",
        6 => "Screen video 2",
        7 => "H.264",
        12 => "HEVC",
        _ => "unknown",
    }
}

fn audio_codec(id: u8) -> &'static str {
    match id {
        0 | 3 => "PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 | 8 => "G.711",
        10 => "AAC",
        11 => "Speex",
        _ => "unknown",
    }
}

/// Keeps and tells what onMetaData says in numbers, texts and truth values.
pub(super) fn metadata(payload: &Bytes, told: &mut Narrator) {
    let values = super::client::values(payload);
    let Some([Value::String(name), information, ..]) = values.get(..2) else { return };
    if name != "onMetaData" {
        return;
    }
    let mut found = BTreeMap::new();
    for (key, value) in information.properties().unwrap_or_default().iter().take(PROPERTIES) {
        let value = match value {
            Value::Number(number) => serde_json::json!(number),
            Value::Boolean(truth) => serde_json::json!(truth),
            Value::String(text) => serde_json::json!(report::plain(text)),
            _ => continue,
        };
        found.insert(report::plain(key), value);
    }
    let shown: Vec<String> = [
        "duration",
        "width",
        "height",
        "videocodecid",
        "audiocodecid",
        "videodatarate",
        "framerate",
        "videoframerate",
    ]
    .into_iter()
    .filter_map(|key| Some(format!("{key} {}", found.get(key)?)))
    .collect();
    told.say("metadata", format_args!("{} properties: {}", found.len(), shown.join(", ")));
    told.report.metadata = found;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(type_id: u8, timestamp: u32, payload: &[u8]) -> Message {
        Message { timestamp, type_id, stream_id: 1, payload: Bytes::copy_from_slice(payload) }
    }

    fn frame(timestamp: u32) -> Message {
        message(type_id::VIDEO, timestamp, &[0x17, 1, 0, 0, 0, 9, 9])
    }

    #[tokio::test(start_paused = true)]
    async fn a_player_that_is_fed_in_time_never_stands_still() {
        let (mut watch, mut media) = (Watch::new(1000), Media::default());
        assert!(!watch.take(
            &message(type_id::VIDEO, 0, &[0x17, 0, 0, 0, 0, 1, 2]),
            &mut media,
            Instant::now()
        ));
        for n in 0..100 {
            assert!(watch.take(&frame(1000 + n * 100), &mut media, Instant::now()));
            if n > 20 {
                tokio::time::advance(Duration::from_millis(100)).await;
            }
        }
        assert_eq!((media.stalls, media.stalled_ms, media.longest_gap_ms), (0, 0, 100));
        assert_eq!((watch.played().as_millis(), media.keyframes), (9900, 100));
        assert_eq!(media.video_codec.as_deref(), Some("H.264"));
        // Three seconds of film were ahead; after five without any, two were missed.
        tokio::time::advance(Duration::from_secs(5)).await;
        watch.take(&frame(11_000), &mut media, Instant::now());
        assert_eq!(media.stalls, 1);
        assert!((1500..=4000).contains(&media.stalled_ms), "{}", media.stalled_ms);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_played_adds_up_over_a_seek() {
        let (mut watch, mut media) = (Watch::new(100), Media::default());
        for at in [0, 500, 400, 1000] {
            watch.take(&frame(at), &mut media, Instant::now());
        }
        watch.jump();
        for at in [60_000, 60_250] {
            watch.take(&frame(at), &mut media, Instant::now());
        }
        assert_eq!(watch.played(), Duration::from_millis(1250));
    }

    #[tokio::test(start_paused = true)]
    async fn aggregates_are_opened_and_cut_ones_survived() {
        let mut body = Vec::new();
        for time in [7u8, 47] {
            body.extend([9, 0, 0, 7, 0, 0, time, 0, 0, 0, 0, 0x17, 1, 0, 0, 0, 9, 9, 0, 0, 0, 18]);
        }
        let (mut watch, mut media) = (Watch::new(100), Media::default());
        assert!(watch.take(&message(type_id::AGGREGATE, 1000, &body), &mut media, Instant::now()));
        assert_eq!((media.video_messages, watch.played().as_millis()), (2, 40));
        for cut in 0..body.len() {
            watch.take(&message(type_id::AGGREGATE, 1000, &body[..cut]), &mut media, Instant::now());
        }
    }
}
