//! Tags that ffmpeg writes, and those it doesn't: every version, encoding and flag, and lies.

use std::process::Command;

use futures::FutureExt;

use super::*;
use crate::object::read::InMemory;

/// A frame header of MPEG-2 layer III, so that a file without ID3v2 is known for what it is.
const SOUND: [u8; 4] = [0xff, 0xf3, 0x14, 0xc4];

fn tags(file: &[u8]) -> Tags {
    let mut reader = InMemory { all_buffered: false, ..InMemory::new(file.to_vec()) };
    read(&mut reader).now_or_never().unwrap().unwrap()
}

fn safe(len: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (len >> shift & 0x7f) as u8)
}

fn tag(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    [&[b'I', b'D', b'3', version, 0, flags][..], &safe(body.len()), body, &SOUND].concat()
}

fn frame(version: u8, id: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len() as u32;
    match version {
        2 => [id.as_bytes(), &len.to_be_bytes()[1..], body].concat(),
        3 => [id.as_bytes(), &len.to_be_bytes(), &[0, 0], body].concat(),
        _ => [id.as_bytes(), &safe(body.len()), &[0, 0], body].concat(),
    }
}

fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
    text.encode_utf16()
        .flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() })
        .collect()
}

fn said(tags: &Tags) -> [&str; 7] {
    [Field::Title, Field::Artist, Field::Album, Field::Year, Field::Comment, Field::Genre, Field::Track]
        .map(|field| tags.get(field).unwrap_or(""))
}

#[test]
fn what_ffmpeg_writes_is_read_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    for form in ["-id3v2_version 3", "-id3v2_version 4", "-id3v2_version 3 -write_id3v1 1"] {
        let path = dir.path().join("tagged.mp3");
        let text = "-nostdin -v error -y -f lavfi -i sine=duration=1 -c:a libmp3lame -b:a 32k -metadata title=Töne \
             -metadata artist=Penstock -metadata album=Tests -metadata date=2009 -metadata comment=hello -metadata genre=Rock \
             -metadata track=3";
        let made =
            Command::new("ffmpeg").args(text.split_whitespace()).args(form.split(' ')).arg(&path).status();
        assert!(made.unwrap().success());
        let found = tags(&std::fs::read(&path).unwrap());
        let mut expected = ["Töne", "Penstock", "Tests", "2009", "hello", "Rock", "3"];
        // ffmpeg writes comments as TXXX frames, which only it reads; in ID3v1 it has them where they belong.
        if !form.contains("id3v1") {
            expected[4] = "";
        }
        assert_eq!(said(&found), expected, "{form}");
    }
}

#[test]
fn every_version_names_its_frames() {
    for version in [2u8, 3, 4] {
        let ids = match version {
            2 => ["TT2", "TP1", "TAL", "TYE", "COM", "TCO", "TRK"],
            3 => ["TIT2", "TPE1", "TALB", "TYER", "COMM", "TCON", "TRCK"],
            _ => ["TIT2", "TPE1", "TALB", "TDRC", "COMM", "TCON", "TRCK"],
        };
        let texts: [&[u8]; 7] =
            [b"\0T", b"\0P", b"\0A", b"\x002009-05-03", b"\0eng\0C", b"\0(17)", b"\x003/12"];
        let mut body: Vec<u8> = frame(version, if version == 2 { "PIC" } else { "APIC" }, &[7; 5000]);
        body.extend(ids.iter().zip(texts).flat_map(|(id, text)| frame(version, id, text)));
        body.extend([0; 100]);
        let year = "2009";
        assert_eq!(
            said(&tags(&tag(version, 0, &body))),
            ["T", "P", "A", year, "C", "Rock", "3/12"],
            "{version}"
        );
    }
}

