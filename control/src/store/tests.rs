//! One suite for every store.

use super::*;
use crate::store::tests::etcd_process::EtcdProcess;

pub(crate) mod etcd_process;

const LONG: Duration = Duration::from_secs(10);

async fn next(watch: &mut Watch) -> Change {
    tokio::time::timeout(LONG, watch.recv()).await.expect("a change in time").expect("a live watch").unwrap()
}

fn is_conflict<T>(result: Result<T, StoreError>, at: &str) -> bool {
    matches!(result, Err(StoreError::Conflict { key }) if key == at)
}

async fn documents_are_written_by_compare_and_set(store: &Store) {
    assert!(store.get("a/1").await.unwrap().is_none());
    let first = store.commit(Transaction::default().when("a/1", 0).put("a/1", "one")).await.unwrap();
    let entry = store.get("a/1").await.unwrap().unwrap();
    assert_eq!((entry.modified, &entry.value[..]), (first, &b"one"[..]));
    // Both conditions must hold, and a failed transaction changes nothing.
    let raced = Transaction::default().when("a/2", 0).when("a/1", 0).put("a/2", "two").put("a/1", "x");
    assert!(is_conflict(store.commit(raced).await, "a/1"));
    assert!(store.get("a/2").await.unwrap().is_none());
    let second = store
        .commit(Transaction::default().when("a/1", first).put("a/1", "uno").put("a/2", ""))
        .await
        .unwrap();
    assert!(second > first);
    assert!(is_conflict(store.commit(Transaction::default().when("a/1", first).delete("a/1")).await, "a/1"));
    store.commit(Transaction::default().when("a/1", second).delete("a/1").delete("a/absent")).await.unwrap();
    assert!(store.get("a/1").await.unwrap().is_none());
}

