//! What an attacker found on the first working edge, each as a test: the session lives, nothing is lost or leaked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tests::media;
use tests::standalone::{Options, Standalone, shared};
use tests::wire::amf::{self, Value};
use tests::wire::chunk::{Chunker, Dechunker, Message};
use tests::wire::{Client, PATIENCE};

#[test]
fn a_command_on_a_stream_that_does_not_exist_is_answered_or_ignored() {
    for id in [0x1000_0000, 0x3fff_ffff, 0x4000_0000, 0x4000_0001, u32::MAX, 77] {
        let mut client = Client::streaming(shared().rtmp());
        client.command(id, "play2", 0.0, &[Value::Null, Value::Null]);
        client.command(id, "publish", 0.0, &[Value::Null, Value::String("x".into())]);
        client.command(id, "play", 0.0, &[Value::Null, Value::String("clip".into())]);
        let tx = client.tx();
        client.command(id, "whatever", tx, &[Value::Null]);
        assert_eq!(client.wait_answer(tx, PATIENCE).0, "_result", "stream {id:#x}");
        client.play(1, "clip", &[0.0]);
        client.wait("pictures", PATIENCE, Message::is_picture);
    }
}

#[test]
fn a_film_waits_while_neither_sound_nor_picture_is_wanted() {
    for name in ["mp4:minute.mp4", "minute"] {
        let mut client = Client::streaming(shared().rtmp());
        client.set_buffer(1, 1000);
        client.play(1, name, &[0.0]);
        client.wait("pictures", PATIENCE, Message::is_picture);
        for kind in ["receiveAudio", "receiveVideo"] {
            client.command(1, kind, 0.0, &[Value::Null, Value::Boolean(false)]);
        }
        let tx = client.tx();
        client.command(1, "sync", tx, &[Value::Null]);
        client.wait_answer(tx, PATIENCE);
        client.skip_all();
        for kind in ["receiveAudio", "receiveVideo"] {
            client.command(1, kind, 0.0, &[Value::Null, Value::Boolean(true)]);
        }
        let picture = client.wait("pictures again", PATIENCE, Message::is_picture);
        assert!(picture.is_keyframe() && picture.timestamp < 30_000, "{name}: {picture}");
    }
}

#[test]
fn a_seek_followed_by_an_unpause_is_still_answered_and_obeyed() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "mp4:minute.mp4", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    client.pause(1, true, 1000.0);
    client.wait_status("NetStream.Pause.Notify");
    client.seek(1, 40_000.0);
    client.pause(1, false, 1000.0);
    client.wait_status("NetStream.Seek.Notify");
    let picture = client.wait("pictures", PATIENCE, Message::is_picture);
    assert!((38_000..=40_000).contains(&picture.timestamp), "{picture}");
    client.wait("more pictures", PATIENCE, |m| m.is_picture() && m.timestamp > 40_000);
}

#[test]
fn every_unpause_is_answered_in_its_turn_whatever_follows_it() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "mp4:minute.mp4", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    client.pause(1, true, 1000.0);
    client.wait_status("NetStream.Pause.Notify");
    client.skip_all();
    client.pause(1, false, 1000.0);
    client.pause(1, true, 1000.0);
    client.pause(1, false, 1000.0);
    client.seek(1, 40_000.0);
    client.wait("more pictures", PATIENCE, |m| m.is_picture() && m.timestamp > 40_000);
    let codes: Vec<String> = client.messages().iter().filter_map(Message::status_code).collect();
    let after: Vec<&str> =
        codes.iter().map(|c| c.trim_start_matches("NetStream.")).filter(|c| *c != "Play.Start").collect();
    let told = &after[after.len() - 4..];
    assert_eq!(told, ["Unpause.Notify", "Pause.Notify", "Unpause.Notify", "Seek.Notify"], "{after:?}");
}

#[test]
fn a_pause_before_the_file_is_open_is_answered_when_it_is() {
    let mut client = Client::streaming(shared().rtmp());
    client.play(1, "mp4:minute.mp4", &[0.0]);
    client.pause(1, true, 0.0);
    client.wait_status("NetStream.Pause.Notify");
    client.pause(1, false, 0.0);
    client.wait_status("NetStream.Unpause.Notify");
    client.wait("pictures", PATIENCE, Message::is_picture);
}

