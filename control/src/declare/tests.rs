//! Tests of `declare`.

use super::*;
use crate::documents;
use crate::store::tests::etcd_process::EtcdProcess;
use crate::store::{Store, Transaction, memory};

const ZONE: &str = "penstock.localhost";

fn set(yaml: &str) -> DeclaredSet {
    serde_yaml_ng::from_str(yaml).unwrap()
}

async fn revision(store: &Store) -> u64 {
    store.head().await.unwrap().revision
}

const TWO: &str = "distributions:
  - {name: films, origin: media.s3.amazonaws.com, aliases: [films.example]}
  - {name: site, kind: web, origin: site.s3.eu-west-1.amazonaws.com, credential: reader}
";

#[test]
fn a_file_that_names_no_list_is_refused_and_an_empty_list_is_one() {
    for text in ["", "{}", "distributions:", "distributions:\n", "distributions: ~", "distributions: ''"] {
        let refused = DeclaredSet::parse(text).unwrap_err().to_string();
        assert!(refused.contains("distributions"), "{text:?}: {refused}");
    }
    assert!(DeclaredSet::parse("distributions: []").unwrap().distributions.is_empty());
}

#[tokio::test]
async fn applying_twice_writes_once_and_ids_stay() {
    let store = memory::open().await.unwrap();
    let first = apply(&*store, &set(TWO), ZONE).await.unwrap();
    assert_eq!((first.created, first.updated, first.deleted), (2, 0, 0));
    let films = &first.distributions[0].1;
    assert!(films.domain.starts_with('s') && films.domain.ends_with(".penstock.localhost"));
    assert!(first.distributions[1].1.domain.starts_with('d'));
    let before = revision(&store).await;
    let second = apply(&*store, &set(TWO), ZONE).await.unwrap();
    assert!(second.is_unchanged());
    assert_eq!(revision(&store).await, before);
    assert_eq!(second.distributions[0].1, *films);
    let changed = TWO.replace("films.example", "cinema.example");
    let third = apply(&*store, &set(&changed), ZONE).await.unwrap();
    assert_eq!((third.created, third.updated), (0, 1));
    assert_eq!(third.distributions[0].1.id, films.id);
    assert!(store.get("names/films.example").await.unwrap().is_none());
    assert_eq!(&store.get("names/cinema.example").await.unwrap().unwrap().value[..], films.id.as_bytes());
}

#[tokio::test]
async fn entries_that_are_gone_are_deleted_and_others_documents_are_not() {
    let store = memory::open().await.unwrap();
    let other = apply(&*store, &set(TWO), ZONE).await.unwrap().distributions[1].1.clone();
    // Made by other means: no record of a file.
    let foreign = Distribution {
        id: "E00000000FOREIGN".chars().take(13).collect(),
        domain: "d0000000000000.penstock.localhost".into(),
        ..other
    };
    store.commit(documents::put_distribution(None, &foreign).unwrap()).await.unwrap();
    let applied = apply(&*store, &set("distributions: []"), ZONE).await.unwrap();
    assert_eq!(applied.deleted, 2);
    let left = store.list("distributions/").await.unwrap().entries;
    assert_eq!(left.len(), 1);
    assert_eq!(store.list("names/").await.unwrap().entries.len(), 1);
    assert!(store.list("declared/").await.unwrap().entries.is_empty());
    // And they can't be taken over.
    let grab = format!("distributions: [{{name: a, id: {}, origin: media.s3.amazonaws.com}}]", foreign.id);
    let error = apply(&*store, &set(&grab), ZONE).await.unwrap_err().to_string();
    assert!(error.contains("'a'") && error.contains("id:"), "{error}");
    let grab = format!(
        "distributions: [{{name: a, domain: {}, kind: web, origin: m3d.s3.amazonaws.com}}]",
        foreign.domain
    );
    let error = apply(&*store, &set(&grab), ZONE).await.unwrap_err().to_string();
    assert!(error.contains("domain:") && error.contains(&foreign.id), "{error}");
}

