//! What the fuzz targets of the three containers share: a file that counts what is read of it, and what must hold of any film.
//!
//! A film opens with bounded reads or is refused for its own fault; it is walked in bounded steps, each of which names bytes inside the
//! file; what is in memory and what isn't makes no difference to the samples; a seek starts where walking from the start would come by.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use proto::fuzzing::Input;

use super::{Cursor, Kind, Limits, Media, MediaError, Sample, Step, tag};
use crate::object::{ReadAt, ReadError, Slices};
use crate::rtmp::{amf, reply};

/// Most samples walked: what a target does must end in milliseconds.
pub(crate) const STEPS: usize = 600;
/// Reads that opening may cost: MP4 looks at 1024 boxes, each of which may stand far from the last.
const OPEN_READS: usize = 1300;
/// Bytes that opening may cost: those boxes with what is read ahead, or a megabyte's tags at either end.
const OPEN_BYTES: u64 = 100 << 20;
/// Reads that a seek may cost. A walk through fragments without an index goes from one to the next.
const SEEK_READS: usize = 4000;
/// Bytes that a seek may cost: 20 MiB of walk, twice as much of stepping back.
const SEEK_BYTES: u64 = 100 << 20;

/// Limits that keep hostile tables small enough to walk in a test.
pub(crate) fn limits() -> Limits {
    Limits { index_bytes: 1 << 20, samples: 50_000, sample_bytes: 1 << 20, fragments: 200 }
}

/// A file made of repeated parts, so that a few bytes can describe one of any length. Counts what is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    /// What is repeated, where the repetitions start, where they end.
    parts: Vec<(Bytes, u64, u64)>,
    size: u64,
    reads: usize,
    read_bytes: u64,
    /// Whether everything is in memory, or only what was read last.
    all_buffered: bool,
    held: (u64, u64),
}

impl File {
    /// Adds `bytes` so many times.
    pub(crate) fn push(&mut self, bytes: &[u8], times: u64) {
        let end = self.size.saturating_add((bytes.len() as u64).saturating_mul(times));
        if end > self.size {
            // Short patterns are repeated here, so that a long read isn't made of millions of copies.
            let repeats = (4096 / bytes.len()).clamp(1, times.min(4096) as usize);
            self.parts.push((bytes.repeat(repeats).into(), self.size, end));
            self.size = end;
        }
    }

    /// The file that `data` describes: the bytes as they are, or, after an `@`, stretches that are repeated: their length (2 bytes), how
    /// often as a power of 2, the bytes. It ends when it is longer than `most_bytes`.
    pub(crate) fn described(data: &[u8], most_bytes: u64) -> Self {
        let mut input = Input::new(data);
        let mut file = Self::default();
        if data.first() != Some(&b'@') {
            file.push(data, 1);
            return file;
        }
        input.u8();
        while !input.is_empty() && file.size < most_bytes {
            let (len, times) = (input.u16(), 1u64 << (input.u8() % 24));
            let bytes = input.bytes(usize::from(len));
            file.push(bytes, times.min((most_bytes - file.size).div_ceil(bytes.len().max(1) as u64)));
        }
        file
    }

    /// Whether the file holds no byte.
    pub(crate) fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Any part of it; what lies past the end is left out.
    pub(crate) fn slice(&self, offset: u64, len: u64) -> Bytes {
        let end = offset.saturating_add(len).min(self.size);
        let first = self.parts.partition_point(|(_, _, part_end)| *part_end <= offset);
        let mut out = BytesMut::new();
        let mut at = offset;
        for (bytes, start, part_end) in &self.parts[first..] {
            let period = bytes.len() as u64;
            while at < end.min(*part_end) {
                let from = (at - start) % period;
                let take = (period - from).min(end.min(*part_end) - at);
                let piece = from as usize..(from + take) as usize;
                if out.is_empty() && at + take == end {
                    return bytes.slice(piece);
                }
                out.extend_from_slice(&bytes[piece]);
                at += take;
            }
        }
        out.freeze()
    }

    /// Panics if reading cost more.
    pub(crate) fn check_budget(&self, reads: usize, bytes: u64) {
        let (made, brought) = (self.reads, self.read_bytes);
        assert!(made <= reads && brought <= bytes, "{made} reads of {brought} bytes");
    }
}

