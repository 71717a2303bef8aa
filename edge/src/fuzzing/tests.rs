//! Each target over its corpus, its regressions and seeded mutations: what every `cargo test` does of fuzzing.

use std::path::Path;

use proto::fuzzing::stable::Run;

fn run(name: &str, rounds: u64, words: &[&[u8]], target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    Run { name, folder: &folder, words, rounds, target }.run();
}

const AMF0: &[&[u8]] = &[
    &[0, 0, 9],
    &[3, 0, 1, b'a'],
    &[8, 0, 0, 0, 1],
    &[10, 0, 0, 0, 2],
    &[7, 0, 0],
    &[0x11, 0x0a, 0x0b, 1],
    &[12, 0, 0, 0, 4],
    &[16, 0, 1, b'c'],
    b"\x02\0\x04play",
];
const AMF3: &[&[u8]] = &[
    &[0x0a, 0x0b, 1],
    &[0x0a, 0x13],
    &[0x09, 0x05, 1],
    &[0x0a, 0x00],
    &[0x06, 0x00],
    &[0x0a, 0x07],
    b"\x0a\x07\x43flex.messaging.io.ArrayCollection",
    &[0x04, 0xff, 0xff, 0xff, 0xff],
    &[0x08, 0x01],
    &[0x0c, 0x09],
];
const CHUNKS: &[&[u8]] = &[
    &[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1],
    &[2, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 0, 0, 3],
    &[3, 0xff, 0xff, 0xff, 0, 0, 200, 20, 1, 0, 0, 0],
    &[0xc3],
    &[0, 3],
    &[1, 0, 1],
    &[0x43],
    &[0x83],
    &[0xff, 0xff, 0xff],
];
const MP4: &[&[u8]] = &[
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts", b"stsc", b"stsz", b"stz2", b"stco", b"co64",
    b"stss", b"ctts", b"elst", b"moof", b"traf", b"trun", b"tfhd", b"tfdt", b"sidx", b"mfra", b"tfra",
    b"mp4a", b"avc1", b"esds", b"avcC",
];

const SIGNED: &[&[u8]] = &[
    b"Expires=",
    b"&Signature=",
    b"&Key-Pair-Id=",
    b"APKAEXAMPLE1024",
    b"Policy=",
    b"%3F",
    b"%26",
    b"%3D",
    b"?",
    b"mp4:",
    b"\"Statement\":[",
    b"\"Resource\":",
    b"\"Condition\":",
    b"\"DateLessThan\":{\"AWS:EpochTime\":1}",
    b"\"IpAddress\":{\"AWS:SourceIp\":\"192.0.2.0/24\"}",
];

#[test]
fn handshakes_from_strangers() {
    run("handshake", 5000, &[&[3], &[6], &[9, 0, 124, 2]], super::handshake);
}

#[test]
fn encrypted_handshakes_from_strangers() {
    run("handshake_encrypted", 300, &[&[10, 0, 45, 2], &[0xff; 8]], super::handshake_encrypted);
}

#[test]
fn chunks_from_strangers() {
    run("chunks", 20_000, CHUNKS, super::chunks);
}

#[test]
fn amf0_from_strangers() {
    run("amf0", 200_000, AMF0, super::amf0);
}

#[test]
fn amf3_from_strangers() {
    run("amf3", 200_000, AMF3, super::amf3);
}

#[test]
fn commands_from_strangers() {
    run("dispatch", 4000, &[b"play", b"seek", &[4], &[19]], super::dispatch);
}

#[test]
fn names_from_strangers() {
    let words: &[&[u8]] =
        &[b"mp4:", b"flv:", b"%2f", b"%3F", b"..", b"/", b"?", b"_definst_", b"[::1]", b"rtmp://", b"\n"];
    run("names", 100_000, words, super::names);
}

#[test]
fn proxy_headers_from_strangers() {
    run(
        "proxy",
        100_000,
        &[b"\r\n\r\n\0\r\nQUIT\n", &[0x21, 0x11, 0, 12], &[0x21, 0x21, 0, 36], &[0x20, 0]],
        super::proxy,
    );
}

#[test]
fn policy_requests_from_strangers() {
    run("policy", 20_000, &[b"<policy-file-request/>", &[0]], super::policy);
}

#[test]
fn tunnels_of_strangers() {
    let words: &[&[u8]] = &[
        b"/send/",
        b"/idle/",
        b"/open/1",
        b"/close/",
        b"/fcs/ident2",
        b"abcdefgh01234567",
        &[10, 130],
        &[5, 99],
    ];
    run("tunnel", 100_000, words, super::tunnel);
}

#[test]
fn flv_files_of_any_content() {
    run(
        "flv",
        1500,
        &[b"FLV\x01\x05\0\0\0\x09\0\0\0\0", &[8], &[9], &[18], &[0x17, 0], &[0x27, 1], b"onMetaData"],
        super::flv,
    );
}

#[test]
fn mp4_files_of_any_content() {
    run("mp4", 1500, MP4, super::mp4);
}

#[test]
fn mp4_films_with_lies_in_them() {
    run("mp4_lies", 15_000, &[&[0, 0], &[255, 255]], super::mp4_lies);
}

#[test]
fn mp3_files_of_any_content() {
    run(
        "mp3",
        5000,
        &[
            &[0xff, 0xf3, 0x14, 0xc4],
            b"ID3\x03\0\0\0\0\x02\0",
            b"TAG",
            b"APETAGEX",
            b"Xing",
            b"Info",
            b"VBRI",
        ],
        super::mp3,
    );
}

#[test]
fn id3_tags_of_any_content() {
    run(
        "id3",
        4000,
        &[
            b"ID3\x02\0\0\0\0\x02\0",
            b"ID3\x03\0\x80\0\0\x02\0",
            b"ID3\x04\0\x40\0\0\x02\0",
            b"TIT2\0\0\0\x04\0\0",
            b"COMM",
            b"TCON",
            b"APIC",
            b"TT2",
            b"TAG",
            &[0xff, 0],
            &[1, 0xff, 0xfe],
            &[2, 0xfe, 0xff],
        ],
        super::id3,
    );
}

#[test]
fn names_that_say_they_are_signed() {
    run("signed_name", 1500, SIGNED, super::signed_name);
}
