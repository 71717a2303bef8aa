//! Faults of networks and hosts, with real processes: numbers are those of the reliability list. Bad networks are namespaces of the test's own.
//!
//! After each: bytes of one version only, nothing left behind, and whoever isn't concerned notices nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tests::cluster::{Cluster, Node, PUBLIC, Setup};
use tests::crowd::{Crowd, Film, Plan, Seen, Witnesses};
use tests::netns::lab::{SERVER_DEVICE, VIEWER_DEVICE};
use tests::netns::{Lab, Netns};
use tests::relay::{self, Relay};
use tests::standalone::{Options, Standalone};
use tests::wire::handshake::{Kind, c1};
use tests::wire::{Client, PATIENCE};
use tests::{counting_proxy, eventually, flv, media, packets, players, scale};

/// Sounds and pictures of an FLV: what downloads of it are compared by.
fn payloads(path: &Path) -> Vec<(u8, u32, Vec<u8>)> {
    let file = std::fs::read(path).unwrap();
    let tags = flv::tags(&file).unwrap_or_else(|e| panic!("{}: {e:#}", path.display()));
    tags.into_iter()
        .filter(|t| t.is_picture() || t.is_sound())
        .map(|t| (t.kind, t.timestamp, t.body))
        .collect()
}

/// Downloads `minute` over the lab's cable with rtmpdump and panics unless every payload of it came.
fn downloads_whole(lab: &Lab) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    let done = lab.download("minute", &to, &["-q", "-b", "36000000"]);
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    assert!(payloads(&to) == payloads(&media::file("minute.flv")), "the download differs from the file");
    done.took
}

/// Viewers at the lab's far end.
fn far_crowd(lab: &Lab, plans: Vec<Plan>) -> Crowd {
    lab.far.within(|| Crowd::start(lab.server.rtmp(), plans))
}

/// All gauges of the lab's server go back to 0.
fn settles(lab: &Lab) {
    eventually("nothing left of the sessions", Duration::from_secs(20), || {
        let left =
            ["sessions", "playing_streams", "connections"].map(|g| lab.metric(&format!("penstock_edge_{g}")));
        (left == [0.0; 3]).then_some(())
    });
}

/// Paced viewers with a buffer of 3 s, for so long: none stalls, all bytes are the film's.
fn paced_viewers_notice_nothing(lab: &Lab, up_to_ms: u32) {
    let crowd = far_crowd(lab, Plan::watch("minute").times(4));
    let within = Duration::from_secs(30) + Duration::from_millis(up_to_ms.into());
    crowd.wait("the film", within, |s| s.reached_ms() >= up_to_ms);
    let film = Film::of_flv("minute.flv");
    for seen in crowd.close() {
        seen.is_beginning_of(&film);
        assert_eq!(seen.late, Duration::ZERO, "a stall, at {} ms at the latest", seen.reached_ms());
    }
}

#[test]
fn f36_one_to_five_percent_of_packets_lost_each_way_cost_time_and_nothing_else() {
    let Some(lab) = Lab::new(Options::default()) else { return };
    for percent in [1, 3, 5] {
        let before = lab.near.counter("Tcp", "RetransSegs");
        [&lab.near, &lab.far].iter().for_each(|end| end.lose_percent(percent));
        downloads_whole(&lab);
        paced_viewers_notice_nothing(&lab, 12_000 * scale(1).min(4) as u32);
        [&lab.near, &lab.far].iter().for_each(|end| end.no_rules());
        let lost = lab.near.counter("Tcp", "RetransSegs") - before;
        assert!(lost > 10, "{percent} %: only {lost} segments were sent again: nothing was lost");
        settles(&lab);
    }
}

#[test]
fn f36_packets_that_overtake_each_other_arrive_in_order() {
    let Some(lab) = Lab::new(Options::default()) else { return };
    let seen = |lab: &Lab| lab.far.counter("TcpExt", "TCPOFOQueue");
    let before = seen(&lab);
    lab.near.reorder(SERVER_DEVICE, 10, 20);
    downloads_whole(&lab);
    paced_viewers_notice_nothing(&lab, 12_000 * scale(1).min(4) as u32);
    let overtaken = seen(&lab) - before;
    assert!(overtaken > 20, "only {overtaken} packets came out of order");
    lab.near.no_queue(SERVER_DEVICE);
    settles(&lab);
}