#[test]
fn all_four_encodings_are_text() {
    let big = [&[1, 0xfe, 0xff][..], &utf16("日本 ü", true)].concat();
    let little = [&[1, 0xff, 0xfe][..], &utf16("日本 ü", false)].concat();
    let unmarked = [&[2][..], &utf16("日本 ü", true)].concat();
    let utf8 = [&[3][..], "日本 ü".as_bytes()].concat();
    for body in [big, little, unmarked, utf8] {
        assert_eq!(tags(&tag(4, 0, &frame(4, "TIT2", &body))).get(Field::Title), Some("日本 ü"), "{body:x?}");
    }
    assert_eq!(tags(&tag(3, 0, &frame(3, "TIT2", b"\0caf\xe9\0hidden"))).get(Field::Title), Some("café"));
    assert_eq!(tags(&tag(3, 0, &frame(3, "TIT2", b"\x09what"))).get(Field::Title), None);
    assert_eq!(tags(&tag(4, 0, &frame(4, "TPE1", b"\x03One\0Two\0"))).get(Field::Artist), Some("One/Two"));
}

#[test]
fn comments_are_those_of_people() {
    let comment =
        |description: &str, text: &str| frame(3, "COMM", format!("\0eng{description}\0{text}").as_bytes());
    let body = [comment("iTunNORM", " 0000"), comment("about", "second"), comment("", "first")].concat();
    assert_eq!(tags(&tag(3, 0, &body)).get(Field::Comment), Some("first"));
    let body = [comment("iTunNORM", " 0000"), comment("about", "second")].concat();
    assert_eq!(tags(&tag(3, 0, &body)).get(Field::Comment), Some("second"));
    assert_eq!(tags(&tag(3, 0, &comment("iTunPGAP", "0"))).get(Field::Comment), None);
}

#[test]
fn genres_are_names() {
    for (stored, named) in [
        ("(17)", "Rock"),
        ("17", "Rock"),
        ("(17)Krautrock", "Krautrock"),
        ("(51)(39)", "Techno-Industrial"),
        ("(RX)", "Remix"),
        ("((own)", "(own)"),
        ("Krautrock", "Krautrock"),
        ("(200)", "(200)"),
        ("200", "200"),
        ("()", "()"),
    ] {
        assert_eq!(text::genre(stored), named);
    }
    assert_eq!(tags(&tag(4, 0, &frame(4, "TCON", b"\x0317\x00Own"))).get(Field::Genre), Some("Rock/Own"));
}

#[test]
fn an_unsynchronised_tag_reads_like_any_other() {
    // The picture's ff 00 counts as one byte, and so does the byte-order mark's ff.
    let title: Vec<u8> = [&[1, 0xff, 0xfe][..], &utf16("Ton", false)].concat();
    let plain = [frame(3, "APIC", &[0xff; 300]), frame(3, "TIT2", &title)].concat();
    let stored: Vec<u8> = plain.iter().flat_map(|&b| if b == 0xff { vec![b, 0] } else { vec![b] }).collect();
    assert_eq!(tags(&tag(3, 0x80, &stored)).get(Field::Title), Some("Ton"));
    assert_eq!(tags(&tag(3, 0, &plain)).get(Field::Title), Some("Ton"));
    // In 2.4 each frame is for itself, and says how long it is when it isn't.
    let stored: Vec<u8> = title.iter().flat_map(|&b| if b == 0xff { vec![b, 0] } else { vec![b] }).collect();
    let body = [&safe(title.len())[..], &stored].concat();
    let flagged = [b"TIT2", &safe(body.len())[..], &[0, 0x03], &body].concat();
    assert_eq!(tags(&tag(4, 0, &flagged)).get(Field::Title), Some("Ton"));
}

#[test]
fn extended_headers_are_stepped_over() {
    let title = frame(3, "TIT2", b"\0Ton");
    let body = [&6u32.to_be_bytes()[..], &[0; 6], &title].concat();
    assert_eq!(tags(&tag(3, 0x40, &body)).get(Field::Title), Some("Ton"));
    let body = [&safe(6)[..], &[1, 0], &frame(4, "TIT2", b"\0Ton")].concat();
    assert_eq!(tags(&tag(4, 0x40, &body)).get(Field::Title), Some("Ton"));
}

#[test]
fn lengths_that_itunes_wrote_as_plain_numbers_are_told() {
    let picture = [b"APIC", &300u32.to_be_bytes()[..], &[0, 0], &[9; 300]].concat();
    let body = [picture, frame(4, "TIT2", b"\0Ton")].concat();
    assert_eq!(tags(&tag(4, 0, &body)).get(Field::Title), Some("Ton"));
    let body = [frame(4, "APIC", &[9; 300]), frame(4, "TIT2", b"\0Ton")].concat();
    assert_eq!(tags(&tag(4, 0, &body)).get(Field::Title), Some("Ton"));
}

