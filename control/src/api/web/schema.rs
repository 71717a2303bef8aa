//! The tree as a version's schema has it: members in their order, those of later schemas left out, those that clients count on filled with
//! what they mean when nobody says them. What is stored stays as it came; this is only how it is shown.
//!
//! The order matters to one client: jets3t 0.9 takes the last `Enabled` of a document for the distribution's, so nothing that has one may
//! follow it.

use super::config::ROOT;
use crate::api::Version;
use crate::api::xml::Element;

/// What stands for a member that is not there.
#[derive(Clone, Copy)]
enum Fill {
    /// Nothing.
    Absent,
    /// A text.
    Text(&'static str),
    /// `Quantity` 0.
    NoItems,
    /// `Enabled` false and `Quantity` 0.
    Off,
    /// Elements with a text each.
    Texts(&'static [(&'static str, &'static str)]),
    /// GET and HEAD, and the same of cached methods.
    Methods,
    /// No country is treated otherwise.
    NoRestrictions,
}

/// A member: its name, the first version that has it (empty: from the beginning), what fills it.
type Member = (&'static str, &'static str, Fill);

const TOP: &[Member] = &[
    ("CallerReference", "", Fill::Absent),
    ("Aliases", "", Fill::NoItems),
    ("DefaultRootObject", "", Fill::Text("")),
    ("Origins", "", Fill::NoItems),
    ("OriginGroups", "2018-11-05", Fill::NoItems),
    ("DefaultCacheBehavior", "", Fill::Absent),
    ("CacheBehaviors", "", Fill::NoItems),
    ("CustomErrorResponses", "2013-09-27", Fill::NoItems),
    ("Comment", "", Fill::Text("")),
    (
        "Logging",
        "",
        Fill::Texts(&[("Enabled", "false"), ("IncludeCookies", "false"), ("Bucket", ""), ("Prefix", "")]),
    ),
    ("PriceClass", "2012-07-01", Fill::Text("PriceClass_All")),
    ("Enabled", "", Fill::Absent),
    (
        "ViewerCertificate",
        "2013-05-12",
        Fill::Texts(&[
            ("CloudFrontDefaultCertificate", "true"),
            ("MinimumProtocolVersion", "TLSv1"),
            ("CertificateSource", "cloudfront"),
        ]),
    ),
    ("Restrictions", "2013-09-27", Fill::NoRestrictions),
    ("WebACLId", "2015-07-27", Fill::Text("")),
    ("HttpVersion", "2016-09-07", Fill::Text("http1.1")),
    ("IsIPV6Enabled", "2016-09-29", Fill::Text("false")),
    ("ContinuousDeploymentPolicyId", "2020-05-31", Fill::Text("")),
    ("Staging", "2020-05-31", Fill::Text("false")),
];

const ORIGIN: &[Member] = &[
    ("Id", "", Fill::Absent),
    ("DomainName", "", Fill::Absent),
    ("OriginPath", "2014-11-06", Fill::Text("")),
    ("CustomHeaders", "2016-01-13", Fill::NoItems),
    ("S3OriginConfig", "", Fill::Absent),
    ("CustomOriginConfig", "", Fill::Absent),
    ("VpcOriginConfig", "2020-05-31", Fill::Absent),
    ("ConnectionAttempts", "2019-03-26", Fill::Text("3")),
    ("ConnectionTimeout", "2019-03-26", Fill::Text("10")),
    ("OriginShield", "2020-05-31", Fill::Texts(&[("Enabled", "false")])),
    ("OriginAccessControlId", "2020-05-31", Fill::Text("")),
];

const BEHAVIOUR: &[Member] = &[
    ("PathPattern", "", Fill::Absent),
    ("TargetOriginId", "", Fill::Absent),
    ("TrustedSigners", "", Fill::Off),
    ("TrustedKeyGroups", "2020-05-31", Fill::Off),
    ("ViewerProtocolPolicy", "", Fill::Absent),
    ("AllowedMethods", "2013-08-26", Fill::Methods),
    ("SmoothStreaming", "2014-01-31", Fill::Text("false")),
    ("Compress", "2015-09-17", Fill::Text("false")),
    ("LambdaFunctionAssociations", "2016-11-25", Fill::NoItems),
    ("FunctionAssociations", "2020-05-31", Fill::NoItems),
    ("FieldLevelEncryptionId", "2017-10-30", Fill::Text("")),
    ("RealtimeLogConfigArn", "2020-05-31", Fill::Absent),
    ("CachePolicyId", "2020-05-31", Fill::Absent),
    ("OriginRequestPolicyId", "2020-05-31", Fill::Absent),
    ("ResponseHeadersPolicyId", "2020-05-31", Fill::Absent),
    ("GrpcConfig", "2020-05-31", Fill::Texts(&[("Enabled", "false")])),
    ("ForwardedValues", "", Fill::Absent),
    ("MinTTL", "", Fill::Absent),
    ("DefaultTTL", "2015-04-17", Fill::Absent),
    ("MaxTTL", "2015-04-17", Fill::Absent),
];

/// `CachedMethods` stands in `AllowedMethods` from this version on.
const CACHED_METHODS: &str = "2014-10-21";

fn methods(name: &str) -> Element {
    let items = ["HEAD", "GET"].map(|method| Element::text("Method", method)).to_vec();
    Element::new(name).with_text("Quantity", "2").with(Element { children: items, ..Element::new("Items") })
}

impl Fill {
    fn element(self, name: &str) -> Option<Element> {
        let element = Element::new(name);
        Some(match self {
            Self::Absent => return None,
            Self::Text(text) => Element::text(name, text),
            Self::NoItems => element.with_text("Quantity", "0"),
            Self::Off => element.with_text("Enabled", "false").with_text("Quantity", "0"),
            Self::Texts(texts) => texts.iter().fold(element, |e, (name, text)| e.with_text(*name, *text)),
            Self::Methods => methods(name).with(methods("CachedMethods")),
            Self::NoRestrictions => element.with(
                Element::new("GeoRestriction")
                    .with_text("RestrictionType", "none")
                    .with_text("Quantity", "0"),
            ),
        })
    }
}

/// `element` with its known members in order, filled; members that `version` does not have yet are left out, unknown ones stand before
/// `Enabled` or last.
fn arrange(element: &Element, members: &[Member], version: &str) -> Element {
    let mut arranged = Element::text(&element.name, &element.text);
    let known = |child: &&Element| members.iter().any(|(name, ..)| *name == child.name);
    let mut unknown: Vec<Element> = element.children.iter().filter(|child| !known(child)).cloned().collect();
    for (name, since, fill) in members {
        if *name == "Enabled" {
            arranged.children.append(&mut unknown);
        }
        if *since <= version {
            let child = element.child(name).cloned().or_else(|| fill.element(name));
            arranged.children.extend(child);
        }
    }
    arranged.children.append(&mut unknown);
    arranged
}

/// The tree as `version` (2012-05-05 or later) has it.
pub(super) fn shown(tree: &Element, version: Version) -> Element {
    let version = version.to_string();
    let mut shown = arrange(tree, TOP, &version);
    shown.name = ROOT.into();
    for child in &mut shown.children {
        match child.name.as_str() {
            "DefaultCacheBehavior" => *child = behaviour(child, &version),
            "CacheBehaviors" => each(child, |item| behaviour(item, &version)),
            "Origins" => each(child, |item| arrange(item, ORIGIN, &version)),
            _ => {}
        }
    }
    shown
}

fn each(list: &mut Element, change: impl Fn(&Element) -> Element) {
    let items = list.children.iter_mut().filter(|child| child.name == "Items");
    items.flat_map(|items| items.children.iter_mut()).for_each(|item| *item = change(item));
}

fn behaviour(element: &Element, version: &str) -> Element {
    let mut behaviour = arrange(element, BEHAVIOUR, version);
    if version < CACHED_METHODS {
        let methods = behaviour.children.iter_mut().filter(|child| child.name == "AllowedMethods");
        methods.for_each(|methods| methods.children.retain(|child| child.name != "CachedMethods"));
    }
    behaviour
}

/// Whether a summary has this top member too.
pub(super) fn is_summarised(name: &str) -> bool {
    ![
        "CallerReference",
        "DefaultRootObject",
        "Logging",
        "ContinuousDeploymentPolicyId",
        "TenantConfig",
        "CacheTagConfig",
    ]
    .contains(&name)
}
