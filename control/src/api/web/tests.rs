//! Web distributions, by the calls that clients make.

use http::Method;
use proto::v1::DistributionKind;

use super::*;
use crate::api::held::bench::{
    ALICE, BOB, Bench, PEM, answered, at, call, delete as delete_call, get as read, post, principal, put,
    refused,
};
use crate::api::xml::{Bounds, Element, read as parse};
use crate::api::{Limits, Version, identity, key_group, public_key};
use crate::documents::{ACCOUNTS, DISTRIBUTIONS, NAMES};

mod legacy;
mod names;

/// The body of the capture boto3-web-01, but for the bucket, which is `b` there: a name too short for any.
const CAPTURED: &str = "<DistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><CallerReference>web-1</CallerReference><Origins><Quantity>1</Quantity><Items><Origin><Id>o1</Id><DomainName>media.s3.amazonaws.com</DomainName><S3OriginConfig><OriginAccessIdentity /></S3OriginConfig></Origin></Items></Origins><DefaultCacheBehavior><TargetOriginId>o1</TargetOriginId><ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy><SmoothStreaming>true</SmoothStreaming><Compress>false</Compress><MinTTL>0</MinTTL><ForwardedValues><QueryString>false</QueryString><Cookies><Forward>none</Forward></Cookies></ForwardedValues><TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners></DefaultCacheBehavior><Comment /><Enabled>true</Enabled></DistributionConfig>";
const NEW: &str = "2020-05-31";

/// [`CAPTURED`] with each text replaced.
fn config(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(CAPTURED.to_owned(), |body, (from, to)| {
        assert!(body.contains(from), "{from}");
        body.replace(from, to)
    })
}

fn with_alias(reference: &str, alias: &str) -> String {
    let aliases =
        format!("<Aliases><Quantity>1</Quantity><Items><CNAME>{alias}</CNAME></Items></Aliases><Origins>");
    config(&[("web-1", reference), ("<Origins>", &aliases)])
}

async fn make(bench: &Bench, account: &str, version: &str, body: &str) -> Result<Reply, ApiError> {
    handle(&bench.context, &post(account, version, "", body)).await
}

async fn made(bench: &Bench, body: &str) -> (String, String) {
    let (distribution, reply) = answered(make(bench, ALICE, NEW, body).await, 201);
    (at(&distribution, "Id").to_owned(), reply.etag.unwrap())
}

#[tokio::test]
async fn what_boto3_sends_is_kept_published_and_honestly_answered() {
    let bench = Bench::new().await;
    let (made, reply) = answered(make(&bench, ALICE, NEW, CAPTURED).await, 201);
    let id = at(&made, "Id").to_owned();
    assert_eq!(reply.location.as_deref(), Some(format!("distribution/{id}").as_str()));
    assert_eq!(at(&made, "Status"), "Unsupported: HTTP delivery, SmoothStreaming");
    assert_eq!(at(&made, "ARN"), format!("arn:aws:cloudfront::{ALICE}:distribution/{id}"));
    assert_eq!(at(&made, "InProgressInvalidationBatches"), "0");
    assert_eq!(at(&made, "ActiveTrustedSigners/Enabled"), "false");
    let domain = at(&made, "DomainName");
    assert!(
        domain.starts_with('d') && domain.ends_with(".penstock.localhost") && domain.len() == 14 + 19,
        "{domain}"
    );
    // Omitted members are filled as SDKs index them.
    for (path, text) in [
        ("Aliases/Quantity", "0"),
        ("CacheBehaviors/Quantity", "0"),
        ("PriceClass", "PriceClass_All"),
        ("Restrictions/GeoRestriction/RestrictionType", "none"),
        ("ViewerCertificate/CloudFrontDefaultCertificate", "true"),
        ("DefaultCacheBehavior/AllowedMethods/CachedMethods/Quantity", "2"),
        ("DefaultCacheBehavior/SmoothStreaming", "true"),
        ("Origins/Items/Origin/S3OriginConfig/OriginAccessIdentity", ""),
    ] {
        assert_eq!(at(made.child("DistributionConfig").unwrap(), path), text, "{path}");
    }
    // What is stored is what came.
    let stored = bench.context.store.get(&format!("api/distribution/{ALICE}/{id}")).await.unwrap().unwrap();
    let published = crate::documents::distribution(&*bench.context.store, &id).await.unwrap().unwrap();
    assert_eq!(stored.modified, published.modified, "one transaction: the config revision of the change");
    let resource = <proto::v1::Resource as prost::Message>::decode(stored.value).unwrap();
    assert_eq!(parse(&resource.config, Bounds::default()), parse(CAPTURED.as_bytes(), Bounds::default()));
    let document = published.document;
    assert_eq!((document.kind(), document.enabled), (DistributionKind::Web, true));
    assert_eq!((document.domain.as_str(), document.account.as_str()), (domain, ALICE));
    assert_eq!(
        (document.origin_host.as_str(), document.credential),
        ("media.s3.amazonaws.com", format!("public/{ALICE}"))
    );
    bench.until(|view| view.distributions.contains_key(&id)).await;
    // Deployed or not, an enabled one says what nobody does for it.
    bench.deploy().await;
    let (known, _) = answered(handle(&bench.context, &read(ALICE, NEW, &id)).await, 200);
    assert_eq!(at(&known, "Status"), at(&made, "Status"));
}

