//! Private content: signed stream names, origin access identities, and what becomes of sessions whose distribution goes.
//!
//! A cluster of separate processes; names are signed by the product's own command, by botocore and by the aws command line; signers and
//! grants are written into etcd as the API would write them. The tests share the cluster and each has its own distributions.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tests::api::aws;
use tests::cluster::{Cluster, DISABLED, PUBLIC, Setup, WEB};
use tests::tunnel::Bridge;
use tests::wire::amf::Value;
use tests::wire::handshake::{self, Kind};
use tests::wire::{Client, PATIENCE};
use tests::{etcd, eventually, media, packets, players, process};

const KEY_PAIR_ID: &str = "APKAPRIVATETEST";
const SIGNER: &str = "123456789012";
const A: &str = "111111111111";
const B: &str = "222222222222";
const C: &str = "333333333333";

/// Names are to be signed.
const SIGNED: &str = "s0000000signed.penstock.localhost";
/// The same, by somebody no edge has heard of.
const UNHEARD: &str = "s000000unheard.penstock.localhost";
/// A's, over the private bucket `vault`, by an origin access identity.
const OURS: &str = "s000000000ours.penstock.localhost";
/// B's, over the same bucket, by one of B's.
const THEIRS: &str = "s0000000theirs.penstock.localhost";
/// How soon a change of the config must have reached edges and shields.
const SOON: Duration = Duration::from_secs(40);

fn entry(name: &str, n: u32, bucket: &str, more: &str) -> (String, String) {
    let domain = format!("s{name:0>13}.penstock.localhost");
    let line = format!(
        "  - {{name: {name}, id: E0000000000{n}, domain: {domain}, origin: {bucket}.s3.amazonaws.com{more}}}\n"
    );
    (name.to_owned(), line)
}

struct World {
    cluster: Cluster,
    folder: tempfile::TempDir,
    /// Lines of the declarative file beyond the cluster's own, by name.
    lines: Mutex<BTreeMap<String, String>>,
}

fn world() -> &'static World {
    static SHARED: OnceLock<World> = OnceLock::new();
    SHARED.get_or_init(|| {
        let lines = BTreeMap::from([
            entry("signed", 21, "media", &format!(", trusted_signers: ['{SIGNER}']")),
            entry("unheard", 22, "media", ", trusted_signers: ['000000000009']"),
            entry("ours", 23, "vault", &format!(", account: '{A}', credential: oai/EOURS")),
            entry("theirs", 24, "vault", &format!(", account: '{B}', credential: oai/ETHEIRS")),
        ]);
        let cluster = Cluster::start(Setup {
            distributions: lines.values().cloned().collect(),
            edge: "default_distribution: E000000000021\n".into(),
            shield: "node_role: {access_key_id: 'ID', secret_access_key: 'SECRET'}\n".into(),
            ..Default::default()
        });
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        openssl(&["genrsa", "-traditional", "-out", &path("key.pem"), "2048"]);
        openssl(&[
            "rsa",
            "-in",
            &path("key.pem"),
            "-RSAPublicKey_out",
            "-outform",
            "DER",
            "-out",
            &path("key.der"),
        ]);
        let der = std::fs::read(path("key.der")).unwrap();
        let signers = format!("signers/{SIGNER}");
        etcd::commit(&cluster.etcd.addr, &[(&signers, Some(etcd::signer(SIGNER, &[(KEY_PAIR_ID, &der)])))]);
        let world = World { cluster, folder, lines: Mutex::new(lines) };
        eventually("the signer known to the edges", SOON, || {
            let play =
                |edge| told(&world, edge, SIGNED, &world.sign(&["--expires", "600", "mp4:first.mp4"]), 0.0);
            (0..2).all(|edge| play(edge).1 == "media").then_some(())
        });
        world
    })
}