#[test]
fn compressed_and_encrypted_frames_are_passed_over() {
    for (version, format) in [(3u8, 0x80), (3, 0x40), (4, 0x08), (4, 0x04)] {
        let mut odd = frame(version, "TIT2", b"\0zzz");
        odd[9] = format;
        let body = [odd, frame(version, "TPE1", b"\0P")].concat();
        let found = tags(&tag(version, 0, &body));
        assert_eq!(
            (found.get(Field::Title), found.get(Field::Artist)),
            (None, Some("P")),
            "{version} {format:x}"
        );
    }
    // A group's byte, and a length, stand before the frame's own.
    let mut grouped = frame(3, "TIT2", b"\x05\0Ton");
    grouped[9] = 0x20;
    assert_eq!(tags(&tag(3, 0, &grouped)).get(Field::Title), Some("Ton"));
}

#[test]
fn id3v1_fills_what_id3v2_leaves_out() {
    let mut v1 = b"TAG".to_vec();
    for (text, len) in [("Old title", 30), ("Old artist", 30), ("Old album", 30), ("1999", 4), ("note", 28)] {
        v1.extend(format!("{text:\0<len$}").as_bytes());
    }
    v1.extend([0, 7, 17]);
    let file = [tag(3, 0, &frame(3, "TIT2", b"\0New title")), v1.clone()].concat();
    assert_eq!(said(&tags(&file)), ["New title", "Old artist", "Old album", "1999", "note", "Rock", "7"]);
    // Without the zero before it, the last byte is part of the comment, and 255 is no genre.
    v1[125..128].copy_from_slice(b"xy\xff");
    let old = tags(&[&SOUND[..], &v1].concat());
    assert_eq!((old.get(Field::Track), old.get(Field::Genre)), (None, None));
}

#[test]
fn lies_cost_little_and_end_the_walk() {
    let mut reader = InMemory::new(
        [
            tag(3, 0, &[frame(3, "APIC", &[1; 1 << 20]), frame(3, "TIT2", b"\0Ton")].concat()),
            vec![0; 1 << 20],
        ]
        .concat(),
    );
    let found = read(&mut reader).now_or_never().unwrap().unwrap();
    assert_eq!(found.get(Field::Title), Some("Ton"));
    let bytes: u64 = reader.reads.iter().map(|(_, len)| len).sum();
    assert!(bytes < 64 << 10 && reader.reads.len() < 8, "the picture isn't read: {:?}", reader.reads);

    let endless = [b"TIT2", &[0x7f; 4][..], &[0, 0], b"\0Ton"].concat();
    assert_eq!(tags(&tag(4, 0, &endless)), Tags::default());
    let long = frame(3, "TIT2", &[&[0][..], &[b'x'; 100_000]].concat());
    let found = tags(&tag(3, 0, &[long, frame(3, "TPE1", b"\0P")].concat()));
    assert_eq!(found.get(Field::Title).map(str::len), Some((2 << 10) - 1));
    assert_eq!(found.get(Field::Artist), Some("P"));
    assert_eq!(tags(b"ID3\x03"), Tags::default());
    assert_eq!(tags(b"ID3\x05\0\0\0\0\0\x20TIT2"), Tags::default());
}

#[test]
fn only_an_mp3_is_opened_and_it_has_no_samples() {
    let open = |file: &[u8]| open(&mut InMemory::new(file.to_vec())).now_or_never().unwrap();
    let media = open(&tag(3, 0, &frame(3, "TIT2", b"\0Ton"))).unwrap();
    let text = |text: &str| Value::String(text.to_owned());
    assert_eq!(media.metadata, [("songtitle".to_owned(), text("Ton")), ("title".to_owned(), text("Ton"))]);
    assert!(media.tracks.is_empty() && media.headers.is_empty());
    assert!(open(&SOUND).unwrap().metadata.is_empty(), "no tags is no error");
    assert!(matches!(open(b"FLV\x01\x05"), Err(MediaError::NoSupportedTrack(_))));
    assert!(matches!(open(b""), Err(MediaError::StructureInvalid(_))));
}
