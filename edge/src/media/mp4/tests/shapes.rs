//! Each shape of file plays as ffprobe reads it.

use bytes::Bytes;

use super::films::*;
use crate::media::{Codec, Index, Kind, Media};
use crate::rtmp::amf::Value;

const BOTH: &[Kind] = &[Kind::Video, Kind::Audio];

fn number(media: &Media, key: &str) -> Option<f64> {
    media.metadata.iter().find(|(found, _)| found == key).and_then(|(_, value)| match value {
        Value::Number(number) => Some(*number),
        _ => None,
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[tokio::test]
async fn moov_first_and_moov_last_play_the_same() {
    let first = common("mp4", &["-movflags", "+faststart"]);
    let last = common("mp4", &[]);
    assert!(find(&first, b"moov") < find(&first, b"mdat"));
    assert!(find(&last, b"moov") > find(&last, b"mdat"));
    for film in [first, last] {
        let media = check(&film, "mp4", BOTH).await;
        assert_eq!(number(&media, "width"), Some(160.0));
        assert_eq!(number(&media, "height"), Some(120.0));
        assert_eq!(number(&media, "videocodecid"), Some(7.0));
        assert_eq!(number(&media, "audiocodecid"), Some(10.0));
        assert_eq!(number(&media, "aacaot"), Some(2.0));
        assert_eq!(number(&media, "videoframerate"), Some(25.0));
        assert_eq!(number(&media, "audiosamplerate"), Some(44100.0));
        assert_eq!(number(&media, "audiochannels"), Some(1.0));
        assert_eq!(number(&media, "moovPosition"), find(&film, b"moov").map(|at| at as f64 - 4.0));
        assert_eq!(number(&media, "duration"), Some(media.duration_ms / 1000.0));
        assert_eq!(media.headers.len(), 2);
        assert!(media.headers[0].1.starts_with(&[0x17, 0, 0, 0, 0, 1]));
        assert!(media.headers[1].1.starts_with(&[0xaf, 0]));
        let again = open(&film).await.unwrap();
        assert_eq!(format!("{:?}", media.metadata), format!("{:?}", again.metadata));
    }
}

#[tokio::test]
async fn fragmented_films_play_whatever_index_they_carry() {
    for flags in [
        "frag_keyframe+empty_moov",
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe+empty_moov+default_base_moof+global_sidx",
        "frag_keyframe+empty_moov+skip_trailer",
        "frag_keyframe+empty_moov+delay_moov",
        "frag_keyframe+empty_moov+separate_moof",
        "frag_keyframe+empty_moov+omit_tfhd_offset",
        "frag_keyframe",
        "dash+frag_keyframe+empty_moov",
    ] {
        println!("{flags}");
        check(&common("mp4", &["-movflags", flags]), "mp4", BOTH).await;
    }
}

#[tokio::test]
async fn negative_composition_offsets_in_fragments_keep_presentation_times() {
    let film = common("mp4", &["-movflags", "cmaf+frag_keyframe+empty_moov"]);
    let media = open(&film).await.unwrap();
    let mut reader = crate::object::read::InMemory::new(film.clone());
    let all = samples(&media, &mut reader, 0).await.unwrap();
    let ours: Vec<Packet> = all.iter().filter(|sample| sample.kind == Kind::Video).map(packet).collect();
    let theirs = packets(&film, "mp4", Kind::Video);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        // ffprobe delays the pictures by the reordering (80 ms) and leaves the sound where it is; the file doesn't ask for that.
        assert_eq!((ours.offset, ours.len, ours.pts_ms), (theirs.offset, theirs.len, theirs.pts_ms - 80));
    }
    assert!(all.iter().all(|sample| sample.cts >= 0));
}

#[tokio::test]
async fn quicktime_3gp_f4v_m4v_and_m4a_play() {
    check(&common("mov", &[]), "mov", BOTH).await;
    check(&common("3gp", &[]), "3gp", BOTH).await;
    check(&common("mp4", &["-f", "f4v"]), "mp4", BOTH).await;
    check(&common("m4v", &["-f", "mp4"]), "mp4", BOTH).await;
    let sound = film("m4a", &[SOUND, AAC]);
    let media = check(&sound, "m4a", &[Kind::Audio]).await;
    assert_eq!(number(&media, "width"), None);
    assert!(media.weight_bytes > 0 && media.bytes_per_second > 1000);
}

#[tokio::test]
async fn mp3_plays_from_mp4_and_from_quicktime() {
    for extension in ["mp4", "mov"] {
        let film = film(extension, &[PICTURES, SOUND, H264, &["-c:a", "libmp3lame", "-shortest"]]);
        let media = check(&film, extension, BOTH).await;
        assert_eq!(media.tracks[1].codec, Codec::Mp3 { flags: 0x2e });
        assert_eq!(number(&media, "audiocodecid"), Some(2.0));
        assert_eq!(media.headers.len(), 1);
    }
}

#[tokio::test]
async fn edit_lists_keep_sound_and_pictures_together() {
    // Sound late, pictures late, both by an empty edit.
    for (first, second) in [("0", "1.5"), ("1.5", "0")] {
        let delayed = film(
            "mp4",
            &[
                &["-itsoffset", first],
                PICTURES,
                &["-itsoffset", second],
                SOUND,
                H264,
                AAC,
                &["-map", "0:v", "-map", "1:a"],
            ],
        );
        let media = check(&delayed, "mp4", BOTH).await;
        assert!(media.duration_ms > 7400.0);
    }
    check(&common("mp4", &["-movflags", "negative_cts_offsets"]), "mp4", BOTH).await;
    check(&common("mp4", &["-bf", "0"]), "mp4", BOTH).await;
    check(&common("mp4", &["-video_track_timescale", "90000"]), "mp4", BOTH).await;
}

#[tokio::test]
async fn a_track_of_another_codec_is_left_out() {
    let film = film("mp4", &[PICTURES, SOUND, H264, &["-c:a", "ac3", "-shortest"]]);
    check(&film, "mp4", &[Kind::Video]).await;
    let film = super::films::film("mp4", &[PICTURES, SOUND, &["-c:v", "mpeg4"], AAC, &["-shortest"]]);
    check(&film, "mp4", &[Kind::Audio]).await;
}

#[tokio::test]
async fn wide_chunk_offsets_and_version_1_boxes_are_read() {
    let narrow = common("mp4", &[]);
    let wide = widen(&narrow);
    let media = open(&wide).await.unwrap();
    let reference = open(&narrow).await.unwrap();
    assert_eq!(media.duration_ms, reference.duration_ms);
    let mut reader = crate::object::read::InMemory::new(wide.clone());
    let ours = samples(&media, &mut reader, 0).await.unwrap();
    let mut reader = crate::object::read::InMemory::new(narrow.clone());
    assert_eq!(ours, samples(&reference, &mut reader, 0).await.unwrap());
    check(&wide, "mp4", BOTH).await;
}

/// Rewrites the moov at a film's end: `stco` becomes `co64`, `mvhd`, `mdhd`, `tkhd` and `elst` become version 1.
fn widen(film: &Bytes) -> Bytes {
    fn rewrite(boxes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while at + 8 <= boxes.len() {
            let len = u32::from_be_bytes(boxes[at..at + 4].try_into().unwrap()) as usize;
            let mut kind: [u8; 4] = boxes[at + 4..at + 8].try_into().unwrap();
            let body = &boxes[at + 8..at + len];
            let wide = |word: &[u8]| [&[0; 4], word].concat();
            let body = match &kind {
                b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"edts" => rewrite(body),
                b"mvhd" | b"mdhd" => [
                    &[1, 0, 0, 0],
                    &*wide(&body[4..8]),
                    &*wide(&body[8..12]),
                    &body[12..16],
                    &*wide(&body[16..20]),
                    &body[20..],
                ]
                .concat(),
                b"tkhd" => {
                    let mut head = body[..4].to_vec();
                    head[0] = 1;
                    [
                        &head,
                        &*wide(&body[4..8]),
                        &*wide(&body[8..12]),
                        &body[12..20],
                        &*wide(&body[20..24]),
                        &body[24..],
                    ]
                    .concat()
                }
                b"elst" => {
                    let mut out = [&[1, 0, 0, 0], &body[4..8]].concat();
                    for entry in body[8..].chunks(12) {
                        out.extend(wide(&entry[..4]));
                        let media_time = i32::from_be_bytes(entry[4..8].try_into().unwrap());
                        out.extend(i64::from(media_time).to_be_bytes());
                        out.extend(&entry[8..]);
                    }
                    out
                }
                b"stco" => {
                    kind = *b"co64";
                    let mut out = body[..8].to_vec();
                    body[8..].chunks(4).for_each(|offset| out.extend(wide(offset)));
                    out
                }
                _ => body.to_vec(),
            };
            out.extend((body.len() as u32 + 8).to_be_bytes());
            out.extend(kind);
            out.extend(body);
            at += len;
        }
        out
    }
    let moov = find(film, b"moov").unwrap() - 4;
    [&film[..moov], &rewrite(&film[moov..])].concat().into()
}

#[tokio::test]
async fn he_aac_configuration_reaches_players_untouched() {
    let film = film("m4a", &[SOUND, AAC]);
    // ffmpeg's own encoder makes no HE-AAC; its configuration is put in place of AAC-LC's, which takes as many bytes with
    // the extension ffmpeg appends (0x56 0xe5 0x00).
    let tag = find(&film, &[0x05, 0x80, 0x80, 0x80]).unwrap();
    let len = film[tag + 4] as usize;
    assert!(len >= 5, "{len}");
    let mut he = film.to_vec();
    he[tag + 5..tag + 5 + len].fill(0);
    he[tag + 5..tag + 9].copy_from_slice(&[0x2b, 0x11, 0x88, 0x00]);
    let media = open(&he.clone().into()).await.unwrap();
    let Codec::Aac { config } = &media.tracks[0].codec else { panic!() };
    assert_eq!(config[..], he[tag + 5..tag + 5 + len]);
    assert_eq!(media.headers[0].1[2..], config[..]);
    assert_eq!(number(&media, "aacaot"), Some(5.0));
    assert_eq!(number(&media, "audiosamplerate"), Some(48000.0));
}

#[tokio::test]
async fn the_index_takes_less_than_15_bytes_a_sample() {
    let film = common("mp4", &["-bf", "3"]);
    let media = open(&film).await.unwrap();
    let Index::Mp4(index) = &media.index else { panic!() };
    let samples: u32 = index.tracks.iter().map(|track| track.table.len()).sum();
    let bytes: usize =
        index.tracks.iter().map(|track| track.table.weight_bytes() - size_of_val(&track.table)).sum();
    println!("{bytes} bytes for {samples} samples");
    assert!(bytes < 15 * samples as usize, "{bytes} bytes for {samples} samples");
}