#[tokio::test]
async fn one_invalid_entry_stops_the_whole_file_and_is_named() {
    let store = memory::open().await.unwrap();
    let before = revision(&store).await;
    let cases = [
        ("origin: nowhere", "origin:"),
        ("origin: media.s3.amazonaws.com, aliases: [Bad]", "aliases:"),
        (
            "origin: media.s3.amazonaws.com, aliases: [films.example]",
            "'films.example' is also a name of 'films'",
        ),
        ("origin: media.s3.amazonaws.com, domain: x.example", "domain:"),
        ("origin: media.s3.amazonaws.com, id: E1", "id:"),
        ("origin: media.s3.amazonaws.com, chunk_size_bytes: 1", "chunk_size_bytes:"),
        ("origin: media.s3.amazonaws.com, swf_verification: [{hash: zz}]", "swf_verification:"),
        ("origin: media.s3.amazonaws.com, logging: {bucket: s3.amazonaws.com}", "logging.bucket:"),
        (
            "origin: media.s3.amazonaws.com, logging: {bucket: logs.s3.amazonaws.com, prefix: ../x}",
            "logging.prefix:",
        ),
    ];
    for (fields, says) in cases {
        let file = format!(
            "distributions:\n  - {{name: films, origin: media.s3.amazonaws.com, aliases: [films.example]}}\n  - {{name: bad, {fields}}}\n"
        );
        let error = apply(&*store, &set(&file), ZONE).await.unwrap_err().to_string();
        assert!(error.contains("'bad'") && error.contains(says), "{error}");
    }
    assert_eq!(revision(&store).await, before);
    let twice =
        "distributions: [{name: a, origin: m3d.s3.amazonaws.com}, {name: a, origin: m3d.s3.amazonaws.com}]";
    assert!(apply(&*store, &set(twice), ZONE).await.unwrap_err().to_string().contains("twice"));
    assert!(serde_yaml_ng::from_str::<DeclaredSet>("{}").is_err());
    assert!(serde_yaml_ng::from_str::<DeclaredSet>("").is_err());
}

#[tokio::test]
async fn entries_may_hand_a_name_over() {
    let store = memory::open().await.unwrap();
    let file = |a: &str, b: &str| {
        set(&format!(
            "distributions:\n  - {{name: a, origin: m3d.s3.amazonaws.com, aliases: [{a}]}}\n  - {{name: b, origin: m3d.s3.amazonaws.com, aliases: [{b}]}}\n"
        ))
    };
    apply(&*store, &file("x.example", "y.example"), ZONE).await.unwrap();
    let moved = apply(&*store, &file("z.example", "x.example"), ZONE).await.unwrap();
    assert_eq!(moved.updated, 2);
    apply(&*store, &file("w.example", "z.example"), ZONE).await.unwrap();
    let id = &moved.distributions[1].1.id;
    assert_eq!(&store.get("names/z.example").await.unwrap().unwrap().value[..], id.as_bytes());
    assert_eq!(store.list("names/").await.unwrap().entries.len(), 4);
}

#[tokio::test]
async fn two_replicas_that_apply_at_once_end_with_one_distribution() {
    let store = memory::open().await.unwrap();
    let set = set(TWO);
    let (a, b) = tokio::join!(apply(&*store, &set, ZONE), apply(&*store, &set, ZONE));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.distributions, b.distributions);
    assert_eq!(store.list("distributions/").await.unwrap().entries.len(), 2);
}

#[tokio::test]
async fn a_given_id_replaces_the_generated_one() {
    let store = memory::open().await.unwrap();
    apply(&*store, &set(TWO), ZONE).await.unwrap();
    let given = TWO.replace("{name: films,", "{name: films, id: E123456789ABCD,");
    let applied = apply(&*store, &set(&given), ZONE).await.unwrap();
    assert_eq!((applied.created, applied.deleted), (1, 1));
    assert_eq!(applied.distributions[0].1.id, "E123456789ABCD");
    assert!(apply(&*store, &set(&given), ZONE).await.unwrap().is_unchanged());
}

