//! What a segment may speak of.
//!
//! Its footer's entries become keys and documents of the store, and groups that are merged; whoever has an edge's token writes them. So each must be
//! of the form that control itself publishes and a node takes, at an hour that a clock can be wrong by, and there may not be more of them than
//! edges ever write. What is refused here is refused for good: the edge sets the segment aside and counts it.

use proto::access_log::hour_of;
use proto::distribution::{is_account, is_distribution_id, is_log_prefix, is_origin_host};
use proto::v1::{LogTarget, SegmentEntry};

/// Entries of a segment. Edges end one at 512.
const ENTRIES_MAX: usize = 4096;
/// An hour may begin so much after now: no time zone taken for UTC is more wrong.
const AHEAD_MS: u64 = 26 * 3_600_000;
/// 2009-01-01, UTC: no edge is that old.
const FIRST_HOUR: u32 = 341_880;

/// Refuses an index that no edge of ours has written, and says why.
pub(super) fn check(index: &[SegmentEntry], now_ms: u64) -> Result<(), String> {
    if index.len() > ENTRIES_MAX {
        return Err(format!("{} distributions, hours and targets, over {ENTRIES_MAX}", index.len()));
    }
    let last = hour_of(now_ms.saturating_add(AHEAD_MS));
    for entry in index {
        if !(FIRST_HOUR..=last).contains(&entry.hour) {
            return Err(format!("records of hour {} since 1970: is the edge's clock right?", entry.hour));
        }
        if !is_distribution_id(&entry.distribution_id) {
            return Err("records of what is no distribution's id".into());
        }
        if let Some(field) = entry.target.as_ref().and_then(wrong_field) {
            return Err(format!("records of {} with a wrong {field} to log to", entry.distribution_id));
        }
    }
    Ok(())
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
        let short = with(|e, _| e.distribution_id = "EDFDVBD632BHD".into());
        assert_eq!(check(&[entry(), untold, of_account, bare, own, tomorrow, old, short], NOW_MS), Ok(()));
        assert_eq!(check(&vec![entry(); ENTRIES_MAX], NOW_MS), Ok(()));
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
            (with(|e, _| e.hour += 27), "clock"),
            (with(|e, _| e.hour = FIRST_HOUR - 1), "clock"),
            (with(|e, _| e.hour = 0), "clock"),
            (with(|_, t| t.bucket_host.clear()), "bucket"),
            (with(|_, t| t.bucket_host = "s3.amazonaws.com/logs".into()), "bucket"),
            (with(|_, t| t.prefix = "../films".into()), "prefix"),
            (with(|_, t| t.prefix.clone_from(&long)), "prefix"),
            (with(|_, t| t.account = "x/y".into()), "account"),
        ] {
            let reason = check(&[entry(), bad], NOW_MS).unwrap_err();
            assert!(reason.contains(says), "{reason}");
        }
        assert!(check(&vec![entry(); ENTRIES_MAX + 1], NOW_MS).unwrap_err().contains("over"));
    }
}
