//! The readers against published records, and against files that are wrong in one way each.

use super::*;
use std::io::Write;
use std::process::{Command, Stdio};

fn packed(text: &str) -> Vec<u8> {
    let mut gzip =
        Command::new("gzip").args(["-nc"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    gzip.wait_with_output().unwrap().stdout
}

const KEY: &str = "log/EMLARXS9EXAMPLE.2010-03-12-23.RT4KCN4SGK9.gz";

#[test]
fn the_published_records_are_read_and_all_parsers_agree() {
    let entries = read(KEY, &packed(&fixtures::file()));
    let events: Vec<Event> = entries.iter().map(|entry| entry.event).collect();
    assert_eq!(events, [Event::Connect, Event::Play, Event::Stop, Event::Disconnect]);
    let bytes: Vec<u64> = entries.iter().map(|entry| entry.sc_bytes).collect();
    assert_eq!(bytes, [2014, 3914, 429_822_014, 429_824_092]);
    assert_eq!(entries[0].user_agent.as_deref(), Some("LNX 10,0,32,18"));
    assert_eq!(entries[2].sname.as_deref(), Some("dir/favs/myothervideo"));
    assert_eq!((entries[2].sid, entries[3].sid), (Some(2), None));
    assert_eq!(entries[0].at_s, 1_268_437_880);
}

#[test]
fn records_copied_with_spaces_are_read_by_the_parsers_that_read_them_in_public() {
    let file = format!("{}{}\n", fixtures::HEADER, fixtures::SPACED);
    assert!(entry::parse(&file).is_err(), "the strict reader takes no spaces");
    assert_eq!(parsers::slurper(&file).unwrap()[0][13], "dir/favs/myothervideo");
    assert_eq!(parsers::buzz(&file).unwrap()[0]["x-sname"], "dir/favs/myothervideo");
    assert_eq!(parsers::node(&file)[0]["c-user-agent"], " LNX 10,0,32,18");
}

#[test]
fn a_web_record_of_the_guide_is_read() {
    let file = format!("#Version: 1.0\n#Fields: {}\n{}\n", web::FIELDS, fixtures::WEB);
    let entries = web::parse(&file).unwrap();
    assert_eq!(entries[0].get("cs(User-Agent)"), Some("Mozilla/5.0 (Windows NT 10.0; Win64; x64)"));
    assert_eq!((entries[0].get("sc-range-end"), entries[0].get("c-port")), (None, Some("11040")));
    assert!(web::record(&fixtures::WEB.replace("\t0.001\t", "\t1\t")).is_err());
}

#[test]
fn each_way_to_break_a_line_is_found() {
    let good = fixtures::PLAY;
    assert!(entry::record(good).is_ok());
    for (what, bad) in [
        ("a bare space", good.replace("LNX%20", "LNX ")),
        ("a tilde", good.replace("p=2", "p=~")),
        ("a lower-case escape", good.replace("LNX%20", "LNX%7e")),
        ("a torn escape", good.replace("q=44", "q=%4")),
        ("an empty field", good.replace("myvideo", "")),
        ("another event", good.replace("play", "Play")),
        ("a signed number", good.replace("3914", "+3914")),
        ("no address", good.replace("192.0.2.222", "viewer")),
        ("an 18th field", format!("{good}\t-")),
        ("a 13th month", good.replace("2010-03-12", "2010-13-12")),
        ("the 29th of February", good.replace("2010-03-12", "2010-02-29")),
        ("a stream at its end", good.replace("\tplay\t", "\tdisconnect\t")),
    ] {
        assert!(entry::record(&bad).is_err(), "{what} was taken: {bad}");
    }
    let file = fixtures::file();
    assert!(entry::parse(file.trim_end()).is_err(), "no end");
    assert!(entry::parse(&file.replace("x-page-url", "x-page-url ")).is_err(), "another header");
    assert!(entry::parse(&file.replace("\n2010", "\n\n2010")).is_err(), "an empty line");
}

#[test]
fn each_way_to_break_an_object_is_found() {
    let file = packed(&fixtures::file());
    assert!(packed::unpack(&file[..file.len() - 1]).is_err(), "torn");
    let mut flipped = file.clone();
    let middle = flipped.len() - 6;
    flipped[middle] ^= 1;
    assert!(packed::unpack(&flipped).is_err(), "wrong checksum");
    let mut longer = file;
    longer.extend_from_slice(b"more");
    assert!(packed::unpack(&longer).is_err(), "bytes after the end");
    for key in [
        "/EMLARXS9EXAMPLE.2010-03-12-23.A.gz",
        "log//EMLARXS9EXAMPLE.2010-03-12-23.A.gz",
        "log/EMLARXS9EXAMPLE.2010-03-12.A.gz",
        "log/EMLARXS9EXAMPLE.2010-03-12-23.a.gz",
        "log/EMLARXS9EXAMPLE.2010-03-12-23.gz",
        "log/EMLARXS9EXAMPLE.2010-03-12-23.A.gz.tmp",
    ] {
        assert!(LogKey::parse(key).is_err(), "{key}");
    }
    assert_eq!(LogKey::parse("EMLARXS9EXAMPLE.2010-03-12-23.RT4.gz").unwrap().prefix, "");
}

#[test]
#[should_panic(expected = "is of 2010-03-12-23")]
fn a_record_in_another_hours_file_is_found() {
    read("EMLARXS9EXAMPLE.2010-03-12-22.RT4KCN4SGK9.gz", &packed(&fixtures::file()));
}
