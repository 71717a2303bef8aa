//! From a config to the document of a version.
//!
//! The order of elements is the schema's own. Unknown elements stand before `Enabled`, so that the distribution's own `Enabled` is the last of that
//! name from 2012-05-05 on: jets3t 0.9.x takes whichever comes last for it.

use super::StreamingDistribution;
use super::config::{IDENTITY_PREFIX, Level, SELF, StreamingConfig};
use super::parse::CONFIG;
use super::schema::{Form, Schema};
use super::signers::ActiveSigner;
use crate::api::paging::{Page, with_items};
use crate::api::resource::Kind;
use crate::api::tagging::arn;
use crate::api::timestamp;
use crate::api::xml::Element;

/// The config's document.
pub fn config(config: &StreamingConfig, schema: Schema) -> Element {
    let root = Element::new(CONFIG);
    match schema.form() {
        Form::Items => {
            let root = root.with_text("CallerReference", &config.caller_reference);
            let root = root
                .with(s3_origin(config, schema))
                .with(aliases(config))
                .with_text("Comment", &config.comment);
            let root = price_class(root.with(logging(config)).with(signers(config)), config, schema);
            extra(root, config, Level::Config).with_text("Enabled", config.enabled.to_string())
        }
        Form::S3Origin => {
            let root = root.with(s3_origin(config, schema));
            private(row(root.with_text("CallerReference", &config.caller_reference), config), config, schema)
        }
        Form::Flat => {
            let root = root.with_text("Origin", &config.origin);
            let mut root = row(root.with_text("CallerReference", &config.caller_reference), config);
            if schema.says_private() && !config.identity.is_empty() {
                root = root.with_text("OriginAccessIdentity", identity(config));
            }
            private(root, config, schema)
        }
    }
}

fn extra(mut into: Element, config: &StreamingConfig, level: Level) -> Element {
    into.children.extend_from_slice(config.extras.of(level));
    into
}

/// As a client writes it.
fn identity(config: &StreamingConfig) -> String {
    if config.identity.is_empty() { String::new() } else { format!("{IDENTITY_PREFIX}{}", config.identity) }
}

fn s3_origin(config: &StreamingConfig, schema: Schema) -> Element {
    let origin = Element::new("S3Origin");
    let origin = if schema.form() == Form::Items {
        // Required there, so empty where there is none.
        origin.with_text("DomainName", &config.origin).with_text("OriginAccessIdentity", identity(config))
    } else {
        let origin = origin.with_text("DNSName", &config.origin);
        if config.identity.is_empty() {
            origin
        } else {
            origin.with_text("OriginAccessIdentity", identity(config))
        }
    };
    extra(origin, config, Level::Origin)
}

fn cnames(config: &StreamingConfig) -> Vec<Element> {
    config.aliases.iter().map(|alias| Element::text("CNAME", alias)).collect()
}

/// Before 2012-05-05: `CNAME*`, `Comment`, `Enabled`.
fn row(mut root: Element, config: &StreamingConfig) -> Element {
    root.children.extend(cnames(config));
    let root = extra(root.with_text("Comment", &config.comment), config, Level::Config);
    root.with_text("Enabled", config.enabled.to_string())
}

/// Before 2012-05-05: the members that are there only where they are used.
fn private(mut root: Element, config: &StreamingConfig, schema: Schema) -> Element {
    if schema.says_private() && config.trusted_signers.enabled {
        let mut signers = Element::new("TrustedSigners");
        for account in &config.trusted_signers.accounts {
            signers = signers.with(account_number(account));
        }
        root = root.with(extra(signers, config, Level::Signers));
    }
    if schema.says_logging() && config.logging.enabled {
        let logging = Element::new("Logging")
            .with_text("Bucket", &config.logging.bucket)
            .with_text("Prefix", &config.logging.prefix);
        root = root.with(extra(logging, config, Level::Logging));
    }
    root
}

/// Before 2012-05-05, an account: `Self` or its number.
fn account_number(account: &str) -> Element {
    if account == SELF { Element::new("Self") } else { Element::text("AwsAccountNumber", account) }
}

