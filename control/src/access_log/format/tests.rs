//! The formats against published records, against the rules of public parsers, and against viewers who send anything.
//!
//! The readers are those of the end-to-end tests, compiled here as they stand: written from the contract, and linked to nothing of ours.

#[path = "../../../../tests/src/logs/entry.rs"]
#[allow(dead_code, unreachable_pub)]
mod entry;
#[path = "../../../../tests/src/logs/fixtures.rs"]
#[allow(dead_code, unreachable_pub)]
mod fixtures;
#[path = "../../../../tests/src/logs/packed.rs"]
#[allow(dead_code, unreachable_pub)]
mod packed;
#[path = "../../../../tests/src/logs/parsers.rs"]
#[allow(dead_code, unreachable_pub)]
mod parsers;
#[path = "../../../../tests/src/logs/text.rs"]
#[allow(dead_code, unreachable_pub)]
mod text;
#[path = "../../../../tests/src/logs/web.rs"]
#[allow(dead_code, unreachable_pub)]
mod web_reader;

use super::*;
use proptest::prelude::*;
use proto::v1::WebFields;

/// The play of the published sample.
fn play() -> AccessRecord {
    AccessRecord {
        time_ms: 1_268_437_881_999,
        event: AccessEvent::Play.into(),
        distribution_id: "EMLARXS9EXAMPLE".into(),
        edge_location: "SEA4".into(),
        client_ip: "192.0.2.222".into(),
        client_id: "bfd8a98bee0840d9b871b7f6ade9908f".into(),
        sc_bytes: 3914,
        uri_stem: "rtmp://shqshne4jdp4b6.cloudfront.net/cfx/st".into(),
        uri_query: "key=value".into(),
        referrer: "http://player.longtailvideo.com/player.swf".into(),
        page_url: "http://www.longtailvideo.com/support/jw-player-setup-wizard?example=2014".into(),
        user_agent: "LNX 10,0,32,18".into(),
        stream_name: "myvideo".into(),
        stream_query: "p=2&q=44".into(),
        file_ext: "flv".into(),
        stream_id: 1,
        ..Default::default()
    }
}

