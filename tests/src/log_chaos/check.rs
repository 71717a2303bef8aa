//! Holds the files against what was seen, and says each thing that is wrong.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use super::pickup::LogFile;
use super::witness::{Connection, Event, Fate, Play, Told};
use crate::logs::{Entry, LogKey};

/// A record's second is cut off, and clocks are read a little apart: how far a time may be off.
const SLACK_MS: i64 = 1500;

/// A distribution whose logs are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its id, as keys have it.
    pub id: String,
    /// The host viewers name.
    pub host: String,
    /// The bucket its logs go to.
    pub bucket: String,
    /// The keys' prefix, slash included.
    pub prefix: String,
}

/// What is asked besides that nothing is lost, doubled or out of order.
#[derive(Clone, Copy, Debug)]
pub struct Strictness {
    /// Whether times are held against the viewers' clock.
    pub times: bool,
    /// Whether sc-bytes is held against what the viewer had received.
    pub bytes: bool,
}

/// Everything.
pub const STRICT: Strictness = Strictness { times: true, bytes: true };

/// What was found right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records in the files.
    pub records: usize,
    /// Events whose effect was seen.
    pub seen: usize,
    /// Files.
    pub files: usize,
}

struct Found<'a> {
    entry: &'a Entry,
    file: usize,
}

/// Checks all files against all connections.
///
/// # Errors
/// Each fault, one a line.
pub fn check(
    connections: &[Connection],
    files: &[LogFile],
    logged: &[Logged],
    strictness: Strictness,
) -> Result<Totals, Vec<String>> {
    let mut faults = Vec::new();
    check_files(files, logged, &mut faults);
    let mut by_id: BTreeMap<&str, Vec<Found<'_>>> = BTreeMap::new();
    for (file, found) in files.iter().enumerate() {
        for entry in &found.entries {
            let id = entry.uri_query.as_deref().unwrap_or("").trim_start_matches("c=");
            by_id.entry(id).or_default().push(Found { entry, file });
        }
    }
    for connection in connections {
        let mut said = Vec::new();
        check_connection(
            connection,
            by_id.remove(connection.id.as_str()).unwrap_or_default(),
            strictness,
            &mut said,
        );
        faults.extend(said.into_iter().map(|fault| format!("connection {}: {fault}", connection.id)));
    }
    for (id, found) in by_id {
        faults.push(format!("{} records of connection {id:?}, which nobody made", found.len()));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Totals {
        records: files.iter().map(|file| file.entries.len()).sum(),
        seen: connections.iter().map(Connection::seen).sum(),
        files: files.len(),
    })
}

/// Each file is where its distribution wants it, holds its records only, in time order, and has a name no other has.
fn check_files(files: &[LogFile], logged: &[Logged], faults: &mut Vec<String>) {
    let mut names = HashMap::new();
    for file in files {
        let place = format!("{}/{}", file.bucket, file.key);
        let key = match LogKey::parse(&file.key) {
            Ok(key) => key,
            Err(fault) => {
                faults.push(format!("{place}: {fault}"));
                continue;
            }
        };
        if let Some(other) = names.insert(key.unique.clone(), place.clone()) {
            faults.push(format!("{place}: the unique part is that of {other}"));
        }
        let Some(owner) = logged.iter().find(|one| one.id == key.distribution) else {
            faults.push(format!("{place}: no such distribution"));
            continue;
        };
        if (owner.bucket.as_str(), owner.prefix.as_str()) != (file.bucket.as_str(), key.prefix.as_str()) {
            faults.push(format!("{place}: belongs into {}/{}", owner.bucket, owner.prefix));
        }
        if file.entries.is_empty() {
            faults.push(format!("{place}: no records"));
        }
        let stem = format!("rtmp://{}/cfx/st", owner.host);
        for entry in &file.entries {
            if entry.uri_stem.as_deref() != Some(&stem) {
                faults.push(format!("{place}: a record of {:?}", entry.uri_stem));
            }
            if entry.hour() != key.hour {
                faults.push(format!("{place}: a record of hour {}", entry.hour()));
            }
        }
        if let Some(pair) = file.entries.windows(2).find(|pair| pair[0].at_s > pair[1].at_s) {
            faults.push(format!("{place}: {} after {}", pair[1].time, pair[0].time));
        }
    }
}

fn check_connection(
    seen: &Connection,
    found: Vec<Found<'_>>,
    strictness: Strictness,
    faults: &mut Vec<String>,
) {
    let all = |event: Event| -> Vec<&Entry> {
        found.iter().map(|f| f.entry).filter(|entry| entry.event == event).collect()
    };
    let (connects, disconnects) = (all(Event::Connect), all(Event::Disconnect));
    count(&seen.connect, connects.len(), faults);
    if connects.len() != disconnects.len() {
        faults.push(format!("{} connects and {} disconnects", connects.len(), disconnects.len()));
    }
    let mut clients: Vec<&str> = found.iter().map(|f| f.entry.client_id.as_str()).collect();
    clients.sort_unstable();
    clients.dedup();
    if clients.len() > 1 {
        faults.push(format!("client ids {clients:?}"));
    }
    let stem = format!("rtmp://{}/cfx/st", seen.host);
    if found.iter().any(|f| f.entry.uri_stem.as_deref() != Some(&stem)) {
        faults.push(format!("records of another host than {}", seen.host));
    }
    check_order(&found, faults);
    for entry in &connects {
        hold(&seen.connect, entry, strictness, faults);
    }
    if let (true, true, [end]) = (strictness.bytes, seen.left, &disconnects[..])
        && end.sc_bytes < seen.received
    {
        faults.push(format!("disconnect says {} bytes, {} were received", end.sc_bytes, seen.received));
    }
    let mut left: HashMap<&str, Vec<&Entry>> = HashMap::new();
    for f in found.iter().filter(|f| !matches!(f.entry.event, Event::Connect | Event::Disconnect)) {
        left.entry(f.entry.sname_query.as_deref().unwrap_or("")).or_default().push(f.entry);
    }
    for play in &seen.plays {
        let mut said = Vec::new();
        check_play(play, &left.remove(play.id.as_str()).unwrap_or_default(), strictness, &mut said);
        faults.extend(said.into_iter().map(|fault| format!("play {}: {fault}", play.id)));
    }
    for (id, entries) in left {
        faults.push(format!("{} records of play {id:?}, which it never made", entries.len()));
    }
}

