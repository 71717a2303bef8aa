//! The folder of a spool: what its files are called, whose it is, and that nobody else uses it.
//!
//! | file | what |
//! |---|---|
//! | `lock` | locked by the process that uses the folder |
//! | `epochs` | the edge's id, and the epochs of its segments, one a process, the current one last |
//! | `EPOCH-NUMBER.part` | the segment being written |
//! | `EPOCH-NUMBER.seg` | a sealed one; empty: one that is gone already, whose number must be remembered a little longer |
//! | `EPOCH-NUMBER.damaged` | one that can't be shipped; for a person to look at |
//! | `EPOCH-NUMBER.gone` | empty: the youngest segment of the running process that was shipped or given up, see [`super::recover`](mod@super::recover) |
//! | `sessions` | the journal of open sessions, see [`super::journal`] |
//! | `*.new` | a file being replaced |

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use proto::access_log::frame::{Kind, put};
use proto::access_log::segment::EPOCH_CHARS;
use proto::access_log::{Frames, SegmentId};
use rand::Rng;

use super::SpoolError;
use super::disk::{Disk, replace};

const FIRST_LINE: &str = "penstock access-log spool 1";

/// What a segment's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    /// Being written.
    Part,
    /// Sealed.
    Sealed,
    /// Set aside.
    Damaged,
    /// Only a name: it is not there any more.
    Gone,
}

impl FileState {
    fn extension(self) -> &'static str {
        match self {
            Self::Part => "part",
            Self::Sealed => "seg",
            Self::Damaged => "damaged",
            Self::Gone => "gone",
        }
    }
}

fn path(folder: &Path, id: &SegmentId, state: FileState) -> PathBuf {
    folder.join(format!("{}-{:020}.{}", id.epoch, id.number, state.extension()))
}

/// Where a segment stands while it is written.
pub(crate) fn part_path(folder: &Path, id: &SegmentId) -> PathBuf {
    path(folder, id, FileState::Part)
}

/// Where it stands once sealed.
pub(crate) fn sealed_path(folder: &Path, id: &SegmentId) -> PathBuf {
    path(folder, id, FileState::Sealed)
}

/// Where it stands if it can't be shipped.
pub(crate) fn damaged_path(folder: &Path, id: &SegmentId) -> PathBuf {
    path(folder, id, FileState::Damaged)
}

/// What tells that it was there and is gone.
pub(crate) fn gone_path(folder: &Path, id: &SegmentId) -> PathBuf {
    path(folder, id, FileState::Gone)
}

/// Reads a segment's file name: epoch, number, state.
pub(crate) fn parse(name: &str) -> Option<(String, u64, FileState)> {
    let (stem, extension) = name.split_once('.')?;
    let states = [FileState::Part, FileState::Sealed, FileState::Damaged, FileState::Gone];
    let state = states.into_iter().find(|s| s.extension() == extension)?;
    let (epoch, digits) = stem.split_once('-')?;
    let number = digits.parse().ok().filter(|n| *n > 0 && digits == format!("{n:020}"))?;
    is_epoch(epoch).then(|| (epoch.to_owned(), number, state))
}

fn is_epoch(text: &str) -> bool {
    text.len() == EPOCH_CHARS && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

/// A new epoch: 82 bits that no other process has drawn.
pub(crate) fn draw_epoch() -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut random = rand::rng();
    (0..EPOCH_CHARS).map(|_| char::from(DIGITS[random.random_range(0..DIGITS.len())])).collect()
}

