//! What a distribution's form shows and changes: read from a config, read from a form, written into a config.
//!
//! Both kinds share most of it. What the form doesn't know of in a config, such as further cache behaviours of a web distribution, stays as it is.

use crate::api::xml::Element;
use crate::console::calls::Family;
use crate::console::elements::{at, is_true, items, set, set_items, set_text, text, within};
use crate::console::form::Fields;
use crate::console::page::Problems;

/// Before the id of an origin access identity in a config.
pub(super) const IDENTITY: &str = "origin-access-identity/cloudfront/";
/// The id of the one origin of a web distribution that the console makes.
const ORIGIN_ID: &str = "origin";

/// The settings, as text of form fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The bucket's host.
    pub(super) origin: String,
    /// `origin-access-identity/cloudfront/ID`; empty: anonymous.
    pub(super) identity: String,
    /// CNAMEs.
    pub(super) aliases: Vec<String>,
    /// For people.
    pub(super) comment: String,
    /// Whether access logs are wanted.
    pub(super) logging: bool,
    /// Where to: a bucket's host.
    pub(super) log_bucket: String,
    /// Before the names of log files.
    pub(super) log_prefix: String,
    /// Whether the account's own keys sign names.
    pub(super) signed_by_self: bool,
    /// Other accounts whose keys do.
    pub(super) signers: Vec<String>,
    /// `PriceClass_…`.
    pub(super) price_class: String,
    /// Whether viewers are served.
    pub(super) enabled: bool,
    /// Web: what `/` is.
    pub(super) root_object: String,
    /// Web: `allow-all`, `https-only`, `redirect-to-https`.
    pub(super) viewer_policy: String,
    /// Web: whether Smooth Streaming is served.
    pub(super) smooth: bool,
}

/// The price classes, and what each meant.
pub(super) const PRICE_CLASSES: [(&str, &str); 3] = [
    ("PriceClass_All", "All edges"),
    ("PriceClass_200", "Price class 200"),
    ("PriceClass_100", "Price class 100"),
];

/// How viewers may reach a web distribution.
pub(super) const VIEWER_POLICIES: [(&str, &str); 3] = [
    ("allow-all", "HTTP and HTTPS"),
    ("redirect-to-https", "Redirect HTTP to HTTPS"),
    ("https-only", "HTTPS only"),
];

impl Settings {
    /// Those of a new distribution.
    pub(super) fn fresh() -> Self {
        Self {
            price_class: "PriceClass_All".into(),
            viewer_policy: "allow-all".into(),
            enabled: true,
            ..Self::default()
        }
    }

    /// Those that a form says.
    pub(super) fn from_form(fields: &Fields, family: Family) -> Self {
        let picked = fields.text("bucket");
        let typed = fields.text("origin");
        Self {
            origin: if picked.is_empty() || !typed.is_empty() { typed } else { picked }.to_owned(),
            identity: fields.text("identity").to_owned(),
            aliases: fields.entries("aliases").iter().map(|name| name.to_ascii_lowercase()).collect(),
            comment: fields.text("comment").to_owned(),
            logging: fields.ticked("logging"),
            log_bucket: fields.text("log_bucket").to_owned(),
            log_prefix: fields.text("log_prefix").to_owned(),
            signed_by_self: family == Family::Streaming && fields.ticked("signed_by_self"),
            signers: if family == Family::Streaming { fields.entries("signers") } else { Vec::new() },
            price_class: fields.text("price_class").to_owned(),
            enabled: fields.ticked("enabled"),
            root_object: fields.text("root_object").to_owned(),
            viewer_policy: fields.text("viewer_policy").to_owned(),
            smooth: fields.ticked("smooth"),
        }
    }

    /// What can be seen to be wrong without asking the API.
    pub(super) fn problems(&self, fields: &Fields) -> Problems {
        let mut problems = Problems::none();
        let (picked, typed) = (fields.text("bucket"), fields.text("origin"));
        if self.origin.is_empty() {
            problems.add("origin", "Choose a bucket, or type an origin");
        } else if !picked.is_empty() && !typed.is_empty() && picked != typed {
            problems.add("origin", "A bucket is chosen and another origin is typed: clear one of them");
        }
        if self.logging && self.log_bucket.is_empty() {
            problems.add("log_bucket", "Say which bucket access logs go to, or turn them off");
        }
        problems
    }

