//! Standalone's access logs, as the person sees them who runs it: in a bucket that boto3 reads, in a folder that `zcat` reads, complete after
//! a kill and after a stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::api::{Keys, aws};
use tests::players::{self, Outcome};
use tests::scale;
use tests::standalone::{Options, Standalone};
use tests::wire::{Client, PATIENCE};

/// Until a line must be in its file, on a machine that does much else. A quiet one needs some seven seconds.
const DELIVERED: Duration = Duration::from_secs(90);
/// Until a stopped process must have ended.
const STOPPED: Duration = Duration::from_secs(40);

/// One record, with the id of its distribution before the 17 fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row(Vec<String>);

impl Row {
    fn at(&self, field: usize) -> &str {
        &self.0[field]
    }
    fn time(&self) -> (&str, &str) {
        (self.at(1), self.at(2))
    }
    fn event(&self) -> &str {
        self.at(5)
    }
    fn bytes(&self) -> u64 {
        self.at(6).parse().unwrap()
    }
    fn client(&self) -> &str {
        self.at(8)
    }
    fn query(&self) -> &str {
        self.at(15)
    }
}

/// All records below a folder, unpacked by zcat; files carry the distribution's id in their names.
fn on_disk(folder: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        // Not there yet: no file has been delivered.
        let Ok(entries) = std::fs::read_dir(at) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let out = Command::new("zcat").arg(&path).output().unwrap();
            assert!(out.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
            let text = String::from_utf8(out.stdout).unwrap();
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let fields = line.split('\t').map(str::to_owned);
                let row: Vec<String> =
                    std::iter::once(name.split('.').next().unwrap().to_owned()).chain(fields).collect();
                assert_eq!(row.len(), 18, "{}: {line}", path.display());
                rows.push(Row(row));
            }
        }
    }
    rows
}

/// The records below a folder once `enough` holds.
fn once(what: &str, folder: &Path, enough: impl Fn(&[Row]) -> bool) -> Vec<Row> {
    let end = Instant::now() + DELIVERED;
    loop {
        let rows = on_disk(folder);
        if enough(&rows) {
            return rows;
        }
        assert!(Instant::now() < end, "{what}: not within {DELIVERED:?}: {rows:#?}");
        // Unpacking is work: not as often as the test could.
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn count(rows: &[Row], event: &str) -> usize {
    rows.iter().filter(|row| row.event() == event).count()
}

/// Events by connection, each connection's in order of their running total (and of their file among equals).
fn sessions(rows: &[Row]) -> BTreeMap<&str, Vec<&Row>> {
    let mut all: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        all.entry(row.client()).or_default().push(row);
    }
    for session in all.values_mut() {
        // Within one second the clock doesn't tell and the total may not have moved: the order of a session's life does.
        let rank = |row: &Row| match row.event() {
            "connect" => 0,
            "play" => 1,
            "stop" => 3,
            "disconnect" => 4,
            _ => 2,
        };
        session.sort_by_key(|row| (row.time(), row.bytes(), rank(row)));
    }
    all
}

fn events<'a>(session: &[&'a Row]) -> Vec<&'a str> {
    session.iter().map(|row| row.event()).collect()
}

/// The session that played a name with this query.
fn session_of<'a>(rows: &'a [Row], query: &str) -> Vec<&'a Row> {
    let found = sessions(rows).into_values().find(|session| session.iter().any(|row| row.query() == query));
    found.unwrap_or_else(|| panic!("nobody played with {query}: {rows:#?}"))
}

fn folder(server: &Standalone) -> PathBuf {
    server.text("/logs/folder").into()
}

