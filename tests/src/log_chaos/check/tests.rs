//! The checker itself: a right set of files passes, and each way of being wrong is told.

use super::*;
use crate::logs::Event;

const HOUR: &str = "2026-11-22-03";
const HOUR_S: i64 = 1_795_316_400;

fn logged() -> Vec<Logged> {
    ["a", "b"]
        .iter()
        .enumerate()
        .map(|(i, letter)| Logged {
            id: format!("E0000000LOG0{i}"),
            host: format!("{letter}.example.com"),
            bucket: format!("logs-{letter}"),
            prefix: format!("{letter}/"),
        })
        .collect()
}

fn entry(
    host: &str,
    connection: &str,
    event: Event,
    second: i64,
    sc_bytes: u64,
    play: Option<&str>,
) -> Entry {
    Entry {
        at_s: HOUR_S + second,
        date: "2026-11-22".into(),
        time: format!("03:{:02}:{:02}", second / 60, second % 60),
        edge_location: "TST1".into(),
        client_ip: "127.0.0.1".parse().unwrap(),
        event,
        sc_bytes,
        status: "OK".into(),
        client_id: format!("{connection:0>32}"),
        uri_stem: Some(format!("rtmp://{host}/cfx/st")),
        uri_query: Some(format!("c={connection}")),
        referrer: None,
        page_url: None,
        user_agent: None,
        sname: play.map(|_| "clip".into()),
        sname_query: play.map(str::to_owned),
        file_ext: play.map(|_| "flv".into()),
        sid: play.map(|_| 1),
    }
}

fn told(event: Event, fate: Fate, second: i64, sc_bytes: u64) -> Told {
    let ms = (HOUR_S + second) * 1000;
    Told { event, fate, bytes: (sc_bytes - 10, sc_bytes + 10), at_ms: (ms - 5, ms + 5) }
}

/// Two connections on two distributions: one that left, one whose edge died in mid-play after an unpause without an answer.
fn world() -> (Vec<Connection>, Vec<LogFile>) {
    let play = |id: &str, told: Vec<Told>| Play { id: id.into(), name: "clip".into(), told };
    let connections = vec![
        Connection {
            id: "1".into(),
            host: "a.example.com".into(),
            connect: told(Event::Connect, Fate::Seen, 0, 3100),
            plays: vec![
                play(
                    "p=1",
                    vec![
                        told(Event::Play, Fate::Seen, 1, 4000),
                        told(Event::Pause, Fate::Seen, 2, 5000),
                        told(Event::Unpause, Fate::Seen, 2, 5100),
                        told(Event::Seek, Fate::Seen, 3, 6000),
                        told(Event::Seek, Fate::Seen, 4, 7000),
                    ],
                ),
                play("p=2", vec![told(Event::Play, Fate::Refused, 6, 8000)]),
            ],
            received: 9000,
            left: true,
            ended: ("edge".into(), 0),
        },
        Connection {
            id: "2".into(),
            host: "b.example.com".into(),
            connect: told(Event::Connect, Fate::Seen, 0, 3100),
            plays: vec![play(
                "p=3",
                vec![
                    told(Event::Play, Fate::Seen, 1, 4000),
                    told(Event::Pause, Fate::Seen, 2, 5000),
                    told(Event::Unpause, Fate::Cut, 3, 5100),
                ],
            )],
            received: 7000,
            left: false,
            ended: ("edge".into(), 0),
        },
        Connection {
            id: "3".into(),
            host: "b.example.com".into(),
            connect: told(Event::Connect, Fate::Cut, 0, 3100),
            plays: Vec::new(),
            received: 3073,
            left: false,
            ended: ("edge".into(), 0),
        },
    ];
    let a = |event, second, bytes, play| entry("a.example.com", "1", event, second, bytes, play);
    let b = |event, second, bytes, play| entry("b.example.com", "2", event, second, bytes, play);
    let file = |letter: &str, id: &str, unique: &str, entries: Vec<Entry>| LogFile {
        bucket: format!("logs-{letter}"),
        key: format!("{letter}/{id}.{HOUR}.{unique}.gz"),
        entries,
    };
    let p1 = Some("p=1");
    let files = vec![
        file(
            "a",
            "E0000000LOG00",
            "AAA",
            vec![
                a(Event::Connect, 0, 3100, None),
                a(Event::Play, 1, 4000, p1),
                a(Event::Pause, 2, 5000, p1),
                a(Event::Unpause, 2, 5100, p1),
            ],
        ),
        file(
            "a",
            "E0000000LOG00",
            "BBB",
            vec![
                a(Event::Seek, 3, 6000, p1),
                a(Event::Seek, 4, 7000, p1),
                a(Event::Stop, 5, 8000, p1),
                a(Event::Disconnect, 9, 9000, None),
            ],
        ),
        file(
            "b",
            "E0000000LOG01",
            "CCC",
            vec![
                b(Event::Connect, 0, 3100, None),
                b(Event::Play, 1, 4000, Some("p=3")),
                b(Event::Pause, 2, 5000, Some("p=3")),
                b(Event::Stop, 2, 5000, Some("p=3")),
                b(Event::Disconnect, 2, 5000, None),
            ],
        ),
    ];
    (connections, files)
}

fn faults(connections: &[Connection], files: &[LogFile]) -> Vec<String> {
    check(connections, files, &logged(), STRICT).err().unwrap_or_default()
}

/// The faults of the world after a change, which must be told with this in it.
#[track_caller]
fn told_of(part: &str, change: impl FnOnce(&mut Vec<Connection>, &mut Vec<LogFile>)) {
    let (mut connections, mut files) = world();
    change(&mut connections, &mut files);
    let found = faults(&connections, &files);
    assert!(found.iter().any(|fault| fault.contains(part)), "{part:?} is not among {found:#?}");
}

