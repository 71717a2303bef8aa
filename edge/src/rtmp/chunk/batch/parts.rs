//! Taking bytes out of a batch to keep them: what a transport that must be able to say them again needs.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Batch, Segment};

impl Batch {
    /// Moves up to `most_bytes` from the front to the end of `out`, with `first` before them; how many bytes were moved, and how many of
    /// these copied. Small pieces are copied together into one allocation, large ones referenced; with `detached`, all are copied, so that
    /// no block is held for them.
    pub(crate) fn take_parts(
        &mut self,
        first: u8,
        most_bytes: usize,
        detached: bool,
        out: &mut Vec<Bytes>,
    ) -> (usize, usize) {
        let taken = most_bytes.min(self.len_bytes);
        let copied_bytes = self.copied_bytes(taken, detached);
        let mut copied = BytesMut::with_capacity(1 + copied_bytes);
        copied.put_u8(first);
        let (mut left, mut at) = (taken, self.arena_sent);
        for segment in &self.queue {
            if left == 0 {
                break;
            }
            match segment {
                Segment::Copied(len) => {
                    let len = left.min(*len);
                    copied.put_slice(&self.arena[at..at + len]);
                    at += len;
                    left -= len;
                }
                Segment::Shared(bytes) if detached => {
                    let len = left.min(bytes.len());
                    copied.put_slice(&bytes[..len]);
                    left -= len;
                }
                Segment::Shared(bytes) => {
                    let len = left.min(bytes.len());
                    if !copied.is_empty() {
                        out.push(copied.split().freeze());
                    }
                    out.push(bytes.slice(..len));
                    left -= len;
                }
            }
        }
        if !copied.is_empty() {
            out.push(copied.freeze());
        }
        self.advance(taken);
        (taken, copied_bytes)
    }

    /// How many of the first `most_bytes` would be copied.
    fn copied_bytes(&self, most_bytes: usize, detached: bool) -> usize {
        if detached {
            return most_bytes;
        }
        let (mut left, mut copied) = (most_bytes, 0);
        for segment in &self.queue {
            let len = match segment {
                Segment::Copied(len) => *len,
                Segment::Shared(bytes) => bytes.len(),
            };
            if matches!(segment, Segment::Copied(_)) {
                copied += len.min(left);
            }
            left -= len.min(left);
            if left == 0 {
                break;
            }
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> (Batch, Vec<u8>) {
        let large = Bytes::from(vec![7; 3000]);
        let mut batch = Batch::new();
        batch.push_raw(b"head");
        batch.push_bytes(large.clone());
        batch.push_raw(b"small");
        batch.push_bytes(large.slice(..2000));
        let whole = [b"head", &large[..], b"small", &large[..2000]].concat();
        (batch, whole)
    }

    #[test]
    fn parts_are_the_batch_cut_anywhere() {
        for detached in [false, true] {
            for cut in [0, 1, 4, 5, 1000, 3004, 3006, 3009, 4000, 5009, 9999] {
                let (mut batch, whole) = batch();
                let (mut parts, mut rest) = (Vec::new(), Vec::new());
                let (taken, _) = batch.take_parts(0x21, cut, detached, &mut parts);
                assert_eq!(taken, cut.min(whole.len()));
                assert_eq!(batch.len_bytes(), whole.len() - taken);
                batch.take_parts(0x21, usize::MAX, detached, &mut rest);
                let (parts, rest) = (parts.concat(), rest.concat());
                assert_eq!((parts[0], rest[0]), (0x21, 0x21));
                assert!([&parts[1..], &rest[1..]].concat() == whole, "cut at {cut}");
            }
        }
    }

    #[test]
    fn large_pieces_are_referenced_unless_they_are_to_be_detached() {
        let large = Bytes::from(vec![7; 3000]);
        let mut batch = Batch::new();
        batch.push_raw(b"head");
        batch.push_bytes(large.clone());
        let mut parts = Vec::new();
        assert_eq!(batch.take_parts(1, usize::MAX, false, &mut parts), (3004, 4));
        assert_eq!(parts[1].as_ptr(), large.as_ptr());
        batch.push_bytes(large.clone());
        parts.clear();
        assert_eq!(batch.take_parts(1, usize::MAX, true, &mut parts), (3000, 3000));
        assert_eq!(parts.len(), 1);
    }
}
