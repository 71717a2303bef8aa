//! Web distributions as XML, in the schema of the version asked.

use proto::v1::Signer;

use super::WebDistribution;
use super::config::{ROOT, WebConfig};
use super::{legacy, schema};
use crate::api::held::{self, timestamp};
use crate::api::paging::{Page, with_items};
use crate::api::xml::Element;
use crate::api::{ApiError, Version};

/// Versions from this on know invalidations.
const INVALIDATIONS: &str = "2010-08-01";

/// A config.
pub(super) fn config(config: &WebConfig, version: Version) -> Element {
    if version < Version::V2012_05_05 {
        return legacy::to_flat(config, version);
    }
    schema::shown(config.tree(), version)
}

/// A distribution with its config.
pub(super) fn distribution(distribution: &WebDistribution, version: Version) -> Element {
    let mut element = Element::new("Distribution").with_text("Id", &distribution.id);
    if version >= Version::V2016_08_01 {
        element = element.with_text("ARN", distribution.arn());
    }
    element = element
        .with_text("Status", &distribution.status)
        .with_text("LastModifiedTime", timestamp(distribution.modified_ms));
    if version.to_string().as_str() >= INVALIDATIONS {
        element = element.with_text("InProgressInvalidationBatches", distribution.invalidations.to_string());
    }
    element = element.with_text("DomainName", &distribution.domain);
    element.children.extend(signers(distribution, version));
    element.with(config(&distribution.config, version))
}

fn key_pairs(signer: Option<&Signer>) -> Vec<Element> {
    let keys = signer.into_iter().flat_map(|signer| &signer.keys);
    keys.map(|key| Element::text("KeyPairId", &key.key_pair_id)).collect()
}

/// Who may sign, with the keys that are in force; the flat schemas leave it out when nobody may.
fn signers(distribution: &WebDistribution, version: Version) -> Vec<Element> {
    let flat = version < Version::V2012_05_05;
    let signer = |(name, signer): &(String, Option<std::sync::Arc<Signer>>)| {
        let keys = key_pairs(signer.as_deref());
        if flat {
            let who =
                if name == "self" { Element::new("Self") } else { Element::text("AwsAccountNumber", name) };
            let mut element = Element::new("Signer").with(who);
            element.children.extend(keys);
            return element;
        }
        let element = Element::new("Signer").with_text("AwsAccountNumber", name);
        element.with(with_items(Element::new("KeyPairIds"), keys))
    };
    let signers: Vec<Element> = distribution.signers.iter().map(signer).collect();
    if flat {
        let active = Element { children: signers, ..Element::new("ActiveTrustedSigners") };
        return if active.children.is_empty() { Vec::new() } else { vec![active] };
    }
    let active = |name: &str, items: Vec<Element>| {
        with_items(Element::new(name).with_text("Enabled", (!items.is_empty()).to_string()), items)
    };
    let mut elements = vec![active("ActiveTrustedSigners", signers)];
    if version >= Version::NEWEST {
        let group = |(id, keys): &(String, Vec<String>)| {
            let keys = keys.iter().map(|key| Element::text("KeyPairId", key)).collect();
            let element = Element::new("KeyGroup").with_text("KeyGroupId", id);
            element.with(with_items(Element::new("KeyPairIds"), keys))
        };
        elements.push(active("ActiveTrustedKeyGroups", distribution.key_groups.iter().map(group).collect()));
    }
    elements
}

fn summary(distribution: &WebDistribution, version: Version) -> Element {
    let mut element = Element::new("DistributionSummary").with_text("Id", &distribution.id);
    if version >= Version::V2016_08_01 {
        element = element.with_text("ARN", distribution.arn());
    }
    element = element
        .with_text("Status", &distribution.status)
        .with_text("LastModifiedTime", timestamp(distribution.modified_ms))
        .with_text("DomainName", &distribution.domain);
    let config = &distribution.config;
    if version < Version::V2012_05_05 {
        let mut origin = legacy::flat_origin(config, version);
        origin.truncate(1);
        element.children.extend(origin);
        element.children.extend(legacy::flat_names(config));
        return element
            .with_text("Comment", config.comment())
            .with_text("Enabled", config.enabled().to_string());
    }
    let shown = schema::shown(config.tree(), version);
    element.children.extend(shown.children.into_iter().filter(|child| schema::is_summarised(&child.name)));
    element
}

/// A page of distributions.
pub(super) fn list(page: Page<WebDistribution>, version: Version) -> Element {
    let items = page.filter_map(|distribution| Some(summary(&distribution, version)));
    held::list("DistributionList", items, version)
}

/// The tree of a body in the schema of `version`.
pub(super) fn tree(body: &Element, version: Version) -> Result<Element, ApiError> {
    // A client that speaks an old version and sends the new form means the new form.
    if version < Version::V2012_05_05 && body.child("Origins").is_none() {
        return legacy::to_tree(body);
    }
    Ok(Element { name: ROOT.into(), ..body.clone() })
}
