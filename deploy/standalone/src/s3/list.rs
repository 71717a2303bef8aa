//! Listings: a bucket's keys in S3's order, a page at a time, without reading the whole tree.
//!
//! S3 orders keys by their bytes. A folder's entries come in that order if its subfolders are sorted with their slash: `a.b` (0x2e)
//! stands before `a/x` (0x2f) and `a/x` before `a0`. So [`Walk`] goes depth first, and of each folder holds only the next
//! [`BATCH`] names past the point it has reached; a larger folder is read again for the names after those. Memory is a few batches
//! however large the bucket; time is proportional to the folders a page touches.

use std::collections::{BinaryHeap, VecDeque};
use std::fs::{self, DirEntry};
use std::io::{ErrorKind, Result};
use std::path::PathBuf;

use super::bucket::Bucket;
use super::path::{KEY_BYTES, is_name};
use super::version::Version;

/// Names of one folder held at once.
const BATCH: usize = 1024;
/// Folders deep a listing goes: keys of 1024 bytes allow 512, links could lead round and round.
const DEPTH: usize = 512;

/// What has been listed already.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    /// Nothing.
    Start,
    /// All keys up to this one.
    After(String),
    /// All keys up to and including those that begin with this.
    Past(String),
}

impl Bound {
    fn covers_key(&self, key: &str) -> bool {
        match self {
            Self::Start => false,
            Self::After(last) => key <= last.as_str(),
            Self::Past(prefix) => key < prefix.as_str() || key.starts_with(prefix.as_str()),
        }
    }

    /// Whether every key below a folder (its name with the slash) is covered.
    fn covers_folder(&self, folder: &str) -> bool {
        match self {
            Self::Start => false,
            Self::After(last) => last.as_str() > folder && !last.starts_with(folder),
            Self::Past(prefix) => {
                folder.starts_with(prefix.as_str())
                    || (prefix.as_str() > folder && !prefix.starts_with(folder))
            }
        }
    }

    /// An opaque continuation token.
    pub(crate) fn to_token(&self) -> Option<String> {
        match self {
            Self::Start => None,
            Self::After(last) => Some(hex::encode(format!("k{last}"))),
            Self::Past(prefix) => Some(hex::encode(format!("p{prefix}"))),
        }
    }

    /// From a token given out earlier.
    pub(crate) fn from_token(token: &str) -> Option<Self> {
        let text = String::from_utf8(hex::decode(token).ok()?).ok()?;
        match text.split_at_checked(1)? {
            ("k", last) => Some(Self::After(last.to_owned())),
            ("p", prefix) => Some(Self::Past(prefix.to_owned())),
            _ => None,
        }
    }
}

/// What to list.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// Only keys that begin so.
    pub(crate) prefix: String,
    /// Keys alike up to the first of these after the prefix are folded into one common prefix.
    pub(crate) delimiter: Option<String>,
    /// Where the last page ended.
    pub(crate) bound: Bound,
    /// Most keys and common prefixes together.
    pub(crate) max: usize,
}

/// An object found.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Its key.
    pub(crate) key: String,
    /// Its version now.
    pub(crate) version: Version,
}

/// One page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Objects, in order.
    pub(crate) objects: Vec<Listed>,
    /// Common prefixes, in order.
    pub(crate) prefixes: Vec<String>,
    /// Where the next page starts, if there is more.
    pub(crate) next: Option<Bound>,
}

/// Lists one page. Blocks on the disk.
pub(crate) fn page(bucket: &Bucket, query: &Query) -> Result<Page> {
    let mut page = Page::default();
    if query.max == 0 {
        return Ok(page);
    }
    let mut walk = Walk::new(bucket, &query.prefix, query.bound.clone())?;
    while let Some(found) = walk.next()? {
        if page.objects.len() + page.prefixes.len() == query.max {
            page.next = Some(walk.reached);
            break;
        }
        let folded = query.delimiter.as_deref().and_then(|delimiter| {
            let rest = found.key.get(query.prefix.len()..)?;
            let end = query.prefix.len() + rest.find(delimiter)? + delimiter.len();
            Some(found.key[..end].to_owned())
        });
        match folded {
            Some(prefix) => {
                walk.pass(Bound::Past(prefix.clone()));
                page.prefixes.push(prefix);
            }
            None => {
                walk.pass(Bound::After(found.key.clone()));
                page.objects.push(found);
            }
        }
    }
    Ok(page)
}

/// Whether a bucket has any object.
pub(crate) fn is_empty(bucket: &Bucket) -> Result<bool> {
    Ok(Walk::new(bucket, "", Bound::Start)?.next()?.is_none())
}

/// A name in a folder; subfolders with their slash.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    name: String,
    /// Canonical, for folders.
    folder: Option<PathBuf>,
}

/// A folder the walk stands in.
struct Level {
    /// What its keys begin with: empty or ending in a slash.
    prefix: String,
    folder: PathBuf,
    batch: VecDeque<Entry>,
    /// The last name fetched.
    last: Option<String>,
    /// Whether there may be names after the batch.
    more: bool,
}

struct Walk<'a> {
    bucket: &'a Bucket,
    prefix: &'a str,
    reached: Bound,
    levels: Vec<Level>,
}

