//! What an operator lends, in a store.

use prost::Message;
use proto::v1::{LogTarget, OriginSecret};

use super::grants::Right;
use super::*;
use crate::access_log::permission::{Permission, may_deliver};
use crate::api::Version;
use crate::api::held::bench::{ALICE, BOB, Bench, OTHER_PEM, PEM, principal};
use crate::api::identity::{self, IdentityConfig};
use crate::documents::log_target_key;
use crate::seal::{Sealer, SealingKey};
use crate::store::Transaction;

fn reason(error: LendingError) -> String {
    error.to_string()
}

#[tokio::test]
async fn a_grant_reaches_nodes_and_is_taken_back() {
    let bench = Bench::new().await;
    let store = &*bench.context.store;
    grants::add(store, ALICE, "media").await.unwrap();
    let before = store.head().await.unwrap().revision;
    grants::add(store, ALICE, "media").await.unwrap();
    assert_eq!(store.head().await.unwrap().revision, before, "what is granted stays as it is");
    grants::add(store, BOB, grants::ANY_BUCKET).await.unwrap();
    let head = store.head().await.unwrap().revision;
    bench.until(|view| view.grants.len() == 2 && view.revision == head).await;
    let listed: Vec<(String, String)> =
        grants::given(store, Right::Read).await.unwrap().into_iter().map(|g| (g.account, g.bucket)).collect();
    assert_eq!(listed, [(ALICE.to_owned(), "media".to_owned()), (BOB.to_owned(), "*".to_owned())]);
    grants::take_back(store, Right::Read, ALICE, "media").await.unwrap();
    bench.until(|view| view.grants.len() == 1).await;
    let gone = grants::take_back(store, Right::Read, ALICE, "media").await.unwrap_err();
    assert!(reason(gone).contains("has no grant"));
    for (account, bucket) in [("12", "media"), (ALICE, "Media/x"), (ALICE, "")] {
        assert!(matches!(grants::add(store, account, bucket).await, Err(LendingError::Invalid(_))));
    }
}

#[tokio::test]
async fn a_grant_for_logs_lends_no_reading_and_one_for_reading_no_logs() {
    let bench = Bench::new().await;
    let store = &*bench.context.store;
    let target = LogTarget { account: ALICE.into(), ..Default::default() };
    let published = Transaction::default().put(log_target_key("E1", &target), target.encode_to_vec());
    store.commit(published).await.unwrap();
    let may_log =
        async |bucket: &str| may_deliver(store, "E1", &target, bucket).await.unwrap() == Permission::Given;
    grants::add(store, ALICE, "media").await.unwrap();
    assert!(!may_log("media").await);
    let head = store.get("head").await.unwrap().unwrap().modified;
    for _ in 0..2 {
        grants::give(store, Right::Logs, ALICE, "logs").await.unwrap();
    }
    assert!(may_log("logs").await && !may_log("media").await);
    assert_eq!(store.get("head").await.unwrap().unwrap().modified, head, "nodes have nothing to hear of it");
    bench.until(|view| view.grants.len() == 1).await;
    let names = |grants: Vec<proto::v1::Grant>| grants.into_iter().map(|g| g.bucket).collect::<Vec<_>>();
    assert_eq!(names(grants::given(store, Right::Read).await.unwrap()), ["media"]);
    assert_eq!(names(grants::given(store, Right::Logs).await.unwrap()), ["logs"]);
    let other = grants::take_back(store, Right::Read, ALICE, "logs").await.unwrap_err();
    assert!(matches!(other, LendingError::NotFound(_)));
    grants::take_back(store, Right::Logs, ALICE, "logs").await.unwrap();
    assert!(!may_log("logs").await);
    let gone = grants::take_back(store, Right::Logs, ALICE, "logs").await.unwrap_err();
    assert!(reason(gone).contains("no grant for logs"));
    grants::give(store, Right::Logs, ALICE, grants::ANY_BUCKET).await.unwrap();
    assert!(may_log("whichever").await);
    assert!(matches!(
        grants::give(store, Right::Logs, ALICE, "No Bucket").await,
        Err(LendingError::Invalid(_))
    ));
}

