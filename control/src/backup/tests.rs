//! Backups: there and back, whole or refused.

use super::*;
use crate::client::catalogue::tests::document;
use crate::store::{Store, memory};

async fn filled() -> Store {
    let store = memory::open().await.unwrap();
    for i in 0..250 {
        let id = format!("E{i:013}");
        let document = document(&id, &format!("{i}.example"));
        let write = Transaction::default()
            .put(format!("distributions/{id}"), document.encode_to_vec())
            .put(format!("names/{i}.example"), format!("E{i:013}"))
            .put(HEAD_KEY, "");
        store.commit(write).await.unwrap();
    }
    let own =
        Transaction::default().put("members/edge-1", "x").put("roster/edge-1", "x").put("deployed", "x");
    store.commit(own).await.unwrap();
    store
}

async fn config(store: &Store) -> Vec<(String, Bytes)> {
    export(&**store).await.unwrap().1.into_iter().map(|e| (e.key, e.value)).collect()
}

#[tokio::test]
async fn what_is_exported_comes_back_under_a_new_store_id() {
    let from = filled().await;
    let (head, entries) = export(&*from).await.unwrap();
    assert_eq!(entries.len(), 500);
    let text = file::write(&head.store_id, head.revision, entries.iter().map(|e| (&*e.key, &e.value[..])));
    let documents = file::read(&text).unwrap();

    let to = memory::open().await.unwrap();
    let before = to.head().await.unwrap().store_id;
    // Control has been there before.
    to.commit(Transaction::default().put(CERTIFICATE_AUTHORITY, "made at the first start")).await.unwrap();
    let imported = import(&*to, &documents, false).await.unwrap();
    assert_eq!(imported, Imported { documents: 500, deleted: 0 });
    let kept = |e: &(String, Bytes)| e.0 != CERTIFICATE_AUTHORITY;
    assert!(config(&to).await.into_iter().filter(kept).eq(config(&from).await));
    let after = to.head().await.unwrap().store_id;
    assert!(after != before && after != head.store_id);
    // Again: nothing stands in its way, as after one that broke off.
    import(&*to, &documents, false).await.unwrap();
}

#[tokio::test]
async fn a_store_with_another_config_is_replaced_only_when_told() {
    let documents = config(&filled().await).await;
    let to = memory::open().await.unwrap();
    to.commit(Transaction::default().put("distributions/EOTHER", "x")).await.unwrap();
    assert!(matches!(import(&*to, &documents, false).await, Err(ImportError::NotEmpty { .. })));
    assert_eq!(config(&to).await.len(), 1);
    let imported = import(&*to, &documents, true).await.unwrap();
    assert_eq!(imported.deleted, 1);
    assert_eq!(config(&to).await, documents);
}

#[tokio::test]
async fn grants_for_logs_are_the_operators_and_the_ledger_of_logs_is_not() {
    let store = memory::open().await.unwrap();
    let write = Transaction::default()
        .put("log-grants/111122223333/logs", "g")
        .put("grants/111122223333/media", "g")
        .put("log-segments/edge-1/0123456789abcdef/1", "s")
        .put("log-groups/E1/1/x", "l")
        .put("log-targets/E1/x", "w")
        .put("log-totals/E1", "t");
    store.commit(write).await.unwrap();
    let keys: Vec<String> = config(&store).await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["grants/111122223333/media", "log-grants/111122223333/logs", "log-targets/E1/x"]);
}

#[tokio::test]
async fn places_that_were_logged_to_stay_known_and_are_no_config_that_would_be_replaced() {
    let to = memory::open().await.unwrap();
    to.commit(Transaction::default().put("log-targets/E1/x", "w")).await.unwrap();
    for replace in [false, true] {
        let imported = import(&*to, &[], replace).await.unwrap();
        assert_eq!(imported, Imported::default());
        assert!(to.get("log-targets/E1/x").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn keys_that_are_no_config_are_refused() {
    let to = memory::open().await.unwrap();
    for key in ["members/x", "store_id", "head", "deployed", "else"] {
        let documents = [(key.to_owned(), Bytes::new())];
        assert!(matches!(import(&*to, &documents, true).await, Err(ImportError::Key(k)) if k == key));
    }
}

#[tokio::test]
async fn a_distribution_that_no_node_would_take_stops_the_import() {
    let to = memory::open().await.unwrap();
    let good = document("E1234567890123", "a.example");
    let strange = Distribution { domain: "no domain".into(), ..good.clone() };
    for bytes in [Bytes::from_static(b"\xff\xff garbage"), strange.encode_to_vec().into()] {
        let documents =
            [("names/a.example".to_owned(), Bytes::new()), (format!("distributions/{}", good.id), bytes)];
        assert!(matches!(import(&*to, &documents, true).await, Err(ImportError::Unreadable(_))));
        assert!(config(&to).await.is_empty());
    }
}

#[test]
fn a_file_that_was_changed_or_cut_short_is_refused() {
    let text = file::write("s", 7, [("a", &b"one"[..]), ("b", b"two")]);
    assert_eq!(file::read(&text).unwrap().len(), 2);
    for cut in 0..text.len() {
        if text.is_char_boundary(cut) && cut != text.len() - 1 {
            assert!(file::read(&text[..cut]).is_err(), "{cut}");
        }
    }
    assert!(file::read(&text.replace("\"b\"", "\"c\"")).is_err());
    assert!(file::read(&text.replace("backup\":1", "backup\":2")).unwrap_err().reason.contains("format 2"));
}