/// `Quantity` and `Items`, with what no schema knows of either.
fn list(name: &str, items: Vec<Element>, config: &StreamingConfig, within: Level, around: Level) -> Element {
    let mut list = with_items(Element::new(name), items);
    let unknown = config.extras.of(within);
    if !unknown.is_empty() {
        match list.children.iter_mut().find(|child| child.name == "Items") {
            Some(items) => items.children.extend_from_slice(unknown),
            None => list = list.with(Element { children: unknown.to_vec(), ..Element::new("Items") }),
        }
    }
    extra(list, config, around)
}

fn aliases(config: &StreamingConfig) -> Element {
    list("Aliases", cnames(config), config, Level::AliasItems, Level::Aliases)
}

fn logging(config: &StreamingConfig) -> Element {
    let logging = Element::new("Logging")
        .with_text("Enabled", config.logging.enabled.to_string())
        .with_text("Bucket", &config.logging.bucket)
        .with_text("Prefix", &config.logging.prefix);
    extra(logging, config, Level::Logging)
}

fn signers(config: &StreamingConfig) -> Element {
    let accounts = &config.trusted_signers.accounts;
    let items = accounts.iter().map(|account| Element::text("AwsAccountNumber", account)).collect();
    let mut signers = list("TrustedSigners", items, config, Level::SignerItems, Level::Signers);
    signers.children.insert(0, Element::text("Enabled", config.trusted_signers.enabled.to_string()));
    signers
}

fn price_class(root: Element, config: &StreamingConfig, schema: Schema) -> Element {
    if schema.says_price_class() { root.with_text("PriceClass", config.price_class.as_str()) } else { root }
}

/// `StreamingDistribution`, the answer to create, get and update. `active` are its signers.
pub fn distribution(of: &StreamingDistribution, active: &[ActiveSigner], schema: Schema) -> Element {
    let mut root = head(Element::new("StreamingDistribution"), of, schema);
    if schema.form() == Form::Items {
        let items = active.iter().map(ActiveSigner::with_quantity).collect();
        let mut element = with_items(Element::new("ActiveTrustedSigners"), items);
        let enabled = of.config.trusted_signers.enabled.to_string();
        element.children.insert(0, Element::text("Enabled", enabled));
        root = root.with(element);
    } else if schema.says_private() && of.config.trusted_signers.enabled {
        let items = active.iter().map(|signer| signer.in_a_row(account_number));
        root = root.with(Element { children: items.collect(), ..Element::new("ActiveTrustedSigners") });
    }
    root.with(config(&of.config, schema))
}

fn head(into: Element, of: &StreamingDistribution, schema: Schema) -> Element {
    let mut into = into.with_text("Id", &of.id);
    if schema.says_arn() {
        into = into.with_text("ARN", arn(&of.account, Kind::StreamingDistribution, &of.id));
    }
    into.with_text("Status", of.status.as_str())
        .with_text("LastModifiedTime", timestamp::iso8601(of.modified_ms, schema.says_milliseconds()))
        .with_text("DomainName", &of.domain)
}

/// `StreamingDistributionList`.
pub fn page(page: &Page<StreamingDistribution>, schema: Schema) -> Element {
    let summaries: Vec<Element> = page.items.iter().map(|item| summary(item, schema)).collect();
    let mut root = page.head("StreamingDistributionList");
    if schema.form() == Form::Items {
        return with_items(root, summaries);
    }
    root.children.extend(summaries);
    root
}

fn summary(of: &StreamingDistribution, schema: Schema) -> Element {
    let config = &of.config;
    let root = head(Element::new("StreamingDistributionSummary"), of, schema);
    match schema.form() {
        Form::Items => {
            let root = root.with(s3_origin(config, schema)).with(aliases(config)).with(signers(config));
            price_class(root.with_text("Comment", &config.comment), config, schema)
                .with_text("Enabled", config.enabled.to_string())
        }
        Form::S3Origin => summary_row(root.with(s3_origin(config, schema)), config),
        Form::Flat => summary_row(root.with_text("Origin", &config.origin), config),
    }
}

fn summary_row(mut root: Element, config: &StreamingConfig) -> Element {
    root.children.extend(cnames(config));
    root.with_text("Comment", &config.comment).with_text("Enabled", config.enabled.to_string())
}
