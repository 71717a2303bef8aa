//! Where a path leads: `/VERSION/RESOURCE/…`.
//!
//! Paths are decoded here, once. What CloudFront has and Penstock has not is told apart from what nobody knows: the first is answered
//! `NotImplemented`, the second `NotFound`, both with a document that names it.

use http::StatusCode;
use percent_encoding::percent_decode_str;

use super::{ApiError, Version};

/// A family of resources, served by one module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `streaming-distribution`.
    Streaming,
    /// `distribution`.
    Web,
    /// `distribution/ID/invalidation`.
    Invalidation,
    /// `origin-access-identity`.
    Identity,
    /// `public-key`.
    PublicKey,
    /// `key-group`.
    KeyGroup,
    /// `tagging`.
    Tagging,
}

impl Resource {
    /// As a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Streaming => "streaming-distribution",
            Self::Web => "distribution",
            Self::Invalidation => "invalidation",
            Self::Identity => "origin-access-identity",
            Self::PublicKey => "public-key",
            Self::KeyGroup => "key-group",
            Self::Tagging => "tagging",
        }
    }

    /// Whether its documents may be long: configs of web distributions and lists of paths.
    pub fn is_long(self) -> bool {
        matches!(self, Self::Web | Self::Invalidation)
    }
}

/// A path understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The version asked.
    pub version: Version,
    /// Who answers.
    pub resource: Resource,
    /// The segments after the resource's name, decoded.
    pub segments: Vec<String>,
}

/// What CloudFront's API of 2020-05-31 has beside the above, by the first segment after the version.
const UNSUPPORTED: &[&str] = &[
    "anycast-ip-list",
    "cache-policy",
    "conflicting-alias",
    "connection-function",
    "connection-group",
    "continuous-deployment-policy",
    "distribution-tenant",
    "distributions",
    "distributionsByAnycastIpListId",
    "distributionsByCachePolicyId",
    "distributionsByConnectionFunction",
    "distributionsByConnectionMode",
    "distributionsByKeyGroupId",
    "distributionsByOriginRequestPolicyId",
    "distributionsByOwnedResource",
    "distributionsByRealtimeLogConfig",
    "distributionsByResponseHeadersPolicyId",
    "distributionsByTrustStore",
    "distributionsByVpcOriginId",
    "distributionsByWebACLId",
    "field-level-encryption",
    "field-level-encryption-profile",
    "function",
    "get-realtime-log-config",
    "delete-realtime-log-config",
    "key-value-store",
    "origin-access-control",
    "origin-request-policy",
    "realtime-log-config",
    "resource-policy",
    "response-headers-policy",
    "trust-store",
    "vpc-origin",
    "domain-association",
    "domain-conflicts",
    "verify-dns-configuration",
    "managed-certificate",
];

/// The same, below `distribution/ID`.
const UNSUPPORTED_OF_A_DISTRIBUTION: &[&str] = &[
    "associate-alias",
    "associate-web-acl",
    "copy",
    "disassociate-web-acl",
    "invalidations-for-tenant",
    "promote-staging-config",
];

/// Longest path shown in a message.
const SHOWN_CHARS: usize = 200;

/// Reads the path of a request.
///
/// # Errors
/// `InvalidURI` (400) when it is no path of this API or the version is none, `NotImplemented` (501), `NotFound` (404).
pub fn route(path: &str) -> Result<Route, ApiError> {
    let shown: String = path.chars().take(SHOWN_CHARS).collect();
    let mut raw = path.trim_start_matches('/').split('/').collect::<Vec<_>>();
    // One slash at the end is forgiven.
    if raw.len() > 1 && raw.last().is_some_and(|last| last.is_empty()) {
        raw.pop();
    }
    let mut decoded = Vec::with_capacity(raw.len());
    for segment in raw {
        let text = percent_decode_str(segment).decode_utf8().map_err(|_| invalid_uri(&shown))?;
        decoded.push(text.into_owned());
    }
    let mut segments = decoded.into_iter();
    let version = segments.next().unwrap_or_default();
    let version = Version::parse(&version).ok_or_else(|| {
        ApiError::bad_request(
            "InvalidURI",
            format!("Could not parse the path {shown:?}: it must begin with an API version, a date from 2009-12-01 on such as 2020-05-31"),
        )
    })?;
    let Some(name) = segments.next().filter(|name| !name.is_empty()) else {
        return Err(invalid_uri(&shown));
    };
    let segments: Vec<String> = segments.collect();
    let of_distribution = segments.get(1).map(String::as_str);
    let resource = match (name.as_str(), of_distribution) {
        ("streaming-distribution", _) => Resource::Streaming,
        ("distribution", None | Some("config")) => Resource::Web,
        ("distribution", Some("invalidation")) => Resource::Invalidation,
        ("distribution", Some(other)) if UNSUPPORTED_OF_A_DISTRIBUTION.contains(&other) => {
            return Err(not_implemented(other));
        }
        ("origin-access-identity", _) => Resource::Identity,
        ("public-key", _) => Resource::PublicKey,
        ("key-group", _) => Resource::KeyGroup,
        ("tagging", _) => Resource::Tagging,
        (other, _) if UNSUPPORTED.contains(&other) => return Err(not_implemented(other)),
        _ => {
            return Err(ApiError::not_found("NotFound", format!("there is no resource at {shown:?}")));
        }
    };
    Ok(Route { version, resource, segments })
}

