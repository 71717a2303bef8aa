//! Identities, by the calls that clients make.

use super::*;
use crate::api::held::bench::{
    ALICE, BOB, Bench, answered, at, call, delete, get as read, post, put, refused,
};
use crate::api::web::{self, S3Web, WebConfig};
use crate::api::{Limits, Version};

const BODY: &str = "<CloudFrontOriginAccessIdentityConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2009-12-01/\"><CallerReference>oai-ref</CallerReference><Comment>oai comment</Comment></CloudFrontOriginAccessIdentityConfig>";

fn body(reference: &str, comment: &str) -> String {
    BODY.replace("oai-ref", reference).replace("oai comment", comment)
}

async fn make(bench: &Bench, account: &str, version: &str, body: &str) -> Result<Reply, ApiError> {
    handle(&bench.context, &post(account, version, "cloudfront", body)).await
}

#[tokio::test]
async fn an_identity_lives_from_create_to_delete() {
    let bench = Bench::new().await;
    for version in ["2009-12-01", "2010-11-01", "2012-05-05", "2020-05-31"] {
        let (made, reply) = answered(make(&bench, ALICE, version, &body(version, "one")).await, 201);
        let id = at(&made, "Id").to_owned();
        assert!(id.len() == 14 && id.starts_with('E'), "{id}");
        assert_eq!(reply.location.as_deref(), Some(format!("{REFERENCE}{id}").as_str()));
        let canonical = at(&made, "S3CanonicalUserId");
        assert!(canonical.len() == 96 && canonical.bytes().all(|b| b.is_ascii_hexdigit()), "{canonical}");
        assert_eq!(at(&made, "CloudFrontOriginAccessIdentityConfig/Comment"), "one");
        let first = reply.etag.unwrap();
        let (known, reply) =
            answered(handle(&bench.context, &read(ALICE, version, &format!("cloudfront/{id}"))).await, 200);
        assert_eq!((&known, reply.etag.as_ref()), (&made, Some(&first)));
        let path = format!("cloudfront/{id}/config");
        let (config, _) = answered(handle(&bench.context, &read(ALICE, version, &path)).await, 200);
        assert_eq!(at(&config, "CallerReference"), version);
        let (_, reply) = answered(
            handle(&bench.context, &put(ALICE, version, &path, &first, &body(version, "two"))).await,
            200,
        );
        let second = reply.etag.unwrap();
        assert_ne!(first, second);
        let path = format!("cloudfront/{id}");
        let stale = handle(&bench.context, &delete(ALICE, version, &path, &first)).await;
        assert_eq!(refused(stale), (412, "PreconditionFailed"));
        let without = handle(&bench.context, &call(ALICE, version, Method::DELETE, &path, "")).await;
        assert_eq!(refused(without), (400, "InvalidIfMatchVersion"));
        answered(handle(&bench.context, &delete(ALICE, version, &path, &second)).await, 204);
        let gone = handle(&bench.context, &read(ALICE, version, &path)).await;
        assert_eq!(refused(gone), (404, "NoSuchCloudFrontOriginAccessIdentity"));
    }
}

#[tokio::test]
async fn a_caller_reference_makes_one_identity_whatever_came_since() {
    let bench = Bench::new().await;
    let (made, reply) = answered(make(&bench, ALICE, "2009-12-01", BODY).await, 201);
    let path = format!("cloudfront/{}/config", at(&made, "Id"));
    let etag = reply.etag.unwrap();
    answered(
        handle(&bench.context, &put(ALICE, "2020-05-31", &path, &etag, &body("oai-ref", "later"))).await,
        200,
    );
    let spaced = BODY.replace("oai comment", " oai\n comment ");
    let (again, _) = answered(make(&bench, ALICE, "2020-05-31", &spaced).await, 201);
    assert_eq!(at(&again, "Id"), at(&made, "Id"));
    let other = make(&bench, ALICE, "2020-05-31", &body("oai-ref", "another")).await;
    assert_eq!(refused(other), (409, "CloudFrontOriginAccessIdentityAlreadyExists"));
    // Another account's references are others.
    let (bobs, _) = answered(make(&bench, BOB, "2020-05-31", BODY).await, 201);
    assert_ne!(at(&bobs, "Id"), at(&made, "Id"));
    let changed = put(ALICE, "2020-05-31", &path, "E0", &body("oai-ref", "x"));
    assert_eq!(refused(handle(&bench.context, &changed).await), (412, "PreconditionFailed"));
}

