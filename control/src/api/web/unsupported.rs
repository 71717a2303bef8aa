//! What of a config edges can't do yet. It is stored and returned, and named in the status while the distribution is
//! enabled: nobody should take a policy for enforced that is not.

use super::WebConfig;
use super::config::{OriginKind, is_true, items};
use super::publish::is_published;
use crate::api::ApiConfig;
use crate::api::xml::Element;

/// Edges serve RTMP; whatever a web distribution wants, this is first.
const HTTP: &str = "HTTP delivery";

/// Members at the top that have a meaning of their own beyond plain delivery from a bucket.
const TOP: &[&str] = &[
    "OriginGroups",
    "CustomErrorResponses",
    "ViewerCertificate",
    "Restrictions",
    "WebACLId",
    "ContinuousDeploymentPolicyId",
    "Staging",
    "AnycastIpListId",
    "TenantConfig",
    "ConnectionMode",
    "ViewerMtlsConfig",
    "ConnectionFunctionAssociation",
    "CacheTagConfig",
];
/// The same of a cache behaviour.
const BEHAVIOUR: &[&str] = &[
    "SmoothStreaming",
    "LambdaFunctionAssociations",
    "FunctionAssociations",
    "FieldLevelEncryptionId",
    "RealtimeLogConfigArn",
    "CachePolicyId",
    "OriginRequestPolicyId",
    "ResponseHeadersPolicyId",
    "GrpcConfig",
    "TrustedKeyGroups",
];
/// The same of an origin.
const ORIGIN: &[&str] = &["OriginShield", "OriginAccessControlId", "CustomHeaders", "VpcOriginConfig"];
/// Members that plain delivery is made of: named by [`HTTP`].
const PLAIN: &[&str] = &[
    "CallerReference",
    "Aliases",
    "DefaultRootObject",
    "Origins",
    "DefaultCacheBehavior",
    "CacheBehaviors",
    "Comment",
    "Logging",
    "PriceClass",
    "Enabled",
    "HttpVersion",
    "IsIPV6Enabled",
];

/// Whether a member says nothing: it is off, empty, or what it would be if it were not there.
fn is_idle(member: &Element) -> bool {
    let text = member.text.trim();
    let off = match member.name.as_str() {
        "Restrictions" => {
            let geo = member.child("GeoRestriction").and_then(|geo| geo.child_text("RestrictionType"));
            return geo.is_none_or(|kind| kind == "none");
        }
        "ViewerCertificate" => return custom_certificate(member).is_none(),
        "ConnectionMode" => text == "direct",
        _ => text == "false" || text.is_empty(),
    };
    let quiet = |child: &Element| match child.name.as_str() {
        "Quantity" => child.text.trim() == "0",
        _ => is_idle(child),
    };
    off && member.children.iter().all(quiet)
}

fn custom_certificate(certificate: &Element) -> Option<&Element> {
    let named = ["IAMCertificateId", "ACMCertificateArn"];
    certificate.children.iter().find(|c| named.contains(&c.name.as_str()) && !c.text.trim().is_empty())
}

/// Those of `names` that `element` has and that say something, in the order of `names`.
fn active<'a>(element: &'a Element, names: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let says = |name: &&str| element.child(name).is_some_and(|member| !is_idle(member));
    names.iter().copied().filter(says)
}

/// The names of what edges can't do, each once, in a steady order: never empty.
pub(super) fn unsupported(config: &WebConfig, api: &ApiConfig) -> Vec<String> {
    let tree = config.tree();
    let mut names = vec![HTTP.to_owned()];
    let mut add = |name: &str| {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    };
    for behaviour in config.behaviours() {
        active(behaviour, BEHAVIOUR).for_each(&mut add);
    }
    for (origin, element) in config.origins().zip(items(tree, "Origins")) {
        if origin.kind == OriginKind::Custom {
            add("CustomOriginConfig");
        } else if !is_published(origin, api) {
            add(&format!("origin {} (no bucket host)", origin.domain_name));
        }
        active(element, ORIGIN).for_each(&mut add);
    }
    if tree.child("Logging").is_some_and(|logging| is_true(logging, "IncludeCookies")) {
        add("IncludeCookies");
    }
    active(tree, TOP).for_each(&mut add);
    // A member that no schema here knows may mean anything: it is named even if it looks idle.
    let known = |name: &str| PLAIN.contains(&name) || TOP.contains(&name);
    tree.children.iter().map(|member| member.name.as_str()).filter(|name| !known(name)).for_each(&mut add);
    names
}
