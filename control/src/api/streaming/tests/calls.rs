//! The API's own statements, call by call.

use super::*;

/// What jets3t 0.7.2 sends.
const JETS3T_072: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?><StreamingDistributionConfig \
xmlns=\"http://cloudfront.amazonaws.com/doc/2009-12-01/\"><Origin>mystreamingbucket.s3.amazonaws.com</Origin>\
<CallerReference>1274000000000</CallerReference><CNAME>media.example.com</CNAME><CNAME>m2.example.com</CNAME>\
<Comment>Test streaming distribution</Comment><Enabled>true</Enabled></StreamingDistributionConfig>";

/// What jets3t 0.7.4 sends: its own prefix before the caller's, `AWSAccountNumber`.
const JETS3T_074: &str = "<StreamingDistributionConfig><Origin>mystreamingbucket.s3.amazonaws.com</Origin>\
<CallerReference>1274000000000</CallerReference><CNAME>media.example.com</CNAME><Comment>Test</Comment><Enabled>true</Enabled>\
<OriginAccessIdentity>origin-access-identity/cloudfront/origin-access-identity/cloudfront/E74FTE3AEXAMPLE</OriginAccessIdentity>\
<TrustedSigners><Self/><AWSAccountNumber>210987654321</AWSAccountNumber></TrustedSigners>\
<Logging><Bucket>mylogs.s3.amazonaws.com</Bucket><Prefix>log/</Prefix></Logging></StreamingDistributionConfig>";

/// What jets3t 0.8.1 sends.
const JETS3T_081: &str = "<StreamingDistributionConfig><S3Origin><DNSName>mystreamingbucket.s3.amazonaws.com</DNSName>\
<OriginAccessIdentity>origin-access-identity/cloudfront/E74FTE3AEXAMPLE</OriginAccessIdentity></S3Origin>\
<CallerReference>1274000000000</CallerReference><CNAME>media.example.com</CNAME><Comment>Test</Comment><Enabled>true</Enabled>\
<TrustedSigners><Self/><AWSAccountNumber>210987654321</AWSAccountNumber></TrustedSigners>\
<Logging><Bucket>mylogs.s3.amazonaws.com</Bucket><Prefix>log/</Prefix></Logging></StreamingDistributionConfig>";

/// What jets3t 0.9.4 sends: the identity as stray text.
const JETS3T_094: &str = "<StreamingDistributionConfig><CallerReference>1274000000000</CallerReference><Aliases><Quantity>2</Quantity><Items>\
<CNAME>media.example.com</CNAME><CNAME>m2.example.com</CNAME></Items></Aliases><DefaultRootObject/><S3Origin>\
<DomainName>mystreamingbucket.s3.amazonaws.com</DomainName><OriginAccessIdentity/>origin-access-identity/cloudfront/E74FTE3AEXAMPLE</S3Origin>\
<TrustedSigners><Enabled>true</Enabled><Quantity>2</Quantity><Items><AwsAccountNumber>self</AwsAccountNumber>\
<AwsAccountNumber>210987654321</AwsAccountNumber></Items></TrustedSigners><Comment>Test streaming distribution</Comment><Logging>\
<Enabled>true</Enabled><Bucket>mylogs.s3.amazonaws.com</Bucket><Prefix>log/</Prefix></Logging><Enabled>true</Enabled>\
</StreamingDistributionConfig>";

/// What jets3t 0.9.4 sends to disable.
const JETS3T_094_DISABLE: &str = "<StreamingDistributionConfig><CallerReference>1795259174500</CallerReference><Aliases><Quantity>0</Quantity>\
</Aliases><DefaultRootObject/><TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners>\
<Comment>Disabled prior to deletion</Comment><Logging><Enabled>false</Enabled><Bucket/><Prefix/></Logging><Enabled>false</Enabled>\
</StreamingDistributionConfig>";

