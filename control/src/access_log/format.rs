//! How records are written in log files: CloudFront's formats, gzipped.
//!
//! [`rtmp`] writes the 17 fields of streaming distributions, [`web`] the 33 of web distributions; [`escape`] makes any text a field,
//! [`stamp`] writes dates, [`gzip`] packs, [`count`] counts what a file holds. A [`LogFile`] joins them: records go in one by one, formatted text never stands in memory whole.
//!
//! ```text
//! #Version: 1.0
//! #Fields: date time x-edge-location c-ip x-event sc-bytes …
//! 2010-03-12⇥23:51:20⇥SEA4⇥192.0.2.147⇥connect⇥2014⇥OK⇥…
//! ```
//!
//! **No viewer can break a line.** Every text goes through [`escape`], which leaves no TAB, no line's end and no byte outside printable ASCII, and
//! cuts what is too long: a field after [`FIELD_BYTES_MAX`], and where the line would still be longer than [`LINE_BYTES_MAX`], each field after
//! [`FIELD_BYTES_CUT`]. A program that is used reads through a buffer of 32,768 bytes and fails on a longer line.
//!
//! **The same records give the same bytes**: no time of writing, no name and no seed is in them. Another replica that repeats an upload after a
//! crash writes the same lines; the bytes that pack them could differ only if it were of another version (or chose another
//! instruction set), which no reader can tell.
//!
//! What cannot be told apart, as in CloudFront's files: a value that is `-` and no value.

pub mod count;
pub mod escape;
pub mod gzip;
mod line;
pub mod rtmp;
pub mod stamp;
#[cfg(test)]
mod tests;
pub mod web;

use bytes::Bytes;
use proto::v1::{AccessEvent, AccessRecord};

use gzip::Gzip;
use stamp::Stamp;

/// Bytes of an escaped field that are written.
pub const FIELD_BYTES_MAX: usize = 8192;
/// Bytes of a line, its end not counted.
pub const LINE_BYTES_MAX: usize = 32_000;
/// Bytes of each escaped field of a line that would be longer than [`LINE_BYTES_MAX`].
pub const FIELD_BYTES_CUT: usize = 1024;

/// Formatted text that is packed at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Which of the two formats a record is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Of a streaming distribution.
    Rtmp,
    /// Of a web distribution.
    Web,
}

impl Format {
    /// The format for a record's event.
    pub fn of(record: &AccessRecord) -> Self {
        if record.event() == AccessEvent::Request { Self::Web } else { Self::Rtmp }
    }

    /// The names of the second header line, between single spaces.
    pub fn fields(self) -> &'static str {
        match self {
            Self::Rtmp => rtmp::FIELDS,
            Self::Web => web::FIELDS,
        }
    }
}

/// A log file being written. It packs as it goes: CPU work, some seconds for a million records, so on a blocking thread.
#[derive(Debug)]
pub struct LogFile {
    packed: Gzip,
    text: Vec<u8>,
    stamp: Stamp,
    format: Option<Format>,
    records: u64,
}

impl Default for LogFile {
    fn default() -> Self {
        Self::new()
    }
}

impl LogFile {
    /// Nothing written yet.
    pub fn new() -> Self {
        let text = Vec::with_capacity(CHUNK_BYTES + LINE_BYTES_MAX + 1);
        Self { packed: Gzip::new(), text, stamp: Stamp::default(), format: None, records: 0 }
    }

    /// Writes a record. The first decides on the header; all records of a distribution are of one format (were one not, the header for
    /// its format comes before it, and nothing is lost).
    pub fn put(&mut self, record: &AccessRecord) {
        let format = Format::of(record);
        if self.format != Some(format) {
            self.format = Some(format);
            header(format, &mut self.text);
        }
        put_line(record, format, &mut self.stamp, &mut self.text);
        self.records += 1;
        if self.text.len() >= CHUNK_BYTES {
            self.packed.put(&self.text);
            self.text.clear();
        }
    }

    /// Records written.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The file.
    pub fn finish(mut self) -> Bytes {
        self.packed.put(&self.text);
        self.packed.finish()
    }
}

/// The file of these records, in this order.
pub fn file<'a>(records: impl IntoIterator<Item = &'a AccessRecord>) -> Bytes {
    let mut file = LogFile::new();
    for record in records {
        file.put(record);
    }
    file.finish()
}

/// Appends the lines of these records to `out`, without a header.
pub fn put_lines<'a>(records: impl IntoIterator<Item = &'a AccessRecord>, out: &mut Vec<u8>) {
    let mut stamp = Stamp::default();
    for record in records {
        put_line(record, Format::of(record), &mut stamp, out);
    }
}

/// The two header lines.
fn header(format: Format, out: &mut Vec<u8>) {
    out.extend_from_slice(b"#Version: 1.0\n#Fields: ");
    out.extend_from_slice(format.fields().as_bytes());
    out.push(b'\n');
}

/// One record's line, with its end.
fn put_line(record: &AccessRecord, format: Format, stamp: &mut Stamp, out: &mut Vec<u8>) {
    let start = out.len();
    let mut fields = |cut, out: &mut Vec<u8>| match format {
        Format::Rtmp => rtmp::put(record, stamp, cut, out),
        Format::Web => web::put(record, stamp, cut, out),
    };
    fields(FIELD_BYTES_MAX, out);
    if out.len() - start > LINE_BYTES_MAX {
        out.truncate(start);
        fields(FIELD_BYTES_CUT, out);
    }
    out.push(b'\n');
}

/// One record's line as it stands in a file, without its end: for people who look at records on their way.
pub fn line(record: &AccessRecord) -> String {
    let mut out = Vec::new();
    put_lines([record], &mut out);
    out.pop();
    String::from_utf8(out).unwrap_or_default()
}
