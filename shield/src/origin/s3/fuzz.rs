//! Fuzz target: what an S3 endpoint says in headers: of ranges, of freshness.

use std::time::Duration;

use super::{lifetime, parse_content_range};

/// Three lines: a Content-Range, a Cache-Control, an Expires. A range that is believed lies within its object and is the one that was
/// written; a lifetime is never longer than what was said.
pub fn origin_headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let (content_range, cache_control, expires) = (line().unwrap_or_default(), line(), line());
    if let Some((range, size)) = parse_content_range(content_range) {
        assert!(range.start < range.end && range.end <= size, "{content_range:?}");
        let written = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        assert_eq!(parse_content_range(&written), Some((range, size)), "{content_range:?}");
        let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
        assert!(digits(&written) <= digits(content_range), "{content_range:?}");
    }
    let age = lifetime(cache_control, expires);
    if cache_control.is_none() && expires.is_none() {
        assert_eq!(age, None);
    }
    if cache_control.is_some_and(|said| said.eq_ignore_ascii_case("no-store")) {
        assert_eq!(age, Some(Duration::ZERO));
    }
}
