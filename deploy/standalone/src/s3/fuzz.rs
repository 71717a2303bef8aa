//! Fuzz targets: keys and listings of the embedded S3, in real folders with links that lead out of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use proto::fuzzing::Input;
use proto::object::check_key;
use s3s::host::S3Host;
use tempfile::TempDir;

use super::access::Hosts;
use super::bucket::{Bucket, Buckets, is_bucket_name};
use super::list::{Bound, Query, page};
use super::{MEDIA_BUCKET, MediaSource, path};

/// What lies outside the bucket, and must never be read.
const SECRET: &[u8] = b"outside";
/// Names that keys and folders are made of: with links in and out, in the order of bytes and against it, hidden, composed.
const NAMES: &[&str] =
    &["a", "b", "a.b", "a0", "a-", ".hidden", "\u{e9}", "e\u{301}", "out", "in", "up", "file", "A", "..."];
/// Entries made in a folder that is listed.
const ENTRIES: usize = 12;
/// Pages a listing of them may have.
const PAGES: usize = 64;

/// A data folder with a secret, and the bucket `media` beside it.
struct Place {
    folder: TempDir,
    bucket: Bucket,
    buckets: Buckets,
}

fn place() -> Place {
    fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
        result.unwrap_or_else(|error| panic!("the folder can't be made: {error}"))
    }
    // In memory where the system has such a folder: thousands are made.
    let folder = done(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()));
    let at = |name: &str| folder.path().join(name);
    done(fs::create_dir_all(at("media")));
    done(fs::create_dir_all(at("outside/folder")));
    done(fs::write(at("outside/file"), SECRET));
    done(fs::write(at("outside/folder/file"), SECRET));
    let buckets = done(Buckets::open(&at("data"), &MediaSource::Folder(at("media"))));
    let bucket = done(buckets.find(MEDIA_BUCKET));
    Place { folder, bucket, buckets }
}

impl Place {
    fn root(&self) -> PathBuf {
        self.bucket.root.clone()
    }

    /// The bytes behind a key; panics if they are not the bucket's.
    fn read(&self, key: &str) -> Option<Vec<u8>> {
        let mut file = self.bucket.open(key).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        assert_ne!(bytes, SECRET, "{key:?} leads outside");
        Some(bytes)
    }
}

/// A key made of known names, or of the bytes as they are.
fn key(input: &mut Input<'_>) -> String {
    if input.coin() {
        return String::from_utf8_lossy(input.rest()).into_owned();
    }
    let mut key = String::new();
    while !input.is_empty() {
        match input.below(NAMES.len() + 4) {
            0 => key.push_str(".."),
            1 => key.push('.'),
            2 => key.push_str("//"),
            3 => key.push_str(&String::from_utf8_lossy(input.short())),
            name => key.push_str(NAMES[name - 4]),
        }
        if !input.u8().is_multiple_of(8) && !input.is_empty() {
            key.push('/');
        }
    }
    key
}

/// A key is a path inside its bucket or nothing; what it leads to stays inside whatever links stand on the way.
pub fn s3_keys(data: &[u8]) {
    let key = key(&mut Input::new(data));
    for hidden in [false, true] {
        let Some(relative) = path::relative(&key, hidden) else { continue };
        assert_eq!(relative.to_str(), Some(&*key), "a path is its key");
        let normal = |part: Component<'_>| match part {
            Component::Normal(name) => !hidden || !name.to_string_lossy().starts_with('.'),
            _ => false,
        };
        assert!(relative.components().all(normal), "{key:?}");
        assert!(Path::new("/bucket").join(&relative).starts_with("/bucket"), "{key:?}");
        // What the disk can carry can be asked for, but for control characters.
        assert!(check_key(&key).is_ok() || key.chars().any(char::is_control), "{key:?}");
    }
    if let Ok(host) = Hosts.parse_host_header(&key)
        && let Some(bucket) = host.bucket()
    {
        assert!(key.starts_with(bucket));
    }

    let place = place();
    let root = place.root();
    let outside = place.folder.path().join("outside");
    let made = fs::create_dir_all(root.join("a/b"))
        .and_then(|()| fs::write(root.join("file"), "1"))
        .and_then(|()| fs::write(root.join("a/file"), "2"))
        .and_then(|()| fs::write(root.join("a/b/.hidden"), SECRET))
        .and_then(|()| symlink(&outside, root.join("out")))
        .and_then(|()| symlink(outside.join("file"), root.join("a/out")))
        .and_then(|()| symlink("b", root.join("a/in")))
        .and_then(|()| symlink("..", root.join("a/up")))
        .and_then(|()| symlink("../..", root.join("up")))
        .and_then(|()| symlink(&root, outside.join("back")));
    assert!(made.is_ok(), "{made:?}");
    if let Ok(found) = place.bucket.locate(&key) {
        assert!(found.starts_with(&place.bucket.root), "{key:?} leads to {}", found.display());
    }
    let bytes = place.read(&key);
    assert!(bytes.is_none_or(|bytes| bytes == b"1" || bytes == b"2"), "{key:?}");
    // As a bucket's name it finds a folder among the buckets, or nothing.
    if let Ok(bucket) = place.buckets.find(&key) {
        assert!(key == MEDIA_BUCKET || is_bucket_name(&key) && bucket.root.starts_with(place.buckets.data()));
    }
    assert!(!place.buckets.is_public(&key) || key == MEDIA_BUCKET);
}