#[tokio::test]
async fn c01_a_create_of_2009_answers_in_its_own_words() {
    for rig in Rig::each().await {
        let reply = rig.create(V2009, JETS3T_072).await.unwrap();
        assert_eq!(reply.status, StatusCode::CREATED);
        assert_eq!(reply.location, Some(format!("streaming-distribution/{}", id(&reply))));
        assert!(id(&reply).starts_with('E') && id(&reply).len() == 14, "{}", id(&reply));
        let (label, zone) = at(&reply, "DomainName").split_once('.').unwrap();
        assert_eq!(zone, "penstock.localhost");
        assert!(label.len() == 14 && label.starts_with('s'), "{label}");
        let expected = format!(
            "<StreamingDistribution><Id>{}</Id><Status>InProgress</Status><LastModifiedTime>2026-11-21T11:07:42Z</LastModifiedTime>\
             <DomainName>{}</DomainName><StreamingDistributionConfig><Origin>mystreamingbucket.s3.amazonaws.com</Origin>\
             <CallerReference>1274000000000</CallerReference><CNAME>media.example.com</CNAME><CNAME>m2.example.com</CNAME>\
             <Comment>Test streaming distribution</Comment><Enabled>true</Enabled></StreamingDistributionConfig></StreamingDistribution>",
            id(&reply),
            at(&reply, "DomainName"),
        );
        assert_eq!(fragment(&reply), expected);
        let nodes = rig.published(id(&reply)).await.unwrap();
        assert_eq!((nodes.account.as_str(), nodes.enabled), (ALICE, true));
        assert_eq!(nodes.aliases, ["media.example.com", "m2.example.com"]);
        assert_eq!(
            (nodes.origin_host.as_str(), nodes.credential),
            ("mystreamingbucket.s3.amazonaws.com", format!("public/{ALICE}"))
        );
    }
}

#[tokio::test]
async fn c05_a_create_of_2020_has_arn_signers_and_every_default() {
    let rig = Rig::new().await;
    // As awscli sends it: only what the model requires.
    let reply = rig.create(V2020, &newest("cli-1", true, "")).await.unwrap();
    assert!(!etag(&reply).is_empty() && !etag(&reply).contains('"'));
    let id = id(&reply).to_owned();
    let expected = format!(
        "<StreamingDistribution><Id>{id}</Id><ARN>arn:aws:cloudfront::{ALICE}:streaming-distribution/{id}</ARN><Status>InProgress</Status>\
         <LastModifiedTime>2026-11-21T11:07:42.007Z</LastModifiedTime><DomainName>{}</DomainName>\
         <ActiveTrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></ActiveTrustedSigners>\
         <StreamingDistributionConfig><CallerReference>cli-1</CallerReference><S3Origin><DomainName>media.s3.amazonaws.com</DomainName>\
         <OriginAccessIdentity/></S3Origin><Aliases><Quantity>0</Quantity></Aliases><Comment>c</Comment>\
         <Logging><Enabled>false</Enabled><Bucket/><Prefix/></Logging>\
         <TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners><PriceClass>PriceClass_All</PriceClass>\
         <Enabled>true</Enabled></StreamingDistributionConfig></StreamingDistribution>",
        at(&reply, "DomainName"),
    );
    assert_eq!(fragment(&reply), expected);
    let read = rig.get(V2020, &id).await.unwrap();
    assert_eq!((read.status, &read.etag, fragment(&read)), (StatusCode::OK, &reply.etag, expected));
    assert!(!fragment(&rig.get("2014-05-31", &id).await.unwrap()).contains("ARN"));
    assert!(fragment(&rig.get("2016-08-01", &id).await.unwrap()).contains("ARN"));
}

