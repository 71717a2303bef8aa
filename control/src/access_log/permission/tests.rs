//! Places that were published, are, and never were.

use proto::object::OriginId;
use proto::v1::{Distribution, DistributionKind};

use super::*;
use crate::documents::{delete_distribution, put_distribution};
use crate::store::{Transaction, memory};

const ID: &str = "EGTXBD79H29TRA";
const ALICE: &str = "111111111111";
const BOB: &str = "222222222222";

fn target(bucket: &str, prefix: &str, account: &str) -> LogTarget {
    LogTarget {
        bucket_host: format!("{bucket}.s3.amazonaws.com"),
        prefix: prefix.into(),
        account: account.into(),
    }
}

fn document(account: &str, logging: Option<LogTarget>) -> Distribution {
    Distribution {
        id: ID.into(),
        kind: DistributionKind::Streaming.into(),
        domain: "s5c39gqb8ow64r.penstock.localhost".into(),
        origin_host: "media.s3.amazonaws.com".into(),
        origin_id: OriginId::of("media.s3.amazonaws.com", "").as_str().into(),
        account: account.into(),
        logging,
        ..Default::default()
    }
}

async fn publish(store: &dyn ConfigStore, account: &str, logging: Option<LogTarget>) {
    let known = distribution(store, ID).await.unwrap();
    let transaction = put_distribution(known.as_ref(), &document(account, logging)).unwrap();
    store.commit(transaction).await.unwrap();
}

async fn asked(store: &dyn ConfigStore, id: &str, target: &LogTarget) -> Permission {
    let bucket = target.bucket_host.split('.').next().unwrap();
    may_deliver(store, id, target, bucket).await.unwrap()
}

#[tokio::test]
async fn an_account_logs_only_where_the_operator_lets_it() {
    let store = memory::open().await.unwrap();
    let write = Transaction::default()
        .put(format!("log-grants/{ALICE}/logs"), "")
        .put(format!("log-grants/{BOB}/*"), "")
        // Read access is another matter.
        .put("grants/333333333333/logs", "");
    store.commit(write).await.unwrap();
    for (account, bucket, expected) in [
        ("", "any", Permission::Given),
        (ALICE, "logs", Permission::Given),
        (ALICE, "logs2", Permission::NoGrant),
        (BOB, "any", Permission::Given),
        ("333333333333", "logs", Permission::NoGrant),
    ] {
        let target = target(bucket, "", account);
        publish(&*store, account, Some(target.clone())).await;
        assert_eq!(asked(&*store, ID, &target).await, expected, "{account} {bucket}");
    }
}

#[tokio::test]
async fn records_go_nowhere_that_their_distribution_was_never_told_to_log_to() {
    let store = memory::open().await.unwrap();
    let grants = Transaction::default()
        .put(format!("log-grants/{ALICE}/*"), "")
        .put(format!("log-grants/{BOB}/*"), "");
    store.commit(grants).await.unwrap();
    publish(&*store, ALICE, Some(target("logs", "films", ALICE))).await;
    assert_eq!(asked(&*store, ID, &target("logs", "films", ALICE)).await, Permission::Given);
    for (id, bucket, prefix, account) in [
        ("E000000000NONE", "logs", "films", ALICE),
        ("E000000000NONE", "logs", "films", ""),
        (ID, "logs", "films", ""),
        (ID, "logs", "films", BOB),
        (ID, "other", "films", ALICE),
        (ID, "logs", "other", ALICE),
    ] {
        let target = target(bucket, prefix, account);
        assert_eq!(asked(&*store, id, &target).await, Permission::Unknown, "{id} {target:?}");
    }
}

#[tokio::test]
async fn events_in_flight_are_delivered_after_logging_was_moved_ended_or_its_distribution_deleted() {
    let store = memory::open().await.unwrap();
    let targets = [target("logs", "old", ""), target("logs", "new", "")];
    for logging in [Some(targets[0].clone()), Some(targets[1].clone()), None] {
        publish(&*store, "", logging).await;
    }
    for is_deleted in [false, true] {
        for target in &targets {
            assert_eq!(asked(&*store, ID, target).await, Permission::Given, "{is_deleted}: {target:?}");
        }
        if !is_deleted {
            let known = distribution(&*store, ID).await.unwrap().unwrap();
            store.commit(delete_distribution(&known)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_config_from_before_there_were_such_documents_says_it_with_the_distribution() {
    let store = memory::open().await.unwrap();
    publish(&*store, "", Some(target("logs", "", ""))).await;
    let forget = Transaction::default().delete(log_target_key(ID, &target("logs", "", "")));
    store.commit(forget).await.unwrap();
    assert_eq!(asked(&*store, ID, &target("logs", "", "")).await, Permission::Given);
    assert_eq!(asked(&*store, ID, &target("logs", "x", "")).await, Permission::Unknown);
}
