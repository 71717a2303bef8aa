//! From what a player sends to the keys to try.
//!
//! Players disagree on where the folder goes (app or name), on the prefix and on the extension: librtmp cuts `.mp4` and sends `mp4:x`, ffmpeg
//! keeps it, GStreamer sends `x.mp4` bare with all folders in the app, Flowplayer ends the app with `mp4:folder`. So the app's
//! rest and the name are joined, every inner type prefix is removed, and the key is tried as given and then with the
//! extensions its prefix allows. What a file is, its bytes decide, never its name.

use std::sync::Arc;

use proto::object::check_key;

use super::authorise::Pass;

/// A stream name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamName {
    /// The name without type prefix and query, as status messages show it: `folder/film.mp4`.
    pub(crate) display: String,
    /// The query, without `?`; signed names carry their signature here.
    pub(crate) query: Option<String>,
    /// Keys the name stands for: as given, and with its escapes decoded. None if it can't be one.
    keys: Vec<String>,
    /// What may be missing at their ends.
    extensions: &'static [&'static [&'static str]],
    /// Only the ID3 tags of the file are wanted.
    pub(crate) tags_only: bool,
    /// What its signature has proven.
    pass: Option<Arc<Pass>>,
}

/// Longest name taken: a key of 1,024 bytes, escaped, and a signed query. Names wait in playlists, and a longer one is no file's anyway.
const NAME_BYTES: usize = 4096;
/// How much of a longer one status messages show.
const SHOWN_CHARS: usize = 64;

const MP4: &[&str] = &[".mp4", ".f4v", ".m4v", ".mov", ".m4a", ".3gp", ".aac"];
const PREFIXES: &[(&str, &[&[&str]])] =
    &[("flv:", &[&[".flv"]]), ("mp4:", &[MP4]), ("mp3:", &[&[".mp3"]]), ("id3:", &[&[".mp3"]])];
const NO_PREFIX: &[&[&str]] = &[&[".flv"], MP4, &[".mp3"]];

impl StreamName {
    /// Reads `name` as played within `folders` (what followed the instance in the app; may be empty).
    pub(crate) fn parse(folders: &str, name: &str) -> Self {
        if name.len() > NAME_BYTES {
            let shown: String = name.split('?').next().unwrap_or("").chars().take(SHOWN_CHARS).collect();
            return Self {
                display: shown,
                query: None,
                keys: Vec::new(),
                extensions: &[],
                tags_only: false,
                pass: None,
            };
        }
        let (path, query) = split_query(name);
        let joined = if folders.is_empty() { path.clone() } else { format!("{folders}/{path}") };
        let mut prefix = None;
        let segments: Vec<String> =
            joined.split('/').map(|segment| strip_prefix(segment, &mut prefix).to_owned()).collect();
        // The name's own prefix counts before one that the app carried.
        strip_prefix(&path, &mut prefix);
        let key = segments.join("/").trim_start_matches('/').to_owned();

        let extensions = PREFIXES.iter().find(|(p, _)| Some(*p) == prefix).map_or(NO_PREFIX, |(_, e)| e);
        let decoded = percent_decoded(&key);
        // A name that can't be a key can't be one with an extension either.
        let keys = std::iter::once(key).chain(decoded).filter(|key| check_key(key).is_ok()).collect();
        let display = path.trim_start_matches('/').to_owned();
        let display = strip_prefix(&display, &mut None).to_owned();
        Self { display, query, keys, extensions, tags_only: prefix == Some("id3:"), pass: None }
    }

    /// What the name itself says of the key: as given, then decoded.
    pub(super) fn bases(&self) -> &[String] {
        &self.keys
    }

    /// What may be missing at its end.
    pub(super) fn extensions(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.extensions.iter().flat_map(|list| list.iter().copied())
    }

    /// What its signature has proven.
    pub(super) fn pass(&self) -> Option<&Pass> {
        self.pass.as_deref()
    }

    /// The name with what its signature has proven: it stands for these keys now and no others.
    pub(super) fn passed(self, pass: Pass) -> Self {
        Self { pass: Some(Arc::new(pass)), ..self }
    }

    /// Keys to try, in order, without doubles.
    pub(crate) fn candidates(&self) -> Vec<String> {
        match &self.pass {
            Some(pass) => pass.keys.clone(),
            None => self.guesses(),
        }
    }

    /// The keys it may stand for.
    fn guesses(&self) -> Vec<String> {
        let mut candidates: Vec<String> = Vec::new();
        for key in &self.keys {
            let guesses = self.extensions.iter().flat_map(|e| e.iter()).map(|e| format!("{key}{e}"));
            for candidate in std::iter::once(key.clone()).chain(guesses) {
                if check_key(&candidate).is_ok() && !candidates.contains(&candidate) {
                    candidates.push(candidate);
                }
            }
        }
        candidates
    }

    /// Whether both may name the same file: one may carry an extension or a query that the other lacks.
    pub(crate) fn may_be(&self, other: &Self) -> bool {
        let others = other.guesses();
        self.keys == other.keys || self.guesses().iter().any(|key| others.contains(key))
    }

    /// Memory held, in bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn weight_bytes(&self) -> usize {
        let query = self.query.as_ref().map_or(0, String::len);
        self.display.len() + query + self.keys.iter().map(String::len).sum::<usize>()
    }
}

/// `key` without the extension of a media file, if it ends in one.
pub(super) fn without_extension(key: &str) -> Option<&str> {
    let (bare, extension) = key.rsplit_once('.')?;
    let is_media =
        |known: &&str| known.strip_prefix('.').is_some_and(|known| known.eq_ignore_ascii_case(extension));
    let mut known = NO_PREFIX.iter().flat_map(|list| list.iter());
    (known.any(is_media) && !bare.is_empty() && !bare.ends_with('/')).then_some(bare)
}