#[tokio::test]
async fn c07_the_same_create_of_2009_gets_the_same_distribution_and_another_409() {
    for rig in Rig::each().await {
        let first = rig.create(V2009, JETS3T_072).await.unwrap();
        let spaced = JETS3T_072.replace("><", ">\n  <").replace("Test streaming", "Test  streaming ");
        for (version, body) in
            [(V2009, JETS3T_072), (V2009, &spaced), ("2018-06-18", &with_signers(JETS3T_072))]
        {
            let again = rig.create(version, body).await.unwrap();
            assert_eq!(
                (again.status, id(&again), &again.etag),
                (StatusCode::CREATED, id(&first), &first.etag)
            );
        }
        let other = JETS3T_072.replace("Test streaming", "Another");
        refused(rig.create(V2009, &other).await, 409, "StreamingDistributionAlreadyExists");
        // After an update it is still the first create that counts.
        rig.put_config(V2009, id(&first), etag(&first), &other).await.unwrap();
        let again = rig.create(V2009, JETS3T_072).await.unwrap();
        assert_eq!(
            (id(&again), at(&again, "StreamingDistributionConfig/Comment")),
            (id(&first), "Another distribution")
        );
        refused(rig.create(V2009, &other).await, 409, "StreamingDistributionAlreadyExists");
        assert_eq!(rig.count(ALICE).await, 1);
        // Another account's reference is another one.
        let bobs =
            call(V2009, Method::POST, &[]).by(BOB).with_body(&flat("1274000000000", "b.example", "", true));
        assert_ne!(id(&rig.send(bobs).await.unwrap()), id(&first));
    }
}

/// The same config as a version with `TrustedSigners` requires it.
fn with_signers(config: &str) -> String {
    config.replace("<Enabled>", &format!("{NO_SIGNERS}<Enabled>"))
}

#[tokio::test]
async fn c08_the_same_create_of_2020_is_409() {
    let rig = Rig::new().await;
    let first = rig.create(V2020, &newest("r", true, "")).await.unwrap();
    for version in ["2018-11-05", "2019-03-26", V2020] {
        refused(rig.create(version, &newest("r", true, "")).await, 409, "StreamingDistributionAlreadyExists");
    }
    assert_eq!(rig.count(ALICE).await, 1);
    // The reference of a deleted distribution is free.
    let off = rig.put_config(V2020, id(&first), etag(&first), &newest("r", false, "")).await.unwrap();
    rig.deploy().await;
    rig.delete(id(&first), etag(&off)).await.unwrap();
    assert_ne!(id(&rig.create(V2020, &newest("r", true, "")).await.unwrap()), id(&first));
}

#[tokio::test]
async fn c09_each_version_reads_it_in_its_own_words() {
    let rig = Rig::new().await;
    let made = rig.create(V2009, JETS3T_072).await.unwrap();
    let words = [
        (V2009, "Origin", "CNAME"),
        ("2010-08-01", "Origin", "CNAME"),
        (V2010, "S3Origin/DNSName", "CNAME"),
        (V2012, "S3Origin/DomainName", "Aliases/Items/CNAME"),
        (V2020, "S3Origin/DomainName", "Aliases/Items/CNAME"),
    ];
    for (version, origin, cname) in words {
        let read = rig.get(version, id(&made)).await.unwrap();
        let config = rig.send(call(version, Method::GET, &[id(&made), "config"])).await.unwrap();
        assert_eq!(config.etag, made.etag);
        for (reply, before) in [(&read, "StreamingDistributionConfig/"), (&config, "")] {
            let text = |path: &str| at(reply, &format!("{before}{path}"));
            assert_eq!(text(origin), "mystreamingbucket.s3.amazonaws.com", "{version}");
            assert_eq!(text(cname), "media.example.com", "{version}");
            assert_eq!(text("CallerReference"), "1274000000000", "{version}");
            assert_eq!(
                (text("Comment"), text("Enabled")),
                ("Test streaming distribution", "true"),
                "{version}"
            );
        }
    }
}

