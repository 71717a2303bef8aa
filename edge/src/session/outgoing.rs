//! What a session sends: messages into the connection's batch, on fixed chunk streams.
//!
//! Chunk stream 2 carries control messages, 3 the connection's commands; each stream has three of its own (status and data, audio,
//! video), so that timestamps of one kind stay deltas of the same kind. Media may be gathered into aggregate messages, which go on the
//! chunk stream of video; whoever sends anything else of that stream flushes them first.

use bytes::Bytes;

use crate::media::Kind;
use crate::rtmp::aggregate::Aggregate;
use crate::rtmp::chunk::{Batch, ChunkWriter, OutMessage};
use crate::transport::Held;

const COMMAND: u8 = 20;
const DATA: u8 = 18;
const VIDEO: u8 = 9;
const AUDIO: u8 = 8;
const AGGREGATE: u8 = 22;
/// Bytes of a video message that holds no picture.
const EMPTY_BYTES: usize = 5;

/// A connection's outgoing side.
pub(crate) struct Outgoing {
    /// Streams by slot: a stream's chunk streams come from its slot, so they stay few however many streams come and go.
    slots: Vec<Option<u32>>,
    /// Bytes not yet taken by the transport.
    pub(crate) batch: Batch,
    /// Bytes the transport has taken, but holds itself.
    pub(crate) held: Held,
    writer: ChunkWriter,
    /// Most bytes of an aggregate message; 0: each sample is a message of its own.
    pub(crate) aggregate_bytes: usize,
    aggregate: Aggregate,
    /// The next sample is the first since a jump.
    first: bool,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            batch: Batch::new(),
            held: Held::default(),
            writer: ChunkWriter::new(),
            aggregate_bytes: 0,
            aggregate: Aggregate::default(),
            first: true,
        }
    }

    /// Bytes that have not left.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.untaken_bytes() + self.held.len_bytes
    }

    /// Whether all have left.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued_bytes() == 0
    }

    /// Gives `stream_id` chunk streams of its own.
    pub(crate) fn open_stream(&mut self, stream_id: u32) {
        match self.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(stream_id),
            None => self.slots.push(Some(stream_id)),
        }
    }

    /// Takes them back.
    pub(crate) fn close_stream(&mut self, stream_id: u32) {
        for slot in self.slots.iter_mut().filter(|slot| **slot == Some(stream_id)) {
            *slot = None;
        }
    }

    /// The stream's times jump: the next message of each kind carries a full header.
    pub(crate) fn jump(&mut self, stream_id: u32) {
        self.first = true;
        let first = self.status_csid(stream_id);
        for csid in first..first + 4 {
            self.writer.forget(csid);
        }
    }

    /// First of the four chunk streams of a stream; the commands' own for one that isn't open.
    fn status_csid(&self, stream_id: u32) -> u32 {
        match self.slots.iter().position(|slot| *slot == Some(stream_id)) {
            Some(slot) => 4 + slot as u32 * 4,
            None => 3,
        }
    }

    /// Raises the chunk size if it isn't `size` yet.
    pub(crate) fn chunk_size(&mut self, size: u32) {
        if self.writer.chunk_size() != size {
            self.writer.set_chunk_size(size, &mut self.batch);
        }
    }

    fn write(
        &mut self,
        csid: u32,
        timestamp: u32,
        type_id: u8,
        stream_id: u32,
        head: &[u8],
        payload: &[Bytes],
    ) {
        let message = OutMessage { csid, timestamp, type_id, stream_id, head, payload };
        if let Err(error) = self.writer.write(&mut self.batch, message) {
            // Only a payload over 16 MiB fails, and media limits keep samples below that.
            tracing::error!(%error, "a message could not be written");
        }
    }

    /// A command (`_result`, `onStatus`, ...): `payload` is its AMF0 body.
    pub(crate) fn command(&mut self, stream_id: u32, payload: Bytes) {
        let csid = self.status_csid(stream_id);
        self.write(csid, 0, COMMAND, stream_id, &[], &[payload]);
    }

    /// A data message (`onMetaData`, `onPlayStatus`, ...).
    pub(crate) fn data(&mut self, stream_id: u32, time_ms: u32, payload: Bytes) {
        self.write(self.status_csid(stream_id) + 3, time_ms, DATA, stream_id, &[], &[payload]);
    }

    /// Audio, video, or script data of a file.
    pub(crate) fn media(&mut self, stream_id: u32, kind: Kind, time_ms: u32, head: &[u8], payload: &[Bytes]) {
        let (offset, type_id) = match kind {
            Kind::Audio => (1, AUDIO),
            Kind::Video => (2, VIDEO),
            Kind::Data | Kind::Text(_) => (3, DATA),
        };
        self.write(self.status_csid(stream_id) + offset, time_ms, type_id, stream_id, head, payload);
    }

    /// A sample of a file, due at `time_ms` of the stream: as [`media`](Self::media), or gathered with those before it. In the file it is
    /// due at `file_ms`, which is what an aggregate's tags say.
    pub(crate) fn sample(
        &mut self,
        stream_id: u32,
        kind: Kind,
        (time_ms, file_ms): (u32, u32),
        head: &[u8],
        payload: &[Bytes],
    ) {
        if self.aggregate_bytes == 0 {
            return self.media(stream_id, kind, time_ms, head, payload);
        }
        // Three are never gathered. The first, because librtmp, which resumes there, takes what follows it in an aggregate for being due at its
        // time. And what starts an aggregate at 0 of the file, because ffmpeg takes a first tag of time 0 for none. And
        // what holds no picture (the end of an AVC sequence), because librtmp drops that unless it is gathered: a download would differ.
        let first = std::mem::take(&mut self.first);
        let len = payload.iter().map(Bytes::len).fold(head.len(), usize::saturating_add);
        if first || file_ms == 0 || len <= EMPTY_BYTES {
            self.flush_aggregate(stream_id);
            return self.media(stream_id, kind, time_ms, head, payload);
        }
        let type_id = match kind {
            Kind::Audio => Some(AUDIO),
            Kind::Video => Some(VIDEO),
            Kind::Data | Kind::Text(_) => None,
        };
        if self.aggregate.len_with(len) > self.aggregate_bytes {
            self.flush_aggregate(stream_id);
        }
        match type_id.filter(|_| self.aggregate.len_with(len) <= self.aggregate_bytes) {
            Some(type_id) => self.aggregate.push(type_id, time_ms, file_ms, head, payload),
            None => {
                self.flush_aggregate(stream_id);
                self.media(stream_id, kind, time_ms, head, payload);
            }
        }
    }

    /// Bytes the transport has not taken, gathered ones included.
    pub(crate) fn untaken_bytes(&self) -> usize {
        self.batch.len_bytes() + self.aggregate.len_bytes()
    }

    /// Sends what was gathered of a stream.
    pub(crate) fn flush_aggregate(&mut self, stream_id: u32) {
        if self.aggregate.len_bytes() == 0 {
            return;
        }
        let message = OutMessage {
            csid: self.status_csid(stream_id) + 2,
            timestamp: self.aggregate.time_ms(),
            type_id: AGGREGATE,
            stream_id,
            head: &[],
            payload: &[],
        };
        if let Err(error) = self.writer.write_body(&mut self.batch, message, self.aggregate.body()) {
            // Its size is bounded far below what a message can hold.
            tracing::error!(%error, "an aggregate message could not be written");
        }
    }
}
