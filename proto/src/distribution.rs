//! The documents edges act on, and when one is valid.
//!
//! A [`Distribution`] joins names viewers use (a domain, CNAMEs) to an origin. Control validates it before it is
//! stored; a node validates it again before it is applied, and refuses a single document that requires a feature the node lacks.

use crate::object::{OriginId, check_bucket, check_key, split_s3_host};
use crate::v1::{Distribution, DistributionKind};

/// Features a node of this build has; a distribution may require some of them.
pub const FEATURES: &[&str] = &["rtmp", SWF_VERIFICATION, SIGNED_NAMES];

/// The feature a distribution requires that has a rule for SWF files: a node that doesn't know the rule would let everyone in.
pub const SWF_VERIFICATION: &str = "swf-verification";

/// The feature a distribution requires that has trusted signers: a node that doesn't know the rule would serve it to everyone.
pub const SIGNED_NAMES: &str = "signed-names";

/// Most trusted signers of a distribution.
pub const TRUSTED_SIGNERS_MAX: usize = 5;

/// Most characters of the prefix of log files, as CloudFront has it.
pub const LOG_PREFIX_CHARS_MAX: usize = 256;

/// And most bytes, so that a log file's key, its name included, stays within the 1024 of S3.
pub const LOG_PREFIX_BYTES_MAX: usize = 960;

/// Most SWF files a distribution may allow: each costs a hash at every connect.
pub const ALLOWED_SWFS_MAX: usize = 64;

/// Why a distribution is not valid. The text names the field.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// The field, as operators spell it.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

fn invalid<T>(field: &'static str, reason: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid { field, reason: reason.into() })
}

/// Checks every field of a document.
pub fn validate(doc: &Distribution) -> Result<(), Invalid> {
    if !is_distribution_id(&doc.id) {
        return invalid("id", format!("'{}' is not E and 12 or 13 of [0-9A-Z]", doc.id));
    }
    let letter = match doc.kind() {
        DistributionKind::Streaming => 's',
        DistributionKind::Web => 'd',
        DistributionKind::Unspecified => return invalid("kind", "is neither streaming nor web"),
    };
    let (label, zone) = doc.domain.split_once('.').unwrap_or((&doc.domain, ""));
    let tail = label.strip_prefix(letter).unwrap_or("");
    if tail.len() != 13
        || !tail.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        || !is_host(zone)
    {
        return invalid(
            "domain",
            format!("'{}' is not {letter}, 13 of [a-z0-9], a dot and a zone", doc.domain),
        );
    }
    if doc.aliases.len() > 100 {
        return invalid("aliases", format!("{} names, over 100", doc.aliases.len()));
    }
    for (i, alias) in doc.aliases.iter().enumerate() {
        if !is_host(alias) {
            return invalid("aliases", format!("'{alias}' is not a lower-case host name"));
        }
        if doc.aliases[..i].contains(alias) || *alias == doc.domain {
            return invalid("aliases", format!("'{alias}' is named twice"));
        }
    }
    if doc.comment.chars().count() > 128 {
        return invalid("comment", "is over 128 characters");
    }
    if !is_origin_host(&doc.origin_host) {
        return invalid(
            "origin",
            format!("'{}' is not a bucket host such as BUCKET.s3.amazonaws.com", doc.origin_host),
        );
    }
    if doc.origin_id != OriginId::of(&doc.origin_host, &doc.credential).as_str() {
        return invalid("origin_id", "does not belong to the origin and credential");
    }
    if doc.chunk_size_bytes != 0 && !(128..=65_536).contains(&doc.chunk_size_bytes) {
        return invalid("chunk_size_bytes", format!("{} is not within 128 and 65536", doc.chunk_size_bytes));
    }
    if !doc.account.is_empty() && !is_account(&doc.account) {
        return invalid("account", format!("'{}' is not 12 digits", doc.account));
    }
    check_signers(doc)?;
    check_logging(doc)?;
    check_swfs(doc)
}

