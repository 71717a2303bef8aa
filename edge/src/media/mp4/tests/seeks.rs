//! A cursor at a time starts with a keyframe and goes on as the full walk does.

use super::films::*;
use crate::media::{Kind, Sample};
use crate::object::read::InMemory;

async fn check_seeks(film: &bytes::Bytes) {
    let media = open(film).await.unwrap();
    let mut reader = InMemory::new(film.clone());
    let all = samples(&media, &mut reader, 0).await.unwrap();
    let has_video = all.iter().any(|sample| sample.kind == Kind::Video);
    let starts = |sample: &&Sample| sample.sync && (!has_video || sample.kind == Kind::Video);
    for target in (0..media.duration_ms as u64).step_by(130) {
        let mut reader = InMemory::new(film.clone());
        reader.all_buffered = false;
        let ours = samples(&media, &mut reader, target).await.unwrap();
        let key = all.iter().filter(starts).rfind(|sample| sample.time_ms() <= target);
        match key {
            Some(key) => {
                let tail = all.iter().position(|sample| sample == key).unwrap();
                // What precedes the start of the presentation is due at 0, and is sent whole.
                if key.dts > 0 {
                    assert_eq!(&ours[0], key, "at {target}");
                    let expected = &all[tail..];
                    let differs = ours.iter().zip(expected).position(|(ours, theirs)| ours != theirs);
                    assert_eq!((ours.len(), differs), (expected.len(), None), "at {target}");
                } else {
                    assert_eq!(ours.len(), all.len(), "at {target}");
                }
            }
            None => assert!(ours[0].time_ms() <= target && ours.len() <= all.len(), "at {target}"),
        }
    }
    for past in [media.duration_ms.ceil() as u64, u64::MAX] {
        assert!(samples(&media, &mut reader, past).await.unwrap().is_empty(), "at {past}");
    }
}

#[tokio::test]
async fn seeks_in_films_without_fragments_start_with_the_last_keyframe() {
    check_seeks(&common("mp4", &["-movflags", "+faststart"])).await;
    check_seeks(&common("mov", &["-bf", "0"])).await;
    check_seeks(&film("m4a", &[SOUND, AAC])).await;
    let late =
        film("mp4", &[&["-itsoffset", "1.5"], PICTURES, SOUND, H264, AAC, &["-map", "0:v", "-map", "1:a"]]);
    check_seeks(&late).await;
}

#[tokio::test]
async fn seeks_in_fragmented_films_start_with_the_last_keyframe() {
    for flags in [
        "frag_keyframe+empty_moov+default_base_moof",
        "frag_keyframe+empty_moov+default_base_moof+global_sidx",
        "frag_keyframe+empty_moov+skip_trailer",
        "frag_keyframe",
        "frag_keyframe+empty_moov+separate_moof",
        "dash+frag_keyframe+empty_moov",
        "cmaf+frag_keyframe+empty_moov",
    ] {
        println!("{flags}");
        check_seeks(&common("mp4", &["-movflags", flags])).await;
    }
}

#[tokio::test]
async fn fragments_longer_than_a_group_of_pictures_are_entered_in_the_middle() {
    check_seeks(&common("mp4", &["-movflags", "empty_moov+default_base_moof", "-frag_duration", "3000000"]))
        .await;
}

#[tokio::test]
async fn a_clone_of_a_cursor_goes_its_own_way() {
    let film = common("mp4", &["-movflags", "frag_keyframe+empty_moov"]);
    let media = open(&film).await.unwrap();
    let mut reader = InMemory::new(film);
    let mut cursor = media.cursor(&mut reader, 2000).await.unwrap();
    for _ in 0..40 {
        cursor.step(&mut reader).unwrap();
    }
    let mut other = cursor.clone();
    let next: Vec<_> = (0..100).map(|_| cursor.step(&mut reader).unwrap()).collect();
    assert_eq!(next, (0..100).map(|_| other.step(&mut reader).unwrap()).collect::<Vec<_>>());
}
