//! The cluster as separate processes: failover, life without control, what S3 is asked, and who may read what.

use std::io::{Read, Write};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::cluster::{ALIAS, Cluster, DISABLED, FORGER, PUBLIC, READER, STRANGER, Setup, WEB};
use tests::counting_proxy::block_counts;
use tests::wire::amf::Value;
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{eventually, media, packets, parallel, players};

fn cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(Setup::default()))
}

/// The answer to `connect` with a tcUrl of that host.
fn answer(addr: &str, host: &str) -> (Client, String, Value) {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{host}/cfx/st"), &[]);
    let (name, args) = client.wait_answer(1.0, PATIENCE);
    (client, name, args.get(1).cloned().unwrap_or(Value::Null))
}

/// What `play(name, 0)` of a distribution brings first: a status code, Play.Start once there is media.
fn play(addr: &str, host: &str, name: &str) -> (Client, String) {
    let (mut client, answer, info) = answer(addr, host);
    assert_eq!(answer, "_result", "{host}: {info:?}");
    client.create_stream();
    client.play(1, name, &[0.0]);
    let told = client.wait("media or an error", Duration::from_secs(30), |m| {
        m.is_media() || m.status().is_some_and(|s| s.field("level") == "error")
    });
    (client, told.status_code().unwrap_or_else(|| "media".into()))
}

fn rtmpdump(addr: &str, host: &str, name: &str, to: &str) -> players::Outcome {
    let (url, tc) = (format!("rtmp://{addr}/cfx/st"), format!("rtmp://{host}/cfx/st"));
    players::run(200, "rtmpdump", &["-q", "-r", &url, "-t", &tc, "-a", "cfx/st", "-y", name, "-o", to])
}

#[test]
fn c28_films_play_through_both_edges_by_domain_and_by_cname() {
    let folder = tempfile::tempdir().unwrap();
    for edge in 0..2 {
        for host in [PUBLIC, ALIAS] {
            let to = folder.path().join("o.flv");
            let done = rtmpdump(cluster().rtmp(edge), host, "mp4:first.mp4", to.to_str().unwrap());
            assert!(matches!(done.code, 0 | 2), "{host}: {done:?}");
            assert_eq!(
                packets::difference(
                    &packets::of(&media::file("first.mp4")).unwrap(),
                    &packets::of(&to).unwrap()
                ),
                None
            );
        }
    }
}

#[test]
fn c26_c27_c29_other_names_are_rejected_with_the_code_that_fits() {
    for (host, code) in [
        (WEB, "DistributionTypeMismatch"),
        (DISABLED, "DistributionNotFound"),
        ("s9999999999999.penstock.localhost", "DistributionNotFound"),
        ("127.0.0.1", "DistributionNotFound"),
        ("localhost", "DistributionNotFound"),
    ] {
        let (client, name, info) = answer(cluster().rtmp(0), host);
        assert_eq!(
            (name.as_str(), info.field("code")),
            ("_error", "NetConnection.Connect.Rejected"),
            "{host}"
        );
        let message = info.get("application").map(|a| a.field("message")).unwrap_or("");
        assert!(info.field("description").contains(code) && message.contains(code), "{host}: {info:?}");
        client.wait_closed(PATIENCE);
    }
}

#[test]
fn a_private_block_hot_in_every_cache_is_refused_to_a_distribution_without_access() {
    let cluster = cluster();
    let film = std::fs::read(media::file("first.mp4")).unwrap();
    cluster.s3.bucket("vault").put("secret.mp4", &film, &[]);
    for edge in 0..2 {
        assert_eq!(play(cluster.rtmp(edge), READER, "mp4:secret.mp4").1, "media");
    }
    for edge in 0..2 {
        for host in [STRANGER, FORGER] {
            let (client, told) = play(cluster.rtmp(edge), host, "mp4:secret.mp4");
            assert_eq!(told, "NetStream.Failed", "{host}");
            assert!(!client.messages().iter().any(Message::is_media));
            assert!(!client.is_closed());
        }
        assert_eq!(play(cluster.rtmp(edge), READER, "mp4:secret.mp4").1, "media");
    }
}

