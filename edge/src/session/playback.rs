//! One file being sent on one stream: samples in, messages out, as pacing and memory allow.
//!
//! [`Playback::fill`] never waits. It writes messages until the batch is full, the pacer says "later", bytes are missing, or the file
//! ends, the place is reached where another file takes over (`take_over`), or the one frame of a paused stream is sent; and says which.
//! The stream then waits for just that.
//!
//! Two time lines: the file's, and the stream's, whose 0 is where `play(start)` began (`origin_ms`). Samples between the
//! keyframe and the start are sent at 0. Everything on the wire is on the stream's. An item that follows another of its playlist begins where
//! that ended (`base_ms`), until a seek: that counts from the item's own start.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Duration, Instant};

use super::outgoing::Outgoing;
use super::pacing::Pacer;
use super::transition::Incoming;
use crate::media::{Codec, Container, Cursor, Kind, Media, MediaError, Sample, Step, Track, tag, timed_text};
use crate::object::read::contiguous;
use crate::object::{ObjectReader, ReadAt, ReadError};
use crate::rtmp::amf::Value;
use crate::rtmp::{control, reply};

/// Why filling stopped.
#[derive(Debug)]
pub(crate) enum Filled {
    /// The batch holds enough; go on when the transport has taken it.
    Enough,
    /// The next sample may leave at this time.
    At(Instant),
    /// These bytes must be in memory first.
    Need { offset: u64, len: u64 },
    /// The next sample is at or past [`Wanted::until_ms`].
    Reached,
    /// The last sample is out; the end may be announced at this time.
    Ended(Instant),
    /// Nothing to do: one frame was asked for (a seek while paused) and is out.
    Snapshot,
    /// The file can't be read on.
    Failed(MediaError),
}

/// What the viewer's connection wants just now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) stream_id: u32,
    pub(crate) buffer_ms: u64,
    pub(crate) audio: bool,
    pub(crate) video: bool,
    pub(crate) batch_bytes: usize,
    /// Nothing from this time of the stream on: another file takes over there.
    pub(crate) until_ms: Option<u64>,
}

/// Where a play begins.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// File time at which the stream's time is `base_ms`.
    pub(crate) origin_ms: u64,
    pub(crate) base_ms: u64,
    /// Time of the stream of the first sample wanted.
    pub(crate) from_ms: u64,
}

/// How much of the file a play is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// To the end.
    All,
    /// Exactly one video frame.
    OneFrame,
    /// So many ms from the start.
    Ms(u64),
}

/// How far a single frame is looked for, in ms of media.
const SNAPSHOT_MS: u64 = 15_000;

/// One file being sent.
pub(crate) struct Playback {
    pub(crate) media: Arc<Media>,
    pub(crate) reader: ObjectReader,
    cursor: Cursor,
    next: Option<Sample>,
    /// What follows `next`, where that isn't the cursor's.
    then: Option<Sample>,
    metadata: Bytes,
    /// File time at which the stream's time is `base_ms`.
    pub(crate) origin_ms: u64,
    pub(crate) base_ms: u64,
    extent: Extent,
    unpaced: bool,
    pacer: Pacer,
    /// UC BufferEmpty was sent in this window / UC BufferReady was.
    told_empty: bool,
    told_ready: bool,
    /// Only one video frame is to be sent now (a seek while paused).
    snapshot: bool,
    /// Video was switched off or its start is awaited: nothing until a keyframe.
    awaits_keyframe: bool,
    /// Its codec header goes out again before the next picture.
    owes_header: bool,
    /// Nothing before this time of the stream: another file was sent up to there.
    floor_ms: u64,
    /// The file that took over, until its first sample is out: then that is told.
    taken_over_by: Option<String>,
    /// Stream time of the newest message.
    pub(crate) time_ms: u64,
    /// The highest that was since the last jump.
    pub(crate) newest_ms: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) first_media: Option<Instant>,
    finished: bool,
    /// Where the newest picture or sound stands in the file.
    shown_at: u64,
    /// A text was waited for.
    text_waited: bool,
}

/// A full buffer is not told in a play's first moments. rtmpdump says how large its buffer is right behind `play`; were that to come after
/// BufferEmpty, it would answer the event by a pause, write what was still on its way, and after the unpause write it again.
const EARLY: Duration = Duration::from_secs(1);

