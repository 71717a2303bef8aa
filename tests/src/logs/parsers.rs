//! How four public programs read RTMP logs: their rules, in our words and code.
//!
//! | rules | program | lines | fields | values |
//! |---|---|---|---|---|
//! | [`buzz`] | rkalla/cloudfront-log-parser (Java) | through a buffer of 32,768 bytes that must hold a LF; `#` begins a directive | between runs of space, TAB, CR, LF; named by `#Fields:`, more fields than names is a fault | as written; `-` is none |
//! | [`node`] | claygregory/node-cloudfront-log-parser | between LFs; not empty, not `#` | between TABs, the first 13 | `%2522 %255C %2520` first, then JavaScript's `unescape` |
//! | [`slurper`] | zoufzouf's LogSlurperThread (Java) | not `#` | between TABs, trimmed, exactly 17 | as written |
//! | [`cflog`] | Maki-Daisuke/cflogparser (Go) | given one by one | between TABs, at least 17; date, address and numbers must parse | `-` is none; the same three pairs decode at once, an invalid escape is a fault |
//!
//! Two decode twice where a value held `%20`, `%22` or `%5C` itself (old web logs were escaped twice): such a value reaches their
//! users changed, from us as it did from CloudFront. [`agree`] knows that.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::entry::{Entry, FIELDS};
use super::text;

/// A record: values by the names in the header; no value is no entry.
pub type Row = BTreeMap<String, String>;

/// rkalla reads into a buffer of this size, and fails if it is full and has no line's end in it.
pub const BUZZ_BUFFER_BYTES: usize = 32_768;

/// By the rules of rkalla/cloudfront-log-parser.
///
/// # Errors
/// Where that program throws.
pub fn buzz(file: &str) -> Result<Vec<Row>, String> {
    let is_gap = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut names: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    // What follows the last LF is never looked at.
    let whole = file.rfind('\n').map_or("", |end| &file[..=end]);
    for line in whole.split_inclusive('\n') {
        if line.len() > BUZZ_BUFFER_BYTES {
            return Err(format!("a line of {} bytes", line.len()));
        }
        if line.starts_with('#') {
            if line.starts_with("#Fields:") {
                names.extend(line.split(is_gap).filter(|t| !t.is_empty() && !t.starts_with('#')));
                let known = ["x-event", "x-cf-status", "c-referrer", "c-user-agent", "x-page-url"];
                if !names.iter().any(|name| known.contains(name)) {
                    return Err("not known to be a streaming log".into());
                }
            }
            continue;
        }
        let mut row = Row::new();
        for (at, value) in line.split(is_gap).filter(|t| !t.is_empty()).enumerate() {
            let name = names.get(at).ok_or_else(|| format!("more values than names: {line:?}"))?;
            if value != "-" {
                row.insert((*name).to_owned(), value.to_owned());
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// By the rules of claygregory/node-cloudfront-log-parser. A character of a value is a byte that was escaped (JavaScript's `unescape` knows
/// no UTF-8).
pub fn node(file: &str) -> Vec<Row> {
    let names = FIELDS.split(' ').take(13);
    file.split('\n')
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            line.split('\t').zip(names.clone()).map(|(value, name)| (name.to_owned(), twice(value))).collect()
        })
        .collect()
}

fn twice(value: &str) -> String {
    let once = value.replace("%2522", "\"").replace("%255C", "\\").replace("%2520", " ");
    let mut out = String::new();
    let mut rest = once.as_str();
    while let Some(next) = rest.chars().next() {
        let wide =
            rest.strip_prefix("%u").and_then(|r| r.get(..4)).and_then(|d| u16::from_str_radix(d, 16).ok());
        let narrow =
            rest.strip_prefix('%').and_then(|r| r.get(..2)).and_then(|d| u8::from_str_radix(d, 16).ok());
        let (decoded, taken) = match (wide, narrow) {
            (Some(unit), _) => (char::from_u32(unit.into()).unwrap_or('\u{FFFD}'), 6),
            (None, Some(byte)) => (char::from(byte), 3),
            (None, None) => (next, next.len_utf8()),
        };
        out.push(decoded);
        rest = &rest[taken..];
    }
    out
}

/// By the rules of LogSlurperThread.
///
/// # Errors
/// A line of other than 17 fields.
pub fn slurper(file: &str) -> Result<Vec<[String; 17]>, String> {
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<String> = line.split('\t').map(|field| field.trim().to_owned()).collect();
            fields.try_into().map_err(|f: Vec<String>| format!("{} fields: {line:?}", f.len()))
        })
        .collect()
}

