//! The lines of a delivered log file, read as it is unpacked: no more of it stands in memory than a buffer.
//!
//! The file lies in somebody else's bucket, who may have put anything in its place. So a line has a bound, what a file may unpack to has a bound,
//! and a fault is a fault of this file only.

use std::io::{BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Bytes of a line, its end not counted: more than the writer of log files makes.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that one file may unpack to: several times what a log file holds at most.
pub(super) const UNPACKED_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Why a file was not read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    /// It is no gzip file, or a damaged one.
    #[error("not a whole gzip file: {0}")]
    Gzip(String),
    /// It holds more than a log file can.
    #[error("more than {0} bytes unpacked")]
    TooLarge(u64),
    /// A line does not end within the bound.
    #[error("a line of more than {0} bytes")]
    TooLong(usize),
    /// The last line has no end.
    #[error("the last line does not end")]
    Torn,
}

/// Gives `take` each line of the gzip file `packed`, without its end. Lines given before a fault were whole.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn read(packed: &[u8], take: impl FnMut(&[u8])) -> Result<(), LineError> {
    read_within(packed, UNPACKED_BYTES_MAX, take)
}

fn read_within(packed: &[u8], bytes_max: u64, mut take: impl FnMut(&[u8])) -> Result<(), LineError> {
    let mut text = BufReader::with_capacity(64 * 1024, MultiGzDecoder::new(packed).take(bytes_max + 1));
    let mut line = Vec::new();
    let mut unpacked = 0;
    loop {
        line.clear();
        // One byte over the bound tells that there is more.
        let mut bounded = (&mut text).take(LINE_BYTES_MAX as u64 + 1);
        let read = bounded.read_until(b'\n', &mut line).map_err(|e| LineError::Gzip(e.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        unpacked += read as u64;
        if unpacked > bytes_max {
            return Err(LineError::TooLarge(bytes_max));
        }
        match line.pop() {
            Some(b'\n') => take(&line),
            _ if line.len() >= LINE_BYTES_MAX => return Err(LineError::TooLong(LINE_BYTES_MAX)),
            _ => return Err(LineError::Torn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::format::gzip::Gzip;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut gzip = Gzip::new();
        gzip.put(text);
        gzip.finish().to_vec()
    }

    fn lines(packed: &[u8], bytes_max: u64) -> (Vec<usize>, Result<(), LineError>) {
        let mut seen = Vec::new();
        let end = read_within(packed, bytes_max, |line| seen.push(line.len()));
        (seen, end)
    }

    #[test]
    fn lines_are_given_without_their_ends() {
        assert_eq!(lines(&packed(b"ab\n\nc\n"), 100), (vec![2, 0, 1], Ok(())));
        assert_eq!(lines(&packed(b""), 100), (vec![], Ok(())));
        let full = [vec![b'a'; LINE_BYTES_MAX], b"\n".to_vec()].concat();
        assert_eq!(lines(&packed(&full), 1 << 20), (vec![LINE_BYTES_MAX], Ok(())));
    }

    #[test]
    fn a_file_that_is_none_or_torn_or_a_bomb_is_told() {
        assert!(matches!(lines(b"plain text\n", 100).1, Err(LineError::Gzip(_))));
        let whole = packed(b"ab\ncd\n");
        assert!(matches!(lines(&whole[..whole.len() - 3], 100).1, Err(LineError::Gzip(_))));
        assert_eq!(lines(&packed(b"ab\ncd"), 100), (vec![2], Err(LineError::Torn)));
        assert_eq!(lines(&packed(&vec![b'a'; 1 << 20]), 1 << 21).1, Err(LineError::TooLong(LINE_BYTES_MAX)));
        assert_eq!(
            lines(&packed(&b"aaaaaaa\n".repeat(1 << 16)), 1 << 10).1,
            Err(LineError::TooLarge(1 << 10))
        );
    }
}