#[tokio::test]
async fn keys_under_old_ids_stand_beside_the_apis_own() {
    let bench = Bench::new().await;
    let store = &*bench.context.store;
    let own = crate::api::public_key::PublicKeyConfig {
        caller_reference: "r".into(),
        name: "n".into(),
        encoded_key: PEM.into(),
        ..Default::default()
    };
    let own = crate::api::public_key::create(&bench.context, &principal(ALICE), Version::NEWEST, own)
        .await
        .unwrap();
    signers::add(store, ALICE, "APKAEIBAERJR2EXAMPLE", OTHER_PEM).await.unwrap();
    signers::add(store, ALICE, "APKAEIBAERJR2EXAMPLE", PEM).await.unwrap();
    bench.until(|view| view.signers.get(ALICE).is_some_and(|s| s.keys.len() == 2)).await;
    let listed = signers::list(store).await.unwrap();
    let ids: Vec<&str> = listed[0].keys.iter().map(|key| key.key_pair_id.as_str()).collect();
    assert_eq!(ids, ["APKAEIBAERJR2EXAMPLE", own.id.as_str()]);
    assert_eq!(
        listed[0].keys[0].public_key, listed[0].keys[1].public_key,
        "the second import replaced the first"
    );
    crate::api::public_key::delete(&bench.context, &principal(ALICE), &own.id, Some(&own.etag))
        .await
        .unwrap();
    assert_eq!(signers::list(store).await.unwrap()[0].keys.len(), 1, "an imported key outlives the API's");
    // The API's keys are the account's, not the operator's.
    assert!(matches!(signers::add(store, ALICE, "K2JCJMDEHXQW5F", PEM).await, Err(LendingError::Invalid(_))));
    assert!(matches!(signers::add(store, ALICE, "APKA1", "nothing").await, Err(LendingError::Invalid(_))));
    signers::remove(store, ALICE, "APKAEIBAERJR2EXAMPLE").await.unwrap();
    assert!(signers::list(store).await.unwrap().is_empty());
    assert!(matches!(signers::remove(store, ALICE, "APKA9").await, Err(LendingError::NotFound(_))));
    bench.until(|view| view.signers.is_empty()).await;
}

#[tokio::test]
async fn an_identitys_keys_are_sealed_and_belong_to_its_account() {
    let bench = Bench::new().await;
    let store = &*bench.context.store;
    let config = IdentityConfig { caller_reference: "r".into(), ..Default::default() };
    let made = identity::create(&bench.context, &principal(ALICE), Version::NEWEST, config).await.unwrap();
    let sealer = Sealer::new(&SealingKey::random().unwrap(), &[]);
    secrets::set(store, &sealer, &made.id, "AKIDORIGIN", "very-secret").await.unwrap();
    let key = format!("origin-secrets/oai/{}", made.id);
    let entry = store.get(&key).await.unwrap().unwrap();
    assert!(!entry.value.windows(11).any(|part| part == b"very-secret"), "it is nowhere in the store");
    let secret = OriginSecret::decode(entry.value).unwrap();
    assert_eq!((secret.account.as_str(), secret.access_key_id.as_str()), (ALICE, "AKIDORIGIN"));
    assert_eq!(secret.secret_access_key, "");
    assert_eq!(sealer.open(&key, &secret.sealed_secret).unwrap(), b"very-secret");
    assert!(
        sealer.open("origin-secrets/oai/EOTHER", &secret.sealed_secret).is_err(),
        "sealed for this place only"
    );
    let head = store.head().await.unwrap().revision;
    bench.until(|view| view.origin_secrets.contains_key(&secret.credential) && view.revision == head).await;
    let listed = secrets::list(store).await.unwrap();
    assert_eq!((listed[0].id.as_str(), listed[0].access_key_id.as_str()), (made.id.as_str(), "AKIDORIGIN"));
    secrets::set(store, &sealer, &made.id, "AKIDSECOND", "another").await.unwrap();
    assert_eq!(secrets::list(store).await.unwrap()[0].access_key_id, "AKIDSECOND");
    secrets::clear(store, &made.id).await.unwrap();
    bench.until(|view| view.origin_secrets.is_empty()).await;
    assert!(matches!(secrets::clear(store, &made.id).await, Err(LendingError::NotFound(_))));
    assert!(matches!(secrets::set(store, &sealer, "ENOPE", "a", "b").await, Err(LendingError::NotFound(_))));
    assert!(matches!(
        secrets::set(store, &sealer, &made.id, "a b", "b").await,
        Err(LendingError::Invalid(_))
    ));
    let none = secrets::set(store, &Sealer::none(), &made.id, "a", "b").await;
    assert!(
        matches!(none, Err(LendingError::Seal(_))),
        "without a key for secrets at rest there is no place for one"
    );
}