fn request() -> AccessRecord {
    AccessRecord {
        time_ms: 1_575_493_351_000,
        event: AccessEvent::Request.into(),
        edge_location: "LAX1".into(),
        client_ip: "192.0.2.100".into(),
        sc_bytes: 392,
        uri_stem: "/index.html".into(),
        user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64)".into(),
        web: Some(WebFields {
            method: "GET".into(),
            host: "d111111abcdef8.cloudfront.net".into(),
            http_status: 200,
            result_type: "Hit".into(),
            request_id: "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==".into(),
            host_header: "d111111abcdef8.cloudfront.net".into(),
            protocol: "https".into(),
            cs_bytes: 23,
            time_taken_us: 1999,
            ssl_protocol: "TLSv1.2".into(),
            ssl_cipher: "ECDHE-RSA-AES128-GCM-SHA256".into(),
            response_result_type: "Hit".into(),
            protocol_version: "HTTP/2.0".into(),
            client_port: 11040,
            time_to_first_byte_us: 1000,
            detailed_result_type: "Hit".into(),
            content_type: "text/html".into(),
            content_length: 78,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What a customer's `zcat` shows.
fn unpacked(records: &[AccessRecord]) -> String {
    packed::unpack(&file(records)).unwrap()
}

#[test]
fn a_published_record_comes_out_byte_for_byte() {
    assert_eq!(line(&play()), fixtures::PLAY);
    let connect = AccessRecord {
        time_ms: 1_268_437_880_000,
        event: AccessEvent::Connect.into(),
        client_ip: "192.0.2.147".into(),
        sc_bytes: 2014,
        page_url: "http://www.longtailvideo.com/support/jw-player-setup-wizard?example=204".into(),
        ..play()
    };
    assert_eq!(
        line(&connect),
        fixtures::CONNECT,
        "the stream's fields are not a connect's, whatever the record holds"
    );
    assert_eq!(line(&request()), fixtures::WEB);
}

#[test]
fn c38_a_session_is_two_header_lines_and_a_line_of_17_fields_an_event() {
    use AccessEvent::{Connect, Disconnect, Pause, Play, Seek, Stop, Unpause};
    let events = [Connect, Play, Pause, Unpause, Seek, Stop, Disconnect];
    let session: Vec<AccessRecord> = events
        .iter()
        .zip(0u64..)
        .map(|(&event, i)| AccessRecord { event: event.into(), sc_bytes: 100 * i, ..play() })
        .collect();
    let text = unpacked(&session);
    assert!(text.starts_with(fixtures::HEADER));
    assert_eq!(text.lines().count(), 2 + events.len());
    let entries = entry::parse(&text).unwrap();
    parsers::agree(&text, &entries).unwrap();
    let words: Vec<_> = text.lines().skip(2).map(|l| l.split('\t').nth(4).unwrap()).collect();
    assert_eq!(words, ["connect", "play", "pause", "unpause", "seek", "stop", "disconnect"]);
    for (line, event) in text.lines().skip(2).zip(events) {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields.len(), 17);
        if matches!(event, Connect | Disconnect) {
            assert_eq!(fields[13..], ["-", "-", "-", "-"]);
        } else {
            assert_eq!(fields[13..], ["myvideo", "p=2&q=44", "flv", "1"]);
        }
    }
}

#[test]
fn c40_the_flash_version_and_a_signed_query_are_escaped_once() {
    let signed = AccessRecord {
        user_agent: "LNX 10,0,32,18".into(),
        stream_query: "Expires=1357034400&Signature=ab~c-d_&Key-Pair-Id=APKA".into(),
        ..play()
    };
    let text = line(&signed);
    let fields: Vec<&str> = text.split('\t').collect();
    assert_eq!(fields[12], "LNX%2010,0,32,18");
    assert_eq!(fields[14], "Expires=1357034400&Signature=ab%7Ec-d_&Key-Pair-Id=APKA");
}

#[test]
fn each_byte_is_escaped_or_bare_as_the_contract_lists_it() {
    let listed = "%3C %3E %22 %23 %25 %7B %7D %7C %5C %5E %7E %5B %5D %60 %27 %20";
    for byte in 0..=255u8 {
        let mut out = Vec::new();
        escape::put(&[byte], 9, &mut out);
        let escape = format!("%{byte:02X}");
        let escaped = byte <= 32 || byte >= 127 || listed.split(' ').any(|e| e == escape);
        let expected = if escaped { escape.into_bytes() } else { vec![byte] };
        assert_eq!(out, expected, "byte {byte}");
    }
}

#[test]
fn nothing_is_a_hyphen() {
    let empty =
        AccessRecord { event: AccessEvent::Stop.into(), client_ip: "::1".into(), ..Default::default() };
    assert_eq!(line(&empty), "1970-01-01\t00:00:00\t-\t::1\tstop\t0\tOK\t-\t-\t-\t-\t-\t-\t-\t-\t-\t-");
    let nothing = AccessRecord { event: AccessEvent::Request.into(), ..Default::default() };
    let text = line(&nothing);
    let fields: Vec<&str> = text.split('\t').collect();
    assert_eq!(fields.len(), 33);
    assert_eq!((fields[8], fields[18], fields[30]), ("000", "0.000", "0"));
    let unknown = AccessRecord { event: 99, ..play() };
    assert_eq!(line(&unknown).split('\t').nth(4), Some("-"), "an event of a later version");
    let refused = AccessRecord { status: "DistributionDisabled".into(), ..play() };
    assert_eq!(line(&refused).split('\t').nth(6), Some("DistributionDisabled"));
}

#[test]
fn tabs_and_line_ends_of_a_viewer_stay_in_their_field() {
    let hostile = AccessRecord {
        user_agent: "x\t-\t-\n#Fields: date\r\n2010-03-12\t\0\u{7f}\u{1b}[2J".into(),
        stream_name: "é/日本\u{200b}\u{2028}".into(),
        ..play()
    };
    let text = unpacked(&[play(), hostile.clone(), play()]);
    let entries = entry::parse(&text).unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1].user_agent.as_ref(), Some(&hostile.user_agent));
    assert_eq!(entries[1].sname.as_ref(), Some(&hostile.stream_name));
    parsers::agree(&text, &entries).unwrap();
}

#[test]
fn a_huge_value_is_cut_between_characters_and_the_line_fits_every_readers_buffer() {
    let huge = |unit: &str| unit.repeat(100_000 / unit.len());
    for unit in ["a", "é", "日", "😀", " ", "a日", "ab😀", "%"] {
        let one = AccessRecord { user_agent: huge(unit), ..play() };
        let decoded = entry::record(&line(&one)).unwrap().user_agent.unwrap();
        assert!(one.user_agent.starts_with(&decoded), "{unit}");
        let escaped = line(&one).split('\t').nth(12).unwrap().len();
        assert!((FIELD_BYTES_MAX - 12..=FIELD_BYTES_MAX).contains(&escaped), "{unit}: {escaped}");

        let all = AccessRecord {
            edge_location: huge(unit),
            status: huge(unit),
            client_id: huge(unit),
            uri_stem: huge(unit),
            uri_query: huge(unit),
            referrer: huge(unit),
            page_url: huge(unit),
            stream_name: huge(unit),
            stream_query: huge(unit),
            file_ext: huge(unit),
            sc_bytes: u64::MAX,
            stream_id: u32::MAX,
            ..one
        };
        let text = unpacked(&[all]);
        assert!(text.lines().all(|line| line.len() <= LINE_BYTES_MAX), "{unit}");
        let entries = entry::parse(&text).unwrap();
        parsers::buzz(&text).unwrap();
        assert_eq!((entries[0].sc_bytes, entries[0].sid), (u64::MAX, Some(u32::MAX.into())));
    }
}

