//! seek, pause and what may be switched off: on the wire.

use std::time::Duration;

use tests::standalone::shared;
use tests::wire::amf::Value;
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};

/// Plays a minute with a 3 s buffer and waits for the first picture.
fn playing(name: &str) -> Client {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 3000);
    client.play(1, name, &[0.0]);
    client.wait_status("NetStream.Play.Start");
    client.wait("the first picture", PATIENCE, Message::is_picture);
    client
}

fn after(client: &Client, from: usize) -> Vec<Message> {
    client.messages()[from..].to_vec()
}

#[test]
fn s32_seek_drops_the_queue_and_starts_again_from_a_keyframe_on_the_stream_s_timeline() {
    for name in ["mp4:minute.mp4", "minute"] {
        let mut client = playing(name);
        client.seek(1, 40_000.0);
        let eof = client.wait("StreamEOF", PATIENCE, |m| m.is_event(1, 1));
        let from = client.cursor();
        client.wait("pictures past 40 s", PATIENCE, |m| m.is_picture() && m.timestamp >= 40_000);
        let all = after(&client, from);
        let at = |what: &str, fits: &dyn Fn(&Message) -> bool| {
            all.iter()
                .position(fits)
                .unwrap_or_else(|| panic!("{name}: no {what} after {eof}:\n{}", client.outline()))
        };
        let order = [
            at("StreamIsRecorded", &|m| m.is_event(4, 1)),
            at("StreamBegin", &|m| m.is_event(0, 1)),
            at("Seek.Notify", &|m| m.status_code().as_deref() == Some("NetStream.Seek.Notify")),
            at("Play.Start", &|m| m.status_code().as_deref() == Some("NetStream.Play.Start")),
            at("onMetaData", &|m| m.is_data("onMetaData")),
            at("video header", &|m| m.type_id == 9 && m.is_header()),
            at("audio header", &|m| m.type_id == 8 && m.is_header()),
            at("keyframe", &Message::is_keyframe),
        ];
        assert!(order.is_sorted(), "{name}: {order:?}");
        assert_eq!(at("media", &Message::is_media), order[5], "{name}: the old queue is dropped");
        let first = all[at("picture", &Message::is_picture)].clone();
        assert!(first.is_keyframe() && (37_900..=40_000).contains(&first.timestamp), "{name}: {first}");
        assert!(all.iter().filter(|m| m.is_media()).all(|m| m.timestamp >= 37_900));
        for kind in [8, 9] {
            let first = all.iter().find(|m| m.type_id == kind).unwrap();
            assert_eq!(first.form, 0, "{name}: after any jump a full header, unlike {first}");
        }
    }
}

#[test]
fn s32_seek_goes_backward_too_and_time_does() {
    let mut client = playing("mp4:minute.mp4");
    client.seek(1, 50_000.0);
    client.wait("pictures past 50 s", PATIENCE, |m| m.is_picture() && m.timestamp >= 50_000);
    client.seek(1, 10_000.0);
    client.wait_status("NetStream.Seek.Notify");
    let from = client.cursor();
    let picture = client.wait("a picture", PATIENCE, Message::is_picture);
    assert!(picture.is_keyframe() && (8_000..=10_000).contains(&picture.timestamp), "{picture}");
    for kind in [8, 9] {
        let first = after(&client, from).into_iter().find(|m| m.type_id == kind).unwrap();
        assert_eq!(first.form, 0, "s40: a backward jump is a type-0 chunk, unlike {first}");
    }
    assert_eq!(client.broken(), None);
}

#[test]
fn s32_after_play_with_a_start_seek_counts_from_there() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 36_000_000);
    client.play(1, "minute", &[20_000.0]);
    client.wait_status("NetStream.Play.Start");
    client.seek(1, 30_000.0);
    client.wait_status("NetStream.Seek.Notify");
    client.wait_status("NetStream.Play.Stop");
    let last = client.messages().iter().rfind(|m| m.is_media()).unwrap().timestamp;
    assert!(
        (39_700..=40_100).contains(&last),
        "seek to 20 + 30 s ends at 40 s of the stream's time, not {last} ms"
    );
}

#[test]
fn s33_seek_past_the_end_is_notified_and_then_the_end() {
    for name in ["mp4:first.mp4", "clip", "mp3:bare"] {
        let mut client = Client::streaming(shared().rtmp());
        client.play(1, name, &[0.0]);
        client.wait("media", PATIENCE, Message::is_media);
        client.seek(1, 3_600_000.0);
        client.wait_status("NetStream.Seek.Notify");
        client.wait_status("NetStream.Play.Stop");
        client.play(1, name, &[0.0]);
        client.wait_status("NetStream.Play.Start");
    }
}

#[test]
fn s33_a_negative_or_absent_time_is_an_error_and_the_session_survives() {
    for time in [f64::NAN, -1.0, -5000.0, f64::NEG_INFINITY] {
        let mut client = playing("clip");
        client.seek(1, time);
        let status = client.wait_status("NetStream.Seek.InvalidTime");
        assert_eq!(status.field("level"), "error");
        client.skip_all();
        client.wait("media goes on", PATIENCE, Message::is_media);
    }
}

