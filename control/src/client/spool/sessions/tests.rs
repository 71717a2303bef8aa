//! Tests of which sessions are open.

use prost::Message;
use proto::v1::{AccessEvent, AccessRecord};

use super::*;
use crate::client::spool::journal::{Mark, decode};
use crate::client::spool::tests::events::{client_id, event};

fn apply(sessions: &mut Sessions, record: &AccessRecord) {
    sessions.apply(record, Some(&record.encode_to_vec()));
}

fn brief(records: &[AccessRecord]) -> Vec<(u64, AccessEvent, u32, u64)> {
    let client = |record: &AccessRecord| u64::from_str_radix(&record.client_id, 16).unwrap();
    records.iter().map(|r| (client(r), r.event(), r.stream_id, r.sc_bytes)).collect()
}

#[test]
fn what_is_open_gets_its_ends_with_what_is_known_last() {
    let mut sessions = Sessions::default();
    for record in [
        event(1, 1, AccessEvent::Connect),
        event(2, 2, AccessEvent::Connect),
        event(3, 3, AccessEvent::Connect),
        event(1, 4, AccessEvent::Play),
        AccessRecord { stream_id: 2, ..event(1, 5, AccessEvent::Play) },
        event(2, 6, AccessEvent::Play),
        event(1, 7, AccessEvent::Stop),
        event(3, 8, AccessEvent::Disconnect),
        event(2, 9, AccessEvent::Pause),
    ] {
        apply(&mut sessions, &record);
    }
    sessions.progress(&client_id(1), Progress { time_ms: 1_700_000_000_500, sc_bytes: 77_777 });
    sessions.progress(&client_id(9), Progress { time_ms: 1_700_000_000_500, sc_bytes: 1 });
    let missing = sessions.missing();
    assert_eq!(
        brief(&missing),
        [
            (2, AccessEvent::Stop, 1, 900),
            (2, AccessEvent::Disconnect, 0, 900),
            (1, AccessEvent::Stop, 2, 77_777),
            (1, AccessEvent::Disconnect, 0, 77_777),
        ]
    );
    assert_eq!((missing[2].time_ms, missing[2].stream_name.as_str()), (1_700_000_000_500, "dir/video"));
    let end = &missing[3];
    assert_eq!((end.stream_name.as_str(), end.file_ext.as_str(), end.stream_id), ("", "", 0));
    assert_eq!((end.client_ip.as_str(), end.target.is_some()), ("192.0.2.147", true));
    // Written, they leave nothing open.
    missing.iter().for_each(|record| apply(&mut sessions, record));
    assert_eq!((sessions.missing().len(), sessions.len()), (0, 0));
}

#[test]
fn what_opens_no_session_leaves_none_open() {
    let mut sessions = Sessions::default();
    let rejected =
        AccessRecord { status: "NetConnection.Connect.Rejected".into(), ..event(1, 1, AccessEvent::Connect) };
    apply(&mut sessions, &rejected);
    apply(
        &mut sessions,
        &AccessRecord { web: Some(Default::default()), ..event(2, 2, AccessEvent::Request) },
    );
    apply(&mut sessions, &AccessRecord { client_id: String::new(), ..event(3, 3, AccessEvent::Connect) });
    assert_eq!(sessions.len(), 0);
    // A failed play doesn't play.
    apply(&mut sessions, &event(4, 4, AccessEvent::Connect));
    let failed =
        AccessRecord { status: "NetStream.Play.StreamNotFound".into(), ..event(4, 5, AccessEvent::Play) };
    apply(&mut sessions, &failed);
    assert_eq!(brief(&sessions.missing()), [(4, AccessEvent::Disconnect, 0, 400)]);
}

#[test]
fn logging_that_is_switched_on_or_off_meanwhile_is_followed() {
    let mut sessions = Sessions::default();
    // Switched on while it plays: the first that is known of it is a seek.
    apply(&mut sessions, &event(1, 1, AccessEvent::Seek));
    let missing = sessions.missing();
    assert_eq!(brief(&missing), [(1, AccessEvent::Stop, 1, 100), (1, AccessEvent::Disconnect, 0, 100)]);
    // Switched off: nothing is due, and its end is taken note of.
    sessions.apply(&event(1, 2, AccessEvent::Pause), None);
    assert_eq!((sessions.missing().len(), sessions.len()), (0, 1));
    apply(&mut sessions, &event(1, 3, AccessEvent::Unpause));
    assert_eq!(sessions.missing().len(), 2);
    sessions.apply(&event(1, 4, AccessEvent::Disconnect), None);
    assert_eq!(sessions.len(), 0);
    // Never on: none of ours.
    sessions.apply(&event(2, 5, AccessEvent::Connect), None);
    assert_eq!(sessions.len(), 0);
}

#[test]
fn a_journal_gives_back_what_was_saved_step_by_step() {
    let dir = tempfile::tempdir().unwrap();
    let disk = crate::client::spool::disk::RealDisk;
    let mark =
        |records| Mark { epoch: "0123456789abcdef".into(), number: 1, records, whole: false, bytes: 0 };
    let mut journal = crate::client::spool::journal::Journal::new(dir.path(), mark(0));
    let mut sessions = Sessions::default();
    let path = crate::client::spool::journal::Journal::path(dir.path());
    for n in 0..400u64 {
        let client = n / 4;
        let what = [AccessEvent::Connect, AccessEvent::Play, AccessEvent::Stop, AccessEvent::Disconnect];
        // Every seventh stays open, and moves.
        if n % 4 < 2 || client % 7 > 0 {
            apply(&mut sessions, &event(client, n, what[(n % 4) as usize]));
        }
        sessions.progress(
            &client_id(client / 7 * 7),
            Progress { time_ms: 1_700_000_001_000 + n, sc_bytes: n * 1000 },
        );
        if n.is_multiple_of(3) {
            journal.save(&disk, &mut sessions, mark(n + 1), true).unwrap();
            assert!(sessions.is_saved() && journal.is_at(&mark(n + 1)));
            let file = bytes::Bytes::from(std::fs::read(&path).unwrap());
            let kept = decode(file.clone());
            assert_eq!(kept.mark, Some(mark(n + 1)));
            assert_eq!((kept.sessions.missing(), kept.torn), (sessions.missing(), false), "{n}");
            // Cut anywhere it says what it said at some step before, never something between.
            let cut = decode(file.slice(..file.len() - 1 - n as usize % 20));
            assert!(cut.torn && cut.mark.is_none_or(|mark| mark.records < n + 1));
        }
    }
    assert_eq!(sessions.len(), 15);
    // Written anew now and then, or it would be far longer.
    assert!(std::fs::metadata(&path).unwrap().len() < 40_000);
}
