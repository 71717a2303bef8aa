//! Tests of `s3/list`.

use std::fs;
use std::path::Path;

use super::*;

fn bucket(root: &Path) -> Bucket {
    let folder = root.join("buckets/films");
    fs::create_dir_all(&folder).unwrap();
    let media = crate::s3::MediaSource::Bundled;
    crate::s3::bucket::Buckets::open(root, &media).unwrap().find("films").unwrap()
}

fn put(bucket: &Bucket, key: &str) {
    let path = bucket.root.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, key).unwrap();
}

/// All pages, each entry once; prefixes in angle brackets.
fn all(bucket: &Bucket, prefix: &str, delimiter: Option<&str>, max: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut bound = Bound::Start;
    loop {
        let query = Query { prefix: prefix.to_owned(), delimiter: delimiter.map(str::to_owned), bound, max };
        let page = page(bucket, &query).unwrap();
        assert!(page.objects.len() + page.prefixes.len() <= max);
        let mut entries: Vec<String> = page.objects.into_iter().map(|o| o.key).collect();
        entries.extend(page.prefixes.into_iter().map(|p| format!("<{p}>")));
        entries.sort_by_key(|e| e.trim_matches(['<', '>']).to_owned());
        found.extend(entries);
        match page.next {
            // Through the token, as a client would.
            Some(next) => bound = Bound::from_token(&next.to_token().unwrap()).unwrap(),
            None => return found,
        }
    }
}

const KEYS: [&str; 12] =
    ["a", "a b+c", "a-b/x", "a.b", "a/b", "a/b-/c", "a/b.c", "a/c/d/e", "a/c/d0", "a0", "b/é", "z"];

#[test]
fn keys_come_in_byte_order_whatever_the_page_size() {
    let data = tempfile::tempdir().unwrap();
    let bucket = bucket(data.path());
    // "a" can't be both a file and a folder on disk.
    let keys: Vec<&str> = KEYS.into_iter().filter(|k| *k != "a").collect();
    keys.iter().for_each(|key| put(&bucket, key));
    let mut expected: Vec<&str> = keys.clone();
    expected.sort();
    for max in [1, 2, 3, 1000] {
        assert_eq!(all(&bucket, "", None, max), expected, "{max} a page");
        assert_eq!(all(&bucket, "a/b", None, max), ["a/b", "a/b-/c", "a/b.c"]);
        assert_eq!(all(&bucket, "", Some("/"), max), ["a b+c", "<a-b/>", "a.b", "<a/>", "a0", "<b/>", "z"]);
        assert_eq!(all(&bucket, "a/", Some("/"), max), ["a/b", "<a/b-/>", "a/b.c", "<a/c/>"]);
        assert_eq!(all(&bucket, "a/c", Some("/"), max), ["<a/c/>"]);
        assert_eq!(
            all(&bucket, "", Some("b"), max),
            ["<a b>", "<a-b>", "<a.b>", "<a/b>", "a/c/d/e", "a/c/d0", "a0", "<b>", "z"]
        );
    }
    assert!(all(&bucket, "../", None, 10).is_empty());
    assert!(all(&bucket, "nothing/here", None, 10).is_empty());
    assert!(all(&bucket, "//", None, 10).is_empty());
    // Found by fuzzing: a prefix may take a file for a folder.
    assert!(all(&bucket, "z/", None, 10).is_empty());
}

#[test]
fn a_folder_larger_than_a_batch_is_listed_whole() {
    let data = tempfile::tempdir().unwrap();
    let bucket = bucket(data.path());
    let keys: Vec<String> = (0..BATCH * 2 + 7).map(|i| format!("many/{i:05}")).collect();
    keys.iter().for_each(|key| put(&bucket, key));
    assert_eq!(all(&bucket, "", None, 1000), keys);
    assert_eq!(all(&bucket, "", Some("/"), 1000), ["<many/>"]);
}

#[test]
fn links_are_listed_inside_and_never_out_or_round() {
    let data = tempfile::tempdir().unwrap();
    let bucket = bucket(data.path());
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    put(&bucket, "real/film.flv");
    let link =
        |target: &Path, name: &str| std::os::unix::fs::symlink(target, bucket.root.join(name)).unwrap();
    link(&outside.path().join("secret"), "stolen");
    link(outside.path(), "stolen-folder");
    link(Path::new("real/film.flv"), "film.flv");
    link(Path::new("real"), "linked");
    link(&bucket.root, "real/round");
    link(Path::new("nowhere"), "dangling");
    fs::create_dir(bucket.root.join("empty")).unwrap();
    assert_eq!(all(&bucket, "", None, 2), ["film.flv", "linked/film.flv", "real/film.flv"]);
    assert_eq!(all(&bucket, "", Some("/"), 2), ["film.flv", "<linked/>", "<real/>"]);
    assert!(!is_empty(&bucket).unwrap());
    // Found by fuzzing: a prefix through the link that goes round listed what the whole listing leaves out.
    assert!(all(&bucket, "real/round/", None, 2).is_empty());
    assert_eq!(all(&bucket, "linked/f", None, 2), ["linked/film.flv"]);
}

#[test]
fn a_bound_covers_what_has_been_listed() {
    let after = Bound::After("a/m".to_owned());
    assert!(after.covers_key("a/m") && after.covers_key("a/b") && !after.covers_key("a/n"));
    assert!(after.covers_folder("a/b/") && !after.covers_folder("a/") && !after.covers_folder("a/m/"));
    let past = Bound::Past("a/".to_owned());
    assert!(past.covers_key("a/zzz") && past.covers_key("a.b") && !past.covers_key("a0"));
    assert!(past.covers_folder("a/") && past.covers_folder("a/b/") && !past.covers_folder("b/"));
    assert_eq!(Bound::from_token("zz"), None);
    assert_eq!(Bound::from_token(""), None);
}
