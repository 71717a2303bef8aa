//! Times in answers: ISO 8601, UTC.

use time::OffsetDateTime;

/// `ms` milliseconds since 1970 as `2009-11-19T19:37:58Z`, or with milliseconds. Clients of the first versions read whole seconds only.
pub fn iso8601(ms: u64, milliseconds: bool) -> String {
    // A time past the calendar's end can't come of a clock; it must not panic either.
    let at = i64::try_from(ms / 1000).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = time.as_hms();
    let fraction = if milliseconds { format!(".{:03}", ms % 1000) } else { String::new() };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_and_without_milliseconds() {
        assert_eq!(iso8601(1_258_659_478_042, false), "2009-11-19T19:37:58Z");
        assert_eq!(iso8601(1_258_659_478_042, true), "2009-11-19T19:37:58.042Z");
        assert_eq!(iso8601(u64::MAX, false), "1970-01-01T00:00:00Z");
    }
}