    /// Those of a config.
    pub(super) fn from_config(config: &Element, family: Family) -> Self {
        let mut signers = items(config, &["TrustedSigners"], "AwsAccountNumber");
        let signed_by_self = signers.iter().any(|signer| signer == "self");
        signers.retain(|signer| signer != "self");
        let (origin, identity) = match family {
            Family::Streaming => {
                let s3 = ["S3Origin"];
                let of = |name| text(config, &[s3[0], name]).to_owned();
                (of("DomainName"), of("OriginAccessIdentity"))
            }
            _ => {
                let first = at(config, &["Origins", "Items", "Origin"]);
                let of = |path: &[&str]| first.map_or("", |origin| text(origin, path)).to_owned();
                (of(&["DomainName"]), of(&["S3OriginConfig", "OriginAccessIdentity"]))
            }
        };
        let says = |path: &[&str]| text(config, path).to_owned();
        Self {
            origin,
            identity,
            aliases: items(config, &["Aliases"], "CNAME"),
            comment: says(&["Comment"]),
            logging: is_true(config, &["Logging", "Enabled"]),
            log_bucket: says(&["Logging", "Bucket"]),
            log_prefix: says(&["Logging", "Prefix"]),
            signed_by_self,
            signers,
            price_class: says(&["PriceClass"]),
            enabled: is_true(config, &["Enabled"]),
            root_object: says(&["DefaultRootObject"]),
            viewer_policy: says(&["DefaultCacheBehavior", "ViewerProtocolPolicy"]),
            smooth: is_true(config, &["DefaultCacheBehavior", "SmoothStreaming"]),
        }
    }

    /// A new config of these, in the order of the schema.
    pub(super) fn new_config(&self, family: Family, reference: &str) -> Element {
        let names: &[&str] = match family {
            Family::Streaming => {
                &["S3Origin", "Aliases", "Comment", "Logging", "TrustedSigners", "PriceClass", "Enabled"]
            }
            _ => &[
                "Aliases",
                "DefaultRootObject",
                "Origins",
                "DefaultCacheBehavior",
                "Comment",
                "Logging",
                "PriceClass",
                "Enabled",
            ],
        };
        let mut config = Element::new(family.config_name()).with_text("CallerReference", reference);
        config.children.extend(names.iter().map(|name| Element::new(*name)));
        if family != Family::Streaming {
            set(&mut config, new_origins());
            set(&mut config, new_behaviour());
        }
        self.write(&mut config, family);
        config
    }

    /// Writes these into a config.
    pub(super) fn write(&self, config: &mut Element, family: Family) {
        within(config, "Aliases", |list| set_items(list, "CNAME", &self.aliases));
        set_text(config, "Comment", self.comment.as_str());
        within(config, "Logging", |logging| {
            set_text(logging, "Enabled", self.logging.to_string());
            if family == Family::Web && logging.child("IncludeCookies").is_none() {
                logging.children.push(Element::text("IncludeCookies", "false"));
            }
            set_text(logging, "Bucket", self.log_bucket.as_str());
            set_text(logging, "Prefix", self.log_prefix.as_str());
        });
        set_text(config, "PriceClass", self.price_class.as_str());
        set_text(config, "Enabled", self.enabled.to_string());
        if family == Family::Streaming {
            within(config, "S3Origin", |origin| {
                set_text(origin, "DomainName", self.origin.as_str());
                set_text(origin, "OriginAccessIdentity", self.identity.as_str());
            });
            let own = self.signed_by_self.then(|| "self".to_owned());
            let signers: Vec<String> = own.into_iter().chain(self.signers.iter().cloned()).collect();
            within(config, "TrustedSigners", |list| {
                set_text(list, "Enabled", (!signers.is_empty()).to_string());
                set_items(list, "AwsAccountNumber", &signers);
            });
            return;
        }
        set_text(config, "DefaultRootObject", self.root_object.as_str());
        within(config, "Origins", |origins| {
            within(origins, "Items", |all| {
                within(all, "Origin", |origin| {
                    set_text(origin, "DomainName", self.origin.as_str());
                    // An origin that is no bucket has no identity.
                    if origin.child("CustomOriginConfig").is_none() {
                        within(origin, "S3OriginConfig", |s3| {
                            set_text(s3, "OriginAccessIdentity", self.identity.as_str());
                        });
                    }
                });
            });
        });
        within(config, "DefaultCacheBehavior", |behaviour| {
            set_text(behaviour, "ViewerProtocolPolicy", self.viewer_policy.as_str());
            set_text(behaviour, "SmoothStreaming", self.smooth.to_string());
        });
    }