impl ReadAt for File {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read_at(&mut self, offset: u64, len: u64) -> Result<Slices, ReadError> {
        self.reads += 1;
        self.read_bytes = self.read_bytes.saturating_add(len);
        assert!(len <= 17 << 20, "a read of {len} bytes");
        if offset.checked_add(len).is_none_or(|end| end > self.size) {
            return Err(ReadError::PastEnd { offset, len, size: self.size });
        }
        self.held = (offset, offset + len);
        Ok(std::iter::once(self.slice(offset, len)).collect())
    }

    fn buffered(&mut self, offset: u64, len: u64) -> Option<Slices> {
        let end = offset.checked_add(len).filter(|&end| end <= self.size)?;
        let held = self.all_buffered || self.held.0 <= offset && end <= self.held.1;
        held.then(|| std::iter::once(self.slice(offset, len)).collect())
    }
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    let Some(output) = future.now_or_never() else { panic!("a file in memory is waited for") };
    output
}

/// A file's own fault has a name; it is never an error of reading.
fn check_error(error: &MediaError) {
    assert!(!matches!(error, MediaError::Read(_)), "{error}");
}

/// Opens `file`, or `None` if it is refused.
pub(crate) fn open(file: &mut File) -> Option<Arc<Media>> {
    let opened = ready(super::open(file, &limits()));
    file.check_budget(OPEN_READS, OPEN_BYTES);
    let media = match opened {
        Ok(media) => media,
        Err(error) => {
            check_error(&error);
            return None;
        }
    };
    assert!(media.duration_ms.is_finite() && media.duration_ms >= 0.0, "{}", media.duration_ms);
    assert!(media.bytes_per_second > 0 && media.tracks.len() <= 6);
    let texts = media.tracks.iter().skip_while(|track| !matches!(track.kind, Kind::Text(_)));
    assert!(media.tracks.len() - texts.count() <= 2, "{:?}", media.tracks);
    assert!(media.metadata.iter().any(|(key, _)| key == "duration"));
    let sent = reply::metadata(&media.metadata);
    let reread = amf::decode_all(&sent, &amf::Limits { depth: 64, values: usize::MAX });
    assert!(reread.is_ok_and(|values| values.len() == 2));
    Some(Arc::new(media))
}

/// A cursor at `target_ms`.
pub(crate) fn seek(media: &Arc<Media>, file: &mut File, target_ms: u64) -> Option<Cursor> {
    (file.reads, file.read_bytes) = (0, 0);
    let found = ready(media.cursor(file, target_ms));
    file.check_budget(SEEK_READS, SEEK_BYTES);
    found.inspect_err(check_error).ok()
}

/// What a walk came upon.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Walked {
    /// The samples.
    pub(crate) samples: Vec<Sample>,
    /// Whether the end was reached, and without an error.
    pub(crate) whole: bool,
    /// Whether damage was.
    pub(crate) damaged: bool,
}

impl Walked {
    /// Whether audio and video leave in the order of their times.
    pub(crate) fn in_order(&self) -> bool {
        let timed =
            || self.samples.iter().filter(|sample| !matches!(sample.kind, Kind::Data | Kind::Text(_)));
        timed().zip(timed().skip(1)).all(|(a, b)| {
            u128::from(a.dts) * u128::from(b.timescale) <= u128::from(b.dts) * u128::from(a.timescale)
        })
    }
}

