//! What real clients meet where the operator has set things otherwise: a zone of the house's own, small limits, a role of the shields' own.
//!
//! One cluster for all of it, and for what clients make there that has to be seen at edges: names signed under the id that the API gave a
//! public key, keys and grants of the operator's command. A test that stands an edge still runs alone.

use std::process::Command;
use std::sync::{OnceLock, RwLock};
use std::time::Duration;

use serde_json::Value;
use tests::api::jets3t::{self, Way};
use tests::api::{Api, Keys, aws, unique};
use tests::cluster::Setup;
use tests::wire::{Client, PATIENCE};
use tests::{eventually, media, packets, players, process};

const ZONE: &str = "media.example.net";
/// How soon a change of the config must have reached edges and shields.
const SOON: Duration = Duration::from_secs(60);

/// Who needs all edges has it for reading.
static STILL: RwLock<()> = RwLock::new(());

fn api() -> &'static Api {
    static SHARED: OnceLock<Api> = OnceLock::new();
    SHARED.get_or_init(|| {
        // The API's section is the last of control's file.
        let limits = "{ origin_access_identities: 2, web_distributions: 2, public_keys: 2, key_groups: 1, invalidations_in_progress: 2 }";
        Api::start(Setup {
            control: format!("  limits: {limits}\nzone: {ZONE}\n"),
            shield: "node_role: {access_key_id: 'ID', secret_access_key: 'SECRET'}\n".into(),
            ..Default::default()
        })
    })
}

/// A folder with a key pair: `key.pem` and `pub.pem`.
fn key_pair() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |args: &[&str]| {
        let done = Command::new("openssl").args(args).current_dir(folder.path()).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    openssl(&["genrsa", "-out", "key.pem", "2048"]);
    openssl(&["rsa", "-in", "key.pem", "-pubout", "-out", "pub.pem"]);
    folder
}

