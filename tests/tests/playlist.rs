//! Playlists, lengths, and several streams of one connection: on the wire.

use std::time::{Duration, Instant};

use tests::standalone::shared;
use tests::wire::amf::Value;
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};

fn streaming(buffer_ms: u32) -> Client {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, buffer_ms);
    client
}

/// `play` with everything: the last is what becomes of the playlist.
fn play(client: &mut Client, name: &str, start: f64, len: f64, reset: impl Into<Value>) {
    let args = [Value::Null, name.into(), start.into(), len.into(), reset.into()];
    client.command(1, "play", 0.0, &args);
}

/// The codes of all statuses about playing, in order, without what they begin with.
fn codes(client: &Client) -> Vec<String> {
    let code = |m: &Message| {
        let of_data =
            || m.data().filter(|(n, _)| n == "onPlayStatus").map(|(_, v)| v[0].field("code").to_owned());
        m.status_code().or_else(of_data)
    };
    let all = client.messages();
    let all = all.iter().filter_map(code).filter(|code| code.starts_with("NetStream.Play."));
    all.map(|code| code["NetStream.Play.".len()..].to_owned()).collect()
}

fn media(client: &Client) -> Vec<Message> {
    client.messages().into_iter().filter(|m| m.is_media() && m.payload.len() > 5).collect()
}

#[test]
fn s37_items_follow_each_other_and_only_the_last_ends_the_stream() {
    let mut client = streaming(1000);
    play(&mut client, "mp4:first.mp4", 2000.0, 2000.0, true);
    play(&mut client, "clip", 0.0, 1500.0, 0.0);
    play(&mut client, "mp3:bare", 1000.0, 1000.0, false);
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(20));
    assert_eq!(
        codes(&client),
        ["Reset", "Start", "Switch", "Start", "Switch", "Start", "Complete", "Stop"],
        "{}",
        client.outline()
    );
    let all = client.messages();
    let eofs = all.iter().filter(|m| m.is_event(1, 1)).count();
    assert_eq!(eofs, 1, "StreamEOF between items");
    let stop = all.iter().rev().find_map(Message::status).unwrap();
    assert_eq!((stop.field("details"), stop.get("reason")), ("bare", Some(&Value::String(String::new()))));
    // Each item begins with its metadata and headers, and time goes on: 2 s, 1.5 s and 1 s.
    assert_eq!(all.iter().filter(|m| m.is_data("onMetaData")).count(), 3);
    let times: Vec<u32> = media(&client).iter().map(|m| m.timestamp).collect();
    assert!(times.is_sorted(), "{times:?}");
    let last = *times.last().unwrap();
    assert!((4_400..=4_510).contains(&last), "ends at {last}");
    let starts: Vec<u32> =
        all.iter().filter(|m| m.type_id == 9 && m.is_header()).map(|m| m.timestamp).collect();
    assert_eq!(starts, [0, 2000]);
    assert_eq!(client.broken(), None);
}

#[test]
fn s37_reset_flushes_what_waits() {
    let mut client = streaming(1000);
    play(&mut client, "mp4:first.mp4", 0.0, 1000.0, 1.0);
    play(&mut client, "mp3:bare", 0.0, 1000.0, 0.0);
    play(&mut client, "clip", 0.0, 1000.0, true);
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(20));
    let said = codes(&client);
    assert!(said.ends_with(&["Reset", "Start", "Complete", "Stop"].map(String::from)), "{said:?}");
    assert!(!said.contains(&"Switch".to_owned()), "{said:?}");
}

#[test]
fn s37_three_flushes_and_two_appends_and_both_deliver_at_once() {
    let mut client = streaming(1000);
    let begun = Instant::now();
    play(&mut client, "mp4:minute.mp4", 0.0, -1.0, 3.0);
    play(&mut client, "minute", 0.0, -1.0, 2.0);
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(30));
    assert!(begun.elapsed() < Duration::from_secs(25), "two minutes in {:?}", begun.elapsed());
    assert_eq!(codes(&client), ["Reset", "Start", "Switch", "Start", "Complete", "Stop"]);
    let last = media(&client).last().unwrap().timestamp;
    assert!((119_000..121_000).contains(&last), "ends at {last}");
}

