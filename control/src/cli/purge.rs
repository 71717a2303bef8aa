//! `purge`: makes shields and edges forget.
//!
//! What to forget is named as an invalidation's path is in CloudFront, but as the key is in the bucket, with nothing escaped and with or without the
//! slash before it. A folder (`films/`) is all that lies in it: no film's key ends in a slash.

use penstock_control::client::admin::Admin;
use proto::status::RemoteError;

/// The key that `path` names, or the beginning of keys, and whether only that key is meant.
fn named(path: &str) -> (&str, bool) {
    let key = path.trim_start_matches('/');
    match key.strip_suffix('*') {
        Some(beginning) => (beginning, false),
        None => (key, !key.is_empty() && !key.ends_with('/')),
    }
}

/// Has `distribution` forgotten at `path`; all of it without one.
pub(super) async fn purge(
    admin: &mut Admin,
    distribution: &str,
    path: Option<&str>,
) -> Result<(), RemoteError> {
    let (key, exact) = named(path.unwrap_or_default());
    let answer = admin.purge(distribution, key, exact).await?;
    let revision = answer.revision.unwrap_or_default().number;
    println!(
        "{} cache entries dropped at shields; edges forget at revision {revision}",
        answer.shield_entries
    );
    if !answer.unreached.is_empty() {
        println!("not reached, will hear of it through their subscription: {}", answer.unreached.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_key_a_folder_or_with_a_star_at_its_end_all_that_begin_alike() {
        for (path, is) in [
            ("", ("", false)),
            ("/", ("", false)),
            ("*", ("", false)),
            ("/*", ("", false)),
            ("films/a.mp4", ("films/a.mp4", true)),
            ("/films/a.mp4", ("films/a.mp4", true)),
            ("films/a*", ("films/a", false)),
            ("/films/*", ("films/", false)),
            ("films/", ("films/", false)),
            ("a*b.mp4", ("a*b.mp4", true)),
            ("a**", ("a*", false)),
            ("100%.mp4", ("100%.mp4", true)),
        ] {
            assert_eq!(named(path), is, "{path}");
        }
    }
}