fn file(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// `mp4:first.mp4` signed under `id`: by our own command, and by botocore (canned, with a query, by a custom policy).
fn signed(id: &str, key_file: &str) -> Vec<String> {
    let program = process::product("penstock-control");
    let words = ["sign", "--key-pair-id", id, "--private-key-file", key_file, "mp4:first.mp4"];
    let ours = players::run(60, program.to_str().unwrap(), &words).expect(0).stdout.trim_end().to_owned();
    let theirs = aws::offline(&["signer.py", id, key_file, "first.mp4", "fir*"]).expect(0).stdout;
    let all: Vec<String> = theirs.lines().map(|name| format!("mp4:{name}")).chain([ours]).collect();
    assert_eq!(all.len(), 4, "{all:?}");
    all
}

/// rtmpdump at an edge: all of `first.mp4`, or (exit code 1) nothing.
fn plays(edge: usize, host: &str, name: &str) -> bool {
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("o.flv");
    let tc_url = format!("rtmp://{host}/cfx/st");
    let done = players::rtmpdump(api().cluster.rtmp(edge), name, &to, &["-q", "-t", &tc_url]);
    if done.code == 1 {
        assert!(
            std::fs::metadata(&to).map_or(0, |m| m.len()) < 1000,
            "refused, and yet media came: {done:?}"
        );
        return false;
    }
    // 2: the last frame starts before 99.9 % of the duration.
    assert!(matches!(done.code, 0 | 2), "{name}: {done:?}");
    let [wanted, got] = [&media::file("first.mp4"), &to].map(|path| packets::of(path).unwrap());
    assert_eq!(packets::difference(&wanted, &got), None, "{name}");
    true
}

/// What a play brings first at an edge: a status of an error, or media.
fn first_word(edge: usize, host: &str, name: &str) -> String {
    let mut client = Client::open(api().cluster.rtmp(edge));
    client.connect("cfx/st", &format!("rtmp://{host}/cfx/st"), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result", "{host}");
    client.create_stream();
    client.play(1, name, &[0.0]);
    let told = client.wait("media or an error", Duration::from_secs(40), |m| {
        m.is_media() || m.status().is_some_and(|s| s.field("level") == "error")
    });
    told.status_code().unwrap_or_else(|| "media".into())
}

/// What `name` brings first at each edge.
fn words(host: &str, name: &str) -> [String; 2] {
    [0, 1].map(|edge| first_word(edge, host, name))
}

fn both(word: &str) -> [String; 2] {
    [word.to_owned(), word.to_owned()]
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn c01_what_clients_make_where_the_zone_is_another_is_named_in_it_and_plays() {
    let _all = STILL.read().unwrap_or_else(|e| e.into_inner());
    let keys = api().account();
    let is_of = |domain: &str, letter: char| {
        let label = domain.strip_suffix(&format!(".{ZONE}")).unwrap_or_else(|| panic!("{domain}"));
        assert!(label.len() == 14 && label.starts_with(letter), "{domain}");
        assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()), "{domain}");
    };
    // By the client of statement 1, every value as it was sent.
    let (word, ca) = (unique(), api().authority());
    let names = [format!("m1-{word}.example.com"), format!("m2-{word}.example.com")];
    let create = format!("create|media|{word}|{}|Test streaming distribution|true", names.join(","));
    let way = Way::Proxy(api().addr());
    let lines = jets3t::drive("0.7.2", &way, &ca, &keys, &[&create, "wait|$"]);
    let made = &lines[0];
    assert_eq!((made.name.as_str(), made.get("status")), ("create", "InProgress"), "{made:?}");
    is_of(made.get("domain"), 's');
    let values = ["origin", "reference", "cnames", "comment", "enabled"].map(|k| made.get(k).to_owned());
    assert_eq!(
        values,
        ["media.s3.amazonaws.com", &word, &names.join(","), "Test streaming distribution", "true"]
    );
    assert_eq!(lines[1].get("status"), "Deployed");
    let alias = format!("{}.example.com", unique());
    let words = [keys.account.as_str(), &alias];
    let fresh = aws::boto3(api(), &keys, "streaming", "fresh", 1, &words);
    is_of(text(&fresh, "domain"), 's');
    for host in [made.get("domain"), &names[1], text(&fresh, "domain"), &alias] {
        for edge in [0, 1] {
            assert!(plays(edge, host, "mp4:first.mp4"), "{host} at edge {edge}");
        }
    }
    // A name that looks generated is nobody's alias in this zone; in another it is like any.
    let taken = |zone: &str| {
        let body = tests::api::config(
            &unique(),
            tests::api::ORIGIN,
            "",
            &[&format!("s{}.{zone}", "x".repeat(13))],
            "",
            true,
        );
        api().send(tests::api::Request::post("/2020-05-31/streaming-distribution", &body).v4(&keys)).status
    };
    assert_eq!((taken(ZONE), taken("penstock.localhost")), (409, 201));
    // What the file declared in a zone of its own goes on.
    assert!(plays(0, tests::cluster::PUBLIC, "mp4:first.mp4"));
}

#[test]
fn c33_names_signed_under_the_id_that_the_api_gave_a_key_play_until_the_signer_or_the_key_goes() {
    let _all = STILL.read().unwrap_or_else(|e| e.into_inner());
    let (keys, other, pair) = (api().account(), api().account(), key_pair());
    let step = |words: &[&str]| aws::boto3(api(), &keys, "streaming", "signing", 1, words);
    let made = step(&["make", &file(&pair, "pub.pem")]);
    let (id, host, key) = (text(&made, "id"), text(&made, "domain"), text(&made, "key"));
    assert!(key.starts_with('K'), "{key}");
    let names = signed(key, &file(&pair, "key.pem"));
    // Its waiter has said Deployed: nobody has to wait any more, at no edge.
    for edge in [0, 1] {
        for name in &names {
            assert!(plays(edge, host, name), "edge {edge}: {name}");
        }
        assert!(!plays(edge, host, "mp4:first.mp4"), "unsigned, at edge {edge}");
        // Signed by the right key, for another film.
        let last = names[3].replacen("first.mp4", "last.mp4", 1);
        assert_eq!(first_word(edge, host, &last), "NetStream.Failed");
    }
    // Another account signs, which has no key; then this one again; then nobody has to.
    step(&["trust", id, &other.account]);
    names.iter().for_each(|name| assert_eq!(words(host, name), both("NetStream.Failed"), "{name}"));
    step(&["trust", id, "self", &other.account]);
    names.iter().for_each(|name| assert_eq!(words(host, name), both("media"), "{name}"));
    step(&["trust", id]);
    assert_eq!(words(host, "mp4:first.mp4"), both("media"));
    step(&["trust", id, "self"]);
    assert_eq!(words(host, "mp4:first.mp4"), both("NetStream.Failed"));
    assert!(plays(0, host, &names[0]) && plays(1, host, &names[3]));
    // The key goes: what it signed is worth nothing within seconds, and a new play of the same name is refused.
    step(&["forget", key]);
    eventually("the key forgotten at both edges", SOON, || {
        (words(host, &names[0]) == both("NetStream.Failed")).then_some(())
    });
    for edge in [0, 1] {
        assert!(!plays(edge, host, &names[3]), "signed by a key that is gone, at edge {edge}");
    }
}

#[test]
fn c33_a_key_pair_imported_under_its_old_id_signs_until_it_is_removed() {
    let _all = STILL.read().unwrap_or_else(|e| e.into_inner());
    let (keys, pair) = (api().account(), key_pair());
    let id = "APKAEIBAERJR2EXAMPLE";
    let command = |words: &[&str]| api().cluster.control_command(words);
    let public = file(&pair, "pub.pem");
    command(&["signers", "add", &keys.account, "--id", id, "--public-key-file", &public]).expect(0);
    let listed = command(&["signers", "list"]).expect(0).stdout;
    assert!(listed.contains(&format!("{}  {id}", keys.account)), "{listed}");
    let config = tests::api::config(&unique(), tests::api::ORIGIN, "", &[], "", true).replace(
        "<TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners>",
        "<TrustedSigners><Enabled>true</Enabled><Quantity>1</Quantity><Items><AwsAccountNumber>self</AwsAccountNumber></Items></TrustedSigners>",
    );
    let made = api().send(tests::api::Request::post("/2020-05-31/streaming-distribution", &config).v4(&keys));
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(tests::api::text(&made.text(), "KeyPairId"), id);
    let made = tests::api::Made::from(&made);
    api().wait_deployed(&keys, &made.id);
    let names = signed(id, &file(&pair, "key.pem"));
    for edge in [0, 1] {
        for name in &names {
            assert!(plays(edge, &made.domain, name), "edge {edge}: {name}");
        }
        assert!(!plays(edge, &made.domain, "mp4:first.mp4"));
    }
    // What can't be is refused where it is typed, with the reason, and changes nothing.
    let bad = file(&pair, "key.pem");
    for (words, says) in [
        (vec!["signers", "add", &keys.account, "--id", "KABCDEF", "--public-key-file", &public], "API's own"),
        (vec!["signers", "add", &keys.account, "--id", "APKAOTHER", "--public-key-file", &bad], "public key"),
        (vec!["signers", "add", "12", "--id", "APKAOTHER", "--public-key-file", &public], "account"),
        (vec!["signers", "remove", &keys.account, "APKANOPE"], "has no signing key"),
    ] {
        let refused = command(&words);
        assert!(refused.code == 1 && refused.stderr.contains(says), "{words:?}: {refused:?}");
    }
    assert_eq!(words(&made.domain, &names[0]), both("media"));
    command(&["signers", "remove", &keys.account, id]).expect(0);
    eventually("the signer removed at both edges", SOON, || {
        (words(&made.domain, &names[0]) == both("NetStream.Failed")).then_some(())
    });
    assert!(!command(&["signers", "list"]).expect(0).stdout.contains(&keys.account));
}

#[test]
fn c37_a_granted_bucket_is_read_by_the_shields_own_role_until_the_grant_is_taken_back() {
    let _all = STILL.read().unwrap_or_else(|e| e.into_inner());
    let (keys, stranger) = (api().account(), api().account());
    let vault = api().cluster.s3.bucket("vault");
    vault.put("granted.mp4", &std::fs::read(media::file("first.mp4")).unwrap(), &[]);
    let outside = tests::s3::Bucket::new(api().cluster.s3.s3(), "vault", "", "");
    assert_eq!(outside.get("granted.mp4", &[]).status, 403);
    // Both by an identity of their own, made by the API.
    let made = [&keys, &stranger].map(|keys| {
        let identity = aws::json(aws::cli(
            api(),
            keys,
            &[
                "create-cloud-front-origin-access-identity",
                "--cloud-front-origin-access-identity-config",
                &format!("CallerReference={},Comment=vault", unique()),
            ],
        ));
        let identity = text(&identity["CloudFrontOriginAccessIdentity"], "Id").to_owned();
        let made = api().create_with(keys, &unique(), "vault.s3.amazonaws.com", &identity, &[]);
        api().wait_deployed(keys, &made.id);
        made
    });
    let [own, theirs] = [&made[0].domain, &made[1].domain].map(|host| move || words(host, "mp4:granted.mp4"));
    assert_eq!(
        (own(), theirs()),
        (both("NetStream.Failed"), both("NetStream.Failed")),
        "nothing is granted yet"
    );
    let command = |words: &[&str]| api().cluster.control_command(words);
    command(&["grants", "add", &keys.account, "vault"]).expect(0);
    let listed = command(&["grants", "list"]).expect(0).stdout;
    assert!(listed.contains(&format!("{}  vault  read", keys.account)), "{listed}");
    eventually("the grant at the shields", SOON, || (own() == both("media")).then_some(()));
    for edge in [0, 1] {
        let to = tempfile::tempdir().unwrap();
        let to = to.path().join("o.flv");
        let tc_url = format!("rtmp://{}/cfx/st", made[0].domain);
        players::rtmpdump(api().cluster.rtmp(edge), "mp4:granted.mp4", &to, &["-q", "-t", &tc_url]);
        let [wanted, got] = [&media::file("first.mp4"), &to].map(|path| packets::of(path).unwrap());
        assert_eq!(packets::difference(&wanted, &got), None, "edge {edge}");
    }
    // Hot, and the other account's none the less.
    assert_eq!(theirs(), both("NetStream.Failed"));
    // A grant for logs is none for reading.
    command(&["grants", "add", &stranger.account, "vault", "--logs"]).expect(0);
    command(&["grants", "remove", &keys.account, "vault"]).expect(0);
    eventually("the end of the grant", SOON, || (own() == both("NetStream.Failed")).then_some(()));
    assert_eq!(theirs(), both("NetStream.Failed"));
    let refused = command(&["grants", "remove", &keys.account, "vault"]);
    assert!(refused.code == 1 && refused.stderr.contains("vault"), "{refused:?}");
}

#[test]
fn an_account_has_what_the_operator_lets_it_have_and_one_more_is_refused_by_its_code() {
    let _all = STILL.read().unwrap_or_else(|e| e.into_inner());
    let keys = api().account();
    let most = ["identities=2", "distributions=2", "keys=2", "groups=1"];
    aws::boto3(api(), &keys, "neighbours", "limits", 25, &most);
    // Another account has its own.
    aws::boto3(api(), &api().account(), "neighbours", "limits", 25, &most);
}

#[test]
fn c16_while_an_edge_stands_still_nothing_is_deleted_and_only_so_many_invalidations_are_in_progress() {
    let _alone = STILL.write().unwrap_or_else(|e| e.into_inner());
    let keys: Keys = api().account();
    let edge = &api().cluster.edges[1].process;
    edge.signal("STOP");
    let begun = std::panic::catch_unwind(|| {
        let held = aws::boto3(api(), &keys, "streaming", "underway", 13, &[&keys.account]);
        (held, aws::boto3(api(), &keys, "neighbours", "forgetting", 5, &["2"]))
    });
    // Whatever became of it, the others need the edge.
    edge.signal("CONT");
    let (held, forgetting) = begun.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let words = [keys.account.as_str(), text(&held, "id"), text(&held, "etag")];
    aws::boto3(api(), &keys, "streaming", "underway", 1, &words);
    let ids = forgetting["words"].as_array().unwrap().iter().filter_map(Value::as_str);
    let words: Vec<&str> = ["2"].into_iter().chain(ids).collect();
    aws::boto3(api(), &keys, "neighbours", "forgetting", 1, &words);
    eventually("the edge serves again", SOON, || {
        let mut client = Client::open(api().cluster.rtmp(1));
        client.connect("cfx/st", &format!("rtmp://{}/cfx/st", tests::cluster::PUBLIC), &[]);
        (client.wait_answer(1.0, PATIENCE).0 == "_result").then_some(())
    });
}
