//! Lists in pages, and tags.

use super::*;

#[tokio::test]
async fn c18_lists_come_in_pages_by_id_in_each_versions_form() {
    for rig in Rig::each().await {
        let mut ids = Vec::new();
        for i in 0..3 {
            let body = flat(&i.to_string(), &format!("m{i}.example.com"), "c", true);
            ids.push(id(&rig.create(V2009, &body).await.unwrap()).to_owned());
        }
        rig.send(call(V2009, Method::POST, &[]).by(BOB).with_body(&flat("x", "x.example", "", true)))
            .await
            .unwrap();
        ids.sort_unstable();
        let page = |version: &str, marker: &str, most: &str| {
            let call = call(version, Method::GET, &[]);
            let call = if most.is_empty() { call } else { call.with_query("MaxItems", most) };
            if marker.is_empty() { call } else { call.with_query("Marker", marker) }
        };
        let first = rig.send(page(V2020, "", "2")).await.unwrap();
        assert_eq!((at(&first, "IsTruncated"), at(&first, "NextMarker")), ("true", ids[1].as_str()));
        assert_eq!((at(&first, "Marker"), at(&first, "MaxItems"), at(&first, "Quantity")), ("", "2", "2"));
        let second = rig.send(page(V2020, &ids[1], "2")).await.unwrap();
        assert_eq!((at(&second, "IsTruncated"), at(&second, "Marker")), ("false", ids[1].as_str()));
        assert_eq!(
            (at(&second, "Quantity"), at(&second, "Items/StreamingDistributionSummary/Id")),
            ("1", ids[2].as_str())
        );
        assert!(second.body.as_ref().unwrap().child("NextMarker").is_none());
        // A page that is full is not truncated when nothing follows; more than the most is the most.
        for most in ["3", "100", "1000", ""] {
            let all = rig.send(page(V2020, "", most)).await.unwrap();
            assert_eq!((at(&all, "IsTruncated"), at(&all, "Quantity")), ("false", "3"), "{most}");
            assert_eq!(at(&all, "MaxItems"), if most == "3" { "3" } else { "100" });
        }
        let summary = rig.send(page(V2020, &ids[1], "")).await.unwrap();
        let known = rig.get(V2020, &ids[2]).await.unwrap();
        let expected = format!(
            "<StreamingDistributionList><Marker>{1}</Marker><MaxItems>100</MaxItems><IsTruncated>false</IsTruncated><Quantity>1</Quantity><Items>\
             <StreamingDistributionSummary><Id>{0}</Id><ARN>arn:aws:cloudfront::{ALICE}:streaming-distribution/{0}</ARN><Status>InProgress</Status>\
             <LastModifiedTime>2026-11-21T11:07:42.007Z</LastModifiedTime><DomainName>{2}</DomainName><S3Origin>\
             <DomainName>media.s3.amazonaws.com</DomainName><OriginAccessIdentity/></S3Origin><Aliases><Quantity>1</Quantity><Items>\
             <CNAME>{3}</CNAME></Items></Aliases>{NO_SIGNERS}<Comment>c</Comment><PriceClass>PriceClass_All</PriceClass><Enabled>true</Enabled>\
             </StreamingDistributionSummary></Items></StreamingDistributionList>",
            ids[2],
            ids[1],
            at(&known, "DomainName"),
            at(&known, "StreamingDistributionConfig/Aliases/Items/CNAME"),
        );
        assert_eq!(fragment(&summary), expected);
        // Before 2012-05-05 the summaries stand in the list itself.
        for (version, origin) in [(V2009, "Origin"), (V2010, "S3Origin/DNSName")] {
            let old = rig.send(page(version, "", "100")).await.unwrap();
            let list = old.body.as_ref().unwrap();
            assert_eq!(list.children("StreamingDistributionSummary").count(), 3);
            assert!(list.child("Quantity").is_none() && list.child("Items").is_none());
            assert_eq!(at(&old, &format!("StreamingDistributionSummary/{origin}")), "media.s3.amazonaws.com");
        }
        for wrong in ["0", "-1", "x", "1.5", "99999999999999999999"] {
            refused(rig.send(page(V2020, "", wrong)).await, 400, "InvalidArgument");
        }
        let none = rig.send(page(V2020, "Z", "")).await.unwrap();
        assert_eq!(at(&none, "Quantity"), "0");
    }
}