    /// What `current` says otherwise than these, in words: what an update would undo.
    pub(super) fn differences(&self, current: &Self) -> Vec<(&'static str, String)> {
        let list = |values: &[String]| values.join(", ");
        let flag = |value: bool| if value { "yes" } else { "no" }.to_owned();
        let pairs: [(&'static str, String, String); 14] = [
            ("Origin", self.origin.clone(), current.origin.clone()),
            ("Origin access identity", self.identity.clone(), current.identity.clone()),
            ("Alternate names", list(&self.aliases), list(&current.aliases)),
            ("Comment", self.comment.clone(), current.comment.clone()),
            ("Access logs", flag(self.logging), flag(current.logging)),
            ("Log bucket", self.log_bucket.clone(), current.log_bucket.clone()),
            ("Log prefix", self.log_prefix.clone(), current.log_prefix.clone()),
            ("Signed by this account", flag(self.signed_by_self), flag(current.signed_by_self)),
            ("Other signers", list(&self.signers), list(&current.signers)),
            ("Price class", self.price_class.clone(), current.price_class.clone()),
            ("Enabled", flag(self.enabled), flag(current.enabled)),
            ("Default root object", self.root_object.clone(), current.root_object.clone()),
            ("Viewers may use", self.viewer_policy.clone(), current.viewer_policy.clone()),
            ("Smooth Streaming", flag(self.smooth), flag(current.smooth)),
        ];
        pairs
            .into_iter()
            .filter(|(_, mine, theirs)| mine != theirs)
            .map(|(what, _, theirs)| (what, theirs))
            .collect()
    }
}

fn new_origins() -> Element {
    let origin = Element::new("Origin").with_text("Id", ORIGIN_ID).with_text("DomainName", "");
    let items = Element::new("Items").with(origin);
    Element::new("Origins").with_text("Quantity", "1").with(items)
}

fn new_behaviour() -> Element {
    let cookies = Element::new("Cookies").with_text("Forward", "none");
    let forwarded = Element::new("ForwardedValues").with_text("QueryString", "false").with(cookies);
    let signers = Element::new("TrustedSigners").with_text("Enabled", "false").with_text("Quantity", "0");
    Element::new("DefaultCacheBehavior")
        .with_text("TargetOriginId", ORIGIN_ID)
        .with(signers)
        .with_text("ViewerProtocolPolicy", "allow-all")
        .with_text("SmoothStreaming", "false")
        .with_text("Compress", "false")
        .with(forwarded)
        .with_text("MinTTL", "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str, family: Family) -> Settings {
        Settings::from_form(&Fields::parse(text), family)
    }

    const FORM: &str = "bucket=media.s3.amazonaws.com&origin=&comment=%3Cb%3E&aliases=A.example.com%0D%0Ab.example.com&logging=true\
        &log_bucket=logs.s3.amazonaws.com&log_prefix=p%2F&signed_by_self=true&signers=111111111111&price_class=PriceClass_100\
        &enabled=true&root_object=index.html&viewer_policy=https-only&smooth=true&identity=origin-access-identity%2Fcloudfront%2FE1";

    #[test]
    fn a_config_made_of_a_form_reads_back_as_the_form() {
        for family in [Family::Streaming, Family::Web] {
            let settings = form(FORM, family);
            assert_eq!(settings.aliases, ["a.example.com", "b.example.com"]);
            let config = settings.new_config(family, "ref");
            assert_eq!(config.name, family.config_name());
            assert_eq!(config.child_text("CallerReference"), Some("ref"));
            let mut read = Settings::from_config(&config, family);
            if family == Family::Streaming {
                // What only a web distribution has is not there to be read.
                read.root_object = settings.root_object.clone();
                read.viewer_policy = settings.viewer_policy.clone();
                read.smooth = settings.smooth;
            }
            assert_eq!(read, settings);
            assert_eq!(settings.differences(&read), []);
        }
    }

    #[test]
    fn what_the_form_does_not_know_stays() {
        let mut config = form(FORM, Family::Web).new_config(Family::Web, "ref");
        config.children.push(Element::new("Restrictions").with_text("Odd", "kept"));
        within(&mut config, "DefaultCacheBehavior", |b| set_text(b, "MinTTL", "77"));
        let mut changed = Settings::from_config(&config, Family::Web);
        changed.comment = "other".into();
        changed.write(&mut config, Family::Web);
        assert_eq!(text(&config, &["Restrictions", "Odd"]), "kept");
        assert_eq!(text(&config, &["DefaultCacheBehavior", "MinTTL"]), "77");
        assert_eq!(text(&config, &["Comment"]), "other");
    }

    #[test]
    fn a_bucket_is_picked_or_typed_and_not_both() {
        let problems = |text: &str| {
            let fields = Fields::parse(text);
            Settings::from_form(&fields, Family::Streaming).problems(&fields).summary().into_string()
        };
        assert!(problems("bucket=a.s3.amazonaws.com").is_empty());
        assert!(problems("origin=a.s3.amazonaws.com").is_empty());
        assert!(problems("bucket=&origin=").contains("Choose a bucket"));
        assert!(problems("bucket=a&origin=b").contains("clear one"));
        assert!(problems("origin=a&logging=true").contains("Say which bucket"));
    }

    #[test]
    fn what_somebody_else_changed_is_told() {
        let mine = form(FORM, Family::Streaming);
        let theirs = Settings { comment: "theirs".into(), enabled: false, ..mine.clone() };
        assert_eq!(
            mine.differences(&theirs),
            [("Comment", "theirs".to_owned()), ("Enabled", "no".to_owned())]
        );
    }
}
