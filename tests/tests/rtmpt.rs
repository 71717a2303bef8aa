//! RTMP through HTTP: the protocol on raw sockets, and the players people use.

use std::fs;
use std::time::{Duration, Instant};

use tests::standalone::{Options, Standalone, shared};
use tests::tunnel::{Answer, Bridge, Poster};
use tests::wire::chunk::{Dechunker, Message};
use tests::wire::handshake::{self, Kind, PACKET};
use tests::wire::{Client, PATIENCE};
use tests::{eventually, flv, media, parallel, players};

/// C0 and C1.
fn greeting() -> Vec<u8> {
    [&[3], handshake::c1(Kind::Simple).as_slice()].concat()
}

fn with(tunnel: &str) -> Standalone {
    let config = Some(format!("edge:\n  tunnel: {{{tunnel}}}\n"));
    Standalone::with(Options { config, ..Default::default() })
}

fn body(answer: &Answer) -> &[u8] {
    assert_eq!(answer.status, 200, "{answer:?}");
    &answer.body
}

#[test]
fn s13_ident2_is_not_found_or_names_the_configured_address_and_the_connection_goes_on() {
    let mut poster = Poster::to(shared().rtmp());
    let answer = poster.post("/fcs/ident2", &[0]);
    assert!(answer.status == 404 && !answer.closes(), "{answer:?}");
    poster.open();

    let server = with("public_address: 192.0.2.77");
    let mut poster = Poster::to(server.rtmp());
    let answer = poster.post("/fcs/ident2", &[0]);
    assert_eq!(body(&answer), b"192.0.2.77");
    assert!(answer.head.contains("Content-Type: text/plain\r\n") && !answer.closes(), "{answer:?}");
    poster.open();
}

#[test]
fn s14_open_gives_an_unguessable_id_and_a_newline_in_the_words_librtmp_reads() {
    let mut poster = Poster::to(shared().rtmp());
    let answer = poster.post("/open/1", &[0]);
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
    for line in [
        "Content-Length: 17",
        "Content-Type: application/x-fcs",
        "Cache-Control: no-cache",
        "Connection: Keep-Alive",
    ] {
        assert!(answer.head.contains(&format!("\r\n{line}\r\n")), "no {line} in\n{}", answer.head);
    }
    assert!(answer.body.len() == 17 && answer.body.ends_with(b"\n"), "{answer:?}");
    assert!(answer.body[..16].iter().all(u8::is_ascii_alphanumeric));
    assert_ne!(poster.open(), poster.open());
}

#[test]
fn s15_the_polling_byte_is_1_after_data_and_climbs_after_each_ten_empty_answers() {
    let server = with("idle_ms: 10");
    let mut poster = Poster::to(server.rtmp());
    let id = poster.open();
    let answer = poster.post(&format!("/send/{id}/0"), &greeting());
    assert_eq!((body(&answer)[0], answer.body.len()), (1, 2 + 2 * PACKET));
    let mut bytes: Vec<u8> = Vec::new();
    for n in 1..=65 {
        let answer = poster.post(&format!("/idle/{id}/{n}"), &[0]);
        assert_eq!(body(&answer).len(), 1);
        bytes.extend(&answer.body);
    }
    let climb: Vec<u8> = [1, 3, 5, 9, 0x11, 0x21, 0x21].iter().flat_map(|b| [*b; 10]).take(65).collect();
    assert_eq!(bytes, climb);
}

#[test]
fn s16_an_idle_with_nothing_pending_is_held_and_answered_as_soon_as_there_is_something() {
    let mut poster = Poster::to(shared().rtmp());
    let id = poster.open();
    poster.post(&format!("/send/{id}/0"), &greeting());
    for n in 1..4 {
        let begun = Instant::now();
        assert_eq!(body(&poster.post(&format!("/idle/{id}/{n}"), &[0])), [1]);
        let held = begun.elapsed();
        assert!(held >= Duration::from_millis(490) && held < Duration::from_secs(5), "{held:?}");
    }
    // What another connection sends brings an answer: to the newer request, and the older one is over.
    poster.send(&format!("/idle/{id}/4"), &[0]);
    let mut other = Poster::to(shared().rtmp());
    let mut bytes = handshake::c1(Kind::Simple);
    bytes.extend(connect());
    let answer = other.post(&format!("/send/{id}/5"), &bytes);
    assert_eq!(body(&poster.read().unwrap()), [1]);
    succeeds(&mut other, &id, 6, &answer);
}

