//! The columns of an hourly file: names, types, and a group of rows on its way into the file.
//!
//! A column has the name of the log's field in small letters, every run of other characters as `_` (`cs(User-Agent)` is `cs_user_agent`), and
//! `date` and `time` are one column `time`. Texts are decoded; no value is null.
//!
//! | type | columns |
//! |---|---|
//! | TIMESTAMP, milliseconds, UTC (whole seconds: the log has no more) | `time` |
//! | INT64 | `sc_bytes cs_bytes sc_status x_sid c_port sc_content_len sc_range_start sc_range_end` |
//! | DOUBLE, seconds | `time_taken time_to_first_byte` |
//! | BYTE_ARRAY, STRING | all others |

use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedColumnWriter, SerializedRowGroupWriter};

use crate::access_log::format::{Format, escape, stamp};

/// The schema of a format's files, in Parquet's notation.
pub(super) fn schema(format: Format) -> String {
    let columns = kinds(format).map(|(name, kind)| {
        let name = column_name(name);
        match kind {
            Kind::Number => format!("OPTIONAL INT64 {name};"),
            Kind::Seconds => format!("OPTIONAL DOUBLE {name};"),
            Kind::Text => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
        }
    });
    let columns: String = columns.collect();
    format!("message access_log {{ REQUIRED INT64 time (TIMESTAMP(MILLIS,true)); {columns} }}")
}

fn column_name(field: &str) -> String {
    let plain: String =
        field.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    plain.trim_end_matches('_').to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Seconds,
    Text,
}

/// The fields after `date` and `time`.
fn kinds(format: Format) -> impl Iterator<Item = (&'static str, Kind)> {
    format.fields().split(' ').skip(2).map(|name| {
        let kind = match name {
            "sc-bytes" | "cs-bytes" | "sc-status" | "x-sid" | "c-port" | "sc-content-len"
            | "sc-range-start" | "sc-range-end" => Kind::Number,
            "time-taken" | "time-to-first-byte" => Kind::Seconds,
            _ => Kind::Text,
        };
        (name, kind)
    })
}

/// The values of a column that are there, and for each row whether it has one.
#[derive(Debug)]
struct Column<T> {
    values: Vec<T>,
    there: Vec<i16>,
}

impl<T> Column<T> {
    fn new() -> Self {
        Self { values: Vec::new(), there: Vec::new() }
    }

    fn push(&mut self, value: Option<T>) {
        self.there.push(value.is_some().into());
        self.values.extend(value);
    }

    fn write<D: DataType<T = T>>(&self, mut column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        column.typed::<D>().write_batch(&self.values, Some(&self.there), None)?;
        column.close()
    }
}

#[derive(Debug)]
enum Values {
    Number(Column<i64>),
    Seconds(Column<f64>),
    Text(Column<ByteArray>),
}

/// Rows that wait to be written together.
#[derive(Debug)]
pub(super) struct Rows {
    times: Vec<i64>,
    columns: Vec<Values>,
    bytes: usize,
}

impl Rows {
    /// None yet.
    pub(super) fn new(format: Format) -> Self {
        let column = |(_, kind)| match kind {
            Kind::Number => Values::Number(Column::new()),
            Kind::Seconds => Values::Seconds(Column::new()),
            Kind::Text => Values::Text(Column::new()),
        };
        Self { times: Vec::new(), columns: kinds(format).map(column).collect(), bytes: 0 }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// Bytes they take in memory, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a line of a log file; `false`: it is none of this format.
    pub(super) fn push(&mut self, line: &[u8]) -> bool {
        let mut fields = line.split(|&byte| byte == b'\t');
        let count = line.iter().filter(|&&byte| byte == b'\t').count() + 1;
        let (Some(date), Some(time)) = (fields.next(), fields.next()) else { return false };
        let Some(at_ms) = stamp::parse(date, time).filter(|_| count == self.columns.len() + 2) else {
            return false;
        };
        self.times.push(at_ms);
        for (column, field) in self.columns.iter_mut().zip(fields) {
            let field = Some(field).filter(|&field| field != b"-");
            let text = field.and_then(|field| std::str::from_utf8(field).ok());
            match column {
                // Past i64 there is no number of bytes or seconds; the last one there is comes nearest.
                Values::Number(column) => {
                    column.push(
                        text.and_then(|t| t.parse::<u64>().ok())
                            .map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
                    );
                }
                Values::Seconds(column) => column.push(text.and_then(|t| t.parse().ok())),
                Values::Text(column) => column.push(field.map(text_of)),
            }
            // A value, its level, and what a text is kept in.
            self.bytes += field.map_or(2, |field| field.len() + 42);
        }
        true
    }

    /// Writes them as a row group.
    pub(super) fn write<W: std::io::Write + Send>(
        &self,
        mut group: SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        let missing = || ParquetError::General("a column is missing".into());
        let mut times = group.next_column()?.ok_or_else(missing)?;
        times.typed::<Int64Type>().write_batch(&self.times, None, None)?;
        times.close()?;
        for values in &self.columns {
            let column = group.next_column()?.ok_or_else(missing)?;
            match values {
                Values::Number(values) => values.write::<Int64Type>(column)?,
                Values::Seconds(values) => values.write::<DoubleType>(column)?,
                Values::Text(values) => values.write::<ByteArrayType>(column)?,
            }
        }
        group.close()?;
        Ok(())
    }
}

/// A field's text. Bytes that are no UTF-8 are not in log files of ours; a column of strings must not hold them.
fn text_of(field: &[u8]) -> ByteArray {
    let text = String::from_utf8(escape::undo(field));
    ByteArray::from(text.unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()).into_bytes())
}
