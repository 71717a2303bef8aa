//! A bucket in memory: a film of each kind, and objects that fail in each way.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use proto::object::{ObjectInfo, ObjectKey, ObjectVersion};
use proto::range::ByteRange;
use proto::v1::Priority;
use tokio::time::{Duration, sleep};

use crate::object::{RangeSource, ReadError};

/// Keys and what is behind them.
const FILMS: &[(&str, &[u8])] = &[
    ("a.flv", include_bytes!("../../../fuzz/corpus/flv/both.flv")),
    ("indexed.flv", include_bytes!("../../../fuzz/corpus/flv/indexed.flv")),
    ("b.mp4", include_bytes!("../../../fuzz/corpus/mp4/last.mp4")),
    ("fragments.mp4", include_bytes!("../../../fuzz/corpus/mp4/fragments-sidx.mp4")),
    ("folder/c.mp3", include_bytes!("../../../fuzz/corpus/mp3/constant.mp3")),
    ("slow.mp4", include_bytes!("../../../fuzz/corpus/mp4/first.mp4")),
    // What follows can't be played.
    ("retired.flv", include_bytes!("../../../fuzz/corpus/flv/both.flv")),
    ("cut.flv", include_bytes!("../../../fuzz/corpus/flv/both.flv")),
    ("text.mp4", b"no film at all"),
    ("empty.flv", b""),
];

/// The bucket.
#[derive(Debug, Default)]
pub(in crate::session) struct Bucket;

/// Films long enough to be switched in mid-play: 20 s with a keyframe a second, and 12 s with one each 1.6 s.
static LONG: LazyLock<Vec<u8>> = LazyLock::new(|| film(20, 25));
static OTHER: LazyLock<Vec<u8>> = LazyLock::new(|| film(12, 40));

/// An FLV of pictures and sounds, 25 of each a second, whose pictures between two keyframes say how far apart those are.
fn film(seconds: u32, pictures_a_keyframe: u32) -> Vec<u8> {
    let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
    for n in 0..seconds * 25 {
        let picture = if n % pictures_a_keyframe == 0 { 0x12 } else { 0x22 };
        for (kind, first) in [(9, picture), (8, 0x2f)] {
            let time = (n * 40).to_be_bytes();
            file.extend([kind, 0, 0, 11, time[1], time[2], time[3], time[0], 0, 0, 0, first]);
            file.extend([pictures_a_keyframe as u8; 10]);
            file.extend(22u32.to_be_bytes());
        }
    }
    file
}

fn find(key: &str) -> Option<&'static [u8]> {
    match key {
        "long.flv" => return Some(&LONG),
        "other.flv" => return Some(&OTHER),
        _ => {}
    }
    FILMS.iter().find(|(name, _)| *name == key).map(|(_, bytes)| *bytes)
}

impl RangeSource for Bucket {
    fn stat(
        &self,
        object: &ObjectKey,
        _: Option<Arc<str>>,
    ) -> BoxFuture<'static, Result<ObjectInfo, ReadError>> {
        let object = object.clone();
        Box::pin(async move {
            if object.key.starts_with("slow") {
                sleep(Duration::from_millis(700)).await;
            }
            let found = match &*object.key {
                "forbidden.flv" => Err(ReadError::Forbidden(object.to_string())),
                "unavailable.flv" => Err(ReadError::Unavailable(object.to_string())),
                key => find(key).ok_or_else(|| ReadError::NotFound(object.to_string())),
            };
            let size_bytes = found?.len() as u64;
            let id = ObjectVersion { object, version: "\"1\"".into() };
            Ok(ObjectInfo { id, size_bytes, content_type: "".into() })
        })
    }

    fn read(
        &self,
        object: &ObjectVersion,
        _: u64,
        range: ByteRange,
        _: Priority,
    ) -> BoxStream<'static, Result<(u64, Bytes), ReadError>> {
        let key = object.object.key.clone();
        let bytes = find(&key).unwrap_or_default();
        let bytes = bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
        let half = Bytes::from_static(&bytes[..bytes.len() / 2]);
        let pieces = match &*key {
            "retired.flv" => vec![Err(ReadError::Retired("\"1\"".into()))],
            "cut.flv" => vec![Ok((range.start, half)), Err(ReadError::Unavailable("cut".into()))],
            _ => vec![Ok((range.start, Bytes::from_static(bytes)))],
        };
        let slow = key.starts_with("slow");
        let wait = async move {
            if slow {
                sleep(Duration::from_millis(900)).await;
            }
        };
        stream::once(wait).flat_map(move |()| stream::iter(pieces.clone())).boxed()
    }
}
