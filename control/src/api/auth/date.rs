//! The dates requests are signed with: HTTP's three forms and RFC 2822's in `Date`, ISO 8601's basic form in `x-amz-date`.

use std::time::UNIX_EPOCH;

use time::format_description::well_known::Rfc2822;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// Milliseconds since 1970 of `text` in any of the forms.
pub(super) fn parse_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    basic(text).or_else(|| http(text)).or_else(|| {
        let moment = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        moment.unix_timestamp().checked_mul(1000)
    })
}

/// `YYYYMMDDTHHMMSSZ`.
fn basic(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to).filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<u16>().ok()
    };
    let small = |from: usize| number(from, from + 2).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(small(4)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, small(6)?).ok()?;
    let time = Time::from_hms(small(9)?, small(11)?, small(13)?).ok()?;
    PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp().checked_mul(1000)
}

fn http(text: &str) -> Option<i64> {
    let moment = httpdate::parse_http_date(text).ok()?;
    // HTTP dates begin in 1970.
    i64::try_from(moment.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// `YYYYMMDDTHHMMSSZ` of milliseconds since 1970; `None` past the year 9999.
pub(super) fn basic_of(ms: i64) -> Option<String> {
    let moment = OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000)).ok()?;
    let (date, time) = (moment.date(), moment.time());
    Some(format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_one_second_is_that_second() {
        for text in [
            "20261121T110742Z",
            "Sat, 21 Nov 2026 11:07:42 GMT",
            "Saturday, 21-Nov-26 11:07:42 GMT",
            "Sat Nov 21 11:07:42 2026",
            "Sat, 21 Nov 2026 11:07:42 +0000",
            "Sat, 21 Nov 2026 13:07:42 +0200",
            " Sat, 21 Nov 2026 11:07:42 GMT ",
        ] {
            assert_eq!(parse_ms(text), Some(1_795_259_262_000), "{text}");
        }
        for text in
            ["", "now", "20261121", "20261121T1107420Z", "20261321T110742Z", "2026112+T110742Z", "1795259262"]
        {
            assert_eq!(parse_ms(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0i64..253_402_300_799) {
            prop_assert_eq!(parse_ms(&basic_of(seconds * 1000).unwrap()), Some(seconds * 1000));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}") {
            let _ = parse_ms(&text);
        }
    }
}