/// A folder of up to [`ENTRIES`] files, folders and links, listed page by page: every key that can be read and no other, once, in order.
pub fn s3_listings(data: &[u8]) {
    let mut input = Input::new(data);
    let place = place();
    let root = place.root();
    let outside = place.folder.path().join("outside");
    let mut expected = BTreeSet::new();
    for _ in 0..input.below(ENTRIES) {
        let mut name = String::new();
        for level in 0..=input.below(3) {
            name.push_str(if level > 0 { "/" } else { "" });
            name.push_str(input.choose::<&str>(NAMES));
        }
        let path = root.join(&name);
        if path.parent().is_none_or(|parent| fs::create_dir_all(parent).is_err()) {
            continue;
        }
        // Only what is really new counts: a link on the way may lead elsewhere.
        let is_plain = path
            .parent()
            .and_then(|parent| fs::canonicalize(parent).ok())
            .is_some_and(|parent| path.parent() == Some(parent.as_path()));
        if !is_plain || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let readable = match input.below(6) {
            0 => symlink(outside.join("file"), &path).is_err(),
            1 => symlink(&outside, &path).is_err(),
            2 => symlink(&root, &path).is_err(),
            3 => fs::create_dir(&path).is_err(),
            _ => fs::write(&path, "1").is_ok(),
        };
        if readable && !name.split('/').any(|part| part.starts_with('.')) {
            expected.insert(name);
        }
    }

    let text = |input: &mut Input<'_>| match input.below(4) {
        0 => String::new(),
        1 => format!("{}/", input.choose(NAMES)),
        2 => (*input.choose(NAMES)).to_owned(),
        _ => String::from_utf8_lossy(input.short()).into_owned(),
    };
    let prefix = text(&mut input);
    let delimiter = match input.below(4) {
        0 => Some("/".to_owned()),
        1 => Some(text(&mut input)).filter(|delimiter| !delimiter.is_empty()),
        _ => None,
    };
    let start = match input.below(4) {
        0 => Bound::After(text(&mut input)),
        1 => Bound::Past(text(&mut input)),
        _ => Bound::Start,
    };
    let max = 1 + input.below(5);
    let all_of = |bound: Bound| {
        let (mut keys, mut prefixes, mut bound) = (Vec::new(), Vec::new(), Some(bound));
        for _ in 0..PAGES {
            let Some(from) = bound.take() else { break };
            let query = Query { prefix: prefix.clone(), delimiter: delimiter.clone(), bound: from, max };
            let page = page(&place.bucket, &query).unwrap_or_else(|error| panic!("{error}: {query:?}"));
            assert!(page.objects.len() + page.prefixes.len() <= max);
            keys.extend(page.objects.into_iter().map(|listed| listed.key));
            prefixes.extend(page.prefixes);
            // A client hands the bound back as a token.
            let token = page.next.as_ref().and_then(Bound::to_token);
            bound = token.map(|token| {
                let back = Bound::from_token(&token);
                assert_eq!(back, page.next);
                back.unwrap_or(Bound::Start)
            });
        }
        assert!(bound.is_none(), "the listing does not end");
        (keys, prefixes)
    };

    let (keys, prefixes) = all_of(Bound::Start);
    assert!(keys.is_sorted_by(|a, b| a < b) && prefixes.is_sorted_by(|a, b| a < b), "{keys:?} {prefixes:?}");
    assert!(keys.iter().all(|key| place.read(key).is_some()), "{keys:?}");
    let (mut own_keys, mut own_prefixes) = (Vec::new(), BTreeSet::new());
    for key in expected.iter().filter(|key| key.starts_with(&prefix)) {
        let delimited = delimiter.as_deref().and_then(|d| key[prefix.len()..].find(d).map(|at| at + d.len()));
        match delimited {
            Some(end) => drop(own_prefixes.insert(key[..prefix.len() + end].to_owned())),
            None => own_keys.push(key.clone()),
        }
    }
    assert_eq!((&keys, &prefixes), (&own_keys, &own_prefixes.into_iter().collect()), "prefix {prefix:?}");

    let (later, later_prefixes) = all_of(start.clone());
    assert!(
        later.iter().all(|key| keys.contains(key)) && later_prefixes.iter().all(|p| prefixes.contains(p))
    );
    if let Bound::After(last) = &start {
        assert!(keys.iter().filter(|key| *key > last).eq(&later), "after {last:?}: {later:?} of {keys:?}");
    }
    // Tokens that were never given out are refused or mean some place.
    let _ = Bound::from_token(&String::from_utf8_lossy(input.rest()));
}
