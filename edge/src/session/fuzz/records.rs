//! What must be true of the records of one session, whatever it did.

use std::collections::{HashMap, HashSet};

use proto::v1::{AccessEvent, AccessRecord};

/// A connection's records, in the order in which they were made, and what it was sent in all.
pub(in crate::session) fn check(records: &[AccessRecord], sent_bytes: u64) {
    let (accepted, refused): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.status.is_empty());
    for record in refused {
        assert!(matches!(record.event(), AccessEvent::Connect | AccessEvent::Play), "{record:?}");
        assert!(record.file_ext.is_empty(), "{record:?}");
    }
    let events: Vec<AccessEvent> = accepted.iter().map(|record| record.event()).collect();
    let count = |event| events.iter().filter(|is| **is == event).count();
    let connects = count(AccessEvent::Connect);
    assert_eq!(connects, count(AccessEvent::Disconnect), "{events:?}");
    assert!(connects <= 1, "{events:?}");
    let (Some(&first), Some(&last)) = (accepted.first(), accepted.last()) else { return };
    assert_eq!((first.event(), last.event()), (AccessEvent::Connect, AccessEvent::Disconnect), "{events:?}");
    assert_eq!(last.sc_bytes, sent_bytes, "the connection's total");

    check_streams(&accepted);
    // As a log file has them.
    let mut sorted = accepted;
    sorted.sort_by_key(|record| (record.time_ms, record.sc_bytes));
    check_streams(&sorted);
    assert!(sorted.is_sorted_by_key(|record| record.sc_bytes), "bytes fall: {sorted:?}");
    for record in &sorted {
        let named = [&record.client_id, &record.distribution_id, &record.client_ip, &record.uri_stem];
        assert_eq!(named, [&first.client_id, &first.distribution_id, &first.client_ip, &first.uri_stem]);
        assert!(record.client_id.len() == 32 && record.client_id.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(record.target.is_some());
    }
}

/// Plays and stops take turns on each stream, and everything else of it lies between the two.
fn check_streams(records: &[&AccessRecord]) {
    let mut playing: HashMap<u32, (&str, bool)> = HashMap::new();
    // The streams whose last play was paused: a file that takes over from it in a switch is too.
    let mut left_paused = HashSet::new();
    for record in records {
        let (id, name) = (record.stream_id, record.stream_name.as_str());
        let event = record.event();
        match event {
            AccessEvent::Connect | AccessEvent::Disconnect => assert_eq!((id, name), (0, ""), "{record:?}"),
            AccessEvent::Play => {
                assert!(matches!(record.file_ext.as_str(), "flv" | "mp4" | "mp3"), "{record:?}");
                assert!(id > 0 && playing.insert(id, (name, false)).is_none(), "no stop before {record:?}");
            }
            AccessEvent::Stop => {
                let play = playing.remove(&id);
                assert_eq!(play.map(|(name, _)| name), Some(name), "a stop of no play: {record:?}");
                if play.is_some_and(|(_, paused)| paused) {
                    left_paused.insert(id);
                } else {
                    left_paused.remove(&id);
                }
            }
            AccessEvent::Pause | AccessEvent::Unpause | AccessEvent::Seek => {
                let Some((of, paused)) = playing.get_mut(&id) else { panic!("outside a play: {record:?}") };
                assert_eq!(*of, name);
                if event != AccessEvent::Seek {
                    let pauses = event == AccessEvent::Pause;
                    let was_paused =
                        std::mem::replace(paused, pauses) || !pauses && left_paused.contains(&id);
                    assert_eq!(was_paused, !pauses, "{record:?}");
                    left_paused.remove(&id);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(playing.is_empty(), "no stop: {playing:?}");
}