#[tokio::test]
async fn logs_are_published_while_they_are_on_and_go_to_buckets_only() {
    let bench = Bench::new().await;
    let with = |enabled: bool, bucket: &str, prefix: &str| {
        let logging = format!(
            "<Comment /><Logging><Enabled>{enabled}</Enabled><IncludeCookies>true</IncludeCookies><Bucket>{bucket}</Bucket>\
             <Prefix>{prefix}</Prefix></Logging>"
        );
        config(&[("<Comment />", &logging)])
    };
    for (bucket, prefix) in
        [("logs.example.com", ""), ("s3.amazonaws.com", ""), ("logs.s3.amazonaws.com", "a//b"), ("", "")]
    {
        let error = refused(make(&bench, ALICE, NEW, &with(true, bucket, prefix)).await);
        assert_eq!(error, (400, "InvalidArgument"), "{bucket} {prefix}");
    }
    let (id, etag) = made(&bench, &with(true, "Logs.s3.amazonaws.com", "web")).await;
    let known = async || {
        let found = crate::documents::distribution(&*bench.context.store, &id).await.unwrap();
        found.unwrap().document
    };
    let document = known().await;
    let target = document.logging.unwrap();
    assert_eq!(
        (target.bucket_host.as_str(), target.prefix.as_str(), target.account.as_str()),
        ("logs.s3.amazonaws.com", "web", ALICE)
    );
    assert!(document.log_cookies);
    let off = put(ALICE, NEW, &format!("{id}/config"), &etag, &with(false, "", ""));
    answered(handle(&bench.context, &off).await, 200);
    let document = known().await;
    assert_eq!((document.logging, document.log_cookies), (None, false));
}

#[tokio::test]
async fn every_member_that_nothing_enforces_is_named() {
    let bench = Bench::new().await;
    let changes = [
        (
            "<Comment />",
            "<Comment /><WebACLId>acl</WebACLId><FutureThing>x</FutureThing><HttpVersion>http2</HttpVersion>",
        ),
        (
            "<Enabled>true</Enabled></DistributionConfig>",
            "<Enabled>true</Enabled><Restrictions><GeoRestriction><RestrictionType>whitelist</RestrictionType><Quantity>1</Quantity><Items><Location>DE</Location></Items></GeoRestriction></Restrictions>\
             <CustomErrorResponses><Quantity>1</Quantity><Items><CustomErrorResponse><ErrorCode>404</ErrorCode></CustomErrorResponse></Items></CustomErrorResponses>\
             <ViewerCertificate><CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate></ViewerCertificate></DistributionConfig>",
        ),
        (
            "<MinTTL>0</MinTTL>",
            "<MinTTL>0</MinTTL><FunctionAssociations><Quantity>1</Quantity><Items><FunctionAssociation><FunctionARN>a</FunctionARN><EventType>viewer-request</EventType></FunctionAssociation></Items></FunctionAssociations><LambdaFunctionAssociations><Quantity>0</Quantity></LambdaFunctionAssociations>",
        ),
        ("<SmoothStreaming>true", "<SmoothStreaming>false"),
    ];
    let (made, _) = answered(make(&bench, ALICE, NEW, &config(&changes)).await, 201);
    assert_eq!(
        at(&made, "Status"),
        "Unsupported: HTTP delivery, FunctionAssociations, CustomErrorResponses, Restrictions, WebACLId, FutureThing"
    );
    assert_eq!(at(&made, "DistributionConfig/FutureThing"), "x");
}

