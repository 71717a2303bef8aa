//! Hourly files over a store and buckets in memory, read back by the crate's reader.
//!
//! With `PENSTOCK_PYARROW` naming a Python that has pyarrow, that reads each of them too.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::BytesMut;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use proto::access_log::{Segment, SegmentId, SegmentWriter};
use proto::clock::{Clock as _, SetClock};
use proto::v1::{AccessEvent, AccessRecord, LogTarget, SegmentHeader, StagedSegment, WebFields};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::access_log::bucket::faulty::{Fault, Faults, FaultyBuckets};
use crate::access_log::bucket::memory::{MemoryBucket, MemoryBuckets};
use crate::access_log::merge::{MergeConfig, Merger};
use crate::access_log::{format, ledger};
use crate::documents::log_target_key;
use crate::store::memory;

const HOST: &str = "logs.s3.amazonaws.com";
const HOUR: u32 = 437_276;
const GRACE: Duration = Duration::from_secs(900);
const HOUR_MS: u64 = 3_600_000;

fn target() -> LogTarget {
    LogTarget { bucket_host: HOST.into(), prefix: "log".into(), account: String::new() }
}

fn group() -> Group {
    Group { distribution_id: "E1".into(), hour: HOUR, target: target() }
}

/// A play; the texts are what a log must escape.
fn play(i: u64) -> AccessRecord {
    AccessRecord {
        time_ms: u64::from(HOUR) * HOUR_MS + i * 1000 % HOUR_MS,
        event: AccessEvent::Play.into(),
        edge_location: "SEA4".into(),
        client_ip: "192.0.2.222".into(),
        client_id: format!("{i:032x}"),
        sc_bytes: i * 1000,
        uri_stem: "rtmp://s5c39gqb8ow64r.cloudfront.net/cfx/st".into(),
        user_agent: "LNX 10,0,32,18".into(),
        stream_name: format!("dir/{i} é~%20"),
        file_ext: "mp4".into(),
        stream_id: 1,
        ..Default::default()
    }
}

struct Case {
    store: Store,
    buckets: MemoryBuckets,
    faults: Faults,
    clock: Arc<SetClock>,
    hourly: Hourly,
    files: u64,
}

impl Case {
    async fn new(config: HourlyConfig) -> Self {
        let store = memory::open().await.unwrap();
        let published = Transaction::default().put(log_target_key("E1", &target()), target().encode_to_vec());
        store.commit(published).await.unwrap();
        let buckets = MemoryBuckets::new();
        let faults = Faults::new(1);
        let clock = SetClock::at_ms(u64::from(HOUR) * HOUR_MS + HOUR_MS / 2);
        let faulty = Arc::new(FaultyBuckets::new(Arc::new(buckets.clone()), faults.clone()));
        let hourly = Hourly::new(store.clone(), faulty, clock.clone(), config, &Registry::new()).unwrap();
        Self { store, buckets, faults, clock, hourly, files: 0 }
    }

    fn bucket(&self) -> MemoryBucket {
        self.buckets.at(HOST)
    }

    /// What delivering does: the file is put, then known to stand.
    async fn deliver(&mut self, records: &[AccessRecord]) {
        self.files += 1;
        let epoch = "0123456789abcdef".to_owned();
        let list = [SegmentHeader { edge_id: "e".into(), epoch, number: self.files }];
        let key = name::key("E1", HOUR, &target(), &list);
        self.bucket().put(&key, format::file(records)).await.unwrap();
        self.add_ticket().await;
    }

    async fn add_ticket(&self) {
        let now_ms = self.clock.now_ms();
        let ticket = add_ticket(Transaction::default(), &group(), GRACE, now_ms);
        self.store.commit(ticket).await.unwrap();
    }

    async fn ticket(&self) -> Option<LogGroup> {
        let entry = self.store.get(&ticket_key(&group())).await.unwrap()?;
        Some(LogGroup::decode(entry.value).unwrap())
    }

    /// Goes to when the hour's file is due.
    fn wait(&self) {
        self.clock.set_ms(u64::from(HOUR + 1) * HOUR_MS + GRACE.as_millis() as u64);
    }

    fn rows(&self, part: u64) -> Vec<Row> {
        read(&self.bucket().objects()[&key(&group(), part)])
    }
}

/// How long what a merger does by itself may take.
const WITHIN: Duration = Duration::from_secs(600);

/// Returns once `holds`.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(WITHIN, wait).await.unwrap_or_else(|_| panic!("not within {WITHIN:?}: {what}"));
}

type Row = BTreeMap<String, Field>;

