//! A disk in memory: what the fuzz target finds its folders on, thousands a second. It never fails; faults are the tests' matter.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::spool::disk::{Disk, DiskFile, Found};

type Content = Arc<Mutex<Vec<u8>>>;
type Files = BTreeMap<PathBuf, Content>;

/// See the module. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<Files>>);

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryDisk {
    /// Puts a file there.
    pub(super) fn put(&self, path: PathBuf, bytes: Vec<u8>) {
        lock(&self.0).insert(path, Arc::new(Mutex::new(bytes)));
    }

    /// Names and contents of all files.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        lock(&self.0).iter().map(|(path, bytes)| (name(path), lock(bytes).clone())).collect()
    }

    fn find(&self, path: &Path) -> io::Result<Content> {
        lock(&self.0).get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(MemoryFile { disk: self.clone(), content: self.find(path)? }))
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    content: Content,
}

impl DiskFile for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.content).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        lock(&self.content).resize(usize::try_from(bytes).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn is_at(&self, path: &Path) -> bool {
        self.disk.find(path).is_ok_and(|there| Arc::ptr_eq(&there, &self.content))
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        Ok(lock(&self.content).clone())
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.put(path.to_owned(), Vec::new());
        self.open(path)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(lock(&*self.find(path)?).clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = lock(&self.0);
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lock(&self.0).remove(path);
        Ok(())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Found>> {
        let found =
            |(name, bytes): (String, Vec<u8>)| Found { name, bytes: bytes.len() as u64, modified_ms: 0 };
        Ok(self.files().into_iter().map(found).collect())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
