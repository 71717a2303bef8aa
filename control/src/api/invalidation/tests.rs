//! Invalidations, by the calls that clients make.

use prost::Message;
use proto::object::OriginId;
use proto::v1::Purge;

use super::*;
use crate::api::held::bench::{ALICE, BOB, Bench, answered, at, get as read, post, principal, refused};
use crate::api::web::{self, S3Web, WebConfig};
use crate::api::{Limits, Version};
use crate::documents::PURGES;

const NEW: &str = "2020-05-31";

/// The body of the capture boto3-22, with other paths.
fn body(reference: &str, paths: &[&str]) -> String {
    let items: String = paths.iter().map(|path| format!("<Path>{path}</Path>")).collect();
    format!(
        "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>{}</Quantity><Items>{items}</Items></Paths>\
         <CallerReference>{reference}</CallerReference></InvalidationBatch>",
        paths.len()
    )
}

async fn distribution(bench: &Bench) -> String {
    let web = S3Web {
        caller_reference: "r".into(),
        origin_host: "media.s3.amazonaws.com".into(),
        ..Default::default()
    };
    let config = WebConfig::of_s3(&web, &Limits::default()).unwrap();
    web::create(&bench.context, &principal(ALICE), Version::NEWEST, config, vec![]).await.unwrap().id
}

async fn make(bench: &Bench, id: &str, body: &str) -> Result<Reply, ApiError> {
    handle(&bench.context, &post(ALICE, NEW, &format!("{id}/invalidation"), body)).await
}

/// Prefixes as paths name them, with a `*` at the end.
async fn purges(bench: &Bench) -> Vec<(String, u64)> {
    let entries = bench.context.store.list(PURGES).await.unwrap().entries;
    let mut purges: Vec<(String, u64)> = entries
        .into_iter()
        .map(|entry| {
            let purge = Purge::decode(entry.value).unwrap();
            assert_eq!(
                purge.origin_id,
                OriginId::of("media.s3.amazonaws.com", &format!("public/{ALICE}")).as_str()
            );
            let star = if purge.exact { "" } else { "*" };
            (format!("{}{star}", purge.key_prefix), entry.modified)
        })
        .collect();
    purges.sort();
    purges
}

#[tokio::test]
async fn paths_become_purges_and_are_completed_when_every_node_applied_them() {
    let bench = Bench::new().await;
    let id = distribution(&bench).await;
    bench.deploy().await;
    let (made, reply) = answered(make(&bench, &id, &body("r", &["/a/*", "/b%20c.mp4"])).await, 201);
    let invalidation = at(&made, "Id").to_owned();
    assert_eq!(reply.location, Some(format!("distribution/{id}/invalidation/{invalidation}")));
    assert!(reply.etag.is_none());
    assert_eq!((at(&made, "Status"), at(&made, "CreateTime")), ("InProgress", "2026-11-21T11:00:00.000Z"));
    assert_eq!(at(&made, "InvalidationBatch/Paths/Items/Path"), "/a/*");
    let known = purges(&bench).await;
    assert_eq!(known.iter().map(|(prefix, _)| prefix.as_str()).collect::<Vec<_>>(), ["a/*", "b c.mp4"]);
    let entry =
        bench.context.store.get(&format!("api/invalidation/{ALICE}/{id}/{invalidation}")).await.unwrap();
    assert!(
        known.iter().all(|(_, modified)| *modified == entry.as_ref().unwrap().modified),
        "one transaction"
    );
    let whole = web::get(&bench.context, &principal(ALICE), &id).await.unwrap();
    assert_eq!(whole.invalidations, 1);
    bench.deploy().await;
    let path = format!("{id}/invalidation/{invalidation}");
    let (known, _) = answered(handle(&bench.context, &read(ALICE, NEW, &path)).await, 200);
    assert_eq!(at(&known, "Status"), "Completed");
    assert_eq!(web::get(&bench.context, &principal(ALICE), &id).await.unwrap().invalidations, 0);
    // Nothing of it is there for another account.
    assert_eq!(refused(handle(&bench.context, &read(BOB, NEW, &path)).await), (404, "NoSuchDistribution"));
    let nope = read(ALICE, NEW, &format!("{id}/invalidation/INOPE"));
    assert_eq!(refused(handle(&bench.context, &nope).await), (404, "NoSuchInvalidation"));
}

#[tokio::test]
async fn a_caller_reference_invalidates_once() {
    let bench = Bench::new().await;
    let id = distribution(&bench).await;
    let (first, _) = answered(make(&bench, &id, &body("r", &["/*"])).await, 201);
    let (again, _) = answered(make(&bench, &id, &body("r", &["/*"])).await, 201);
    assert_eq!(at(&again, "Id"), at(&first, "Id"));
    assert_eq!(purges(&bench).await.len(), 1);
    assert_eq!(
        refused(make(&bench, &id, &body("r", &["/a"])).await),
        (409, "InvalidationBatchAlreadyExists")
    );
}

