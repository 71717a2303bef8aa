//! How far ahead of real time the server sends, and when it says that a file has ended.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tests::standalone::shared;
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{flv, media, players};

#[test]
fn s35_the_server_keeps_twice_the_buffer_ahead_of_real_time_and_no_more() {
    for (buffer_ms, ahead_ms) in [(300, 2000), (3000, 6000)] {
        let mut client = Client::streaming(shared().rtmp());
        client.set_buffer(1, buffer_ms);
        client.play(1, "minute", &[0.0]);
        let start = client.wait("the first picture", PATIENCE, Message::is_picture).at;
        client.wait("pictures of the third second after the first fill", PATIENCE, |m| {
            m.timestamp >= ahead_ms + 3000
        });
        let all: Vec<Message> = client.messages().into_iter().filter(Message::is_media).collect();
        for m in &all {
            let real = m.at.duration_since(start).as_millis() as u32;
            assert!(
                m.timestamp <= real + ahead_ms + 700,
                "buffer {buffer_ms}: time {} came {real} ms after the first",
                m.timestamp
            );
        }
        let fill = all.iter().find(|m| m.timestamp + 300 >= ahead_ms).unwrap();
        assert!(
            fill.at.duration_since(start) < Duration::from_millis(800),
            "buffer {buffer_ms}: the first fill is sent at once"
        );
        let late = all
            .iter()
            .map(|m| {
                m.at.duration_since(start).as_millis() as i64 + i64::from(ahead_ms) - i64::from(m.timestamp)
            })
            .max();
        assert!(late.unwrap() < 1000 + i64::from(ahead_ms), "buffer {buffer_ms}: fell {late:?} ms behind");
    }
}

#[test]
fn s35_a_full_buffer_and_the_next_fill_are_said_by_events_31_and_32() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "minute", &[0.0]);
    client.wait("BufferEmpty", PATIENCE, |m| m.is_event(31, 1));
    assert!(!client.messages().iter().any(|m| m.is_event(32, 1)), "no BufferReady for the first buffer");
    client.wait("BufferReady", PATIENCE, |m| m.is_event(32, 1));
}

#[test]
fn s35_a_downloader_s_buffer_is_filled_at_line_rate() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    let done = players::rtmpdump(shared().rtmp(), "minute", &to, &["-q", "-b", "36000000"]);
    assert!(matches!(done.code, 0 | 2) && done.took < Duration::from_secs(5), "{done:?}");
}

#[test]
fn s35_rtmpdump_in_real_time_takes_at_least_four_fifths_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("o.flv");
    let done = players::rtmpdump(shared().rtmp(), "minute", &to, &["-q", "-R", "-b", "3000"]);
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    assert!((48.0..75.0).contains(&done.took.as_secs_f64()), "{:?}", done.took);
    let (source, got) = (std::fs::read(media::file("minute.flv")).unwrap(), std::fs::read(&to).unwrap());
    let count =
        |file: &[u8]| flv::tags(file).unwrap().iter().filter(|t| t.is_picture() || t.is_sound()).count();
    assert_eq!(count(&got), count(&source));
}

#[test]
fn s36_rtmpdump_s_pause_trick_gives_a_complete_file_without_duplicates() {
    let folder = tempfile::tempdir().unwrap();
    for play in ["minute", "mp4:minute.mp4"] {
        let (plain, tricked) = (folder.path().join("plain.flv"), folder.path().join("tricked.flv"));
        players::download(shared().rtmp(), play, &plain);
        let done = players::rtmpdump(shared().rtmp(), play, &tricked, &["-q", "-b", "3000"]);
        assert!(matches!(done.code, 0 | 2), "{done:?}");
        assert!(done.took < Duration::from_secs(40), "the trick gains nothing: {:?}", done.took);
        let tags = |path| -> Vec<(u8, u32, Vec<u8>)> {
            let file = std::fs::read(path).unwrap();
            flv::tags(&file)
                .unwrap()
                .into_iter()
                .filter(|t| t.is_picture() || t.is_sound())
                .map(|t| (t.kind, t.timestamp, t.body))
                .collect()
        };
        let (whole, got) = (tags(&plain), tags(&tricked));
        let mut seen = HashSet::new();
        assert!(got.iter().all(|t| seen.insert(t.clone())), "{play}: a tag twice");
        assert_eq!(got.len(), whole.len(), "{play}");
        assert!(whole.iter().all(|t| seen.contains(t)), "{play}: a tag is missing");
    }
}

#[test]
fn s35_t7_a_new_buffer_length_counts_at_once() {
    let mut client = Client::streaming(shared().rtmp());
    client.play(1, "minute", &[0.0]);
    client.wait("BufferEmpty", PATIENCE, |m| m.is_event(31, 1));
    let asked = Instant::now();
    client.set_buffer(1, 10_000);
    let reached =
        client.wait("pictures of the larger buffer", PATIENCE, |m| m.is_picture() && m.timestamp >= 18_000);
    assert!(
        reached.at.duration_since(asked) < Duration::from_secs(2),
        "{:?}",
        reached.at.duration_since(asked)
    );
    client.set_buffer(1, 100);
    assert!(
        client.try_wait(Duration::from_secs(3), |m| m.is_picture() && m.timestamp >= 23_000).is_none(),
        "goes on as if the buffer were large"
    );
}

#[test]
fn the_end_is_said_when_a_player_reaches_it_not_when_the_last_byte_is_sent() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 30_000);
    client.play(1, "clip", &[0.0]);
    let start = client.wait("the first picture", PATIENCE, Message::is_picture).at;
    client.wait("the last pictures, early", Duration::from_secs(3), |m| m.timestamp >= 9800);
    let stop = client
        .wait("Play.Stop", Duration::from_secs(15), |m| {
            m.status_code().as_deref() == Some("NetStream.Play.Stop")
        })
        .at;
    let after = stop.duration_since(start).as_secs_f64();
    assert!((8.5..10.6).contains(&after), "Play.Stop {after} s after the first picture of a 10 s clip");
}

#[test]
fn a_seek_after_the_whole_file_was_sent_still_works() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 30_000);
    client.play(1, "mp4:first.mp4", &[0.0]);
    client.wait("the last pictures", PATIENCE, |m| m.timestamp >= 9800);
    client.seek(1, 4000.0);
    client.wait_status("NetStream.Seek.Notify");
    let picture = client.wait("a picture", PATIENCE, Message::is_picture);
    assert!((2000..=4000).contains(&picture.timestamp), "{picture}");
    assert!(
        client.messages().iter().all(|m| m.status_code().as_deref() != Some("NetStream.Play.Stop")),
        "no Stop was in flight"
    );
}