#[test]
fn a_forbidden_file_is_net_stream_failed_with_fms_s_description() {
    let (client, told) = play(cluster().rtmp(0), STRANGER, "mp4:dir/whatever.mp4");
    assert_eq!(told, "NetStream.Failed");
    let status = client.messages().iter().find_map(Message::status).unwrap();
    assert!(status.field("description").starts_with("Failed to play dir/whatever.mp4"), "{status:?}");
}

#[test]
fn status_nodes_and_purge_tell_and_do() {
    let nodes = cluster().control_command(&["nodes"]).expect(0).stdout;
    for name in ["edge-1", "edge-2", "shield-1", "shield-2"] {
        assert!(nodes.contains(name), "{nodes}");
    }
    eventually("all to be deployed", PATIENCE, || {
        let status = cluster().control_command(&["status"]).expect(0).stdout;
        assert!(status.contains(PUBLIC), "{status}");
        status.contains("deployed: all 4 nodes").then_some(())
    });
    cluster().control_command(&["purge", "E000000000001", "first.mp4"]).expect(0);
    assert_ne!(cluster().control_command(&["purge", "ENOSUCH000000"]).code, 0);
}

#[test]
fn fifty_viewers_on_two_edges_fetch_each_block_once() {
    let folder = tempfile::tempdir().unwrap();
    let film = media::noise_film(20);
    std::fs::copy(&film, folder.path().join("one.flv")).unwrap();
    let cluster = Cluster::start(Setup { media: Some(folder.path().to_owned()), ..Default::default() });
    let size = std::fs::metadata(&film).unwrap().len();
    let outcomes =
        parallel(50, (0..50).collect(), |i: usize| rtmpdump(cluster.rtmp(i % 2), PUBLIC, "one", "/dev/null"));
    assert!(
        outcomes.iter().all(|o| matches!(o.code, 0 | 2)),
        "{:?}",
        outcomes.iter().find(|o| !matches!(o.code, 0 | 2))
    );
    let gets = cluster.proxy.gets("one.flv");
    let counts = block_counts(&gets, size);
    assert!(counts.iter().all(|n| *n == 1), "times each block was asked for: {counts:?}");
}

#[test]
fn a_cold_200_mb_mp4_starts_and_seeks_with_few_small_reads() {
    let folder = tempfile::tempdir().unwrap();
    let film = media::heavy_mp4();
    std::fs::hard_link(&film, folder.path().join("heavy.mp4"))
        .or_else(|_| std::fs::copy(&film, folder.path().join("heavy.mp4")).map(|_| ()))
        .unwrap();
    let cluster = Cluster::start(Setup { media: Some(folder.path().to_owned()), ..Default::default() });
    let (mut client, ..) = answer(cluster.rtmp(0), PUBLIC);
    client.create_stream();
    client.set_buffer(1, 1000);
    client.play(1, "mp4:heavy.mp4", &[0.0]);
    client.wait("the first picture", PATIENCE, Message::is_picture);
    let (reads, bytes) = (cluster.proxy.gets("heavy.mp4"), cluster.proxy.bytes());
    assert!(reads.len() <= 6, "{} reads until the first picture: {reads:#?}", reads.len());
    assert!(bytes <= 6_000_000, "{bytes} bytes until the first picture");
    // The read-ahead of the beginning may still be under way; let it end, then count what the seek adds.
    let mut before = cluster.proxy.gets("heavy.mp4").len();
    eventually("read-ahead to settle", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(600));
        let now = cluster.proxy.gets("heavy.mp4").len();
        let settled = now == before;
        before = now;
        settled.then_some(())
    });
    client.pause(1, true, 1000.0);
    client.wait_status("NetStream.Pause.Notify");
    let before = cluster.proxy.gets("heavy.mp4").len();
    client.seek(1, 100_000.0);
    client.wait_status("NetStream.Seek.Notify");
    client.wait("a picture of the middle", PATIENCE, |m| m.is_picture() && m.timestamp > 97_000);
    let after = cluster.proxy.gets("heavy.mp4").len();
    assert!(
        after - before <= 3,
        "{} reads for the seek: {:#?}",
        after - before,
        &cluster.proxy.gets("heavy.mp4")[before..]
    );
}