/// What is said about a file before its media, or in their place.
fn metadata_of(media: &Media) -> Bytes {
    match media.container {
        Container::Id3 => reply::id3(&media.metadata),
        _ => reply::metadata(&media.metadata),
    }
}

impl Playback {
    pub(crate) fn new(
        media: Arc<Media>,
        reader: ObjectReader,
        cursor: Cursor,
        place: Place,
        extent: Extent,
        cap_ms: u64,
        unpaced: bool,
    ) -> Self {
        let metadata = metadata_of(&media);
        let Place { origin_ms, base_ms, from_ms } = place;
        let pacer = Pacer::open(Instant::now(), from_ms, cap_ms, unpaced);
        Self {
            media,
            reader,
            cursor,
            next: None,
            then: None,
            metadata,
            origin_ms,
            base_ms,
            extent,
            unpaced,
            pacer,
            told_empty: false,
            told_ready: false,
            snapshot: extent == Extent::OneFrame,
            awaits_keyframe: false,
            owes_header: false,
            floor_ms: 0,
            taken_over_by: None,
            time_ms: from_ms,
            newest_ms: from_ms,
            sent_bytes: 0,
            first_media: None,
            finished: false,
            shown_at: 0,
            text_waited: false,
        }
    }

    /// Whether one frame is to be sent although the stream is paused.
    pub(crate) fn wants_snapshot(&self) -> bool {
        self.snapshot && !self.finished
    }

    /// The cursor jumped (a seek or an unpause) to `time_ms` of the stream; a new window opens.
    pub(crate) fn jump(
        &mut self,
        cursor: Cursor,
        reader: ObjectReader,
        time_ms: u64,
        cap_ms: u64,
        snapshot: bool,
    ) {
        self.cursor = cursor;
        self.reader = reader;
        (self.next, self.then) = (None, None);
        self.pacer = Pacer::open(Instant::now(), time_ms, cap_ms, self.unpaced);
        (self.told_empty, self.told_ready, self.finished) = (false, false, false);
        self.snapshot = snapshot || self.extent == Extent::OneFrame;
        (self.awaits_keyframe, self.owes_header, self.floor_ms) = (false, false, 0);
        (self.time_ms, self.newest_ms) = (time_ms, time_ms);
    }

    /// Another file of the same content takes over: `first` is its first sample to be sent, `then` the one after it where the cursor is past
    /// that. Time and pace go on. Without a first sample the place is at the end of all that is sent; later seeks go into the new file.
    pub(crate) fn take_over(&mut self, other: Incoming, name: String) {
        let Incoming { media, reader, cursor, first, then } = other;
        self.metadata = metadata_of(&media);
        self.floor_ms = first.as_ref().map_or(self.newest_ms, |first| self.stream_time(first));
        if first.is_some() {
            (self.finished, self.awaits_keyframe, self.owes_header) = (false, false, false);
        }
        (self.media, self.reader, self.cursor) = (media, reader, cursor);
        (self.next, self.then) = (first, then);
        self.taken_over_by = Some(name);
    }

    /// Tells that the file that took over is what is sent now, if that is still owed.
    pub(crate) fn tell_takeover(&mut self, out: &mut Outgoing, stream_id: u32) {
        if let Some(name) = self.taken_over_by.take() {
            let seconds = self.media.duration_ms / 1000.0;
            let status = reply::play_status_transition(&name, seconds, self.sent_bytes);
            out.data(stream_id, self.time_ms as u32, status);
        }
    }

    /// Video begins again at a keyframe.
    pub(crate) fn await_keyframe(&mut self) {
        (self.awaits_keyframe, self.owes_header) = (true, true);
    }