#[tokio::test]
async fn an_update_replaces_the_config_and_needs_the_current_etag() {
    let bench = Bench::new().await;
    let (id, first) = made(&bench, CAPTURED).await;
    let path = format!("{id}/config");
    let (shown, reply) = answered(handle(&bench.context, &read(ALICE, NEW, &path)).await, 200);
    assert_eq!(reply.etag.as_ref(), Some(&first));
    // What a client reads it may send back.
    let text = crate::api::xml::fragment(&shown);
    bench.clock.advance_ms(1000);
    let (updated, reply) =
        answered(handle(&bench.context, &put(ALICE, NEW, &path, &first, &text)).await, 200);
    assert_eq!(updated.child("DistributionConfig"), Some(&shown));
    assert_eq!(at(&updated, "LastModifiedTime"), "2026-11-21T11:00:01.000Z");
    let second = reply.etag.unwrap();
    let update =
        async |etag: &str, body: &str| handle(&bench.context, &put(ALICE, NEW, &path, etag, body)).await;
    assert_eq!(refused(update(&first, CAPTURED).await), (412, "PreconditionFailed"));
    assert_eq!(refused(update("", CAPTURED).await), (400, "InvalidIfMatchVersion"));
    assert_eq!(refused(update(&second, &config(&[("web-1", "web-2")])).await), (400, "IllegalUpdate"));
    assert_eq!(refused(update(&second, "").await), (400, "MissingBody"));
    assert_eq!(
        refused(handle(&bench.context, &put(BOB, NEW, &path, &second, CAPTURED)).await),
        (404, "NoSuchDistribution")
    );
    // The origin may change, and shields are told by the same document.
    let moved =
        config(&[("media.s3.amazonaws.com", "other.s3.amazonaws.com"), ("<Enabled>true", "<Enabled>false")]);
    answered(update(&format!("\"{second}\""), &moved).await, 200);
    let published =
        crate::documents::distribution(&*bench.context.store, &id).await.unwrap().unwrap().document;
    assert_eq!((published.origin_host.as_str(), published.enabled), ("other.s3.amazonaws.com", false));
}

#[tokio::test]
async fn a_distribution_goes_once_every_node_knows_that_it_is_disabled() {
    let bench = Bench::new().await;
    let (id, etag) = made(&bench, &with_alias("r", "www.example.com")).await;
    bench.deploy().await;
    let gone = async |etag: &str| handle(&bench.context, &delete_call(ALICE, NEW, &id, etag)).await;
    assert_eq!(refused(gone(&etag).await), (409, "DistributionNotDisabled"));
    let path = format!("{id}/config");
    let disabled = with_alias("r", "www.example.com").replace("<Enabled>true", "<Enabled>false");
    let (updated, reply) =
        answered(handle(&bench.context, &put(ALICE, NEW, &path, &etag, &disabled)).await, 200);
    assert_eq!(at(&updated, "Status"), "InProgress");
    let etag = reply.etag.unwrap();
    assert_eq!(refused(gone(&etag).await), (409, "DistributionNotDisabled"));
    bench.deploy().await;
    let (known, _) = answered(handle(&bench.context, &read(ALICE, NEW, &id)).await, 200);
    assert_eq!(at(&known, "Status"), "Deployed");
    assert_eq!(refused(gone("E0").await), (412, "PreconditionFailed"));
    answered(gone(&etag).await, 204);
    assert_eq!(refused(handle(&bench.context, &read(ALICE, NEW, &id)).await), (404, "NoSuchDistribution"));
    for prefix in ["api/", "api-refs/", DISTRIBUTIONS, NAMES] {
        assert!(bench.context.store.list(prefix).await.unwrap().entries.is_empty(), "{prefix}");
    }
}

