//! Figures from documents as merging leaves them.

use std::sync::Arc;

use proto::v1::{Distribution, LogFile, SegmentEntry};

use super::*;
use crate::store::{Transaction, memory};

const FILMS: &str = "E0000000FILMS";
const SONGS: &str = "E0000000SONGS";
const NOW_MS: u64 = 1_795_258_800_000;
const HOUR: u32 = 498_683;

fn target(bucket: &str) -> Option<LogTarget> {
    let bucket_host = format!("{bucket}.s3.amazonaws.com");
    Some(LogTarget { bucket_host, prefix: "p".into(), account: "111122223333".into() })
}

fn header(number: u64) -> SegmentHeader {
    SegmentHeader { edge_id: "edge-1".into(), epoch: "0123456789abcdef".into(), number }
}

fn entry(id: &str, bucket: &str, records: u64, age_ms: u64) -> SegmentEntry {
    SegmentEntry {
        distribution_id: id.into(),
        hour: HOUR,
        target: target(bucket),
        records,
        bytes: records * 100,
        first_ms: NOW_MS - age_ms,
    }
}

fn staged(transaction: Transaction, number: u64, index: Vec<SegmentEntry>) -> Transaction {
    let document =
        StagedSegment { id: Some(header(number)), index, bytes: 1, staged_ms: NOW_MS, ..Default::default() };
    let key = format!("{LOG_SEGMENTS}edge-1/0123456789abcdef/{number:020}");
    transaction.put(key, document.encode_to_vec())
}

fn grouped(transaction: Transaction, group: LogGroup) -> Transaction {
    let bucket = group.target.as_ref().map(|t| t.bucket_host.clone()).unwrap_or_default();
    let key = format!("{LOG_GROUPS}{}/{}/{bucket}", group.distribution_id, group.hour);
    transaction.put(key, group.encode_to_vec())
}

fn group(id: &str, bucket: &str, mark: u64) -> LogGroup {
    let marks = vec![header(mark)];
    LogGroup { distribution_id: id.into(), hour: HOUR, target: target(bucket), marks, ..LogGroup::default() }
}

fn view(ids: &[&str]) -> View {
    let distribution = |id: &&str| {
        let document = Distribution { id: (*id).into(), logging: target("logs"), ..Distribution::default() };
        ((*id).to_owned(), Arc::new(document))
    };
    View { distributions: Arc::new(ids.iter().map(distribution).collect()), ..View::default() }
}

async fn told(store: &dyn ConfigStore, view: &View, asked: Asked<'_>) -> Vec<LogStats> {
    read(store, view, asked, NOW_MS).await.unwrap().distributions
}

#[tokio::test]
async fn what_is_above_a_groups_mark_waits_and_what_is_below_stands() {
    let store = memory::open().await.unwrap();
    let totals =
        LogTotals { records: 7, files: 2, bytes: 300, last_key: "p/E.gz".into(), ..LogTotals::default() };
    let t = Transaction::default().put(format!("{LOG_TOTALS}{FILMS}"), totals.encode_to_vec());
    let t = staged(t, 1, vec![entry(FILMS, "logs", 5, 90_000), entry(SONGS, "logs", 1, 80_000)]);
    let t = staged(t, 2, vec![entry(FILMS, "logs", 3, 60_000), entry(FILMS, "moved", 2, 50_000)]);
    let t = grouped(t, group(FILMS, "logs", 1));
    store.commit(t).await.unwrap();
    let all = told(&*store, &view(&[FILMS, "E0000000ALONE"]), Asked::default()).await;
    let ids: Vec<&str> = all.iter().map(|stats| stats.distribution_id.as_str()).collect();
    assert_eq!(ids, ["E0000000ALONE", FILMS, SONGS]);
    assert_eq!((all[0].logging.clone(), all[0].waiting_records), (target("logs"), 0));
    let films = &all[1];
    assert_eq!((films.waiting_records, films.waiting_bytes, films.oldest_waiting_ms), (5, 500, 60_000));
    assert_eq!(films.delivered.as_ref().unwrap().last_key, "p/E.gz");
    // One that is gone, and whose last records wait.
    assert_eq!((all[2].waiting_records, all[2].oldest_waiting_ms, all[2].logging.clone()), (1, 80_000, None));
    let one = told(&*store, &view(&[FILMS]), Asked { distribution_id: FILMS, ..Asked::default() }).await;
    assert_eq!(one, std::slice::from_ref(films));
    let none = told(&*store, &view(&[]), Asked { distribution_id: "E00", ..Asked::default() }).await;
    assert_eq!(none, []);
}