#[tokio::test]
async fn logs_are_switched_on_moved_and_off_in_the_operators_name() {
    let store = memory::open().await.unwrap();
    let file = |logging: &str| {
        set(&format!(
            "distributions: [{{name: films, origin: media.s3.amazonaws.com, account: '111122223333'{logging}}}]"
        ))
    };
    let logging = async |fields: &str| {
        let applied = apply(&*store, &file(fields), ZONE).await.unwrap();
        assert!(apply(&*store, &file(fields), ZONE).await.unwrap().is_unchanged());
        applied.distributions[0].1.logging.clone()
    };
    assert_eq!(logging("").await, None);
    let on = logging(", logging: {bucket: Logs.s3.amazonaws.com, prefix: films/}").await.unwrap();
    assert_eq!((on.bucket_host.as_str(), on.prefix.as_str()), ("logs.s3.amazonaws.com", "films/"));
    assert_eq!(on.account, "", "the operator's choice needs no grant of the account");
    let moved = logging(", logging: {bucket: other.s3.amazonaws.com}").await.unwrap();
    assert_eq!((moved.bucket_host.as_str(), moved.prefix.as_str()), ("other.s3.amazonaws.com", ""));
    assert_eq!(logging("").await, None);
    let odd = "distributions: [{name: a, origin: m3d.s3.amazonaws.com, logging: {bucket: a.s3.amazonaws.com, cookies: true}}]";
    assert!(serde_yaml_ng::from_str::<DeclaredSet>(odd).is_err());
}

#[tokio::test]
async fn a_rule_for_swf_files_requires_nodes_that_know_it() {
    let store = memory::open().await.unwrap();
    let hash = "0a".repeat(32);
    let file = format!(
        "distributions: [{{name: films, origin: media.s3.amazonaws.com, video_sample_access: true, required_features: [rtmp], swf_verification: [{{hash: {hash}, size_bytes: 7}}]}}]"
    );
    let applied = apply(&*store, &set(&file), ZONE).await.unwrap();
    let document = &applied.distributions[0].1;
    assert_eq!(document.required_features, ["rtmp", "swf-verification"]);
    assert_eq!(
        (&document.swf_verification[0].hash[..], document.swf_verification[0].size_bytes),
        (&[10; 32][..], 7)
    );
    assert!(document.video_sample_access && !document.audio_sample_access);
    assert!(apply(&*store, &set(&file), ZONE).await.unwrap().is_unchanged());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_names_are_traded_for_a_hundred_others_within_etcds_bounds() {
    let etcd = EtcdProcess::start().await;
    let store = etcd.store("declare");
    let with = |letter: char| {
        let names: Vec<String> = (0..100).map(|i| format!("{letter}{i}.example")).collect();
        let names = names.join(", ");
        let to = "logging: {bucket: logs.s3.amazonaws.com}";
        set(&format!(
            "distributions: [{{name: films, origin: media.s3.amazonaws.com, aliases: [{names}], {to}}}]"
        ))
    };
    let made = apply(&*store, &with('a'), ZONE).await.unwrap();
    let id = made.distributions[0].1.id.clone();
    assert_eq!(apply(&*store, &with('b'), ZONE).await.unwrap().updated, 1);
    let names = store.list("names/").await.unwrap().entries;
    assert_eq!(names.len(), 101, "the new names and the domain");
    assert!(names.iter().all(|entry| !entry.key.starts_with("names/a")));
    // As a process leaves them that ends between a change and its releases.
    for i in 0..100 {
        let claim = Transaction::default().put(format!("names/a{i}.example"), id.clone());
        store.commit(claim).await.unwrap();
    }
    assert_eq!(apply(&*store, &with('a'), ZONE).await.unwrap().updated, 1);
    assert_eq!(store.list("names/").await.unwrap().entries.len(), 101);
    assert_eq!(apply(&*store, &set("distributions: []"), ZONE).await.unwrap().deleted, 1);
    assert!(store.list("names/").await.unwrap().entries.is_empty());
}