#[test]
fn f36_a_round_trip_of_200_ms_with_jitter_delays_the_start_and_nothing_else() {
    let server = Standalone::start();
    let path = relay::Path {
        delay: Duration::from_millis(90),
        jitter: Duration::from_millis(20),
        bytes_per_s: 1_000_000,
    };
    let relay = Relay::start(server.rtmp(), path);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    let done = players::rtmpdump(relay.addr(), "minute", &to, &["-q", "-b", "36000000"]);
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    assert!(payloads(&to) == payloads(&media::file("minute.flv")));
    // Seven round trips (TCP's own is the relay's) until media; then the film at the path's rate.
    assert!(done.took < Duration::from_secs(12), "{:?}", done.took);
    let crowd = Crowd::start(relay.addr(), Plan::watch("minute").times(2));
    crowd.wait("the film", Duration::from_secs(60), |s| s.reached_ms() >= 20_000);
    let film = Film::of_flv("minute.flv");
    for seen in crowd.close() {
        seen.is_beginning_of(&film);
        assert_eq!(seen.late, Duration::ZERO);
    }
    // A seek costs one round trip, not more.
    let mut client = Client::streaming(relay.addr());
    client.set_buffer(1, 1000);
    client.play(1, "minute", &[0.0]);
    client.wait("pictures", PATIENCE, |m| m.is_picture());
    let asked = Instant::now();
    client.seek(1, 40_000.0);
    client.wait_status("NetStream.Seek.Notify");
    let picture = client.wait("a picture", PATIENCE, |m| m.is_picture()).at.duration_since(asked);
    assert!(
        (Duration::from_millis(180)..Duration::from_millis(900)).contains(&picture),
        "the first picture {picture:?} after the seek"
    );
}

#[test]
fn f36_a_slow_link_with_a_deep_queue_plays_what_fits_through_it() {
    let Some(lab) = Lab::new(Options::default()) else { return };
    // Four viewers of 0.23 Mb/s, their first buffers at once, and 200 ms of queue in front of them.
    lab.near.rate(SERVER_DEVICE, 4_000, 200);
    lab.far.rate(VIEWER_DEVICE, 1_000, 200);
    paced_viewers_notice_nothing(&lab, 15_000 * scale(1).min(3) as u32);
    lab.near.no_queue(SERVER_DEVICE);
    settles(&lab);
}

#[test]
fn f36_a_cable_pulled_for_two_seconds_is_bridged_by_the_buffer() {
    let Some(lab) = Lab::new(Options::default()) else { return };
    let crowd = far_crowd(&lab, Plan::watch("minute").buffer_ms(10_000).times(3));
    crowd.wait("media", PATIENCE, |s| s.reached_ms() > 10_000);
    lab.far.link(VIEWER_DEVICE, false);
    std::thread::sleep(Duration::from_secs(2));
    lab.far.link(VIEWER_DEVICE, true);
    crowd.wait("the film going on", Duration::from_secs(60), |s| s.reached_ms() >= 30_000);
    let film = Film::of_flv("minute.flv");
    for seen in crowd.close() {
        seen.is_beginning_of(&film);
        assert_eq!(seen.late, Duration::ZERO);
    }
    settles(&lab);
}

#[test]
fn f37_behind_an_mtu_black_hole_viewers_are_ended_by_the_stall_timeout_and_the_others_play() {
    let stall = Duration::from_secs(6);
    let config = Some(format!("edge:\n  stall_timeout_ms: {}\n", stall.as_millis()));
    let Some(lab) = Lab::new(Options { config, ..Default::default() }) else { return };
    // The hole is on the way to the far end; a viewer on the server's own machine doesn't pass it.
    let witnesses = lab.near.within(|| Witnesses::start(lab.server.rtmp()));
    lab.far.swallow_packets_over(900);
    let crowd = far_crowd(&lab, Plan::watch("minute").times(6));
    eventually("every viewer behind the hole ended", Duration::from_secs(60), || {
        let name = "penstock_edge_session_seconds_count{end=\"stalled\"}";
        let handshakes = "penstock_edge_refused_total{reason=\"handshake_timeout\"}";
        (lab.sample(name) + lab.sample(handshakes) == 6.0).then_some(())
    });
    assert!(crowd.close().iter().all(|s| s.media.is_empty() || s.reached_ms() < 58_000));
    witnesses.noticed_nothing();
    settles(&lab);
}