#[tokio::test]
async fn a_refusing_bucket_is_named_once_with_what_waits_for_it() {
    let store = memory::open().await.unwrap();
    let file = |records, age_ms| LogFile {
        records,
        bytes: records * 100,
        committed_ms: NOW_MS - age_ms,
        ..LogFile::default()
    };
    let hour = |hour: u32, attempts: u32, held: Vec<LogFile>, pending: Option<LogFile>| LogGroup {
        hour,
        attempts,
        last_error: format!("put: refused (AccessDenied) {attempts}"),
        next_try_ms: NOW_MS + u64::from(attempts) * 1000,
        held,
        pending,
        ..group(FILMS, "refuses", 9)
    };
    let t = grouped(Transaction::default(), hour(1, 3, vec![file(10, 7000), file(20, 9000)], None));
    let t = grouped(t, hour(2, 8, vec![], Some(file(5, 3000))));
    let well = LogGroup { last_error: "long ago".into(), ..group(FILMS, "logs", 9) };
    let t = staged(grouped(t, well), 10, vec![entry(FILMS, "refuses", 5, 3500)]);
    store.commit(t).await.unwrap();
    let all = told(&*store, &view(&[]), Asked::default()).await;
    assert_eq!((all.len(), all[0].refusals.len()), (1, 1));
    let refusal = &all[0].refusals[0];
    assert_eq!((refusal.target.clone(), refusal.attempts, refusal.records), (target("refuses"), 8, 35));
    assert_eq!(refusal.error, "put: refused (AccessDenied) 8");
    assert_eq!((refusal.since_ms, refusal.next_try_ms), (NOW_MS - 9000, NOW_MS + 3000));
    assert_eq!(all[0].last_error, refusal.error);
    // Held files and the staged segment; the pending file is that segment's.
    assert_eq!((all[0].waiting_records, all[0].oldest_waiting_ms), (35, 9000));
}

#[tokio::test]
async fn answers_come_in_pages_and_a_backlog_is_counted_only_so_far() {
    let store = memory::open().await.unwrap();
    let mut t = Transaction::default();
    for number in 1..=450 {
        t = staged(t, number, vec![entry(&format!("E{:012}", number % 5), "logs", 1, number)]);
    }
    store.commit(t).await.unwrap();
    let view = View::default();
    let (mut after, mut seen, mut pages) = (String::new(), 0, 0);
    loop {
        let asked = Asked { after: &after, limit: 2, ..Asked::default() };
        let answer = read(&*store, &view, asked, NOW_MS).await.unwrap();
        seen += answer.distributions.iter().map(|stats| stats.waiting_records).sum::<u64>();
        assert!(answer.distributions.iter().all(|stats| !stats.at_least));
        pages += 1;
        after = answer.distributions.last().unwrap().distribution_id.clone();
        if !answer.truncated {
            break;
        }
    }
    assert_eq!((seen, pages), (450, 3));
    let part = read_up_to(&*store, &view, Asked::default(), NOW_MS, 300).await.unwrap();
    assert_eq!(part.distributions.iter().map(|stats| stats.waiting_records).sum::<u64>(), 300);
    assert!(part.distributions.iter().all(|stats| stats.at_least));
}
