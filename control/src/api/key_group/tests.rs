//! Key groups, by the calls that clients make.

use super::*;
use crate::api::held::bench::{
    ALICE, BOB, Bench, OTHER_PEM, PEM, answered, at, delete, get as read, post, principal, put, refused,
};
use crate::api::public_key::{self, PublicKeyConfig};
use crate::api::{Limits, Version};

async fn key(bench: &Bench, account: &str, name: &str, pem: &str) -> String {
    let config = PublicKeyConfig {
        caller_reference: name.into(),
        name: name.into(),
        encoded_key: pem.into(),
        ..Default::default()
    };
    public_key::create(&bench.context, &principal(account), Version::NEWEST, config).await.unwrap().id
}

fn body(name: &str, keys: &[&str]) -> String {
    let items: String = keys.iter().map(|key| format!("<PublicKey>{key}</PublicKey>")).collect();
    format!(
        "<KeyGroupConfig><Name>{name}</Name><Items>{items}</Items><Comment /><Later>kept</Later></KeyGroupConfig>"
    )
}

async fn make(bench: &Bench, account: &str, body: &str) -> Result<Reply, ApiError> {
    handle(&bench.context, &post(account, "2020-05-31", "", body)).await
}

#[tokio::test]
async fn a_group_lives_from_create_to_delete() {
    let bench = Bench::new().await;
    let (one, two) = (key(&bench, ALICE, "one", PEM).await, key(&bench, ALICE, "two", OTHER_PEM).await);
    let (made, reply) = answered(make(&bench, ALICE, &body("g", &[&one])).await, 201);
    let id = at(&made, "Id").to_owned();
    assert_eq!(reply.location.as_deref(), Some(format!("key-group/{id}").as_str()));
    assert_eq!(at(&made, "KeyGroupConfig/Later"), "kept");
    bench.clock.advance_ms(1500);
    let update = put(ALICE, "2020-05-31", &id, &reply.etag.unwrap(), &body("h", &[&two, &one]));
    let (updated, reply) = answered(handle(&bench.context, &update).await, 200);
    assert_eq!(at(&updated, "LastModifiedTime"), "2026-11-21T11:00:01.500Z");
    let items = updated.child("KeyGroupConfig").and_then(|c| c.child("Items")).unwrap();
    assert_eq!(
        items.children.iter().map(|k| k.text.as_str()).collect::<Vec<_>>(),
        [two.as_str(), one.as_str()]
    );
    let (config, _) =
        answered(handle(&bench.context, &read(ALICE, "2020-05-31", &format!("{id}/config"))).await, 200);
    assert_eq!(at(&config, "Name"), "h");
    let (list, _) = answered(handle(&bench.context, &read(ALICE, "2020-05-31", "")).await, 200);
    assert_eq!(at(&list, "Items/KeyGroupSummary/KeyGroup/Id"), id);
    assert!(list.child("IsTruncated").is_none());
    // The old name is free again, the new one is not.
    answered(make(&bench, ALICE, &body("g", &[&one])).await, 201);
    assert_eq!(refused(make(&bench, ALICE, &body("h", &[&one])).await), (409, "KeyGroupAlreadyExists"));
    answered(handle(&bench.context, &delete(ALICE, "2020-05-31", &id, &reply.etag.unwrap())).await, 204);
    assert_eq!(
        refused(handle(&bench.context, &read(ALICE, "2020-05-31", &id)).await),
        (404, "NoSuchResource")
    );
    answered(make(&bench, ALICE, &body("h", &[&one])).await, 201);
}

#[tokio::test]
async fn a_group_names_keys_of_its_account_each_once() {
    let bench = Bench::with(Limits { keys_per_group: 1, key_groups: 1, ..Limits::default() }).await;
    let (mine, other) = (key(&bench, ALICE, "k", PEM).await, key(&bench, BOB, "k", PEM).await);
    let refusal = async |body: String| refused(make(&bench, ALICE, &body).await);
    assert_eq!(refusal(body("g", &[&other])).await, (400, "InvalidArgument"));
    assert_eq!(refusal(body("g", &[])).await, (400, "InvalidArgument"));
    assert_eq!(refusal(body("g", &["K1"])).await, (400, "InvalidArgument"));
    assert_eq!(refusal(body("g", &[&mine, &mine])).await, (400, "TooManyPublicKeysInKeyGroup"));
    assert_eq!(refusal(body("g", &["../x"])).await, (400, "InvalidArgument"));
    answered(make(&bench, ALICE, &body("g", &[&mine])).await, 201);
    assert_eq!(refusal(body("h", &[&mine])).await, (400, "TooManyKeyGroups"));
    assert_eq!(refusal(body("g", &[&mine])).await, (409, "KeyGroupAlreadyExists"));
}