async fn lists_are_whole_sorted_and_at_one_revision(store: &Store) {
    for i in (0..600).rev() {
        store.commit(Transaction::default().put(format!("list/{i:03}"), "x")).await.unwrap();
    }
    store.commit(Transaction::default().put("lisu", "not below the prefix")).await.unwrap();
    let listing = store.list("list/").await.unwrap();
    assert_eq!(listing.entries.len(), 600);
    assert!(listing.entries.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(listing.entries.iter().all(|e| e.modified <= listing.head.revision));
    assert_eq!(listing.head, store.head().await.unwrap());
    let others = store.list_but("list/").await.unwrap();
    assert_eq!(others.head, listing.head);
    assert!(others.entries.iter().any(|e| e.key == "lisu") && others.entries.iter().any(|e| e.key == "a/2"));
    assert!(others.entries.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(!others.entries.iter().any(|e| e.key.starts_with("list/")));
    let all = store.list("").await.unwrap();
    assert_eq!(all.entries.len(), listing.entries.len() + others.entries.len());
    assert!(
        all.entries.iter().any(|e| e.key == STORE_ID_KEY) && all.entries.iter().any(|e| e.key == HEAD_KEY)
    );
}

async fn pages_are_bounded_sorted_and_go_on_after_a_key(store: &Store) {
    let keys = |entries: Vec<Entry>| entries.into_iter().map(|e| e.key).collect::<Vec<_>>();
    let all: Vec<String> = (0..600).map(|i| format!("list/{i:03}")).collect();
    assert_eq!(keys(store.page("list/", "", 2).await.unwrap()), all[..2]);
    assert_eq!(keys(store.page("list/", "list/001", 300).await.unwrap()), all[2..302]);
    assert_eq!(keys(store.page("list/", "list/5980", 9).await.unwrap()), all[599..]);
    assert!(store.page("list/", "list/599", 9).await.unwrap().is_empty());
    assert!(store.page("list/", "lisu", 9).await.unwrap().is_empty());
    assert!(store.page("list/", "", 0).await.unwrap().is_empty());
}

async fn large_documents_are_listed_in_as_many_answers_as_they_need(store: &Store) {
    let large = vec![b'x'; 1 << 20];
    for i in 0..9 {
        store.commit(Transaction::default().put(format!("large/{i}"), large.clone())).await.unwrap();
    }
    assert_eq!(store.list("large/").await.unwrap().entries.len(), 9);
    assert_eq!(store.page("large/", "large/1", 5).await.unwrap().len(), 5);
    let whole = store.list("").await.unwrap();
    assert!(whole.entries.iter().filter(|e| e.value.len() == large.len()).count() == 9);
    // A watch that catches up gets them all.
    let mut watch = store.watch(whole.head.revision - 9).await.unwrap();
    for i in 0..9 {
        assert_eq!(next(&mut watch).await.puts[0].key, format!("large/{i}"));
    }
    let delete = (0..9).fold(Transaction::default(), |t, i| t.delete(format!("large/{i}")));
    store.commit(delete).await.unwrap();
}

async fn a_watch_brings_each_revision_once_and_whole(store: &Store) {
    let start = store.commit(Transaction::default().put("w/old", "x")).await.unwrap();
    let first = store.commit(Transaction::default().put("w/1", "one").put("w/2", "two")).await.unwrap();
    let mut watch = store.watch(start).await.unwrap();
    let second = store.commit(Transaction::default().delete("w/1").put("w/3", "three")).await.unwrap();
    let change = next(&mut watch).await;
    assert_eq!(change.revision, first);
    let mut keys: Vec<&str> = change.puts.iter().map(|e| e.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["w/1", "w/2"]);
    let change = next(&mut watch).await;
    assert_eq!((change.revision, change.deletes), (second, vec!["w/1".to_owned()]));
    assert_eq!((change.puts[0].key.as_str(), &change.puts[0].value[..]), ("w/3", &b"three"[..]));
}

async fn leases_are_renewed_without_a_revision_and_lapse(store: &Store) {
    let ttl = Duration::from_secs(2);
    store.put_leased("m/1", "a".into(), ttl).await.unwrap();
    let before = store.head().await.unwrap().revision;
    store.put_leased("m/1", "a".into(), ttl).await.unwrap();
    assert_eq!(store.head().await.unwrap().revision, before);
    assert!(store.lease_age("m/1").await.unwrap().unwrap() <= ttl);
    assert!(store.lease_age("m/none").await.unwrap().is_none());
    store.put_leased("m/1", "b".into(), ttl).await.unwrap();
    let changed = store.get("m/1").await.unwrap().unwrap();
    assert!(changed.modified > before && &changed.value[..] == b"b");
    let mut watch = store.watch(changed.modified).await.unwrap();
    assert_eq!(next(&mut watch).await.deletes, ["m/1"]);
    assert!(store.get("m/1").await.unwrap().is_none());
    // After it lapsed, the same value is news again.
    store.put_leased("m/1", "b".into(), ttl).await.unwrap();
    assert!(store.get("m/1").await.unwrap().is_some());
    store.commit(Transaction::default().put_for("p/1", "x", ttl)).await.unwrap();
    assert!(store.lease_age("p/1").await.unwrap().is_some());
}

async fn the_store_id_changes_only_for_who_knows_it(store: &Store) {
    let id = store.head().await.unwrap().store_id;
    store.renew_id("another").await.unwrap();
    assert_eq!(store.head().await.unwrap().store_id, id);
    store.renew_id(&id).await.unwrap();
    assert_ne!(store.head().await.unwrap().store_id, id);
}

async fn conforms(store: Store) {
    documents_are_written_by_compare_and_set(&store).await;
    lists_are_whole_sorted_and_at_one_revision(&store).await;
    pages_are_bounded_sorted_and_go_on_after_a_key(&store).await;
    large_documents_are_listed_in_as_many_answers_as_they_need(&store).await;
    a_watch_brings_each_revision_once_and_whole(&store).await;
    leases_are_renewed_without_a_revision_and_lapse(&store).await;
    the_store_id_changes_only_for_who_knows_it(&store).await;
}

#[tokio::test]
async fn the_memory_store_conforms() {
    conforms(memory::open().await.unwrap()).await;
}

#[tokio::test]
async fn the_redb_store_conforms_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/config.redb");
    let store = redb::open(&path).await.unwrap();
    conforms(store.clone()).await;
    store.put_leased("m/heartbeat", "x".into(), Duration::from_secs(8)).await.unwrap();
    store.commit(Transaction::default().put_for("p/day", "x", Duration::from_secs(86_400))).await.unwrap();
    let head = store.head().await.unwrap();
    let kept = store.get("list/007").await.unwrap();
    drop(store);
    // The sweep may hold the store for a moment more.
    let store = loop {
        match redb::open(&path).await {
            Ok(store) => break store,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let again = store.head().await.unwrap();
    assert_eq!(again.store_id, head.store_id);
    assert!(again.revision > head.revision);
    assert_eq!(store.get("list/007").await.unwrap(), kept);
    assert!(store.get("m/heartbeat").await.unwrap().is_none());
    assert!(store.get("p/day").await.unwrap().is_some());
    let mut watch = store.watch(1).await.unwrap();
    assert_eq!(watch.recv().await.unwrap(), Err(WatchEnd::Compacted));
}

#[tokio::test]
async fn a_write_to_a_file_ends_though_its_caller_hangs_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = redb::open(&dir.path().join("config.redb")).await.unwrap();
    let before = store.head().await.unwrap().revision;
    let mut commit = Box::pin(store.commit(Transaction::default().when("k", 0).put("k", "v")));
    let hung_up = futures::poll!(commit.as_mut()).is_pending();
    drop(commit);
    assert!(hung_up, "the file is written by another thread");
    tokio::time::timeout(LONG, async {
        while store.get("k").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("memory has what the file has");
    assert_eq!(store.head().await.unwrap().revision, before + 1);
    assert!(is_conflict(store.commit(Transaction::default().when("k", 0).put("k", "w")).await, "k"));
}

#[tokio::test]
async fn the_etcd_store_conforms() {
    let etcd = EtcdProcess::start().await;
    conforms(etcd.store("conforms")).await;
}

#[tokio::test]
async fn etcd_compaction_ends_a_watch_that_is_behind() {
    let etcd = EtcdProcess::start().await;
    let store = etcd.store("compaction");
    let mut newest = 0;
    for i in 0..5 {
        newest = store.commit(Transaction::default().put("k", i.to_string())).await.unwrap();
    }
    let mut client = etcd_client::Client::connect([etcd.endpoint()], None).await.unwrap();
    client.compact(newest as i64, None).await.unwrap();
    let mut watch = store.watch(1).await.unwrap();
    let end = tokio::time::timeout(LONG, watch.recv()).await.unwrap().unwrap();
    assert_eq!(end, Err(WatchEnd::Compacted));
}

#[tokio::test]
async fn a_killed_etcd_is_away_and_comes_back_by_itself() {
    let mut etcd = EtcdProcess::start().await;
    let store = etcd.store("killed");
    store.commit(Transaction::default().put("k", "v")).await.unwrap();
    let head = store.head().await.unwrap();
    let mut watch = store.watch(head.revision).await.unwrap();
    etcd.kill().await;
    assert_eq!(tokio::time::timeout(LONG * 3, watch.recv()).await.unwrap().unwrap(), Err(WatchEnd::Lost));
    assert!(matches!(store.head().await, Err(StoreError::Away(_))));
    etcd.restart().await;
    assert_eq!(store.head().await.unwrap().store_id, head.store_id);
    assert_eq!(&store.get("k").await.unwrap().unwrap().value[..], b"v");
}
