//! What a segment may speak of.
//!
//! Its footer's entries become keys and documents of the store, and groups that are merged; whoever has an edge's token writes them. So each must be
//! of the form that control itself publishes and a node takes, and there may not be more of them than edges ever write. What is refused here is
//! refused for good (the edge sets the segment aside and counts it), so it is form alone that is judged: the same bytes get the same answer
//! from every replica at any time.
//!
//! **Hours are not judged.** A segment has records of many viewers, and no clock is sure to be right, the replica's own least of all: records go into
//! the hour they say, be that of 1970 (an edge that was started before its clock was set) or of next year. What that makes of groups is
//! bounded by the entries of a segment, and by what was published: a group whose distribution never logged there is delivered nowhere
//! ([`super::super::permission`]). An hour that no two right clocks can disagree about is told, with both clocks: [`far_off`].

use std::ops::RangeInclusive;

use proto::access_log::{FIRST_HOUR, hour_of};
use proto::distribution::{is_account, is_distribution_id, is_log_prefix, is_origin_host};
use proto::v1::{LogTarget, SegmentEntry};

/// Entries of a segment. Edges end one at 512.
const ENTRIES_MAX: usize = 4096;
/// An hour that begins so much after now is told: no time zone taken for UTC is more wrong.
const AHEAD_MS: u64 = 26 * 3_600_000;

/// Refuses an index that no edge of ours has written, and says why.
pub(super) fn check(index: &[SegmentEntry]) -> Result<(), String> {
    if index.len() > ENTRIES_MAX {
        return Err(format!("{} distributions, hours and targets, over {ENTRIES_MAX}", index.len()));
    }
    for entry in index {
        if !is_distribution_id(&entry.distribution_id) {
            return Err("records of what is no distribution's id".into());
        }
        if let Some(field) = entry.target.as_ref().and_then(wrong_field) {
            return Err(format!("records of {} with a wrong {field} to log to", entry.distribution_id));
        }
    }
    Ok(())
}

/// Records whose hour says that a clock is wrong, the edge's or this replica's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FarOff {
    pub(super) records: u64,
    /// Their first and last hour.
    pub(super) hours: RangeInclusive<u32>,
}

/// Those of `index`, if there are any, by this replica's clock. (Old ones are no such sign: an edge ships what waited for weeks.)
pub(super) fn far_off(index: &[SegmentEntry], now_ms: u64) -> Option<FarOff> {
    let right = FIRST_HOUR..=hour_of(now_ms.saturating_add(AHEAD_MS));
    let mut found: Option<FarOff> = None;
    for SegmentEntry { hour, records, .. } in index.iter().filter(|entry| !right.contains(&entry.hour)) {
        let (sum, first, last) =
            found.map_or((0, *hour, *hour), |f| (f.records, *f.hours.start(), *f.hours.end()));
        found = Some(FarOff { records: sum + records, hours: first.min(*hour)..=last.max(*hour) });
    }
    found
}

/// The field that no published target has like this.
fn wrong_field(target: &LogTarget) -> Option<&'static str> {
    match target {
        t if !is_origin_host(&t.bucket_host) => Some("bucket"),
        t if !is_log_prefix(&t.prefix) => Some("prefix"),
        t if !t.account.is_empty() && !is_account(&t.account) => Some("account"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn entry() -> SegmentEntry {
        let target = LogTarget {
            bucket_host: "logs.s3.amazonaws.com".into(),
            prefix: "films/".into(),
            ..Default::default()
        };
        SegmentEntry {
            distribution_id: "EGTXBD79H29TRA".into(),
            hour: hour_of(NOW_MS),
            target: Some(target),
            ..Default::default()
        }
    }

    fn with(change: impl FnOnce(&mut SegmentEntry, &mut LogTarget)) -> SegmentEntry {
        let mut entry = entry();
        let mut target = entry.target.take().unwrap();
        change(&mut entry, &mut target);
        SegmentEntry { target: Some(target), ..entry }
    }

    #[test]
    fn what_nodes_log_is_admitted() {
        let untold = SegmentEntry { target: None, ..entry() };
        let of_account = with(|_, t| t.account = "111122223333".into());
        let bare = with(|_, t| t.prefix.clear());
        let own = with(|_, t| t.bucket_host = "logs.buckets.example".into());
        let tomorrow = with(|e, _| e.hour += 26);
        let old = with(|e, _| e.hour = FIRST_HOUR);
        let unset = with(|e, _| e.hour = 0);
        let far = with(|e, _| e.hour = u32::MAX);
        let short = with(|e, _| e.distribution_id = "EDFDVBD632BHD".into());
        assert_eq!(
            check(&[entry(), untold, of_account, bare, own, tomorrow, old, unset, far, short]),
            Ok(())
        );
        assert_eq!(check(&vec![entry(); ENTRIES_MAX]), Ok(()));
    }

    #[test]
    fn what_no_node_can_have_logged_is_refused_with_a_reason() {
        let long = "p".repeat(257);
        for (bad, says) in [
            (with(|e, _| e.distribution_id.clear()), "id"),
            (with(|e, _| e.distribution_id = "E/../x".into()), "id"),
            (with(|e, _| e.distribution_id = "EGTXBD79H29TRA/1/x".into()), "id"),
            (with(|e, _| e.distribution_id = "egtxbd79h29tra".into()), "id"),
            (SegmentEntry { target: None, distribution_id: "E".into(), ..entry() }, "id"),
            (with(|_, t| t.bucket_host.clear()), "bucket"),
            (with(|_, t| t.bucket_host = "s3.amazonaws.com/logs".into()), "bucket"),
            (with(|_, t| t.prefix = "../films".into()), "prefix"),
            (with(|_, t| t.prefix.clone_from(&long)), "prefix"),
            (with(|_, t| t.account = "x/y".into()), "account"),
        ] {
            let reason = check(&[entry(), bad]).unwrap_err();
            assert!(reason.contains(says), "{reason}");
        }
        assert!(check(&vec![entry(); ENTRIES_MAX + 1]).unwrap_err().contains("over"));
    }

    #[test]
    fn an_hour_that_no_right_clock_says_is_told_with_its_records() {
        let of = |hour: u32| SegmentEntry { hour, records: 2, ..entry() };
        let now = hour_of(NOW_MS);
        let weeks_old = now - 24 * 60;
        assert_eq!(far_off(&[of(now), of(now + 26), of(weeks_old), of(FIRST_HOUR)], NOW_MS), None);
        let index = [of(now), of(now + 27), of(3), of(now + 900)];
        assert_eq!(far_off(&index, NOW_MS), Some(FarOff { records: 6, hours: 3..=now + 900 }));
        // The same edge, to a replica whose own clock is the wrong one.
        assert_eq!(
            far_off(&[of(now)], NOW_MS - 30 * 3_600_000),
            Some(FarOff { records: 2, hours: now..=now })
        );
    }
}
