//! Operations at the same time, as two replicas do them: both act on what they read, one is first.

use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::*;
use crate::store::{ConfigStore, Head, Listing, StoreError, Watch};

/// Runs `calls` at once and returns the answers.
async fn at_once(rig: &Rig, calls: Vec<Call>) -> Vec<Result<Reply, ApiError>> {
    let mut running = JoinSet::new();
    for call in calls {
        let context = rig.context.clone();
        running.spawn(async move { handle(&context, &call).await });
    }
    running.join_all().await
}

fn codes(replies: &[Result<Reply, ApiError>]) -> Vec<&str> {
    let mut codes: Vec<&str> = replies.iter().filter_map(|r| r.as_ref().err()).map(|e| e.code).collect();
    codes.sort_unstable();
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_creates_at_once_one_is_made_and_all_are_told_its_id() {
    for rig in Rig::each().await {
        let body = flat("r", "media.example.com", "c", true);
        let calls = (0..6).map(|_| call(V2009, Method::POST, &[]).with_body(&body)).collect();
        let replies = at_once(&rig, calls).await;
        let ids: Vec<&str> = replies.iter().map(|reply| id(reply.as_ref().unwrap())).collect();
        assert!(ids.iter().all(|i| *i == ids[0]), "{ids:?}");
        assert_eq!(rig.count(ALICE).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_creates_at_once_with_one_reference_the_newest_version_refuses_all_but_one() {
    for rig in Rig::each().await {
        let body = newest("r", true, &aliases(1, &["media.example.com"]));
        let calls = (0..6).map(|_| call(V2020, Method::POST, &[]).with_body(&body)).collect();
        let replies = at_once(&rig, calls).await;
        assert_eq!(codes(&replies), ["StreamingDistributionAlreadyExists"; 5]);
        assert_eq!(rig.count(ALICE).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c13_of_two_accounts_that_claim_a_name_at_once_one_has_it() {
    for rig in Rig::each().await {
        let calls = [ALICE, BOB].map(|account| {
            let body = newest("r", true, &aliases(1, &["media.example.com"]));
            call(V2020, Method::POST, &[]).by(account).with_body(&body)
        });
        let replies = at_once(&rig, calls.into()).await;
        assert_eq!(codes(&replies), ["CNAMEAlreadyExists"]);
        assert_eq!(rig.count(ALICE).await + rig.count(BOB).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c10_of_updates_at_once_from_one_etag_one_is_made() {
    for rig in Rig::each().await {
        let made = rig.create(V2020, &newest("r", true, "")).await.unwrap();
        let calls = (0..5)
            .map(|i| {
                let body = newest("r", true, &format!("<PriceClass>PriceClass_{}00</PriceClass>", i % 2 + 1));
                call(V2020, Method::PUT, &[id(&made), "config"]).with_if_match(etag(&made)).with_body(&body)
            })
            .collect();
        let replies = at_once(&rig, calls).await;
        assert_eq!(codes(&replies), ["PreconditionFailed"; 4]);
        let won = replies.into_iter().find_map(Result::ok).unwrap();
        let now = rig.get(V2020, id(&made)).await.unwrap();
        assert_eq!(now.etag, won.etag);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_moves_between_distributions_without_ever_having_two() {
    let rig = Rig::new().await;
    let alias = aliases(1, &["media.example.com"]);
    let first = rig.create(V2020, &newest("1", true, &alias)).await.unwrap();
    let second = rig.create(V2020, &newest("2", true, "")).await.unwrap();
    let take = |reply: &Reply, body: &str| {
        call(V2020, Method::PUT, &[id(reply), "config"]).with_if_match(etag(reply)).with_body(body)
    };
    let calls = vec![take(&first, &newest("1", true, "")), take(&second, &newest("2", true, &alias))];
    let replies = at_once(&rig, calls).await;
    // The one gives it up in any case; the other has it if it came later.
    let taken = codes(&replies).is_empty();
    assert!(taken || codes(&replies) == ["CNAMEAlreadyExists"]);
    let owner = rig.context.store.get("names/media.example.com").await.unwrap();
    let owner = owner.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
    assert_eq!(owner.as_deref(), taken.then_some(id(&second)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_two_at_once_are_both_kept() {
    for rig in Rig::each().await {
        let made = rig.create(V2020, &newest("r", true, "")).await.unwrap();
        let arn = at(&made, "ARN").to_owned();
        let mut running = JoinSet::new();
        for i in 0..4 {
            let (context, arn) = (rig.context.clone(), arn.clone());
            let tag = Tag { key: format!("k{i}"), value: "v".into() };
            running.spawn(async move { tagging::tag(&context, &principal(ALICE), &arn, vec![tag]).await });
        }
        assert!(running.join_all().await.into_iter().all(|tagged| tagged.is_ok()));
        assert_eq!(tagging::list(&rig.context, &principal(ALICE), &arn).await.unwrap().len(), 4);
    }
}

/// A store in which somebody else is first: what is set is committed before the next transaction.
struct Meddled {
    inner: Store,
    first: Mutex<Option<Transaction>>,
}

impl Meddled {
    async fn rig() -> (Rig, Arc<Self>) {
        let inner = memory::open().await.unwrap();
        let store = Arc::new(Self { inner, first: Mutex::new(None) });
        (Rig::over(store.clone(), Limits::default(), None).await, store)
    }

    fn first(&self, transaction: Transaction) {
        *self.first.lock().unwrap() = Some(transaction);
    }
}

#[async_trait]
impl ConfigStore for Meddled {
    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.inner.list(prefix).await
    }
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.page(prefix, after, limit).await
    }
    async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError> {
        let first = self.first.lock().unwrap().take();
        if let Some(first) = first {
            self.inner.commit(first).await?;
        }
        self.inner.commit(transaction).await
    }
    async fn watch(&self, after: u64) -> Result<Watch, StoreError> {
        self.inner.watch(after).await
    }
    async fn renew_id(&self, old: &str) -> Result<(), StoreError> {
        self.inner.renew_id(old).await
    }
    async fn put_leased(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.inner.put_leased(key, value, ttl).await
    }
    async fn lease_age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.inner.lease_age(key).await
    }
}

fn private(reference: &str, enabled: bool) -> String {
    newest(reference, enabled, "").replace(
        "<OriginAccessIdentity/>",
        "<OriginAccessIdentity>origin-access-identity/cloudfront/E74FTE3AEXAMPLE</OriginAccessIdentity>",
    )
}

#[tokio::test]
async fn an_identity_deleted_while_it_is_being_used_is_not_used() {
    let (rig, store) = Meddled::rig().await;
    let made = rig.create(V2020, &newest("1", true, "")).await.unwrap();
    let delete = || Transaction::default().delete(resource::key(Kind::OriginAccessIdentity, ALICE, IDENTITY));
    store.first(delete());
    let late = call(V2020, Method::POST, &[]).with_body(&private("2", true));
    refused(handle(&rig.context, &late).await, 400, "InvalidOriginAccessIdentity");
    assert_eq!(rig.count(ALICE).await, 1);
    rig.put_identity(ALICE, IDENTITY).await;
    store.first(delete());
    let put = call(V2020, Method::PUT, &[id(&made), "config"]).with_if_match(etag(&made));
    refused(
        handle(&rig.context, &put.with_body(&private("1", true))).await,
        400,
        "InvalidOriginAccessIdentity",
    );
    // One that only changed meanwhile is as good as before.
    let revision = rig.put_identity(ALICE, IDENTITY).await;
    let key = resource::key(Kind::OriginAccessIdentity, ALICE, IDENTITY);
    let known = rig.context.store.get(&key).await.unwrap().unwrap();
    assert_eq!(known.modified, revision);
    store.first(Transaction::default().put(key, known.value));
    rig.create(V2020, &private("2", true)).await.unwrap();
}

#[tokio::test]
async fn an_update_that_is_overtaken_is_412_and_a_delete_too() {
    let (rig, store) = Meddled::rig().await;
    let made = rig.create(V2020, &newest("r", false, "")).await.unwrap();
    rig.deploy().await;
    let key = resource::key(KIND, ALICE, id(&made));
    let known = rig.context.store.get(&key).await.unwrap().unwrap().value;
    let overtake = || Transaction::default().put(&key, known.clone());
    store.first(overtake());
    let put = call(V2020, Method::PUT, &[id(&made), "config"]).with_if_match(etag(&made));
    refused(handle(&rig.context, &put.with_body(&newest("r", true, ""))).await, 412, "PreconditionFailed");
    rig.deploy().await;
    store.first(overtake());
    let delete = call(V2020, Method::DELETE, &[id(&made)]).with_if_match(etag(&made));
    refused(handle(&rig.context, &delete).await, 412, "PreconditionFailed");
    assert_eq!(rig.count(ALICE).await, 1);
}

#[tokio::test]
async fn c13_a_name_claimed_between_look_and_write_is_409() {
    let (rig, store) = Meddled::rig().await;
    let owner = proto::v1::Distribution {
        id: "E00000000000000".into(),
        aliases: vec!["media.example.com".into()],
        ..Default::default()
    };
    let claim = Transaction::default().put("names/media.example.com", owner.id.clone());
    store.first(claim.put("distributions/E00000000000000", prost::Message::encode_to_vec(&owner)));
    let body = newest("1", true, &aliases(1, &["media.example.com"]));
    let create = call(V2020, Method::POST, &[]).with_body(&body);
    refused(handle(&rig.context, &create).await, 409, "CNAMEAlreadyExists");
    assert_eq!(rig.count(ALICE).await, 0);
}

#[tokio::test]
async fn what_nodes_have_of_it_may_change_under_an_update_without_harm() {
    let (rig, store) = Meddled::rig().await;
    let made = rig.create(V2020, &newest("r", true, "")).await.unwrap();
    let known = documents::distribution(&*rig.context.store, id(&made)).await.unwrap().unwrap();
    let tuned = proto::v1::Distribution { chunk_size_bytes: 65_536, ..known.document.clone() };
    store.first(documents::put_distribution(Some(&known), &tuned).unwrap());
    rig.put_config(V2020, id(&made), etag(&made), &newest("r", false, "")).await.unwrap();
    let nodes = rig.published(id(&made)).await.unwrap();
    assert_eq!((nodes.enabled, nodes.chunk_size_bytes), (false, 65_536));
}

/// Alternately from either replica.
async fn at_once_from_both(rigs: [&Rig; 2], calls: Vec<Call>) -> Vec<Result<Reply, ApiError>> {
    let mut running = JoinSet::new();
    for (at, call) in calls.into_iter().enumerate() {
        let context = rigs[at % 2].context.clone();
        running.spawn(async move { handle(&context, &call).await });
    }
    running.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_over_etcd_answer_races_as_one_would() {
    let (first, second, _etcd) = Rig::replicas().await;
    let rigs = [&first, &second];
    let alias = aliases(1, &["media.example.com"]);

    let old = flat("old", "old.example.com", "c", true);
    let creates = (0..6).map(|_| call(V2009, Method::POST, &[]).with_body(&old)).collect();
    let replies = at_once_from_both(rigs, creates).await;
    let ids: Vec<&str> = replies.iter().map(|reply| id(reply.as_ref().unwrap())).collect();
    assert!(ids.iter().all(|i| *i == ids[0]), "{ids:?}");

    let creates =
        (0..6).map(|_| call(V2020, Method::POST, &[]).with_body(&newest("r", true, &alias))).collect();
    let replies = at_once_from_both(rigs, creates).await;
    assert_eq!(codes(&replies), ["StreamingDistributionAlreadyExists"; 5]);
    let made = replies.into_iter().find_map(Result::ok).unwrap();

    let claims = (0..4).map(|i| {
        let body = newest(&format!("claim-{i}"), true, &aliases(1, &["one.example.com"]));
        call(V2020, Method::POST, &[]).by([ALICE, BOB][i % 2]).with_body(&body)
    });
    let replies = at_once_from_both(rigs, claims.collect()).await;
    assert_eq!(codes(&replies), ["CNAMEAlreadyExists"; 3]);

    let updates = (0..4).map(|_| {
        let body = newest("r", false, "");
        call(V2020, Method::PUT, &[id(&made), "config"]).with_if_match(etag(&made)).with_body(&body)
    });
    let replies = at_once_from_both(rigs, updates.collect()).await;
    assert_eq!(codes(&replies), ["PreconditionFailed"; 3]);
    let off = replies.into_iter().find_map(Result::ok).unwrap();

    // Deployed comes from the store's own revisions, at whichever replica is asked.
    first.deploy().await;
    second.deploy().await;
    assert_eq!(at(&second.get(V2020, id(&made)).await.unwrap(), "Status"), "Deployed");
    let deletes = (0..4).map(|_| call(V2020, Method::DELETE, &[id(&made)]).with_if_match(etag(&off)));
    let replies = at_once_from_both(rigs, deletes.collect()).await;
    assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), 1);
    assert!(
        codes(&replies).iter().all(|c| ["NoSuchStreamingDistribution", "PreconditionFailed"].contains(c))
    );
    assert!(first.context.store.get("names/media.example.com").await.unwrap().is_none());
}

fn hundred(letter: char) -> String {
    let names: Vec<String> = (0..100).map(|i| format!("{letter}{i}.example.com")).collect();
    aliases(100, &names.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_names_are_traded_for_a_hundred_others_within_etcds_bounds() {
    let (rig, _second, _etcd) = Rig::replicas().await;
    let made = rig.create(V2020, &newest("r", true, &hundred('a'))).await.unwrap();
    let traded =
        rig.put_config(V2020, id(&made), etag(&made), &newest("r", false, &hundred('b'))).await.unwrap();
    let claimed = rig.context.store.list("names/").await.unwrap().entries;
    assert_eq!(claimed.len(), 101, "the new names and the domain");
    assert!(claimed.iter().all(|entry| !entry.key.starts_with("names/a")));
    rig.deploy().await;
    rig.delete(id(&made), etag(&traded)).await.unwrap();
    assert!(rig.context.store.list("names/").await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_claim_that_outlived_its_name_gives_way_to_whoever_asks() {
    for rig in Rig::each().await {
        let made = rig.create(V2020, &newest("1", true, "")).await.unwrap();
        // As a process leaves it that ends between a change and its releases.
        for host in ["own.example.com", "other.example.com"] {
            let claim = Transaction::default().put(format!("names/{host}"), id(&made).to_owned());
            rig.context.store.commit(claim).await.unwrap();
        }
        let own = newest("1", true, &aliases(1, &["own.example.com"]));
        let updated = rig.put_config(V2020, id(&made), etag(&made), &own).await.unwrap();
        let other = newest("2", true, &aliases(1, &["other.example.com"]));
        rig.send(call(V2020, Method::POST, &[]).by(BOB).with_body(&other)).await.unwrap();
        // Whoever claimed it has been deleted since: of streaming, and of web.
        let gone = ["E00000000000000", "E00000000000001 111122223333"];
        for (host, claim) in ["gone.example.com", "web.example.com"].into_iter().zip(gone) {
            let claim = Transaction::default().put(format!("names/{host}"), claim);
            rig.context.store.commit(claim).await.unwrap();
        }
        let freed = newest("1", true, &aliases(2, &["gone.example.com", "web.example.com"]));
        rig.put_config(V2020, id(&made), etag(&updated), &freed).await.unwrap();
    }
}