#[test]
fn f37_with_mtu_probing_viewers_play_through_the_same_hole() {
    let Some(lab) = Lab::new(Options::default()) else { return };
    // What the handbook advises hosts of edges to set: TCP tries smaller segments when full ones vanish.
    lab.near.sysctl("net.ipv4.tcp_mtu_probing", "1");
    lab.near.sysctl("net.ipv4.tcp_base_mss", "512");
    lab.far.swallow_packets_over(900);
    let crowd = far_crowd(&lab, Plan::watch("minute").times(3));
    crowd
        .wait("the film, once TCP has found the size", Duration::from_secs(90), |s| s.reached_ms() >= 10_000);
    let film = Film::of_flv("minute.flv");
    crowd.close().iter().for_each(|seen| seen.is_beginning_of(&film));
    settles(&lab);
}

#[test]
fn f12_an_edge_cut_off_from_one_shield_uses_the_next_and_the_other_edge_notices_nothing() {
    let (Some(world), Some(apart)) = (Netns::new("world"), Netns::new("apart")) else { return };
    world.join("w0", "10.79.0.1/24", &apart, "a0", "10.79.0.2/24");
    // Twelve films, so that shield 1 is home to some; 4 MiB is one segment, and one home.
    let films: Vec<String> = (0..12).map(|n| format!("cut-{n}")).collect();
    let (film, folder) = (media::noise_film(4), tempfile::tempdir().unwrap());
    for name in &films {
        std::fs::copy(&film, folder.path().join(format!("{name}.flv"))).unwrap();
    }
    std::fs::copy(media::file("minute.flv"), folder.path().join("minute.flv")).unwrap();
    let setup = Setup {
        media: Some(folder.path().to_owned()),
        edge: "cache_bytes: 16777216\n".into(),
        ..Default::default()
    };
    let cluster = world.within(|| Cluster::start(setup));
    // The third edge stands apart, at the other end of a cable.
    let edge: Node = apart.within(|| cluster.another_edge("edge-apart"));
    let whole = payloads(&film);
    let play = |addr: &str, name: &str| {
        let (to, url) = (folder.path().join("out"), format!("rtmp://{PUBLIC}/cfx/st"));
        let done = players::rtmpdump(addr, name, &to, &["-q", "-b", "36000000", "-t", &url]);
        assert!(matches!(done.code, 0 | 2), "{name}: {done:?}");
        assert!(payloads(&to) == whole, "{name} differs from the film");
        done.took
    };
    let witness = world.within(|| {
        let crowd = Crowd::start(cluster.rtmp(0), Plan::watch("minute").of(PUBLIC).times(2));
        crowd.wait("media", PATIENCE, |s| !s.media.is_empty());
        crowd
    });
    apart.within(|| play(&edge.addr, &films[0]));
    let failovers = "penstock_shield_client_failovers_total";
    assert_eq!(apart.within(|| edge.metric(failovers)), 0.0, "before the cut");

    // Nothing passes between that edge and shield 1, either way: not refused, swallowed.
    let (host, port) = cluster.shields[0].addr.rsplit_once(':').unwrap();
    apart.on_arrival(&[&format!("ip saddr {host} tcp sport {port} drop")]);
    world.on_arrival(&[&format!("iifname \"w0\" ip daddr {host} tcp dport {port} drop")]);
    for name in &films {
        let took = apart.within(|| play(&edge.addr, name));
        assert!(took < Duration::from_secs(20), "the partition held a viewer up for {took:?}");
    }
    assert!(apart.within(|| edge.metric(failovers)) > 0.0, "the edge that is cut off never turned elsewhere");
    // The others see both shields, and are given the same films.
    for name in &films {
        world.within(|| play(cluster.rtmp(1), name));
    }
    for node in &cluster.edges {
        assert_eq!(world.within(|| node.metric(failovers)), 0.0, "{} turned elsewhere too", node.name);
    }
    [&apart, &world].iter().for_each(|end| end.no_rules());
    for name in &films {
        apart.within(|| play(&edge.addr, name));
    }
    // A block is fetched by its home once; and once more by the other shield, which the cut edge had to ask.
    let size = std::fs::metadata(&film).unwrap().len();
    for name in &films {
        let counts = counting_proxy::block_counts(&cluster.proxy.gets(&format!("{name}.flv")), size);
        assert!(counts.iter().all(|n| (1..=2).contains(n)), "fetches a block of {name}: {counts:?}");
    }
    let minute = Film::of_flv("minute.flv");
    for seen in witness.close() {
        seen.is_beginning_of(&minute);
        assert_eq!(seen.late, Duration::ZERO, "a viewer of another edge stalled");
    }
}

