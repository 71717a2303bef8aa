//! Fuzz target: keys, buckets and bucket hosts.

use std::path::{Component, Path};

use super::{OriginId, check_bucket, check_key, split_s3_host};
use crate::distribution::is_host;

/// A key that passes is a plain relative path; a host that splits is put together again by its parts.
pub fn keys(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if check_key(&text).is_ok() {
        assert!(!text.is_empty() && text.len() <= 1024);
        let path = Path::new(&*text);
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{text:?}");
        assert_eq!(path.components().collect::<std::path::PathBuf>(), path, "{text:?}");
        assert_eq!(text.split('/').count(), path.components().count(), "{text:?}");
        // No extension makes a bad key of a good one, but by its length.
        let longer = format!("{text}.mp4");
        assert!(check_key(&longer).is_ok() || longer.len() > 1024, "{text:?}");
    }
    if let Some((bucket, region)) = split_s3_host(&text) {
        assert!(check_bucket(bucket) && !bucket.contains(['/', '\\', '\0', '@', ':']), "{text:?}");
        let again = match region {
            Some(region) => format!("{bucket}.s3.{region}.amazonaws.com"),
            None => format!("{bucket}.s3.amazonaws.com"),
        };
        assert_eq!(again, text);
    }
    if is_host(&text) {
        assert!(
            text.len() <= 253 && !text.contains(['/', ':', '@', ' ']) && !text.starts_with('.'),
            "{text:?}"
        );
    }
    let (host, credential) = text.split_once('\n').unwrap_or((&text, ""));
    let id = OriginId::of(host, credential);
    assert!(id.as_str().len() == 32 && id.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(id, OriginId::of(&format!("{}.", host.to_ascii_uppercase()), credential));
}
