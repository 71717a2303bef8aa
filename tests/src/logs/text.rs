//! What both kinds of log share: lines, fields, the one level of percent-encoding, times.

/// Characters of printable ASCII that must not stand bare in a field (contract §3); `%` may, as the head of an escape.
const ESCAPED: &[u8] = b"<>\"#{}|\\^~[]`' ";

/// The records of a file: what follows the two header lines, each ended by LF.
///
/// # Errors
/// Another header, an empty line, a line that does not end.
pub fn records<'a>(text: &'a str, fields: &str) -> Result<Vec<&'a str>, String> {
    let rest = text.strip_prefix("#Version: 1.0\n").ok_or("the first line is not `#Version: 1.0`")?;
    let header = format!("#Fields: {fields}\n");
    let rest = rest.strip_prefix(header.as_str()).ok_or("the second line is not the list of fields")?;
    let Some(body) = rest.strip_suffix('\n') else {
        return if rest.is_empty() { Ok(Vec::new()) } else { Err("the last line does not end".into()) };
    };
    Ok(body.split('\n').collect())
}

/// A field decoded once; `None` for `-`.
///
/// # Errors
/// A byte that should have been escaped, a `%` that begins no upper-case escape, an empty field, bytes that are no UTF-8.
pub fn decode(field: &str) -> Result<Option<String>, String> {
    match field {
        "" => return Err("an empty field".into()),
        "-" => return Ok(None),
        _ => {}
    }
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte <= b' ' || byte >= 127 || ESCAPED.contains(&byte) {
            return Err(format!("{field:?}: byte {byte:#04x} is bare"));
        }
        if byte == b'%' {
            let digits = field.get(at + 1..at + 3).ok_or_else(|| format!("{field:?} ends in an escape"))?;
            if digits.bytes().any(|d| d.is_ascii_lowercase()) {
                return Err(format!("{field:?}: %{digits} is not upper case"));
            }
            out.push(u8::from_str_radix(digits, 16).map_err(|_| format!("{field:?}: %{digits}"))?);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8(out).map(Some).map_err(|_| format!("{field:?} is no UTF-8"))
}

/// As [`decode`], for a field that must be there.
///
/// # Errors
/// As [`decode`]; `-`.
pub fn needed(field: &str, name: &str) -> Result<String, String> {
    decode(field)?.ok_or_else(|| format!("{name} is `-`"))
}

/// A number written plainly: no sign, no zeros in front.
///
/// # Errors
/// Anything else.
pub fn number(field: &str, name: &str) -> Result<u64, String> {
    let value: u64 = field.parse().map_err(|_| format!("{name}: {field:?} is no number"))?;
    if value.to_string() == field { Ok(value) } else { Err(format!("{name}: {field:?}")) }
}

/// Seconds since 1970 of a date and a time of day, UTC.
///
/// # Errors
/// What is no calendar date or no time.
pub fn moment(date: &str, time: &str) -> Result<i64, String> {
    let numbers = |text: &str, shape: &str, mark: char| -> Result<Vec<i64>, String> {
        let seen: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        if seen != shape {
            return Err(format!("{text:?} is not like {shape}"));
        }
        text.split(mark).map(|part| part.parse().map_err(|_| format!("{text:?}"))).collect()
    };
    let (date_parts, time_parts) = (numbers(date, "0000-00-00", '-')?, numbers(time, "00:00:00", ':')?);
    let (year, month, day) = (date_parts[0], date_parts[1], date_parts[2]);
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if year < 1970 || !(1..=12).contains(&month) || !(1..=lengths[month as usize - 1]).contains(&day) {
        return Err(format!("{date:?} is no date"));
    }
    if time_parts[0] > 23 || time_parts[1] > 59 || time_parts[2] > 59 {
        return Err(format!("{time:?} is no time"));
    }
    let years: i64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let days = years + lengths[..month as usize - 1].iter().sum::<i64>() + day - 1;
    Ok(((days * 24 + time_parts[0]) * 60 + time_parts[1]) * 60 + time_parts[2])
}
