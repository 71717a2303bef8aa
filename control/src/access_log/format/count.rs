//! How many records a log file holds: what tells a file that stands whole from one that lacks some, or is none of ours.
//!
//! It is unpacked piece by piece and nothing of it is kept. The file may lie in somebody else's bucket, who may have put anything in its place: so
//! who asks says how many records there can be, and unpacking ends where that many could not take more.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::LINE_BYTES_MAX;

/// Text unpacked at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The records in `packed`, of which there are at most `most`; `None`: it is not a whole gzip file of lines, or holds more.
pub fn records(packed: &[u8], most: u64) -> Option<u64> {
    // Each line's end, and a header for each record at the worst.
    let bytes_max = most.saturating_add(1).saturating_mul(2 * (LINE_BYTES_MAX as u64 + 1));
    let mut text = MultiGzDecoder::new(packed).take(bytes_max);
    let mut piece = vec![0; PIECE_BYTES];
    let (mut records, mut starts, mut counts) = (0, true, false);
    loop {
        let read = text.read(&mut piece).ok()?;
        if read == 0 {
            break;
        }
        for &byte in &piece[..read] {
            if starts {
                counts = byte != b'#';
            }
            starts = byte == b'\n';
            records += u64::from(starts && counts);
        }
        if records > most {
            return None;
        }
    }
    // Neither cut off by the bound nor in the middle of a line.
    (starts && text.limit() > 0).then_some(records)
}

#[cfg(test)]
mod tests {
    use proto::v1::{AccessEvent, AccessRecord};

    use super::*;
    use crate::access_log::format::{file, gzip::Gzip};

    fn packed(text: &[u8]) -> bytes::Bytes {
        let mut gzip = Gzip::new();
        gzip.put(text);
        gzip.finish()
    }

    #[test]
    fn a_files_records_are_counted_and_its_headers_are_not() {
        let record = |i: u64| AccessRecord {
            time_ms: 1_573_761_480_000 + i,
            event: AccessEvent::Play.into(),
            // Longer than a piece in all, and nothing that a viewer sends is taken for a header.
            stream_name: format!("#Fields: {}\n#{}", "x".repeat(200), i),
            ..Default::default()
        };
        let all: Vec<AccessRecord> = (0..700).map(record).collect();
        assert_eq!(records(&file(&all), 700), Some(700));
        assert_eq!(records(&file(&all), 900), Some(700));
        assert_eq!(records(&file(&all), 699), None);
        assert_eq!(records(&file(&[]), 5), Some(0));
    }

    #[test]
    fn what_is_no_whole_log_file_is_not_counted() {
        let whole = file(&[AccessRecord::default(), AccessRecord::default()]);
        assert_eq!(records(&whole[..whole.len() - 9], 2), None);
        assert_eq!(records(b"hello", 2), None);
        assert_eq!(records(b"", 2), None);
        assert_eq!(records(&packed(b"a\nb"), 2), None);
        assert_eq!(records(&packed(&vec![b'x'; 1 << 20]), 2), None);
        // A megabyte of nothing packs to little: it is not unpacked to its end.
        assert_eq!(records(&packed(&vec![b'#'; 4 << 20]), 0), None);
    }
}
