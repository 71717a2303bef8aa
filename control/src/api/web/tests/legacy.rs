//! The flat schemas, and jets3t's way with the first of the others.

use proptest::prelude::*;

use super::*;
use crate::api::ApiConfig;
use crate::api::web::render;

const FLAT: &str = "<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2010-11-01/\"><S3Origin><DNSName>media.s3.amazonaws.com</DNSName></S3Origin><CallerReference>r</CallerReference><CNAME>www.example.com</CNAME><Comment>c</Comment><Enabled>true</Enabled><DefaultRootObject>index.html</DefaultRootObject><Logging><Bucket>logs.s3.amazonaws.com</Bucket><Prefix>web/</Prefix></Logging><TrustedSigners><Self/><AwsAccountNumber>444455556666</AwsAccountNumber></TrustedSigners><RequiredProtocols><Protocol>https</Protocol></RequiredProtocols></DistributionConfig>";

/// A replica where the other trusted signer is an account.
async fn with_bob() -> Bench {
    let bench = Bench::new().await;
    bench.commit(crate::store::Transaction::default().put(format!("{ACCOUNTS}{BOB}"), "")).await;
    bench
}

fn element(text: &str) -> Element {
    parse(text.as_bytes(), Bounds::default()).unwrap().unwrap()
}

#[tokio::test]
async fn a_flat_config_is_read_and_shown_in_every_schema() {
    let bench = with_bob().await;
    let (made, reply) = answered(make(&bench, ALICE, "2010-11-01", FLAT).await, 201);
    let id = at(&made, "Id").to_owned();
    assert_eq!(made.child("DistributionConfig"), Some(&element(FLAT)), "what came comes back");
    assert!(made.child("ActiveTrustedSigners").is_some_and(|a| a.children.len() == 2));
    let shown = async |version: &str| {
        answered(handle(&bench.context, &read(ALICE, version, &format!("{id}/config"))).await, 200).0
    };
    let oldest = shown("2009-12-01").await;
    assert_eq!(
        (at(&oldest, "Origin"), at(&oldest, "CNAME"), at(&oldest, "Enabled")),
        ("media.s3.amazonaws.com", "www.example.com", "true")
    );
    assert!(oldest.child("S3Origin").is_none() && oldest.child("TrustedSigners").is_none());
    let newest = shown(NEW).await;
    for (path, text) in [
        ("Aliases/Items/CNAME", "www.example.com"),
        ("DefaultRootObject", "index.html"),
        ("Origins/Items/Origin/DomainName", "media.s3.amazonaws.com"),
        ("DefaultCacheBehavior/ViewerProtocolPolicy", "https-only"),
        ("DefaultCacheBehavior/TrustedSigners/Quantity", "2"),
        ("DefaultCacheBehavior/TrustedSigners/Items/AwsAccountNumber", "self"),
        ("Logging/Enabled", "true"),
        ("Logging/Bucket", "logs.s3.amazonaws.com"),
    ] {
        assert_eq!(at(&newest, path), text, "{path}");
    }
    let (list, _) = answered(handle(&bench.context, &read(ALICE, "2010-11-01", "?MaxItems=100")).await, 200);
    assert_eq!(at(&list, "DistributionSummary/S3Origin/DNSName"), "media.s3.amazonaws.com");
    assert_eq!(at(&list, "DistributionSummary/CNAME"), "www.example.com");
    // An old client may change what an old client wrote, and no other.
    let path = format!("{id}/config");
    let changed = FLAT.replace("<Comment>c<", "<Comment>d<");
    let (_, reply) = answered(
        handle(&bench.context, &put(ALICE, "2010-11-01", &path, &reply.etag.unwrap(), &changed)).await,
        200,
    );
    let text = crate::api::xml::fragment(&shown(NEW).await);
    let (_, reply) =
        answered(handle(&bench.context, &put(ALICE, NEW, &path, &reply.etag.unwrap(), &text)).await, 200);
    let late = put(ALICE, "2010-11-01", &path, &reply.etag.unwrap(), &changed);
    assert_eq!(refused(handle(&bench.context, &late).await), (400, "IllegalUpdate"));
}

#[tokio::test]
async fn every_spelling_of_an_old_origin_is_read() {
    let bench = with_bob().await;
    let flat = |origin: &str, reference: &str| {
        FLAT.replace("<S3Origin><DNSName>media.s3.amazonaws.com</DNSName></S3Origin>", origin)
            .replace(">r<", &format!(">{reference}<"))
            .replace("<CNAME>www.example.com</CNAME>", "")
    };
    let (made, _) = answered(
        make(&bench, ALICE, "2009-12-01", &flat("<Origin>media.s3.amazonaws.com</Origin>", "a")).await,
        201,
    );
    assert_eq!(at(&made, "DistributionConfig/Origin"), "media.s3.amazonaws.com");
    let custom = "<CustomOrigin><DNSName>www.example.org</DNSName><HTTPPort>8080</HTTPPort><HTTPSPort>443</HTTPSPort><OriginProtocolPolicy>http-only</OriginProtocolPolicy></CustomOrigin>";
    let (made, _) = answered(make(&bench, ALICE, "2010-11-01", &flat(custom, "b")).await, 201);
    assert_eq!(
        made.child("DistributionConfig").and_then(|c| c.child("CustomOrigin")),
        Some(&element(custom))
    );
    assert_eq!(refused(make(&bench, ALICE, "2010-11-01", &flat("", "c")).await), (400, "InvalidOrigin"));
}

