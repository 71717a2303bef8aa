//! A disk that can be full, fail, take a word in pieces, hang, and die at any byte. What stands on it is real; only syncs are not, for speed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use crate::client::spool::disk::{Disk, DiskFile, Found, RealDisk};

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Create,
    Write,
    Cut,
    Sync,
    Read,
    Rename,
    Remove,
}

#[derive(Debug, Default)]
struct State {
    // Bytes and acts until the machine is killed.
    left: Option<u64>,
    used: u64,
    failing: Vec<Act>,
    capacity: Option<u64>,
    piece: Option<usize>,
    hangs: bool,
    hanging: usize,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultyDisk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    moved: Condvar,
}

fn killed() -> io::Error {
    io::Error::other("killed")
}

impl FaultyDisk {
    /// Everything fails after `units` bytes and acts; a write stands as far as they go.
    pub(crate) fn dies_after(units: u64) -> Self {
        let disk = Self::default();
        disk.0.state.lock().unwrap().left = Some(units);
        disk
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.state.lock().unwrap().left == Some(0)
    }

    /// Bytes and acts so far.
    pub(crate) fn used(&self) -> u64 {
        self.0.state.lock().unwrap().used
    }

    /// These fail from now on, with EIO.
    pub(crate) fn fail(&self, acts: &[Act]) {
        self.0.state.lock().unwrap().failing = acts.to_vec();
    }

    /// The folder takes so many bytes and no more.
    pub(crate) fn holds(&self, bytes: Option<u64>) {
        self.0.state.lock().unwrap().capacity = bytes;
    }

    /// A write takes no more than this.
    pub(crate) fn takes(&self, bytes: usize) {
        self.0.state.lock().unwrap().piece = Some(bytes);
    }

    /// Writes and syncs wait until this is taken back.
    pub(crate) fn hang(&self, hangs: bool) {
        self.0.state.lock().unwrap().hangs = hangs;
        self.0.moved.notify_all();
    }

    /// Whether somebody waits.
    pub(crate) fn is_hanging(&self) -> bool {
        self.0.state.lock().unwrap().hanging > 0
    }

    fn spend(&self, units: u64) -> Option<u64> {
        let mut state = self.0.state.lock().unwrap();
        let granted = state.left.map_or(units, |left| left.min(units));
        state.left = state.left.map(|left| left - granted);
        state.used += granted;
        // The last unit is the blow: an act at it does not happen, a write loses its last byte.
        if state.left == Some(0) { (granted > 1).then(|| granted - 1) } else { Some(granted) }
    }

    fn act(&self, act: Act) -> io::Result<()> {
        if self.0.state.lock().unwrap().failing.contains(&act) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.spend(1).map(drop).ok_or_else(killed)
    }

    fn wait(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.hanging += 1;
        let mut state = self.0.moved.wait_while(state, |state| state.hangs).unwrap();
        state.hanging -= 1;
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    file: Box<dyn DiskFile>,
    folder: PathBuf,
}

impl DiskFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.wait();
        let (capacity, piece, fails) = {
            let state = self.disk.0.state.lock().unwrap();
            (state.capacity, state.piece, state.failing.contains(&Act::Write))
        };
        if fails {
            return Err(io::Error::from_raw_os_error(5));
        }
        let mut most = bytes.len().min(piece.unwrap_or(usize::MAX));
        if let Some(capacity) = capacity {
            let held: u64 = RealDisk.list(&self.folder)?.iter().map(|file| file.bytes).sum();
            most = most.min(capacity.saturating_sub(held) as usize);
            if most == 0 && !bytes.is_empty() {
                return Err(io::Error::from_raw_os_error(28));
            }
        }
        let granted = self.disk.spend(most as u64);
        if let Some(granted) = granted {
            self.file.write(&bytes[..granted as usize])?;
        }
        if self.disk.is_dead() { Err(killed()) } else { Ok(most) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.wait();
        self.disk.act(Act::Sync)
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.act(Act::Cut)?;
        self.file.cut(bytes)
    }

    fn is_at(&self, path: &Path) -> bool {
        self.file.is_at(path)
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        if self.disk.0.state.lock().unwrap().failing.contains(&Act::Read) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.disk.is_dead() { Err(killed()) } else { self.file.content() }
    }
}

impl FaultyDisk {
    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let folder = path.parent().unwrap().to_owned();
        Box::new(FaultyFile { disk: self.clone(), file, folder })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.act(Act::Create)?;
        Ok(self.file(path, RealDisk.create(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.is_dead() {
            return Err(killed());
        }
        Ok(self.file(path, RealDisk.append(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if self.0.state.lock().unwrap().failing.contains(&Act::Read) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.is_dead() { Err(killed()) } else { RealDisk.read(path) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(Act::Rename)?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !fs::exists(path)? {
            return Ok(());
        }
        self.act(Act::Remove)?;
        RealDisk.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Found>> {
        if self.is_dead() { Err(killed()) } else { RealDisk.list(folder) }
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.act(Act::Sync)
    }
}
