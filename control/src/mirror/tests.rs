//! Tests of `mirror`.

use super::*;
use crate::client::catalogue::tests::document;
use crate::documents::{self, DISTRIBUTIONS, put_distribution};
use crate::store::{ConfigStore, memory};
use bytes::Bytes;
use prometheus::Registry;
use prost::Message;

struct Running {
    store: Store,
    views: watch::Receiver<Arc<View>>,
    metrics: Metrics,
    _stop: tokio_util::sync::DropGuard,
}

async fn start(store: Store, compare_every: Duration) -> Running {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let views = watch::Sender::new(Arc::new(View::default()));
    let stop = CancellationToken::new();
    let reader = views.subscribe();
    let mirror = Mirror::new(store.clone(), views, metrics.clone(), compare_every, 4);
    tokio::spawn(mirror.run(stop.clone()));
    let mut running = Running { store, views: reader, metrics, _stop: stop.drop_guard() };
    running.until(View::is_loaded).await;
    running
}

impl Running {
    async fn until(&mut self, holds: impl Fn(&View) -> bool) -> Arc<View> {
        let found = tokio::time::timeout(Duration::from_secs(20), self.views.wait_for(|v| holds(v))).await;
        found.expect("in time").unwrap().clone()
    }

    async fn put(&mut self, id: &str, alias: &str) -> Arc<View> {
        let known = documents::distribution(&*self.store, id).await.unwrap();
        let transaction = put_distribution(known.as_ref(), &document(id, alias)).unwrap();
        let revision = self.store.commit(transaction).await.unwrap();
        self.until(|v| v.revision >= revision).await
    }
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn each_transaction_is_one_change_that_names_what_it_follows() {
    let mut mirror = start(memory::open().await.unwrap(), LONG).await;
    let first = mirror.put("E1234567890001", "a.example").await;
    let second = mirror.put("E1234567890002", "b.example").await;
    assert!(second.revision > first.revision);
    let changes: Vec<_> = second.changes_after(first.revision).unwrap().collect();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].after, changes[0].upserts[0].id.as_str()), (first.revision, "E1234567890002"));
    assert_eq!(second.changes_after(second.revision).unwrap().count(), 0);
    // Membership is no config: no revision, no change.
    mirror.store.put_leased("members/x", "".into(), LONG).await.unwrap();
    for i in 0..5 {
        mirror.put("E1234567890002", &format!("{i}.example")).await;
    }
    let view = mirror.views.borrow().clone();
    assert_eq!(view.history.len(), 4);
    assert!(view.changes_after(first.revision).is_none());
}

#[tokio::test]
async fn a_document_written_by_hand_is_published_under_a_new_revision() {
    let mut mirror = start(memory::open().await.unwrap(), LONG).await;
    let before = mirror.views.borrow().revision;
    let doc = document("E1234567890001", "a.example");
    let by_hand = Transaction::default().put(format!("{DISTRIBUTIONS}{}", doc.id), doc.encode_to_vec());
    let written = mirror.store.commit(by_hand).await.unwrap();
    let view = mirror.until(|v| v.revision > before).await;
    assert!(view.revision > written);
    assert_eq!(view.changes_after(before).unwrap().next().unwrap().upserts[0].id, doc.id);
}

#[tokio::test]
async fn a_document_that_cannot_be_read_leaves_its_older_form() {
    let mut mirror = start(memory::open().await.unwrap(), LONG).await;
    mirror.put("E1234567890001", "a.example").await;
    let key = format!("{DISTRIBUTIONS}E1234567890001");
    mirror.store.commit(Transaction::default().put(&key, &b"\xff\xff"[..]).put(HEAD_KEY, "")).await.unwrap();
    let view = mirror.until(|v| !v.damaged.is_empty()).await;
    assert_eq!(view.distributions["E1234567890001"].aliases, ["a.example"]);
    mirror.put_over("E1234567890001", "b.example").await;
    let view = mirror.until(|v| v.damaged.is_empty()).await;
    assert_eq!(view.distributions["E1234567890001"].aliases, ["b.example"]);
}

impl Running {
    async fn put_over(&mut self, id: &str, alias: &str) {
        let doc = document(id, alias);
        let write =
            Transaction::default().put(format!("{DISTRIBUTIONS}{id}"), doc.encode_to_vec()).put(HEAD_KEY, "");
        self.store.commit(write).await.unwrap();
    }
}

/// A store whose watch tells nothing, as if it had lost every event.
struct Mute(Store);

#[async_trait::async_trait]
impl ConfigStore for Mute {
    async fn head(&self) -> Result<crate::store::Head, StoreError> {
        self.0.head().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.0.list(prefix).await
    }
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.0.page(prefix, after, limit).await
    }
    async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError> {
        self.0.commit(transaction).await
    }
    async fn watch(&self, _: u64) -> Result<Watch, StoreError> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move { sender.closed().await });
        Ok(receiver)
    }
    async fn renew_id(&self, old: &str) -> Result<(), StoreError> {
        self.0.renew_id(old).await
    }
    async fn put_leased(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.0.put_leased(key, value, ttl).await
    }
    async fn lease_age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.0.lease_age(key).await
    }
}

#[tokio::test]
async fn what_the_watch_lost_is_found_by_the_periodic_list() {
    let store: Store = Arc::new(Mute(memory::open().await.unwrap()));
    let mut mirror = start(store, Duration::from_millis(50)).await;
    mirror.put("E1234567890001", "a.example").await;
    let known = documents::distribution(&*mirror.store, "E1234567890001").await.unwrap().unwrap();
    mirror.store.commit(documents::delete_distribution(&known)).await.unwrap();
    mirror.until(|v| v.distributions.is_empty()).await;
    assert!(mirror.metrics.repairs.get() >= 2);
}

#[tokio::test]
async fn a_compacted_watch_is_followed_by_a_list() {
    let local = crate::store::memory::open_local().await.unwrap();
    let mut mirror = start(local.clone(), LONG).await;
    // More at once than the watch's queue and the history hold.
    for i in 0..20 {
        let id = format!("E12345678900{i:02}");
        let write = put_distribution(None, &document(&id, &format!("{i}.example"))).unwrap();
        local.commit(write).await.unwrap();
        local.compact().await;
    }
    let view = mirror.until(|v| v.distributions.len() == 20).await;
    let head = local.get(HEAD_KEY).await.unwrap().unwrap().modified;
    let view = if view.revision == head { view } else { mirror.until(|v| v.revision == head).await };
    assert_eq!(view.store_id, local.head().await.unwrap().store_id);
}

#[tokio::test]
async fn documents_of_the_access_logs_make_no_view_and_wake_nobody() {
    let mut mirror = start(memory::open().await.unwrap(), Duration::from_millis(50)).await;
    mirror.put("E1234567890001", "a.example").await;
    mirror.views.mark_unchanged();
    for i in 0..20 {
        let log = Transaction::default().put(format!("log-segments/edge/epoch/{i}"), "x").delete("log-none");
        mirror.store.commit(log).await.unwrap();
    }
    // A change of the config that follows is the next view, however many logs came before it.
    let seen = mirror.views.borrow().store_revision;
    let mixed = Transaction::default().put("log-marks/edge/epoch", "x").put(HEAD_KEY, "");
    let revision = mirror.store.commit(mixed).await.unwrap();
    let view = mirror.until(|v| v.revision == revision).await;
    assert!(view.damaged.is_empty() && view.store_revision >= seen + 21);
    assert_eq!(mirror.metrics.repairs.get(), 0, "the periodic list leaves them out as well");
    assert_eq!(mirror.metrics.damaged.get(), 0);
}