#[tokio::test]
async fn orders_that_pass_a_bound_become_one_for_the_whole_origin_and_then_none() {
    let limits = Limits { invalidation_orders_kept: 3, invalidations_in_progress: 100, ..Limits::default() };
    let bench = Bench::with(limits).await;
    let id = distribution(&bench).await;
    answered(make(&bench, &id, &body("0", &["/a", "/b"])).await, 201);
    bench.until(|view| view.purges.len() == 2).await;
    for n in 1..=4 {
        answered(make(&bench, &id, &body(&n.to_string(), &["/c", "/d"])).await, 201);
        bench.until(|view| view.purges.len() == 2 + n).await;
    }
    let whole = purges(&bench).await.into_iter().filter(|(prefix, _)| prefix == "*").count();
    assert_eq!(whole, 4);
    let refusal = refused(make(&bench, &id, &body("5", &["/c"])).await);
    assert_eq!(refusal, (400, "TooManyInvalidationsInProgress"));
}

#[tokio::test]
async fn what_a_batch_may_not_say_is_refused() {
    let limits = Limits { invalidation_paths: 2, invalidations_in_progress: 1, ..Limits::default() };
    let bench = Bench::with(limits).await;
    let id = distribution(&bench).await;
    let refusal = async |body: &str| refused(make(&bench, &id, body).await);
    assert_eq!(refusal(&body("r", &["/a", "/b", "/c"])).await, (413, "BatchTooLarge"));
    assert_eq!(refusal(&body("r", &[])).await, (400, "InvalidArgument"));
    assert_eq!(refusal(&body("r", &["a"])).await, (400, "InvalidArgument"));
    assert_eq!(refusal(&body("", &["/a"])).await, (400, "InvalidArgument"));
    let wrong = body("r", &["/a"]).replace("<Quantity>1", "<Quantity>2");
    assert_eq!(refusal(&wrong).await, (400, "InconsistentQuantities"));
    assert_eq!(refusal("").await, (400, "MissingBody"));
    assert_eq!(refused(make(&bench, "ENOPE", &body("r", &["/a"])).await), (404, "NoSuchDistribution"));
    assert!(purges(&bench).await.is_empty());
    answered(make(&bench, &id, &body("r", &["/a"])).await, 201);
    assert_eq!(refusal(&body("s", &["/a"])).await, (400, "TooManyInvalidationsInProgress"));
    bench.deploy().await;
    answered(make(&bench, &id, &body("s", &["/a"])).await, 201);
}

#[tokio::test]
async fn long_batches_go_in_parts_and_old_invalidations_are_forgotten() {
    let bench = Bench::new().await;
    let id = distribution(&bench).await;
    let paths: Vec<String> = (0..250).map(|n| format!("/{n:03}.mp4")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let (made, _) = answered(make(&bench, &id, &body("long", &paths)).await, 201);
    let known = purges(&bench).await;
    assert_eq!(known.len(), 250);
    let entry =
        bench.context.store.get(&format!("api/invalidation/{ALICE}/{id}/{}", at(&made, "Id"))).await.unwrap();
    let last = entry.unwrap().modified;
    assert!(known.iter().all(|(_, modified)| *modified <= last), "completed only when all parts are applied");
    bench.deploy().await;
    for n in 0..100 {
        bench.clock.advance_ms(1);
        answered(make(&bench, &id, &body(&format!("r{n}"), &["/a"])).await, 201);
        if n % 10 == 9 {
            bench.deploy().await;
        }
    }
    let (list, _) =
        answered(handle(&bench.context, &read(ALICE, NEW, &format!("{id}/invalidation"))).await, 200);
    assert_eq!((at(&list, "Quantity"), at(&list, "IsTruncated")), ("100", "false"));
    let times: Vec<&str> =
        list.child("Items").unwrap().children.iter().map(|s| at(s, "CreateTime")).collect();
    assert!(times.is_sorted_by(|a, b| a > b), "newest first");
    let gone = read(ALICE, NEW, &format!("{id}/invalidation/{}", at(&made, "Id")));
    assert_eq!(refused(handle(&bench.context, &gone).await), (404, "NoSuchInvalidation"));
}

#[tokio::test]
async fn the_flat_batch_of_2010_is_read_and_answered_flat() {
    let bench = Bench::new().await;
    let id = distribution(&bench).await;
    let flat = "<InvalidationBatch><Path>/a.jpg</Path><Path>/b.jpg</Path><CallerReference>r</CallerReference></InvalidationBatch>";
    let call = post(ALICE, "2010-11-01", &format!("{id}/invalidation"), flat);
    let (made, _) = answered(handle(&bench.context, &call).await, 201);
    assert_eq!(made.child("InvalidationBatch").unwrap().children("Path").count(), 2);
    let (list, _) = answered(
        handle(&bench.context, &read(ALICE, "2010-11-01", &format!("{id}/invalidation"))).await,
        200,
    );
    assert_eq!(at(&list, "InvalidationSummary/Id"), at(&made, "Id"));
    assert!(list.child("Items").is_none());
}
