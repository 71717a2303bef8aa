//! From an object key to a path below a bucket's folder.
//!
//! A key comes from the network, so it is a list of names or it is nothing: no empty name, no `.` or `..`, no NUL, no backslash
//! (another system's separator). What the names lead to on disk is [`super::bucket::Bucket::locate`]'s affair.

use std::path::PathBuf;

/// Longest key, in bytes: S3's own limit.
pub(crate) const KEY_BYTES: usize = 1024;
/// Longest name in a path, in bytes: what common file systems carry.
const NAME_BYTES: usize = 255;

/// Whether `name` can be one part of a key.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| b == 0 || b == b'/' || b == b'\\')
}

/// The relative path a key stands for; `None` if no path can carry it.
pub(crate) fn relative(key: &str, hide_dot_names: bool) -> Option<PathBuf> {
    if key.len() > KEY_BYTES {
        return None;
    }
    let mut path = PathBuf::new();
    for name in key.split('/') {
        if !is_name(name) || (hide_dot_names && name.starts_with('.')) {
            return None;
        }
        path.push(name);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_key_is_its_path() {
        assert_eq!(relative("a/b c+d/é.flv", false), Some(PathBuf::from("a/b c+d/é.flv")));
        assert_eq!(relative("..a/b..", false), Some(PathBuf::from("..a/b..")));
    }

    #[test]
    fn nothing_that_could_leave_the_folder_is_a_path() {
        let long = "x".repeat(256);
        for key in
            ["", "/etc/passwd", "..", "../x", "a/../../x", "a/./b", "a//b", "a/", "a\\..\\b", "a\0b", &long]
        {
            assert_eq!(relative(key, false), None, "{key:?}");
        }
    }

    #[test]
    fn dot_names_hide_where_asked() {
        assert_eq!(relative(".ssh/id", true), None);
        assert_eq!(relative("a/.git", true), None);
        assert!(relative(".ssh/id", false).is_some());
    }
}
