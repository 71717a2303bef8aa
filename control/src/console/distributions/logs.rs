//! A distribution's access logs: where they go, what stands there, what waits, and why a bucket doesn't take any.

use maud::{Markup, html};
use proto::v1::{LogRefusal, LogStats, LogTarget};

use crate::access_log::refusal;
use crate::access_log::stats::{self, Asked};
use crate::console::page::{copyable, moment};
use crate::console::visitor::Site;

/// The part of the distribution's page about its logs, which go to `target`, a bucket's host and a prefix; `None`: they are off.
pub(super) async fn section(site: &Site, id: &str, target: Option<(String, String)>) -> Markup {
    let context = &site.context;
    let (view, now_ms) = (context.views.borrow().clone(), context.clock.now_ms());
    let asked = Asked { distribution_id: id, ..Asked::default() };
    let stats = match stats::read(&*context.store, &view, asked, now_ms).await {
        Ok(answer) => Some(answer.distributions.into_iter().next().unwrap_or_default()),
        Err(error) => {
            tracing::warn!(distribution = %id, %error, "the console can't tell how access logs stand");
            None
        }
    };
    html! {
        section {
            h2 { "Access logs" }
            @for refusal in stats.iter().flat_map(|stats| &stats.refusals) { (refused(refusal, now_ms)) }
            dl {
                dt { "Written" } dd { @if target.is_some() { "On" } @else { "Off" } }
                @if let Some((bucket, prefix)) = &target {
                    dt { "Log bucket" } dd { (bucket) }
                    dt { "Log prefix" } dd { @if prefix.is_empty() { "None" } @else { (prefix) } }
                }
                @if let Some(stats) = &stats {
                    @if target.is_some() || *stats != LogStats::default() { (figures(stats)) }
                } @else {
                    dt { "Delivered" } dd { "Can't be told just now" }
                }
            }
        }
    }
}

fn figures(stats: &LogStats) -> Markup {
    let delivered = stats.delivered.clone().unwrap_or_default();
    html! {
        dt { "Delivered" }
        dd {
            @if delivered.files == 0 { "Nothing yet" } @else {
                (count(delivered.records, "record")) " in " (count(delivered.files, "file"))
            }
        }
        @if delivered.files > 0 {
            dt { "Last file" }
            dd { (copyable(&delivered.last_key, "the key of the last file")) " " (moment(delivered.last_ms)) }
        }
        dt { "Waiting" }
        dd {
            @if stats.waiting_records == 0 { "Nothing" } @else {
                @if stats.at_least { "At least " }
                (count(stats.waiting_records, "record")) ", the oldest for " (span(stats.oldest_waiting_ms))
            }
        }
        @if delivered.dropped_records > 0 {
            dt { "Given up" }
            dd { (count(delivered.dropped_records, "record")) ": the bucket refused them for too long" }
        }
        // By which names is the operator's concern.
        @if delivered.lost_records > 0 {
            dt { "Lost" }
            dd {
                "At most " (count(delivered.lost_records, "record"))
                ": they were gone or damaged in the operator's staging bucket, last " (moment(delivered.last_lost_ms))
            }
        }
    }
}

fn refused(refusal: &LogRefusal, now_ms: u64) -> Markup {
    let target = refusal.target.as_ref();
    html! {
        div class="note warn" {
            p {
                strong { (target.map_or("", |target: &LogTarget| &target.bucket_host)) " takes no log files" } ": "
                (refusal::meaning(&refusal.error))
                @if let Some(code) = refusal::code(&refusal.error) { " (" (code) ")" }
            }
            p {
                "It is kept: "
                @if refusal.records > 0 { (count(refusal.records, "record")) " in files that wait" } @else { "what waits" }
                " is tried again. Tried " (count(u64::from(refusal.attempts), "time"))
                @if refusal.since_ms > 0 { " since " (moment(refusal.since_ms)) }
                @if refusal.next_try_ms > now_ms { ", next in " (span(refusal.next_try_ms - now_ms)) }
                "."
            }
        }
    }
}

fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A time in its largest unit, rounded up: never shorter than it is.
fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds {
        0..=119 => count(seconds, "second"),
        120..=7199 => count(seconds.div_ceil(60), "minute"),
        7200..=172_799 => count(seconds.div_ceil(3600), "hour"),
        _ => count(seconds.div_ceil(86_400), "day"),
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::LogTotals;

    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        for (ms, says) in [
            (1, "1 second"),
            (119_000, "119 seconds"),
            (119_001, "2 minutes"),
            (3_600_000, "60 minutes"),
            (7_200_000, "2 hours"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(span(ms), says);
        }
    }

    #[test]
    fn a_refusal_tells_what_to_do_and_none_of_the_operators_secrets() {
        let target = LogTarget { bucket_host: "logs.s3.amazonaws.com".into(), ..LogTarget::default() };
        let refusal = LogRefusal {
            target: Some(target),
            error: "put http://10.0.0.7:9000/logs/<x>: refused (AccessDenied)".into(),
            attempts: 3,
            next_try_ms: 21_000,
            since_ms: 1000,
            records: 12,
        };
        let text = refused(&refusal, 1000).into_string();
        for part in ["logs.s3.amazonaws.com takes no log files", "s3:PutObject", "(AccessDenied)"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("12 records in files that wait") && text.contains("Tried 3 times since"));
        assert!(text.contains("next in 20 seconds") && !text.contains("10.0.0.7") && !text.contains("<x>"));
    }

    #[test]
    fn figures_say_what_stands_and_what_waits() {
        let nothing = figures(&LogStats::default()).into_string();
        assert!(nothing.contains("Nothing yet") && nothing.contains("<dd>Nothing</dd>"), "{nothing}");
        let delivered = LogTotals {
            records: 1,
            files: 2,
            last_key: "p/<E>.gz".into(),
            last_ms: 1_795_258_800_000,
            dropped_records: 4,
            lost_records: 1,
            last_lost: "edge-7/0123456789abcdef/1".into(),
            last_lost_ms: 1_795_345_200_000,
            ..LogTotals::default()
        };
        let stats = LogStats {
            delivered: Some(delivered),
            waiting_records: 5,
            oldest_waiting_ms: 90_000,
            at_least: true,
            ..LogStats::default()
        };
        let text = figures(&stats).into_string();
        for part in
            ["1 record in 2 files", "p/&lt;E&gt;.gz", "2026-11-21", "At least 5 records", "90 seconds"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("4 records: the bucket refused them"));
        assert!(text.contains("At most 1 record: they were gone") && text.contains("2026-11-22"), "{text}");
        assert!(!text.contains("edge-7"), "{text}");
    }
}
