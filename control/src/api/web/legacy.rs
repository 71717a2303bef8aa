//! The flat config of the versions before 2012-05-05, and how it becomes the tree of the newest schema and is made of it.
//!
//! A flat config has one origin (`Origin` before 2010-11-01, then `S3Origin` or `CustomOrigin`) and what is now the default cache
//! behaviour spread over its top. All spellings are read in every old version; members that neither schema has go through.

use super::build::{aliases, default_behaviour, logging};
use super::config::{OriginKind, ROOT, WebConfig, is_true, items};
use crate::api::identity::REFERENCE;
use crate::api::paging::with_items;
use crate::api::xml::Element;
use crate::api::{ApiError, Version};

/// The id of the only origin of a config that came flat.
const ORIGIN: &str = "origin";
/// Members that are translated; others are kept as they are.
const KNOWN: &[&str] = &[
    "Origin",
    "S3Origin",
    "CustomOrigin",
    "OriginAccessIdentity",
    "CallerReference",
    "CNAME",
    "Comment",
    "Enabled",
    "DefaultRootObject",
    "Logging",
    "TrustedSigners",
    "RequiredProtocols",
];
/// Top members of the newest schema that a flat config has another form for, or none.
const TRANSLATED: &[&str] = &[
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
];
const V2010_08_01: &str = "2010-08-01";

/// The tree of a flat config.
pub(super) fn to_tree(flat: &Element) -> Result<Element, ApiError> {
    let text = |name: &str| flat.child_text(name).unwrap_or_default();
    let mut tree = Element::new(ROOT);
    // What is missing stays missing, for the check to name.
    for name in ["CallerReference", "Enabled"] {
        tree.children.extend(flat.child(name).cloned());
    }
    let names: Vec<String> = flat.children("CNAME").map(|name| name.text.clone()).collect();
    let target = flat.child("Logging").map(|log| {
        let text = |name: &str| log.child_text(name).unwrap_or_default().to_owned();
        (text("Bucket"), text("Prefix"))
    });
    let https = flat.child("RequiredProtocols").is_some_and(|p| p.child_text("Protocol") == Some("https"));
    let policy = if https { "https-only" } else { "allow-all" };
    tree = tree
        .with(aliases(&names))
        .with_text("DefaultRootObject", text("DefaultRootObject"))
        .with(with_items(Element::new("Origins"), vec![origin(flat)?]))
        .with(default_behaviour(ORIGIN, signers_to_tree(flat.child("TrustedSigners")), policy))
        .with(Element::new("CacheBehaviors").with_text("Quantity", "0"))
        .with_text("Comment", text("Comment"))
        .with(logging(target.as_ref().filter(|(bucket, _)| !bucket.is_empty())))
        .with_text("PriceClass", "PriceClass_All");
    let other = flat.children.iter().filter(|child| !KNOWN.contains(&child.name.as_str()));
    tree.children.extend(other.cloned());
    Ok(tree)
}

fn origin(flat: &Element) -> Result<Element, ApiError> {
    let host = |element: &Element| {
        ["DNSName", "DomainName"]
            .iter()
            .find_map(|name| element.child_text(name))
            .unwrap_or_default()
            .to_owned()
    };
    let of_bucket = |host: String, identity: &str| {
        Element::new("Origin")
            .with_text("Id", ORIGIN)
            .with_text("DomainName", host)
            .with(Element::new("S3OriginConfig").with_text("OriginAccessIdentity", identity))
    };
    if let Some(s3) = flat.child("S3Origin") {
        return Ok(of_bucket(host(s3), s3.child_text("OriginAccessIdentity").unwrap_or_default()));
    }
    if let Some(custom) = flat.child("CustomOrigin") {
        let mut config = Element::new("CustomOriginConfig");
        for (name, default) in
            [("HTTPPort", "80"), ("HTTPSPort", "443"), ("OriginProtocolPolicy", "match-viewer")]
        {
            config = config.with_text(name, custom.child_text(name).unwrap_or(default));
        }
        let origin = Element::new("Origin").with_text("Id", ORIGIN).with_text("DomainName", host(custom));
        return Ok(origin.with(config));
    }
    let bucket = flat.child_text("Origin").filter(|bucket| !bucket.is_empty());
    let bucket =
        bucket.ok_or_else(|| ApiError::bad_request("InvalidOrigin", "the config names no origin"))?;
    Ok(of_bucket(bucket.to_owned(), flat.child_text("OriginAccessIdentity").unwrap_or_default()))
}

