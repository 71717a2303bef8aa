//! What a config may say, and the document nodes get of it.
//!
//! [`check`] needs only the config and the limits; [`references`] asks the store whether what a config names is there and the account's own. What
//! it relied on becomes a condition of the write, so that an origin access identity can't be deleted between the two.

use std::net::Ipv4Addr;

use proto::distribution::{
    LOG_PREFIX_CHARS_MAX, SIGNED_NAMES, TRUSTED_SIGNERS_MAX, is_account, is_host, is_log_prefix,
};
use proto::object::{OriginId, PUBLIC, check_bucket, split_s3_host};
use proto::v1::{Distribution, DistributionKind, LogTarget};

use super::config::{IDENTITY_PREFIX, SELF, StreamingConfig};
use crate::api::resource::{self, Kind};
use crate::api::{ApiConfig, ApiError, Context};
use crate::documents::ACCOUNTS;

/// A caller reference is shorter than this, in bytes of UTF-8.
const CALLER_REFERENCE_BYTES: usize = 128;
/// Most characters of a comment.
const COMMENT_CHARS: usize = 128;
/// Most characters of an origin or a log bucket.
const HOST_CHARS: usize = 128;
/// Before the credential of a distribution whose bucket is read as an origin access identity.
pub const IDENTITY_CREDENTIAL: &str = "oai/";

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::invalid_argument(message)
}

/// The refusal of an alias that isn't to be had.
pub(super) fn alias_taken(alias: &str) -> ApiError {
    ApiError::conflict("CNAMEAlreadyExists", format!("the CNAME {alias} belongs to another distribution"))
}

/// Checks all that needs no store.
///
/// # Errors
/// With the code CloudFront has for what is wrong.
pub fn check(config: &StreamingConfig, api: &ApiConfig) -> Result<(), ApiError> {
    let reference = &config.caller_reference;
    if reference.is_empty() || reference.len() >= CALLER_REFERENCE_BYTES || !reference.chars().all(is_text) {
        return Err(invalid(format!(
            "CallerReference: is not 1 to {} bytes of text",
            CALLER_REFERENCE_BYTES - 1
        )));
    }
    if config.comment.chars().count() > COMMENT_CHARS || !config.comment.chars().all(is_text) {
        return Err(invalid(format!("Comment: is over {COMMENT_CHARS} characters, or no text")));
    }
    if !is_bucket_host(&config.origin, api) {
        let message =
            format!("the origin {:?} is not a bucket's host such as BUCKET.s3.amazonaws.com", config.origin);
        return Err(ApiError::bad_request("InvalidOrigin", message));
    }
    check_aliases(&config.aliases, api)?;
    check_signers(&config.trusted_signers.accounts, api)?;
    let logging = &config.logging;
    if logging.enabled { check_logging(&logging.bucket, &logging.prefix, api) } else { Ok(()) }
}

/// Checks where logs are to go, for distributions of both kinds.
pub(in crate::api) fn check_logging(bucket: &str, prefix: &str, api: &ApiConfig) -> Result<(), ApiError> {
    if !is_bucket_host(bucket, api) {
        return Err(invalid(format!(
            "Logging/Bucket: {bucket:?} is not a bucket's host such as BUCKET.s3.amazonaws.com"
        )));
    }
    if !is_log_prefix(prefix) {
        return Err(invalid(format!(
            "Logging/Prefix: is over {LOG_PREFIX_CHARS_MAX} characters, or no beginning of a key: a slash at its start, an \
             empty or dotted folder, a control character"
        )));
    }
    Ok(())
}

/// What nodes get of it: files go to `bucket` if the grants of `account` say so when they are written.
pub(in crate::api) fn log_target(bucket: &str, prefix: &str, account: &str) -> LogTarget {
    LogTarget {
        bucket_host: bucket.to_ascii_lowercase(),
        prefix: prefix.to_owned(),
        account: account.to_owned(),
    }
}

