//! The names a policy may call an object by, and wildcards.
//!
//! A player may leave an extension out that the key has, and a signer may too: so a key that a stream name stands for answers to itself, to
//! itself without the extension of a media file, and to each of these with the viewer's own query behind. A name of another key is
//! none of them: who signed `a.mp4` opened `a.mp4`, whatever else `mp4:a` could stand for.

use proto::object::check_key;

use super::super::names::{StreamName, without_extension};

/// A key a stream name may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The key.
    pub(crate) key: String,
    /// What a policy may call it.
    pub(crate) names: Vec<String>,
}

/// The keys `name` stands for, in the order in which they are tried.
pub(crate) fn candidates(name: &StreamName, own_query: Option<&str>) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    // The name as given; then, if it has escapes, decoded: that may have been signed either way.
    let given = name.bases().first();
    for base in name.bases() {
        let spellings = || std::iter::once(base).chain(given.filter(|given| *given != base));
        let mut add = |key: String, called: Vec<String>| {
            let mut names: Vec<String> = Vec::new();
            for called in called {
                let with_query = own_query.map(|query| format!("{called}?{query}"));
                names.extend(std::iter::once(called).chain(with_query));
            }
            match candidates.iter_mut().find(|known| known.key == key) {
                Some(known) => known.names.extend(names),
                None => candidates.push(Candidate { key, names }),
            }
        };
        let bare = || spellings().filter_map(|spelling| without_extension(spelling)).map(str::to_owned);
        add(base.clone(), spellings().cloned().chain(bare()).collect());
        let whole = name.extensions().any(|extension| base.ends_with(extension));
        for extension in name.extensions() {
            let key = format!("{base}{extension}");
            if check_key(&key).is_err() {
                continue;
            }
            // Who names the extension signs it once: a second one is never in the signed name.
            let full = spellings().filter(|_| !whole).map(|spelling| format!("{spelling}{extension}"));
            let called = full.chain(spellings().cloned()).collect();
            add(key, called);
        }
    }
    candidates
}

/// All names of `candidates`, each once, the likeliest first.
pub(super) fn distinct(candidates: &[Candidate]) -> Vec<&str> {
    let mut distinct: Vec<&str> = Vec::new();
    for name in candidates.iter().flat_map(|candidate| &candidate.names) {
        if !distinct.contains(&name.as_str()) {
            distinct.push(name);
        }
    }
    distinct
}

/// Whether `pattern` covers `name`, a candidate's name, which may end in the viewer's `own` query. The query is the viewer's to choose: what stands
/// for the key in a pattern must fit the key alone, or `*.mp3` would open `film.mp4?x=.mp3`.
pub(super) fn covers(pattern: &str, name: &str, own: Option<&str>) -> bool {
    match own.and_then(|own| Some((name.strip_suffix(own)?.strip_suffix('?')?, own))) {
        Some((key, own)) => pattern
            .match_indices('?')
            .any(|(at, mark)| fits(&pattern[..at], key) && fits(&pattern[at + mark.len()..], own)),
        None => fits(pattern, name),
    }
}

/// Whether `name` fits `pattern`, in which `*` stands for any characters and `?` for one.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when the characters after the last star don't fit: one further.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names_of(name: &str, query: Option<&str>) -> Vec<(String, Vec<String>)> {
        let name = StreamName::parse("", name);
        candidates(&name, query).into_iter().map(|candidate| (candidate.key, candidate.names)).collect()
    }

    #[test]
    fn a_pattern_for_keys_is_not_met_by_the_viewers_query() {
        let own = Some("a=.mp3");
        assert!(covers("*.mp3", "film.mp3", own) && covers("*", "film.mp4", own));
        for pattern in ["*.mp3", "film.mp4*.mp3", "????????*3"] {
            assert!(!covers(pattern, "film.mp4?a=.mp3", own), "{pattern}");
        }
        // A pattern that has a part for the query is met by both.
        assert!(
            covers("film.mp4?a=*", "film.mp4?a=.mp3", own) && covers("*.mp4?a=.mp3", "film.mp4?a=.mp3", own)
        );
        assert!(!covers("other.mp4?a=*", "film.mp4?a=.mp3", own));
        assert!(!covers("film.mp4?b=*", "film.mp4?a=.mp3", own));
    }

    #[test]
    fn a_key_answers_to_its_name_with_and_without_extension() {
        let of = |key: &str, names: &[&str]| {
            (key.to_owned(), names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names_of("mp3:v/a", None), [of("v/a", &["v/a"]), of("v/a.mp3", &["v/a.mp3", "v/a"])]);
        // An extension more would be nobody's meaning.
        assert_eq!(
            names_of("mp3:v/a.mp3", None),
            [of("v/a.mp3", &["v/a.mp3", "v/a"]), of("v/a.mp3.mp3", &["v/a.mp3"])]
        );
        assert_eq!(
            names_of("flv:a", Some("color=red")),
            [of("a", &["a", "a?color=red"]), of("a.flv", &["a.flv", "a.flv?color=red", "a", "a?color=red"])]
        );
        // What isn't a media file's extension is part of the name.
        assert_eq!(names_of("flv:v1.5", None)[0], of("v1.5", &["v1.5"]));
    }

    #[test]
    fn an_escaped_name_may_be_signed_either_way() {
        let names = names_of("flv:a%20b", None);
        assert_eq!(names[2].0, "a b");
        assert_eq!(names[2].1, ["a b", "a%20b"]);
        assert_eq!(names[0].1, ["a%20b"], "the literal key answers to no other");
    }

    #[test]
    fn few_names_are_to_be_checked() {
        for (name, most) in [("mp4:a.mp4", 2), ("mp4:a", 8), ("a", 10), ("a%20b", 20), ("mp3:a", 2)] {
            let parsed = StreamName::parse("", name);
            assert!(
                distinct(&candidates(&parsed, None)).len() <= most,
                "{name}: {:?}",
                distinct(&candidates(&parsed, None))
            );
            assert!(distinct(&candidates(&parsed, Some("x=y"))).len() <= 2 * most, "{name}");
        }
    }

    #[test]
    fn wildcards_stand_for_what_they_say() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "a/b.mp4", true),
            ("videos/*", "videos/a/b.mp4", true),
            ("videos/*", "videos", false),
            ("videos/*", "other/videos/a", false),
            ("*.mp4", "a.mp4", true),
            ("*.mp4", "a.mp4x", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a?c", "aéc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a.mp4?color=red", "a.mp4?color=red", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    /// The same, told simply.
    fn simply(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => simply(rest, name),
            (Some(('*', rest)), Some((_, tail))) => simply(rest, name) || simply(pattern, tail),
            (Some((c, rest)), Some((n, tail))) if *c == '?' || c == n => simply(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn wildcards_are_what_a_simple_matcher_says(pattern in "[ab*?]{0,8}", name in "[abé]{0,8}") {
            let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
            prop_assert_eq!(fits(&pattern, &name), simply(&p, &n));
        }
    }
}