#[tokio::test]
async fn creates_at_one_time_make_one_identity() {
    let bench = Bench::new().await;
    let makes = (0..8).map(|_| make(&bench, ALICE, "2020-05-31", BODY));
    let ids: std::collections::HashSet<String> = futures::future::join_all(makes)
        .await
        .into_iter()
        .map(|reply| at(&answered(reply, 201).0, "Id").to_owned())
        .collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn what_an_update_may_not_say_is_refused() {
    let bench = Bench::new().await;
    let (made, reply) = answered(make(&bench, ALICE, "2020-05-31", BODY).await, 201);
    let (path, etag) = (format!("cloudfront/{}/config", at(&made, "Id")), reply.etag.unwrap());
    let update = async |body: &str| {
        refused(handle(&bench.context, &put(ALICE, "2020-05-31", &path, &etag, body)).await)
    };
    assert_eq!(update(&body("other", "x")).await, (400, "IllegalUpdate"));
    assert_eq!(update("").await, (400, "MissingBody"));
    assert_eq!(update("<Other/>").await, (400, "MalformedXML"));
    assert_eq!(update(&body("oai-ref", &"x".repeat(129))).await, (400, "InvalidArgument"));
    // Nothing of another account's is there at all.
    let others = put(BOB, "2020-05-31", &path, &etag, BODY);
    assert_eq!(refused(handle(&bench.context, &others).await), (404, "NoSuchCloudFrontOriginAccessIdentity"));
    let mut reader = put(ALICE, "2020-05-31", &path, &etag, BODY);
    reader.principal.read_only = true;
    assert_eq!(refused(handle(&bench.context, &reader).await), (403, "AccessDenied"));
    assert_eq!(refused(make(&bench, ALICE, "2020-05-31", &body("", "x")).await), (400, "InvalidArgument"));
    assert_eq!(
        refused(make(&bench, ALICE, "2020-05-31", &body(&"r".repeat(128), "")).await),
        (400, "InvalidArgument")
    );
}

#[tokio::test]
async fn lists_come_in_pages_and_in_the_shape_of_their_version() {
    let bench = Bench::with(Limits { origin_access_identities: 5, ..Limits::default() }).await;
    for n in 0..5 {
        answered(make(&bench, ALICE, "2020-05-31", &body(&format!("r{n}"), "c")).await, 201);
    }
    assert_eq!(
        refused(make(&bench, ALICE, "2020-05-31", &body("r5", "c")).await),
        (400, "TooManyCloudFrontOriginAccessIdentities")
    );
    let list = async |account, version, query: &str| {
        answered(handle(&bench.context, &read(account, version, &format!("cloudfront{query}"))).await, 200).0
    };
    let page = list(ALICE, "2020-05-31", "?MaxItems=2").await;
    assert_eq!((at(&page, "Quantity"), at(&page, "IsTruncated"), at(&page, "MaxItems")), ("2", "true", "2"));
    let ids: Vec<&str> = page.child("Items").unwrap().children.iter().map(|s| at(s, "Id")).collect();
    assert_eq!(at(&page, "NextMarker"), ids[1]);
    let rest = list(ALICE, "2020-05-31", &format!("?Marker={}&MaxItems=100", ids[1])).await;
    assert_eq!((at(&rest, "Quantity"), at(&rest, "IsTruncated")), ("3", "false"));
    assert!(rest.child("NextMarker").is_none());
    let flat = list(ALICE, "2009-12-01", "?MaxItems=100").await;
    assert_eq!(flat.children("CloudFrontOriginAccessIdentitySummary").count(), 5);
    assert!(flat.child("Items").is_none() && flat.child("Quantity").is_none());
    let empty = list(BOB, "2020-05-31", "").await;
    assert_eq!((at(&empty, "Marker"), at(&empty, "Quantity")), ("", "0"));
    let wrong = handle(&bench.context, &read(ALICE, "2020-05-31", "cloudfront?MaxItems=x")).await;
    assert_eq!(refused(wrong), (400, "InvalidArgument"));
}

#[tokio::test]
async fn one_that_a_distribution_names_stays_and_takes_its_keys_with_it_when_it_goes() {
    let bench = Bench::new().await;
    let (made, reply) = answered(make(&bench, ALICE, "2020-05-31", BODY).await, 201);
    let (id, etag) = (at(&made, "Id").to_owned(), reply.etag.unwrap());
    let principal = crate::api::held::bench::principal(ALICE);
    let config = |identity: &str, reference: &str| {
        let web = S3Web {
            caller_reference: reference.into(),
            origin_host: "media.s3.amazonaws.com".into(),
            identity: identity.into(),
            ..Default::default()
        };
        WebConfig::of_s3(&web, &Limits::default()).unwrap()
    };
    let distribution =
        web::create(&bench.context, &principal, Version::NEWEST, config(&id, "r"), vec![]).await.unwrap();
    let path = format!("cloudfront/{id}");
    let used = handle(&bench.context, &delete(ALICE, "2020-05-31", &path, &etag)).await;
    assert_eq!(refused(used), (409, "CloudFrontOriginAccessIdentityInUse"));
    // Another account can't name it.
    let bob = crate::api::held::bench::principal(BOB);
    let others = web::create(&bench.context, &bob, Version::NEWEST, config(&id, "r"), vec![]).await;
    assert_eq!(others.unwrap_err().code, "InvalidOriginAccessIdentity");
    web::update(
        &bench.context,
        &principal,
        Version::NEWEST,
        &distribution.id,
        Some(&distribution.etag),
        config("", "r").tree().clone(),
    )
    .await
    .unwrap();
    let secret = format!("{}{CREDENTIAL}{id}", crate::documents::ORIGIN_SECRETS);
    bench.commit(crate::store::Transaction::default().put(&secret, "")).await;
    answered(handle(&bench.context, &delete(ALICE, "2020-05-31", &path, &etag)).await, 204);
    assert!(bench.context.store.get(&secret).await.unwrap().is_none());
}

#[tokio::test]
async fn one_that_the_operators_file_names_stays_in_whoevers_name_the_file_uses_it() {
    let bench = Bench::new().await;
    let (made, reply) = answered(make(&bench, ALICE, "2020-05-31", BODY).await, 201);
    let (id, etag) = (at(&made, "Id").to_owned(), reply.etag.unwrap());
    let path = format!("cloudfront/{id}");
    let secret = format!("{}{CREDENTIAL}{id}", crate::documents::ORIGIN_SECRETS);
    bench.commit(crate::store::Transaction::default().put(&secret, "")).await;
    for (kind, account) in
        [("streaming", ""), ("streaming", ALICE), ("web", ALICE), ("streaming", BOB), ("web", BOB)]
    {
        let yaml = format!(
            "distributions: [{{name: films, kind: {kind}, origin: media.s3.amazonaws.com, credential: {CREDENTIAL}{id}, account: '{account}'}}]"
        );
        let declare = async |yaml: &str| {
            let set = crate::declare::DeclaredSet::parse(yaml).unwrap();
            crate::declare::apply(&*bench.context.store, &set, "penstock.localhost").await.unwrap()
        };
        let film = declare(&yaml).await.distributions[0].1.id.clone();
        // At once: this replica may not have heard of it.
        let used = handle(&bench.context, &delete(ALICE, "2020-05-31", &path, &etag)).await.unwrap_err();
        assert_eq!((used.status.as_u16(), used.code), (409, "CloudFrontOriginAccessIdentityInUse"));
        assert_eq!(used.message.contains(&film), account != BOB, "{}", used.message);
        assert!(bench.context.store.get(&secret).await.unwrap().is_some(), "{kind} of '{account}'");
        declare("distributions: []").await;
    }
    answered(handle(&bench.context, &delete(ALICE, "2020-05-31", &path, &etag)).await, 204);
    assert!(bench.context.store.get(&secret).await.unwrap().is_none());
}