/// Whether XML 1.0 has a place for `c`, which a form of the console may not have.
fn is_text(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || (!c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}'))
}

/// Whether `host` is `BUCKET.s3.amazonaws.com`, `BUCKET.s3.REGION.amazonaws.com` or a bucket below a suffix of the operator's own.
pub(in crate::api) fn is_bucket_host(host: &str, api: &ApiConfig) -> bool {
    let host = host.to_ascii_lowercase();
    if host.chars().count() > HOST_CHARS || !is_host(&host) {
        return false;
    }
    let own = |suffix: &String| {
        let suffix = suffix.trim_start_matches('.');
        host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')).is_some_and(check_bucket)
    };
    split_s3_host(&host).is_some() || api.origin_suffixes.iter().any(own)
}

fn check_aliases(aliases: &[String], api: &ApiConfig) -> Result<(), ApiError> {
    if aliases.len() > api.limits.aliases {
        let message = format!("{} CNAMEs, over {}", aliases.len(), api.limits.aliases);
        return Err(ApiError::bad_request("TooManyStreamingDistributionCNAMEs", message));
    }
    for (at, alias) in aliases.iter().enumerate() {
        if !is_host(alias) || alias.parse::<Ipv4Addr>().is_ok() {
            return Err(invalid(format!("CNAME: {alias:?} is not a lower-case host name")));
        }
        if aliases[..at].contains(alias) {
            return Err(invalid(format!("CNAME: {alias} is there twice")));
        }
        // Such a name is a distribution's domain, was one, or may become one; a viewer's bookmark must not change hands by it.
        if is_generated(alias, &api.zone) {
            return Err(alias_taken(alias));
        }
    }
    Ok(())
}

