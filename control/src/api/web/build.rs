//! The least a web distribution needs: a bucket for an origin and the default behaviour. For the console, which asks for no more.

use super::WebConfig;
use super::config::ROOT;
use crate::api::identity::REFERENCE;
use crate::api::paging::with_items;
use crate::api::xml::Element;
use crate::api::{ApiError, Limits};

/// What is asked of a web distribution over one bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Web {
    /// Unique in the account.
    pub caller_reference: String,
    /// The bucket's host, such as `media.s3.amazonaws.com`.
    pub origin_host: String,
    /// Id of the origin access identity; empty: anonymous.
    pub identity: String,
    /// CNAMEs.
    pub aliases: Vec<String>,
    /// Up to 128 characters.
    pub comment: String,
    /// Whether viewers are to be served.
    pub enabled: bool,
    /// What `/` is, such as `index.html`; empty: nothing.
    pub default_root_object: String,
    /// Bucket of the access log and the prefix in it; `None`: no log.
    pub logging: Option<(String, String)>,
}

/// The id of the only origin.
const ORIGIN: &str = "bucket";

/// `Aliases` of these names.
pub fn aliases(names: &[String]) -> Element {
    let names = names.iter().map(|name| Element::text("CNAME", name.trim().to_ascii_lowercase())).collect();
    with_items(Element::new("Aliases"), names)
}

/// `Logging` to a bucket and a prefix.
pub fn logging(target: Option<&(String, String)>) -> Element {
    let (bucket, prefix) = target.cloned().unwrap_or_default();
    Element::new("Logging")
        .with_text("Enabled", target.is_some().to_string())
        .with_text("IncludeCookies", "false")
        .with_text("Bucket", bucket)
        .with_text("Prefix", prefix)
}

/// The default behaviour over `origin`, as the old schemas and the console mean it.
pub(super) fn default_behaviour(origin: &str, signers: Element, viewer_protocol_policy: &str) -> Element {
    let forwarded = Element::new("ForwardedValues")
        .with_text("QueryString", "false")
        .with(Element::new("Cookies").with_text("Forward", "none"));
    Element::new("DefaultCacheBehavior")
        .with_text("TargetOriginId", origin)
        .with(forwarded)
        .with(signers)
        .with_text("ViewerProtocolPolicy", viewer_protocol_policy)
        .with_text("MinTTL", "0")
}

impl WebConfig {
    /// The config over one bucket.
    pub fn of_s3(web: &S3Web, limits: &Limits) -> Result<Self, ApiError> {
        let identity = match web.identity.as_str() {
            "" => String::new(),
            id => format!("{REFERENCE}{id}"),
        };
        let origin = Element::new("Origin")
            .with_text("Id", ORIGIN)
            .with_text("DomainName", web.origin_host.trim())
            .with(Element::new("S3OriginConfig").with_text("OriginAccessIdentity", identity));
        let signers = Element::new("TrustedSigners").with_text("Enabled", "false").with_text("Quantity", "0");
        let tree = Element::new(ROOT)
            .with_text("CallerReference", &web.caller_reference)
            .with(aliases(&web.aliases))
            .with_text("DefaultRootObject", &web.default_root_object)
            .with(with_items(Element::new("Origins"), vec![origin]))
            .with(default_behaviour(ORIGIN, signers, "allow-all"))
            .with(Element::new("CacheBehaviors").with_text("Quantity", "0"))
            .with_text("Comment", &web.comment)
            .with(logging(web.logging.as_ref()))
            .with_text("PriceClass", "PriceClass_All")
            .with_text("Enabled", web.enabled.to_string());
        Self::of(tree, limits)
    }
}
