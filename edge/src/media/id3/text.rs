//! The text of frames: four encodings, several values in one frame, and genres that are numbers.
//!
//! Bytes that are no text in their encoding become U+FFFD; an encoding nobody defined is no text at all.
//!
//! Source: id3.org's ID3v2.3.0, 3.3 and 4.2.1; ID3v2.4.0 structure, 4, and frames, 4.2.

use crate::media::genre;

/// A text split at its terminators, which only a comment's description has in version 2.2 and 2.3. At most [`VALUES_MAX`] parts.
pub(super) fn parts(encoding: u8, bytes: &[u8]) -> Option<Vec<String>> {
    let text = match encoding {
        0 => bytes.iter().map(|&byte| char::from(byte)).collect(),
        1 => utf16(bytes, bytes.starts_with(&[0xfe, 0xff])),
        2 => utf16(bytes, true),
        3 => String::from_utf8_lossy(bytes).into_owned(),
        _ => return None,
    };
    let part = |part: &str| part.trim_matches(['\u{feff}', '\u{fffe}']).to_owned();
    Some(text.split('\0').take(VALUES_MAX).map(part).collect())
}

/// More values than a reader would read.
const VALUES_MAX: usize = 16;

fn utf16(bytes: &[u8], big_endian: bool) -> String {
    let unit = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    };
    char::decode_utf16(bytes.chunks_exact(2).map(unit))
        .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Several values as one text.
pub(super) fn joined(values: &[String]) -> String {
    let values: Vec<&str> =
        values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect();
    values.join("/")
}

/// A genre as people call it: `17`, `(17)` and `(17)Rock` are Rock; a name of its own goes before a number.
pub(super) fn genre(value: &str) -> String {
    let mut rest = value.trim();
    let mut named: Option<String> = None;
    while let Some((reference, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
        // Two of them stand for one.
        if rest.starts_with("((") {
            rest = &rest[1..];
            break;
        }
        let Some(name) = referred(reference) else { break };
        named.get_or_insert(name);
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        return referred(rest).unwrap_or_else(|| rest.to_owned());
    }
    named.unwrap_or_default()
}

fn referred(reference: &str) -> Option<String> {
    match reference {
        "RX" => Some("Remix".to_owned()),
        "CR" => Some("Cover".to_owned()),
        number => number.parse().ok().and_then(genre::name).map(str::to_owned),
    }
}
