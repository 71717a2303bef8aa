//! A streaming distribution's config, free of any schema.
//!
//! Whatever version writes it, a config is kept whole: a version replaces what it can say and leaves the rest, so that a tool of 2009 can change
//! the comment of a distribution without making it public. Elements no schema knows are kept beside the place they came in ([`Extras`]) and shown
//! in every version that has the place.

use std::collections::BTreeMap;

use crate::api::xml::Element;

/// Before the id of an origin access identity in a config.
pub const IDENTITY_PREFIX: &str = "origin-access-identity/cloudfront/";
/// The asking account, among trusted signers.
pub const SELF: &str = "self";

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamingConfig {
    /// Chosen by the client; names the create, once an account.
    pub caller_reference: String,
    /// The bucket's host, as sent.
    pub origin: String,
    /// The id of an origin access identity, without prefix; empty: the bucket is read anonymously.
    pub identity: String,
    /// Host names, lower case, in the order sent.
    pub aliases: Vec<String>,
    /// For people.
    pub comment: String,
    /// Access logs.
    pub logging: Logging,
    /// Whose signatures a stream name needs.
    pub trusted_signers: TrustedSigners,
    /// Which edges it asks for; stored and returned, all edges serve it.
    pub price_class: PriceClass,
    /// Whether viewers are served.
    pub enabled: bool,
    /// What no schema knows.
    pub extras: Extras,
}

/// Where access logs go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Whether there are any; if not, bucket and prefix are empty.
    pub enabled: bool,
    /// The bucket's host.
    pub bucket: String,
    /// Before each file's name.
    pub prefix: String,
}

/// Whose signatures a stream name needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedSigners {
    /// Whether names must be signed. Always true with accounts, false without.
    pub enabled: bool,
    /// Account numbers and [`SELF`], which comes first.
    pub accounts: Vec<String>,
}

impl TrustedSigners {
    /// Of these accounts, `self` first, the others in their order; enabled if there are any.
    pub fn of(accounts: Vec<String>) -> Self {
        let (mut own, others): (Vec<_>, Vec<_>) = accounts.into_iter().partition(|a| a == SELF);
        own.extend(others);
        Self { enabled: !own.is_empty(), accounts: own }
    }
}

/// Which edges a distribution asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PriceClass {
    /// The cheapest regions.
    C100,
    /// Most regions.
    C200,
    /// Every region: what is meant where nothing is said.
    #[default]
    All,
    /// `None`: of the newest schema only.
    None,
}

impl PriceClass {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::C100, Self::C200, Self::All, Self::None];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::C100 => "PriceClass_100",
            Self::C200 => "PriceClass_200",
            Self::All => "PriceClass_All",
            Self::None => "None",
        }
    }

    /// Reads the API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == text)
    }
}

/// An element of a config in which unknown elements may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The config itself.
    Config,
    /// `S3Origin`.
    Origin,
    /// `Aliases`.
    Aliases,
    /// `Aliases/Items`.
    AliasItems,
    /// `Logging`.
    Logging,
    /// `TrustedSigners`.
    Signers,
    /// `TrustedSigners/Items`.
    SignerItems,
}

/// Elements no schema knows, by the element they stand in, in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras(BTreeMap<Level, Vec<Element>>);

impl Extras {
    /// Those that stand in `level`.
    pub fn of(&self, level: Level) -> &[Element] {
        self.0.get(&level).map_or(&[], Vec::as_slice)
    }

    /// One more.
    pub fn push(&mut self, level: Level, element: Element) {
        self.0.entry(level).or_default().push(element);
    }

    /// What is to be kept when `newer` replaces this: an unknown element gives way to those of its name in its place, and stays where none come. No
    /// client's types can hold an element that its schema does not know, so its absence in an update says nothing.
    pub fn replaced_by(&self, newer: &Self) -> Self {
        let mut kept = Self::default();
        for (level, elements) in &self.0 {
            let news = newer.of(*level);
            for element in elements.iter().filter(|old| news.iter().all(|new| new.name != old.name)) {
                kept.push(*level, element.clone());
            }
        }
        for (level, elements) in &newer.0 {
            for element in elements {
                kept.push(*level, element.clone());
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_elements_give_way_to_their_like_only() {
        let mut old = Extras::default();
        old.push(Level::Config, Element::text("A", "1"));
        old.push(Level::Config, Element::text("B", "1"));
        old.push(Level::Logging, Element::text("A", "1"));
        let mut new = Extras::default();
        new.push(Level::Config, Element::text("B", "2"));
        new.push(Level::Config, Element::text("B", "3"));
        let kept = old.replaced_by(&new);
        let texts: Vec<&str> = kept.of(Level::Config).iter().map(|e| e.text.as_str()).collect();
        assert_eq!(texts, ["1", "2", "3"]);
        assert_eq!(kept.of(Level::Logging), [Element::text("A", "1")]);
    }

    #[test]
    fn self_comes_first_among_signers() {
        let signers = TrustedSigners::of(vec!["111122223333".into(), SELF.into()]);
        assert_eq!(signers.accounts, [SELF, "111122223333"]);
        assert!(signers.enabled && !TrustedSigners::of(Vec::new()).enabled);
    }
}