/// Plays on at `addr` where a viewer was when its edge went, as a player that reconnects does.
fn resume(addr: &str, seen: &[Seen]) -> Crowd {
    let plans = seen.iter().map(|s| Plan::watch("minute").of(PUBLIC).from_ms(s.reached_ms())).collect();
    Crowd::start(addr, plans)
}

#[test]
fn f38_an_edge_killed_for_its_memory_takes_only_its_viewers_along_and_they_come_back() {
    let mut cluster = Cluster::start(Setup::default());
    let film = Film::of_flv("minute.flv");
    let plan = || Plan::watch("minute").of(PUBLIC);
    let others = Crowd::start(cluster.rtmp(1), plan().times(3));
    let crowd = Crowd::start(cluster.rtmp(0), plan().times(20));
    crowd.wait("media", PATIENCE, |s| s.reached_ms() > 6000);
    // What the kernel's OOM killer sends; no handler sees it.
    cluster.edges[0].process.kill();
    crowd.wait("every connection of the dead edge closed", PATIENCE, |s| s.ended);
    let lost = crowd.close();
    lost.iter().for_each(|s| s.is_beginning_of(&film));
    let back = resume(cluster.rtmp(1), &lost);
    back.wait("media at the other edge", PATIENCE, |s| s.reached_ms() > 12_000);
    cluster.edges[0].restart();
    cluster.edges[0].wait_ready();
    let home = resume(cluster.rtmp(0), &lost);
    home.wait("media at the edge that is back", PATIENCE, |s| s.reached_ms() > 12_000);
    for (seen, before) in [back.close(), home.close()].concat().iter().zip(lost.iter().chain(&lost)) {
        seen.is_of(&film);
        // From the keyframe at or before where it was, one every two seconds.
        let begins =
            film.time_of(seen.media.iter().find(|m| film.time_of(m).is_some_and(|t| t > 0)).unwrap());
        let range = before.reached_ms() - 2100..=before.reached_ms();
        assert!(begins.is_some_and(|t| range.contains(&t)), "resumed at {begins:?}, should be {range:?}");
        assert_eq!(seen.late, Duration::ZERO);
    }
    for seen in others.close() {
        seen.is_beginning_of(&film);
        assert_eq!(seen.late, Duration::ZERO, "a viewer of the other edge stalled");
    }
}