#[test]
fn what_was_asked_of_a_missing_file_does_not_reach_the_next() {
    let mut client = Client::streaming(shared().rtmp());
    client.play(1, "nosuch", &[0.0]);
    client.pause(1, true, 0.0);
    client.seek(1, 50_000.0);
    client.wait_status("NetStream.Play.StreamNotFound");
    client.play(1, "mp4:minute.mp4", &[0.0, -1.0, 0.0]);
    let picture = client.wait("pictures", PATIENCE, Message::is_picture);
    assert!(picture.timestamp < 1000, "{picture}");
}

#[test]
fn thousands_of_streams_in_turn_leave_the_connection_usable() {
    let mut client = Client::connected(shared().rtmp());
    let mut last = 0;
    for _ in 0..3000 {
        last = client.create_stream();
        client.command(0, "deleteStream", 0.0, &[Value::Null, Value::Number(f64::from(last))]);
    }
    let id = client.create_stream();
    assert_eq!(id, last + 1);
    client.play(id, "clip", &[0.0]);
    let picture = client.wait("pictures", PATIENCE, Message::is_picture);
    assert!(picture.csid < 64, "{picture}");
}

#[test]
fn gauges_count_what_is_there_and_logs_can_t_be_forged() {
    let server = Standalone::with(Options { media: Some(media::folder().to_owned()), ..Default::default() });
    let mut client = Client::open(server.rtmp());
    client.connect("cfx/st", "rtmp://evil\n2026-01-01T00:00:00Z  INFO forged/cfx/st", &[]);
    client.wait_closed(PATIENCE);
    assert!(!server.log().lines().any(|line| line.starts_with("2026-01-01")), "{}", server.log());

    let mut client = Client::streaming(server.rtmp());
    client.set_buffer(1, 36_000_000);
    for _ in 0..4 {
        client.play(1, "clip", &[0.0, -1.0, 0.0]);
        client.wait_status("NetStream.Play.Stop");
    }
    assert_eq!(server.metric("penstock_edge_playing_streams"), 1.0);
    assert_eq!(server.metric("penstock_edge_sessions"), 1.0);
    client.close();
    drop(client);
    tests::eventually("no session", Duration::from_secs(10), || {
        let counts = ["sessions", "playing_streams", "connections"]
            .map(|g| server.metric(&format!("penstock_edge_{g}")));
        (counts == [0.0; 3]).then_some(())
    });
}

#[test]
fn a_viewer_that_sends_without_reading_is_not_read_from_and_then_gets_every_answer() {
    const CALLS: usize = 400;
    let mut stream = TcpStream::connect(shared().rtmp()).unwrap();
    let mut greeting = vec![0; 1537];
    greeting[0] = 3;
    stream.write_all(&greeting).unwrap();
    let mut answer = vec![0; 3073];
    stream.read_exact(&mut answer).unwrap();
    stream.write_all(&answer[1..1537]).unwrap();
    // Each call is answered with its own 30 KB: 12 MB in all, far over what may wait for a viewer.
    let name = "x".repeat(30_000);
    let chunker = Chunker::default();
    let calls: Vec<Vec<u8>> = (0..CALLS)
        .map(|i| {
            let args = [Value::Null, Value::String(format!("{i}:{name}"))];
            chunker.message(3, 0, 20, 0, &amf::command("FCSubscribe", 0.0, &args))
        })
        .collect();
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || calls.iter().try_for_each(|call| writing.write_all(call)));
    // The server stops reading, so the writer can't end before the answers are read.
    let before = shared().metric("penstock_edge_received_bytes_total");
    tests::eventually("the server to stop reading", Duration::from_secs(20), || {
        let first = shared().metric("penstock_edge_received_bytes_total");
        std::thread::sleep(Duration::from_millis(200));
        (first > before && shared().metric("penstock_edge_received_bytes_total") == first).then_some(())
    });
    assert!(!writer.is_finished(), "12 MB were taken from a viewer that reads nothing");
    let (mut dechunker, mut heard, mut buffer) = (Dechunker::default(), 0, vec![0; 64 << 10]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    while heard < CALLS {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "closed after {heard} answers");
        for message in dechunker.push(&buffer[..n]).unwrap() {
            let Some(command) = message.command().filter(|c| c.name == "onFCSubscribe") else { continue };
            let told = format!("{:?}", command.args);
            assert!(told.contains(&format!("{heard}:xxx")), "answer {heard} out of order");
            heard += 1;
        }
    }
    writer.join().unwrap().unwrap();
}