/// By the rules of Maki-Daisuke/cflogparser, for one line.
///
/// # Errors
/// Where that program answers an error.
pub fn cflog(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let values: Vec<&str> = line.split('\t').collect();
    if values.len() < 17 {
        return Err(format!("{} fields: {line:?}", values.len()));
    }
    text::moment(values[0], values[1])?;
    values[3].parse::<IpAddr>().map_err(|_| format!("address {:?}", values[3]))?;
    for number in [values[5], values[16]] {
        if number != "-" {
            number.parse::<i64>().map_err(|_| format!("number {number:?}"))?;
        }
    }
    values[..17].iter().map(|value| cflog_value(value)).collect()
}

fn cflog_value(value: &str) -> Result<Vec<u8>, String> {
    if value == "-" {
        return Ok(Vec::new());
    }
    let mut out = Vec::new();
    let mut rest = value;
    while let Some(&byte) = rest.as_bytes().first() {
        let doubled = [("%2520", b' '), ("%2522", b'"'), ("%255C", b'\\')];
        if let Some((mark, plain)) = doubled.into_iter().find(|(mark, _)| rest.starts_with(mark)) {
            out.push(plain);
            rest = &rest[mark.len()..];
        } else if byte == b'%' {
            let decoded = rest.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            out.push(decoded.ok_or_else(|| format!("escape in {value:?}"))?);
            rest = &rest[3..];
        } else {
            out.push(byte);
            rest = &rest[1..];
        }
    }
    Ok(out)
}

/// Whether all four read in `file` what the strict reader found.
///
/// # Errors
/// The first difference.
pub fn agree(file: &str, entries: &[Entry]) -> Result<(), String> {
    let buzz = buzz(file).map_err(|e| format!("rkalla: {e}"))?;
    let slurper = slurper(file).map_err(|e| format!("slurper: {e}"))?;
    let node = node(file);
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let cflog: Vec<_> =
        lines.map(cflog).collect::<Result<_, _>>().map_err(|e| format!("cflogparser: {e}"))?;
    let counts = [buzz.len(), node.len(), slurper.len(), cflog.len()];
    if counts != [entries.len(); 4] {
        return Err(format!("records: {} strictly, {counts:?} by the parsers", entries.len()));
    }
    for (at, entry) in entries.iter().enumerate() {
        for (number, (name, value)) in FIELDS.split(' ').zip(entry.values()).enumerate() {
            let differs = |who: &str, has: &dyn std::fmt::Debug| {
                Err(format!("record {}: {name} is {value:?}, by {who} {has:?}", at + 1))
            };
            let decoded = |field: &str| text::decode(field);
            let raw = buzz[at].get(name).map(String::as_str);
            if decoded(raw.unwrap_or("-"))? != value {
                return differs("rkalla", &raw);
            }
            if decoded(&slurper[at][number])? != value {
                return differs("slurper", &slurper[at][number]);
            }
            let plain = value.as_deref().unwrap_or("");
            if ["%20", "%22", "%5C"].iter().any(|escape| plain.contains(escape)) {
                continue;
            }
            if cflog[at][number] != plain.as_bytes() {
                return differs("cflogparser", &cflog[at][number]);
            }
            // It has no word for none: `-` is a value.
            let expected: String = value.as_deref().unwrap_or("-").bytes().map(char::from).collect();
            if number < 13 && node[at].get(name) != Some(&expected) {
                return differs("node", &node[at].get(name));
            }
        }
    }
    Ok(())
}