#[test]
fn f38_a_shield_killed_for_its_memory_under_load_costs_no_viewer_anything() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(media::noise_film(64), folder.path().join("noise.flv")).unwrap();
    std::fs::copy(media::file("minute.flv"), folder.path().join("minute.flv")).unwrap();
    let setup = Setup {
        media: Some(folder.path().to_owned()),
        edge: "cache_bytes: 16777216\n".into(),
        ..Default::default()
    };
    let mut cluster = Cluster::start(setup);
    let paced = Crowd::start(cluster.rtmp(1), Plan::watch("minute").of(PUBLIC).times(4));
    let fast = Plan::watch("noise").of(PUBLIC).buffer_ms(3_600_000);
    let crowd = Crowd::start(cluster.rtmp(0), fast.times(3));
    crowd.wait("media", PATIENCE, |s| s.bytes > 8 << 20);
    cluster.shields[0].process.kill();
    crowd.wait("the film's last picture", Duration::from_secs(90), |s| s.reached_ms() >= 63_750);
    cluster.shields[0].restart();
    cluster.shields[0].wait_ready();
    cluster.wait_shields(2);
    let noise = Film::of_file(&media::noise_film(64));
    crowd.close().iter().for_each(|s| {
        s.is_beginning_of(&noise);
        assert_eq!(s.media.len(), noise.media().len());
    });
    let minute = Film::of_flv("minute.flv");
    for seen in paced.close() {
        seen.is_beginning_of(&minute);
        assert_eq!(seen.late, Duration::ZERO, "a paced viewer stalled");
    }
    // It is back at work: a film nobody has asked for yet is read through both again.
    let (before, to) =
        (cluster.shields[0].metric("penstock_shield_served_bytes_total"), folder.path().join("o.flv"));
    std::fs::copy(media::noise_film(64), folder.path().join("again.flv")).unwrap();
    let done = players::rtmpdump(
        cluster.rtmp(1),
        "again",
        &to,
        &["-q", "-b", "36000000", "-t", &format!("rtmp://{PUBLIC}/cfx/st")],
    );
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    assert!(payloads(&to) == payloads(&media::noise_film(64)));
    assert!(
        cluster.shields[0].metric("penstock_shield_served_bytes_total") > before,
        "the shield that is back serves nothing"
    );
}

#[test]
fn f39_a_server_that_runs_a_tenth_of_the_time_still_paces_and_recovers_when_it_stood_still() {
    let server = Standalone::start();
    let film = Film::of_flv("minute.flv");
    let crowd = Crowd::start(server.rtmp(), Plan::watch("minute").times(10));
    crowd.wait("media", PATIENCE, |s| s.reached_ms() > 3000);
    // A tenth of a processor, as a cgroup's quota gives it: 50 ms of every 500.
    let end = Instant::now() + Duration::from_secs(8) * scale(1) as u32;
    while Instant::now() < end {
        server.process.signal("STOP");
        std::thread::sleep(Duration::from_millis(450));
        server.process.signal("CONT");
        std::thread::sleep(Duration::from_millis(50));
    }
    let starved = crowd.late();
    assert!(
        starved < Duration::from_secs(1),
        "viewers stood still for {starved:?} on a tenth of a processor"
    );
    // Then none at all, for longer than any buffer lasts.
    server.process.signal("STOP");
    std::thread::sleep(Duration::from_secs(8));
    server.process.signal("CONT");
    let resumed = Instant::now();
    let at = crowd.seen().iter().map(Seen::reached_ms).max().unwrap_or_default();
    crowd.wait("media again", PATIENCE, |s| s.reached_ms() > at.min(50_000));
    assert!(resumed.elapsed() < Duration::from_secs(5), "{:?} until media came again", resumed.elapsed());
    crowd.wait("the film at its pace again", Duration::from_secs(30), |s| {
        s.reached_ms() > at.min(50_000) + 6000
    });
    crowd.close().iter().for_each(|s| s.is_beginning_of(&film));
    eventually("nothing left of the sessions", PATIENCE, || {
        let left = ["sessions", "playing_streams", "connections"]
            .map(|g| server.metric(&format!("penstock_edge_{g}")));
        (left == [0.0; 3]).then_some(())
    });
}

#[test]
fn f40_everything_works_where_there_is_no_ipv4_at_all() {
    let Some(six) = Netns::new("six") else { return };
    six.only_ipv6();
    six.within(|| {
        let cluster = Cluster::start(Setup::default());
        assert!(cluster.rtmp(0).starts_with("[::1]:"), "{}", cluster.rtmp(0));
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("o.flv");
        // librtmp looks names up with gethostbyname, which knows no IPv6: ffmpeg's own RTMP plays instead of rtmpdump.
        let input = format!("rtmp://{}/cfx/st/clip", cluster.rtmp(0));
        let tc_url = format!("rtmp://{PUBLIC}/cfx/st");
        players::ffmpeg_copy(&["-rtmp_tcurl", &tc_url, "-rtmp_buffer", "36000000"], &input, &[], &to)
            .expect(0);
        let (source, got) = (packets::of(&media::file("clip.flv")).unwrap(), packets::of(&to).unwrap());
        assert_eq!(packets::difference(&source, &got), None);
        let crowd = Crowd::start(cluster.rtmp(1), Plan::watch("clip").of(PUBLIC).times(3));
        crowd.wait("the whole film", Duration::from_secs(30), |s| s.ended);
        crowd.close().iter().for_each(|s| s.is_whole(&Film::of_flv("clip.flv")));
    });
}

