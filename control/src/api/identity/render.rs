//! Identities as XML. One shape in every version; only the list has two.

use super::{Identity, IdentityConfig};
use crate::api::Version;
use crate::api::held;
use crate::api::paging::Page;
use crate::api::xml::Element;

/// The root of a config.
pub(super) const CONFIG: &str = "CloudFrontOriginAccessIdentityConfig";

pub(super) fn config(config: &IdentityConfig) -> Element {
    let mut element = Element::new(CONFIG)
        .with_text("CallerReference", config.caller_reference.clone())
        .with_text("Comment", config.comment.clone());
    element.children.extend(config.other.iter().cloned());
    element
}

pub(super) fn identity(identity: &Identity) -> Element {
    Element::new("CloudFrontOriginAccessIdentity")
        .with_text("Id", identity.id.clone())
        .with_text("S3CanonicalUserId", identity.s3_canonical_user_id.clone())
        .with(config(&identity.config))
}

fn summary(identity: Identity) -> Element {
    Element::new("CloudFrontOriginAccessIdentitySummary")
        .with_text("Id", identity.id)
        .with_text("S3CanonicalUserId", identity.s3_canonical_user_id)
        .with_text("Comment", identity.config.comment)
}

pub(super) fn list(identities: Page<Identity>, version: Version) -> Element {
    held::list("CloudFrontOriginAccessIdentityList", identities.filter_map(|i| Some(summary(i))), version)
}
