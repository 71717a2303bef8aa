//! Tags: what iTunes and its kin say of a film or a song (`ilst`), as metadata has it: by the four characters the file names each by.
//!
//! Texts and numbers are told; artwork and applications' own items are not. Few are kept, and little of each. What is damaged ends the list.
//!
//! Source: QuickTime File Format, "Metadata"; well-known types 1, 2, 21 and 22. Keys as in Adobe's F4V specification, which maps ID3's.

use super::boxes;
use super::chapters::cut;
use crate::media::genre;
use crate::rtmp::amf::Value;

/// Most tags told.
const TAGS_MAX: usize = 64;
/// Most text of one tag, and of all, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
const ALL_BYTES_MAX: usize = 16 << 10;

/// The tags of a `moov` body.
pub(super) fn read(moov: &[u8]) -> Vec<(String, Value)> {
    let mut tags: Vec<(String, Value)> = Vec::new();
    let mut text_bytes = 0;
    for (kind, item) in boxes::children(list(moov).unwrap_or_default()).map_while(Result::ok) {
        if tags.len() == TAGS_MAX || text_bytes >= ALL_BYTES_MAX {
            break;
        }
        let Some(value) = boxes::child(item, b"data").ok().flatten().and_then(|data| value(kind, data))
        else {
            continue;
        };
        // A genre by number is the genre.
        let key = if &kind == b"gnre" { *b"\xa9gen" } else { kind };
        let key: String = key.iter().map(|&byte| char::from(byte)).collect();
        if tags.iter().any(|(known, _)| *known == key) {
            continue;
        }
        text_bytes += key.len() + value.as_str().map_or(8, str::len);
        tags.push((key, value));
    }
    tags
}

fn list(moov: &[u8]) -> Option<&[u8]> {
    let udta = boxes::child(moov, b"udta").ok().flatten()?;
    let meta = boxes::child(udta, b"meta").ok().flatten()?;
    // A version and flags precede the boxes in ISO's form, nothing in QuickTime's.
    let ilst = |from: usize| boxes::child(meta.get(from..)?, b"ilst").ok().flatten();
    ilst(4).or_else(|| ilst(0))
}

/// The value of a `data` box: a type, a locale, the value.
fn value(kind: [u8; 4], data: &[u8]) -> Option<Value> {
    let (head, bytes) = data.split_first_chunk::<8>()?;
    let number = || -> Option<f64> {
        let sign_extended = |bytes: &[u8]| {
            let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
            bytes.iter().fold(if negative { -1i64 } else { 0 }, |sum, &byte| sum << 8 | i64::from(byte))
        };
        ((1..=8).contains(&bytes.len())).then(|| sign_extended(bytes) as f64)
    };
    match (&kind, u32::from_be_bytes([0, head[1], head[2], head[3]])) {
        (b"trkn" | b"disk", _) => {
            let part = |at: usize| boxes::u16_at(bytes, at).ok().filter(|&part| part > 0);
            let first = part(2)?;
            Some(Value::String(part(4).map_or_else(|| first.to_string(), |all| format!("{first}/{all}"))))
        }
        (b"gnre", _) => {
            let number = usize::from(boxes::u16_at(bytes, 0).ok()?).checked_sub(1)?;
            genre::name(number).map(Value::from)
        }
        (b"covr" | b"----", _) => None,
        (_, 1) => {
            let mut text =
                String::from_utf8_lossy(bytes.get(..TEXT_BYTES_MAX + 4).unwrap_or(bytes)).into_owned();
            cut(&mut text, TEXT_BYTES_MAX);
            Some(Value::String(text))
        }
        (_, 2) => {
            let units = bytes
                .chunks_exact(2)
                .take(TEXT_BYTES_MAX / 3)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            Some(Value::String(
                char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
            ))
        }
        (_, 21) => number().map(Value::Number),
        (_, 22) => (1..=8)
            .contains(&bytes.len())
            .then(|| Value::Number(bytes.iter().fold(0u64, |sum, &b| sum << 8 | u64::from(b)) as f64)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bx(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(8 + body.len() as u32).to_be_bytes()[..], kind, body].concat()
    }

    fn item(kind: &[u8; 4], form: u32, value: &[u8]) -> Vec<u8> {
        bx(kind, &bx(b"data", &[&form.to_be_bytes()[..], &[0; 4], value].concat()))
    }

    fn moov(items: &[Vec<u8>]) -> Vec<u8> {
        let meta = [&[0; 4][..], &bx(b"hdlr", &[0; 25]), &bx(b"ilst", &items.concat())].concat();
        bx(b"udta", &bx(b"meta", &meta))
    }

    #[test]
    fn texts_and_numbers_are_told_and_pictures_are_not() {
        let tags = read(&moov(&[
            item(b"\xa9nam", 1, "Töne".as_bytes()),
            item(b"\xa9ART", 2, &[0, b'P']),
            item(b"trkn", 0, &[0, 0, 0, 3, 0, 12, 0, 0]),
            item(b"disk", 0, &[0, 0, 0, 1, 0, 0]),
            item(b"gnre", 0, &[0, 18]),
            item(b"\xa9gen", 1, b"second"),
            item(b"tmpo", 21, &[0, 120]),
            item(b"rate", 21, &[0xff]),
            item(b"cpil", 22, &[1]),
            item(b"covr", 13, &[9; 3000]),
            item(b"----", 1, b"own"),
            item(b"odd ", 99, b"?"),
        ]));
        let text = |text: &str| Value::String(text.to_owned());
        let expected = [
            ("©nam", text("Töne")),
            ("©ART", text("P")),
            ("trkn", text("3/12")),
            ("disk", text("1")),
            ("©gen", text("Rock")),
            ("tmpo", Value::Number(120.0)),
            ("rate", Value::Number(-1.0)),
            ("cpil", Value::Number(1.0)),
        ];
        assert_eq!(tags, expected.map(|(key, value)| (key.to_owned(), value)));
    }

    #[test]
    fn few_are_kept_and_little_of_each() {
        let long = read(&moov(&[item(b"ldes", 1, "é".repeat(50_000).as_bytes())]));
        assert_eq!(long[0].1.as_str().map(str::len), Some(1024));
        let many: Vec<Vec<u8>> = (0..500u32).map(|n| item(&n.to_be_bytes(), 1, b"x")).collect();
        assert_eq!(read(&moov(&many)).len(), TAGS_MAX);
        let much: Vec<Vec<u8>> = (0..60u32).map(|n| item(&n.to_be_bytes(), 1, &[b'x'; 1024])).collect();
        let text: usize =
            read(&moov(&much)).iter().filter_map(|(_, value)| value.as_str()).map(str::len).sum();
        assert!(text <= ALL_BYTES_MAX + TEXT_BYTES_MAX, "{text}");
        assert!(read(b"").is_empty() && read(&bx(b"udta", b"")).is_empty());
        assert!(read(&moov(&[bx(b"\xa9nam", &bx(b"data", &[0; 3]))])).is_empty());
    }
}