#[test]
fn f40_garbage_where_a_proxy_header_belongs_ends_its_own_connection_and_is_counted() {
    // Balancers speak from ::1, viewers of their own from 127.0.0.1.
    let config = "edge:\n  proxy_protocol_from: ['::1/128']\n  handshake_timeout_ms: 3000\n".to_owned();
    let listen = vec!["127.0.0.1:0".to_owned(), "[::1]:0".to_owned()];
    let server = Standalone::with(Options { listen, config: Some(config), ..Default::default() });
    let witnesses = Witnesses::start(server.rtmp());
    let balanced = server.ready["rtmp"][1].as_str().unwrap();
    let hello = [&[3], &c1(Kind::Simple)[..]].concat();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 77, 192, 0, 2, 2, 0x12, 0x34, 0x07, 0x8f]);
    let send = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(balanced).unwrap();
        let _ = stream.write_all(bytes);
        stream
    };
    let count = |reason: &str| {
        let name = format!("penstock_edge_refused_total{{reason=\"{reason}\"}}");
        server.metrics().get(&name).copied().unwrap_or(0.0)
    };
    // Every single wrong byte of the signature and the version; lengths that don't fit; the text form; no header at all.
    let mut garbage: Vec<Vec<u8>> = (0..13)
        .map(|at| {
            let mut wrong = header.clone();
            wrong[at] ^= 0x40;
            [wrong, hello.clone()].concat()
        })
        .collect();
    for length in [[0, 0], [0, 4], [0xff, 0xff]] {
        let mut wrong = header.clone();
        wrong[14..16].copy_from_slice(&length);
        garbage.push([wrong, hello.clone()].concat());
    }
    garbage.push(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec());
    garbage.push(hello.clone());
    let mut open: Vec<TcpStream> = garbage.iter().map(|bytes| send(bytes)).collect();
    eventually("each counted", PATIENCE, || (count("proxy_header") == garbage.len() as f64).then_some(()));
    for stream in &mut open {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)), "an answer to garbage");
    }
    // A header that never ends is a silent connection.
    let halves: Vec<TcpStream> = (1..header.len()).map(|n| send(&header[..n])).collect();
    eventually("each closed in time", PATIENCE, || (count("silent") == halves.len() as f64).then_some(()));
    // Bits flipped anywhere: a header that still reads as one is one, the rest is garbage; nothing else happens.
    let mut random = StdRng::seed_from_u64(40);
    let flipped: Vec<TcpStream> = (0..scale(200))
        .map(|_| {
            let mut bytes = [&header[..], &hello].concat();
            for _ in 0..4 {
                let at = random.random_range(0..header.len());
                bytes[at] ^= 1 << random.random_range(0..8);
            }
            send(&bytes)
        })
        .collect();
    // And a right one is served beside them.
    let mut stream = send(&header);
    tests::wire::handshake::run(&mut stream, Kind::Digest(0)).unwrap();
    let mut client = Client::over(stream);
    client.connect("cfx/st", &server.url(), &[]);
    assert_eq!(client.wait_answer(1.0, PATIENCE).0, "_result");
    assert!(server.log().contains("192.0.2.77"));
    drop((flipped, halves, open, client));
    witnesses.noticed_nothing();
    eventually("nothing left of the connections", Duration::from_secs(20), || {
        let left = ["sessions", "connections"].map(|g| server.metric(&format!("penstock_edge_{g}")));
        (left == [0.0; 2]).then_some(())
    });
}