#[tokio::test]
async fn one_that_is_disabled_needs_no_feature_of_nodes_and_can_be_deleted() {
    let bench = Bench::new().await;
    let signed = config(&[
        ("web-1", "r"),
        (
            "<TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners>",
            "<TrustedSigners><Enabled>true</Enabled><Quantity>1</Quantity><Items><AwsAccountNumber>self</AwsAccountNumber></Items></TrustedSigners>",
        ),
        ("<Enabled>true</Enabled></DistributionConfig>", "<Enabled>false</Enabled></DistributionConfig>"),
    ]);
    let (id, etag) = made(&bench, &signed).await;
    bench.deploy().await;
    // A node of before there were signed names refuses the document, and serves nothing of it.
    let mut known = bench.context.views.borrow().members["edge-1"].as_ref().clone();
    known.features.retain(|feature| feature == "rtmp");
    let old = prost::Message::encode_to_vec(&known);
    bench.commit(crate::store::Transaction::default().put("members/edge-1", old)).await;
    bench.until(|view| view.members["edge-1"].features.len() == 1).await;
    let (found, _) = answered(handle(&bench.context, &read(ALICE, NEW, &id)).await, 200);
    assert_eq!(at(&found, "Status"), "Deployed");
    answered(handle(&bench.context, &delete_call(ALICE, NEW, &id, &etag)).await, 204);
}

#[tokio::test]
async fn a_caller_reference_used_again_is_judged_by_the_version() {
    let bench = Bench::new().await;
    let (first, _) = answered(make(&bench, ALICE, "2018-06-18", CAPTURED).await, 201);
    let (again, _) = answered(make(&bench, ALICE, "2018-06-18", CAPTURED).await, 201);
    assert_eq!(at(&again, "Id"), at(&first, "Id"));
    let other = config(&[("<Comment />", "<Comment>x</Comment>")]);
    assert_eq!(refused(make(&bench, ALICE, "2018-06-18", &other).await), (409, "DistributionAlreadyExists"));
    for version in ["2018-11-05", "2020-05-31"] {
        assert_eq!(refused(make(&bench, ALICE, version, CAPTURED).await), (409, "DistributionAlreadyExists"));
    }
    answered(make(&bench, BOB, NEW, CAPTURED).await, 201);
}

#[tokio::test]
async fn a_name_belongs_to_one_distribution_of_all_accounts_and_kinds() {
    let bench = Bench::new().await;
    let (id, etag) = made(&bench, &with_alias("r", "WWW.example.com")).await;
    let taken = make(&bench, BOB, NEW, &with_alias("r", "www.EXAMPLE.com")).await;
    assert_eq!(refused(taken), (409, "CNAMEAlreadyExists"));
    let owner = proto::v1::Distribution {
        id: "EOTHER".into(),
        aliases: vec!["rtmp.example.com".into()],
        ..Default::default()
    };
    let name = crate::store::Transaction::default().put(format!("{NAMES}rtmp.example.com"), owner.id.clone());
    bench.commit(name.put(format!("{DISTRIBUTIONS}EOTHER"), prost::Message::encode_to_vec(&owner))).await;
    let path = format!("{id}/config");
    let update = put(ALICE, NEW, &path, &etag, &with_alias("r", "rtmp.example.com"));
    assert_eq!(refused(handle(&bench.context, &update).await), (409, "CNAMEAlreadyExists"));
    // A name that is given up is free.
    answered(handle(&bench.context, &put(ALICE, NEW, &path, &etag, &config(&[("web-1", "r")]))).await, 200);
    answered(make(&bench, BOB, NEW, &with_alias("r", "www.example.com")).await, 201);
}