/// All rows, null columns left out. The file is also given to pyarrow, if there is one.
fn read(file: &Bytes) -> Vec<Row> {
    let reader = SerializedFileReader::new(file.clone()).unwrap();
    let rows: Vec<Row> = reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| {
            let row = row.unwrap();
            let columns = row.get_column_iter().filter(|(_, field)| **field != Field::Null);
            columns.map(|(name, field)| (name.clone(), field.clone())).collect()
        })
        .collect();
    if let Ok(python) = std::env::var("PENSTOCK_PYARROW") {
        let script = "import sys, io, pyarrow.parquet as pq\n\
                      t = pq.read_table(io.BytesIO(sys.stdin.buffer.read()))\n\
                      print(t.num_rows, t.schema.field('time').type, t.schema.field('sc_bytes').type, t.schema.field('c_ip').type)\n\
                      print(sum(x or 0 for x in t['sc_bytes'].to_pylist()), min(t['time'].to_pylist()).isoformat())";
        let mut python = Command::new(python);
        let mut python =
            python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        python.stdin.take().unwrap().write_all(file).unwrap();
        let out = python.wait_with_output().unwrap();
        assert!(out.status.success());
        let out = String::from_utf8(out.stdout).unwrap();
        let (first, second) = out.trim().split_once('\n').unwrap();
        assert_eq!(first, format!("{} timestamp[ms, tz=UTC] int64 string", rows.len()));
        let long = |row: &Row| match row.get("sc_bytes") {
            Some(Field::Long(bytes)) => i128::from(*bytes),
            _ => 0,
        };
        let bytes: i128 = rows.iter().map(long).sum();
        assert!(second.starts_with(&format!("{bytes} ")) && second.ends_with("+00:00"), "{second}");
    }
    rows
}

fn text(text: &str) -> Field {
    Field::Str(text.into())
}

#[tokio::test]
async fn an_hours_log_files_become_one_file_of_typed_columns_once_the_hour_is_over() {
    let mut case = Case::new(HourlyConfig::default()).await;
    let connect = AccessRecord { event: AccessEvent::Connect.into(), ..play(3) };
    case.deliver(&[play(1), play(2)]).await;
    case.deliver(&[connect]).await;
    assert_eq!(case.hourly.make_due().await.unwrap(), 0, "the hour is not over");
    case.clock.set_ms(u64::from(HOUR + 1) * HOUR_MS + GRACE.as_millis() as u64 - 1);
    assert_eq!(case.hourly.make_due().await.unwrap(), 0, "nor the grace");
    case.wait();
    assert_eq!(case.hourly.make_due().await.unwrap(), 1);
    assert_eq!(case.ticket().await, None);
    assert!(case.bucket().objects().contains_key("log/parquet/E1.2019-11-19-20.parquet"));

    let mut rows = case.rows(1);
    rows.sort_by_key(|row| format!("{:?}", row["x_cf_client_id"]));
    let of_play = &rows[0];
    assert_eq!(rows.len(), 3);
    assert_eq!(of_play["time"], Field::TimestampMillis(i64::from(HOUR) * 3_600_000 + 1000));
    assert_eq!(of_play["sc_bytes"], Field::Long(1000));
    assert_eq!(of_play["x_sid"], Field::Long(1));
    assert_eq!(of_play["c_ip"], text("192.0.2.222"));
    assert_eq!(of_play["x_event"], text("play"));
    assert_eq!(of_play["c_user_agent"], text("LNX 10,0,32,18"));
    assert_eq!(of_play["x_sname"], text("dir/1 é~%20"), "decoded, once");
    assert!(!of_play.contains_key("cs_uri_query"), "no value is null");
    let of_connect = &rows[2];
    assert!(
        ["x_sname", "x_sname_query", "x_file_ext", "x_sid"]
            .iter()
            .all(|name| !of_connect.contains_key(*name))
    );
    assert_eq!(case.hourly.make_due().await.unwrap(), 0, "once");
}

#[tokio::test]
async fn a_late_file_has_the_hour_made_anew_and_the_same_files_give_the_same_bytes() {
    let mut case = Case::new(HourlyConfig::default()).await;
    case.deliver(&[play(1)]).await;
    case.wait();
    case.hourly.make_due().await.unwrap();
    assert_eq!(case.rows(1).len(), 1);

    case.deliver(&[play(2), play(3)]).await;
    assert_eq!(case.hourly.make_due().await.unwrap(), 0, "more may come");
    case.clock.advance_ms(SETTLE_MS);
    assert_eq!(case.hourly.make_due().await.unwrap(), 1);
    assert_eq!(case.rows(1).len(), 3);

    let key = key(&group(), 1);
    let before = case.bucket().objects()[&key].clone();
    case.add_ticket().await;
    case.clock.advance_ms(SETTLE_MS);
    assert_eq!(case.hourly.make_due().await.unwrap(), 1);
    assert_eq!(case.bucket().objects()[&key], before);
    assert_eq!(case.bucket().puts(&key), 3);
}