/// Walks on from `cursor`, at most [`STEPS`] samples. A needed range is read and must be of use.
pub(crate) fn walk(media: &Media, file: &mut File, mut cursor: Cursor) -> Walked {
    let mut walked = Walked::default();
    let mut needed = (0, 0);
    let mut needs = 0;
    while walked.samples.len() < STEPS && needs < 2 * STEPS {
        let mut twin = cursor.clone();
        let step = cursor.step(file);
        if walked.samples.len() < 20 {
            assert_eq!(twin.step(file), step, "a clone goes another way");
        }
        match step {
            Ok(Step::Sample(sample)) => {
                let end = sample.offset.checked_add(u64::from(sample.len));
                assert!(end.is_some_and(|end| end <= file.size), "{sample:?} passes the end");
                assert!(sample.timescale > 0 && sample.len <= limits().sample_bytes, "{sample:?}");
                assert!(sample.sync || sample.kind != Kind::Audio, "{sample:?}");
                let track = media.tracks.iter().find(|track| track.kind == sample.kind);
                assert!(tag::head(track, &sample).as_slice().len() <= 5);
                needed = (0, 0);
                walked.samples.push(sample);
            }
            Ok(Step::Need { offset, len }) => {
                assert!(
                    len > 0 && len <= 17 << 20 && offset.saturating_add(len) <= file.size,
                    "{offset}+{len}"
                );
                assert!(!file.all_buffered, "everything is in memory");
                assert_ne!(std::mem::replace(&mut needed, (offset, len)), (offset, len), "of no use");
                needs += 1;
                assert!(ready(file.read_at(offset, len)).is_ok());
            }
            Ok(Step::End) => {
                walked.whole = true;
                assert_eq!(cursor.step(file), Ok(Step::End), "an end is an end");
                break;
            }
            Err(error) => {
                check_error(&error);
                walked.damaged = true;
                break;
            }
        }
    }
    walked
}

/// Opens the file and walks it from its start: with everything in memory and with nothing of it, which must come to the same.
pub(crate) fn open_and_walk(file: &mut File) -> Option<(Arc<Media>, Walked)> {
    let media = open(file)?;
    let walked = seek(&media, file, 0).map(|cursor| {
        file.all_buffered = true;
        let walked = walk(&media, file, cursor.clone());
        file.all_buffered = false;
        file.held = (0, 0);
        let again = walk(&media, file, cursor);
        // A walk that reads as it goes may be cut by its number of reads.
        let same = again.samples.iter().zip(&walked.samples).all(|(a, b)| a == b);
        assert!(same && again.samples.len() <= walked.samples.len(), "what is in memory makes a difference");
        walked
    });
    Some((media, walked.unwrap_or_default()))
}

/// From this size on a film is sought in less often: each seek may search megabytes for its place.
const LARGE_BYTES: u64 = 1 << 20;

/// Times worth seeking to, by the film's length and two choices of the input's.
pub(crate) fn targets(media: &Media, file: &File, data: &[u8]) -> impl Iterator<Item = u64> + use<> {
    let mut tail = Input::new(&data[data.len().saturating_sub(6)..]);
    let end_ms = media.duration_ms as u64;
    let chosen = |choice: u64| choice % end_ms.clamp(1, 1 << 40);
    let (a, b) = (chosen(u64::from(tail.u16())), chosen(u64::from(tail.u32())));
    let targets = [a, u64::MAX, b, end_ms.saturating_sub(1), end_ms.saturating_add(1)];
    targets.into_iter().take(if file.size < LARGE_BYTES { 5 } else { 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_plays() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (kind, films) in [("flv", 8), ("mp4", 9), ("mp3", 7)] {
            let files: Vec<_> =
                std::fs::read_dir(corpus.join(kind)).unwrap().map(|e| e.unwrap().path()).collect();
            assert!(files.len() >= films, "{kind}: {}", files.len());
            for path in files {
                let mut file = File::described(&std::fs::read(&path).unwrap(), 1 << 40);
                let (_, walked) = open_and_walk(&mut file).unwrap_or_else(|| panic!("{}", path.display()));
                assert!(walked.samples.len() >= 3, "{}: {}", path.display(), walked.samples.len());
            }
        }
    }

    #[test]
    fn a_described_file_is_its_parts_repeated() {
        let mut file = File::described(b"@\0\x03\x01abc\0\x01\x0dz\0\x02\x00!?", 1 << 40);
        assert_eq!(file.size(), 6 + 8192 + 2);
        assert_eq!(File::described(b"@\0\x03\x01abc\0\x01\x0dz\0\x02\x00!?", 1000).size(), 1000);
        assert_eq!(&file.slice(4, 4)[..], b"bczz");
        assert_eq!(&file.slice(8196, 100)[..], b"zz!?");
        file.all_buffered = true;
        assert!(file.buffered(8190, 10).is_some() && file.buffered(8190, 11).is_none());
    }
}