impl<'a> Walk<'a> {
    /// Starts in the deepest folder the prefix names: others can't hold matching keys.
    fn new(bucket: &'a Bucket, prefix: &'a str, bound: Bound) -> Result<Self> {
        let mut walk = Self { bucket, prefix, reached: bound, levels: Vec::new() };
        let start = match prefix.rsplit_once('/') {
            None => Ok(bucket.root.clone()),
            Some((folder, _)) if goes_round(bucket, folder) => Err(ErrorKind::NotFound.into()),
            Some((folder, _)) => bucket.locate(folder),
        };
        match start {
            Ok(folder) => walk.enter(prefix[..prefix.rfind('/').map_or(0, |i| i + 1)].to_owned(), folder),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(walk)
    }

    fn enter(&mut self, prefix: String, folder: PathBuf) {
        self.levels.push(Level { prefix, folder, batch: VecDeque::new(), last: None, more: true });
    }

    /// Moves on: nothing the bound covers will be found any more.
    fn pass(&mut self, bound: Bound) {
        self.reached = bound;
        while self
            .levels
            .last()
            .is_some_and(|level| !level.prefix.is_empty() && self.reached.covers_folder(&level.prefix))
        {
            self.levels.pop();
        }
    }

    /// The next object; the caller then passes it.
    fn next(&mut self) -> Result<Option<Listed>> {
        while let Some(level) = self.levels.last_mut() {
            let Some(entry) = level.batch.pop_front() else {
                if level.more {
                    self.fetch()?;
                } else {
                    self.levels.pop();
                }
                continue;
            };
            let key = format!("{}{}", level.prefix, entry.name);
            let path = level.folder.join(&entry.name);
            if !self.wants(&key) {
                continue;
            }
            match entry.folder {
                Some(folder) if self.levels.len() < DEPTH => self.enter(key, folder),
                Some(_) => {}
                None => {
                    // Looked at only now: a batch may hold many more names than the page needs.
                    match fs::metadata(path) {
                        Ok(metadata) if metadata.is_file() => {
                            return Ok(Some(Listed { key, version: Version::of(&metadata) }));
                        }
                        _ => continue,
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether a key, or some key below a folder (which ends in a slash), is still to be listed.
    fn wants(&self, key: &str) -> bool {
        if key.ends_with('/') {
            (key.starts_with(self.prefix) || self.prefix.starts_with(key)) && !self.reached.covers_folder(key)
        } else {
            key.len() <= KEY_BYTES && key.starts_with(self.prefix) && !self.reached.covers_key(key)
        }
    }

    /// Fetches the innermost folder's next batch.
    fn fetch(&mut self) -> Result<()> {
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        // The greatest name on top, to be dropped when a smaller one comes.
        let mut smallest = BinaryHeap::new();
        level.more = false;
        let entries = match fs::read_dir(&level.folder) {
            Ok(entries) => entries,
            // Removed since, not readable, or a file that a prefix takes for a folder: it lists nothing, as nothing below it can be read.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory
                ) =>
            {
                self.levels.push(level);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let Some(entry) = self.entry(&level, &entry?)? else { continue };
            if level.last.as_ref().is_some_and(|last| entry.name <= *last)
                || !self.wants(&format!("{}{}", level.prefix, entry.name))
            {
                continue;
            }
            smallest.push(entry);
            if smallest.len() > BATCH {
                smallest.pop();
                level.more = true;
            }
        }
        level.batch = smallest.into_sorted_vec().into();
        level.last = level.batch.back().map(|entry| entry.name.clone());
        self.levels.push(level);
        Ok(())
    }

    /// What a directory entry is to S3, if anything. Links count as what they lead to inside the bucket.
    fn entry(&self, level: &Level, entry: &DirEntry) -> Result<Option<Entry>> {
        let Ok(name) = entry.file_name().into_string() else { return Ok(None) };
        if !is_name(&name) || (self.bucket.hide_dot_names && name.starts_with('.')) {
            return Ok(None);
        }
        let kind = entry.file_type()?;
        if kind.is_file() {
            return Ok(Some(Entry { name, folder: None }));
        }
        if kind.is_dir() {
            let folder = entry.path();
            return Ok(self.bucket.holds(&folder).then(|| Entry { name: name + "/", folder: Some(folder) }));
        }
        if !kind.is_symlink() {
            return Ok(None);
        }
        let Ok(target) = fs::canonicalize(entry.path()) else { return Ok(None) };
        if !self.bucket.holds(&target) {
            return Ok(None);
        }
        if !target.is_dir() {
            return Ok(Some(Entry { name, folder: None }));
        }
        // A link to a folder we stand in, or above it, would list for ever.
        let loops =
            level.folder.starts_with(&target) || self.levels.iter().any(|l| l.folder.starts_with(&target));
        Ok((!loops).then(|| Entry { name: name + "/", folder: Some(target) }))
    }
}

/// Whether a link on the way to a folder leads to one above it: a walk from the bucket's root would not have come this way.
fn goes_round(bucket: &Bucket, folder: &str) -> bool {
    let mut passed = vec![bucket.root.clone()];
    for name in folder.split('/').filter(|name| is_name(name)) {
        let Some(next) = passed.last().and_then(|last| fs::canonicalize(last.join(name)).ok()) else { break };
        if passed.iter().any(|folder| folder.starts_with(&next)) {
            return true;
        }
        passed.push(next);
    }
    false
}

#[cfg(test)]
mod tests;
