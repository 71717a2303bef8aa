//! The operator's commands on a cluster whose control follows no file: apply, purge, export and import, and the recipe of the README.
//!
//! The tests share the cluster and take turns, because each changes all of the config. Calls that the command line wouldn't make (it refuses
//! tokens of other roles by itself) are made by curl, which speaks HTTP/2; gRPC's five bytes before a message are put there by hand.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tests::api::{Api, Keys, Request, aws, unique};
use tests::cluster::{PUBLIC, READER, Setup};
use tests::players::Outcome;
use tests::process::product;
use tests::tokens::{MASTER, derived};
use tests::wire::{Client, PATIENCE};
use tests::{etcd, eventually, http, media, packets, players};

/// How soon a change must have reached edges and shields.
const SOON: Duration = Duration::from_secs(60);
/// The distribution behind [`READER`], and its bucket.
const READER_ID: &str = "E000000000004";
const READER_BUCKET: &str = "vault";

fn api() -> &'static Api {
    static SHARED: OnceLock<Api> = OnceLock::new();
    SHARED.get_or_init(|| Api::start(Setup { applied: true, ..Default::default() }))
}

/// One test at a time has the config for itself.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|e| e.into_inner())
}

fn command(words: &[&str]) -> Outcome {
    api().cluster.control_command(words)
}

/// The cluster's own entries, which the tests put theirs behind.
fn own_entries() -> String {
    std::fs::read_to_string(api().cluster.folder().join("distributions.yaml")).unwrap()
}