#[tokio::test]
async fn a_custom_origin_is_kept_and_not_published_but_its_names_are_claimed() {
    let bench = Bench::new().await;
    let custom = "<CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>443</HTTPSPort><OriginProtocolPolicy>http-only</OriginProtocolPolicy></CustomOriginConfig>";
    let own = with_alias("r", "www.example.com")
        .replace("<S3OriginConfig><OriginAccessIdentity /></S3OriginConfig>", custom)
        .replace("media.s3.amazonaws.com", "origin.example.com");
    let (made, reply) = answered(make(&bench, ALICE, NEW, &own).await, 201);
    assert_eq!(at(&made, "Status"), "Unsupported: HTTP delivery, SmoothStreaming, CustomOriginConfig");
    let id = at(&made, "Id").to_owned();
    assert!(bench.context.store.list(DISTRIBUTIONS).await.unwrap().entries.is_empty());
    assert_eq!(bench.context.store.list(NAMES).await.unwrap().entries.len(), 2);
    // Turned to a bucket it is published, and back it is not; its names stay its own.
    let path = format!("{id}/config");
    let update = put(ALICE, NEW, &path, &reply.etag.unwrap(), &with_alias("r", "www.example.com"));
    let (_, reply) = answered(handle(&bench.context, &update).await, 200);
    assert_eq!(bench.context.store.list(DISTRIBUTIONS).await.unwrap().entries.len(), 1);
    let off = own.replace("<Enabled>true", "<Enabled>false");
    let update = put(ALICE, NEW, &path, &reply.etag.unwrap(), &off);
    let (_, reply) = answered(handle(&bench.context, &update).await, 200);
    assert!(bench.context.store.list(DISTRIBUTIONS).await.unwrap().entries.is_empty());
    // Without a document it is deployed by its revision all the same.
    bench.deploy().await;
    answered(handle(&bench.context, &delete_call(ALICE, NEW, &id, &reply.etag.unwrap())).await, 204);
    assert!(bench.context.store.list(NAMES).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn an_s3_origin_that_is_no_bucket_is_kept_and_named() {
    let bench = Bench::new().await;
    let captured = config(&[("media.s3.amazonaws.com", "a_b.s3.amazonaws.com")]);
    let (made, _) = answered(make(&bench, ALICE, NEW, &captured).await, 201);
    let named = "Unsupported: HTTP delivery, SmoothStreaming, origin a_b.s3.amazonaws.com (no bucket host)";
    assert_eq!(at(&made, "Status"), named);
    assert!(bench.context.store.list(DISTRIBUTIONS).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn what_a_config_may_not_say_is_refused_under_its_code() {
    let bench = Bench::new().await;
    let origins = "<Origins><Quantity>1</Quantity>";
    let signers = "<TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners>";
    let six: String =
        (0..6).map(|n| format!("<AwsAccountNumber>00000000000{n}</AwsAccountNumber>")).collect();
    let six = format!(
        "<TrustedSigners><Enabled>true</Enabled><Quantity>6</Quantity><Items>{six}</Items></TrustedSigners>"
    );
    let group = "<TrustedKeyGroups><Enabled>true</Enabled><Quantity>1</Quantity><Items><KeyGroup>G1</KeyGroup></Items></TrustedKeyGroups>";
    let nobody = "<TrustedSigners><Enabled>true</Enabled><Quantity>1</Quantity><Items><AwsAccountNumber>me</AwsAccountNumber></Items></TrustedSigners>";
    let twice = "<Aliases><Quantity>2</Quantity><Items><CNAME>a.example.com</CNAME><CNAME>A.example.com</CNAME></Items></Aliases><Origins>";
    let cases = [
        (("<CallerReference>web-1</CallerReference>", ""), (400, "InvalidArgument")),
        (("<Comment />", ""), (400, "InvalidArgument")),
        (("<Enabled>true</Enabled></DistributionConfig>", "</DistributionConfig>"), (400, "InvalidArgument")),
        (("<Enabled>true", "<Enabled>yes"), (400, "InvalidArgument")),
        ((origins, "<Origins><Quantity>2</Quantity>"), (400, "InconsistentQuantities")),
        ((origins, "<Origins>"), (400, "InconsistentQuantities")),
        (
            (signers, "<TrustedSigners><Enabled>false</Enabled><Quantity>1</Quantity></TrustedSigners>"),
            (400, "InconsistentQuantities"),
        ),
        ((signers, &six), (400, "TooManyTrustedSigners")),
        ((signers, nobody), (400, "TrustedSignerDoesNotExist")),
        ((signers, &nobody.replace("me<", "999999999999<")), (400, "TrustedSignerDoesNotExist")),
        ((signers, group), (400, "TrustedKeyGroupDoesNotExist")),
        (("<TargetOriginId>o1", "<TargetOriginId>o2"), (404, "NoSuchOrigin")),
        (("allow-all", "whatever"), (400, "InvalidArgument")),
        (("media.s3.amazonaws.com", "s3.amazonaws.com/media"), (400, "InvalidOrigin")),
        (("<S3OriginConfig><OriginAccessIdentity /></S3OriginConfig>", ""), (400, "InvalidOrigin")),
        (
            (
                "<OriginAccessIdentity />",
                "<OriginAccessIdentity>origin-access-identity/cloudfront/E1</OriginAccessIdentity>",
            ),
            (400, "InvalidOriginAccessIdentity"),
        ),
        (
            ("<OriginAccessIdentity />", "<OriginAccessIdentity>E1</OriginAccessIdentity>"),
            (400, "InvalidOriginAccessIdentity"),
        ),
        (("<Origins>", twice), (400, "InvalidArgument")),
        (("<MinTTL>0</MinTTL>", "<MinTTL>10</MinTTL><DefaultTTL>5</DefaultTTL>"), (400, "InvalidTTLOrder")),
        (
            ("<Comment />", "<Comment /><DefaultRootObject>/index.html</DefaultRootObject>"),
            (400, "InvalidDefaultRootObject"),
        ),
    ];
    for ((from, to), refusal) in cases {
        assert_eq!(refused(make(&bench, ALICE, NEW, &config(&[(from, to)])).await), refusal, "{to}");
    }
    assert_eq!(refused(make(&bench, ALICE, NEW, "").await), (400, "MissingBody"));
    assert_eq!(refused(make(&bench, ALICE, NEW, "<Other/>").await), (400, "MalformedXML"));
    let strange = call(ALICE, NEW, Method::PUT, "", CAPTURED);
    assert_eq!(refused(handle(&bench.context, &strange).await), (405, "MethodNotAllowed"));
    assert!(bench.context.store.list("api").await.unwrap().entries.is_empty(), "nothing was made");
}

#[tokio::test]
async fn limits_count_an_account_and_its_names() {
    let bench = Bench::with(Limits { web_distributions: 1, aliases: 1, ..Limits::default() }).await;
    let two = "<Aliases><Quantity>2</Quantity><Items><CNAME>a.example.com</CNAME><CNAME>b.example.com</CNAME></Items></Aliases><Origins>";
    assert_eq!(
        refused(make(&bench, ALICE, NEW, &config(&[("<Origins>", two)])).await),
        (400, "TooManyDistributionCNAMEs")
    );
    made(&bench, CAPTURED).await;
    assert_eq!(
        refused(make(&bench, ALICE, NEW, &config(&[("web-1", "web-2")])).await),
        (400, "TooManyDistributions")
    );
    answered(make(&bench, BOB, NEW, CAPTURED).await, 201);
}

#[tokio::test]
async fn tags_come_with_a_create_and_lists_in_pages() {
    let bench = Bench::new().await;
    for n in 0..3 {
        let body = config(&[("web-1", &format!("r{n}"))]);
        let tagged = format!(
            "<DistributionConfigWithTags>{body}<Tags><Items><Tag><Key>n</Key><Value>{n}</Value></Tag></Items></Tags></DistributionConfigWithTags>"
        );
        let call = post(ALICE, NEW, "?WithTags", &tagged);
        let (made, _) = answered(handle(&bench.context, &call).await, 201);
        let tags =
            crate::api::tagging::list(&bench.context, &principal(ALICE), at(&made, "ARN")).await.unwrap();
        assert_eq!((tags[0].key.as_str(), tags[0].value.as_str()), ("n", n.to_string().as_str()));
    }
    let list = async |query: &str| answered(handle(&bench.context, &read(ALICE, NEW, query)).await, 200).0;
    let page = list("?MaxItems=2").await;
    assert_eq!((at(&page, "Quantity"), at(&page, "IsTruncated")), ("2", "true"));
    let summary = &page.child("Items").unwrap().children[0];
    assert!(summary.child("CallerReference").is_none() && summary.child("Logging").is_none());
    assert_eq!(
        (at(summary, "HttpVersion"), at(summary, "Staging"), at(summary, "Enabled")),
        ("http1.1", "false", "true")
    );
    let rest = list(&format!("?Marker={}&MaxItems=2", at(&page, "NextMarker"))).await;
    assert_eq!((at(&rest, "Quantity"), at(&rest, "IsTruncated")), ("1", "false"));
    let bad = "<DistributionConfigWithTags><Tags/></DistributionConfigWithTags>";
    assert_eq!(
        refused(handle(&bench.context, &post(ALICE, NEW, "?WithTags", bad)).await),
        (400, "InvalidArgument")
    );
}

#[tokio::test]
async fn signers_identities_and_groups_of_the_account_are_shown_and_held_fast() {
    let bench = Bench::new().await;
    let alice = principal(ALICE);
    let key = public_key::PublicKeyConfig {
        caller_reference: "k".into(),
        name: "k".into(),
        encoded_key: PEM.into(),
        ..Default::default()
    };
    let key = public_key::create(&bench.context, &alice, Version::NEWEST, key).await.unwrap();
    let group = key_group::KeyGroupConfig {
        name: "g".into(),
        public_keys: vec![key.id.clone()],
        ..Default::default()
    };
    let group = key_group::create(&bench.context, &alice, Version::NEWEST, group).await.unwrap();
    let identity = identity::IdentityConfig { caller_reference: "i".into(), ..Default::default() };
    let identity = identity::create(&bench.context, &alice, Version::NEWEST, identity).await.unwrap();
    bench.until(|view| view.signers.contains_key(ALICE)).await;
    bench.commit(crate::store::Transaction::default().put(format!("{ACCOUNTS}{BOB}"), "")).await;
    let body = config(&[
        (
            "<TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners>",
            &format!(
                "<TrustedSigners><Enabled>true</Enabled><Quantity>2</Quantity><Items><AwsAccountNumber>self</AwsAccountNumber><AwsAccountNumber>{BOB}</AwsAccountNumber></Items></TrustedSigners>\
                 <TrustedKeyGroups><Enabled>true</Enabled><Quantity>1</Quantity><Items><KeyGroup>{}</KeyGroup></Items></TrustedKeyGroups>",
                group.id
            ),
        ),
        (
            "<OriginAccessIdentity />",
            &format!(
                "<OriginAccessIdentity>origin-access-identity/cloudfront/{}</OriginAccessIdentity>",
                identity.id
            ),
        ),
    ]);
    let (made, _) = answered(make(&bench, ALICE, NEW, &body).await, 201);
    let signers = made.child("ActiveTrustedSigners").unwrap();
    assert_eq!((at(signers, "Enabled"), at(signers, "Quantity")), ("true", "2"));
    assert_eq!(at(signers, "Items/Signer/AwsAccountNumber"), "self");
    assert_eq!(at(signers, "Items/Signer/KeyPairIds/Items/KeyPairId"), key.id);
    let groups = made.child("ActiveTrustedKeyGroups").unwrap();
    assert_eq!(at(groups, "Items/KeyGroup/KeyPairIds/Items/KeyPairId"), key.id);
    let id = at(&made, "Id");
    let published =
        crate::documents::distribution(&*bench.context.store, id).await.unwrap().unwrap().document;
    assert_eq!(published.credential, format!("oai/{}", identity.id));
    assert_eq!(published.trusted_signers, [ALICE, BOB]);
    let used = key_group::delete(&bench.context, &alice, &group.id, Some(&group.etag)).await;
    assert_eq!(used.unwrap_err().code, "ResourceInUse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_distribution_names_is_never_deleted_beneath_it() {
    let bench = Bench::new().await;
    let alice = principal(ALICE);
    let (mut made, mut deleted) = (0, 0);
    for n in 0..40 {
        let identity = identity::IdentityConfig { caller_reference: format!("i{n}"), ..Default::default() };
        let identity = identity::create(&bench.context, &alice, Version::NEWEST, identity).await.unwrap();
        let web = S3Web {
            caller_reference: format!("w{n}"),
            origin_host: "media.s3.amazonaws.com".into(),
            identity: identity.id.clone(),
            ..Default::default()
        };
        let config = WebConfig::of_s3(&web, &Limits::default()).unwrap();
        let (context, principal) = (bench.context.clone(), alice.clone());
        let create =
            tokio::spawn(async move { create(&context, &principal, Version::NEWEST, config, vec![]).await });
        let (context, principal) = (bench.context.clone(), alice.clone());
        let delete = tokio::spawn(async move {
            identity::delete(&context, &principal, &identity.id, Some(&identity.etag)).await
        });
        match (create.await.unwrap(), delete.await.unwrap()) {
            (Ok(_), Err(error)) => {
                made += 1;
                assert_eq!(error.code, "CloudFrontOriginAccessIdentityInUse");
            }
            (Err(error), Ok(())) => {
                deleted += 1;
                assert_eq!(error.code, "InvalidOriginAccessIdentity");
            }
            both => panic!("{n}: {both:?}"),
        }
    }
    assert_eq!(made + deleted, 40);
}

#[tokio::test]
async fn a_later_schema_is_left_out_of_an_earlier_answer_and_kept() {
    let bench = Bench::new().await;
    let (id, _) = made(&bench, CAPTURED).await;
    let shown =
        async |version: &str| answered(handle(&bench.context, &read(ALICE, version, &id)).await, 200).0;
    let of_2014 = shown("2014-05-31").await;
    assert!(of_2014.child("ARN").is_none() && of_2014.child("ActiveTrustedKeyGroups").is_none());
    let config = of_2014.child("DistributionConfig").unwrap();
    for later in ["WebACLId", "HttpVersion", "OriginGroups", "Staging"] {
        assert!(config.child(later).is_none(), "{later}");
    }
    assert!(config.child("DefaultCacheBehavior").unwrap().child("Compress").is_none());
    assert_eq!(at(config, "DefaultCacheBehavior/SmoothStreaming"), "true");
    assert!(shown("2016-08-20").await.child("ARN").is_some());
    let of_2012 = shown("2012-05-05").await;
    let config = of_2012.child("DistributionConfig").unwrap();
    // jets3t takes the last Enabled for the distribution's.
    fn last_enabled(element: &Element) -> Option<&str> {
        let below = element.children.iter().filter_map(last_enabled).next_back();
        if element.name == "Enabled" { Some(&element.text) } else { below }
    }
    assert_eq!(last_enabled(config), Some("true"));
    assert_eq!(last_enabled(shown(NEW).await.child("DistributionConfig").unwrap()), Some("true"));
}

#[tokio::test]
async fn the_console_needs_a_bucket_and_no_more() {
    let bench = Bench::new().await;
    let web = S3Web {
        caller_reference: "console-1".into(),
        origin_host: "media.s3.amazonaws.com".into(),
        aliases: vec!["www.example.com".into()],
        comment: "by hand".into(),
        enabled: true,
        logging: Some(("logs.s3.amazonaws.com".into(), "web/".into())),
        ..Default::default()
    };
    let config = WebConfig::of_s3(&web, &Limits::default()).unwrap();
    let (alice, version) = (principal(ALICE), Version::NEWEST);
    let made = create(&bench.context, &alice, version, config, vec![]).await.unwrap();
    assert_eq!(made.status, "Unsupported: HTTP delivery");
    let known = crate::documents::distribution(&*bench.context.store, &made.id).await.unwrap().unwrap();
    let target = known.document.logging.unwrap();
    assert_eq!((target.bucket_host.as_str(), target.prefix.as_str()), ("logs.s3.amazonaws.com", "web/"));
    assert_eq!((target.account.as_str(), known.document.log_cookies), (ALICE, false));
    let mut off = made.config.clone();
    off.set_enabled(false);
    let tree = off.with(aliases(&[]));
    let off = update(&bench.context, &alice, version, &made.id, Some(&made.etag), tree).await.unwrap();
    assert!(!off.config.enabled() && off.config.aliases().is_empty());
    bench.deploy().await;
    let known = get(&bench.context, &alice, &made.id).await.unwrap();
    assert_eq!((known.status.as_str(), known.deployed), ("Deployed", true));
    delete(&bench.context, &alice, &made.id, Some(&off.etag)).await.unwrap();
}