/// What comes from this answer on has connect's success in it; `next` is the number of the next request.
fn succeeds(poster: &mut Poster, id: &str, next: u64, first: &Answer) {
    let mut reader = Dechunker::default();
    let mut messages = reader.push(&body(first)[1..]).unwrap();
    for n in next..next + 20 {
        if messages.iter().any(|m| m.command().is_some_and(|c| c.name == "_result" && c.tx == 1.0)) {
            return;
        }
        let answer = poster.post(&format!("/idle/{id}/{n}"), &[0]);
        messages.extend(reader.push(&body(&answer)[1..]).unwrap());
    }
    panic!("no success: {messages:?}");
}

fn connect() -> Vec<u8> {
    use tests::wire::amf::{self, Value};
    let url = shared().url();
    let object = Value::Object(vec![("app".into(), "cfx/st".into()), ("tcUrl".into(), url.as_str().into())]);
    tests::wire::chunk::Chunker::default().message(3, 0, 20, 0, &amf::command("connect", 1.0, &[object]))
}

#[test]
fn s16_a_paused_player_makes_less_than_5_requests_a_second() {
    let server = Standalone::start();
    let bridge = Bridge::to(server.rtmp());
    let mut client = Client::streaming(bridge.addr());
    client.set_buffer(1, 3000);
    client.play(1, "minute", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    client.pause(1, true, 1000.0);
    client.wait_status("NetStream.Pause.Notify");
    let (begun, before) = (Instant::now(), server.metric("penstock_edge_tunnel_requests_total"));
    std::thread::sleep(Duration::from_secs(4));
    let made = server.metric("penstock_edge_tunnel_requests_total") - before;
    let rate = made / begun.elapsed().as_secs_f64();
    assert!(made > 0.0 && rate < 5.0, "{rate} requests a second");
    client.pause(1, false, 1000.0);
    client.wait_status("NetStream.Unpause.Notify");
    client.wait("pictures again", PATIENCE, Message::is_picture);
}

#[test]
fn s16_rtmpdump_that_plays_in_real_time_makes_less_than_5_requests_a_second() {
    let server = Standalone::start();
    let folder = tempfile::tempdir().unwrap();
    let (addr, to) = (server.rtmp().to_owned(), folder.path().join("o.flv"));
    let url = format!("rtmpt://{addr}/cfx/st");
    let plays = std::thread::spawn(move || {
        let args = [
            "-q",
            "-R",
            "-b",
            "3000",
            "-r",
            &url,
            "-a",
            "cfx/st",
            "-y",
            "minute",
            "-o",
            to.to_str().unwrap(),
        ];
        players::run(12, "rtmpdump", &args)
    });
    eventually("the film", PATIENCE, || {
        (server.metric("penstock_edge_playing_streams") == 1.0).then_some(())
    });
    std::thread::sleep(Duration::from_secs(2));
    let (begun, before) = (Instant::now(), server.metric("penstock_edge_tunnel_requests_total"));
    std::thread::sleep(Duration::from_secs(5));
    let made = server.metric("penstock_edge_tunnel_requests_total") - before;
    let rate = made / begun.elapsed().as_secs_f64();
    assert!(made > 0.0 && rate < 5.0, "{rate} requests a second");
    plays.join().unwrap();
}

#[test]
fn s17_pipelined_requests_are_answered_in_order() {
    let mut poster = Poster::to(shared().rtmp());
    let id = poster.open();
    let greeting = greeting();
    let mut all = Vec::new();
    for (n, piece) in greeting.chunks(400).enumerate() {
        all.extend(Poster::request(&format!("/send/{id}/{n}"), piece));
    }
    poster.write(&all);
    let answers: Vec<Answer> = greeting.chunks(400).map(|_| poster.read().unwrap()).collect();
    let sizes: Vec<usize> = answers.iter().map(|answer| body(answer).len()).collect();
    assert_eq!(sizes, [1, 1, 1, 2 + 2 * PACKET]);
}

#[test]
fn s17_requests_that_overtake_each_other_on_two_connections_are_put_in_order() {
    let greeting = greeting();
    let (head, tail) = greeting.split_at(700);
    let (mut a, mut b) = (Poster::to(shared().rtmp()), Poster::to(shared().rtmp()));
    let id = a.open();
    b.send(&format!("/send/{id}/1"), tail);
    // It is held: nothing comes before 0 has.
    std::thread::sleep(Duration::from_millis(200));
    let first = a.post(&format!("/send/{id}/0"), head);
    let second = b.read().unwrap();
    assert_eq!(body(&first), [1]);
    assert_eq!(body(&second).len(), 2 + 2 * PACKET);
    assert_eq!(second.body[2 + PACKET..], greeting[1..], "S2 is C1: the bytes are in order");
}

#[test]
fn s17_a_repeated_number_gets_the_same_answer_and_an_older_one_the_polling_byte() {
    let (mut a, mut b) = (Poster::to(shared().rtmp()), Poster::to(shared().rtmp()));
    let id = a.open();
    let first = a.post(&format!("/send/{id}/0"), &greeting());
    assert_eq!(body(&first).len(), 2 + 2 * PACKET);
    let again = b.post(&format!("/send/{id}/0"), &greeting());
    assert_eq!(first.body, again.body);
    assert_eq!(body(&a.post(&format!("/idle/{id}/1"), &[0])), [1]);
    assert_eq!(body(&b.post(&format!("/send/{id}/0"), &greeting())).len(), 1);
    // The session took none of it twice: it goes on with the rest of the handshake.
    let rest = [handshake::c1(Kind::Simple), connect()].concat();
    let answer = a.post(&format!("/send/{id}/2"), &rest);
    succeeds(&mut a, &id, 3, &answer);
}

#[test]
fn s17_an_answer_that_was_cut_off_can_be_asked_for_again() {
    let server = shared();
    let mut poster = Poster::to(server.rtmp());
    let id = poster.open();
    let whole = {
        let mut dead = Poster::to(server.rtmp());
        dead.send(&format!("/send/{id}/0"), &greeting());
        // The connection ends with the answer unread.
        drop(dead);
        poster.post(&format!("/send/{id}/0"), &greeting())
    };
    // The first request may have died before it had an answer: then there is none to repeat, and what it would have said comes with the next.
    let mut heard = body(&whole)[1..].to_vec();
    let next = poster.post(&format!("/idle/{id}/1"), &[0]);
    heard.extend(&body(&next)[1..]);
    assert_eq!(heard.len(), 1 + 2 * PACKET, "nothing is lost and nothing said twice");
}

#[test]
fn s18_close_frees_the_session_and_an_unknown_one_gets_a_4xx() {
    let server = Standalone::start();
    let sessions = || server.metric("penstock_edge_tunnel_sessions");
    let mut poster = Poster::to(server.rtmp());
    let id = poster.open();
    poster.post(&format!("/send/{id}/0"), &greeting());
    assert_eq!(sessions(), 1.0);
    assert_eq!(body(&poster.post(&format!("/close/{id}/1"), &[0])), [0]);
    eventually("the session's end", PATIENCE, || (sessions() == 0.0).then_some(()));
    let answer = poster.post(&format!("/idle/{id}/2"), &[0]);
    assert!(answer.status == 404 && answer.closes() && !answer.body.is_empty(), "{answer:?}");
    assert!(poster.is_closed(PATIENCE));
    for path in ["/send/abcdefgh01234567/0", "/idle/x/1", "/close/abcdefgh01234567/0"] {
        assert_eq!(Poster::to(server.rtmp()).post(path, &[0]).status, 404, "{path}");
    }
    assert!(server.metric("penstock_edge_refused_total") >= 4.0);
}

#[test]
fn s18_a_session_without_requests_is_freed() {
    let server = with("session_ms: 1500");
    let mut poster = Poster::to(server.rtmp());
    let id = poster.open();
    poster.post(&format!("/send/{id}/0"), &greeting());
    eventually("the session's end", PATIENCE, || {
        (server.metric("penstock_edge_tunnel_sessions") == 0.0).then_some(())
    });
    let late = Poster::to(server.rtmp()).post(&format!("/idle/{id}/1"), &[0]);
    assert_eq!(late.status, 404, "{late:?}");
}

/// Downloads over both, with the same options; both files.
fn both(play: &str, more: &[&str], before: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let get = |scheme: &str| {
        let to = folder.path().join(scheme);
        if let Some(bytes) = before {
            fs::write(&to, bytes).unwrap();
        }
        let done = players::rtmpdump_over(scheme, shared().rtmp(), play, &to, more);
        assert!(matches!(done.code, 0 | 2), "{scheme} {play} {more:?}: {done:?}");
        fs::read(&to).unwrap()
    };
    (get("rtmp"), get("rtmpt"))
}

#[test]
fn s19_downloads_are_the_same_bytes_as_over_rtmp() {
    let plays =
        ["clip", "no-index", "mp4:first.mp4", "mp4:last.mp4", "mp4:fragmented.mp4", "mp3:cbr", "mp3:vbr"];
    let wrong = parallel(2, plays.to_vec(), |play| {
        let (rtmp, rtmpt) = both(play, &["-q"], None);
        (rtmp != rtmpt || rtmp.len() < 10_000).then(|| format!("{play}: {} {}", rtmp.len(), rtmpt.len()))
    });
    assert_eq!(wrong.into_iter().flatten().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn s19_windows_and_resumed_downloads_are_the_same_bytes_as_over_rtmp() {
    for play in ["minute", "mp4:minute.mp4", "mp3:film"] {
        let (rtmp, rtmpt) = both(play, &["-q", "-A", "21", "-B", "31"], None);
        assert!(rtmp == rtmpt && rtmp.len() > 10_000, "{play}: {} {}", rtmp.len(), rtmpt.len());
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("full");
        players::download(shared().rtmp(), play, &to);
        let full = fs::read(&to).unwrap();
        let tags = flv::tags(&full).unwrap();
        let cut = tags[tags.len() / 2].end;
        let (rtmp, rtmpt) = both(play, &["-e"], Some(&full[..cut]));
        assert!(rtmp == full && rtmpt == full, "{play}: {} {} {}", full.len(), rtmp.len(), rtmpt.len());
    }
}

#[test]
fn c22_a_film_arrives_through_the_tunnel_on_every_listener() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("videos")).unwrap();
    fs::copy(media::file("clip.flv"), folder.path().join("videos/a.flv")).unwrap();
    let listen = vec!["127.0.0.1:0".into(), "127.0.0.1:0".into()];
    let server =
        Standalone::with(Options { media: Some(folder.path().into()), listen, ..Default::default() });
    let mut files = Vec::new();
    for addr in server.ready["rtmp"].as_array().unwrap() {
        for scheme in ["rtmp", "rtmpt"] {
            let to = folder.path().join(format!("{}.flv", files.len()));
            let done = players::rtmpdump_over(scheme, addr.as_str().unwrap(), "videos/a", &to, &["-q"]);
            assert!(matches!(done.code, 0 | 2), "{scheme}: {done:?}");
            files.push(fs::read(to).unwrap());
        }
    }
    assert!(files.len() == 4 && files[0].len() > 10_000 && files.iter().all(|file| *file == files[0]));
}

fn url(key: &str) -> String {
    format!("rtmpt://{}/cfx/st/{}", shared().rtmp(), media::play_name(key))
}

#[test]
fn s10_gstreamer_s_librtmp_source_plays() {
    players::gst_rtmpsrc(&url("first.mp4"), 100).expect(0);
}

#[test]
fn ffmpeg_probes_plays_and_seeks() {
    for key in ["first.mp4", "clip.flv", "clip.mov"] {
        let seen = players::ffprobe(&url(key)).expect(0).stdout;
        assert!(seen.contains("h264") && seen.contains("aac"), "{key}: {seen}");
    }
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    players::ffmpeg_copy(&["-ss", "30"], &url("minute.mp4"), &["-t", "3"], &to).expect(0);
    assert!(players::times(&to, "v").len() > 50);
}

#[test]
fn mpv_plays_from_the_middle() {
    players::mpv(&url("first.mp4"), &["--length=2"]).expect(0);
    players::mpv(&url("minute.mp4"), &["--start=30", "--length=1"]).expect(0);
}

#[test]
fn seeks_and_pauses_work_through_the_tunnel() {
    let bridge = Bridge::to(shared().rtmp());
    let mut client = Client::streaming(bridge.addr());
    client.set_buffer(1, 3000);
    client.play(1, "mp4:minute.mp4", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    client.seek(1, 40_000.0);
    client.wait_status("NetStream.Seek.Notify");
    let first = client.wait("a keyframe", PATIENCE, Message::is_keyframe);
    assert!((37_900..=40_000).contains(&first.timestamp), "{first}");
    client.pause(1, true, 40_500.0);
    client.wait_status("NetStream.Pause.Notify");
    client.pause(1, false, 40_500.0);
    client.wait_status("NetStream.Unpause.Notify");
    client.wait("the film's end", Duration::from_secs(60), |m| {
        m.status_code().as_deref() == Some("NetStream.Play.Stop")
    });
    assert_eq!(client.broken(), None);
    assert!(bridge.requests() > 10);
}

#[test]
fn a_stopping_server_says_goodbye_and_ends_what_is_held() {
    let mut server = Standalone::start();
    let bridge = Bridge::to(server.rtmp());
    let mut client = Client::connected(bridge.addr());
    let begun = Instant::now();
    server.process.signal("TERM");
    client.wait_status("NetConnection.Connect.Closed");
    client.wait_closed(PATIENCE);
    let status = server.process.wait(Duration::from_secs(15)).unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn the_red5_client_plays_seeks_pauses_and_resumes() {
    let steps = [
        "buffer=1000",
        "play=0",
        "until=NetStream.Play.Start",
        "wait=1500",
        "count",
        "seek=40000",
        "until=NetStream.Seek.Notify",
        "count",
        "wait=1500",
        "count",
        "pause=40500",
        "until=NetStream.Pause.Notify",
        "wait=700",
        "count",
        "wait=1000",
        "count",
        "resume=40500",
        "until=NetStream.Unpause.Notify",
        "wait=1500",
        "count",
    ];
    for key in ["minute.mp4", "minute.flv"] {
        let base = format!("rtmpt://{}/cfx/st", shared().rtmp());
        let done = players::red5(&base, &media::play_name(key), &steps).expect(0);
        let numbers = |l: &str| l.split(' ').filter_map(|w| w.split_once('=')?.1.parse().ok()).collect();
        let counts: Vec<Vec<i64>> =
            done.stdout.lines().filter_map(|l| l.strip_prefix("media ")).map(numbers).collect();
        let [start, _, sought, _, paused, resumed] = &counts[..] else { panic!("{key}: {done:?}") };
        let moved = |c: &[i64]| c[0] + c[1];
        assert!(moved(start) > 20 && moved(sought) > 20 && moved(resumed) > 20, "{key}: {}", done.stdout);
        assert!((37_000..=43_000).contains(&sought[3]), "{key}: {}", done.stdout);
        assert_eq!(moved(paused), 0, "{key}: media while paused\n{}", done.stdout);
    }
}