/// A file in the cluster's folder.
fn written(name: &str, text: &str) -> String {
    let path = api().cluster.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Applies the cluster's own entries and these, a line each.
fn apply(entries: &str) -> Outcome {
    command(&["apply", "-f", &written("applied.yaml", &format!("{}{entries}", own_entries()))])
}

/// What an export says the config is, without where it was taken and its sum.
fn config() -> BTreeSet<String> {
    let text = command(&["export"]).expect(0).stdout;
    let lines = text.lines().filter(|l| l.contains("\"key\"")).map(str::to_owned).collect::<BTreeSet<_>>();
    assert!(lines.len() > 10, "{text}");
    lines
}

/// Whether an edge takes a connect for `host`.
fn accepts(edge: usize, host: &str) -> bool {
    let mut client = Client::open(api().cluster.rtmp(edge));
    client.connect("cfx/st", &format!("rtmp://{host}/cfx/st"), &[]);
    client.wait_answer(1.0, PATIENCE).0 == "_result"
}

/// Waits until both edges take connects for `host`, or both refuse them.
fn until_accepted(host: &str, accepted: bool) {
    eventually(&format!("{host} accepted: {accepted}"), SOON, || {
        (0..2).all(|edge| accepts(edge, host) == accepted).then_some(())
    });
}

/// Downloads by rtmpdump; `None` if it was refused.
fn download(edge: usize, host: &str, name: &str) -> Option<packets::Packets> {
    let folder = tempfile::tempdir().unwrap();
    let (to, tc_url) = (folder.path().join("o.flv"), format!("rtmp://{host}/cfx/st"));
    let done = players::rtmpdump(api().cluster.rtmp(edge), name, &to, &["-q", "-t", &tc_url]);
    // 2: the last frame starts before 99.9 % of the duration.
    matches!(done.code, 0 | 2).then(|| packets::of(&to).unwrap_or_else(|e| panic!("{name}: {e:#}: {done:?}")))
}

fn film(name: &str) -> (Vec<u8>, packets::Packets) {
    let file = media::file(name);
    (std::fs::read(&file).unwrap(), packets::of(&file).unwrap())
}

/// Whether all of a film comes at an edge, and nothing else.
fn is(edge: usize, host: &str, name: &str, film: &packets::Packets) -> bool {
    download(edge, host, name).is_some_and(|got| packets::difference(film, &got).is_none())
}

#[test]
fn apply_makes_changes_and_deletes_what_the_file_says_and_edges_follow() {
    let _turn = turn();
    let counts = |done: &Outcome| done.stdout.lines().last().unwrap_or_default().to_owned();
    // What the cluster was started with is what its file says.
    assert_eq!(counts(&apply("").expect(0)), "0 created, 0 updated, 0 deleted");
    let one = |more: &str| format!("  - {{name: one, origin: media.s3.amazonaws.com{more}}}\n");
    let two = "  - {name: two, origin: media.s3.amazonaws.com, aliases: [two.example.com]}\n";
    let made = apply(&format!("{}{two}", one(""))).expect(0);
    assert_eq!(counts(&made), "2 created, 0 updated, 0 deleted");
    // Ids and domains that the file leaves out are drawn, printed, and kept.
    let given = |done: &Outcome, name: &str| -> (String, String) {
        let line = done.stdout.lines().find(|l| l.ends_with(&format!("  {name}"))).unwrap_or_default();
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    };
    let (id, domain) = given(&made, "one");
    assert!(id.starts_with('E') && domain.ends_with(".penstock.localhost"), "{made:?}");
    until_accepted(&domain, true);
    until_accepted("two.example.com", true);
    assert!(is(0, &domain, "mp4:first.mp4", &film("first.mp4").1));

    let changed = apply(&format!("{}{two}", one(", aliases: [one.example.com]"))).expect(0);
    assert_eq!(counts(&changed), "0 created, 1 updated, 0 deleted");
    assert_eq!(given(&changed, "one"), (id.clone(), domain.clone()));
    until_accepted("one.example.com", true);
    let status = command(&["status"]).expect(0).stdout;
    assert!(status.lines().any(|l| l.contains(&id) && l.contains("one.example.com")), "{status}");

    // A name passes from one to the other in one file; the first is disabled; from standard input.
    let text = format!(
        "{}{}{}",
        own_entries(),
        one(", enabled: false"),
        two.replace("[two.example.com]", "[two.example.com, one.example.com]")
    );
    let program = product("penstock-control");
    let endpoint = format!("http://{}", api().cluster.control.addr);
    let mut child = Command::new(&program)
        .args(["--control", &endpoint, "--token", &derived("operator", "*"), "apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.ends_with("0 created, 2 updated, 0 deleted\n"), "{said}");
    until_accepted(&domain, false);
    until_accepted("one.example.com", true);

    // What the API made is not the file's, and the file can't take its names.
    let keys = only_account();
    let alias = format!("{}.example.com", unique());
    let by_api = api().create(&keys, &[&alias]);
    let thief = format!("  - {{name: thief, origin: media.s3.amazonaws.com, aliases: [{alias}]}}\n");
    let refused = apply(&thief);
    assert!(refused.code == 1 && refused.stderr.contains(&by_api.id), "{refused:?}");
    let gone = apply("").expect(0);
    assert_eq!(counts(&gone), "0 created, 0 updated, 2 deleted");
    for host in ["one.example.com", "two.example.com", &domain] {
        until_accepted(host, false);
    }
    until_accepted(&alias, true);
    assert!(accepts(0, PUBLIC) && accepts(1, PUBLIC));
}

/// Keys of the cluster's only account, which is made with the first.
fn only_account() -> Keys {
    let made = command(&["keys", "create"]).expect(0);
    let value = |name: &str| {
        made.stdout
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
            .to_owned()
    };
    let keys = Keys {
        account: String::new(),
        id: value("AWS_ACCESS_KEY_ID"),
        secret: value("AWS_SECRET_ACCESS_KEY"),
    };
    eventually("the key is known", SOON, || {
        let list = api().send(Request::get("/2020-05-31/streaming-distribution").v4(&keys));
        (list.status == 200).then_some(())
    });
    keys
}

#[test]
fn apply_refuses_a_file_with_the_words_of_the_start_and_then_nothing_has_changed() {
    let _turn = turn();
    let before = config();
    let entry = |more: &str| format!("  - {{name: films, origin: media.s3.amazonaws.com{more}}}\n");
    let fine = "  - {name: fine, origin: media.s3.amazonaws.com}\n";
    for (entries, says) in [
        (entry(", aliases: [Upper.example.com]"), "distribution 'films': aliases"),
        (entry(", aliases: [a.example.com, a.example.com]"), "distribution 'films': "),
        (entry(", id: E1"), "distribution 'films': id"),
        (entry(", domain: films.example.com"), "distribution 'films': domain"),
        (entry(", account: '12'"), "distribution 'films': account"),
        (entry(", trusted_signers: [me]"), "distribution 'films': trusted_signers"),
        (entry(", swf_verification: [{hash: beef}]"), "distribution 'films': swf_verification"),
        (entry(", logging: {bucket: 'no bucket'}"), "distribution 'films': "),
        (entry("") + &entry(""), "distribution 'films': name: appears twice"),
        ("  - {name: films, origin: 'http://media'}\n".into(), "distribution 'films': origin"),
        ("  - {name: films}\n".into(), "missing field `origin`"),
        (entry(", colour: red"), "unknown field `colour`"),
        (entry(", enabled: perhaps"), "invalid type"),
        ("  - [not closed\n".into(), ""),
    ] {
        // A good entry before it is not made either.
        let text = format!("{}{fine}{entries}", own_entries());
        let file = written("refused.yaml", &text);
        let refused = command(&["apply", "-f", &file]);
        assert_eq!(refused.code, 1, "{entries}: {refused:?}");
        assert!(refused.stdout.is_empty() && refused.stderr.contains(says), "{entries}: {refused:?}");
        // Word for word what a control that follows the file says at its start.
        let reason = refused.stderr.trim_end().split_once(&format!("{}: ", api().cluster.control.addr));
        let reason = reason.unwrap_or_else(|| panic!("{refused:?}")).1.trim_end_matches(" (invalid)");
        let start = following(&file);
        let started = players::run(20, product("penstock-control").to_str().unwrap(), &start);
        assert_eq!(started.code, 1, "{started:?}");
        assert!(started.stderr.contains(reason), "{reason}\n--- at the start:\n{}", started.stderr);
    }
    for (text, says) in
        [("", "distributions"), ("{}", "distributions"), ("distributions:\n", "distributions")]
    {
        let refused = command(&["apply", "-f", &written("empty.yaml", text)]);
        assert!(refused.code == 1 && refused.stderr.contains(says), "{text:?}: {refused:?}");
    }
    let refused = command(&["apply", "-f", "/no/such/file.yaml"]);
    assert!(refused.code == 1 && refused.stderr.contains("/no/such/file.yaml"), "{refused:?}");
    assert_eq!(command(&["apply"]).code, 2, "the usage");
    assert_eq!(config(), before);
}

/// The words that check a control which follows `file`, and is otherwise the cluster's.
fn following(file: &str) -> [&'static str; 3] {
    let folder = api().cluster.folder();
    let text = std::fs::read_to_string(folder.join("control.yaml")).unwrap();
    let path = folder.join("following.yaml");
    std::fs::write(&path, format!("{text}distributions_file: {file}\n")).unwrap();
    static WORDS: OnceLock<String> = OnceLock::new();
    ["--check-config", "--config", WORDS.get_or_init(|| path.display().to_string())]
}

#[test]
fn apply_is_refused_where_control_follows_a_file_and_says_which() {
    // Any cluster's own setting; a control alone shows it.
    let _turn = turn();
    let before = config();
    let folder = api().cluster.folder();
    let (mut control, _) = api().cluster.another_control("control-2");
    control.process.kill();
    let file = written("followed.yaml", &own_entries());
    let path = folder.join("control-2.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}distributions_file: {file}\n")).unwrap();
    control.restart();
    control.wait_ready();
    let endpoint = format!("http://{}", control.addr);
    let token = derived("operator", "*");
    let call = |words: &[&str]| {
        let all: Vec<&str> =
            ["--control", &endpoint, "--token", &token].iter().chain(words).copied().collect();
        players::run(20, product("penstock-control").to_str().unwrap(), &all)
    };
    let refused = call(&["apply", "-f", &written("other.yaml", "distributions: []\n")]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&format!("this control follows the file {file}")), "{refused:?}");
    // Its other calls are as good as the first control's.
    assert!(call(&["status"]).expect(0).stdout.contains(READER));
    assert_eq!(config(), before);
}

/// What a gRPC call came to, as curl heard it.
struct Told {
    status: String,
    message: String,
    body: Vec<u8>,
}

/// Makes a call of `penstock.v1.Control` with one message.
fn call(method: &str, token: Option<&str>, message: &[u8]) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let frame = [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat();
    std::fs::write(path("frame"), frame).unwrap();
    let (heads, body, frame) = (path("heads"), path("body"), format!("@{}", path("frame")));
    let url = format!("http://{}/penstock.v1.Control/{method}", api().cluster.control.addr);
    // What a node sends of its token: the fourth part is for its peers.
    let sent = |token: &str| token.split('.').take(3).collect::<Vec<_>>().join(".");
    let bearer = token.map(|token| format!("authorization: Bearer {}", sent(token))).unwrap_or_default();
    let mut words = vec!["-s", "--http2-prior-knowledge", "-D", &heads, "-o", &body, "--data-binary", &frame];
    words.extend(["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", &bearer, &url]);
    // 92: the refusal, which ends the stream, came while the message was being sent; what curl then keeps of it is chance.
    let mut done = players::run(60, "curl", &words);
    for _ in 0..20 {
        if done.code != 92 {
            break;
        }
        done = players::run(60, "curl", &words);
    }
    done.expect(0);
    let heads = std::fs::read_to_string(heads).unwrap();
    let field = |name: &str| {
        heads.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default().to_owned()
    };
    let message = field("grpc-message").replace("%20", " ");
    Told { status: field("grpc-status"), message, body: std::fs::read(body).unwrap_or_default() }
}

#[test]
fn only_operators_apply_export_and_import_whatever_client_they_use() {
    let _turn = turn();
    let before = config();
    let nothing = etcd::field(1, b"distributions: []\n");
    let page = [
        etcd::field(2, &[etcd::field(1, b"distributions/E1"), etcd::field(2, b"x")].concat()),
        vec![3 << 3, 1],
    ];
    let page = page.concat();
    // By name: PERMISSION_DENIED and UNAUTHENTICATED.
    let mut tokens: Vec<(Option<String>, &str)> = Vec::new();
    for (role, node) in [("edge", "*"), ("edge", "edge-1"), ("shield", "*"), ("shield", "shield-1")] {
        tokens.push((Some(derived(role, node)), "7"));
    }
    let forged = derived("edge", "*").replacen("edge.", "operator.", 1);
    tokens.extend([(None, "16"), (Some(MASTER.to_owned()), "16"), (Some(forged), "16")]);
    for (token, status) in &tokens {
        for (method, message) in [("Apply", &nothing[..]), ("Export", b""), ("Import", &page)] {
            let told = call(method, token.as_deref(), message);
            assert_eq!(&told.status, status, "{method} with {token:?}: {}", told.message);
            assert!(told.body.is_empty(), "{method} with {token:?}");
            if *status == "7" {
                assert!(told.message.contains("operator"), "{method}: {}", told.message);
            }
        }
    }
    assert_eq!(config(), before, "what was refused has changed something");
    // The same calls by an operator's token: so it was the role, and nothing else, that they lacked.
    let operator = derived("operator", "*");
    let exported = call("Export", Some(&operator), b"");
    assert_eq!(exported.status, "0", "{}", exported.message);
    let has = |text: &str| exported.body.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(has(READER) && has(PUBLIC));
    let told = call("Apply", Some(&operator), &etcd::field(1, own_entries().as_bytes()));
    assert_eq!(told.status, "0", "{}", told.message);
    let told = call("Import", Some(&operator), &page);
    assert!(told.status == "3" && told.message.contains("nothing was written"), "{}", told.message);
    let told = call("Apply", Some(&operator), &etcd::field(1, b"distributions: ["));
    assert_eq!(told.status, "3", "{}", told.message);
    assert_eq!(config(), before);
}

#[test]
fn a_purge_reaches_every_tier_and_leaves_all_else_hot() {
    let _turn = turn();
    let bucket = api().cluster.s3.bucket(READER_BUCKET);
    let [first, second, third] = ["first.mp4", "mp3-inside.mp4", "video-only.mp4"].map(film);
    let long = film("film.mp4");
    let keys = ["one.mp4", "two.mp4", "folder/three.mp4"];
    for (key, film) in keys.iter().zip([&first, &long, &first]) {
        bucket.put(key, &film.0, &[]);
    }
    let plays = |key: &str, film: &packets::Packets| {
        let name = format!("mp4:{key}");
        [0, 1].map(|edge| is(edge, READER, &name, film))
    };
    let now = |key: &str, film: &packets::Packets| assert_eq!(plays(key, film), [true, true], "{key}");
    let shared = || assert_eq!([0, 1].map(|edge| is(edge, PUBLIC, "mp4:first.mp4", &first.1)), [true, true]);
    let proxy = &api().cluster.proxy;
    let asked = |what: &str| proxy.gets(what).len();
    for (key, film) in keys.iter().zip([&first, &long, &first]) {
        now(key, &film.1);
    }
    shared();
    // What is overwritten plays on as it was: it is fresh in the caches.
    proxy.clear();
    for (key, film) in keys.iter().zip([&second, &second, &second]) {
        bucket.put(key, &film.0, &[]);
    }
    for (key, film) in keys.iter().zip([&first, &long, &first]) {
        now(key, &film.1);
    }
    shared();
    assert!(proxy.requests().is_empty(), "hot, and S3 was asked: {:?}", proxy.requests());

    let purge = |words: &[&str]| {
        let all: Vec<&str> = ["purge", READER_ID].iter().chain(words).copied().collect();
        let said = command(&all).expect(0).stdout;
        assert!(said.contains("cache entries dropped at shields") && !said.contains("not reached"), "{said}");
        assert!(!said.starts_with("0 cache"), "{said}");
    };
    let anew = |key: &str, film: &packets::Packets| {
        eventually(&format!("the new {key} at both edges"), SOON, || {
            (plays(key, film) == [true, true]).then_some(())
        })
    };
    // One key, then one folder: the others stay, at edges and shields.
    purge(&["/one.mp4"]);
    anew("one.mp4", &second.1);
    now("two.mp4", &long.1);
    now("folder/three.mp4", &first.1);
    shared();
    assert!(asked("one.mp4") > 0);
    purge(&["folder/"]);
    anew("folder/three.mp4", &second.1);
    now("two.mp4", &long.1);
    shared();
    assert!(asked("folder/three.mp4") > 0);
    assert_eq!((asked("two.mp4"), asked("first.mp4")), (0, 0), "{:?}", proxy.requests());
    // All of the distribution; another's, over another bucket, stays.
    for key in keys {
        bucket.put(key, &third.0, &[]);
    }
    proxy.clear();
    purge(&[]);
    for key in keys {
        anew(key, &third.1);
        assert!(asked(key) > 0, "{key}");
    }
    shared();
    assert_eq!(asked("first.mp4"), 0, "{:?}", proxy.requests());
    // And again hot.
    proxy.clear();
    keys.iter().for_each(|key| now(key, &third.1));
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
    // One that was deleted in S3, purged, is gone.
    bucket.delete("one.mp4");
    now("one.mp4", &third.1);
    purge(&["one.mp4"]);
    eventually("the deleted one gone at both edges", SOON, || {
        [0, 1].iter().all(|edge| download(*edge, READER, "mp4:one.mp4").is_none()).then_some(())
    });
    let unknown = command(&["purge", "ENOSUCH000000"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("there is no distribution"), "{unknown:?}");
}

/// `of store ID` of the status, the nodes' lines, and the sum of snapshots that nodes have applied.
fn store_and_snapshots() -> (String, f64) {
    let status = command(&["status"]).expect(0).stdout;
    let store =
        status.lines().next().and_then(|l| l.split("of store ").nth(1)).unwrap_or_default().to_owned();
    assert!(!store.is_empty(), "{status}");
    let cluster = &api().cluster;
    let nodes = cluster.edges.iter().chain(&cluster.shields);
    (store, nodes.map(|node| node.metric("penstock_control_client_snapshots_total")).sum())
}

#[test]
fn a_backup_put_back_has_a_new_store_id_and_every_node_takes_it_whole_and_serves_by_it() {
    let _turn = turn();
    let keys = only_account();
    let kept = "  - {name: kept, origin: media.s3.amazonaws.com, aliases: [kept.example.com]}\n";
    let later = "  - {name: later, origin: media.s3.amazonaws.com, aliases: [later.example.com]}\n";
    apply(kept).expect(0);
    let reference = unique();
    let alias = |word: &str| format!("{word}-{reference}.example.com");
    let made = api().create_with(&keys, &reference, tests::api::ORIGIN, "", &[&alias("then")]);
    api().wait_deployed(&keys, &made.id);
    until_accepted("kept.example.com", true);
    let backup = command(&["export"]).expect(0);
    assert!(backup.stderr.contains("documents of revision"), "{backup:?}");
    assert!(!backup.stdout.contains(&keys.secret), "secrets are sealed");
    let file = written("backup", &backup.stdout);
    let then = config();

    // Afterwards: one is deleted, one is new, one has another name; a key is made that the backup doesn't know.
    apply(later).expect(0);
    let body = tests::api::config(&reference, tests::api::ORIGIN, "", &[&alias("now")], "", true);
    assert_eq!(api().put(&keys, &made.id, &made.etag, &body).status, 200);
    let new_key = only_account();
    for (host, accepted) in [
        ("kept.example.com", false),
        ("later.example.com", true),
        (alias("then").as_str(), false),
        (alias("now").as_str(), true),
    ] {
        until_accepted(host, accepted);
    }
    // A viewer who watches meanwhile notices nothing.
    let mut viewer = Client::open(api().cluster.rtmp(0));
    viewer.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
    assert_eq!(viewer.wait_answer(1.0, PATIENCE).0, "_result");
    viewer.create_stream();
    viewer.set_buffer(1, 500);
    viewer.play(1, "mp4:minute.mp4", &[0.0]);
    viewer.wait("media", PATIENCE, |m| m.is_media());

    let (old, snapshots) = store_and_snapshots();
    let refused = command(&["import", &file]);
    assert!(refused.code == 1 && refused.stderr.contains("--replace"), "{refused:?}");
    // Cut short, or changed in one letter, it is no backup; nothing is written.
    for (text, what) in [
        (&backup.stdout[..backup.stdout.len() - 9], "cut short"),
        (&backup.stdout.replacen("kept", "kepT", 1), "changed"),
    ] {
        if text == backup.stdout {
            continue;
        }
        let refused = command(&["import", "--replace", &written("broken", text)]);
        assert!(refused.code == 1, "{what}: {refused:?}");
    }
    assert_eq!(store_and_snapshots().0, old);
    let done = command(&["import", "--replace", &file]).expect(0);
    assert!(done.stdout.contains("documents written") && !done.stdout.contains(&old), "{done:?}");
    for (host, accepted) in [
        ("kept.example.com", true),
        ("later.example.com", false),
        (alias("then").as_str(), true),
        (alias("now").as_str(), false),
        (PUBLIC, true),
        (READER, true),
    ] {
        until_accepted(host, accepted);
    }
    let store = eventually("all nodes on the new store", SOON, || {
        let (store, now) = store_and_snapshots();
        let nodes = command(&["nodes"]).expect(0).stdout;
        let status = command(&["status"]).expect(0).stdout;
        let all = !nodes.contains(" other ") && status.contains("deployed: all 4 nodes");
        (store != old && now >= snapshots + 4.0 && all).then_some(store)
    });
    assert!(done.stdout.contains(&store), "{done:?} {store}");
    for node in api().cluster.edges.iter().chain(&api().cluster.shields) {
        assert!(node.process.log().contains("the store was replaced"), "{}", node.name);
        assert!(http::get(&node.metrics, "/readyz").is_ok_and(|a| a.status == 200), "{}", node.name);
    }
    // The config is that of the backup, to the letter but for what the cluster writes by itself.
    assert_eq!(config(), then);
    viewer.skip_all();
    viewer.wait("media after the import", Duration::from_secs(20), |m| m.is_media());
    let whole = film("first.mp4").1;
    for edge in [0, 1] {
        assert!(is(edge, "kept.example.com", "mp4:first.mp4", &whole), "edge {edge}");
    }
    // The API is in the same state: the old ETag is good again, the key that came later is nobody's, and what is made now is deployed.
    eventually("the later key forgotten", SOON, || {
        let list = api().send(Request::get("/2020-05-31/streaming-distribution").v4(&new_key));
        (list.status == 403).then_some(())
    });
    let body = tests::api::config(&reference, tests::api::ORIGIN, "", &[&alias("after")], "", true);
    let put = api().put(&keys, &made.id, &made.etag, &body);
    assert_eq!(put.status, 200, "{}", put.text());
    api().wait_deployed(&keys, &made.id);
    until_accepted(&alias("after"), true);
    apply("").expect(0);
    until_accepted("kept.example.com", false);
}

/// The commands of a block of the README that has `word` in it, continued lines joined.
fn recipe(word: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let block = text.split("```").find(|block| block.starts_with("console") && block.contains(word));
    let block = block.unwrap_or_else(|| panic!("no recipe with {word}")).replace("\\\n    ", "");
    block.lines().filter_map(|l| l.strip_prefix("$ ")).map(str::to_owned).collect()
}

#[test]
fn the_recipe_of_the_readme_works_as_it_is_printed() {
    let _turn = turn();
    let folder = tempfile::tempdir().unwrap();
    let bins: PathBuf = product("penstock-control").parent().unwrap().to_owned();
    let tools = aws::command_folder(folder.path());
    let token = folder.path().join("operator.token");
    std::fs::write(&token, derived("operator", "*")).unwrap();
    let port = api().addr().rsplit_once(':').unwrap().1;
    let lines = recipe("penstock-control ca >");
    assert_eq!(lines.len(), 6, "{lines:#?}");
    let mut script = String::from("set -eu\n");
    for line in &lines {
        // Addresses, and what a person takes from one answer to the next.
        let line = line
            .replace("http://control:7300", &format!("http://{}", api().cluster.control.addr))
            .replace("https://control.example.com:7380", &format!("https://localhost:{port}"))
            .replace("AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...", "$(cat keys)")
            .replace("--id E...", "--id \"$id\"");
        let (line, _comment) = line.split_once("  #").unwrap_or((&line, ""));
        script += line;
        script += match line.split_whitespace().next() {
            Some("penstock-control") if line.contains("keys create") => " > keys\n",
            Some("aws") if line.contains("create-") => {
                " > made\nid=$(sed -n 's/.*\"Id\": \"\\(E[A-Z0-9]*\\)\".*/\\1/p' made)\n"
            }
            _ => "\n",
        };
    }
    script += &format!(
        "aws --endpoint-url https://localhost:{port} cloudfront get-streaming-distribution --id \"$id\"\n"
    );
    let waiters = aws::quick_waiters(folder.path());
    let path =
        format!("{}:{}:{}", tools.display(), bins.display(), std::env::var("PATH").unwrap_or_default());
    let out = Command::new("timeout")
        .args(["120", "sh", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("AWS_DATA_PATH", waiters)
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{script}\n{said}\n{errors}");
    assert!(said.contains("\"Status\": \"Deployed\"") && said.contains("films.s3.eu-west-1"), "{said}");
}