#[tokio::test]
async fn c10_an_update_needs_the_current_etag_and_starts_a_new_deployment() {
    for rig in Rig::each().await {
        let made = rig.create(V2020, &newest("r", true, "")).await.unwrap();
        let update = newest("r", true, &aliases(1, &["New.Example.com"]));
        let bare = call(V2020, Method::PUT, &[id(&made), "config"]).with_body(&update);
        refused(rig.send(bare).await, 400, "InvalidIfMatchVersion");
        refused(rig.put_config(V2020, id(&made), "EBAD", &update).await, 412, "PreconditionFailed");
        rig.deploy().await;
        assert_eq!(at(&rig.get(V2020, id(&made)).await.unwrap(), "Status"), "Deployed");
        rig.clock.advance_ms(60_000);
        let quoted = format!("\"{}\"", etag(&made));
        let updated = rig.put_config(V2020, id(&made), &quoted, &update).await.unwrap();
        assert_eq!((updated.status, at(&updated, "Status")), (StatusCode::OK, "InProgress"));
        assert_ne!(updated.etag, made.etag);
        assert_eq!(at(&updated, "LastModifiedTime"), "2026-11-21T11:08:42.007Z");
        assert_eq!(at(&updated, "StreamingDistributionConfig/Aliases/Items/CNAME"), "new.example.com");
        // Also where the view has a floor: it is that of the revision before.
        assert_eq!(at(&rig.get(V2020, id(&made)).await.unwrap(), "Status"), "InProgress");
        refused(rig.put_config(V2020, id(&made), etag(&made), &update).await, 412, "PreconditionFailed");
        assert_eq!(rig.published(id(&made)).await.unwrap().aliases, ["new.example.com"]);
        refused(
            rig.put_config(V2020, "ENOPE", etag(&made), &update).await,
            404,
            "NoSuchStreamingDistribution",
        );
    }
}

#[tokio::test]
async fn c11_neither_caller_reference_nor_origin_can_be_changed() {
    let rig = Rig::new().await;
    let made = rig.create(V2020, &newest("r", true, "")).await.unwrap();
    for version in ["2014-05-31", V2020] {
        let other = rig.put_config(version, id(&made), etag(&made), &newest("other", true, "")).await;
        refused(other, 400, "IllegalUpdate");
    }
    let moved = newest("r", true, "").replace("media.s3", "elsewhere.s3");
    for version in [V2012, V2020] {
        refused(rig.put_config(version, id(&made), etag(&made), &moved).await, 400, "IllegalUpdate");
    }
    let old = flat("other", "a.example", "", true);
    refused(rig.put_config(V2009, id(&made), etag(&made), &old).await, 400, "IllegalUpdate");
}

#[tokio::test]
async fn c12_quantities_that_are_not_the_number_of_items_are_400() {
    let rig = Rig::new().await;
    let wrong = [
        aliases(2, &["a.example.com"]),
        aliases(0, &["a.example.com"]),
        "<TrustedSigners><Enabled>true</Enabled><Quantity>1</Quantity><Items><AwsAccountNumber>self</AwsAccountNumber>\
         <AwsAccountNumber>210987654321</AwsAccountNumber></Items></TrustedSigners>"
            .into(),
        "<TrustedSigners><Enabled>true</Enabled><Quantity>1</Quantity></TrustedSigners>".into(),
    ];
    for more in wrong {
        refused(rig.create(V2020, &newest("r", true, &more)).await, 400, "InconsistentQuantities");
    }
    assert_eq!(rig.count(ALICE).await, 0);
}

#[tokio::test]
async fn c13_a_cname_of_another_distribution_is_409_in_any_account_and_case() {
    for rig in Rig::each().await {
        let first = rig.create(V2020, &newest("1", true, &aliases(1, &["media.example.com"]))).await.unwrap();
        let taken = newest("2", true, &aliases(2, &["free.example.com", "MEDIA.example.com"]));
        for account in [ALICE, BOB] {
            let call = call(V2020, Method::POST, &[]).by(account).with_body(&taken);
            refused(rig.send(call).await, 409, "CNAMEAlreadyExists");
        }
        let second = rig.create(V2020, &newest("2", true, "")).await.unwrap();
        refused(rig.put_config(V2020, id(&second), etag(&second), &taken).await, 409, "CNAMEAlreadyExists");
        // Another's domain is no name to be had either, nor one that may become a domain.
        for domain in [at(&first, "DomainName"), "s5c39gqb8ow64r.penstock.localhost"] {
            let body = newest("3", true, &aliases(1, &[domain]));
            refused(rig.create(V2020, &body).await, 409, "CNAMEAlreadyExists");
        }
        // What the first gives up is free.
        let freed = rig.put_config(V2020, id(&first), etag(&first), &newest("1", true, "")).await;
        freed.unwrap();
        rig.put_config(V2020, id(&second), etag(&second), &taken).await.unwrap();
    }
}

