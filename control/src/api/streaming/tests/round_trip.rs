//! Round trips of configs through the documents of every version.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::config::{Extras, Level, Logging, PriceClass, TrustedSigners};
use super::*;

const VERSIONS: [&str; 14] = [
    "2009-12-01",
    "2010-03-01",
    "2010-05-01",
    "2010-06-01",
    "2010-08-01",
    "2010-11-01",
    "2012-05-05",
    "2012-07-01",
    "2014-05-31",
    "2016-08-01",
    "2018-06-18",
    "2018-11-05",
    "2019-03-26",
    "2020-05-31",
];

const LEVELS: [Level; 7] = [
    Level::Config,
    Level::Origin,
    Level::Aliases,
    Level::AliasItems,
    Level::Logging,
    Level::Signers,
    Level::SignerItems,
];

fn any_version() -> impl Strategy<Value = Schema> {
    (0..VERSIONS.len()).prop_map(|i| Schema::of(Version::parse(VERSIONS[i]).unwrap()))
}

/// Text as people write it: markup, white space and other scripts too.
fn text() -> impl Strategy<Value = String> {
    "[ -~\t\näöü€\u{1f600}]{0,20}"
}

fn unknown() -> impl Strategy<Value = Element> {
    let leaf = ("X[a-z]{0,3}", text()).prop_map(|(name, text)| Element::text(name, text));
    leaf.prop_recursive(2, 6, 3, |inner| {
        ("X[a-z]{0,3}", vec(inner, 1..3))
            .prop_map(|(name, children)| Element { children, ..Element::new(name) })
    })
}

fn extras() -> impl Strategy<Value = Extras> {
    vec((0..LEVELS.len(), unknown()), 0..5).prop_map(|unknown| {
        let mut extras = Extras::default();
        for (level, element) in unknown {
            extras.push(LEVELS[level], element);
        }
        extras
    })
}

fn logging() -> impl Strategy<Value = Logging> {
    option::of(("[a-z]{3,8}", text())).prop_map(|wanted| {
        wanted.map_or_else(Logging::default, |(bucket, prefix)| Logging {
            enabled: true,
            bucket: format!("{bucket}.s3.amazonaws.com"),
            prefix,
        })
    })
}

fn signers() -> impl Strategy<Value = TrustedSigners> {
    let account = prop_oneof![Just(SELF.to_owned()), "[0-9]{12}"];
    vec(account, 0..5).prop_map(|mut accounts| {
        accounts.sort();
        accounts.dedup();
        TrustedSigners::of(accounts)
    })
}

use super::super::config::SELF;

fn any_config() -> impl Strategy<Value = StreamingConfig> {
    let names = ("[a-z]{3,10}", "(E[0-9A-Z]{13})?", vec("[a-z0-9]{1,8}\\.example\\.com", 0..4));
    let texts = ("[!-~ü]{1,40}", text());
    (names, texts, logging(), signers(), (0..4usize, any::<bool>()), extras()).prop_map(
        |(
            (bucket, identity, aliases),
            (caller_reference, comment),
            logging,
            trusted_signers,
            (class, enabled),
            extras,
        )| {
            StreamingConfig {
                caller_reference,
                origin: format!("{bucket}.s3.amazonaws.com"),
                identity,
                aliases,
                comment,
                logging,
                trusted_signers,
                price_class: PriceClass::ALL[class],
                enabled,
                extras,
            }
        },
    )
}

/// What a client of `schema` reads and sends back, as bytes.
fn through_the_wire(config: &StreamingConfig, schema: Schema) -> Element {
    parse(&xml::document(&render::config(config, schema), V2020))
}

/// `config` without what `schema` can't say.
fn sayable(config: &StreamingConfig, schema: Schema) -> StreamingConfig {
    let mut sayable = StreamingConfig { extras: Extras::default(), ..config.clone() };
    if !schema.says_private() {
        sayable.identity = String::new();
        sayable.trusted_signers = TrustedSigners::default();
    }
    if !schema.says_logging() {
        sayable.logging = Logging::default();
    }
    if !schema.says_price_class() {
        sayable.price_class = PriceClass::All;
    }
    sayable
}