#[test]
fn a_cut_leaves_no_part_of_an_escape() {
    for text in ["aé", "ééé", "日日", "a😀😀", "   ", "aaaa", "\u{80}a"] {
        for cut in 3..20 {
            let mut out = b"before".to_vec();
            escape::put(text.as_bytes(), cut, &mut out);
            let field = std::str::from_utf8(&out[6..]).unwrap();
            assert!(field.len() <= cut, "{text:?} at {cut}: {field}");
            let decoded = text::decode(field).unwrap().unwrap_or_default();
            assert!(text.starts_with(&decoded), "{text:?} at {cut}: {field}");
        }
    }
    // Bytes that are no UTF-8 are cut too, between escapes.
    let mut out = Vec::new();
    escape::put(&[0x80; 100], 20, &mut out);
    assert!(out.len() <= 18 && out.len() % 3 == 0);
}

#[test]
fn the_same_records_give_the_same_bytes_with_no_time_and_no_name_in_them() {
    let records: Vec<AccessRecord> = (0..5000)
        .map(|i| AccessRecord { time_ms: 1_000_000_000_000 + i * 137, sc_bytes: i, ..play() })
        .collect();
    let first = file(&records);
    assert_eq!(first, file(&records));
    assert_eq!(first[..3], [0x1f, 0x8b, 8], "gzip, deflate");
    assert_eq!(first[3..8], [0; 5], "no flags and no time");
    assert_eq!(first[9], 255, "no system");
    assert_eq!(unpacked(&records).lines().count(), 5002, "many chunks are one file");
}

#[test]
fn a_record_of_the_other_kind_is_not_lost_but_comes_under_its_own_header() {
    let text = unpacked(&[play(), request(), request(), play()]);
    let headers: Vec<usize> =
        text.lines().enumerate().filter(|(_, l)| *l == "#Version: 1.0").map(|(i, _)| i).collect();
    assert_eq!(headers, [0, 3, 7]);
    assert_eq!(text.lines().filter(|l| !l.starts_with('#')).count(), 4);
}

#[test]
fn c38_the_lists_of_fields_are_the_contracts() {
    assert_eq!(rtmp::FIELDS, entry::FIELDS);
    assert_eq!(web::FIELDS, web_reader::FIELDS);
    let text = unpacked(&[request()]);
    let entries = web_reader::parse(&text).unwrap();
    assert_eq!(entries[0].get("cs(User-Agent)"), Some("Mozilla/5.0 (Windows NT 10.0; Win64; x64)"));
}

/// What a viewer might send: anything, often of the characters that matter.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ -~\\t\\r\\n\\x00-\\x1f\\x7f]{0,40}",
        2 => "\\PC{0,20}",
        1 => Just(String::new()),
        1 => "(%20|%2520|%u0041|%|\\+|&|=|-|é|日|😀|\\t|\\n){0,12}",
    ]
}

prop_compose! {
    fn any_record()(
        (time_ms, event, sc_bytes, stream_id) in (0u64..253_402_300_800_000, 1i32..8, any::<u64>(), any::<u32>()),
        client_ip in any::<std::net::IpAddr>(),
        texts in proptest::collection::vec(any_text(), 10),
    ) -> AccessRecord {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        AccessRecord {
            time_ms, event, sc_bytes, stream_id,
            client_ip: client_ip.to_string(),
            edge_location: "SEA4".into(),
            client_id: "bfd8a98bee0840d9b871b7f6ade9908f".into(),
            status: next(), uri_stem: next(), uri_query: next(), referrer: next(), page_url: next(),
            user_agent: next(), stream_name: next(), stream_query: next(), file_ext: next(),
            ..Default::default()
        }
    }
}

