//! Aggregate messages (type 22): several media messages as one.
//!
//! The payload is a run of FLV tags, each followed by its length. The first tag's time stands for the message's own; the others count from it:
//! clients take a tag's time, less the first tag's, plus the message's. Tags are stamped with the file's times, because librtmp looks for the
//! keyframe it resumes at by those.
//!
//! What is gathered stays where it lies ([`Batch`]): only the headers, and slices too small to be worth a reference, are copied.
//!
//! Source: RTMP specification 1.0, 7.1.6; FLV 10.1, E.4.1.

use bytes::Bytes;

use super::chunk::Batch;

/// Bytes of a tag's header.
const HEADER_BYTES: usize = 11;
/// Bytes of the length that follows a tag.
const BACK_BYTES: usize = 4;

/// A message being gathered.
#[derive(Debug, Default)]
pub struct Aggregate {
    body: Batch,
    time_ms: u32,
}

impl Aggregate {
    /// Bytes gathered.
    pub fn len_bytes(&self) -> usize {
        self.body.len_bytes()
    }

    /// Bytes there would be with one more tag of `len` bytes.
    pub fn len_with(&self, len: usize) -> usize {
        self.len_bytes().saturating_add(HEADER_BYTES + BACK_BYTES).saturating_add(len)
    }

    /// When the message is due: with its first tag.
    pub fn time_ms(&self) -> u32 {
        self.time_ms
    }

    /// Adds a tag: audio or video due at `time_ms` of the stream, which the file has at `file_ms`. Its payload is `head` followed by the slices of
    /// `payload`, together less than 16 MiB.
    pub fn push(&mut self, type_id: u8, time_ms: u32, file_ms: u32, head: &[u8], payload: &[Bytes]) {
        if self.body.is_empty() {
            self.time_ms = time_ms;
        }
        let len = payload.iter().map(Bytes::len).sum::<usize>() + head.len();
        let [_, size @ ..] = (len as u32).to_be_bytes();
        // The highest byte of the time comes last, and the stream is always 0.
        let [extension, time @ ..] = file_ms.to_be_bytes();
        let mut header = [0; HEADER_BYTES];
        header[0] = type_id;
        header[1..4].copy_from_slice(&size);
        header[4..7].copy_from_slice(&time);
        header[7] = extension;
        self.body.push_raw(&header);
        self.body.push_raw(head);
        for bytes in payload {
            self.body.push_bytes(bytes.clone());
        }
        self.body.push_raw(&((HEADER_BYTES + len) as u32).to_be_bytes());
    }

    /// What was gathered, for [`ChunkWriter::write_body`](super::chunk::ChunkWriter::write_body) to take.
    pub fn body(&mut self) -> &mut Batch {
        &mut self.body
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn the_body_is_a_run_of_tags_with_back_pointers() {
        let mut aggregate = Aggregate::default();
        let picture = Bytes::from(vec![7; 2000]);
        aggregate.push(9, 40, 0x0201_0304, &[0x17, 1], &[picture.slice(..1500), picture.slice(1500..)]);
        aggregate.push(8, 60, 0x0201_0318, &[0xaf, 1], &[Bytes::from_static(&[5; 3])]);
        assert_eq!((aggregate.time_ms(), aggregate.len_bytes()), (40, 15 + 2002 + 15 + 5));
        assert!(!aggregate.body().is_detached(), "long slices are shared");
        let body = aggregate.body();
        let bytes = body.copy_to_bytes(body.remaining());
        assert_eq!(bytes[..13], [9, 0, 7, 0xd2, 1, 3, 4, 2, 0, 0, 0, 0x17, 1]);
        assert_eq!(bytes[13..2013], [7; 2000]);
        assert_eq!(bytes[2013..2017], 2013u32.to_be_bytes());
        assert_eq!(bytes[2017..2030], [8, 0, 0, 5, 1, 3, 0x18, 2, 0, 0, 0, 0xaf, 1]);
        assert_eq!(bytes[2030..], [5, 5, 5, 0, 0, 0, 16]);
        // A new one has its own time.
        aggregate.push(8, 80, 90, &[], &[]);
        assert_eq!(aggregate.time_ms(), 80);
    }
}