#[tokio::test]
async fn c19_tags_come_with_a_create_and_go_with_untag() {
    for rig in Rig::each().await {
        let body = format!(
            "<StreamingDistributionConfigWithTags>{}<Tags><Items><Tag><Key>a</Key><Value>b</Value></Tag><Tag><Key>bare</Key></Tag></Items></Tags>\
             </StreamingDistributionConfigWithTags>",
            newest("r", true, "")
        );
        let with_tags =
            |version, body: &str| call(version, Method::POST, &[]).with_query("WithTags", "").with_body(body);
        let made = rig.send(with_tags(V2020, &body)).await.unwrap();
        let arn = at(&made, "ARN").to_owned();
        let tagging = |method, operation: &str, arn: &str| {
            let call = call(V2020, method, &["tagging"]).with_query("Resource", arn);
            if operation.is_empty() { call } else { call.with_query("Operation", operation) }
        };
        let listed = rig.send(tagging(Method::GET, "", &arn)).await.unwrap();
        assert_eq!(
            fragment(&listed),
            "<Tags><Items><Tag><Key>a</Key><Value>b</Value></Tag><Tag><Key>bare</Key><Value/></Tag></Items></Tags>"
        );
        let add = "<Tags><Items><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>a</Key><Value>c</Value></Tag></Items></Tags>";
        let added = rig.send(tagging(Method::POST, "Tag", &arn).with_body(add)).await.unwrap();
        assert_eq!((added.status, added.body), (StatusCode::NO_CONTENT, None));
        let take = "<TagKeys><Items><Key>bare</Key><Key>never</Key></Items></TagKeys>";
        let taken = rig.send(tagging(Method::POST, "Untag", &arn).with_body(take)).await.unwrap();
        assert_eq!(taken.status, StatusCode::NO_CONTENT);
        let listed = rig.send(tagging(Method::GET, "", &arn)).await.unwrap();
        assert_eq!(
            fragment(&listed),
            "<Tags><Items><Tag><Key>a</Key><Value>c</Value></Tag><Tag><Key>k</Key><Value>v</Value></Tag></Items></Tags>"
        );
        let all = "<TagKeys><Items><Key>a</Key><Key>k</Key></Items></TagKeys>";
        rig.send(tagging(Method::POST, "Untag", &arn).with_body(all)).await.unwrap();
        let listed = rig.send(tagging(Method::GET, "", &arn)).await.unwrap();
        assert_eq!(fragment(&listed), "<Tags><Items/></Tags>");
        // Tags change neither ETag nor status.
        assert_eq!(rig.get(V2020, id(&made)).await.unwrap().etag, made.etag);

        let bad = "<Tags><Items><Tag><Key>aws:x</Key><Value>v</Value></Tag></Items></Tags>";
        refused(rig.send(tagging(Method::POST, "Tag", &arn).with_body(bad)).await, 400, "InvalidTagging");
        refused(rig.send(with_tags(V2020, &body.replace(">a<", ">aws:a<"))).await, 400, "InvalidTagging");
        refused(rig.send(tagging(Method::POST, "Tag", &arn)).await, 400, "MissingBody");
        refused(rig.send(tagging(Method::POST, "Paint", &arn).with_body(add)).await, 400, "InvalidArgument");
        refused(rig.send(tagging(Method::GET, "", "x")).await, 400, "InvalidArgument");
        let missing = arn.replace(id(&made), "ENOPE");
        refused(rig.send(tagging(Method::GET, "", &missing)).await, 404, "NoSuchResource");
        refused(rig.send(tagging(Method::GET, "", &arn).by(BOB)).await, 404, "NoSuchResource");
        let bobs = arn.replace(ALICE, BOB);
        refused(rig.send(tagging(Method::GET, "", &bobs)).await, 404, "NoSuchResource");
        refused(rig.send(with_tags("2014-05-31", &body)).await, 400, "InvalidArgument");
    }
}