    /// The film had stopped where it is and goes on now.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.pacer.reopen(now, self.time_ms);
    }

    /// Where a viewer would be that never had to wait; `None` where time plays no part.
    pub(crate) fn clock_ms(&self, now: Instant) -> Option<u64> {
        self.pacer.clock_ms(now)
    }

    /// Whether a single frame is all that is wanted.
    pub(crate) fn is_one_frame(&self) -> bool {
        self.extent == Extent::OneFrame
    }

    /// Time of the stream at which the play ends.
    pub(crate) fn end_ms(&self) -> u64 {
        let file_end = (self.media.duration_ms.max(0.0) as u64).saturating_sub(self.origin_ms);
        let end = match self.extent {
            Extent::All => file_end,
            Extent::OneFrame => 0,
            Extent::Ms(ms) => file_end.min(ms),
        };
        self.base_ms.saturating_add(end)
    }

    /// File time of a time of the stream.
    pub(crate) fn file_time(&self, stream_ms: u64) -> u64 {
        self.origin_ms.saturating_add(stream_ms.saturating_sub(self.base_ms))
    }

    /// Time of the stream at which a sample of the file stands.
    pub(crate) fn stream_time(&self, sample: &Sample) -> u64 {
        self.base_ms.saturating_add(sample.time_ms().saturating_sub(self.origin_ms))
    }

    /// What precedes media after every play, seek and unpause: metadata and codec headers, stamped with the time of the first sample to come.
    /// Returns the bytes that are missing (offset, length) while that sample isn't known yet: fetch them and ask again.
    pub(crate) fn begin(
        &mut self,
        out: &mut Outgoing,
        wanted: Wanted,
    ) -> Result<Option<(u64, u64)>, MediaError> {
        if self.next.is_none() {
            match self.cursor.step(&mut self.reader)? {
                Step::Sample(sample) => self.next = Some(sample),
                Step::Need { offset, len } => return Ok(Some((offset, len))),
                Step::End => {}
            }
        }
        let at = self.next.as_ref().map_or(self.time_ms, |sample| self.stream_time(sample)) as u32;
        if let Some(sample) = &self.next {
            self.reader.jump(sample.offset);
        }
        out.data(wanted.stream_id, at, self.metadata.clone());
        for (kind, body) in &self.media.headers {
            out.media(wanted.stream_id, *kind, at, &[], std::slice::from_ref(body));
        }
        Ok(None)
    }

    /// Writes what may leave now.
    pub(crate) fn fill(&mut self, now: Instant, out: &mut Outgoing, wanted: Wanted) -> Filled {
        if !wanted.audio && !wanted.video && !self.snapshot {
            // Nobody looks or listens: the film waits.
            return Filled::At(now + std::time::Duration::from_secs(3600));
        }
        loop {
            if out.untaken_bytes() >= wanted.batch_bytes {
                return Filled::Enough;
            }
            let sample = match self.next.take() {
                Some(sample) => {
                    self.next = self.then.take();
                    sample
                }
                None => match self.cursor.step(&mut self.reader) {
                    Ok(Step::Sample(sample)) => sample,
                    Ok(Step::Need { offset, len }) => return Filled::Need { offset, len },
                    Ok(Step::End) => return self.ended(wanted),
                    Err(error) => return Filled::Failed(error),
                },
            };
            let time_ms = self.stream_time(&sample);
            if self.is_past_the_extent(time_ms) {
                return self.ended(wanted);
            }
            if wanted.until_ms.is_some_and(|until_ms| time_ms >= until_ms) && !self.snapshot {
                self.put_back(sample);
                return Filled::Reached;
            }
            if self.snapshot && time_ms > self.time_ms.saturating_add(SNAPSHOT_MS) {
                // No picture here: audio only, or video switched off.
                return if self.extent == Extent::OneFrame {
                    self.ended(wanted)
                } else {
                    self.no_snapshot(sample)
                };
            }
            let due = self.pacer.due(time_ms, wanted.buffer_ms);
            if due > now && !self.snapshot {
                self.put_back(sample);
                if !self.told_empty && self.first_media.is_some_and(|first| now >= first + EARLY) {
                    out.flush_aggregate(wanted.stream_id);
                    control::buffer_empty(wanted.stream_id, &mut out.batch);
                    self.told_empty = true;
                }
                return Filled::At(due);
            }
            // After its time has come, not before: what is switched off passes at the pace of what isn't.
            if time_ms < self.floor_ms || self.is_unwanted(&sample, wanted) {
                continue;
            }
            let Some(payload) = self.reader.buffered(sample.offset, u64::from(sample.len)) else {
                let (offset, len) = (sample.offset, u64::from(sample.len));
                self.text_waited |= matches!(sample.kind, Kind::Text(_));
                self.put_back(sample);
                if offset.checked_add(len).is_none_or(|end| end > self.reader.size()) {
                    return Filled::Failed(MediaError::Read(ReadError::PastEnd {
                        offset,
                        len,
                        size: self.reader.size(),
                    }));
                }
                return Filled::Need { offset, len };
            };
            if let Kind::Text(_) = sample.kind {
                self.send_text(&sample, time_ms, contiguous(payload), out, wanted.stream_id);
                continue;
            }
            // After its own bytes: what is waited for is demand, never read-ahead.
            self.reader.advance(sample.offset);
            self.shown_at = sample.offset;
            if self.told_empty && !self.told_ready {
                control::buffer_ready(wanted.stream_id, &mut out.batch);
                self.told_ready = true;
            }
            if self.owes_header && sample.kind == Kind::Video {
                self.owes_header = false;
                for (_, body) in self.media.headers.iter().filter(|(kind, _)| *kind == Kind::Video) {
                    out.media(wanted.stream_id, Kind::Video, time_ms as u32, &[], std::slice::from_ref(body));
                }
            }
            let head = tag::head(self.track(sample.kind), &sample);
            let at_ms = (time_ms as u32, time_ms.saturating_add(self.origin_ms) as u32);
            out.sample(wanted.stream_id, sample.kind, at_ms, head.as_slice(), &payload);
            self.sent_bytes += u64::from(sample.len) + head.as_slice().len() as u64;
            self.time_ms = time_ms;
            self.newest_ms = self.newest_ms.max(time_ms);
            self.first_media.get_or_insert(now);
            self.tell_takeover(out, wanted.stream_id);
            if self.snapshot && sample.kind == Kind::Video {
                if self.extent == Extent::OneFrame {
                    return self.ended(wanted);
                }
                self.snapshot = false;
                return Filled::Snapshot;
            }
        }
    }

    /// The sample at hand is for later.
    fn put_back(&mut self, sample: Sample) {
        self.then = self.next.take();
        self.next = Some(sample);
    }

    /// `onTextData`, at the text's own time.
    fn send_text(&mut self, sample: &Sample, time_ms: u64, bytes: Bytes, out: &mut Outgoing, stream_id: u32) {
        if std::mem::take(&mut self.text_waited) {
            // Text may stand far from what is shown with it: read-ahead goes on there, not here.
            self.reader.jump(self.shown_at);
        }
        let Some(Codec::Text { track_id, language }) = self.track(sample.kind).map(|track| &track.codec)
        else {
            return;
        };
        let message = reply::text_data(&timed_text::text(&bytes), language, *track_id);
        self.sent_bytes += message.len() as u64;
        out.flush_aggregate(stream_id);
        out.data(stream_id, time_ms as u32, message);
    }

    fn no_snapshot(&mut self, sample: Sample) -> Filled {
        self.put_back(sample);
        self.snapshot = false;
        Filled::Snapshot
    }

    fn track(&self, kind: Kind) -> Option<&Track> {
        self.media.tracks.iter().find(|track| track.kind == kind)
    }

    fn is_past_the_extent(&self, time_ms: u64) -> bool {
        matches!(self.extent, Extent::Ms(ms) if time_ms.saturating_sub(self.base_ms) >= ms)
    }

    fn is_unwanted(&mut self, sample: &Sample, wanted: Wanted) -> bool {
        match sample.kind {
            Kind::Audio => !wanted.audio || self.snapshot,
            Kind::Data | Kind::Text(_) => self.snapshot,
            Kind::Video if !wanted.video => true,
            Kind::Video if self.awaits_keyframe && !sample.sync => true,
            Kind::Video => {
                self.awaits_keyframe = false;
                false
            }
        }
    }

    /// The last sample is out.
    fn ended(&mut self, wanted: Wanted) -> Filled {
        self.finished = true;
        if self.snapshot {
            return Filled::Ended(Instant::now());
        }
        Filled::Ended(self.pacer.end_due(self.end_ms(), wanted.buffer_ms))
    }

    /// The end sequence of FMS, in its order; without a Stop rtmpdump would hang, with an earlier one it would cut the file.
    pub(crate) fn announce_end(&self, out: &mut Outgoing, stream_id: u32, display: &str, client_id: &str) {
        let complete = reply::play_status_complete(self.media.duration_ms / 1000.0, self.sent_bytes);
        out.data(stream_id, self.time_ms as u32, complete);
        control::stream_eof(stream_id, &mut out.batch);
        let description = format!("Stopped playing {display}.");
        let reason = [("reason", Value::String(String::new()))];
        out.command(
            stream_id,
            reply::status("status", "NetStream.Play.Stop", &description, Some(display), client_id, &reason),
        );
    }
}