fn openssl(args: &[&str]) {
    let done = Command::new("openssl").args(args).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl World {
    fn key_file(&self) -> String {
        self.folder.path().join("key.pem").display().to_string()
    }

    /// What `penstock-control sign` prints.
    fn sign(&self, words: &[&str]) -> String {
        let key_file = self.key_file();
        let mut args = vec!["sign", "--key-pair-id", KEY_PAIR_ID, "--private-key-file", &key_file];
        args.extend(words);
        let program = process::product("penstock-control");
        players::run(60, program.to_str().unwrap(), &args).expect(0).stdout.trim_end().to_owned()
    }

    /// Writes, changes or (with `None`) takes out lines of the declarative file.
    fn declare(&self, changes: &[(&str, Option<String>)]) {
        let mut lines = self.lines.lock().unwrap();
        for (name, line) in changes {
            match line {
                Some(line) => lines.insert((*name).to_owned(), line.clone()),
                None => lines.remove(*name),
            };
        }
        self.cluster.declare(&lines.values().cloned().collect::<String>());
    }
}

/// A connection with that host in its tcUrl, and the answer.
fn connect(mut client: Client, host: &str) -> (Client, String, Value) {
    client.connect("cfx/st", &format!("rtmp://{host}/cfx/st"), &[]);
    let (name, args) = client.wait_answer(1.0, PATIENCE);
    (client, name, args.get(1).cloned().unwrap_or(Value::Null))
}

/// A session with a stream.
fn session(edge: usize, host: &str) -> Client {
    let (mut client, answer, info) = connect(Client::open(world().cluster.rtmp(edge)), host);
    assert_eq!(answer, "_result", "{host}: {info:?}");
    assert_eq!(client.create_stream(), 1);
    client
}

/// What a play brings first: a status of an error, or media.
fn first_word(client: &mut Client) -> String {
    let told = client.wait("media or an error", Duration::from_secs(40), |m| {
        m.is_media() || m.status().is_some_and(|s| s.field("level") == "error")
    });
    told.status_code().unwrap_or_else(|| "media".into())
}

fn told(world: &World, edge: usize, host: &str, name: &str, start: f64) -> (Client, String) {
    let (mut client, answer, info) = connect(Client::open(world.cluster.rtmp(edge)), host);
    assert_eq!(answer, "_result", "{host}: {info:?}");
    client.create_stream();
    client.play(1, name, &[start]);
    let word = first_word(&mut client);
    (client, word)
}

fn play(host: &str, name: &str) -> (Client, String) {
    told(world(), 0, host, name, 0.0)
}

/// Whether all of `name` comes to rtmpdump as it is in `file`.
fn dumps(host: &str, name: &str, file: &str) {
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("o.flv");
    let tc_url = format!("rtmp://{host}/cfx/st");
    let done = players::rtmpdump(world().cluster.rtmp(1), name, &to, &["-q", "-t", &tc_url]);
    assert!(matches!(done.code, 0 | 2), "{name}: {done:?}");
    let [wanted, got] = [&media::file(file), &to].map(|path: &PathBuf| packets::of(path).unwrap());
    assert_eq!(packets::difference(&wanted, &got), None, "{name}");
}

/// The one thing a viewer is told of a name it may not play.
fn assert_denied(client: &mut Client, display: &str) {
    client.at_start();
    let status = client.wait_status("NetStream.Failed");
    assert_eq!(status.field("level"), "error");
    assert_eq!(status.field("description"), format!("Failed to play {display} (stream ID: 1)."));
    assert!(client.messages().iter().all(|m| !m.is_media()), "{}", client.outline());
}

fn asked_of_shields() -> f64 {
    world().cluster.shields.iter().map(|shield| shield.metric("penstock_shield_stats_total")).sum()
}

/// No other test of this file may play while what shields are asked is counted.
static ALONE: std::sync::RwLock<()> = std::sync::RwLock::new(());

#[test]
fn c27_c29_a_connect_that_leads_nowhere_is_told_why() {
    let _shared = ALONE.read();
    for (app, host, code) in [
        ("cfx/st", WEB, "DistributionTypeMismatch"),
        ("cfx/st", DISABLED, "DistributionNotFound"),
        ("cfx/xx", PUBLIC, "InvalidInstance"),
        ("cfx", PUBLIC, "InvalidInstance"),
        ("foo", PUBLIC, "InvalidURI"),
        ("foo/st", PUBLIC, "InvalidURI"),
    ] {
        let mut client = Client::open(world().cluster.rtmp(0));
        client.connect(app, &format!("rtmp://{host}/{app}"), &[]);
        let (name, args) = client.wait_answer(1.0, PATIENCE);
        let info = args[1].clone();
        assert_eq!(
            (name.as_str(), info.field("code")),
            ("_error", "NetConnection.Connect.Rejected"),
            "{app} {host}"
        );
        assert!(info.field("description").contains(code), "{app} {host}: {info:?}");
        assert_eq!(info.get("application").unwrap().field("message"), code);
        client.wait_closed(PATIENCE);
    }
}

#[test]
fn c33_an_unsigned_name_is_refused_and_nothing_is_told_or_asked_of_the_object() {
    let _alone = ALONE.write();
    let world = world();
    let asked = asked_of_shields();
    let s3 = world.cluster.proxy.requests().len();
    for host in [SIGNED, UNHEARD] {
        for (name, display) in
            [("mp4:first.mp4", "first.mp4"), ("mp4:nosuch.mp4", "nosuch.mp4"), ("nosuch?x=y", "nosuch")]
        {
            // A name that isn't there would be waited for in silence with start -2; not so one that isn't signed.
            for start in [0.0, -2.0] {
                let (mut client, word) = told(world, 0, host, name, start);
                assert_eq!(word, "NetStream.Failed", "{host} {name}");
                assert_denied(&mut client, display);
            }
        }
    }
    // Signed, for a signer that no edge has heard of.
    let (mut client, _) = play(UNHEARD, &world.sign(&["mp4:first.mp4"]));
    assert_denied(&mut client, "first.mp4");
    // By play2, in a playlist, as a length, and to rtmpdump and ffmpeg, whose tcUrl names the default distribution.
    for transition in ["reset", "append", "resume", "switch", "swap"] {
        let mut client = session(0, SIGNED);
        let options = [("streamName", Value::from("mp4:first.mp4")), ("transition", transition.into())];
        let options = Value::Object(options.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
        client.command(1, "play2", 0.0, &[Value::Null, options]);
        let word = first_word(&mut client);
        assert!(word == "NetStream.Failed" || word == "NetStream.Play.Failed", "{transition}: {word}");
    }
    let mut client = session(0, SIGNED);
    client.command(0, "getStreamLength", 9.0, &[Value::Null, "mp4:first.mp4".into()]);
    let (_, args) = client.wait_answer(9.0, PATIENCE);
    assert_eq!(args[1].number(), Some(0.0));
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("o.flv");
    let done = players::rtmpdump(world.cluster.rtmp(0), "mp4:first.mp4", &to, &["-q"]);
    assert_eq!(done.code, 1, "{done:?}");
    let url = format!("rtmp://{}/cfx/st/mp4:first.mp4", world.cluster.rtmp(0));
    assert_ne!(players::ffmpeg_copy(&[], &url, &["-t", "1"], &to).code, 0);
    assert_eq!(asked_of_shields(), asked, "a shield was asked about a name that may not be played");
    assert_eq!(world.cluster.proxy.requests().len(), s3);
    let log = world.cluster.edges[0].process.log();
    assert!(
        log.contains("the name is not signed") && !log.contains("Signature="),
        "reasons are the operator's, signatures nobody's"
    );
    let page = world.cluster.edges[0].metrics();
    let count = |outcome: &str| {
        page.get(&format!("penstock_edge_authorisations_total{{outcome=\"{outcome}\"}}")).copied()
    };
    assert!(count("unsigned") > Some(10.0) && count("unknown_key") > Some(0.0), "{page:?}");
}

#[test]
fn c33_a_signed_name_plays_with_and_without_extension_by_every_signer() {
    let _shared = ALONE.read();
    let world = world();
    for name in ["mp4:first.mp4", "mp4:first"] {
        dumps(SIGNED, &world.sign(&[name]), "first.mp4");
        dumps(SIGNED, &world.sign(&["--resource", "first.mp4", name]), "first.mp4");
    }
    // The player adds what the signer left out, and the other way round.
    let signed = world.sign(&["mp4:first"]);
    dumps(SIGNED, &signed.replacen("mp4:first", "mp4:first.mp4", 1), "first.mp4");
    let signed = world.sign(&["mp4:first.mp4"]);
    dumps(SIGNED, &signed.replacen("first.mp4", "first", 1), "first.mp4");
    assert_eq!(play(SIGNED, &signed.replacen("first.mp4", "last.mp4", 1)).1, "NetStream.Failed");

    let key_file = world.key_file();
    let made = aws::offline(&["signer.py", KEY_PAIR_ID, &key_file, "first.mp4", "fir*"]).expect(0).stdout;
    assert_eq!(made.lines().count(), 3, "{made}");
    for name in made.lines() {
        dumps(SIGNED, &format!("mp4:{name}"), "first.mp4");
    }
    let file = format!("file://{key_file}");
    let words = [
        "aws",
        "cloudfront",
        "sign",
        "--url",
        "first.mp4",
        "--key-pair-id",
        KEY_PAIR_ID,
        "--private-key",
        &file,
        "--date-less-than",
        "2099-01-01",
    ];
    let made = aws::offline(&words).expect(0).stdout;
    dumps(SIGNED, &format!("mp4:{}", made.trim_end()), "first.mp4");

    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("o.flv");
    let url = format!("rtmp://{}/cfx/st/{}", world.cluster.rtmp(0), world.sign(&["mp4:first.mp4"]));
    players::ffmpeg_copy(&[], &url, &[], &to).expect(0);
    assert!(players::duration(&to) > 1.0);
}

#[test]
fn c34_what_plays_goes_on_past_the_end_but_a_seek_and_a_play_are_refused() {
    let _shared = ALONE.read();
    let world = world();
    let until = now_s() + 6;
    let name = world.sign(&["--expires-at", &until.to_string(), "mp4:minute.mp4"]);
    let mut client = session(0, SIGNED);
    client.set_buffer(1, 500);
    client.play(1, &name, &[0.0]);
    assert_eq!(first_word(&mut client), "media");
    // Within its time a seek is allowed.
    client.seek(1, 1000.0);
    client.wait_status("NetStream.Seek.Notify");
    eventually("the end of the signature", Duration::from_secs(30), || (now_s() > until).then_some(()));
    client.skip_all();
    client.wait("media past the end", Duration::from_secs(20), |m| m.is_media());
    // A pause and its end are no new play.
    client.pause(1, true, 8000.0);
    client.wait_status("NetStream.Pause.Notify");
    client.pause(1, false, 8000.0);
    client.wait_status("NetStream.Unpause.Notify");
    client.wait("media after the pause", Duration::from_secs(20), |m| m.is_media());
    client.seek(1, 30_000.0);
    let status = client.wait_status("NetStream.Failed");
    assert_eq!(status.field("description"), "Failed to play minute.mp4 (stream ID: 1).");
    client.wait("the stream's end", PATIENCE, |m| m.event() == Some((1, &[0, 0, 0, 1][..])));
    client.play(1, &name, &[0.0]);
    client.wait_status("NetStream.Failed");
    client.skip_all();
    assert!(client.try_wait(Duration::from_millis(1500), |m| m.is_media()).is_none(), "{}", client.outline());
    // The connection is as good as before.
    client.play(1, &world.sign(&["mp4:minute.mp4"]), &[0.0]);
    assert_eq!(first_word(&mut client), "media");
}

#[test]
fn c34_red5_plays_on_past_the_end_and_its_seek_is_refused() {
    let _shared = ALONE.read();
    let world = world();
    let name = world.sign(&["--expires", "9", "mp4:minute.mp4"]);
    let url = format!("rtmp://{}/cfx/st", world.cluster.rtmp(0));
    let steps = [
        "buffer=1000",
        "play=0",
        "until=NetStream.Play.Start",
        "wait=9500",
        "count",
        "wait=1500",
        "count",
        "seek=30000",
        "until=NetStream.Failed",
        "wait=300",
        "count",
        "wait=1500",
        "count",
    ];
    let done = players::red5(&url, &name, &steps).expect(0);
    let counts: Vec<i64> = done
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("media video="))
        .filter_map(|line| line.split(' ').next()?.parse().ok())
        .collect();
    let [_, past, _, after] = counts[..] else { panic!("{done:?}") };
    assert!(past > 10, "the play stopped at the end of its signature\n{}", done.stdout);
    assert_eq!(after, 0, "the play went on after the refused seek\n{}", done.stdout);
}

#[test]
fn c35_custom_policies_hold_addresses_wildcards_and_times() {
    let _shared = ALONE.read();
    let world = world();
    let word = |words: &[&str]| play(SIGNED, &world.sign(words)).1;
    assert_eq!(word(&["--ip", "127.0.0.0/8", "mp4:first.mp4"]), "media");
    assert_eq!(word(&["--ip", "198.51.100.0/24", "mp4:first.mp4"]), "NetStream.Failed");
    assert_eq!(word(&["--resource", "folder/*", "mp4:folder/deeper/inside.mp4"]), "media");
    assert_eq!(word(&["--resource", "folder/*", "folder/inside"]), "media");
    assert_eq!(word(&["--resource", "folder/*", "mp4:first.mp4"]), "NetStream.Failed");
    assert_eq!(word(&["--resource", "f?rst.mp4", "mp4:first.mp4"]), "media");
    // The viewer's own query is theirs to choose: it doesn't make another key match.
    for own in ["folder/inside.mp4", "x=inside.mp4"] {
        let name = format!("mp4:first.mp4?{own}");
        assert_eq!(word(&["--resource", "*inside.mp4", &name]), "NetStream.Failed", "{name}");
    }
    assert_eq!(word(&["--resource", "*inside.mp4", "mp4:folder/deeper/inside.mp4?color=red"]), "media");
    assert_eq!(word(&["--resource", "first.mp4?color=*", "mp4:first.mp4?color=red"]), "media");
    assert_eq!(word(&["--resource", "first.mp4?color=*", "mp4:first.mp4?shape=red"]), "NetStream.Failed");
    let later = (now_s() + 600).to_string();
    assert_eq!(word(&["--not-before", &later, "mp4:first.mp4"]), "NetStream.Failed");
    assert_eq!(word(&["--not-before", "1000", "mp4:first.mp4"]), "media");
    assert_eq!(word(&["--expires-at", "1000", "mp4:first.mp4"]), "NetStream.Failed");
    // A signed name that isn't there is what it is anywhere else.
    assert_eq!(word(&["mp4:nosuch.mp4"]), "NetStream.Play.StreamNotFound");
}

/// A session of a viewer whom a balancer names by a PROXY v2 header.
fn behind_balancer(addr: &str, viewer: &str) -> Client {
    let (family, from): (u8, Vec<u8>) = match viewer.parse::<IpAddr>().unwrap() {
        IpAddr::V4(address) => (0x11, address.octets().to_vec()),
        IpAddr::V6(address) => (0x21, address.octets().to_vec()),
    };
    let body = [from.as_slice(), &vec![0; from.len()], &[0xc0, 0x00, 0x07, 0x8f]].concat();
    let header = [b"\r\n\r\n\0\r\nQUIT\n\x21".as_slice(), &[family, 0, body.len() as u8], &body].concat();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(&header).unwrap();
    handshake::run(&mut stream, Kind::Simple).unwrap();
    let (mut client, answer, info) = connect(Client::over(stream), SIGNED);
    assert_eq!(answer, "_result", "{info:?}");
    client.create_stream();
    client
}

#[test]
fn c35_the_address_is_the_viewer_s_behind_a_balancer_too() {
    let _shared = ALONE.read();
    let world = world();
    let edge = world.cluster.another_edge_with("edge-3", "proxy_protocol_from: ['127.0.0.0/8']");
    let word = |viewer: &str, words: &[&str]| {
        let mut client = behind_balancer(&edge.addr, viewer);
        client.play(1, &world.sign(words), &[0.0]);
        first_word(&mut client)
    };
    let only = ["--ip", "192.0.2.0/24", "mp4:first.mp4"];
    eventually("the signer known to the new edge", SOON, || {
        (word("192.0.2.7", &only) == "media").then_some(())
    });
    assert_eq!(word("192.0.3.7", &only), "NetStream.Failed");
    assert_eq!(word("127.0.0.1", &only), "NetStream.Failed");
    // No network of IPv4 covers a viewer of IPv6, but the one that means everybody; no condition means everybody too.
    assert_eq!(word("2001:db8::7", &only), "NetStream.Failed");
    assert_eq!(word("2001:db8::7", &["--ip", "0.0.0.0/0", "mp4:first.mp4"]), "media");
    assert_eq!(word("2001:db8::7", &["mp4:first.mp4"]), "media");
    assert_eq!(word("::ffff:192.0.2.7", &only), "media", "an IPv4 address in IPv6 dress");
}

#[test]
fn c36_a_name_escaped_once_plays() {
    let _shared = ALONE.read();
    let name = world().sign(&["mp4:first.mp4"]);
    let escaped = name.replace('?', "%3F").replace('=', "%3D").replace('&', "%26");
    dumps(SIGNED, &escaped, "first.mp4");
    let name = world().sign(&["--ip", "127.0.0.1", "mp4:first.mp4"]);
    dumps(SIGNED, &name.replace('?', "%3f").replace('=', "%3d").replace('&', "%26"), "first.mp4");
}

#[test]
fn playlists_and_switches_are_asked_name_by_name() {
    let _shared = ALONE.read();
    let world = world();
    let mut client = session(0, SIGNED);
    client.set_buffer(1, 500);
    client.play(1, &world.sign(&["mp4:minute.mp4"]), &[0.0]);
    assert_eq!(first_word(&mut client), "media");
    let switch = |client: &mut Client, name: &str| {
        let options = [("streamName", Value::from(name)), ("transition", "switch".into())];
        let options = Value::Object(options.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
        client.skip_all();
        client.command(1, "play2", 0.0, &[Value::Null, options]);
    };
    switch(&mut client, "mp4:minute.mp4");
    client.wait_status("NetStream.Failed");
    client.wait("media of the old file", Duration::from_secs(20), |m| m.is_media());
    switch(&mut client, &world.sign(&["mp4:minute"]));
    client.wait_status("NetStream.Play.Transition");
    // An item that isn't signed is passed over; the next plays.
    let mut client = session(0, SIGNED);
    client.set_buffer(1, 36_000_000);
    let queue = |client: &mut Client, name: &str| {
        let args = [Value::Null, name.into(), Value::Number(0.0), Value::Number(-1.0), Value::Boolean(false)];
        client.command(1, "play", 0.0, &args);
    };
    queue(&mut client, &world.sign(&["mp4:first.mp4"]));
    queue(&mut client, "mp4:last.mp4");
    queue(&mut client, &world.sign(&["mp3:cbr"]));
    client.wait_status("NetStream.Play.Start");
    let denied = client.wait_status_within("NetStream.Failed", Duration::from_secs(60));
    assert_eq!(denied.field("description"), "Failed to play last.mp4 (stream ID: 1).");
    let begun = client.wait_status_within("NetStream.Play.Start", Duration::from_secs(60));
    assert_eq!(begun.field("details"), "cbr");
}

#[test]
fn c37_an_identity_opens_a_private_bucket_for_its_own_account_only() {
    let _shared = ALONE.read();
    let world = world();
    let vault = world.cluster.s3.bucket("vault");
    vault.put("films/own.mp4", &std::fs::read(media::file("first.mp4")).unwrap(), &[]);
    let stranger = tests::s3::Bucket::new(world.cluster.s3.s3(), "vault", "", "");
    assert_eq!(stranger.get("films/own.mp4", &[]).status, 403);
    let word = |host| play(host, "mp4:films/own.mp4").1;
    assert_eq!(word(OURS), "NetStream.Failed", "nothing is granted yet");

    let grant = |bucket: &str, given: bool| {
        let key = format!("grants/{A}/{bucket}");
        etcd::commit(&world.cluster.etcd.addr, &[(&key, given.then(|| etcd::grant(A, bucket)))]);
    };
    grant("vault", true);
    eventually("the grant at the shields", SOON, || (word(OURS) == "media").then_some(()));
    dumps(OURS, "mp4:films/own.mp4", "first.mp4");
    dumps(OURS, "mp4:films/own", "first.mp4");
    // Hot in edges and shields, and refused to B, whose identity was granted nothing.
    for edge in 0..2 {
        for _ in 0..3 {
            assert_eq!(told(world, edge, OURS, "mp4:films/own.mp4", 0.0).1, "media");
            assert_eq!(told(world, edge, THEIRS, "mp4:films/own.mp4", 0.0).1, "NetStream.Failed");
        }
    }
    // A missing file in a bucket that may be listed is not found.
    assert_eq!(play(OURS, "mp4:films/nosuch.mp4").1, "NetStream.Play.StreamNotFound");
    // What was granted is taken back, hot or not.
    grant("vault", false);
    eventually("the end of the grant", SOON, || {
        (0..2)
            .all(|edge| told(world, edge, OURS, "mp4:films/own.mp4", 0.0).1 == "NetStream.Failed")
            .then_some(())
    });
    let asked = world.cluster.proxy.requests().len();
    assert_eq!(word(OURS), "NetStream.Failed");
    assert_eq!(world.cluster.proxy.requests().len(), asked, "S3 was asked all the same");
    grant("*", true);
    eventually("the new grant", SOON, || (word(OURS) == "media").then_some(()));
}

#[test]
fn c37_an_identity_s_own_keys_open_the_bucket_until_they_are_taken_away() {
    let _shared = ALONE.read();
    let world = world();
    let vault = world.cluster.s3.bucket("vault");
    vault.put("keyed/own.mp4", &std::fs::read(media::file("first.mp4")).unwrap(), &[]);
    let id = "E0000000000KEY";
    let resource = [etcd::field(1, id.as_bytes()), etcd::field(2, C.as_bytes())].concat();
    let key = format!("api/origin-access-identity/{C}/{id}");
    etcd::commit(&world.cluster.etcd.addr, &[(&key, Some(resource))]);
    let (key_id, secret) = world.cluster.s3.keys();
    let secret_file = world.folder.path().join("secret").display().to_string();
    std::fs::write(&secret_file, secret).unwrap();
    let set = ["oai", "set-keys", id, "--access-key-id", key_id, "--secret-key-file", &secret_file];
    let host = "s00000000keyed.penstock.localhost";
    // Of B's account there is no distribution that may read by A's identity, whatever a file declares.
    let stolen = "s0000000stolen.penstock.localhost";
    let line = |name: &str, n, account| {
        entry(name, n, "vault", &format!(", account: '{account}', credential: oai/{id}")).1
    };
    world.declare(&[("keyed", Some(line("keyed", 61, C)))]);
    let words = |host: &str| [0, 1].map(|edge| told(world, edge, host, "mp4:keyed/own.mp4", 0.0).1);
    let known = |host: &str| {
        (0..2).all(|edge| connect(Client::open(world.cluster.rtmp(edge)), host).1 == "_result").then_some(())
    };
    eventually("the distribution at the edges", SOON, || known(host));
    assert_eq!(words(host), ["NetStream.Failed", "NetStream.Failed"]);
    world.cluster.control_command(&set).expect(0);
    eventually("the keys at the shields", SOON, || (words(host) == ["media", "media"]).then_some(()));
    dumps(host, "mp4:keyed/own.mp4", "first.mp4");
    world.cluster.control_command(&["oai", "clear-keys", id]).expect(0);
    eventually("the keys taken away", SOON, || {
        (words(host) == ["NetStream.Failed", "NetStream.Failed"]).then_some(())
    });
    world.cluster.control_command(&set).expect(0);
    eventually("the keys back", SOON, || (words(host) == ["media", "media"]).then_some(()));
    world.declare(&[("stolen", Some(line("stolen", 62, B)))]);
    eventually("the thief at the edges", SOON, || known(stolen));
    eventually("nobody reads what two accounts claim", SOON, || {
        (words(stolen) == ["NetStream.Failed", "NetStream.Failed"]).then_some(())
    });
    world.declare(&[("stolen", None)]);
    eventually("the owner reads again", SOON, || (words(host) == ["media", "media"]).then_some(()));
    let logs: String = world.cluster.shields.iter().map(|shield| shield.process.log()).collect();
    assert!(!logs.contains(secret), "a secret in a log");
    world.declare(&[("keyed", None)]);
}

/// How long sessions of a distribution may go on after the change that disables or deletes it.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(5);

/// Waits for the goodbye of a session, and its end.
fn ended(client: &mut Client, within: Duration) {
    let status = client.wait_status_within("NetConnection.Connect.Closed", within);
    assert_eq!(status.field("description"), "The distribution was disabled or deleted.");
    client.wait("close", PATIENCE, |m| m.command().is_some_and(|c| c.name == "close"));
    client.wait_closed(PATIENCE);
}

#[test]
fn c29_sessions_of_a_disabled_or_deleted_distribution_are_ended_with_a_status() {
    let _shared = ALONE.read();
    let world = world();
    let line = |more: &str| Some(entry("brief", 31, "media", more).1);
    let host = "s00000000brief.penstock.localhost";
    let edge = world.cluster.rtmp(0);
    for change in [line(", enabled: false"), None] {
        world.declare(&[("brief", line(""))]);
        eventually("the distribution at the edges", SOON, || {
            (0..2)
                .all(|edge| connect(Client::open(world.cluster.rtmp(edge)), host).1 == "_result")
                .then_some(())
        });
        let tunnel = Bridge::to(edge);
        let mut playing: Vec<Client> = [edge, tunnel.addr()]
            .into_iter()
            .map(|addr| {
                let (mut client, answer, _) = connect(Client::open(addr), host);
                assert_eq!(answer, "_result");
                client.create_stream();
                client.set_buffer(1, 500);
                client.play(1, "mp4:minute.mp4", &[0.0]);
                assert_eq!(first_word(&mut client), "media");
                client
            })
            .collect();
        // One that plays nothing, and one of another distribution.
        playing.push(connect(Client::open(edge), host).0);
        let mut other = session(0, PUBLIC);
        let begun = Instant::now();
        world.declare(&[("brief", change.clone())]);
        for client in &mut playing {
            ended(client, SOON);
        }
        assert!(begun.elapsed() < WITHDRAWN_WITHIN, "{change:?}: after {:?}", begun.elapsed());
        let (client, answer, info) = connect(Client::open(edge), host);
        assert_eq!(answer, "_error");
        assert!(info.field("description").contains("DistributionNotFound"), "{change:?}: {info:?}");
        client.wait_closed(PATIENCE);
        other.play(1, "mp4:first.mp4", &[0.0]);
        assert_eq!(first_word(&mut other), "media");
        assert!(!other.is_closed());
    }
    world.declare(&[("brief", None)]);
    let page = world.cluster.edges[0].metrics();
    assert!(
        page.get("penstock_edge_session_seconds_count{end=\"withdrawn\"}").copied() >= Some(6.0),
        "{page:?}"
    );
}

#[test]
fn a_session_that_came_by_a_cname_stays_when_the_name_moves() {
    let _shared = ALONE.read();
    let world = world();
    let alias = "moving.example.com";
    let lines = |one: &str, two: &str| {
        let named = |name: &str| if name.is_empty() { String::new() } else { format!(", aliases: [{name}]") };
        [
            ("first", Some(entry("first", 41, "media", &named(one)).1)),
            ("second", Some(entry("second", 42, "vault", &named(two)).1)),
        ]
    };
    world.declare(&lines(alias, ""));
    let film = |addr: usize| {
        let (mut client, answer, _) = connect(Client::open(world.cluster.rtmp(addr)), alias);
        (answer == "_result").then(|| {
            client.create_stream();
            client.set_buffer(1, 500);
            client.play(1, "mp4:minute.mp4", &[0.0]);
            let word = first_word(&mut client);
            (client, word)
        })
    };
    let (mut client, word) = eventually("the CNAME at the edge", SOON, || film(0));
    assert_eq!(word, "media");
    world.declare(&lines("", alias));
    // The name leads to the other distribution, whose bucket is private; who came before plays on, and may begin anew.
    eventually("the CNAME moved", SOON, || film(0).filter(|(_, word)| word == "NetStream.Failed"));
    client.skip_all();
    client.wait("media after the move", Duration::from_secs(20), |m| m.is_media());
    client.play(1, "mp4:first.mp4", &[0.0]);
    client.wait_status("NetStream.Play.Start");
    world.declare(&[("first", None), ("second", None)]);
}

#[test]
fn trusted_signers_that_are_added_let_plays_go_on_and_ask_the_next() {
    let _shared = ALONE.read();
    let world = world();
    let line = |more: &str| Some(entry("closing", 51, "media", more).1);
    let host = "s000000closing.penstock.localhost";
    world.declare(&[("closing", line(""))]);
    let connected = || {
        let (client, answer, _) = connect(Client::open(world.cluster.rtmp(0)), host);
        (answer == "_result").then_some(client)
    };
    let mut client = eventually("the distribution at the edge", SOON, connected);
    client.create_stream();
    client.set_buffer(1, 500);
    client.play(1, "mp4:minute.mp4", &[0.0]);
    assert_eq!(first_word(&mut client), "media");
    world.declare(&[("closing", line(&format!(", trusted_signers: ['{SIGNER}']")))]);
    eventually("the signers at the edge", SOON, || {
        (play(host, "mp4:first.mp4").1 == "NetStream.Failed").then_some(())
    });
    client.skip_all();
    client.wait("media of the play that runs", Duration::from_secs(20), |m| m.is_media());
    client.seek(1, 20_000.0);
    client.wait_status("NetStream.Failed");
    client.play(1, "mp4:minute.mp4", &[0.0]);
    client.wait_status("NetStream.Failed");
    client.play(1, &world.sign(&["mp4:minute.mp4"]), &[0.0]);
    client.wait_status("NetStream.Play.Start");
    world.declare(&[("closing", None)]);
}

#[test]
fn an_address_gets_so_many_signatures_checked_and_no_more() {
    let _shared = ALONE.read();
    let world = world();
    // Another name under a good signature costs the most: it is compared with all that the name may be called.
    let good = world.sign(&["mp4:first.mp4"]);
    let bad = good.replacen("mp4:first.mp4", "nosuch?own=1", 1).replacen("?Expires", "&Expires", 1);
    let mut client = session(1, SIGNED);
    let refusals = 300;
    for _ in 0..refusals {
        client.play(1, &bad, &[0.0]);
    }
    let mut heard = 0;
    while heard < refusals {
        client.wait("a refusal", Duration::from_secs(30), |m| {
            m.status_code().as_deref() == Some("NetStream.Failed")
        });
        heard += 1;
    }
    let page = world.cluster.edges[1].metrics();
    let limited = page.get("penstock_edge_authorisations_total{outcome=\"limited\"}").copied();
    assert!(limited > Some(0.0), "{page:?}");
    // It passes.
    eventually("checks to be had again", Duration::from_secs(30), || {
        client.play(1, &good, &[0.0]);
        (first_word(&mut client) == "media").then_some(())
    });
}