#[tokio::test]
async fn jets3t_of_2012_disables_without_origins_and_with_a_reference_of_its_own() {
    let bench = Bench::new().await;
    let (id, etag) = made(&bench, CAPTURED).await;
    let disable = "<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2012-05-05/\"><CallerReference>1795258800001</CallerReference><Aliases><Quantity>0</Quantity></Aliases><DefaultRootObject/><Origins><Quantity>0</Quantity><Items/></Origins><DefaultCacheBehavior/><CacheBehaviors><Quantity>0</Quantity></CacheBehaviors><Comment>Disabled prior to deletion</Comment><Logging><Enabled>false</Enabled><Bucket/><Prefix/></Logging><Enabled>false</Enabled></DistributionConfig>";
    let path = format!("{id}/config");
    let (off, reply) =
        answered(handle(&bench.context, &put(ALICE, "2012-05-05", &path, &etag, disable)).await, 200);
    assert_eq!(at(&off, "DistributionConfig/CallerReference"), "web-1");
    assert_eq!(at(&off, "DistributionConfig/Origins/Items/Origin/Id"), "o1");
    assert_eq!(at(&off, "DistributionConfig/Comment"), "Disabled prior to deletion");
    bench.deploy().await;
    answered(handle(&bench.context, &delete_call(ALICE, "2012-05-05", &id, &reply.etag.unwrap())).await, 204);
    // A later version must mean what it says.
    let (id, etag) = made(&bench, CAPTURED).await;
    let late = put(ALICE, NEW, &format!("{id}/config"), &etag, disable);
    assert_eq!(refused(handle(&bench.context, &late).await), (400, "InvalidArgument"));
}

fn flats() -> impl Strategy<Value = Element> {
    let text = "[a-z0-9 ]{0,12}".prop_map(|text| text.trim().to_owned());
    let hosts = proptest::collection::btree_set("[a-z]{3,8}\\.example\\.com", 0..4);
    (text, hosts, any::<(bool, bool, bool, bool)>(), "[A-Z][a-zA-Z]{8,12}").prop_map(
        |(comment, names, (enabled, log, signed, https), unknown)| {
            let mut flat = Element::new("DistributionConfig")
                .with(Element::new("S3Origin").with_text("DNSName", "media.s3.amazonaws.com"))
                .with_text("CallerReference", "r");
            flat.children.extend(names.into_iter().map(|name| Element::text("CNAME", name)));
            flat = flat.with_text("Comment", comment).with_text("Enabled", enabled.to_string());
            if log {
                let to = Element::new("Logging").with_text("Bucket", "logs.s3.amazonaws.com");
                flat = flat.with(to.with_text("Prefix", ""));
            }
            if signed {
                flat = flat.with(Element::new("TrustedSigners").with(Element::new("Self")));
            }
            if https {
                flat = flat.with(Element::new("RequiredProtocols").with_text("Protocol", "https"));
            }
            flat.with(Element::new(format!("X{unknown}")).with_text("Deep", "kept"))
        },
    )
}

proptest! {
    #[test]
    fn a_flat_config_survives_the_tree(flat in flats()) {
        let version = Version::V2010_11_01;
        let config = WebConfig::of(render::tree(&flat, version).unwrap(), &Limits::default()).unwrap();
        prop_assert_eq!(render::config(&config, version), flat);
    }

    #[test]
    fn what_is_shown_in_any_schema_can_be_sent_back(flat in flats(), version in 0..5_usize) {
        let version = ["2012-05-05", "2014-05-31", "2016-11-25", "2018-11-05", "2020-05-31"][version];
        let version = Version::parse(version).unwrap();
        let config = WebConfig::of(render::tree(&flat, Version::V2010_11_01).unwrap(), &Limits::default()).unwrap();
        let shown = render::config(&config, version);
        let again = WebConfig::of(render::tree(&shown, version).unwrap(), &Limits::default()).unwrap();
        prop_assert_eq!(render::config(&again, version), shown);
        prop_assert_eq!(again.aliases(), config.aliases());
        prop_assert_eq!(again.enabled(), config.enabled());
    }

    #[test]
    fn no_config_panics(name in "[A-Za-z]{1,12}", text in ".{0,20}", depth in 0..4_usize) {
        let mut bent = Element::text(name, text);
        for around in ["Items", "Origins", "DefaultCacheBehavior"].iter().take(depth) {
            bent = Element::new(*around).with(bent);
        }
        let mut tree = element(CAPTURED);
        tree.children.insert(0, bent);
        for version in ["2009-12-01", "2012-05-05", "2020-05-31"] {
            let version = Version::parse(version).unwrap();
            if let Ok(config) = render::tree(&tree, version).and_then(|tree| WebConfig::of(tree, &Limits::default())) {
                let _ = render::config(&config, version);
                let _ = unsupported::unsupported(&config, &ApiConfig::default());
            }
        }
    }
}
