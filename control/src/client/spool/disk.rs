//! What a spool asks of a disk: the seam at which tests make it full, failing, slow, or dead in the middle of a word.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its name; names that are no UTF-8 are none of ours and are left out.
    pub(crate) name: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// When it was last written, in ms since 1970; 0 where the system can't tell.
    pub(crate) modified_ms: u64,
}

/// A file being written, at its end.
pub(crate) trait DiskFile: Send + std::fmt::Debug {
    /// One write(2); may take fewer bytes than offered.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Waits until all that was written is on the medium.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts it to `bytes`; writing goes on there.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
    /// Whether this is what stands under `path`. False if that can't be told.
    fn is_at(&self, path: &Path) -> bool;
    /// All of it, also if it has no name any more.
    fn content(&self) -> io::Result<Vec<u8>>;
}

/// Files and folders.
pub(crate) trait Disk: Send + Sync + std::fmt::Debug + 'static {
    /// Makes a file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens one that does, at its end.
    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// All of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Gives a file another name in its folder; one that has that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; one that isn't there is no error.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The files of a folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<Found>>;
    /// Waits until the folder's names are on the medium.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The machine's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RealDisk;

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn is_at(&self, path: &Path) -> bool {
        is_same(&self.0, path)
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.0.metadata()?.len()).unwrap_or(usize::MAX)];
        self.0.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        // Addresses of viewers and signed names stand in here: nobody else may read it.
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).append(true).open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (Ok(name), about) = (entry.file_name().into_string(), entry.metadata()?) else { continue };
            if !about.is_file() {
                continue;
            }
            let modified = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let modified_ms = modified.map_or(0, |since| since.as_millis() as u64);
            found.push(Found { name, bytes: about.len(), modified_ms });
        }
        Ok(found)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

/// Whether an open file is what stands under `path`.
pub(crate) fn is_same(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// Writes all of `bytes`, over short writes and interruptions; on failure says how many stand.
pub(crate) fn write_all(file: &mut dyn DiskFile, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write(&bytes[done..]) {
            Ok(0) => return Err((done, io::ErrorKind::WriteZero.into())),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err((done, e)),
        }
    }
    Ok(())
}

/// Whether more room would help.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), StorageFull | QuotaExceeded | WriteZero | FileTooLarge)
}

/// Puts `bytes` under `path` whole or not at all: a temporary name beside it, synced, renamed.
pub(crate) fn replace(disk: &dyn Disk, folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    disk.remove(&temporary)?;
    let mut file = disk.create(&temporary)?;
    let written = write_all(&mut *file, bytes).map_err(|(_, e)| e).and_then(|()| file.sync());
    drop(file);
    let placed = written.and_then(|()| disk.rename(&temporary, path));
    if placed.is_err() {
        // Room it may have taken is given back; what doesn't go now goes at the next start.
        let _ = disk.remove(&temporary);
    }
    placed.and_then(|()| disk.sync_folder(folder))
}