/// Whether `host` looks like a domain that a distribution is given.
fn is_generated(host: &str, zone: &str) -> bool {
    let label = host.strip_suffix(zone).and_then(|rest| rest.strip_suffix('.')).unwrap_or_default();
    let label = label.rsplit('.').next().unwrap_or_default();
    label.len() == 14 && label.starts_with(['s', 'd']) && label.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn check_signers(accounts: &[String], api: &ApiConfig) -> Result<(), ApiError> {
    let most = api.limits.trusted_signers.min(TRUSTED_SIGNERS_MAX);
    if accounts.len() > most {
        let message = format!("{} trusted signers, over {most}", accounts.len());
        return Err(ApiError::bad_request("TooManyTrustedSigners", message));
    }
    for (at, account) in accounts.iter().enumerate() {
        if account != SELF && !is_account(account) {
            return Err(no_such_signer(account));
        }
        if accounts[..at].contains(account) {
            return Err(invalid(format!("TrustedSigners: {account} is there twice")));
        }
    }
    Ok(())
}

fn no_such_signer(account: &str) -> ApiError {
    let message = format!("the trusted signer {account:?} is no account");
    ApiError::bad_request("TrustedSignerDoesNotExist", message)
}

/// Checks that what `config` names is there, and `account`'s own. Returns what the write must find unchanged: keys and their revisions.
///
/// # Errors
/// `InvalidOriginAccessIdentity`, `TrustedSignerDoesNotExist`, or when the store fails.
pub(super) async fn references(
    context: &Context,
    account: &str,
    config: &StreamingConfig,
) -> Result<Vec<(String, u64)>, ApiError> {
    let mut guards = Vec::new();
    let store = &*context.store;
    if !config.identity.is_empty() {
        let kind = Kind::OriginAccessIdentity;
        let Some(found) = resource::load(store, kind, account, &config.identity).await? else {
            let message = format!("there is no {IDENTITY_PREFIX}{}", config.identity);
            return Err(ApiError::bad_request("InvalidOriginAccessIdentity", message));
        };
        guards.push((resource::key(kind, account, &config.identity), found.modified));
    }
    for signer in config.trusted_signers.accounts.iter().filter(|signer| *signer != SELF) {
        if store.get(&format!("{ACCOUNTS}{signer}")).await?.is_none() {
            return Err(no_such_signer(signer));
        }
    }
    Ok(guards)
}

/// The document nodes get: `known` (a new one has id, domain and account only) as `config` would have it. What the API has no words for stays.
pub(super) fn published(config: &StreamingConfig, mut known: Distribution) -> Distribution {
    known.kind = DistributionKind::Streaming.into();
    known.origin_host = config.origin.to_ascii_lowercase();
    known.credential = match config.identity.as_str() {
        "" => format!("{PUBLIC}{}", known.account),
        id => format!("{IDENTITY_CREDENTIAL}{id}"),
    };
    known.origin_id = OriginId::of(&known.origin_host, &known.credential).as_str().into();
    known.aliases.clone_from(&config.aliases);
    known.enabled = config.enabled;
    known.comment.clone_from(&config.comment);
    let logging = &config.logging;
    known.logging = logging.enabled.then(|| log_target(&logging.bucket, &logging.prefix, &known.account));
    let own = known.account.clone();
    let mut signers: Vec<String> = Vec::new();
    for account in &config.trusted_signers.accounts {
        let account = if account == SELF { &own } else { account };
        if !signers.contains(account) {
            signers.push(account.clone());
        }
    }
    known.trusted_signers = signers;
    known.required_features.retain(|feature| feature != SIGNED_NAMES);
    if config.trusted_signers.enabled {
        known.required_features.push(SIGNED_NAMES.into());
    }
    known
}

#[cfg(test)]
mod tests {
    use super::super::config::{Logging, TrustedSigners};
    use super::*;

    fn good() -> StreamingConfig {
        StreamingConfig {
            caller_reference: "ref".into(),
            origin: "media.s3.amazonaws.com".into(),
            aliases: vec!["media.example.com".into()],
            enabled: true,
            ..StreamingConfig::default()
        }
    }

    #[test]
    fn each_rule_has_its_code() {
        let api = ApiConfig { origin_suffixes: vec!["minio.internal".into()], ..ApiConfig::default() };
        assert_eq!(check(&good(), &api), Ok(()));
        type Change = fn(&mut StreamingConfig);
        let well: [Change; 10] = [
            |c| c.caller_reference = "r".repeat(127),
            |c| c.comment = "ü".repeat(128),
            |c| c.origin = "my.media.s3.eu-west-1.amazonaws.com".into(),
            |c| c.origin = "media.minio.internal".into(),
            |c| c.origin = "b.s3.amazonaws.com".into(),
            |c| c.aliases = (0..100).map(|i| format!("a{i}.example.com")).collect(),
            |c| c.aliases = vec!["media.penstock.localhost".into()],
            |c| c.trusted_signers = TrustedSigners::of(vec!["self".into(), "111122223333".into()]),
            |c| {
                c.logging =
                    Logging { enabled: true, bucket: "l-o-g.s3.amazonaws.com".into(), prefix: "a/".into() }
            },
            |c| c.logging = Logging { enabled: true, prefix: "p".repeat(256), ..logs() },
        ];
        for change in well {
            let mut config = good();
            change(&mut config);
            assert_eq!(check(&config, &api), Ok(()), "{config:?}");
        }
        let wrong: [(&str, Change); 26] = [
            ("InvalidArgument", |c| c.caller_reference.clear()),
            ("InvalidArgument", |c| c.caller_reference = "ü".repeat(64)),
            ("InvalidArgument", |c| c.caller_reference = "a\u{1}".into()),
            ("InvalidArgument", |c| c.comment = "c".repeat(129)),
            ("InvalidOrigin", |c| c.origin = "www.example.com".into()),
            ("InvalidOrigin", |c| c.origin = "s3.amazonaws.com/media".into()),
            ("InvalidOrigin", |c| c.origin = "s3.amazonaws.com".into()),
            ("InvalidOrigin", |c| c.origin = "media.s3-accelerate.amazonaws.com".into()),
            ("InvalidOrigin", |c| c.origin = "minio.internal".into()),
            ("InvalidOrigin", |c| c.origin = "a_b.minio.internal".into()),
            ("InvalidOrigin", |c| c.origin.clear()),
            ("InvalidOrigin", |c| c.origin = "https://media.s3.amazonaws.com".into()),
            ("TooManyStreamingDistributionCNAMEs", |c| {
                c.aliases = (0..101).map(|i| format!("a{i}.example.com")).collect();
            }),
            ("InvalidArgument", |c| c.aliases = vec!["a b".into()]),
            ("InvalidArgument", |c| c.aliases = vec!["*.example.com".into()]),
            ("InvalidArgument", |c| c.aliases = vec!["127.0.0.1".into()]),
            ("InvalidArgument", |c| c.aliases = vec!["a.b".into(), "a.b".into()]),
            ("CNAMEAlreadyExists", |c| c.aliases = vec!["s5c39gqb8ow64r.penstock.localhost".into()]),
            ("TooManyTrustedSigners", |c| {
                c.trusted_signers = TrustedSigners::of((0..6).map(|i| format!("{i:012}")).collect());
            }),
            ("TrustedSignerDoesNotExist", |c| c.trusted_signers = TrustedSigners::of(vec!["1".into()])),
            ("InvalidArgument", |c| {
                c.trusted_signers = TrustedSigners::of(vec!["self".into(), "self".into()])
            }),
            ("InvalidArgument", |c| c.logging = Logging { enabled: true, ..Logging::default() }),
            ("InvalidArgument", |c| c.logging = Logging { prefix: "p".repeat(257), ..logs() }),
            ("InvalidArgument", |c| c.logging = Logging { prefix: "../other".into(), ..logs() }),
            ("InvalidArgument", |c| c.logging = Logging { prefix: "a\nb".into(), ..logs() }),
            ("InvalidArgument", |c| c.logging = Logging { bucket: "logs.example.com".into(), ..logs() }),
        ];
        for (code, change) in wrong {
            let mut config = good();
            change(&mut config);
            assert_eq!(check(&config, &api).map_err(|e| e.code), Err(code), "{config:?}");
        }
    }

    fn logs() -> Logging {
        Logging { enabled: true, bucket: "Logs.s3.amazonaws.com".into(), prefix: "films".into() }
    }

    #[test]
    fn logs_are_published_in_the_accounts_name_while_they_are_on() {
        let account = "111122223333".to_owned();
        let known = Distribution { account: account.clone(), ..Distribution::default() };
        let on = published(&StreamingConfig { logging: logs(), ..good() }, known);
        let target =
            LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), prefix: "films".into(), account };
        assert_eq!(on.logging, Some(target));
        assert_eq!(published(&good(), on).logging, None);
    }

    #[test]
    fn signers_are_resolved_and_require_their_feature() {
        let mut config = good();
        config.trusted_signers = TrustedSigners::of(vec!["111122223333".into(), "self".into()]);
        config.identity = "E1".into();
        let known = Distribution {
            account: "111122223333".into(),
            required_features: vec!["rtmp".into()],
            chunk_size_bytes: 65_536,
            ..Distribution::default()
        };
        let next = published(&config, known);
        assert_eq!(next.trusted_signers, ["111122223333"]);
        assert_eq!(next.required_features, ["rtmp", SIGNED_NAMES]);
        assert_eq!((next.credential.as_str(), next.chunk_size_bytes), ("oai/E1", 65_536));
        let next = published(&good(), next);
        assert_eq!(next.required_features, ["rtmp"]);
        assert!(next.trusted_signers.is_empty());
        assert_eq!(next.credential, "public/111122223333");
        // Another account's distribution on the same bucket has an origin, so a cache, of its own.
        let other =
            published(&good(), Distribution { account: "444455556666".into(), ..Distribution::default() });
        assert!(other.origin_host == next.origin_host && other.origin_id != next.origin_id);
    }
}