fn signers_to_tree(signers: Option<&Element>) -> Element {
    let mut accounts = Vec::new();
    for signer in signers.iter().flat_map(|signers| &signers.children) {
        match signer.name.as_str() {
            "Self" => accounts.push(Element::text("AwsAccountNumber", "self")),
            // jets3t before 0.9 writes AWS in capitals.
            "AwsAccountNumber" | "AWSAccountNumber" => {
                accounts.push(Element::text("AwsAccountNumber", signer.text.trim()));
            }
            _ => {}
        }
    }
    let enabled = Element::new("TrustedSigners").with_text("Enabled", (!accounts.is_empty()).to_string());
    with_items(enabled, accounts)
}

/// The origin of a config, as the flat schemas have it.
pub(super) fn flat_origin(config: &WebConfig, version: Version) -> Vec<Element> {
    let Some(origin) = config.default_origin() else { return Vec::new() };
    let identity = match origin.kind {
        OriginKind::S3(Some(id)) => Some(Element::text("OriginAccessIdentity", format!("{REFERENCE}{id}"))),
        _ => None,
    };
    if version < Version::V2010_11_01 {
        let mut flat = vec![Element::text("Origin", origin.domain_name)];
        flat.extend(identity.filter(|_| version >= Version::V2010_03_01));
        return flat;
    }
    if let OriginKind::S3(_) = origin.kind {
        let mut s3 = Element::new("S3Origin").with_text("DNSName", origin.domain_name);
        s3.children.extend(identity);
        return vec![s3];
    }
    let mut custom = Element::new("CustomOrigin").with_text("DNSName", origin.domain_name);
    let element = items(config.tree(), "Origins").find(|o| o.child_text("Id") == Some(origin.id));
    if let Some(known) = element.and_then(|o| o.child("CustomOriginConfig")) {
        let names = ["HTTPPort", "HTTPSPort", "OriginProtocolPolicy"];
        custom.children.extend(names.iter().filter_map(|name| known.child(name)).cloned());
    }
    vec![custom]
}

/// `CNAME` elements of a config.
pub(super) fn flat_names(config: &WebConfig) -> impl Iterator<Item = Element> + '_ {
    items(config.tree(), "Aliases").map(|name| Element::text("CNAME", name.text.trim()))
}

/// The flat config of a tree.
pub(super) fn to_flat(config: &WebConfig, version: Version) -> Element {
    let tree = config.tree();
    let mut origin = flat_origin(config, version).into_iter();
    let mut flat = Element::new(ROOT);
    flat.children.extend(origin.next());
    flat = flat.with_text("CallerReference", config.caller_reference());
    flat.children.extend(flat_names(config));
    flat = flat.with_text("Comment", config.comment()).with_text("Enabled", config.enabled().to_string());
    flat.children.extend(origin);
    let root = tree.child("DefaultRootObject").filter(|root| !root.text.trim().is_empty());
    flat.children.extend(root.filter(|_| version.to_string().as_str() >= V2010_08_01).cloned());
    if let Some(log) = tree.child("Logging").filter(|log| is_true(log, "Enabled")) {
        let text = |name: &str| log.child_text(name).unwrap_or_default();
        let to = Element::new("Logging").with_text("Bucket", text("Bucket"));
        flat = flat.with(to.with_text("Prefix", text("Prefix")));
    }
    if let Some(behaviour) = config.behaviours().next() {
        let signers = items(behaviour, "TrustedSigners").map(|signer| match signer.text.trim() {
            "self" => Element::new("Self"),
            account => Element::text("AwsAccountNumber", account),
        });
        let signers: Vec<Element> = signers.collect();
        if !signers.is_empty() && version >= Version::V2010_03_01 {
            flat = flat.with(Element { children: signers, ..Element::new("TrustedSigners") });
        }
        if behaviour.child_text("ViewerProtocolPolicy") == Some("https-only") {
            flat = flat.with(Element::new("RequiredProtocols").with_text("Protocol", "https"));
        }
    }
    let other = tree.children.iter().filter(|child| !TRANSLATED.contains(&child.name.as_str()));
    flat.children.extend(other.cloned());
    flat
}