#[tokio::test]
async fn a_bucket_that_refuses_is_asked_again_with_backoff_and_at_last_given_up() {
    let mut case = Case::new(HourlyConfig::default()).await;
    case.deliver(&[play(1)]).await;
    case.wait();
    case.faults.always(Some(Fault::denied()));
    let mut delay_ms = BACKOFF_MS;
    for attempt in 1..=3 {
        assert_eq!(case.hourly.make_due().await.unwrap(), 0);
        let ticket = case.ticket().await.unwrap();
        assert_eq!((ticket.attempts, ticket.next_try_ms), (attempt, case.clock.now_ms() + delay_ms));
        assert!(ticket.last_error.contains("AccessDenied"), "{}", ticket.last_error);
        assert_eq!(case.hourly.make_due().await.unwrap(), 0);
        assert_eq!(case.ticket().await.unwrap().attempts, attempt, "not before its time");
        case.clock.advance_ms(delay_ms);
        delay_ms *= 2;
    }
    case.faults.end();
    assert_eq!(case.hourly.make_due().await.unwrap(), 1);
    assert_eq!(case.rows(1).len(), 1);

    case.faults.always(Some(Fault::denied()));
    case.add_ticket().await;
    case.clock.advance_ms(GIVE_UP.as_millis() as u64 + HOUR_MS);
    assert_eq!(case.hourly.make_due().await.unwrap(), 0);
    assert_eq!(case.ticket().await, None, "given up");
}

#[tokio::test]
async fn an_account_without_leave_gets_no_file() {
    let case = Case::new(HourlyConfig::default()).await;
    let target = LogTarget { account: "111111111111".into(), ..target() };
    let group = Group { target, ..group() };
    let key = log_target_key("E1", &group.target);
    case.store.commit(Transaction::default().put(key, group.target.encode_to_vec())).await.unwrap();
    case.bucket().put(&name::key("E1", HOUR, &group.target, &[]), format::file(&[play(1)])).await.unwrap();
    let made = case.hourly.make(&group, "log-hourly-lease/x").await;
    assert!(matches!(made, Err(HourlyError::NotGranted)));
    assert_eq!(case.bucket().objects().len(), 1);
}

#[tokio::test]
async fn what_is_no_log_file_is_left_out_and_counted() {
    let mut case = Case::new(HourlyConfig::default()).await;
    case.deliver(&[play(1)]).await;
    let whole = format::file(&(0..2000).map(play).collect::<Vec<_>>());
    let mut altered = format::gzip::Gzip::new();
    altered.put(b"no header\n#Version: 1.0\n#Fields: date other\na\tb\n");
    altered.put(format!("#Fields: {}\n2019-11-19\t20:00:00\tshort\n", Format::Rtmp.fields()).as_bytes());
    altered.put(format!("{}\n", format::line(&play(7))).as_bytes());
    let folder = "log/E1.2019-11-19-20.";
    for (name, object) in [
        ("AAA.gz", Bytes::from_static(b"hello")),
        ("BBB.gz", whole.slice(..whole.len() - 40)),
        ("CCC.gz", altered.finish()),
        // Not named like a log file: not looked at.
        ("ddd.gz", Bytes::from_static(b"hello")),
        ("DDD.txt", Bytes::from_static(b"hello")),
    ] {
        case.bucket().put(&format!("{folder}{name}"), object).await.unwrap();
    }
    let made = case.hourly.make(&group(), "log-hourly-lease/x").await.unwrap();
    // The two that are damaged, and three lines of the altered one.
    assert_eq!((made.log_files, made.skipped), (4, 5));
    let rows = case.rows(1);
    assert_eq!(rows.len() as u64, made.records);
    assert!(made.records > 2, "what was before the damage is there");
}

#[tokio::test]
async fn an_hour_without_log_files_writes_nothing() {
    let case = Case::new(HourlyConfig::default()).await;
    case.add_ticket().await;
    case.wait();
    assert_eq!(case.hourly.make_due().await.unwrap(), 1);
    assert_eq!(case.bucket().objects().len(), 0);
}

#[tokio::test]
async fn a_large_hour_is_several_files_and_each_row_is_in_one() {
    let mut case = Case::new(HourlyConfig { part_bytes: 20_000, ..HourlyConfig::default() }).await;
    // More than a row group each, so that groups are written on the way.
    for file in 0..3 {
        let records: Vec<_> = (0..2_200).map(|i| play(file * 2_200 + i)).collect();
        case.deliver(&records).await;
    }
    case.wait();
    assert_eq!(case.hourly.make_due().await.unwrap(), 1);
    let keys: Vec<_> = case.bucket().objects().into_keys().filter(|key| key.contains("/parquet/")).collect();
    assert_eq!(
        keys,
        [
            "log/parquet/E1.2019-11-19-20.2.parquet",
            "log/parquet/E1.2019-11-19-20.3.parquet",
            "log/parquet/E1.2019-11-19-20.parquet",
        ]
    );
    let mut ids: Vec<_> =
        (1..=3).flat_map(|part| case.rows(part)).map(|row| format!("{:?}", row["x_cf_client_id"])).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6_600);
}

