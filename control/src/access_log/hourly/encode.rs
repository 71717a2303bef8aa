//! A Parquet file being written into memory, row group by row group.
//!
//! The file is the same for the same lines: it holds no time and no name. Pages are packed with gzip, which every reader has and which
//! brings no library that the log files don't.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, GzipLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::columns::{self, Rows};
use crate::access_log::format::Format;

/// Rows of a group; few in tests, which need several groups.
const GROUP_ROWS: usize = if cfg!(test) { 1000 } else { 64 * 1024 };
/// Bytes of values of a group: what waits in memory.
const GROUP_BYTES: usize = 32 * 1024 * 1024;

/// See the [module](self).
pub(super) struct Encoder {
    file: SerializedFileWriter<Vec<u8>>,
    rows: Rows,
    format: Format,
    written: u64,
}

impl Encoder {
    /// A file with no rows yet.
    pub(super) fn new(format: Format) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(&columns::schema(format))?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::GZIP(GzipLevel::try_new(4)?))
            .set_created_by("penstock".into())
            .build();
        let file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
        Ok(Self { file, rows: Rows::new(format), format, written: 0 })
    }

    /// Adds a line of a log file; `false`: it is none of this format.
    pub(super) fn put(&mut self, line: &[u8]) -> Result<bool, ParquetError> {
        let taken = self.rows.push(line);
        if self.rows.len() >= GROUP_ROWS || self.rows.bytes() >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    /// Bytes of the groups that are written.
    pub(super) fn bytes(&self) -> usize {
        self.file.bytes_written()
    }

    /// Rows, written or waiting.
    pub(super) fn rows(&self) -> u64 {
        self.written + self.rows.len() as u64
    }

    /// Its format.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        if self.rows.len() > 0 {
            let rows = std::mem::replace(&mut self.rows, Rows::new(self.format));
            self.written += rows.len() as u64;
            rows.write(self.file.next_row_group()?)?;
        }
        Ok(())
    }

    /// The file.
    pub(super) fn finish(mut self) -> Result<Bytes, ParquetError> {
        self.flush()?;
        self.file.into_inner().map(Bytes::from)
    }
}
