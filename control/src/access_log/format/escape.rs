//! Any text as a field: percent-encoded once, by the set that CloudFront documents.
//!
//! Escaped are ASCII 0 to 32, everything from 127 on (each byte of it, so text need not be UTF-8), and ``< > " # % { } | \ ^ ~ [ ] ` '``.
//! Nothing becomes `-`. The set is RFC 1738's unsafe characters and `'`; it leaves `, ; : @ & = + $ / ?` as they are, which logs have bare.

/// `true` for each byte that is written as `%XX`.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte <= 32 || byte >= 127;
        byte += 1;
    }
    let marks = b"<>\"#%{}|\\^~[]`'";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `text` as a field, or `-` if it is empty. At most `cut` bytes (3 or more) are written: a longer value ends there, never in an escape and
/// never in a character's UTF-8.
pub fn put(text: &[u8], cut: usize, out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'-');
        return;
    }
    let start = out.len();
    // An escape is longer than what it stands for; one byte more than the cut shows whether a character goes on behind it.
    let mut rest = &text[..text.len().min(cut.saturating_add(1))];
    while let Some(clean) = rest.iter().position(|&byte| ESCAPED[usize::from(byte)]) {
        out.extend_from_slice(&rest[..clean]);
        let byte = rest[clean];
        out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        rest = &rest[clean + 1..];
    }
    out.extend_from_slice(rest);
    if out.len() - start > cut {
        shorten(start, start + cut, out);
    }
}

/// Ends the field that begins at `start` at `end` or a little before.
fn shorten(start: usize, mut end: usize, out: &mut Vec<u8>) {
    // Every `%` begins an escape of three bytes.
    for back in 1..=2 {
        if end >= start + back && out[end - back] == b'%' {
            end -= back;
            break;
        }
    }
    // A UTF-8 character's later bytes are %80 to %BF; its first one goes with them. Other bytes in that range stand for nothing anyway.
    let continues =
        |at: usize| out.get(at) == Some(&b'%') && matches!(out.get(at + 1), Some(b'8' | b'9' | b'A' | b'B'));
    let cut = end;
    while continues(end) && end >= start + 3 && out[end - 3] == b'%' && cut - end < 9 {
        end -= 3;
    }
    out.truncate(end);
    if out.len() == start {
        out.push(b'-');
    }
}

/// The text of a field: what [`put`] wrote, undone once. Where no escape is, a `%` stands for itself.
pub fn undo(field: &[u8]) -> Vec<u8> {
    let digit =
        |at: usize| field.get(at).and_then(|&byte| char::from(byte).to_digit(16)).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(field.len());
    let mut at = 0;
    while let Some(&byte) = field.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}
