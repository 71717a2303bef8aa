//! Names of log files: `prefix/ID.YYYY-MM-DD-HH.UNIQUE.gz`.
//!
//! UNIQUE is 13 of `[A-Z0-9]` made from the group and the list of segments whose records the file holds. So whoever writes the file for a
//! committed list, and however often, writes the same object; and no two lists meet in one name (67 bits).

use proto::v1::{LogTarget, SegmentHeader};
use sha2::{Digest, Sha256};

use super::format::stamp;

/// Characters of UNIQUE.
const UNIQUE_CHARS: usize = 13;
const ALPHABET: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The key of the file that holds the records of the distribution's `hour` (since 1970) and `target` in `segments`. The order of the list doesn't
/// matter.
pub fn key(distribution_id: &str, hour: u32, target: &LogTarget, segments: &[SegmentHeader]) -> String {
    let unique = unique(distribution_id, hour, target, segments);
    let hour = stamp::hour(hour);
    format!("{}{distribution_id}.{hour}.{unique}.gz", folder(&target.prefix))
}

/// What the keys of the distribution's files of an hour have before UNIQUE.
pub fn hour_prefix(distribution_id: &str, hour: u32, prefix: &str) -> String {
    format!("{}{distribution_id}.{}.", folder(prefix), stamp::hour(hour))
}

/// The prefix with one slash at its end; nothing for no prefix. Slashes it has itself are kept.
pub fn folder(prefix: &str) -> String {
    if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") }
}

/// The hash's parts are told apart by their lengths.
fn unique(distribution_id: &str, hour: u32, target: &LogTarget, segments: &[SegmentHeader]) -> String {
    let mut hash = Sha256::new();
    let mut text = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    text("penstock access log 1");
    text(distribution_id);
    text(&hour.to_string());
    text(&target.bucket_host);
    text(&target.prefix);
    text(&target.account);
    let mut list: Vec<_> = segments.iter().map(|s| (&s.edge_id, &s.epoch, s.number)).collect();
    list.sort_unstable();
    for (edge_id, epoch, number) in list {
        text(edge_id);
        text(epoch);
        text(&number.to_string());
    }
    let digest = hash.finalize();
    let mut number = digest.iter().take(16).fold(0u128, |sum, &byte| sum << 8 | u128::from(byte));
    let mut unique = String::with_capacity(UNIQUE_CHARS);
    for _ in 0..UNIQUE_CHARS {
        unique.push(char::from(ALPHABET[usize::try_from(number % 36).unwrap_or(0)]));
        number /= 36;
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(prefix: &str) -> LogTarget {
        LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), prefix: prefix.into(), account: "a".into() }
    }

    fn segment(edge: &str, number: u64) -> SegmentHeader {
        SegmentHeader { edge_id: edge.into(), epoch: "0123456789abcdef".into(), number }
    }

    #[test]
    fn a_name_is_prefix_id_hour_and_13_characters() {
        let at = |prefix: &str| key("EMLARXS9EXAMPLE", 437_276, &target(prefix), &[segment("e1", 7)]);
        let name = at("example-prefix");
        let (before, unique) = name.strip_suffix(".gz").unwrap().rsplit_once('.').unwrap();
        assert_eq!(before, "example-prefix/EMLARXS9EXAMPLE.2019-11-19-20");
        assert_eq!(unique.len(), 13);
        assert!(unique.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{unique}");
        assert!(name.starts_with(&hour_prefix("EMLARXS9EXAMPLE", 437_276, "example-prefix")));
    }

    #[test]
    fn a_slash_is_put_after_a_prefix_that_has_none() {
        for (prefix, folder) in
            [("", ""), ("log", "log/"), ("log/", "log/"), ("a/b", "a/b/"), ("a/b//", "a/b//")]
        {
            assert_eq!(super::folder(prefix), folder);
            let name = key("E1", 0, &target(prefix), &[]);
            assert!(name.starts_with(&format!("{folder}E1.1970-01-01-00.")), "{name}");
        }
    }

    #[test]
    fn a_name_is_of_the_list_whatever_its_order_and_of_nothing_else() {
        let base = key("E1", 5, &target("p"), &[segment("e1", 1), segment("e2", 9)]);
        assert_eq!(base, key("E1", 5, &target("p"), &[segment("e2", 9), segment("e1", 1)]));
        let mut others = vec![
            key("E1", 5, &target("p"), &[segment("e1", 1)]),
            key("E1", 5, &target("p"), &[segment("e1", 1), segment("e2", 90)]),
            key("E1", 5, &target("p"), &[segment("e11", 1), segment("e2", 9)]),
            key("E1", 6, &target("p"), &[segment("e1", 1), segment("e2", 9)]),
            key("E1", 5, &target("p/"), &[segment("e1", 1), segment("e2", 9)]),
            base,
        ];
        let unique = |name: &String| name.rsplit('.').nth(1).map(str::to_owned);
        others = others.iter().filter_map(unique).collect();
        others.sort();
        others.dedup();
        assert_eq!(others.len(), 6);
    }

    #[test]
    fn a_name_stays_what_it_is_from_one_version_to_the_next() {
        // A file that was committed by one version may be uploaded by another.
        let name = key("EMLARXS9EXAMPLE", 437_276, &target("log"), &[segment("e1", 7)]);
        assert_eq!(name, "log/EMLARXS9EXAMPLE.2019-11-19-20.I3NOG94AIPHH3.gz");
    }
}
