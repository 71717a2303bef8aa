//! Tests of `books`.

use proptest::prelude::*;
use proto::v1::{LogTarget, SegmentEntry};

use super::*;
use crate::store::Head;

const LIMITS: Limits = Limits { file_age: Duration::from_secs(300), file_bytes: 1000, read_bytes: 1 << 30 };

fn id(epoch: u64, number: u64) -> SegmentId {
    SegmentId { edge_id: "edge-1".into(), epoch: format!("{epoch:016}"), number }
}

fn group(distribution: &str) -> Group {
    let target = LogTarget { bucket_host: "a".into(), ..Default::default() };
    Group { distribution_id: distribution.into(), hour: 7, target }
}

fn staged(id: &SegmentId, groups: &[(&str, u64)], modified: u64) -> Entry {
    let entry = |(distribution, bytes): &(&str, u64)| SegmentEntry {
        distribution_id: (*distribution).into(),
        hour: 7,
        target: Some(group("").target),
        records: 1,
        bytes: *bytes,
        first_ms: modified,
    };
    let index = groups.iter().map(entry).collect();
    let document = StagedSegment { id: Some(id.header()), index, bytes: 500, ..StagedSegment::default() };
    Entry { key: super::super::segment_key(id), value: document.encode_to_vec().into(), modified }
}

fn put(books: &mut Books, entry: Entry) {
    let revision = entry.modified;
    books.apply(&Change { revision, puts: vec![entry], deletes: Vec::new() }, 0);
}

fn delete(books: &mut Books, key: String, revision: u64) {
    books.apply(&Change { revision, puts: Vec::new(), deletes: vec![key] }, 0);
}

fn written(group: &Group, marks: &[SegmentId], modified: u64) -> Entry {
    let marks = marks.iter().map(SegmentId::header).collect();
    let document = LogGroup { marks, ..group.document() };
    Entry { key: group.key(), value: document.encode_to_vec().into(), modified }
}