#[test]
fn t5_a_seek_right_behind_play_waits_for_it() {
    let mut client = Client::streaming(shared().rtmp());
    client.play(1, "mp4:minute.mp4", &[0.0]);
    client.seek(1, 30_000.0);
    client.wait_status("NetStream.Play.Start");
    client.wait_status("NetStream.Seek.Notify");
    let picture = client.wait("a picture", PATIENCE, Message::is_picture);
    assert!((28_000..=30_000).contains(&picture.timestamp), "{picture}");
}

#[test]
fn t5_a_seek_with_nothing_open_is_never_an_error() {
    let mut client = Client::streaming(shared().rtmp());
    client.skip_all();
    client.seek(1, 0.0);
    client.play(1, "mp4:nosuch.mp4", &[-2000.0]);
    client.seek(1, 5000.0);
    assert!(
        client
            .try_wait(Duration::from_secs(2), |m| m.status().is_some_and(|s| s.field("level") == "error"))
            .is_none()
    );
    client.play(1, "clip", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
}

#[test]
fn t5_jw_4_plays_again_on_each_seek() {
    let mut client = Client::streaming(shared().rtmp());
    for start in [0.0, 20_000.0, 5000.0, 40_000.0] {
        client.play(1, "minute", &[start]);
        client.wait_status("NetStream.Play.Start");
        client.wait("a keyframe", PATIENCE, Message::is_keyframe);
    }
    assert_eq!(client.broken(), None);
}

#[test]
fn s34_pause_stops_media_and_unpause_goes_on_without_gap_or_repeat_beyond_a_gop() {
    for name in ["mp4:minute.mp4", "minute"] {
        let mut client = playing(name);
        client.wait("pictures past 2 s", PATIENCE, |m| m.is_picture() && m.timestamp >= 2000);
        client.pause(1, true, 2000.0);
        let status = client.wait_status("NetStream.Pause.Notify");
        assert_eq!(status.field("level"), "status");
        let late = client.try_wait(Duration::from_secs(1), Message::is_media);
        assert!(late.is_none(), "{name}: {} after Pause.Notify", late.unwrap());
        client.pause(1, false, 2000.0);
        client.wait_status("NetStream.Unpause.Notify");
        let from = client.cursor();
        client.wait("pictures past 4 s", PATIENCE, |m| m.is_picture() && m.timestamp >= 4000);
        let first = after(&client, from).into_iter().find(Message::is_picture).unwrap();
        assert!(first.is_keyframe() && first.timestamp <= 2000, "{name}: a gap, {first}");
    }
}

#[test]
fn s34_pause_raw_is_pause() {
    let mut client = playing("clip");
    client.command(1, "pauseRaw", 0.0, &[Value::Null, Value::Boolean(true), Value::Number(1000.0)]);
    client.wait_status("NetStream.Pause.Notify");
    client.command(1, "pauseRaw", 0.0, &[Value::Null, Value::Boolean(false), Value::Number(1000.0)]);
    client.wait_status("NetStream.Unpause.Notify");
    client.wait("pictures", PATIENCE, Message::is_picture);
}

#[test]
fn s34_a_seek_while_paused_sends_one_keyframe_and_stays_paused() {
    for name in ["mp4:minute.mp4", "minute"] {
        let mut client = playing(name);
        client.pause(1, true, 1000.0);
        client.wait_status("NetStream.Pause.Notify");
        client.seek(1, 30_000.0);
        client.wait_status("NetStream.Seek.Notify");
        let from = client.cursor();
        client.wait("a keyframe", PATIENCE, Message::is_keyframe);
        assert!(
            client.try_wait(Duration::from_secs(1), Message::is_picture).is_none(),
            "{name}: more than one picture"
        );
        let sounds = after(&client, from).iter().filter(|m| m.type_id == 8 && !m.is_header()).count();
        assert_eq!(sounds, 0, "{name}: sound while paused");
        client.pause(1, false, 30_000.0);
        client.wait_status("NetStream.Unpause.Notify");
        client.wait("pictures past 30 s", PATIENCE, |m| m.is_picture() && m.timestamp > 30_000);
    }
}

#[test]
fn receive_audio_and_video_switch_their_kind_off_and_on() {
    let mut client = Client::streaming(shared().rtmp());
    client.set_buffer(1, 1000);
    client.play(1, "mp4:minute.mp4", &[0.0]);
    client.wait("pictures", PATIENCE, Message::is_picture);
    client.command(1, "receiveVideo", 0.0, &[Value::Null, Value::Boolean(false)]);
    // The first fill (2 s) and a batch more may be on their way; after that there is sound only.
    let sound = |m: &Message| m.type_id == 8 && !m.is_header();
    client.wait("sound past the first fill", PATIENCE, |m| sound(m) && m.timestamp >= 4000);
    let from = client.cursor();
    client.wait("more sound", PATIENCE, |m| sound(m) && m.timestamp >= 5500);
    let picture = after(&client, from).into_iter().find(Message::is_picture);
    assert!(picture.is_none(), "after receiveVideo(false): {}", picture.unwrap());
    client.command(1, "receiveVideo", 0.0, &[Value::Null, Value::Boolean(true)]);
    let picture = client.wait("a picture", PATIENCE, Message::is_picture);
    assert!(picture.is_keyframe(), "video resumes at a keyframe, not at {picture}");
    client.command(1, "receiveAudio", 0.0, &[Value::Null, Value::Boolean(false)]);
    client.wait("pictures", PATIENCE, |m| m.is_picture() && m.timestamp >= picture.timestamp + 2000);
    assert!(!client.is_closed());
}