#[test]
fn without_etcd_and_control_new_plays_work_and_an_edge_restarts_from_its_last_known_good() {
    let mut cluster = Cluster::start(Setup::default());
    assert_eq!(play(cluster.rtmp(0), PUBLIC, "mp4:first.mp4").1, "media");
    cluster.etcd.process.kill();
    assert_eq!(play(cluster.rtmp(1), PUBLIC, "clip").1, "media");
    cluster.control.process.kill();
    for edge in 0..2 {
        assert_eq!(play(cluster.rtmp(edge), PUBLIC, "mp4:last.mp4").1, "media");
        assert_eq!(play(cluster.rtmp(edge), ALIAS, "sorenson").1, "media");
    }
    // A node writes its last known good a moment after it learned it.
    let saved = cluster.folder().join("edge-1/last-known-good");
    eventually("the last known good on disk", PATIENCE, || saved.exists().then_some(()));
    cluster.edges[0].restart();
    cluster.edges[0].wait_ready();
    assert_eq!(play(cluster.rtmp(0), PUBLIC, "mp4:clip.mov").1, "media");
    assert_eq!(play(cluster.rtmp(0), PUBLIC, "mp4:nosuch.mp4").1, "NetStream.Play.StreamNotFound");
}

/// A download into a hash: reads all of it, calls `at` with the bytes so far.
fn hashed(mut from: ChildStdout, mut at: impl FnMut(u64)) -> (u64, String) {
    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut into = sum.stdin.take().unwrap();
    let mut buffer = vec![0; 1 << 18];
    let mut total = 0;
    loop {
        let n = from.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        into.write_all(&buffer[..n]).unwrap();
        total += n as u64;
        at(total);
    }
    drop(into);
    let out = sum.wait_with_output().unwrap();
    (total, String::from_utf8_lossy(&out.stdout).split(' ').next().unwrap().to_owned())
}

fn download(addr: &str, at: impl FnMut(u64)) -> (u64, String) {
    let (url, tc) = (format!("rtmp://{addr}/cfx/st"), format!("rtmp://{PUBLIC}/cfx/st"));
    let mut dump = Command::new("timeout")
        .args([
            "-k", "1", "240", "rtmpdump", "-q", "-r", &url, "-t", &tc, "-a", "cfx/st", "-y", "film", "-o",
            "-",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let result = hashed(dump.stdout.take().unwrap(), at);
    let status = dump.wait().unwrap();
    assert!(matches!(status.code(), Some(0 | 2)), "rtmpdump: {status} after {} bytes", result.0);
    result
}

#[test]
fn killing_a_shield_in_mid_read_ten_times_changes_no_byte_of_a_gigabyte() {
    const SIZE: u64 = 1 << 30;
    let folder = tempfile::tempdir().unwrap();
    std::fs::hard_link(media::noise_film(1024), folder.path().join("film.flv"))
        .or_else(|_| std::fs::copy(media::noise_film(1024), folder.path().join("film.flv")).map(|_| ()))
        .unwrap();
    let mut cluster = Cluster::start(Setup {
        media: Some(folder.path().to_owned()),
        edge: "cache_bytes: 67108864".into(),
        ..Default::default()
    });
    let mut random = StdRng::seed_from_u64(6);
    let (length, undisturbed) = download(cluster.rtmp(0), |_| ());
    assert!(length > SIZE - (1 << 20), "{length} bytes");
    for round in 0..10 {
        let Cluster { edges, shields, .. } = &mut cluster;
        let threshold = SIZE * random.random_range(20..50) / 100;
        let first = random.random_range(0..2);
        let (mut killed, mut before) = (None, 0.0);
        let got = download(&edges[round % 2].addr, |total| {
            if killed.is_none() && total > threshold && total < SIZE * 6 / 10 {
                // The first of the two that has a Read open right now.
                let open = |n: &usize| shields[*n].metric("penstock_shield_read_streams") > 0.0;
                if let Some(victim) = [first, 1 - first].into_iter().find(open) {
                    before = shields[1 - victim].metric("penstock_shield_served_bytes_total");
                    shields[victim].process.kill();
                    killed = Some(victim);
                }
            }
        });
        let victim =
            killed.unwrap_or_else(|| panic!("round {round}: no shield had a Read open between 20 and 60 %"));
        assert_eq!(got, (length, undisturbed.clone()), "round {round}, shield {victim} killed");
        let after = shields[1 - victim].metric("penstock_shield_served_bytes_total");
        assert!(after > before, "round {round}: the survivor served nothing more");
        shields[victim].restart();
        shields[victim].wait_ready();
        cluster.wait_shields(2);
    }
}