/// Makes the folder if need be and locks it for as long as the file is held.
pub(crate) fn claim(folder: &Path) -> Result<File, SpoolError> {
    let failed = |source: io::Error| SpoolError::Io { path: folder.into(), source };
    if !folder.is_dir() {
        let parent = folder.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(failed)?;
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
    }
    let mut options = OpenOptions::new();
    let lock = options.write(true).create(true).truncate(false).mode(0o600).open(folder.join("lock"));
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { path: folder.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The epochs of a folder, in the order in which they were drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epochs(pub(crate) Vec<String>);

impl Epochs {
    /// Reads them; none if the folder is new, or its file can't be read as ours.
    pub(crate) fn read(disk: &dyn Disk, folder: &Path, edge_id: &str) -> Result<Self, SpoolError> {
        let path = folder.join("epochs");
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(SpoolError::Io { path, source }),
        };
        let Some((owner, epochs)) = decode(bytes) else {
            tracing::error!(path = %path.display(), "the epochs of the spool can't be read: a new one begins");
            return Ok(Self::default());
        };
        if owner != edge_id {
            // Its segments may have been handed over in the other's name: in this one's they would count twice.
            return Err(SpoolError::OtherEdge { path: folder.into(), owner, edge_id: edge_id.into() });
        }
        Ok(Self(epochs))
    }

    /// Writes them.
    pub(crate) fn write(&self, disk: &dyn Disk, folder: &Path, edge_id: &str) -> io::Result<()> {
        let mut text = format!("{FIRST_LINE}\nedge {edge_id}\n");
        for epoch in &self.0 {
            text.push_str(&format!("epoch {epoch}\n"));
        }
        let mut file = BytesMut::new();
        put(Kind::Private, text.as_bytes(), &mut file);
        replace(disk, folder, &folder.join("epochs"), &file)
    }

    /// Where in the order an epoch stands; one that isn't listed comes before all.
    pub(crate) fn rank(&self, epoch: &str) -> usize {
        self.0.iter().position(|e| e == epoch).map_or(0, |at| at + 1)
    }
}

fn decode(file: Vec<u8>) -> Option<(String, Vec<String>)> {
    let mut frames = Frames::new(file.into());
    let payload = frames.next()?.ok()?.payload;
    let body = std::str::from_utf8(&payload).ok().filter(|_| frames.next().is_none())?;
    let mut lines = body.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let owner = lines.next()?.strip_prefix("edge ")?.to_owned();
    let epochs: Option<Vec<_>> =
        lines.map(|line| line.strip_prefix("epoch ").filter(|e| is_epoch(e)).map(str::to_owned)).collect();
    Some((owner, epochs.filter(|e| !e.is_empty())?))
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::*;

    #[test]
    fn names_of_files_are_read_as_they_were_made() {
        let id = SegmentId { edge_id: "e".into(), epoch: draw_epoch(), number: 7 };
        for (path, state) in [
            (part_path(Path::new("f"), &id), FileState::Part),
            (sealed_path(Path::new("f"), &id), FileState::Sealed),
            (damaged_path(Path::new("f"), &id), FileState::Damaged),
            (gone_path(Path::new("f"), &id), FileState::Gone),
        ] {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(parse(name), Some((id.epoch.clone(), 7, state)), "{name}");
        }
        for name in
            ["lock", "sessions", "0123456789abcdef-7.seg", "0123456789abcdef-00000000000000000000.seg"]
        {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("deep/spool");
        let held = claim(&folder).unwrap();
        assert!(matches!(claim(&folder), Err(SpoolError::InUse { .. })));
        drop(held);
        claim(&folder).unwrap();
    }

    #[test]
    fn epochs_are_read_back_and_belong_to_one_edge() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = Epochs(vec![draw_epoch(), draw_epoch()]);
        assert_eq!(Epochs::read(&RealDisk, dir.path(), "edge-1").unwrap(), Epochs::default());
        epochs.write(&RealDisk, dir.path(), "edge-1").unwrap();
        assert_eq!(Epochs::read(&RealDisk, dir.path(), "edge-1").unwrap(), epochs);
        assert!(matches!(Epochs::read(&RealDisk, dir.path(), "edge-2"), Err(SpoolError::OtherEdge { .. })));
        assert!(epochs.rank(&epochs.0[0]) < epochs.rank(&epochs.0[1]));
        assert!(epochs.rank("0000000000000000") < epochs.rank(&epochs.0[0]));
        // Damaged: nothing is believed.
        let path = dir.path().join("epochs");
        let mut bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_eq!(
                Epochs::read(&RealDisk, dir.path(), "edge-1").unwrap(),
                Epochs::default(),
                "byte {at}"
            );
            bytes[at] ^= 1;
        }
    }
}