#[test]
fn a_right_set_of_files_passes_and_is_counted() {
    let (connections, files) = world();
    assert_eq!(
        check(&connections, &files, &logged(), STRICT),
        Ok(Totals { records: 13, seen: 13, files: 3 })
    );
}

#[test]
fn any_single_record_lost_is_told() {
    let (connections, files) = world();
    for file in 0..files.len() {
        for record in 0..files[file].entries.len() {
            let mut less = files.clone();
            let lost = less[file].entries.remove(record);
            assert!(!faults(&connections, &less).is_empty(), "{:?} of {:?}", lost.event, lost.uri_query);
        }
    }
}

#[test]
fn any_single_record_doubled_is_told_in_the_same_file_or_another() {
    let (connections, files) = world();
    for file in 0..files.len() {
        for record in 0..files[file].entries.len() {
            let twice = files[file].entries[record].clone();
            let mut same = files.clone();
            same[file].entries.insert(record, twice.clone());
            assert!(!faults(&connections, &same).is_empty(), "{:?}", twice.event);
            let mut another = files.clone();
            let key = files[file].key.replace(".gz", "X.gz");
            another.push(LogFile { bucket: files[file].bucket.clone(), key, entries: vec![twice.clone()] });
            assert!(!faults(&connections, &another).is_empty(), "{:?}", twice.event);
        }
    }
}

#[test]
fn a_whole_file_doubled_under_another_name_is_told() {
    told_of("records of a Connect", |_, files| {
        let mut copy = files[0].clone();
        copy.key = copy.key.replace("AAA", "DDD");
        files.push(copy);
    });
}

#[test]
fn what_has_no_answer_may_be_there_once_and_no_more() {
    let (connections, mut files) = world();
    let unpause = entry("b.example.com", "2", Event::Unpause, 2, 5000, Some("p=3"));
    files[2].entries.insert(3, unpause.clone());
    assert_eq!(faults(&connections, &files), Vec::<String>::new());
    files[2].entries.insert(3, unpause);
    assert!(faults(&connections, &files)[0].contains("2 records of Unpause"));
    let (connections, mut files) = world();
    let third = |event, second| entry("b.example.com", "3", event, second, 3100, None);
    files[2].entries.extend([third(Event::Connect, 3), third(Event::Disconnect, 4)]);
    assert_eq!(faults(&connections, &files), Vec::<String>::new());
    // Once begun, it must end.
    files[2].entries.pop();
    assert!(faults(&connections, &files)[0].contains("1 connects and 0 disconnects"));
}

#[test]
fn what_was_refused_or_never_asked_for_is_told() {
    told_of("1 records of Play, 0 to 0", |_, files| {
        files[1].entries.insert(3, entry("a.example.com", "1", Event::Play, 6, 8000, Some("p=2")));
        files[1].entries.insert(4, entry("a.example.com", "1", Event::Stop, 6, 8000, Some("p=2")));
    });
    told_of("which it never made", |_, files| {
        files[1].entries.insert(3, entry("a.example.com", "1", Event::Seek, 6, 8000, Some("p=9")));
    });
    told_of("which nobody made", |_, files| {
        files[1].entries.push(entry("a.example.com", "77", Event::Connect, 30, 9000, None));
    });
}

#[test]
fn disorder_is_told() {
    told_of("in one file", |_, files| files[0].entries.swap(2, 3));
    told_of("after", |_, files| files[0].entries.swap(1, 2));
    told_of("sc-bytes falls", |_, files| files[1].entries[0].sc_bytes = 4990);
    told_of("after the stop", |_, files| files[1].entries[2].at_s -= 3);
    told_of("before the play", |_, files| files[0].entries[1].sc_bytes = 5050);
    told_of("not at its end", |_, files| files[2].entries[4].at_s -= 1);
    told_of("not at its end", |_, files| files[0].entries[0].sc_bytes = 4500);
}

#[test]
fn wrong_amounts_and_times_are_told() {
    told_of("the viewer had", |_, files| files[0].entries[1].sc_bytes = 4011);
    told_of("seen", |_, files| {
        files[1].entries[2].at_s += 2;
        files[1].entries[1].at_s += 2;
    });
    told_of("were received", |connections, _| connections[0].received = 9001);
}

#[test]
fn records_in_a_wrong_file_are_told() {
    told_of("belongs into", |_, files| files[0].bucket = "logs-b".into());
    told_of("belongs into", |_, files| files[0].key = files[0].key.replace("a/", "c/"));
    told_of("a record of Some", |_, files| {
        let strayed = files[2].entries.remove(0);
        files[0].entries.insert(0, strayed);
    });
    told_of("a record of hour", |_, files| files[2].key = files[2].key.replace("-03.", "-04."));
    told_of("the unique part", |_, files| files[1].key = files[1].key.replace("BBB", "AAA"));
    told_of("no such distribution", |_, files| files[1].key = files[1].key.replace("LOG00", "LOG07"));
    told_of("no records", |_, files| files[0].entries.clear());
    told_of("is not ID.HOUR", |_, files| files[0].key = "a/what.gz".into());
}

#[test]
fn records_of_another_client_or_stream_are_told() {
    told_of("client ids", |_, files| files[0].entries[1].client_id = "f".repeat(32));
    told_of("x-sname", |_, files| files[0].entries[1].sname = Some("other".into()));
    told_of("x-sid", |_, files| files[0].entries[1].sid = None);
}
