//! Dates and times of day, UTC.

use proto::access_log::hour_starts_ms;
use time::{Date, Month, OffsetDateTime};

/// Writes `YYYY-MM-DD⇥HH:MM:SS`; remembers the second, for most records of a sorted file share it with the one before.
#[derive(Debug, Default)]
pub struct Stamp {
    second: Option<u64>,
    text: [u8; 19],
}

impl Stamp {
    /// Of a time in milliseconds since 1970.
    pub fn of(&mut self, time_ms: u64) -> &[u8; 19] {
        let second = time_ms / 1000;
        if self.second != Some(second) {
            self.second = Some(second);
            let (date, time) = parts(second);
            self.text.copy_from_slice(b"0000-00-00\t00:00:00");
            for (at, width, mut value) in [
                (0, 4, date.0),
                (5, 2, date.1),
                (8, 2, date.2),
                (11, 2, time.0),
                (14, 2, time.1),
                (17, 2, time.2),
            ] {
                for place in self.text[at..at + width].iter_mut().rev() {
                    *place += (value % 10) as u8;
                    value /= 10;
                }
            }
        }
        &self.text
    }
}

/// The time in milliseconds since 1970 of what [`Stamp`] wrote for it, with no milliseconds.
pub fn parse(date: &[u8], time: &[u8]) -> Option<i64> {
    let number = |text: &[u8], at: usize, width: usize| {
        text[at..at + width]
            .iter()
            .try_fold(0i32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i32::from(byte - b'0')))
    };
    let small = |text: &[u8], at: usize| number(text, at, 2).and_then(|n| u8::try_from(n).ok());
    let shaped = date.len() == 10
        && time.len() == 8
        && date[4] == b'-'
        && date[7] == b'-'
        && time[2] == b':'
        && time[5] == b':';
    if !shaped {
        return None;
    }
    let month = Month::try_from(small(date, 5)?).ok()?;
    let day = Date::from_calendar_date(number(date, 0, 4)?, month, small(date, 8)?).ok()?;
    let at = day.with_hms(small(time, 0)?, small(time, 3)?, small(time, 6)?).ok()?;
    Some(at.assume_utc().unix_timestamp() * 1000)
}

/// `YYYY-MM-DD-HH` of an hour since 1970.
pub fn hour(hour: u32) -> String {
    let ((year, month, day), (hour, ..)) = parts(hour_starts_ms(hour) / 1000);
    format!("{year:04}-{month:02}-{day:02}-{hour:02}")
}

/// The hour since 1970 of `YYYY-MM-DD-HH`.
pub fn parse_hour(text: &str) -> Option<u32> {
    let (year, rest) = text.split_once('-')?;
    let parts: Vec<u8> = rest.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [month, day, hour] = parts[..] else { return None };
    let date = Date::from_calendar_date(year.parse().ok()?, Month::try_from(month).ok()?, day).ok()?;
    let at = date.with_hms(hour, 0, 0).ok()?.assume_utc();
    let parsed = u32::try_from(at.unix_timestamp() / 3600).ok()?;
    (self::hour(parsed) == text).then_some(parsed)
}

type Triple = (u16, u16, u16);

/// Year, month, day; hour, minute, second.
fn parts(second: u64) -> (Triple, Triple) {
    // A time past the year 9999 can't come of a clock; it must not panic either.
    let at = i64::try_from(second).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let year = u16::try_from(at.year()).unwrap_or(1970);
    let (hour, minute, second) = at.to_hms();
    (
        (year, u16::from(u8::from(at.month())), u16::from(at.day())),
        (hour.into(), minute.into(), second.into()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_written_as_the_calendar_has_them() {
        let mut stamp = Stamp::default();
        for (second, text) in [
            (0, "1970-01-01\t00:00:00"),
            (951_782_399, "2000-02-28\t23:59:59"),
            (951_782_400, "2000-02-29\t00:00:00"),
            (1_268_437_880, "2010-03-12\t23:51:20"),
            (253_402_300_799, "9999-12-31\t23:59:59"),
        ] {
            assert_eq!(std::str::from_utf8(stamp.of(second * 1000 + 999)).unwrap(), text);
        }
        assert_eq!(stamp.of(u64::MAX), b"1970-01-01\t00:00:00", "no clock says that");
        assert_eq!(hour(437_276), "2019-11-19-20");
    }

    #[test]
    fn what_is_no_hour_is_not_read_as_one() {
        for text in [
            "",
            "2019-11-19",
            "2019-11-19-24",
            "2019-02-29-00",
            "2019-11-19-20-00",
            "19-11-19-20",
            "2019-1-19-20",
            "+019-11-19-20",
        ] {
            assert_eq!(parse_hour(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_read_as_one() {
        assert_eq!(parse(b"2010-03-12", b"23:51:20"), Some(1_268_437_880_000));
        for (date, time) in [
            ("2010-02-29", "00:00:00"),
            ("2010-03-12", "24:00:00"),
            ("2010-03-12", "00:00"),
            ("2010/03/12", "00:00:00"),
            ("2010-0a-12", "00:00:00"),
            ("", ""),
        ] {
            assert_eq!(parse(date.as_bytes(), time.as_bytes()), None, "{date} {time}");
        }
    }

    proptest! {
        #[test]
        fn a_time_is_read_back(second in 0u64..253_402_300_800) {
            let mut stamp = Stamp::default();
            let text = stamp.of(second * 1000 + 5);
            prop_assert_eq!(parse(&text[..10], &text[11..]), Some(second as i64 * 1000));
        }

        #[test]
        fn an_hour_is_read_back(at in 0u32..70_000_000) {
            prop_assert_eq!(parse_hour(&hour(at)), Some(at));
        }
    }
}