/// Whether `id` may be a distribution's: `E` and 12 or 13 of `[0-9A-Z]`.
pub fn is_distribution_id(id: &str) -> bool {
    id.strip_prefix('E').is_some_and(|tail| {
        (12..=13).contains(&tail.len()) && tail.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    })
}

fn check_logging(doc: &Distribution) -> Result<(), Invalid> {
    let Some(target) = &doc.logging else { return Ok(()) };
    if !is_origin_host(&target.bucket_host) {
        let host = &target.bucket_host;
        let reason = format!("'{host}' is not a bucket host such as BUCKET.s3.amazonaws.com");
        return invalid("logging.bucket", reason);
    }
    if !is_log_prefix(&target.prefix) {
        return invalid(
            "logging.prefix",
            format!(
                "is over {LOG_PREFIX_CHARS_MAX} characters or {LOG_PREFIX_BYTES_MAX} bytes, or no beginning of a key"
            ),
        );
    }
    // Whose grants decide where logs are written must not be anybody else than whose distribution it is.
    if !target.account.is_empty() && target.account != doc.account {
        return invalid("logging.account", format!("'{}' is not the distribution's account", target.account));
    }
    Ok(())
}

/// Whether keys of log files may begin with `prefix`: text without control characters, empty, `.` or `..` segments; with or without a slash at its
/// end, and empty for none.
pub fn is_log_prefix(prefix: &str) -> bool {
    prefix.is_empty()
        || (prefix.chars().count() <= LOG_PREFIX_CHARS_MAX
            && prefix.len() <= LOG_PREFIX_BYTES_MAX
            && check_key(prefix.strip_suffix('/').unwrap_or(prefix)).is_ok())
}

/// Whether `account` is the number of an account: 12 digits.
pub fn is_account(account: &str) -> bool {
    account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())
}

fn check_signers(doc: &Distribution) -> Result<(), Invalid> {
    let signers = &doc.trusted_signers;
    if signers.is_empty() {
        return Ok(());
    }
    if signers.len() > TRUSTED_SIGNERS_MAX {
        return invalid("trusted_signers", format!("{} accounts, over {TRUSTED_SIGNERS_MAX}", signers.len()));
    }
    if let Some(signer) = signers.iter().find(|signer| !is_account(signer)) {
        return invalid("trusted_signers", format!("'{signer}' is not 12 digits"));
    }
    if !doc.required_features.iter().any(|feature| feature == SIGNED_NAMES) {
        return invalid("required_features", format!("lack {SIGNED_NAMES}, which trusted_signers need"));
    }
    Ok(())
}

fn check_swfs(doc: &Distribution) -> Result<(), Invalid> {
    let rule = &doc.swf_verification;
    if rule.is_empty() {
        return Ok(());
    }
    if rule.len() > ALLOWED_SWFS_MAX {
        return invalid("swf_verification", format!("{} files, over {ALLOWED_SWFS_MAX}", rule.len()));
    }
    if let Some(at) = rule.iter().position(|swf| swf.hash.len() != 32) {
        return invalid(
            "swf_verification",
            format!("the hash of file {} is not 64 hexadecimal digits", at + 1),
        );
    }
    if !doc.required_features.iter().any(|feature| feature == SWF_VERIFICATION) {
        return invalid(
            "required_features",
            format!("lack {SWF_VERIFICATION}, which swf_verification needs"),
        );
    }
    Ok(())
}

/// The features `doc` requires and this build lacks.
pub fn lacking_features(doc: &Distribution) -> Vec<String> {
    doc.required_features.iter().filter(|f| !FEATURES.contains(&f.as_str())).cloned().collect()
}

