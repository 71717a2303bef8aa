//! The log format of web distributions: version 1.0 with the 33 fields that CloudFront has written since December 2019.
//!
//! Names, order and encoding are those of the chapter "Standard log file fields" in CloudFront's developer guide (doc_source/AccessLogs.md of
//! awsdocs/amazon-cloudfront-developer-guide; today "Standard logging reference"). The time is that at which the answer was finished,
//! `sc-status` is `000` when the viewer left before there was one, durations are seconds with three decimals. Fields 25 and 26
//! (`fle-status`, `fle-encrypted-fields`) are always `-`: there is no field-level encryption here.

use proto::v1::{AccessRecord, WebFields};

use super::line::Line;
use super::stamp::Stamp;

/// The names of the second header line.
pub const FIELDS: &str = "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) \
                          cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol \
                          cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type \
                          cs-protocol-version fle-status fle-encrypted-fields c-port time-to-first-byte \
                          x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end";

/// Appends the record's fields; texts are cut after `cut` bytes.
pub(super) fn put(record: &AccessRecord, stamp: &mut Stamp, cut: usize, out: &mut Vec<u8>) {
    let none = WebFields::default();
    let web = record.web.as_ref().unwrap_or(&none);
    let mut line = Line::new(stamp.of(record.time_ms), cut, out);
    line.text(&record.edge_location);
    line.number(record.sc_bytes);
    line.text(&record.client_ip);
    line.text(&web.method);
    line.text(&web.host);
    line.text(&record.uri_stem);
    if (100..1000).contains(&web.http_status) {
        line.number(web.http_status.into());
    } else {
        line.plain("000");
    }
    line.text(&record.referrer);
    line.text(&record.user_agent);
    line.text(&record.uri_query);
    line.text(&web.cookie);
    line.text(&web.result_type);
    line.text(&web.request_id);
    line.text(&web.host_header);
    line.text(&web.protocol);
    line.number(web.cs_bytes);
    line.seconds(web.time_taken_us);
    line.text(&web.forwarded_for);
    line.text(&web.ssl_protocol);
    line.text(&web.ssl_cipher);
    line.text(&web.response_result_type);
    line.text(&web.protocol_version);
    line.none();
    line.none();
    line.maybe((web.client_port > 0).then(|| web.client_port.into()));
    line.seconds(web.time_to_first_byte_us);
    line.text(&web.detailed_result_type);
    line.text(&web.content_type);
    line.maybe(u64::try_from(web.content_length).ok());
    line.text(&web.range_start);
    line.text(&web.range_end);
}
