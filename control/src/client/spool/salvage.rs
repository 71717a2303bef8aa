//! The frames of a file that is damaged somewhere: all that verify, and where others stood.
//!
//! Past a bad frame its own length is believed if it leads to a good one, so a flipped bit costs one record. Where it doesn't (the length is what was
//! damaged, or blocks of the file read as zeros after a power cut), every further byte is tried as the beginning of a frame. A viewer's text
//! could hold what looks like a frame: it is only ever looked into when the frame around it has lost its length.

use bytes::Bytes;
use proto::access_log::Frames;
use proto::access_log::frame::{FRAME_HEADER_BYTES, Frame, Kind};

/// Longest payload that is looked for byte by byte, in bytes: of records and journals' steps. Each try may cost a checksum over that much.
const SOUGHT_BYTES_MAX: usize = 192 << 10;

/// What stands next in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// A frame that verifies.
    Frame {
        /// Where it begins.
        at: usize,
        /// It.
        frame: Frame,
        /// Where it ends.
        end: usize,
    },
    /// Bytes that are no frame, up to the next one or the file's end.
    Bad {
        /// Where they begin.
        at: usize,
        /// Where they end.
        end: usize,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Salvage {
    file: Bytes,
    at: usize,
}

impl Salvage {
    /// What stands in `file`.
    pub(crate) fn new(file: Bytes) -> Self {
        Self { file, at: 0 }
    }

    fn frame(&self, at: usize) -> Option<Frame> {
        Frames::new(self.file.slice(at..)).next()?.ok()
    }

    fn length(&self, at: usize) -> Option<usize> {
        let bytes = self.file.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    }

    /// Whether it is worth a checksum: most bytes are not.
    fn may_begin(&self, at: usize) -> bool {
        let is_kind = |byte: &u8| {
            [Kind::Record, Kind::Footer, Kind::Header, Kind::Private].iter().any(|kind| *kind as u8 == *byte)
        };
        self.file.get(at + FRAME_HEADER_BYTES - 1).is_some_and(is_kind)
            && self.length(at).is_some_and(|length| length <= SOUGHT_BYTES_MAX)
    }

    /// Where frames go on after the bad one at `at`.
    fn resume(&self, at: usize) -> usize {
        let end = self.file.len();
        match self.length(at).and_then(|length| at.checked_add(FRAME_HEADER_BYTES + length)) {
            Some(next) if next == end => return end,
            Some(next) if next < end && self.frame(next).is_some() => return next,
            _ => {}
        }
        (at + 1..end).find(|at| self.may_begin(*at) && self.frame(*at).is_some()).unwrap_or(end)
    }
}

impl Iterator for Salvage {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let at = self.at;
        if at >= self.file.len() {
            return None;
        }
        let Some(frame) = self.frame(at) else {
            self.at = self.resume(at);
            return Some(Piece::Bad { at, end: self.at });
        };
        self.at = at + FRAME_HEADER_BYTES + frame.payload.len();
        Some(Piece::Frame { at, frame, end: self.at })
    }
}

/// Records of a segment that may be damaged, as far as they can be told: those that can be read and those that must have stood between them.
pub(crate) fn count_records(file: Bytes) -> u64 {
    let (mut records, mut untold) = (0, 0);
    let bytes = file.len();
    for piece in Salvage::new(file) {
        match piece {
            // The first is the header.
            Piece::Bad { at, .. } => untold += u64::from(at > 0),
            Piece::Frame { frame, .. } if frame.kind == Kind::Record => {
                records += 1 + std::mem::take(&mut untold)
            }
            // The last one: a viewer's text within what is damaged may look like one too.
            Piece::Frame { frame, end, .. } if frame.kind == Kind::Footer && end == bytes => {
                return footer_records(&frame).map_or(records, |told| records.max(told));
            }
            Piece::Frame { .. } => {}
        }
    }
    records
}

/// How many records a footer tells of.
pub(crate) fn footer_records(frame: &Frame) -> Option<u64> {
    use prost::Message;
    proto::v1::SegmentFooter::decode(frame.payload.clone()).ok().map(|footer| footer.records)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proto::access_log::frame::put;

    use super::*;

    /// Frames of these payloads, and where each begins.
    fn frames(payloads: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let (mut out, mut begins) = (BytesMut::new(), Vec::new());
        for payload in payloads {
            begins.push(out.len());
            put(Kind::Record, payload, &mut out);
        }
        (out.to_vec(), begins)
    }

    fn good(file: Vec<u8>) -> Vec<String> {
        let text = |piece| match piece {
            Piece::Frame { frame, .. } => Some(String::from_utf8(frame.payload.to_vec()).unwrap()),
            Piece::Bad { .. } => None,
        };
        Salvage::new(file.into()).filter_map(text).collect()
    }

    #[test]
    fn a_byte_that_is_wrong_costs_the_frame_it_is_of_and_no_other() {
        let (whole, begins) = frames(&[b"one", b"two, which is longer", b"three"]);
        assert_eq!(good(whole.clone()), ["one", "two, which is longer", "three"]);
        for at in begins[1]..begins[2] {
            let mut file = whole.clone();
            file[at] ^= 0x20;
            assert_eq!(good(file), ["one", "three"], "byte {at}");
        }
    }

    #[test]
    fn what_is_missing_or_too_much_costs_what_it_is_in() {
        let (whole, begins) = frames(&[b"one", b"two, which is longer", b"three"]);
        let mut file = whole.clone();
        file.drain(begins[1] + 5..begins[1] + 12);
        assert_eq!(good(file), ["one", "three"]);
        let mut file = whole.clone();
        file.splice(begins[2]..begins[2], [0; 100]);
        assert_eq!(good(file), ["one", "two, which is longer", "three"]);
        let pieces: Vec<_> = Salvage::new(whole[..whole.len() - 1].to_vec().into()).collect();
        assert_eq!(pieces.last(), Some(&Piece::Bad { at: begins[2], end: whole.len() - 1 }));
    }

    #[test]
    fn what_looks_like_a_frame_within_one_is_none_while_the_length_around_it_is_right() {
        let (inner, _) = frames(&[b"forged"]);
        let outer = [b"text ", &inner[..], b" text"].concat();
        let (mut file, begins) = frames(&[b"one", &outer, b"three"]);
        file[begins[1] + FRAME_HEADER_BYTES] ^= 1;
        assert_eq!(good(file), ["one", "three"]);
    }
}