#[tokio::test]
async fn c14_signers_bodies_and_origins_have_their_codes() {
    let rig = Rig::new().await;
    let signers = |accounts: &[&str]| {
        let items: String =
            accounts.iter().map(|a| format!("<AwsAccountNumber>{a}</AwsAccountNumber>")).collect();
        let quantity = accounts.len();
        format!(
            "<TrustedSigners><Enabled>true</Enabled><Quantity>{quantity}</Quantity><Items>{items}</Items></TrustedSigners>"
        )
    };
    let six =
        signers(&["self", "000000000001", "000000000002", "000000000003", "000000000004", "000000000005"]);
    refused(rig.create(V2020, &newest("r", true, &six)).await, 400, "TooManyTrustedSigners");
    let unknown = newest("r", true, &signers(&["000000000001"]));
    refused(rig.create(V2020, &unknown).await, 400, "TrustedSignerDoesNotExist");
    refused(rig.send(call(V2020, Method::POST, &[])).await, 400, "MissingBody");
    let made = rig.create(V2020, &newest("1", true, "")).await.unwrap();
    let empty = call(V2020, Method::PUT, &[id(&made), "config"]).with_if_match(etag(&made));
    refused(rig.send(empty).await, 400, "MissingBody");
    let origin = newest("r", true, "").replace("media.s3.amazonaws.com", "www.example.com");
    refused(rig.create(V2020, &origin).await, 400, "InvalidOrigin");
    let identity = |id: &str| {
        newest("r", true, "")
            .replace("<OriginAccessIdentity/>", &format!("<OriginAccessIdentity>{id}</OriginAccessIdentity>"))
    };
    for wrong in
        ["origin-access-identity/cloudfront/ENOPE", "origin-access-identity/cloudfront/", IDENTITY, "x/y"]
    {
        refused(rig.create(V2020, &identity(wrong)).await, 400, "InvalidOriginAccessIdentity");
    }
    let many: Vec<String> = (0..101).map(|i| format!("a{i}.example.com")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let many = newest("r", true, &aliases(101, &many));
    refused(rig.create(V2020, &many).await, 400, "TooManyStreamingDistributionCNAMEs");
    for wrong in [
        newest("r", true, "").replace("<Enabled>true", "<Enabled>yes"),
        newest("r", true, "").replace("<Enabled>true</Enabled></Str", "</Str"),
        newest("r", true, "").replace("<CallerReference>r</CallerReference>", ""),
        newest("r", true, "<Comment>twice</Comment>"),
        newest("r", true, "<PriceClass>PriceClass_300</PriceClass>"),
        newest("r", true, "").replace(NO_SIGNERS, ""),
        newest("r", true, "").replace("<Quantity>0</Quantity></Tru", "<Quantity>zero</Quantity></Tru"),
        newest("r", true, "<TrustedSigners><Enabled>true</Enabled><Quantity>0</Quantity></TrustedSigners>"),
        newest("r", true, &signers(&["self"]).replace("<Enabled>true", "<Enabled>false")),
        newest(&"r".repeat(128), true, ""),
    ] {
        refused(rig.create(V2020, &wrong).await, 400, "InvalidArgument");
    }
    refused(rig.create(V2020, "<DistributionConfig/>").await, 400, "MalformedXML");
    assert_eq!(rig.count(ALICE).await, 1);
}

#[tokio::test]
async fn c15_an_enabled_distribution_is_not_deleted_and_keeps_serving() {
    let rig = Rig::new().await;
    let made = rig.create(V2020, &newest("r", true, "")).await.unwrap();
    rig.deploy().await;
    refused(rig.delete(id(&made), etag(&made)).await, 409, "StreamingDistributionNotDisabled");
    assert!(rig.published(id(&made)).await.unwrap().enabled);
}

#[tokio::test]
async fn c16_a_disabled_and_deployed_distribution_is_deleted_with_all_that_was_its() {
    for rig in Rig::each().await {
        let tagged = format!(
            "<StreamingDistributionConfigWithTags>{}<Tags><Items><Tag><Key>a</Key></Tag></Items></Tags></StreamingDistributionConfigWithTags>",
            newest("r", true, &aliases(1, &["media.example.com"]))
        );
        let made = call(V2020, Method::POST, &[]).with_query("WithTags", "").with_body(&tagged);
        let made = rig.send(made).await.unwrap();
        rig.deploy().await;
        let off = rig.put_config(V2020, id(&made), etag(&made), &newest("r", false, "")).await.unwrap();
        assert!(!rig.published(id(&made)).await.unwrap().enabled);
        // Disabled, but some node may not have heard of it.
        refused(rig.delete(id(&made), etag(&off)).await, 409, "StreamingDistributionNotDisabled");
        rig.deploy().await;
        refused(rig.delete(id(&made), etag(&made)).await, 412, "PreconditionFailed");
        refused(rig.send(call(V2020, Method::DELETE, &[id(&made)])).await, 400, "InvalidIfMatchVersion");
        let gone = rig.delete(id(&made), etag(&off)).await.unwrap();
        assert_eq!((gone.status, gone.body), (StatusCode::NO_CONTENT, None));
        for path in [&[id(&made)][..], &[id(&made), "config"]] {
            refused(rig.send(call(V2020, Method::GET, path)).await, 404, "NoSuchStreamingDistribution");
        }
        refused(rig.delete(id(&made), etag(&off)).await, 404, "NoSuchStreamingDistribution");
        for prefix in ["api/streaming-distribution/", "api-refs/", "tags/", "distributions/", "names/"] {
            assert!(rig.context.store.list(prefix).await.unwrap().entries.is_empty(), "{prefix}");
        }
    }
}

#[tokio::test]
async fn c20_jets3t_094_disables_and_deletes_although_it_forgets_the_origin() {
    let rig = Rig::new().await;
    let made = rig.create(V2012, JETS3T_094).await.unwrap();
    // The stray text was the identity.
    assert_eq!(
        at(&made, "StreamingDistributionConfig/S3Origin/OriginAccessIdentity"),
        "origin-access-identity/cloudfront/E74FTE3AEXAMPLE"
    );
    assert_eq!(rig.published(id(&made)).await.unwrap().credential, "oai/E74FTE3AEXAMPLE");
    let again = rig.create(V2012, JETS3T_094).await.unwrap();
    assert_eq!((again.status, id(&again)), (StatusCode::CREATED, id(&made)));
    let config = rig.send(call(V2012, Method::GET, &[id(&made), "config"])).await.unwrap();
    let off = rig.put_config(V2012, id(&made), etag(&config), JETS3T_094_DISABLE).await.unwrap();
    let text = |path: &str| at(&off, &format!("StreamingDistributionConfig/{path}")).to_owned();
    assert_eq!((text("CallerReference").as_str(), text("Enabled").as_str()), ("1274000000000", "false"));
    assert_eq!(text("S3Origin/DomainName"), "mystreamingbucket.s3.amazonaws.com");
    assert_eq!(text("S3Origin/OriginAccessIdentity"), "origin-access-identity/cloudfront/E74FTE3AEXAMPLE");
    assert_eq!(text("TrustedSigners/Enabled"), "false");
    rig.deploy().await;
    rig.delete(id(&made), etag(&off)).await.unwrap();
    assert_eq!(rig.count(ALICE).await, 0);
}

#[tokio::test]
async fn c21_signers_of_2010_are_read_by_2020_and_reach_nodes() {
    for (version, body) in [("2010-06-01", JETS3T_074), (V2010, JETS3T_081)] {
        let rig = Rig::new().await;
        rig.put_signer(ALICE, &["K1", "APKAEXAMPLE"]).await;
        let made = rig.create(version, body).await.unwrap();
        let signers =
            "<TrustedSigners><Self/><AwsAccountNumber>210987654321</AwsAccountNumber></TrustedSigners>";
        let active = "<ActiveTrustedSigners><Signer><Self/><KeyPairId>K1</KeyPairId><KeyPairId>APKAEXAMPLE</KeyPairId></Signer>\
                      <Signer><AwsAccountNumber>210987654321</AwsAccountNumber></Signer></ActiveTrustedSigners>";
        assert!(fragment(&made).contains(signers) && fragment(&made).contains(active), "{}", fragment(&made));
        let read = fragment(&rig.get(V2020, id(&made)).await.unwrap());
        let signers = "<TrustedSigners><Enabled>true</Enabled><Quantity>2</Quantity><Items><AwsAccountNumber>self</AwsAccountNumber>\
                       <AwsAccountNumber>210987654321</AwsAccountNumber></Items></TrustedSigners>";
        let active = "<ActiveTrustedSigners><Enabled>true</Enabled><Quantity>2</Quantity><Items><Signer><AwsAccountNumber>self</AwsAccountNumber>\
                      <KeyPairIds><Quantity>2</Quantity><Items><KeyPairId>K1</KeyPairId><KeyPairId>APKAEXAMPLE</KeyPairId></Items></KeyPairIds>\
                      </Signer><Signer><AwsAccountNumber>210987654321</AwsAccountNumber><KeyPairIds><Quantity>0</Quantity></KeyPairIds></Signer>\
                      </Items></ActiveTrustedSigners>";
        assert!(read.contains(signers) && read.contains(active), "{read}");
        assert!(read.contains("<Logging><Enabled>true</Enabled><Bucket>mylogs.s3.amazonaws.com</Bucket><Prefix>log/</Prefix></Logging>"));
        let nodes = rig.published(id(&made)).await.unwrap();
        assert_eq!(nodes.trusted_signers, [ALICE, BOB]);
        assert_eq!(nodes.required_features, ["signed-names"]);
        assert_eq!(nodes.credential, "oai/E74FTE3AEXAMPLE");
    }
}

#[tokio::test]
async fn an_update_of_2009_keeps_what_it_has_no_words_for() {
    let rig = Rig::new().await;
    let private = JETS3T_081.replace(
        "<Enabled>",
        "<PriceClass>PriceClass_100</PriceClass><Future><Deep>x</Deep></Future><Enabled>",
    );
    let made = rig.create(V2010, &private).await.unwrap();
    let update = flat("1274000000000", "other.example.com", "by 2009", true)
        .replace("media.s3", "mystreamingbucket.s3");
    let updated = rig.put_config(V2009, id(&made), etag(&made), &update).await.unwrap();
    assert!(fragment(&updated).contains("<Future><Deep>x</Deep></Future>"));
    let read = rig.get(V2020, id(&made)).await.unwrap();
    let text = |path: &str| at(&read, &format!("StreamingDistributionConfig/{path}")).to_owned();
    assert_eq!(
        (text("Comment"), text("Aliases/Items/CNAME")),
        ("by 2009".into(), "other.example.com".into())
    );
    assert_eq!((text("TrustedSigners/Quantity"), text("Logging/Prefix")), ("2".into(), "log/".into()));
    assert_eq!((text("PriceClass"), text("Future/Deep")), ("PriceClass_100".into(), "x".into()));
    assert_eq!(text("S3Origin/OriginAccessIdentity"), "origin-access-identity/cloudfront/E74FTE3AEXAMPLE");
    // A version that has the words and doesn't use them means it.
    let plain =
        JETS3T_081.split("<TrustedSigners>").next().unwrap().to_owned() + "</StreamingDistributionConfig>";
    let plain = plain.replace(
        "<OriginAccessIdentity>origin-access-identity/cloudfront/E74FTE3AEXAMPLE</OriginAccessIdentity>",
        "",
    );
    rig.put_config(V2010, id(&made), etag(&updated), &plain).await.unwrap();
    let nodes = rig.published(id(&made)).await.unwrap();
    assert!(nodes.trusted_signers.is_empty() && nodes.required_features.is_empty());
    assert_eq!(nodes.credential, format!("public/{ALICE}"));
}

#[tokio::test]
async fn another_accounts_distributions_and_identities_do_not_exist() {
    let rig = Rig::new().await;
    let made = rig.create(V2020, &newest("r", true, "")).await.unwrap();
    for method in [Method::GET, Method::DELETE] {
        let call = call(V2020, method, &[id(&made)]).by(BOB).with_if_match(etag(&made));
        refused(rig.send(call).await, 404, "NoSuchStreamingDistribution");
    }
    let put = call(V2020, Method::PUT, &[id(&made), "config"]).by(BOB).with_if_match(etag(&made));
    refused(rig.send(put.with_body(&newest("r", false, ""))).await, 404, "NoSuchStreamingDistribution");
    let listed = rig.send(call(V2020, Method::GET, &[]).by(BOB)).await.unwrap();
    assert_eq!(at(&listed, "Quantity"), "0");
    let body = newest("b", true, "").replace(
        "<OriginAccessIdentity/>",
        "<OriginAccessIdentity>origin-access-identity/cloudfront/E74FTE3AEXAMPLE</OriginAccessIdentity>",
    );
    let bobs = call(V2020, Method::POST, &[]).by(BOB).with_body(&body);
    refused(rig.send(bobs).await, 400, "InvalidOriginAccessIdentity");
    rig.create(V2020, &body).await.unwrap();
}

#[tokio::test]
async fn read_only_keys_read_and_paths_beside_the_api_are_told() {
    let rig = Rig::new().await;
    let made = rig.create(V2020, &newest("r", true, "")).await.unwrap();
    let reading =
        |call: Call| Call { principal: Principal { read_only: true, ..call.principal.clone() }, ..call };
    rig.send(reading(call(V2020, Method::GET, &[id(&made)]))).await.unwrap();
    let put = call(V2020, Method::PUT, &[id(&made), "config"]).with_if_match(etag(&made));
    for call in [
        call(V2020, Method::POST, &[]).with_body(&newest("2", true, "")),
        put.with_body(&newest("r", false, "")),
        call(V2020, Method::DELETE, &[id(&made)]).with_if_match(etag(&made)),
    ] {
        refused(rig.send(reading(call)).await, 403, "AccessDenied");
    }
    refused(rig.send(call(V2020, Method::PUT, &[id(&made)])).await, 405, "MethodNotAllowed");
    refused(rig.send(call(V2020, Method::GET, &[id(&made), "other"])).await, 400, "InvalidURI");
    refused(rig.send(call(V2020, Method::GET, &["../E1"])).await, 404, "NoSuchStreamingDistribution");
}

#[tokio::test]
async fn an_account_has_no_more_distributions_than_its_limit() {
    let limits = Limits { streaming_distributions: 2, aliases: 1, ..Limits::default() };
    let rig = Rig::over(memory::open().await.unwrap(), limits, None).await;
    for reference in ["1", "2"] {
        rig.create(V2020, &newest(reference, true, "")).await.unwrap();
    }
    refused(rig.create(V2020, &newest("3", true, "")).await, 400, "TooManyStreamingDistributions");
    let other = call(V2020, Method::POST, &[]).by(BOB).with_body(&newest("3", true, ""));
    rig.send(other).await.unwrap();
    // A repeat is no new one.
    rig.create("2018-06-18", &newest("2", true, "")).await.unwrap();
}

#[tokio::test]
async fn a_distribution_is_deployed_only_where_nodes_have_its_features() {
    let rig = Rig::new().await;
    let made = rig.create(V2010, JETS3T_081).await.unwrap();
    let node = proto::v1::RegisterRequest {
        node_id: "edge-1".into(),
        features: vec!["rtmp".into()],
        ..Default::default()
    };
    rig.put("members/edge-1".into(), node.clone()).await;
    rig.deploy().await;
    assert_eq!(at(&rig.get(V2010, id(&made)).await.unwrap(), "Status"), "InProgress");
    // Disabled, it serves nobody there, and can be deleted.
    let disabled = JETS3T_081.replace("<Enabled>true", "<Enabled>false");
    let off = rig.put_config(V2010, id(&made), etag(&made), &disabled).await.unwrap();
    rig.deploy().await;
    assert_eq!(at(&rig.get(V2010, id(&made)).await.unwrap(), "Status"), "Deployed");
    rig.delete(id(&made), etag(&off)).await.unwrap();
}