#[test]
fn s37_an_item_that_is_missing_is_told_and_passed_over() {
    let mut client = streaming(1000);
    play(&mut client, "clip", 0.0, 1000.0, true);
    play(&mut client, "mp4:nosuch.mp4", 0.0, -1.0, false);
    play(&mut client, "mp4:first.mp4", 0.0, 1000.0, false);
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(20));
    let said = codes(&client);
    assert_eq!(said, ["Reset", "Start", "Switch", "StreamNotFound", "Start", "Complete", "Stop"]);
    assert!(media(&client).iter().map(|m| m.timestamp).is_sorted());
}

#[test]
fn s37_a_seek_counts_from_the_item_that_plays() {
    let mut client = streaming(1000);
    play(&mut client, "clip", 0.0, 1000.0, true);
    play(&mut client, "mp4:minute.mp4", 10_000.0, -1.0, false);
    client.wait("the second item", PATIENCE, |m| m.is_data("onPlayStatus"));
    client.wait_status("NetStream.Play.Start");
    client.wait("its pictures", PATIENCE, |m| m.is_picture() && m.timestamp >= 1000);
    client.seek(1, 20_000.0);
    client.wait_status("NetStream.Seek.Notify");
    let first = client.wait("a picture", PATIENCE, Message::is_picture);
    assert!(first.is_keyframe() && (17_900..=20_000).contains(&first.timestamp), "{first}");
}

#[test]
fn s37_the_playlist_is_bounded() {
    let mut client = streaming(1000);
    play(&mut client, "clip", 0.0, -1.0, true);
    for _ in 0..200 {
        play(&mut client, "clip", 0.0, -1.0, false);
    }
    let full = client.wait_status("NetStream.Failed");
    assert_eq!(full.field("level"), "warning");
    client.wait("media goes on", PATIENCE, Message::is_media);
}

#[test]
fn s38_append_and_wait_starts_nothing_and_append_does() {
    let mut client = streaming(1000);
    let item = |name: &str, transition: &str| {
        let fields = [
            ("streamName", Value::from(name)),
            ("start", Value::Number(0.0)),
            ("len", Value::Number(1.0)),
            ("transition", transition.into()),
        ];
        Value::Object(fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
    };
    client.command(1, "play2", 0.0, &[Value::Null, item("mp4:first.mp4", "appendAndWait")]);
    assert!(client.try_wait(Duration::from_secs(1), |m| m.status().is_some() || m.is_media()).is_none());
    client.command(1, "play2", 0.0, &[Value::Null, item("clip", "append")]);
    let start = client.wait_status("NetStream.Play.Start");
    assert_eq!(start.field("details"), "first.mp4", "the list from its beginning");
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(20));
    assert_eq!(codes(&client), ["Start", "Switch", "Start", "Complete", "Stop"]);
}

#[test]
fn s27_lengths_of_items_are_kept_one_picture_included() {
    let mut client = streaming(1000);
    play(&mut client, "mp4:first.mp4", 3000.0, 0.0, true);
    play(&mut client, "clip", 0.0, 1000.0, false);
    client.wait_status_within("NetStream.Play.Stop", Duration::from_secs(20));
    let all = client.messages();
    let switch = all.iter().position(|m| m.is_data("onPlayStatus")).unwrap();
    assert_eq!(all[..switch].iter().filter(|m| m.is_picture()).count(), 1);
    assert!(all[switch..].iter().filter(|m| m.is_picture()).count() > 20);
}

