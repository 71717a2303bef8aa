//! The config of a web distribution: a tree of the newest schema that is kept as it came, and what Penstock reads of it.
//!
//! A [`WebConfig`] exists only once its tree has been [checked](super::check), so that what it tells of itself holds: origins have ids that
//! behaviours refer to, quantities are true, names are names. What it does not know it keeps.

use crate::api::identity::reference;
use crate::api::xml::Element;
use crate::api::{ApiError, Limits};

use super::check;

/// The root of a config.
pub(crate) const ROOT: &str = "DistributionConfig";

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfig {
    tree: Element,
}

/// Where an origin's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OriginKind<'a> {
    /// A bucket, read in the name of this identity, or anonymously.
    S3(Option<&'a str>),
    /// A web server or a VPC origin: edges can't fetch from it.
    Custom,
}

/// One origin of a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    /// What behaviours call it.
    pub(crate) id: &'a str,
    /// A bucket host or a server.
    pub(crate) domain_name: &'a str,
    /// Before every path: `/folder`, or empty.
    pub(crate) path: &'a str,
    /// What it is.
    pub(crate) kind: OriginKind<'a>,
}

/// Where access logs are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogsTo<'a> {
    /// The bucket's host, as sent.
    pub(crate) bucket: &'a str,
    /// Before each file's name.
    pub(crate) prefix: &'a str,
    /// Whether records carry the viewer's cookies.
    pub(crate) include_cookies: bool,
}

/// The items of a list: the children of `Items` below `name`.
pub(crate) fn items<'a>(parent: &'a Element, name: &str) -> impl Iterator<Item = &'a Element> {
    let items = parent.child(name).and_then(|list| list.child("Items"));
    items.into_iter().flat_map(|items| items.children.iter())
}

/// Whether the boolean `name` is there and true.
pub(crate) fn is_true(parent: &Element, name: &str) -> bool {
    parent.child_text(name) == Some("true")
}

/// Reads one origin.
pub(crate) fn origin(element: &Element) -> Result<Origin<'_>, ApiError> {
    let text = |name: &str| element.child_text(name).unwrap_or_default();
    let s3 = element.child("S3OriginConfig");
    let custom = ["CustomOriginConfig", "VpcOriginConfig"].iter().any(|name| element.child(name).is_some());
    let kind = match (s3, custom) {
        (Some(s3), false) => {
            OriginKind::S3(reference(s3.child_text("OriginAccessIdentity").unwrap_or_default())?)
        }
        (None, true) => OriginKind::Custom,
        _ => {
            let reason = format!(
                "origin '{}' has not exactly one of S3OriginConfig and CustomOriginConfig",
                text("Id")
            );
            return Err(ApiError::bad_request("InvalidOrigin", reason));
        }
    };
    Ok(Origin { id: text("Id"), domain_name: text("DomainName"), path: text("OriginPath"), kind })
}

impl WebConfig {
    /// The config of a tree in the newest schema, checked as far as no store is needed for it.
    pub fn of(mut tree: Element, limits: &Limits) -> Result<Self, ApiError> {
        tree.name = ROOT.into();
        check::check(&tree, limits)?;
        Ok(Self { tree })
    }

    /// One that was checked when it was stored.
    pub(crate) fn stored(tree: Element) -> Self {
        Self { tree }
    }

    /// The tree.
    pub fn tree(&self) -> &Element {
        &self.tree
    }

    fn text(&self, name: &str) -> &str {
        self.tree.child_text(name).unwrap_or_default()
    }

    /// Unique in the account.
    pub fn caller_reference(&self) -> &str {
        self.text("CallerReference")
    }

    /// The comment.
    pub fn comment(&self) -> &str {
        self.text("Comment")
    }

    /// Whether viewers are to be served.
    pub fn enabled(&self) -> bool {
        is_true(&self.tree, "Enabled")
    }

    /// The key that stands for the root, without a leading slash; empty: none does.
    pub(crate) fn default_root_object(&self) -> &str {
        self.text("DefaultRootObject").trim().trim_start_matches('/')
    }

    /// Its CNAMEs, lower case.
    pub fn aliases(&self) -> Vec<String> {
        items(&self.tree, "Aliases").map(|name| name.text.trim().to_ascii_lowercase()).collect()
    }

    /// Where access logs are to go; `None` while they are off.
    pub(crate) fn logging(&self) -> Option<LogsTo<'_>> {
        let logging = self.tree.child("Logging").filter(|logging| is_true(logging, "Enabled"))?;
        let text = |name: &str| logging.child_text(name).unwrap_or_default();
        let include_cookies = is_true(logging, "IncludeCookies");
        Some(LogsTo { bucket: text("Bucket"), prefix: text("Prefix"), include_cookies })
    }

    /// Its origins.
    pub(crate) fn origins(&self) -> impl Iterator<Item = Origin<'_>> {
        items(&self.tree, "Origins").filter_map(|element| origin(element).ok())
    }

    /// The default cache behaviour, then the others in their order.
    pub(crate) fn behaviours(&self) -> impl Iterator<Item = &Element> {
        self.tree.child("DefaultCacheBehavior").into_iter().chain(items(&self.tree, "CacheBehaviors"))
    }

    /// The origin of the default cache behaviour; `None` if that is an origin group.
    pub(crate) fn default_origin(&self) -> Option<Origin<'_>> {
        let target = self.behaviours().next()?.child_text("TargetOriginId")?;
        self.origins().find(|origin| origin.id == target)
    }

    /// Ids of the identities it refers to, each once.
    pub(crate) fn identities(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self
            .origins()
            .filter_map(|origin| match origin.kind {
                OriginKind::S3(identity) => identity,
                OriginKind::Custom => None,
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Ids of the key groups its behaviours trust, each once.
    pub(crate) fn key_groups(&self) -> Vec<&str> {
        self.trusted("TrustedKeyGroups")
    }

    /// The accounts its behaviours trust to sign, each once; `self` is its own.
    pub(crate) fn trusted_signers(&self) -> Vec<&str> {
        self.trusted("TrustedSigners")
    }

    fn trusted(&self, list: &str) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for behaviour in self.behaviours() {
            for name in items(behaviour, list).map(|item| item.text.trim()) {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
        }
        all
    }

    /// Turns it on or off.
    pub fn set_enabled(&mut self, enabled: bool) {
        self.set(Element::text("Enabled", enabled.to_string()));
    }

    /// The same with another comment, origin, aliases or anything else at its top: the first child of that name is replaced. Check it again
    /// with [`WebConfig::of`] before it is stored.
    pub fn with(mut self, child: Element) -> Element {
        self.set(child);
        self.tree
    }

    fn set(&mut self, child: Element) {
        match self.tree.children.iter_mut().find(|known| known.name == child.name) {
            Some(known) => *known = child,
            None => self.tree.children.push(child),
        }
    }
}