proptest! {
    #[test]
    fn what_a_version_can_say_comes_back_as_it_went(config in any_config(), schema in any_version()) {
        let read = Given::read(&through_the_wire(&config, schema)).unwrap().into_new(schema).unwrap();
        prop_assert_eq!(StreamingConfig { extras: Extras::default(), ..read }, sayable(&config, schema));
    }

    #[test]
    fn what_is_read_and_sent_back_changes_nothing_whatever_the_version(config in any_config(), schema in any_version()) {
        let again = Given::read(&through_the_wire(&config, schema)).unwrap().over(&config, schema).unwrap();
        prop_assert_eq!(&again.trusted_signers, &config.trusted_signers);
        let same_extras = LEVELS.iter().all(|level| {
            let (mut ours, mut theirs) = (config.extras.of(*level).to_vec(), again.extras.of(*level).to_vec());
            ours.sort_by_key(xml::fragment);
            theirs.sort_by_key(xml::fragment);
            ours == theirs
        });
        prop_assert!(same_extras, "{:?} became {:?}", config.extras, again.extras);
        prop_assert_eq!(StreamingConfig { extras: config.extras.clone(), ..again }, config);
    }

    #[test]
    fn the_newest_schema_holds_all_of_a_config(config in any_config()) {
        let resource = Resource { config: stored::to_bytes(&config).into(), ..Resource::default() };
        prop_assert_eq!(stored::config(&resource).unwrap(), config);
    }

    #[test]
    fn an_update_without_unknown_elements_keeps_all_of_them(
        known in any_config(), next in any_config(), schema in any_version(),
    ) {
        // A client with types of its own sends none of what it doesn't know.
        let sent = StreamingConfig { extras: Extras::default(), ..next };
        let given = Given::read(&through_the_wire(&sent, schema)).unwrap();
        let updated = given.over(&known, schema).unwrap();
        prop_assert_eq!(&updated.extras, &known.extras);
        // And what the version has no words for is as it was.
        if !schema.says_private() {
            prop_assert_eq!((&updated.identity, &updated.trusted_signers), (&known.identity, &known.trusted_signers));
        }
        if !schema.says_logging() {
            prop_assert_eq!(&updated.logging, &known.logging);
        }
        if !schema.says_price_class() {
            prop_assert_eq!(updated.price_class, known.price_class);
        }
    }

    #[test]
    fn white_space_between_words_makes_no_other_config(config in any_config(), schema in any_version()) {
        let mut spaced = config.clone();
        spaced.comment = format!(" \n{}\t", spaced.comment.replace(' ', "  "));
        prop_assert_eq!(stored::digest(&config), stored::digest(&spaced));
        let other = StreamingConfig { comment: format!("{}.", config.comment), ..config.clone() };
        prop_assert_ne!(stored::digest(&config), stored::digest(&other));
        // The same config in another version's words is the same config.
        let read = Given::read(&through_the_wire(&config, schema)).unwrap().over(&config, schema).unwrap();
        if read == config {
            prop_assert_eq!(stored::digest(&read), stored::digest(&config));
        }
    }

    #[test]
    fn no_document_makes_reading_panic(root in any_document(), schema in any_version(), known in any_config()) {
        if let Ok(given) = Given::read(&root) {
            let _ = given.clone().into_new(schema);
            if let Ok(config) = given.over(&known, schema) {
                let _ = rules::check(&config, &ApiConfig::default());
                // Whatever was taken can be stored and read again.
                let resource = Resource { config: stored::to_bytes(&config).into(), ..Resource::default() };
                let read = stored::config(&resource);
                prop_assert!(read.is_ok() || config.caller_reference.is_empty(), "{:?}", read);
            }
        }
    }

    #[test]
    fn the_own_enabled_is_the_last_from_2012_on(config in any_config()) {
        for version in [V2012, V2020] {
            let schema = Schema::of(Version::parse(version).unwrap());
            let text = xml::fragment(&render::config(&config, schema));
            let last = text.rsplit("<Enabled>").next().unwrap();
            prop_assert_eq!(last, format!("{}</Enabled></StreamingDistributionConfig>", config.enabled));
        }
    }
}

/// A document of known names in any order and number, with any text.
fn any_document() -> impl Strategy<Value = Element> {
    const NAMES: [&str; 20] = [
        "CallerReference",
        "Origin",
        "S3Origin",
        "DNSName",
        "DomainName",
        "OriginAccessIdentity",
        "CNAME",
        "Aliases",
        "Quantity",
        "Items",
        "Comment",
        "Logging",
        "Bucket",
        "Prefix",
        "TrustedSigners",
        "Self",
        "AwsAccountNumber",
        "PriceClass",
        "Enabled",
        "Unknown",
    ];
    let text = prop_oneof![
        Just("true".to_owned()),
        Just("2".to_owned()),
        Just("media.s3.amazonaws.com".to_owned()),
        Just("origin-access-identity/cloudfront/E1".to_owned()),
        Just(String::new()),
        text(),
    ];
    let name = (0..NAMES.len()).prop_map(|i| NAMES[i].to_owned());
    let leaf = (name.clone(), text.clone()).prop_map(|(name, text)| Element::text(name, text));
    let element = leaf.prop_recursive(3, 24, 6, move |inner| {
        (name.clone(), text.clone(), vec(inner, 0..6)).prop_map(|(name, text, children)| Element {
            name,
            text: text.trim().into(),
            children,
        })
    });
    vec(element, 0..12).prop_map(|children| Element { children, ..Element::new(CONFIG) })
}
