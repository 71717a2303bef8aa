//! Names of web distributions: many at once, and claims that outlive them.

use super::*;
use crate::store::Transaction;
use crate::store::tests::etcd_process::EtcdProcess;

fn with_aliases(reference: &str, names: &[String]) -> String {
    let items: String = names.iter().map(|name| format!("<CNAME>{name}</CNAME>")).collect();
    let aliases =
        format!("<Aliases><Quantity>{}</Quantity><Items>{items}</Items></Aliases><Origins>", names.len());
    config(&[("web-1", reference), ("<Origins>", &aliases)])
}

fn hundred(letter: char) -> Vec<String> {
    (0..100).map(|i| format!("{letter}{i}.example.com")).collect()
}

/// The same over an origin that is no bucket, so that nodes get nothing of it.
fn unpublished(body: &str) -> String {
    let custom = "<CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>443</HTTPSPort><OriginProtocolPolicy>http-only</OriginProtocolPolicy></CustomOriginConfig>";
    body.replace("<S3OriginConfig><OriginAccessIdentity /></S3OriginConfig>", custom)
        .replace("media.s3.amazonaws.com", "origin.example.com")
}

/// What nodes get, and what they don't.
const FORMS: [fn(&str) -> String; 2] = [str::to_owned, unpublished];

async fn claimed(bench: &Bench) -> Vec<String> {
    let entries = bench.context.store.list(NAMES).await.unwrap().entries;
    entries.into_iter().map(|entry| entry.key[NAMES.len()..].to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_names_are_traded_for_a_hundred_others_within_etcds_bounds() {
    let etcd = EtcdProcess::start().await;
    let bench = Bench::over(etcd.store("web"), Limits::default());
    for form in FORMS {
        let (id, etag) = made(&bench, &form(&with_aliases("r", &hundred('a')))).await;
        let path = format!("{id}/config");
        let traded = form(&with_aliases("r", &hundred('b'))).replace("<Enabled>true", "<Enabled>false");
        let (_, reply) = answered(handle(&bench.context, &put(ALICE, NEW, &path, &etag, &traded)).await, 200);
        let now = claimed(&bench).await;
        assert_eq!(now.len(), 101, "the new names and the domain");
        assert!(now.iter().all(|name| !name.starts_with('a')), "{now:?}");
        bench.deploy().await;
        answered(handle(&bench.context, &delete_call(ALICE, NEW, &id, &reply.etag.unwrap())).await, 204);
        assert!(claimed(&bench).await.is_empty());
    }
}

#[tokio::test]
async fn claims_that_outlived_their_names_give_way_to_whoever_asks() {
    for form in FORMS {
        let bench = Bench::new().await;
        let kept = ["kept.example.com".to_owned()];
        let (id, etag) = made(&bench, &form(&with_aliases("r", &kept))).await;
        // As a process leaves them that ends between a change and its releases.
        let left = hundred('l');
        for host in &left {
            let claim = crate::api::names::claim_of_web(&id, ALICE);
            bench.commit(Transaction::default().put(format!("{NAMES}{host}"), claim)).await;
        }
        // Another account takes one of them, the distribution itself the others again.
        answered(make(&bench, BOB, NEW, &with_aliases("r", &left[..1])).await, 201);
        let path = format!("{id}/config");
        let again = put(ALICE, NEW, &path, &etag, &form(&with_aliases("r", &left[1..])));
        answered(handle(&bench.context, &again).await, 200);
        // What somebody has, nobody gets.
        let taken = make(&bench, BOB, NEW, &with_aliases("other", &left[1..2])).await;
        assert_eq!(refused(taken), (409, "CNAMEAlreadyExists"));
        // A declared distribution gets what is free and no more.
        let declare = async |alias: &str| {
            let yaml = format!(
                "distributions: [{{name: films, origin: media.s3.amazonaws.com, aliases: [{alias}]}}]"
            );
            let set = crate::declare::DeclaredSet::parse(&yaml).unwrap();
            crate::declare::apply(&*bench.context.store, &set, "penstock.localhost").await
        };
        let stale = crate::api::names::claim_of_web(&id, ALICE);
        bench.commit(Transaction::default().put(format!("{NAMES}stale.example.com"), stale)).await;
        declare("stale.example.com").await.unwrap();
        let error = declare(&left[1]).await.unwrap_err().to_string();
        assert!(error.contains(&format!("belongs to distribution {id}")), "{error}");
    }
}

#[tokio::test]
async fn a_claim_of_before_claims_said_an_account_is_told_by_what_nodes_get() {
    let bench = Bench::new().await;
    let (id, _) = made(&bench, &with_aliases("r", &["www.example.com".to_owned()])).await;
    let old = |host: &str| Transaction::default().put(format!("{NAMES}{host}"), id.clone());
    for host in ["www.example.com", "stale.example.com"] {
        bench.commit(old(host)).await;
    }
    let taken = make(&bench, BOB, NEW, &with_aliases("r", &["www.example.com".to_owned()])).await;
    assert_eq!(refused(taken), (409, "CNAMEAlreadyExists"));
    answered(make(&bench, BOB, NEW, &with_aliases("r", &["stale.example.com".to_owned()])).await, 201);
    // One that nodes got nothing of is found by its resource.
    let hidden = ["hidden.example.com".to_owned()];
    let (id, _) = made(&bench, &unpublished(&with_aliases("hidden", &hidden))).await;
    bench.commit(Transaction::default().put(format!("{NAMES}{}", hidden[0]), id)).await;
    let taken = make(&bench, BOB, NEW, &with_aliases("other", &hidden)).await;
    assert_eq!(refused(taken), (409, "CNAMEAlreadyExists"));
}
