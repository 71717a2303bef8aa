//! Each target over its corpus, its regressions and seeded mutations: what every `cargo test` does of fuzzing.

use std::path::Path;

use proto::fuzzing::stable::Run;

fn run(name: &str, rounds: u64, words: &[&[u8]], target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    Run { name, folder: &folder, words, rounds, target }.run();
}

const KEYS: &[&[u8]] =
    &[b"..", b"/", b"\\", b"\0", b".", b"%2f", b".s3.amazonaws.com", b".s3.eu-west-1.amazonaws.com", b"\n"];

#[test]
fn keys_and_hosts_from_strangers() {
    run("keys", 100_000, KEYS, super::keys);
}

#[test]
fn ranges_from_strangers() {
    run("ranges", 200_000, &[], super::ranges);
}

#[test]
fn headers_from_an_origin() {
    let words: &[&[u8]] = &[
        b"bytes ",
        b"-",
        b"/",
        b"*",
        b"max-age=",
        b"s-maxage=",
        b"no-store",
        b"\n",
        b"18446744073709551615",
    ];
    run("origin_headers", 100_000, words, super::origin_headers);
}

#[test]
fn declarations_of_any_content() {
    let words: &[&[u8]] = &[
        b"distributions:",
        b"- ",
        b"&a ",
        b"*a",
        b"name: ",
        b"origin: ",
        b"aliases: [",
        b"\n  ",
        b"!!",
        b"|",
        b"{",
    ];
    run("declared", 20_000, words, super::declared);
}

#[test]
fn documents_from_clients_of_the_api() {
    let words: &[&[u8]] = &[
        b"<a>",
        b"</a>",
        b"<b/>",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
        b"<!DOCTYPE",
        b"&amp;",
        b"&#13;",
        b"&#x",
        b" x='y'",
        b"x:",
        b"\r\n",
    ];
    run("api_xml", 50_000, words, super::api_xml);
}

#[test]
fn keys_in_folders_with_ways_out() {
    run("s3_keys", 2000, KEYS, super::s3_keys);
}

#[test]
fn listings_of_any_folder() {
    run("s3_listings", 2000, &[b"a", b"/", b".", &[0], &[255]], super::s3_listings);
}

#[test]
fn segments_of_access_events_from_edges_and_disks() {
    run("log_segments", 20_000, &[&[1, 0, 0, 0], &[16], &[2], &[3]], super::log_segments);
}

#[test]
fn folders_of_spools_as_processes_leave_them() {
    run("log_spool", 10_000, &[&[2], &[0xff], &[250], b"abcdefgh01234567"], super::log_spool);
}