/// The numbers and epochs on the next list of `group`.
fn list(books: &Books, group: &Group) -> Vec<SegmentId> {
    let job = books.job(&group.key(), &LIMITS, "me", u64::MAX, 0, true);
    match job.map(|job| job.step) {
        Some(Step::Commit(_, list)) => list.into_iter().map(|(id, _)| id).collect(),
        None => Vec::new(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_is_open_until_every_group_has_it_and_its_groups_last_as_long_as_it() {
    let mut books = Books::default();
    put(&mut books, staged(&id(1, 1), &[("E1", 10), ("E2", 10)], 5));
    assert!(books.retirable(9).is_empty() && !books.is_settled());
    put(&mut books, written(&group("E1"), &[id(1, 1)], 6));
    assert!(list(&books, &group("E1")).is_empty() && list(&books, &group("E2")) == [id(1, 1)]);
    assert!(books.retirable(9).is_empty());
    put(&mut books, written(&group("E2"), &[id(1, 1)], 7));
    assert_eq!(books.retirable(9), [[(id(1, 1), 5)]]);
    assert!(books.finished(9).is_empty(), "what the marks say is still needed");
    delete(&mut books, super::super::segment_key(&id(1, 1)), 8);
    assert_eq!(books.finished(9), [(group("E1").key(), 6), (group("E2").key(), 7)]);
    delete(&mut books, group("E1").key(), 9);
    delete(&mut books, group("E2").key(), 10);
    assert!(books.slots.is_empty() && books.segments.is_empty() && books.is_settled());
}

#[tokio::test(start_paused = true)]
async fn what_this_replica_wrote_is_known_before_the_watch_tells_and_old_news_changes_nothing() {
    let mut books = Books::default();
    put(&mut books, staged(&id(1, 1), &[("E1", 10)], 5));
    let done = LogGroup { marks: vec![id(1, 1).header()], ..group("E1").document() };
    books.learn(done, 9);
    assert_eq!(books.retirable(9).len(), 1);
    put(&mut books, written(&group("E1"), &[], 7));
    assert_eq!(books.retirable(9).len(), 1, "an older form of the group");
    let head = Head { store_id: String::new(), revision: 3 };
    books.replace(&Listing { head, entries: Vec::new() }, 0);
    assert!(books.has_segment(&id(1, 1)), "an older list");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_due_by_age_or_size_and_not_while_another_merges() {
    let mut books = Books::default();
    put(&mut books, staged(&id(1, 1), &[("E1", 10), ("E2", 1000)], 5));
    let due = |books: &Books| {
        let (due, _) = books.due(&LIMITS, "me", 0, false);
        due.into_iter().map(|due| due.key.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(due(&books), [group("E2").key()]);
    tokio::time::advance(LIMITS.file_age).await;
    assert_eq!(due(&books).len(), 2);
    let lease = |who: &str, modified: u64| Entry {
        key: group("E1").lease_key(),
        value: who.to_owned().into(),
        modified,
    };
    put(&mut books, lease("other", 6));
    assert_eq!(due(&books), [group("E2").key()]);
    assert!(books.job(&group("E1").key(), &LIMITS, "me", u64::MAX, 0, false).is_none());
    // One's own, from before: it is replaced.
    put(&mut books, lease("me", 7));
    assert_eq!(books.job(&group("E1").key(), &LIMITS, "me", u64::MAX, 0, false).unwrap().replaces, 7);
    delete(&mut books, group("E1").lease_key(), 8);
    assert_eq!(due(&books).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn segments_are_listed_by_as_much_as_fits_in_memory() {
    let mut books = Books::default();
    for number in 1..=10 {
        put(&mut books, staged(&id(1, number), &[("E1", 1), ("E2", 1)], 10 * number));
    }
    let limits = Limits { read_bytes: 1600, ..LIMITS };
    let (due, until) = books.due(&limits, "me", 0, true);
    assert_eq!((due.len(), until), (2, 30));
    let job = books.job(&group("E1").key(), &limits, "me", until, 0, true).unwrap();
    assert!(matches!(job.step, Step::Commit(_, list) if list.len() == 3));
    let (_, until) = books.due(&Limits { read_bytes: 1, ..LIMITS }, "me", 0, true);
    assert_eq!(until, 10, "one at least");
}

/// A group whose file was refused three times, and is to be tried again then.
fn refused(at: u64, modified: u64) -> Entry {
    let pending = LogFile { segments: vec![id(1, 1).header()], ..LogFile::default() };
    let document =
        LogGroup { pending: Some(pending), attempts: 3, next_try_ms: at, ..group("E1").document() };
    Entry { key: group("E1").key(), value: document.encode_to_vec().into(), modified }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_in_a_future_that_no_clock_meant_is_made_now_by_a_replica_that_starts() {
    let now_ms = 1_000_000_000;
    for (at, is_due) in [(now_ms, true), (now_ms + 300_000, false), (now_ms + 3_600_000, true)] {
        let mut books = Books::default();
        let head = Head { store_id: "s".into(), revision: 3 };
        books.replace(&Listing { head, entries: vec![refused(at, 2)] }, now_ms);
        assert_eq!(books.job(&group("E1").key(), &LIMITS, "me", 0, now_ms, false).is_some(), is_due, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_comes_neither_at_once_nor_much_late_whatever_clock_said_when_it_is_due() {
    let now_ms = 1_000_000_000;
    let day_ms = 86_400_000;
    for (at, due_after_s) in [(now_ms - day_ms, 5), (now_ms, 5), (now_ms + day_ms, 5), (now_ms + 500_000, 20)]
    {
        let mut books = Books::default();
        put(&mut books, refused(at, 2));
        let is_due = |books: &Books| books.job(&group("E1").key(), &LIMITS, "me", 0, now_ms, false).is_some();
        tokio::time::advance(Duration::from_millis(due_after_s * 1000 - 1)).await;
        // A list of the whole ledger in between changes nothing.
        let head = Head { store_id: String::new(), revision: 3 };
        books.replace(&Listing { head, entries: vec![refused(at, 2)] }, now_ms);
        assert!(!is_due(&books), "{at}");
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(is_due(&books), "{at}");
    }
}

proptest! {
    /// Whatever is staged in whatever order (the sweeper enters segments late), a list passes over nothing of its epoch that waits.
    #[test]
    fn a_list_never_leaves_a_lower_number_of_its_epoch_behind(
        staging in prop::collection::vec((0u64..3, 1u64..40, 1u64..600), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let mut books = Books::default();
        for (revision, (epoch, number, bytes)) in (1..).zip(&staging) {
            put(&mut books, staged(&id(*epoch, *number), &[("E1", *bytes)], revision));
        }
        let mut seen = std::collections::BTreeSet::new();
        let mut revision = 1000;
        loop {
            let listed = list(&books, &group("E1"));
            if listed.is_empty() {
                break;
            }
            prop_assert!(listed.len() <= LIST_SEGMENTS);
            for id in &listed {
                prop_assert!(seen.insert(id.clone()), "{id} twice");
            }
            let mut document = books.slots[group("E1").key().as_str()].known.document.clone();
            let headers: Vec<SegmentHeader> = listed.iter().map(SegmentId::header).collect();
            super::super::raise(&mut document, &headers);
            revision += 1;
            books.learn(document, revision);
        }
        let all: std::collections::BTreeSet<_> = staging.iter().map(|(e, n, _)| id(*e, *n)).collect();
        prop_assert_eq!(seen, all);
    }
}