#[tokio::test]
async fn who_made_an_hour_while_a_file_came_or_another_made_it_leaves_a_ticket() {
    let mut case = Case::new(HourlyConfig::default()).await;
    case.deliver(&[play(1)]).await;
    let key = ticket_key(&group());
    let seen = case.store.get(&key).await.unwrap().unwrap();
    case.deliver(&[play(2)]).await;
    case.hourly.done(&seen).await.unwrap();
    assert!(case.ticket().await.is_some(), "the late file's ticket stays");

    case.store.commit(Transaction::default().delete(&key)).await.unwrap();
    case.hourly.done(&seen).await.unwrap();
    assert!(case.ticket().await.is_some(), "it may have written over a newer file");
}

#[tokio::test]
async fn an_hour_that_another_replica_makes_is_left_to_it_until_its_lease_ends() {
    let mut case = Case::new(HourlyConfig::default()).await;
    case.deliver(&[play(1)]).await;
    case.wait();
    let lease = lease_key(&ticket_key(&group()));
    let other = Transaction::default().put_for(&lease, "other", LEASE);
    case.store.commit(other).await.unwrap();
    assert_eq!(case.hourly.make_due().await.unwrap(), 0);
    case.store.commit(Transaction::default().delete(&lease)).await.unwrap();
    assert_eq!(case.hourly.make_due().await.unwrap(), 1);
}

#[tokio::test]
async fn web_records_have_columns_of_their_own() {
    let mut case = Case::new(HourlyConfig::default()).await;
    let web = WebFields {
        http_status: 206,
        time_taken_us: 1_234_567,
        content_length: -1,
        range_start: "0".into(),
        ..Default::default()
    };
    let request = AccessRecord {
        event: AccessEvent::Request.into(),
        sc_bytes: u64::MAX,
        stream_name: String::new(),
        web: Some(web),
        ..play(1)
    };
    case.deliver(&[request]).await;
    case.wait();
    case.hourly.make_due().await.unwrap();
    let row = &case.rows(1)[0];
    assert_eq!(row["cs_user_agent"], text("LNX 10,0,32,18"));
    assert_eq!(row["sc_status"], Field::Long(206));
    assert_eq!(row["time_taken"], Field::Double(1.234));
    assert_eq!(row["sc_range_start"], Field::Long(0));
    assert_eq!(row["sc_bytes"], Field::Long(i64::MAX));
    assert!(!row.contains_key("sc_content_len") && !row.contains_key("c_port"));
}

#[tokio::test(start_paused = true)]
async fn a_merger_that_is_told_to_makes_the_hours_of_the_files_it_delivers() {
    let case = Case::new(HourlyConfig::default()).await;
    case.wait();
    // A segment as staging leaves it.
    let id = SegmentId { edge_id: "e".into(), epoch: "0123456789abcdef".into(), number: 1 };
    let mut bytes = BytesMut::new();
    let mut writer = SegmentWriter::new(id.clone(), &mut bytes);
    for i in 0..5 {
        let record = AccessRecord { distribution_id: "E1".into(), target: Some(target()), ..play(i) };
        writer.put(&record, &mut bytes);
    }
    writer.seal(&mut bytes);
    let index = Segment::open(bytes.clone().freeze()).unwrap().footer.index;
    let staging = MemoryBucket::new("staging");
    staging.put(&ledger::object_key("", &id), bytes.clone().freeze()).await.unwrap();
    let staged =
        StagedSegment { id: Some(id.header()), index, bytes: bytes.len() as u64, ..StagedSegment::default() };
    case.store.commit(ledger::enter(&id, &staged, &ledger::Known::default())).await.unwrap();

    let config = MergeConfig { hourly: Some(HourlyConfig::default()), ..MergeConfig::default() };
    let buckets = Arc::new(case.buckets.clone());
    let (store, clock) = (case.store.clone(), case.clock.clone());
    let merger =
        Merger::new(store, Arc::new(staging), String::new(), buckets, clock, config, &Registry::new())
            .unwrap();
    let (stop, running) = (CancellationToken::new(), merger.clone());
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { running.run(stop).await }
    });
    eventually("the delivered file's hour has a ticket", async || case.ticket().await.is_some()).await;
    case.clock.advance_ms(SETTLE_MS);
    eventually("the hour is made", async || case.ticket().await.is_none()).await;
    assert_eq!(case.rows(1).len(), 5);
    stop.cancel();
    tokio::time::timeout(WITHIN, running).await.expect("the merger stops").unwrap();
}