/// `-` and nothing look the same in a log.
fn seen(text: &str) -> Option<String> {
    Some(text).filter(|t| !matches!(*t, "" | "-")).map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_viewers_send_is_read_back_as_it_was(mut records in proptest::collection::vec(any_record(), 1..6)) {
        for record in &mut records {
            if record.status == "-" {
                record.status.clear();
            }
        }
        let text = unpacked(&records);
        let entries = entry::parse(&text).map_err(TestCaseError::fail)?;
        prop_assert_eq!(entries.len(), records.len());
        for (entry, record) in entries.iter().zip(&records) {
            prop_assert_eq!(entry.at_s, (record.time_ms / 1000) as i64);
            prop_assert_eq!(&entry.client_ip.to_string(), &record.client_ip);
            prop_assert_eq!(entry.sc_bytes, record.sc_bytes);
            prop_assert_eq!(&entry.status, if record.status.is_empty() { "OK" } else { &record.status });
            prop_assert_eq!(&entry.uri_stem, &seen(&record.uri_stem));
            prop_assert_eq!(&entry.uri_query, &seen(&record.uri_query));
            prop_assert_eq!(&entry.referrer, &seen(&record.referrer));
            prop_assert_eq!(&entry.page_url, &seen(&record.page_url));
            prop_assert_eq!(&entry.user_agent, &seen(&record.user_agent));
            let of_stream = !matches!(record.event(), AccessEvent::Connect | AccessEvent::Disconnect);
            let stream = |text: &str| seen(text).filter(|_| of_stream);
            prop_assert_eq!(&entry.sname, &stream(&record.stream_name));
            prop_assert_eq!(&entry.sname_query, &stream(&record.stream_query));
            prop_assert_eq!(&entry.file_ext, &stream(&record.file_ext));
            prop_assert_eq!(entry.sid, Some(u64::from(record.stream_id)).filter(|&id| of_stream && id > 0));
        }
    }

    #[test]
    fn whatever_viewers_send_four_public_parsers_read_the_same(mut records in proptest::collection::vec(any_record(), 1..6)) {
        for record in &mut records {
            // They read numbers of 63 bits.
            record.sc_bytes >>= 1;
            if record.status == "-" {
                record.status.clear();
            }
        }
        let text = unpacked(&records);
        let entries = entry::parse(&text).map_err(TestCaseError::fail)?;
        parsers::agree(&text, &entries).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_bytes_are_a_field(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 3usize..200) {
        let mut out = Vec::new();
        escape::put(&bytes, cut, &mut out);
        prop_assert!(!out.is_empty() && out.len() <= cut);
        prop_assert!(out.iter().all(|&b| b > b' ' && b < 127));
        let mut rest = &out[..];
        let mut decoded = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            if byte == b'%' {
                let digits = std::str::from_utf8(&after[..2]).unwrap();
                decoded.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &after[2..];
            } else {
                decoded.push(byte);
                rest = after;
            }
        }
        prop_assert!(bytes.starts_with(&decoded) || out == b"-");
        prop_assert!(escape::undo(&out) == decoded);
    }

    #[test]
    fn a_web_record_is_read_back(texts in proptest::collection::vec(any_text(), 12), numbers in any::<[u64; 4]>(), length in any::<i64>()) {
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        let mut record = request();
        record.uri_stem = next();
        record.uri_query = next();
        record.referrer = next();
        record.user_agent = next();
        record.sc_bytes = numbers[0];
        let web = record.web.as_mut().unwrap();
        (web.method, web.host, web.cookie, web.host_header, web.forwarded_for) = (next(), next(), next(), next(), next());
        (web.content_type, web.range_start) = (next(), String::new());
        (web.cs_bytes, web.time_taken_us, web.time_to_first_byte_us) = (numbers[1], numbers[2], numbers[3]);
        web.content_length = length;
        let text = unpacked(&[record.clone()]);
        let entries = web_reader::parse(&text).map_err(TestCaseError::fail)?;
        let web = record.web.as_ref().unwrap();
        for (name, value) in [
            ("cs-uri-stem", &record.uri_stem), ("cs-uri-query", &record.uri_query), ("cs(Referer)", &record.referrer),
            ("cs(User-Agent)", &record.user_agent), ("cs-method", &web.method), ("cs(Host)", &web.host),
            ("cs(Cookie)", &web.cookie), ("x-host-header", &web.host_header), ("x-forwarded-for", &web.forwarded_for),
            ("sc-content-type", &web.content_type),
        ] {
            prop_assert_eq!(entries[0].get(name).map(str::to_owned), seen(value), "{}", name);
        }
        let cs_bytes = numbers[1].to_string();
        prop_assert_eq!(entries[0].get("cs-bytes"), Some(cs_bytes.as_str()));
        let length = (length >= 0).then(|| length.to_string());
        prop_assert_eq!(entries[0].get("sc-content-len").map(str::to_owned), length);
    }
}