/// Whether `host` is a lower-case DNS name.
pub fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// Whether `host` names a bucket: an S3 host, or a bucket label before an own suffix.
pub fn is_origin_host(host: &str) -> bool {
    if host.ends_with(".amazonaws.com") {
        return split_s3_host(host).is_some();
    }
    is_host(host) && host.split_once('.').is_some_and(|(bucket, _)| check_bucket(bucket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{AllowedSwf, LogTarget};

    fn sample() -> Distribution {
        Distribution {
            id: "EGTXBD79H29TRA".into(),
            kind: DistributionKind::Streaming.into(),
            domain: "s5c39gqb8ow64r.penstock.localhost".into(),
            enabled: true,
            origin_host: "media.s3.amazonaws.com".into(),
            origin_id: OriginId::of("media.s3.amazonaws.com", "").as_str().into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_plain_streaming_distribution_is_valid() {
        assert_eq!(validate(&sample()), Ok(()));
    }

    fn allowed() -> AllowedSwf {
        AllowedSwf { hash: vec![7; 32].into(), size_bytes: 0 }
    }

    #[test]
    fn a_rule_for_swf_files_goes_with_its_feature() {
        let mut doc = sample();
        doc.swf_verification = vec![allowed()];
        doc.required_features = vec![SWF_VERIFICATION.into()];
        assert_eq!(validate(&doc), Ok(()));
        assert!(lacking_features(&doc).is_empty());
    }

    const LOGS: &str = "logs.s3.amazonaws.com";

    fn logs(bucket_host: &str, prefix: &str) -> LogTarget {
        LogTarget { bucket_host: bucket_host.into(), prefix: prefix.into(), account: String::new() }
    }

    #[test]
    fn logs_go_to_a_bucket_under_a_prefix_that_begins_a_key() {
        let longest = "p".repeat(256);
        for prefix in ["", "log", "log/", "a/b c/ü", longest.as_str()] {
            let mut doc = sample();
            doc.logging = Some(logs(LOGS, prefix));
            assert_eq!(validate(&doc), Ok(()), "{prefix:?}");
        }
        for prefix in ["/", "a//b", "a/./", "..", "a\\b", "a\tb", "a\u{7f}", &"\u{1f3a5}".repeat(241)] {
            assert!(!is_log_prefix(prefix), "{prefix:?}");
        }
        let mut doc = sample();
        doc.account = "111122223333".into();
        for account in ["", "111122223333"] {
            doc.logging = Some(LogTarget { account: account.into(), ..logs(LOGS, "") });
            assert_eq!(validate(&doc), Ok(()), "the operator's choice, or the account's own");
        }
    }

    #[test]
    fn each_bad_field_is_named() {
        type Break = fn(&mut Distribution);
        let cases: [(&str, Break); 18] = [
            ("id", |d| d.id = "X".into()),
            ("kind", |d| d.kind = 0),
            ("domain", |d| d.domain = "d5c39gqb8ow64r.penstock.localhost".into()),
            ("aliases", |d| d.aliases = vec!["Bad".into()]),
            ("aliases", |d| d.aliases = vec!["a.b".into(), "a.b".into()]),
            ("origin", |d| d.origin_host = "s3.amazonaws.com/media".into()),
            ("origin_id", |d| d.credential = "x".into()),
            ("chunk_size_bytes", |d| d.chunk_size_bytes = 1),
            ("swf_verification", |d| d.swf_verification = vec![AllowedSwf::default()]),
            ("swf_verification", |d| d.swf_verification = vec![allowed(); 65]),
            ("required_features", |d| d.swf_verification = vec![allowed()]),
            ("logging.bucket", |d| d.logging = Some(logs("", ""))),
            ("logging.bucket", |d| d.logging = Some(logs("s3.amazonaws.com", ""))),
            ("logging.bucket", |d| d.logging = Some(logs("Logs.s3.amazonaws.com", ""))),
            ("logging.prefix", |d| d.logging = Some(logs(LOGS, "../other"))),
            ("logging.prefix", |d| d.logging = Some(logs(LOGS, "/films"))),
            ("logging.prefix", |d| d.logging = Some(logs(LOGS, &"p".repeat(257)))),
            ("logging.account", |d| {
                d.logging = Some(LogTarget { account: "111122223333".into(), ..logs(LOGS, "") });
            }),
        ];
        for (field, break_it) in cases {
            let mut doc = sample();
            break_it(&mut doc);
            assert_eq!(validate(&doc).map_err(|e| e.field), Err(field));
        }
    }
}