/// sc-bytes never falls while time goes on, within the file by the records' own order, between files by the second; a connect is the least and a
/// disconnect the most.
fn check_order(found: &[Found<'_>], faults: &mut Vec<String>) {
    for pair in found.windows(2).filter(|pair| pair[0].file == pair[1].file) {
        if pair[0].entry.sc_bytes > pair[1].entry.sc_bytes {
            let [a, b] = [pair[0].entry, pair[1].entry];
            faults.push(format!(
                "in one file {:?} with {} bytes before {:?} with {}",
                a.event, a.sc_bytes, b.event, b.sc_bytes
            ));
        }
    }
    let mut seconds: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    for f in found {
        let range = seconds.entry(f.entry.at_s).or_insert((u64::MAX, 0));
        *range = (range.0.min(f.entry.sc_bytes), range.1.max(f.entry.sc_bytes));
    }
    let ranges: Vec<(u64, u64)> = seconds.into_values().collect();
    if let Some(pair) = ranges.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        faults.push(format!("sc-bytes falls from {} to {} as time goes on", pair[0].1, pair[1].0));
    }
    for f in found {
        let wrong = match f.entry.event {
            Event::Connect => {
                found.iter().any(|o| o.entry.sc_bytes < f.entry.sc_bytes || o.entry.at_s < f.entry.at_s)
            }
            Event::Disconnect => {
                found.iter().any(|o| o.entry.sc_bytes > f.entry.sc_bytes || o.entry.at_s > f.entry.at_s)
            }
            _ => false,
        };
        if wrong {
            faults.push(format!("{:?} is not at its end of the connection", f.entry.event));
        }
    }
}

fn check_play(seen: &Play, entries: &[&Entry], strictness: Strictness, faults: &mut Vec<String>) {
    let all = |event: Event| -> Vec<&Entry> {
        let mut own: Vec<&Entry> = entries.iter().copied().filter(|entry| entry.event == event).collect();
        own.sort_by_key(|entry| (entry.sc_bytes, entry.at_s));
        own
    };
    let (plays, stops) = (all(Event::Play), all(Event::Stop));
    if plays.len() != stops.len() {
        faults.push(format!("{} plays and {} stops", plays.len(), stops.len()));
    }
    for event in [Event::Play, Event::Pause, Event::Unpause, Event::Seek] {
        let told: Vec<&Told> = seen.told.iter().filter(|told| told.event == event).collect();
        let own = all(event);
        let (least, most) = told.iter().fold((0, 0), |(least, most), told| {
            let records = told.fate.records();
            (least + records.start(), most + records.end())
        });
        if !(least..=most).contains(&own.len()) {
            faults.push(format!("{} records of {event:?}, {least} to {most} were asked for", own.len()));
            continue;
        }
        // What has an answer comes before what has none: nothing is asked after a cut. So the nth record is of the nth that counts.
        let counted = told.iter().filter(|told| told.fate != Fate::Refused);
        for (told, entry) in counted.zip(&own) {
            hold(told, entry, strictness, faults);
        }
    }
    for entry in entries {
        if entry.sname.as_deref() != Some(&seen.name) || entry.sid.is_none() || entry.file_ext.is_none() {
            faults.push(format!(
                "x-sname {:?}, x-file-ext {:?}, x-sid {:?}",
                entry.sname, entry.file_ext, entry.sid
            ));
        }
        if plays.iter().any(|play| play.sc_bytes > entry.sc_bytes || play.at_s > entry.at_s) {
            faults.push(format!("{:?} before the play", entry.event));
        }
        if stops.iter().any(|stop| stop.sc_bytes < entry.sc_bytes || stop.at_s < entry.at_s) {
            faults.push(format!("{:?} after the stop", entry.event));
        }
    }
}

fn count(told: &Told, records: usize, faults: &mut Vec<String>) {
    if !told.fate.records().contains(&records) {
        faults.push(format!("{records} records of a {:?} that was {:?}", told.event, told.fate));
    }
}

/// A record of an event whose answer was seen lies, in time and bytes, between the question and the answer.
fn hold(told: &Told, entry: &Entry, strictness: Strictness, faults: &mut Vec<String>) {
    if told.fate != Fate::Seen {
        return;
    }
    let at = entry.at_s * 1000;
    if strictness.times && !(told.at_ms.0 - SLACK_MS..=told.at_ms.1 + SLACK_MS).contains(&at) {
        faults.push(format!("{:?} at {}, seen {:?} ms", told.event, entry.time, told.at_ms));
    }
    if strictness.bytes && !(told.bytes.0..=told.bytes.1).contains(&entry.sc_bytes) {
        faults.push(format!(
            "{:?} with sc-bytes {}, the viewer had {:?}",
            told.event, entry.sc_bytes, told.bytes
        ));
    }
}
