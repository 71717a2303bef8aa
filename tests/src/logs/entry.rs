//! One record of an RTMP log, read by §3 of the contract and nothing looser.

use super::text;

/// The names of the second header line, as the contract prints them.
pub const FIELDS: &str = "date time x-edge-location c-ip x-event sc-bytes x-cf-status x-cf-client-id cs-uri-stem \
                          cs-uri-query c-referrer x-page-url c-user-agent x-sname x-sname-query x-file-ext x-sid";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Event {
    Connect,
    Disconnect,
    Play,
    Stop,
    Pause,
    Unpause,
    Seek,
}

impl Event {
    /// By the word in field 5.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "connect" => Self::Connect,
            "disconnect" => Self::Disconnect,
            "play" => Self::Play,
            "stop" => Self::Stop,
            "pause" => Self::Pause,
            "unpause" => Self::Unpause,
            "seek" => Self::Seek,
            _ => return None,
        })
    }
}

/// One line; texts are decoded, `None` is a `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Seconds since 1970, UTC: fields 1 and 2.
    pub at_s: i64,
    /// `YYYY-MM-DD`
    pub date: String,
    /// `HH:MM:SS`
    pub time: String,
    /// Field 3.
    pub edge_location: String,
    /// Field 4; an address.
    pub client_ip: std::net::IpAddr,
    /// Field 5.
    pub event: Event,
    /// Field 6: the connection's running total.
    pub sc_bytes: u64,
    /// Field 7; `OK`.
    pub status: String,
    /// Field 8.
    pub client_id: String,
    /// Field 9: `rtmp://host/app`.
    pub uri_stem: Option<String>,
    /// Field 10.
    pub uri_query: Option<String>,
    /// Field 11: swfUrl.
    pub referrer: Option<String>,
    /// Field 12: pageUrl.
    pub page_url: Option<String>,
    /// Field 13: flashVer.
    pub user_agent: Option<String>,
    /// Field 14.
    pub sname: Option<String>,
    /// Field 15, without `?`.
    pub sname_query: Option<String>,
    /// Field 16.
    pub file_ext: Option<String>,
    /// Field 17.
    pub sid: Option<u64>,
}

impl Entry {
    /// `YYYY-MM-DD-HH`
    pub fn hour(&self) -> String {
        format!("{}-{}", self.date, &self.time[..2])
    }

    /// The 17 values in the order of [`FIELDS`].
    pub fn values(&self) -> [Option<String>; 17] {
        [
            Some(self.date.clone()),
            Some(self.time.clone()),
            Some(self.edge_location.clone()),
            Some(self.client_ip.to_string()),
            Some(format!("{:?}", self.event).to_ascii_lowercase()),
            Some(self.sc_bytes.to_string()),
            Some(self.status.clone()),
            Some(self.client_id.clone()),
            self.uri_stem.clone(),
            self.uri_query.clone(),
            self.referrer.clone(),
            self.page_url.clone(),
            self.user_agent.clone(),
            self.sname.clone(),
            self.sname_query.clone(),
            self.file_ext.clone(),
            self.sid.map(|sid| sid.to_string()),
        ]
    }
}

/// The records of a file's text.
///
/// # Errors
/// The first line that is not as the contract says, and why.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let lines = text::records(text, FIELDS)?;
    lines
        .iter()
        .enumerate()
        .map(|(i, line)| record(line).map_err(|e| format!("record {}: {e}", i + 1)))
        .collect()
}

/// One line, without its end.
///
/// # Errors
/// What is not as the contract says.
pub fn record(line: &str) -> Result<Entry, String> {
    let fields: Vec<&str> = line.split('\t').collect();
    let count = fields.len();
    let [
        date,
        time,
        edge,
        ip,
        event,
        bytes,
        status,
        client,
        stem,
        query,
        referrer,
        page,
        agent,
        sname,
        squery,
        ext,
        sid,
    ] = fields[..]
    else {
        return Err(format!("{count} fields: {line:?}"));
    };
    let event = Event::named(event).ok_or_else(|| format!("x-event: {event:?}"))?;
    let entry = Entry {
        at_s: text::moment(date, time)?,
        date: date.into(),
        time: time.into(),
        edge_location: text::needed(edge, "x-edge-location")?,
        client_ip: ip.parse().map_err(|_| format!("c-ip: {ip:?}"))?,
        event,
        sc_bytes: text::number(bytes, "sc-bytes")?,
        status: text::needed(status, "x-cf-status")?,
        client_id: text::needed(client, "x-cf-client-id")?,
        uri_stem: text::decode(stem)?,
        uri_query: text::decode(query)?,
        referrer: text::decode(referrer)?,
        page_url: text::decode(page)?,
        user_agent: text::decode(agent)?,
        sname: text::decode(sname)?,
        sname_query: text::decode(squery)?,
        file_ext: text::decode(ext)?,
        sid: if sid == "-" { None } else { Some(text::number(sid, "x-sid")?) },
    };
    let of_stream = entry.sname.is_some()
        || entry.sname_query.is_some()
        || entry.file_ext.is_some()
        || entry.sid.is_some();
    if matches!(event, Event::Connect | Event::Disconnect) && of_stream {
        return Err(format!("fields of a stream at {event:?}: {line:?}"));
    }
    Ok(entry)
}