/// Removes type prefixes from the front of `segment`; remembers the last one removed.
fn strip_prefix<'a>(mut segment: &'a str, found: &mut Option<&'static str>) -> &'a str {
    while let Some((prefix, _)) = PREFIXES.iter().find(|(p, _)| starts_with_ignoring_case(segment, p)) {
        *found = Some(prefix);
        segment = &segment[prefix.len()..];
    }
    segment
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.as_bytes().get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Splits at the first `?`; a name that was escaped once (`%3F`, as web pages pass it to players) is decoded first.
fn split_query(name: &str) -> (String, Option<String>) {
    if let Some((path, query)) = name.split_once('?') {
        return (path.to_owned(), Some(query.to_owned()));
    }
    let escaped = name.find("%3F").or_else(|| name.find("%3f"));
    if escaped.is_some()
        && let Some(decoded) = percent_decoded(name)
        && let Some((path, query)) = decoded.split_once('?')
    {
        return (path.to_owned(), Some(query.to_owned()));
    }
    (name.to_owned(), None)
}

/// `text` with its percent-escapes decoded, if it has valid ones and the result is UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    let decoded = String::from_utf8(out).ok()?;
    (decoded != text).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(folders: &str, name: &str) -> Vec<String> {
        StreamName::parse(folders, name).candidates().into_iter().take(3).collect()
    }

    #[test]
    fn names_resolve_by_prefix_and_then_extension() {
        assert_eq!(first("", "x"), ["x", "x.flv", "x.mp4"]);
        assert_eq!(first("", "flv:x"), ["x", "x.flv"]);
        assert_eq!(first("", "mp4:x"), ["x", "x.mp4", "x.f4v"]);
        assert_eq!(first("", "mp3:a/x"), ["a/x", "a/x.mp3"]);
        assert_eq!(first("", "id3:x"), ["x", "x.mp3"]);
        assert_eq!(first("", "mp4:x.mp4")[0], "x.mp4");
        assert_eq!(StreamName::parse("", "x").candidates().last().map(String::as_str), Some("x.mp3"));
        assert!(StreamName::parse("", "x").candidates().contains(&"x.aac".to_owned()));
    }

    #[test]
    fn only_the_id3_prefix_asks_for_tags_alone() {
        for (name, tags_only) in
            [("id3:x", true), ("ID3:a/x.mp3", true), ("mp3:x", false), ("mp3:id3:x", true), ("x", false)]
        {
            assert_eq!(StreamName::parse("", name).tags_only, tags_only, "{name}");
        }
        assert!(!StreamName::parse("id3:a", "mp3:x").tags_only, "the name's own prefix counts");
    }

    #[test]
    fn folders_come_from_the_app_or_the_name() {
        for (folders, name) in
            [("a/b", "mp4:x.mp4"), ("a", "mp4:b/mp4:x.mp4"), ("", "mp4:a/b/x.mp4"), ("mp4:a/b", "x.mp4")]
        {
            let parsed = StreamName::parse(folders, name);
            assert_eq!(parsed.candidates()[..2], ["a/b/x.mp4", "a/b/x.mp4.mp4"], "{folders} {name}");
        }
        assert_eq!(StreamName::parse("", "/a/x").candidates()[0], "a/x");
    }

    #[test]
    fn the_query_never_reaches_the_key() {
        let parsed = StreamName::parse("", "mp4:a.mp4?Expires=1&Signature=x~");
        assert_eq!(
            (parsed.display.as_str(), parsed.query.as_deref()),
            ("a.mp4", Some("Expires=1&Signature=x~"))
        );
        assert_eq!(parsed.candidates()[0], "a.mp4");
        let escaped = StreamName::parse("", "mp4:a.mp4%3FExpires%3D1%26x%3D2");
        assert_eq!(escaped.query.as_deref(), Some("Expires=1&x=2"));
        assert_eq!(escaped.candidates()[0], "a.mp4");
    }

    #[test]
    fn escapes_are_tried_after_the_literal_name() {
        let names = StreamName::parse("", "flv:a%20b").candidates();
        assert_eq!(names, ["a%20b", "a%20b.flv", "a b", "a b.flv"]);
    }

    #[test]
    fn nothing_leaves_the_bucket() {
        for bad in ["../x", "a/../../x", "..", "a\0b", "", "mp4:", "a//b", "mp4:../x", "..%2f..%2fx"] {
            let names = StreamName::parse("", bad).candidates();
            // What was escaped may be a literal key, never a path.
            assert!(names.iter().all(|n| bad.contains("%2f") && !n.contains('/')), "{bad:?}: {names:?}");
        }
    }

    #[test]
    fn an_endless_name_is_no_file_and_is_not_kept() {
        let name = StreamName::parse("", &format!("mp4:{}?{}", "x".repeat(2000), "y".repeat(60_000)));
        assert!(name.candidates().is_empty() && name.weight_bytes() < 100);
        let signed = StreamName::parse("", &format!("mp4:{}?{}", "x".repeat(1000), "y".repeat(3000)));
        assert_eq!((signed.candidates().len(), signed.query.map(|query| query.len())), (8, Some(3000)));
    }

    #[test]
    fn a_character_of_several_bytes_before_a_prefix_length_is_no_panic() {
        assert_eq!(StreamName::parse("", "aé:").candidates()[0], "aé:");
        assert_eq!(StreamName::parse("é", "日本").candidates()[0], "é/日本");
    }
}
