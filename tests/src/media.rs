//! The test media: made once by `tests/media/make`, shared by all tests, never written to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder with the media, made if it isn't there or is out of date.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::var_os("PENSTOCK_TEST_MEDIA").map(PathBuf::from).unwrap_or_else(|| {
            let exe = std::env::current_exe().unwrap();
            exe.ancestors().nth(3).unwrap().join("test-media").join("media")
        });
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("media/make");
        let done = Command::new(&script).arg(&folder).status().unwrap();
        assert!(done.success(), "{} {}: {done}", script.display(), folder.display());
        folder
    })
}

/// One file of the set.
pub fn file(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(path.is_file(), "{} is not part of the set", path.display());
    path
}

/// Every file of the set, as keys, in order.
pub fn all() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder().to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The name a viewer plays for a key: the prefix by its extension, as the players' own rules have it.
pub fn play_name(key: &str) -> String {
    match key.rsplit_once('.').map(|(_, ext)| ext) {
        Some("flv") => key.trim_end_matches(".flv").to_owned(),
        Some("mp3") => format!("mp3:{}", key.trim_end_matches(".mp3")),
        _ => format!("mp4:{key}"),
    }
}
