//! What nodes get of a web distribution: a document like a streaming distribution's, so that edges know its names (and can tell a player
//! that asks for RTMP what they are) and shields its bucket.
//!
//! The origin is that of the default behaviour. One that is no bucket can't be published; its names are claimed all the same,
//! and the head is touched, so that the change has a config revision whatever is published.

use prost::Message;
use proto::distribution::{SIGNED_NAMES, validate};
use proto::object::{OriginId, PUBLIC};
use proto::v1::{Distribution, DistributionKind};

use super::WebConfig;
use super::config::{Origin, OriginKind};
use crate::api::identity::CREDENTIAL;
use crate::api::streaming::rules::{check_logging, is_bucket_host, log_target};
use crate::api::{ApiConfig, ApiError, names};
use crate::documents::{DISTRIBUTIONS, NAMES, Stored};
use crate::store::{HEAD_KEY, Transaction};

/// The credential shields read an origin of `account` by.
pub(crate) fn credential(kind: OriginKind<'_>, account: &str) -> Option<String> {
    match kind {
        OriginKind::S3(Some(identity)) => Some(format!("{CREDENTIAL}{identity}")),
        OriginKind::S3(None) => Some(format!("{PUBLIC}{account}")),
        OriginKind::Custom => None,
    }
}

/// Whether shields can read this origin: a bucket under a host that names it.
pub(super) fn is_published(origin: Origin<'_>, api: &ApiConfig) -> bool {
    origin.kind != OriginKind::Custom && is_bucket_host(origin.domain_name, api)
}

/// The document of a distribution; `None` if its default origin is no bucket.
pub(super) fn document(
    api: &ApiConfig,
    id: &str,
    account: &str,
    domain: &str,
    config: &WebConfig,
) -> Result<Option<Distribution>, ApiError> {
    if let Some(to) = config.logging() {
        check_logging(to.bucket, to.prefix, api)?;
    }
    let Some(origin) = config.default_origin() else { return Ok(None) };
    if !is_published(origin, api) {
        return Ok(None);
    }
    let credential = credential(origin.kind, account).unwrap_or_default();
    let origin_host = origin.domain_name.to_ascii_lowercase();
    let own = |signer: &str| if signer == "self" { account.to_owned() } else { signer.to_owned() };
    let mut trusted_signers: Vec<String> = config.trusted_signers().into_iter().map(own).collect();
    trusted_signers.sort();
    trusted_signers.dedup();
    // Of more, which only several behaviours can have, the rest may not sign: that errs on the private side.
    trusted_signers.truncate(proto::distribution::TRUSTED_SIGNERS_MAX);
    let required_features =
        if trusted_signers.is_empty() { Vec::new() } else { vec![SIGNED_NAMES.to_owned()] };
    let document = Distribution {
        id: id.into(),
        kind: DistributionKind::Web.into(),
        domain: domain.into(),
        aliases: config.aliases(),
        enabled: config.enabled(),
        origin_id: OriginId::of(&origin_host, &credential).as_str().into(),
        origin_host,
        credential,
        comment: config.comment().into(),
        required_features,
        account: account.into(),
        trusted_signers,
        logging: config.logging().map(|to| log_target(to.bucket, to.prefix, account)),
        log_cookies: config.logging().is_some_and(|to| to.include_cookies),
        ..Default::default()
    };
    validate(&document).map_err(|e| match e.field {
        "origin" => ApiError::bad_request("InvalidOrigin", e.to_string()),
        _ => ApiError::invalid_argument(e.to_string()),
    })?;
    Ok(Some(document))
}

/// `transaction` with `next` published in the place of `known`, and the names `had` exchanged for `wanted`. Those that are given up may be too many
/// for a store: [`names::set_aside`].
pub(super) fn publish(
    transaction: Transaction,
    (id, account): (&str, &str),
    (known, next): (Option<&Stored>, Option<&Distribution>),
    (had, wanted): (&[String], &[String]),
) -> Transaction {
    let key = format!("{DISTRIBUTIONS}{id}");
    let mut transaction = transaction.when(&key, known.map_or(0, |stored| stored.modified)).put(HEAD_KEY, "");
    match (known, next) {
        (_, Some(next)) => transaction = transaction.put(&key, next.encode_to_vec()),
        (Some(_), None) => transaction = transaction.delete(&key),
        (None, None) => {}
    }
    for host in wanted.iter().filter(|host| !had.contains(host)) {
        let name = format!("{NAMES}{host}");
        transaction = transaction.when(&name, 0).put(name, names::claim_of_web(id, account));
    }
    for host in had.iter().filter(|host| !wanted.contains(host)) {
        transaction = transaction.delete(format!("{NAMES}{host}"));
    }
    transaction
}