fn invalid_uri(shown: &str) -> ApiError {
    ApiError::bad_request("InvalidURI", format!("Could not parse the path {shown:?}"))
}

fn not_implemented(what: &str) -> ApiError {
    ApiError::new(
        StatusCode::NOT_IMPLEMENTED,
        "NotImplemented",
        format!(
            "Penstock has no {what}: of CloudFront's API it has streaming-distribution, distribution, invalidation, origin-access-identity, public-key, key-group and tagging"
        ),
    )
}

/// The parameters of a query in order, decoded. A plus sign is one: clients of this API write a space as `%20`.
///
/// # Errors
/// `InvalidURI` when one is not UTF-8.
pub fn query(text: Option<&str>) -> Result<Vec<(String, String)>, ApiError> {
    let decode = |part: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| ApiError::bad_request("InvalidURI", "Could not parse the query: it is not UTF-8"))
    };
    let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &str) -> (u16, &'static str) {
        let error = route(path).unwrap_err();
        (error.status.as_u16(), error.code)
    }

    #[test]
    fn every_resource_has_its_module() {
        for (path, resource, segments) in [
            ("/2009-12-01/streaming-distribution", Resource::Streaming, &[] as &[&str]),
            ("/2020-05-31/streaming-distribution/", Resource::Streaming, &[]),
            ("//2020-05-31/streaming-distribution/EGTX/config", Resource::Streaming, &["EGTX", "config"]),
            ("/2020-05-31/distribution/E1", Resource::Web, &["E1"]),
            ("/2020-05-31/distribution/E1/config", Resource::Web, &["E1", "config"]),
            (
                "/2020-05-31/distribution/E1/invalidation/I1",
                Resource::Invalidation,
                &["E1", "invalidation", "I1"],
            ),
            ("/2010-11-01/origin-access-identity/cloudfront/E2", Resource::Identity, &["cloudfront", "E2"]),
            ("/2031-01-09/public-key/K%31", Resource::PublicKey, &["K1"]),
            ("/2020-05-31/key-group", Resource::KeyGroup, &[]),
            ("/2020-05-31/tagging", Resource::Tagging, &[]),
        ] {
            let found = route(path).unwrap();
            assert_eq!(
                (found.resource, &found.segments[..]),
                (resource, &segments.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..]),
                "{path}"
            );
        }
    }

    #[test]
    fn what_leads_nowhere_is_told_by_name() {
        for path in [
            "/",
            "",
            "/2020-05-31",
            "/2020-05-31/",
            "/2020-05-31//E1",
            "/latest/distribution",
            "/2009-04-02/distribution",
            "/2020-05-31/%ff",
            "/%C3",
        ] {
            assert_eq!(code(path), (400, "InvalidURI"), "{path}");
        }
        for path in [
            "/2020-05-31/function/f1/publish",
            "/2020-05-31/cache-policy",
            "/2020-05-31/distribution/E1/copy",
        ] {
            assert_eq!(code(path), (501, "NotImplemented"), "{path}");
        }
        for path in [
            "/2020-05-31/bucket",
            "/2020-05-31/distribution/E1/nonsense",
            "/2020-05-31/Streaming-Distribution",
        ] {
            assert_eq!(code(path), (404, "NotFound"), "{path}");
        }
        assert!(route("/2020-05-31/bucket").unwrap_err().message.contains("bucket"));
        let long = format!("/2020-05-31/{}", "x".repeat(10_000));
        assert!(route(&long).unwrap_err().message.len() < 300);
    }

    #[test]
    fn queries_are_decoded_once_and_keep_their_order() {
        let pairs = |text: &str| query(Some(text)).unwrap();
        let own = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
        };
        assert_eq!(query(None).unwrap(), own(&[]));
        assert_eq!(pairs("WithTags"), own(&[("WithTags", "")]));
        assert_eq!(
            pairs("Operation=Tag&Resource=arn%3Aaws%3Acloudfront%3A%3A1%3Ax%2FE%2525"),
            own(&[("Operation", "Tag"), ("Resource", "arn:aws:cloudfront::1:x/E%25")])
        );
        assert_eq!(pairs("&a=1&&b=+=&"), own(&[("a", "1"), ("b", "+=")]));
        assert!(query(Some("a=%ff")).is_err());
    }
}
