//! How little is read: films far larger than memory, of which only the parts that are asked for exist.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::films::*;
use crate::media::{Limits, Media, Step};
use crate::object::{ReadAt, ReadError, Slices};

/// A large object of which only some ranges are not zero.
struct Sparse {
    size: u64,
    parts: Vec<(u64, Bytes)>,
    reads: Vec<(u64, u64)>,
}

impl Sparse {
    fn bytes(&self, offset: u64, len: u64) -> Bytes {
        assert!(len <= 64 << 20, "a read of {len} bytes");
        let mut out = BytesMut::zeroed(len as usize);
        for (at, part) in &self.parts {
            let start = offset.max(*at);
            let end = (offset + len).min(at + part.len() as u64);
            if start < end {
                out[(start - offset) as usize..(end - offset) as usize]
                    .copy_from_slice(&part[(start - at) as usize..(end - at) as usize]);
            }
        }
        out.freeze()
    }

    fn total(&self) -> u64 {
        self.reads.iter().map(|&(_, len)| len).sum()
    }
}

impl ReadAt for Sparse {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read_at(&mut self, offset: u64, len: u64) -> Result<Slices, ReadError> {
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(ReadError::PastEnd { offset, len, size: self.size });
        }
        self.reads.push((offset, len));
        Ok(std::iter::once(self.bytes(offset, len)).collect())
    }

    fn buffered(&mut self, offset: u64, len: u64) -> Option<Slices> {
        let held = |&(o, l): &(u64, u64)| o <= offset && offset + len <= o + l;
        self.reads.iter().any(held).then(|| std::iter::once(self.bytes(offset, len)).collect())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

#[tokio::test]
async fn opening_a_film_of_4_gb_reads_its_moov_and_little_more() {
    // The media data is stretched in the middle, by a box no reader cares for: moov stands behind 4 GB.
    let film = common("mp4", &[]);
    let moov = find(&film, b"moov") - 4;
    let gap = 4u64 << 30;
    let free = Bytes::from([&[0, 0, 0, 1], &b"free"[..], &gap.to_be_bytes()].concat());
    let size = film.len() as u64 + gap;
    let parts = vec![(0, film.slice(..moov)), (moov as u64, free), (moov as u64 + gap, film.slice(moov..))];
    let mut reader = Sparse { size, parts, reads: Vec::new() };
    let media = crate::media::open(&mut reader, &Limits::default()).await.unwrap();
    println!("{:?}", reader.reads);
    assert!(reader.reads.len() <= 4, "{:?}", reader.reads);
    assert!(reader.total() < film.len() as u64 - moov as u64 + (256 << 10), "{:?}", reader.reads);
    let media = Arc::new(media);
    let before = reader.reads.len();
    let mut cursor = media.cursor(&mut reader, 3000).await.unwrap();
    assert!(matches!(cursor.step(&mut reader).unwrap(), Step::Sample(_)));
    assert_eq!(reader.reads.len(), before, "a seek needs nothing but the index");
}

/// A fragmented film of many gigabytes: the fragments of a real one, each behind a gap.
fn stretched(film: &Bytes, keep_index: bool) -> Sparse {
    let gap = 1u64 << 30;
    let mut parts = Vec::new();
    let (mut at, mut out) = (0usize, 0u64);
    while at < film.len() {
        let len = u32::from_be_bytes(film[at..at + 4].try_into().unwrap()) as usize;
        match &film[at + 4..at + 8] {
            b"mfra" if !keep_index => {}
            _ => {
                parts.push((out, film.slice(at..at + len)));
                out += len as u64;
            }
        }
        if &film[at + 4..at + 8] == b"mdat" {
            parts.push((out, Bytes::from([&[0, 0, 0, 1], &b"free"[..], &gap.to_be_bytes()].concat())));
            out += gap;
        }
        at += len;
    }
    Sparse { size: out, parts, reads: Vec::new() }
}

async fn open_stretched(reader: &mut Sparse) -> Arc<Media> {
    Arc::new(crate::media::open(reader, &Limits::default()).await.unwrap())
}

#[tokio::test]
async fn a_fragmented_film_without_index_opens_with_a_bounded_number_of_reads() {
    let film = common("mp4", &["-movflags", "frag_keyframe+empty_moov+default_base_moof+skip_trailer"]);
    let mut reader = stretched(&film, false);
    assert!(reader.size > 5 << 30);
    let media = open_stretched(&mut reader).await;
    assert!(reader.reads.len() <= 16, "{} reads", reader.reads.len());
    assert!(reader.total() < 16 << 20);
    assert!(media.duration_ms > 4000.0 && media.duration_ms < 8000.0, "{}", media.duration_ms);
    // The first seek walks; the second, to the same place, starts from what the first found.
    let walked = reader.reads.len();
    media.cursor(&mut reader, 4500).await.unwrap();
    let first = reader.reads.len() - walked;
    reader.reads.clear();
    media.cursor(&mut reader, 4500).await.unwrap();
    assert!(reader.reads.len() <= 3 && first > 3, "{first}, then {:?}", reader.reads);
}

#[tokio::test]
async fn opening_and_seeking_by_sidx_takes_a_few_reads() {
    let film = common("mp4", &["-movflags", "frag_keyframe+empty_moov+default_base_moof+global_sidx"]);
    let mut reader = crate::object::read::InMemory::new(film);
    reader.all_buffered = false;
    let media = Arc::new(crate::media::open(&mut reader, &Limits::default()).await.unwrap());
    assert!(reader.reads.len() <= 10, "{:?}", reader.reads);
    reader.reads.clear();
    media.cursor(&mut reader, 4500).await.unwrap();
    assert!(reader.reads.len() <= 3, "{:?}", reader.reads);
}
