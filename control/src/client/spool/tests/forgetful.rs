//! A disk in memory that forgets what was not synced when the power goes, and can die at any byte before.
//!
//! What a cut leaves is drawn: of a file's bytes since its last sync none, all, some of them from the front, zeros in their place, or blocks here and
//! there with zeros between; of the folder's names since it was last synced none, all, the first of the changes, or any of them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::Rng;
use rand::rngs::StdRng;

use super::world::Mortal;
use crate::client::spool::disk::{Disk, DiskFile, Found};

/// Bytes that are written or not as one: small, so that holes fall into the middle of what a test writes.
const BLOCK_BYTES: usize = 64;

#[derive(Debug, Default)]
struct Inode {
    data: Vec<u8>,
    synced: Vec<u8>,
}

/// A change of names that happens or does not.
#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
}

fn change(names: &mut BTreeMap<PathBuf, usize>, change: Change) {
    match change {
        Change::Link(path, inode) => drop(names.insert(path, inode)),
        Change::Unlink(path) => drop(names.remove(&path)),
        Change::Rename(from, to, inode) => {
            names.remove(&from);
            names.insert(to, inode);
        }
    }
}

#[derive(Debug, Default)]
struct State {
    // Bytes and acts until it dies.
    left: Option<u64>,
    used: u64,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    synced: BTreeMap<PathBuf, usize>,
    // Since the folder was last synced.
    changes: Vec<Change>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForgetfulDisk(Arc<Mutex<State>>);

fn killed() -> io::Error {
    io::Error::other("killed")
}

impl State {
    fn spend(&mut self, units: u64) -> Option<u64> {
        let granted = self.left.map_or(units, |left| left.min(units));
        self.left = self.left.map(|left| left - granted);
        self.used += granted;
        // The last unit is the blow.
        if self.left == Some(0) { (granted > 1).then(|| granted - 1) } else { Some(granted) }
    }

    fn act(&mut self) -> io::Result<()> {
        self.spend(1).map(drop).ok_or_else(killed)
    }

    fn alive(&self) -> io::Result<()> {
        if self.left == Some(0) { Err(killed()) } else { Ok(()) }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&mut self, by: Change) {
        change(&mut self.names, by.clone());
        self.changes.push(by);
    }
}

impl ForgetfulDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Bytes and acts so far.
    pub(crate) fn used(&self) -> u64 {
        self.lock().used
    }

    /// The next process begins, and all fails after so many bytes and acts.
    pub(crate) fn lives_for(&self, units: Option<u64>) {
        self.lock().left = units;
    }

    /// The power is gone, and with it some of what was not synced.
    pub(crate) fn cut_power(&self, random: &mut StdRng) {
        let mut state = self.lock();
        let changes = std::mem::take(&mut state.changes);
        let mut names = state.synced.clone();
        let kept = match random.random_range(0..6) {
            0 => 0,
            1 | 2 => changes.len(),
            _ => random.random_range(0..=changes.len()),
        };
        // In any order but the one in which they were made.
        let at_random = random.random_range(0..4) == 0;
        for (at, by) in changes.into_iter().enumerate() {
            let happens = if at_random { random.random() } else { at < kept };
            if happens {
                change(&mut names, by);
            }
        }
        (state.synced, state.names) = (names.clone(), names);
        for inode in &mut state.inodes {
            let after = after_cut(&inode.synced, &inode.data, random);
            (inode.synced, inode.data) = (after.clone(), after);
        }
    }
}

/// What a file of these bytes has after a cut, of which those are synced.
fn after_cut(synced: &[u8], data: &[u8], random: &mut StdRng) -> Vec<u8> {
    let tail = match data.strip_prefix(synced) {
        Some(tail) => tail,
        // It was cut short since.
        None => return if random.random() { synced } else { data }.to_vec(),
    };
    let front = random.random_range(0..=tail.len());
    let mut after = tail.to_vec();
    match random.random_range(0..6) {
        0 => after.clear(),
        1 => {}
        2 => after.truncate(front),
        3 => after.fill(0),
        4 => after[front..].fill(0),
        _ => after.chunks_mut(BLOCK_BYTES).filter(|_| random.random()).for_each(|block| block.fill(0)),
    }
    [synced, &after].concat()
}

impl Mortal for ForgetfulDisk {
    fn is_dead(&self) -> bool {
        self.lock().left == Some(0)
    }
}

#[derive(Debug)]
struct ForgetfulFile {
    disk: ForgetfulDisk,
    inode: usize,
}

impl DiskFile for ForgetfulFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.lock();
        if let Some(granted) = state.spend(bytes.len() as u64) {
            state.inodes[self.inode].data.extend_from_slice(&bytes[..granted as usize]);
        }
        state.alive().map(|()| bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.act()?;
        let inode = &mut state.inodes[self.inode];
        inode.synced.clone_from(&inode.data);
        Ok(())
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.act()?;
        state.inodes[self.inode].data.truncate(bytes as usize);
        Ok(())
    }

    fn is_at(&self, path: &Path) -> bool {
        self.disk.lock().names.get(path) == Some(&self.inode)
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        let state = self.disk.lock();
        state.alive().map(|()| state.inodes[self.inode].data.clone())
    }
}

impl Disk for ForgetfulDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.act()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.rename(Change::Link(path.into(), inode));
        Ok(Box::new(ForgetfulFile { disk: self.clone(), inode }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.lock();
        state.alive()?;
        Ok(Box::new(ForgetfulFile { disk: self.clone(), inode: state.find(path)? }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.lock();
        state.alive()?;
        Ok(state.inodes[state.find(path)?].data.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.act()?;
        let inode = state.find(from)?;
        state.rename(Change::Rename(from.into(), to.into(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.find(path).is_err() {
            return Ok(());
        }
        state.act()?;
        state.rename(Change::Unlink(path.into()));
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Found>> {
        let state = self.lock();
        state.alive()?;
        let found = |(path, inode): (&PathBuf, &usize)| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            Found { name, bytes: state.inodes[*inode].data.len() as u64, modified_ms: 0 }
        };
        Ok(state.names.iter().filter(|(path, _)| path.parent() == Some(folder)).map(found).collect())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.act()?;
        state.changes.clear();
        state.synced = state.names.clone();
        Ok(())
    }
}