fn staged(data: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![data.join("buckets/penstock-staging")];
    while let Some(at) = folders.pop() {
        for path in std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

fn keys(server: &Standalone) -> Keys {
    let (id, secret) = server.keys();
    Keys { account: server.text("/account").into(), id: id.into(), secret: secret.into() }
}

fn boto3(server: &Standalone, case: &str, checks: u64, words: &[&str]) -> serde_json::Value {
    aws::boto3_at(&format!("http://{}", server.s3()), &keys(server), "logs", case, checks, words)
}

/// A whole play at line rate, then goodbye: bytes received, handshake included.
fn watch(addr: &str, name: &str) -> u64 {
    let mut client = Client::streaming(addr);
    client.set_buffer(1, 36_000_000);
    client.play(1, name, &[]);
    client.wait_status_within("NetStream.Play.Stop", 3 * PATIENCE);
    // The answer to this is the last that there is to send.
    client.create_stream();
    let handshake = 1 + 2 * 1536;
    let bytes = client.bytes() + handshake;
    client.close();
    client.wait_closed(PATIENCE);
    bytes
}

/// A viewer who has seen its first picture and stays.
fn staying(addr: &str, name: &str) -> Client {
    let mut client = Client::streaming(addr);
    client.set_buffer(1, 1000);
    client.play(1, name, &[]);
    client.wait_status("NetStream.Play.Start");
    client.wait("a picture", PATIENCE, |m| m.is_picture());
    client
}

fn stop(server: &mut Standalone) {
    server.process.signal("TERM");
    let status = server.process.wait(STOPPED).unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn boto3_reads_what_each_player_did_from_the_embedded_s3_with_the_printed_key() {
    let server = Standalone::start();
    let (addr, temp) = (server.rtmp().to_owned(), tempfile::tempdir().unwrap());
    let url = server.url();
    let to = temp.path().join("a.flv");
    let described = [
        "-q",
        "-f",
        "LNX 10,0,32,18",
        "-s",
        "http://example.com/a player.swf",
        "-p",
        "http://example.com/page?a=b~c",
    ];
    let done = players::rtmpdump(&addr, "mp4:first.mp4?play=rtmpdump", &to, &described);
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    players::ffmpeg_copy(
        &[],
        &format!("{url}/mp4:a/b/x.mp4?play=ffmpeg"),
        &["-t", "2"],
        &temp.path().join("b.flv"),
    )
    .expect(0);
    let red5 = [
        "buffer=1000",
        "play=0",
        "until=NetStream.Play.Start",
        "wait=300",
        "pause=200",
        "until=NetStream.Pause.Notify",
        "resume=200",
        "until=NetStream.Unpause.Notify",
        "wait=300",
        "seek=20000",
        "until=NetStream.Seek.Notify",
        "wait=300",
    ];
    players::red5(&url, "mp4:minute.mp4?play=red5", &red5).expect(0);
    let received = watch(&addr, "mp4:first.mp4?play=wire");

    once("four viewers", &folder(&server), |rows| count(rows, "disconnect") == 4);
    let facts = boto3(&server, "read", 100, &["logs", ""]);
    boto3(&server, "private", 5, &["logs", ""]);
    let rows: Vec<Row> = serde_json::from_value::<Vec<Vec<String>>>(facts["rows"].clone())
        .unwrap()
        .into_iter()
        .map(Row)
        .collect();
    let own = server.text("/distribution/id");
    assert!(rows.iter().all(|row| row.at(0) == own), "{rows:#?}");
    assert_eq!(
        BTreeSet::from_iter(&rows),
        BTreeSet::from_iter(&on_disk(&folder(&server))),
        "the folder is the bucket"
    );
    for (player, wanted) in [
        ("rtmpdump", vec!["connect", "play", "stop", "disconnect"]),
        ("ffmpeg", vec!["connect", "play", "stop", "disconnect"]),
        ("red5", vec!["connect", "play", "pause", "unpause", "seek", "stop", "disconnect"]),
        ("wire", vec!["connect", "play", "stop", "disconnect"]),
    ] {
        let session = session_of(&rows, &format!("play={player}"));
        assert_eq!(events(&session), wanted, "{player}: {session:#?}");
        assert!(session.is_sorted_by_key(|row| row.bytes()), "{player}: {session:#?}");
        for row in &session {
            let streamed = !row.event().ends_with("connect");
            assert_eq!(row.query(), if streamed { format!("play={player}") } else { "-".into() });
            assert_eq!((row.at(4), row.at(7)), ("127.0.0.1", "OK"), "{row:?}");
        }
    }
    let said = session_of(&rows, "play=rtmpdump")[1];
    assert_eq!(
        (said.at(9), said.at(10), said.at(11), said.at(12), said.at(13)),
        (
            url.as_str(),
            "-",
            "http://example.com/a%20player.swf",
            "http://example.com/page?a=b%7Ec",
            "LNX%2010,0,32,18"
        )
    );
    assert_eq!((said.at(14), said.at(16), said.at(17)), ("first", "mp4", "1"), "{said:?}");
    assert_eq!(session_of(&rows, "play=ffmpeg")[1].at(14), "a/b/x");
    assert_eq!(session_of(&rows, "play=wire")[3].bytes(), received, "every byte that came, and no other");
    assert!(session_of(&rows, "play=rtmpdump")[3].bytes() > std::fs::metadata(&to).unwrap().len());
}

#[test]
fn a_distribution_made_by_boto3_logs_into_the_bucket_it_names() {
    let server = Standalone::start();
    let endpoint = format!("http://{}", server.api());
    boto3(&server, "bucket", 1, &["viewers"]);
    let made = aws::boto3_at(
        &endpoint,
        &keys(&server),
        "logs",
        "distribution",
        1,
        &["viewers", "of/films", "films.example.com"],
    );
    let to = tempfile::tempdir().unwrap();
    let done = players::rtmpdump(
        server.rtmp(),
        "mp4:first.mp4?play=1",
        &to.path().join("a.flv"),
        &["-q", "-t", "rtmp://films.example.com/cfx/st"],
    );
    assert!(matches!(done.code, 0 | 2), "{done:?}");
    once("its records", &server.data.join("buckets/viewers"), |rows| count(rows, "disconnect") == 1);
    let facts = boto3(&server, "read", 20, &["viewers", "of/films/"]);
    let rows = facts["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "{rows:#?}");
    assert!(
        rows.iter().all(|row| row[0] == made["id"] && row[9] == "rtmp://films.example.com/cfx/st"),
        "{rows:#?}"
    );
    assert!(on_disk(&folder(&server)).is_empty(), "the other distribution was not played");
}

/// The commands of a section's `console` blocks, each with the lines before it that change the folder.
fn console(section: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let from = text
        .find(&format!("\n## {section}\n"))
        .unwrap_or_else(|| panic!("README.md has no section {section}"));
    let section = text[from + 1..].split("\n## ").next().unwrap();
    let (mut commands, mut inside, mut folder) = (Vec::new(), false, String::new());
    for line in section.lines() {
        match line {
            "```console" => inside = true,
            line if line.starts_with("```") => inside = false,
            line => match line.strip_prefix("$ ") {
                Some(command) if inside && command.starts_with("cd ") => folder = format!("{command} && "),
                Some(command) if inside => commands.push(format!("{folder}{command}")),
                _ => {}
            },
        }
    }
    commands
}

/// Runs a command as a person's shell would, whose home this is and who has exported the printed key.
fn shell(server: &Standalone, home: &Path, command: &str) -> Outcome {
    let begun = Instant::now();
    let (id, secret) = server.keys();
    let out = Command::new("bash")
        .args(["-c", &format!("set -o pipefail\naws() {{ \"$AWS\" aws \"$@\"; }}\n{command}")])
        .current_dir(home)
        .env("HOME", home)
        .env("AWS", Path::new(env!("CARGO_MANIFEST_DIR")).join("api/aws/run"))
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

#[test]
fn the_readme_s_one_liners_and_the_printed_one_work_as_printed() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join(".local/share/penstock");
    let server = Standalone::with(Options { data: Some(data), ..Default::default() });
    let addr = server.rtmp();
    let mut total = 0;
    for name in ["mp4:first.mp4", "mp4:a/b/x.mp4", "mp4:first.mp4?again", "mp3:cbr"] {
        // Three at once at most: two that stay while each of these is watched.
        let others = [0, 1].map(|_| staying(addr, "mp4:minute.mp4"));
        total += watch(addr, name);
        drop(others);
    }
    let rows = once("twelve viewers", &folder(&server), |rows| count(rows, "disconnect") == 12);
    let volume: u64 = rows.iter().filter(|row| row.event() == "disconnect").map(Row::bytes).sum();
    assert!(volume > total);

    let mut seen = BTreeSet::new();
    let commands: Vec<String> = console("Access logs").into_iter().filter(|c| c.contains("zcat ")).collect();
    assert!(commands.len() >= 5, "{commands:#?}");
    for command in &commands {
        let done = shell(&server, home.path(), command).expect(0);
        assert_eq!(done.stderr, "", "{command}");
        let lines: Vec<Vec<&str>> =
            done.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
        let what = command.rsplit_once("# ").map(|(_, what)| what.trim()).unwrap_or_default();
        match what {
            "plays of each film" => {
                let wanted = vec![
                    vec!["8", "mp4:minute"],
                    vec!["2", "mp4:first"],
                    vec!["1", "mp4:a/b/x"],
                    vec!["1", "mp3:cbr"],
                ];
                assert_eq!(BTreeSet::from_iter(lines.clone()), BTreeSet::from_iter(wanted), "{done:?}");
                assert_eq!(lines[0][1], "mp4:minute", "most first: {done:?}");
            }
            "bytes to each viewer" => {
                assert_eq!(lines, [[volume.to_string().as_str(), "127.0.0.1"]], "{done:?}")
            }
            "viewers at once, at most" => {
                // The log knows whole seconds: who leaves in the second in which another comes counts beside them.
                let most: usize = lines[0][0].parse().unwrap();
                assert!((3..=12).contains(&most) && lines.len() == 1 && lines[0].len() == 4, "{done:?}");
            }
            "players" => assert_eq!(lines, [["12", "LNX%2010,0,32,18"]], "{done:?}"),
            "plays an hour" => {
                let plays: usize = lines.iter().map(|line| line[0].parse::<usize>().unwrap()).sum();
                assert!(plays == 12 && lines.len() <= 2 && lines[0][2].ends_with(":00"), "{done:?}");
            }
            other => panic!("nobody checks '{other}': {command}"),
        }
        assert!(seen.insert(what), "{what} twice");
    }

    // What standalone itself prints.
    let log = server.log();
    let printed = |command: &str| {
        let line = log.lines().map(str::trim).find(|line| line.starts_with(command));
        shell(&server, home.path(), line.unwrap_or_else(|| panic!("no {command}: {log}"))).expect(0)
    };
    let plays = printed("zcat ");
    assert!(plays.stdout.lines().any(|line| line == "8 mp4:minute"), "{plays:?}");

    // And what needs the AWS command line, at this one's address.
    aws::offline(&["aws", "--version"]).expect(0);
    let files = std::fs::read_dir(folder(&server)).unwrap().count();
    let ls = printed(&format!("aws --endpoint-url http://{} s3 ls", server.s3()));
    assert_eq!(ls.stdout.lines().filter(|line| line.ends_with(".gz")).count(), files, "{ls:?}");
    let copies = home.path().join("copies");
    std::fs::create_dir(&copies).unwrap();
    let commands: Vec<String> = console("Access logs").into_iter().filter(|c| c.contains("aws ")).collect();
    assert_eq!(commands.len(), 2, "{commands:#?}");
    for command in commands {
        let (_, command) = command.split_once("aws ").unwrap();
        let here = command.replace("127.0.0.1:9000", server.s3());
        assert_ne!(here, command, "the default address is in it");
        shell(&server, home.path(), &format!("cd '{}' && aws {here}", copies.display())).expect(0);
    }
    assert_eq!(BTreeSet::from_iter(on_disk(&copies)), BTreeSet::from_iter(rows));
}

#[test]
fn nothing_is_lost_or_doubled_by_kill_9_at_any_time() {
    let temp = tempfile::tempdir().unwrap();
    let data = temp.path().join("data");
    let start = || Standalone::with(Options { data: Some(data.clone()), ..Default::default() });
    // At once, while events are spooled; when the first segments are staged; when files are merged; long after.
    let moments_ms = [150, 900, 1700, 2600, 5300, 6100, 7400];
    let mut played = Vec::new();
    for round in 0..scale(moments_ms.len()) {
        let mut server = start();
        let addr = server.rtmp().to_owned();
        // In the long tier each time a little later.
        let later_ms = (round / moments_ms.len()) as u64 * 97;
        let moment = Duration::from_millis(moments_ms[round % moments_ms.len()] + later_ms);
        let outcomes = std::thread::scope(|scope| {
            let viewers: Vec<_> = (0..6)
                .map(|n| {
                    let (addr, to) = (&addr, temp.path().join(format!("{round}-{n}.flv")));
                    let id = format!("play={round}-{n}");
                    scope.spawn(move || {
                        // Half of them have all of it within a moment, the others are watching when it happens.
                        let (name, pace) = if n % 2 == 0 {
                            ("mp4:first.mp4", ["-q"].as_slice())
                        } else {
                            ("mp4:minute.mp4", ["-q", "-b", "1000"].as_slice())
                        };
                        let begun = Instant::now();
                        let done = players::rtmpdump(addr, &format!("{name}?{id}"), &to, pace);
                        let some = std::fs::metadata(&to).is_ok_and(|film| film.len() > 1000);
                        (id, some, done, begun.elapsed())
                    })
                })
                .collect();
            std::thread::sleep(moment);
            server.process.kill();
            viewers.into_iter().map(|viewer| viewer.join().unwrap()).collect::<Vec<_>>()
        });
        eprintln!(
            "round {round}: killed after {moment:?}: {:?}",
            outcomes.iter().map(|o| o.1).collect::<Vec<_>>()
        );
        played.extend(outcomes.into_iter().map(|(id, some, ..)| (id, some)));
    }
    let mut last = start();
    let logs = folder(&last);
    let seen: Vec<&String> = played.iter().filter(|(_, some)| *some).map(|(id, _)| id).collect();
    assert!(seen.len() >= played.len() / 2, "too few have seen anything to prove something: {played:?}");
    let all = |rows: &[Row]| {
        let ended: BTreeSet<&str> = rows.iter().filter(|row| row.event() == "stop").map(Row::query).collect();
        seen.iter().all(|id| ended.contains(id.as_str()))
            && count(rows, "connect") == count(rows, "disconnect")
    };
    once("the end of every session", &logs, all);
    stop(&mut last);
    let rows = on_disk(&logs);
    assert_eq!(rows.len(), rows.iter().collect::<BTreeSet<_>>().len(), "a record came twice: {rows:#?}");
    let sessions = sessions(&rows);
    for (client, session) in &sessions {
        // rtmpdump pauses and goes on by itself when it is told to buffer little.
        let names: Vec<&str> = events(session).into_iter().filter(|name| !name.ends_with("pause")).collect();
        assert!(
            matches!(names[..], ["connect", "play", "stop", "disconnect"] | ["connect", "disconnect"]),
            "{client}: {session:#?}"
        );
        assert!(session.is_sorted_by_key(|row| row.bytes()), "{client}: {session:#?}");
    }
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for session in sessions.values().filter(|session| session.len() >= 4) {
        *times.entry(session[1].query()).or_default() += 1;
    }
    for (id, some) in &played {
        let found = times.get(id.as_str()).copied().unwrap_or(0);
        assert!(found == 1 || (found == 0 && !some), "{id}, seen {some}: {found} times");
    }
    assert_eq!(staged(&data), Vec::<PathBuf>::new());
}

#[test]
fn a_stop_delivers_everything_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let start = || Standalone::with(Options { data: Some(temp.path().join("data")), ..Default::default() });
    let mut server = start();
    let logs = folder(&server);
    let addr = server.rtmp().to_owned();
    let watching: Vec<Client> = (0..5).map(|n| staying(&addr, &format!("mp4:minute.mp4?play={n}"))).collect();
    watch(&addr, "mp4:first.mp4?play=whole");
    // Its last event is a moment old: nothing has been sealed, staged or merged.
    stop(&mut server);
    let rows = on_disk(&logs);
    for query in (0..5).map(|n| format!("play={n}")).chain(["play=whole".into()]) {
        assert_eq!(
            events(&session_of(&rows, &query)),
            ["connect", "play", "stop", "disconnect"],
            "{rows:#?}"
        );
    }
    assert_eq!(rows.len(), 24, "{rows:#?}");
    assert_eq!(staged(&server.data), Vec::<PathBuf>::new());
    assert!(!server.log().contains("undelivered"), "{}", server.log());
    drop(watching);

    // And so nothing comes after it: the next one's viewer is all that is new.
    let mut again = start();
    watch(again.rtmp(), "mp4:first.mp4?play=after");
    once("the next viewer", &logs, |rows| count(rows, "disconnect") == 7);
    stop(&mut again);
    assert_eq!(on_disk(&logs).len(), 28);
}

#[test]
fn what_a_stop_cannot_deliver_is_said_kept_and_delivered_after_the_next_start() {
    let temp = tempfile::tempdir().unwrap();
    let start = || Standalone::with(Options { data: Some(temp.path().join("data")), ..Default::default() });
    let mut server = start();
    let logs = folder(&server);
    // The bucket is gone, and something is in the way of its coming back.
    std::fs::remove_dir(&logs).unwrap();
    std::fs::write(&logs, "in the way").unwrap();
    watch(server.rtmp(), "mp4:first.mp4?play=1");
    stop(&mut server);
    assert!(server.log().contains("undelivered"), "{}", server.log());
    std::fs::remove_file(&logs).unwrap();
    let mut next = start();
    let rows = once("what was kept", &logs, |rows| count(rows, "disconnect") == 1);
    assert_eq!(events(&session_of(&rows, "play=1")), ["connect", "play", "stop", "disconnect"], "{rows:#?}");
    stop(&mut next);
    assert_eq!((on_disk(&logs).len(), staged(&next.data)), (4, Vec::new()));
}

#[test]
fn logging_is_switched_off_or_sent_elsewhere_by_the_file() {
    let with = |text: &str| Standalone::with(Options { config: Some(text.into()), ..Default::default() });
    let mut off = with("distribution: { logging: { enabled: false } }\n");
    assert!(off.ready.get("logs").is_none() && !off.log().contains("zcat"), "{}", off.ready);
    watch(off.rtmp(), "mp4:first.mp4");
    stop(&mut off);
    assert!(!off.data.join("buckets/logs").exists());

    let mut elsewhere = with("distribution: { logging: { bucket: viewers, prefix: of/mine } }\n");
    assert_eq!((elsewhere.text("/logs/bucket"), elsewhere.text("/logs/prefix")), ("viewers", "of/mine/"));
    watch(elsewhere.rtmp(), "mp4:first.mp4");
    stop(&mut elsewhere);
    assert_eq!(count(&on_disk(&elsewhere.data.join("buckets/viewers/of/mine")), "disconnect"), 1);
    assert_eq!(on_disk(&elsewhere.data.join("buckets/viewers")).len(), 4);

    for (wrong, said) in [("bucket: media", "read-only"), ("prefix: /a", "no path"), ("folder: a", "folder")]
    {
        let config = Some(format!("distribution: {{ logging: {{ {wrong} }} }}\n"));
        let refused = Standalone::try_with(Options { config, ..Default::default() }).unwrap_err();
        assert!(format!("{refused:#}").contains(said), "{wrong}: {refused:#}");
    }
}