#[test]
fn s23_streams_of_a_connection_share_it_fairly_and_have_chunk_streams_of_their_own() {
    let mut client = Client::connected(shared().rtmp());
    let ids: Vec<u32> = (0..3).map(|_| client.create_stream()).collect();
    // Two take all they can get; the third plays in real time.
    for (id, name) in ids.iter().zip(["mp4:film.mp4", "film", "minute"]) {
        client.set_buffer(*id, if name == "minute" { 1000 } else { 36_000_000 });
        client.play(*id, name, &[0.0]);
    }
    client.wait("all of a film", Duration::from_secs(60), |m| m.is_media() && m.timestamp >= 190_000);
    client.wait("the paced one", PATIENCE, |m| m.stream_id == ids[2] && m.is_picture());
    let all = client.messages();
    let end = all.iter().position(|m| m.is_media() && m.timestamp >= 190_000).unwrap();
    for id in &ids[..2] {
        let newest =
            all[..end].iter().filter(|m| m.is_media() && m.stream_id == *id).map(|m| m.timestamp).max();
        assert!(newest.is_some_and(|ms| ms > 60_000), "stream {id} got to {newest:?} ms meanwhile");
    }
    let csids = |id: u32| -> std::collections::BTreeSet<u32> {
        all.iter().filter(|m| m.stream_id == id && m.is_media()).map(|m| m.csid).collect()
    };
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        assert!(csids(ids[one]).is_disjoint(&csids(ids[other])));
    }
    assert_eq!(client.broken(), None);
}

#[test]
fn s23_pictures_switched_off_and_on_come_back_at_a_keyframe_with_their_header() {
    let mut client = Client::connected(shared().rtmp());
    let (one, two) = (client.create_stream(), client.create_stream());
    for id in [one, two] {
        client.set_buffer(id, 1000);
        client.play(id, "mp4:minute.mp4", &[0.0]);
        client.wait("pictures", PATIENCE, |m| m.stream_id == id && m.is_picture());
    }
    let receive = |client: &mut Client, on: bool| {
        client.command(one, "receiveVideo", 0.0, &[Value::Null, Value::Boolean(on)]);
        let tx = client.tx();
        client.command(0, "sync", tx, &[Value::Null]);
        client.wait_answer(tx, PATIENCE);
    };
    receive(&mut client, false);
    let off = client.cursor();
    client.wait("sound goes on", PATIENCE, |m| m.stream_id == one && m.type_id == 8 && m.timestamp > 4000);
    client.wait("the other too", PATIENCE, |m| m.stream_id == two && m.is_picture() && m.timestamp > 4000);
    assert!(!client.messages()[off..].iter().any(|m| m.stream_id == one && m.type_id == 9));
    receive(&mut client, true);
    let header = client.wait("its header", PATIENCE, |m| m.stream_id == one && m.type_id == 9);
    assert!(header.is_header(), "{header}");
    let first = client.wait("a picture", PATIENCE, |m| m.stream_id == one && m.type_id == 9);
    assert!(first.is_keyframe() && first.timestamp == header.timestamp, "{first}");
    let others: Vec<Message> =
        client.messages().into_iter().filter(|m| m.stream_id == two && m.is_picture()).collect();
    let silence = others.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).max().unwrap();
    assert!(silence < Duration::from_secs(4), "the other stream stood still for {silence:?}");
}

#[test]
fn s23_eight_streams_at_once() {
    let mut client = Client::connected(shared().rtmp());
    let ids: Vec<u32> = (0..8).map(|_| client.create_stream()).collect();
    for id in &ids {
        client.set_buffer(*id, 1000);
        client.play(*id, ["clip", "mp4:first.mp4"][*id as usize % 2], &[0.0, 3000.0]);
    }
    for id in &ids {
        client.wait(&format!("the end of stream {id}"), Duration::from_secs(20), |m| {
            m.stream_id == *id && m.status_code().as_deref() == Some("NetStream.Play.Stop")
        });
        client.at_start();
    }
    for id in &ids {
        let pictures = client.messages().iter().filter(|m| m.stream_id == *id && m.is_picture()).count();
        assert!((70..=80).contains(&pictures), "stream {id}: {pictures} pictures");
    }
}
