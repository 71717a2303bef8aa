//! 3GPP timed text: what one sample of a `tx3g` track says.
//!
//! A sample is a length, so many bytes of text, and boxes that style it, which are left out: `onTextData` has no styles. The text is
//! UTF-8, or UTF-16 behind a byte-order mark. A sample without text clears what the last one showed. A length that lies is cut off where
//! the sample ends; what is no text in its encoding becomes U+FFFD.
//!
//! Source: 3GPP TS 26.245, 5.17; ISO/IEC 14496-17.

/// The text of a sample.
pub fn text(sample: &[u8]) -> String {
    let Some((len, rest)) = sample.split_first_chunk::<2>() else { return String::new() };
    let text = rest.get(..usize::from(u16::from_be_bytes(*len))).unwrap_or(rest);
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        char::decode_utf16(bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])))
            .map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    match text {
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        utf8 => {
            let utf8 = utf8.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(utf8);
            String::from_utf8_lossy(utf8).into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_sample_is_its_text_without_styles() {
        assert_eq!(text(b"\0\x05Hello\0\0\0\x0cstyl\0\0\0\0"), "Hello");
        assert_eq!(text("\0\u{4}é\n!".as_bytes()), "é\n!");
        assert_eq!(text(b"\0\x06\xfe\xff\x65\xe5\x67\x2c"), "日本");
        assert_eq!(text(b"\0\x06\xff\xfe\xe5\x65\x2c\x67"), "日本");
    }

    #[test]
    fn an_empty_one_clears_and_a_lie_is_cut_off() {
        assert_eq!(text(b"\0\0"), "");
        assert_eq!(text(b""), "");
        assert_eq!(text(b"\0"), "");
        assert_eq!(text(b"\xff\xffcut"), "cut");
        assert_eq!(text(b"\0\x02\xc3\x28"), "\u{fffd}(");
    }
}
