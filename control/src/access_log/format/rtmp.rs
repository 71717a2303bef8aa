//! The log format of streaming distributions: 17 fields.
//!
//! | # | field | from the record |
//! |---|---|---|
//! | 1, 2 | `date`, `time` | the event's time, UTC |
//! | 3 | `x-edge-location` | the edge's |
//! | 4 | `c-ip` | the viewer's address |
//! | 5 | `x-event` | in small letters |
//! | 6 | `sc-bytes` | the connection's running total |
//! | 7 | `x-cf-status` | `OK`, or what was refused where edges log that (CloudFront knew only `OK`) |
//! | 8 | `x-cf-client-id` | of the connection |
//! | 9, 10 | `cs-uri-stem`, `cs-uri-query` | the connect string, and its query without `?` |
//! | 11, 12, 13 | `c-referrer`, `x-page-url`, `c-user-agent` | swfUrl, pageUrl and flashVer of connect |
//! | 14 to 17 | `x-sname`, `x-sname-query`, `x-file-ext`, `x-sid` | of the stream; `-` for connect and disconnect |

use proto::v1::{AccessEvent, AccessRecord};

use super::line::Line;
use super::stamp::Stamp;

/// The names of the second header line.
pub const FIELDS: &str = "date time x-edge-location c-ip x-event sc-bytes x-cf-status x-cf-client-id cs-uri-stem \
                          cs-uri-query c-referrer x-page-url c-user-agent x-sname x-sname-query x-file-ext x-sid";

/// What field 5 says.
pub fn event_name(event: AccessEvent) -> &'static str {
    match event {
        AccessEvent::Connect => "connect",
        AccessEvent::Disconnect => "disconnect",
        AccessEvent::Play => "play",
        AccessEvent::Stop => "stop",
        AccessEvent::Pause => "pause",
        AccessEvent::Unpause => "unpause",
        AccessEvent::Seek => "seek",
        // An event of a later version, which this one can't name.
        AccessEvent::Unspecified | AccessEvent::Request => "-",
    }
}

/// Appends the record's fields; texts are cut after `cut` bytes.
pub(super) fn put(record: &AccessRecord, stamp: &mut Stamp, cut: usize, out: &mut Vec<u8>) {
    let event = record.event();
    let mut line = Line::new(stamp.of(record.time_ms), cut, out);
    line.text(&record.edge_location);
    line.text(&record.client_ip);
    line.plain(event_name(event));
    line.number(record.sc_bytes);
    line.text(if record.status.is_empty() { "OK" } else { &record.status });
    line.text(&record.client_id);
    line.text(&record.uri_stem);
    line.text(&record.uri_query);
    line.text(&record.referrer);
    line.text(&record.page_url);
    line.text(&record.user_agent);
    if matches!(event, AccessEvent::Connect | AccessEvent::Disconnect) {
        (0..4).for_each(|_| line.none());
    } else {
        line.text(&record.stream_name);
        line.text(&record.stream_query);
        line.text(&record.file_ext);
        line.maybe((record.stream_id > 0).then(|| record.stream_id.into()));
    }
}
