//! Two accounts of one cluster: neither sees, touches or reads what is the other's.

use std::time::Duration;

use tests::api::{Api, Keys, Request, assert_refused, aws, config, text, unique};
use tests::eventually;
use tests::wire::{Client, PATIENCE};

const LIST: &str = "/2020-05-31/streaming-distribution";
const VAULT: &str = "vault.s3.amazonaws.com";

#[test]
fn another_accounts_resources_do_not_exist() {
    let api = Api::shared();
    let (owner, stranger) = (api.account(), api.account());
    let facts = aws::boto3(api, &owner, "neighbours", "belongings", 1, &[]);
    let mut words = vec![owner.account.as_str()];
    words.extend(facts["words"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()));
    aws::boto3(api, &stranger, "neighbours", "elsewhere", 70, &words);
    // Nothing of the owner's has changed.
    let got = api.send(Request::get(&format!("{LIST}/{}", words[1])).v4(&owner));
    assert_eq!((got.status, got.header("etag")), (200, Some(words[2])));
}

#[test]
fn a_name_is_unique_across_accounts_and_the_refusal_names_nobody() {
    let api = Api::shared();
    let (first, second) = (api.account(), api.account());
    let name = format!("{}.example.com", unique());
    let made = api.create(&first, &[&name]);
    let body = config(&unique(), tests::api::ORIGIN, "", &[&name], "", true);
    let refused = api.send(Request::post(LIST, &body).v4(&second));
    assert_refused(&refused, 409, "CNAMEAlreadyExists");
    let said = refused.text();
    assert!(!said.contains(&made.id) && !said.contains(&first.account), "{said}");
    // A reference is the account's own: the other may use the same.
    let reference = unique();
    let ids = [&first, &second].map(|k| api.create_with(k, &reference, tests::api::ORIGIN, "", &[]).id);
    assert_ne!(ids[0], ids[1]);
}

/// Gives the code with which `name` starts or fails on a distribution's domain, at an edge.
fn play(addr: &str, domain: &str, name: &str) -> String {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{domain}/cfx/st"), &[]);
    if client.wait_answer(1.0, PATIENCE).0 != "_result" {
        return "refused".into();
    }
    let stream = client.create_stream();
    client.play(stream, name, &[0.0, -1.0]);
    let found = client.wait("a status", Duration::from_secs(30), |m| {
        m.status_code()
            .is_some_and(|c| c == "NetStream.Play.Start" || c.contains("NotFound") || c.contains("Fail"))
    });
    let code = found.status_code().unwrap();
    if code == "NetStream.Play.Start" {
        client.wait("media", Duration::from_secs(30), |m| matches!(m.type_id, 8 | 9) && m.payload.len() > 5);
    }
    code
}

fn identity(api: &Api, keys: &Keys) -> String {
    let body = format!(
        "<CloudFrontOriginAccessIdentityConfig><CallerReference>{}</CallerReference><Comment/></CloudFrontOriginAccessIdentityConfig>",
        unique()
    );
    let path = "/2020-05-31/origin-access-identity/cloudfront";
    let made = api.send(Request::post(path, &body).v4(keys));
    assert_eq!(made.status, 201, "{}", made.text());
    text(&made.text(), "Id").to_owned()
}

#[test]
fn c37_a_private_bucket_plays_for_the_identity_that_may_read_it_and_for_no_other_account_while_its_blocks_are_hot()
 {
    let api = Api::shared();
    let vault = api.cluster.s3.bucket("vault");
    vault.put("secret.flv", &std::fs::read(tests::media::file("film.flv")).unwrap(), &[]);
    assert_eq!(
        tests::http::get(api.cluster.s3.s3(), "/vault/secret.flv").unwrap().status,
        403,
        "it is private"
    );
    let (owner, stranger) = (api.account(), api.account());
    let own = identity(api, &owner);
    let (id, secret) = api.cluster.s3.keys();
    // The owner's identity has S3 keys that may read the bucket.
    let file = api.cluster.folder().join("oai-secret");
    std::fs::write(&file, secret).unwrap();
    let words = ["oai", "set-keys", &own, "--access-key-id", id, "--secret-key-file", file.to_str().unwrap()];
    api.cluster.control_command(&words).expect(0);
    let mine = api.create_with(&owner, &unique(), VAULT, &own, &[]);
    let without = api.create_with(&owner, &unique(), VAULT, "", &[]);
    // The stranger names the same bucket: with no identity, and with one of its own that nobody gave anything.
    let theirs = api.create_with(&stranger, &unique(), VAULT, "", &[]);
    let stolen = identity(api, &stranger);
    let with_own = api.create_with(&stranger, &unique(), VAULT, &stolen, &[]);
    let borrowed = config(&unique(), VAULT, &own, &[], "", true);
    let refused = api.send(Request::post(LIST, &borrowed).v4(&stranger));
    assert_refused(&refused, 400, "InvalidOriginAccessIdentity");
    for (keys, made) in [(&owner, &mine), (&owner, &without), (&stranger, &theirs), (&stranger, &with_own)] {
        api.wait_deployed(keys, &made.id);
    }
    for edge in [0, 1] {
        let addr = api.cluster.rtmp(edge);
        eventually("the owner's plays", Duration::from_secs(30), || {
            (play(addr, &mine.domain, "secret") == "NetStream.Play.Start").then_some(())
        });
        // Its blocks are hot now, in this edge and in the shields.
        for made in [&without, &theirs, &with_own] {
            let code = play(addr, &made.domain, "secret");
            assert_ne!(code, "NetStream.Play.Start", "edge {edge}, {}", made.id);
        }
        assert_eq!(play(addr, &mine.domain, "secret"), "NetStream.Play.Start", "edge {edge}: still hot");
    }
}
