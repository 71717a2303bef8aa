//! Public keys and the signers document they make.

use proto::v1::Signer;

use super::*;
use crate::api::held::bench::{
    ALICE, BOB, Bench, OTHER_PEM, PEM, answered, at, delete, get as read, post, put, refused,
};
use crate::api::{Limits, key_group};
use crate::lending::signers;

fn body(reference: &str, name: &str, pem: &str, comment: &str) -> String {
    format!(
        "<PublicKeyConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><CallerReference>{reference}</CallerReference>\
         <Name>{name}</Name><EncodedKey>{pem}</EncodedKey><Comment>{comment}</Comment></PublicKeyConfig>"
    )
}

async fn make(bench: &Bench, account: &str, body: &str) -> Result<Reply, ApiError> {
    handle(&bench.context, &post(account, "2020-05-31", "", body)).await
}

async fn key_pair_ids(bench: &Bench, account: &str) -> Vec<String> {
    let signer: Signer = signers::load(&*bench.context.store, account).await.unwrap().signer;
    signer.keys.into_iter().map(|key| key.key_pair_id).collect()
}

#[tokio::test]
async fn a_key_is_published_as_a_signer_and_taken_back() {
    let bench = Bench::new().await;
    let (made, reply) = answered(make(&bench, ALICE, &body("r", "n", PEM, "c")).await, 201);
    let id = at(&made, "Id").to_owned();
    assert!(id.len() == 14 && id.starts_with('K'));
    assert_eq!(at(&made, "PublicKeyConfig/EncodedKey"), PEM);
    assert_eq!(at(&made, "CreatedTime"), "2026-11-21T11:00:00.000Z");
    assert_eq!(reply.location.as_deref(), Some(format!("public-key/{id}").as_str()));
    // The replica hears of it as nodes do: by the head.
    bench.until(|view| view.signers.get(ALICE).is_some_and(|s| s.keys.len() == 1)).await;
    let view = bench.context.views.borrow().clone();
    let key = &view.signers[ALICE].keys[0];
    assert_eq!(
        (key.key_pair_id.as_str(), &key.public_key[..]),
        (id.as_str(), &spki::rsa_public_key(PEM).unwrap()[..])
    );
    assert_eq!(view.revision, bench.context.store.head().await.unwrap().revision);
    let (list, _) = answered(handle(&bench.context, &read(ALICE, "2020-05-31", "?MaxItems=1")).await, 200);
    assert_eq!(at(&list, "Items/PublicKeySummary/EncodedKey"), PEM);
    assert!(list.child("Marker").is_none() && list.child("IsTruncated").is_none());
    let gone = handle(&bench.context, &delete(ALICE, "2020-05-31", &id, &reply.etag.unwrap())).await;
    answered(gone, 204);
    assert!(key_pair_ids(&bench, ALICE).await.is_empty());
    bench.until(|view| view.signers.is_empty()).await;
    assert_eq!(
        refused(handle(&bench.context, &read(ALICE, "2020-05-31", &id)).await),
        (404, "NoSuchPublicKey")
    );
}

#[tokio::test]
async fn nothing_but_the_comment_changes() {
    let bench = Bench::new().await;
    let (made, reply) = answered(make(&bench, ALICE, &body("r", "n", PEM, "c")).await, 201);
    let (path, etag) = (format!("{}/config", at(&made, "Id")), reply.etag.unwrap());
    let update =
        async |body: &str| handle(&bench.context, &put(ALICE, "2020-05-31", &path, &etag, body)).await;
    for other in [body("s", "n", PEM, "c"), body("r", "m", PEM, "c"), body("r", "n", OTHER_PEM, "c")] {
        assert_eq!(refused(update(&other).await), (400, "CannotChangeImmutablePublicKeyFields"));
    }
    let (updated, reply) = answered(update(&body("r", "n", PEM.trim(), "d")).await, 200);
    assert_eq!(
        (at(&updated, "PublicKeyConfig/Comment"), at(&updated, "PublicKeyConfig/EncodedKey")),
        ("d", PEM)
    );
    assert_ne!(reply.etag.as_deref(), Some(etag.as_str()));
    assert_eq!(refused(update(&body("r", "n", PEM, "e")).await), (412, "PreconditionFailed"));
}

#[tokio::test]
async fn keys_that_no_verifier_takes_and_names_taken_are_refused() {
    let bench = Bench::with(Limits { public_keys: 2, ..Limits::default() }).await;
    let refusal = async |body: String| refused(make(&bench, ALICE, &body).await);
    let none = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n";
    assert_eq!(refusal(body("r", "n", none, "c")).await, (400, "InvalidArgument"));
    assert_eq!(refusal(body("r", "n", include_str!("spki/ec.pem"), "c")).await, (400, "InvalidArgument"));
    assert_eq!(refusal(body("r", "a b", PEM, "c")).await, (400, "InvalidArgument"));
    assert!(key_pair_ids(&bench, ALICE).await.is_empty());
    let (made, _) = answered(make(&bench, ALICE, &body("r", "n", PEM, "c")).await, 201);
    let (again, _) = answered(make(&bench, ALICE, &body("r", "n", PEM, "c")).await, 201);
    assert_eq!(at(&again, "Id"), at(&made, "Id"));
    assert_eq!(refusal(body("r", "m", PEM, "c")).await, (409, "PublicKeyAlreadyExists"));
    assert_eq!(refusal(body("s", "n", OTHER_PEM, "c")).await, (409, "PublicKeyAlreadyExists"));
    answered(make(&bench, ALICE, &body("s", "m", OTHER_PEM, "c")).await, 201);
    assert_eq!(refusal(body("t", "o", PEM, "c")).await, (400, "TooManyPublicKeys"));
    answered(make(&bench, BOB, &body("r", "n", PEM, "c")).await, 201);
}

#[tokio::test]
async fn creates_at_one_time_keep_names_apart_and_lose_no_signer() {
    let bench = Bench::new().await;
    let bodies: Vec<String> =
        (0..4).map(|n| body(&format!("r{n}"), &format!("n{}", n / 2), PEM, "")).collect();
    let made = futures::future::join_all(bodies.iter().map(|body| make(&bench, ALICE, body))).await;
    let (ok, refusals): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((ok.len(), refusals.len()), (2, 2));
    assert!(refusals.into_iter().all(|r| refused(r).1 == "PublicKeyAlreadyExists"));
    assert_eq!(key_pair_ids(&bench, ALICE).await.len(), 2);
}

#[tokio::test]
async fn a_key_in_a_group_stays() {
    let bench = Bench::new().await;
    let (made, reply) = answered(make(&bench, ALICE, &body("r", "n", PEM, "c")).await, 201);
    let (id, etag) = (at(&made, "Id").to_owned(), reply.etag.unwrap());
    let group =
        format!("<KeyGroupConfig><Name>g</Name><Items><PublicKey>{id}</PublicKey></Items></KeyGroupConfig>");
    let (group, group_reply) =
        answered(key_group::handle(&bench.context, &post(ALICE, "2020-05-31", "", &group)).await, 201);
    let used = handle(&bench.context, &delete(ALICE, "2020-05-31", &id, &etag)).await;
    assert_eq!(refused(used), (409, "PublicKeyInUse"));
    let group_id = at(&group, "Id");
    let gone = delete(ALICE, "2020-05-31", group_id, &group_reply.etag.unwrap());
    answered(key_group::handle(&bench.context, &gone).await, 204);
    answered(handle(&bench.context, &delete(ALICE, "2020-05-31", &id, &etag)).await, 204);
}
