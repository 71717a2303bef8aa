//! From the paths of a batch to the orders that shields and edges understand.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use proto::object::OriginId;
use proto::v1::PurgeRequest;

use crate::api::ApiError;
use crate::api::web::WebConfig;
use crate::api::web::config::Origin;
use crate::api::web::credential;

/// Longest key of S3; a path that names more names nothing.
const KEY_BYTES_MAX: usize = 1024;
/// Longest path, escaped.
const PATH_BYTES_MAX: usize = 4000;

/// The key, or with a `*` the beginning of keys, that `path` names below the bucket's root.
pub(super) fn key_prefix(path: &str) -> Result<String, ApiError> {
    let wrong = |reason: &str| Err(ApiError::invalid_argument(format!("Paths: '{path}' {reason}")));
    let Some(rest) = path.strip_prefix('/') else { return wrong("does not begin with /") };
    if path.len() > PATH_BYTES_MAX {
        return wrong("is too long");
    }
    let rest = rest.strip_suffix('*').unwrap_or(rest);
    if rest.contains('*') {
        return wrong("has a * that is not its end");
    }
    // What a viewer would ask for has no query in the cache of an object.
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    let Ok(key) = percent_decode_str(rest).decode_utf8() else { return wrong("is not UTF-8 when unescaped") };
    if key.chars().any(char::is_control) {
        return wrong("holds a control character");
    }
    Ok(key.into_owned())
}

/// One order for each bucket of `account` and path, without those that others cover.
pub(super) fn orders(config: &WebConfig, account: &str, prefixes: &[String]) -> Vec<PurgeRequest> {
    let origins = config.origins();
    let wanted: BTreeSet<(String, String)> =
        origins.flat_map(|origin| of_origin(origin, account, prefixes)).collect();
    let mut orders: Vec<PurgeRequest> = Vec::new();
    // In order, whatever a prefix covers follows it.
    for (origin_id, key_prefix) in wanted {
        let covered = orders
            .last()
            .is_some_and(|last| last.origin_id == origin_id && key_prefix.starts_with(&last.key_prefix));
        if !covered && key_prefix.len() <= KEY_BYTES_MAX {
            orders.push(PurgeRequest { origin_id, key_prefix });
        }
    }
    orders
}

fn of_origin(origin: Origin<'_>, account: &str, prefixes: &[String]) -> Vec<(String, String)> {
    let Some(credential) = credential(origin.kind, account) else { return Vec::new() };
    let id = OriginId::of(&origin.domain_name.to_ascii_lowercase(), &credential);
    let folder = match origin.path.trim_matches('/') {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    prefixes.iter().map(|prefix| (id.as_str().to_owned(), format!("{folder}{prefix}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Limits;
    use crate::api::web::S3Web;

    #[test]
    fn a_path_names_a_key_or_all_that_begin_alike() {
        for (path, key) in [
            ("/*", ""),
            ("/", ""),
            ("/a/b.mp4", "a/b.mp4"),
            ("/a/*", "a/"),
            ("/a%20b%2Bc.mp4", "a b+c.mp4"),
            ("/a.mp4?x=1", "a.mp4"),
        ] {
            assert_eq!(key_prefix(path).unwrap(), key, "{path}");
        }
        for wrong in ["a.mp4", "", "/a*b", "/**", "/%ff", "/%00"] {
            assert_eq!(key_prefix(wrong).unwrap_err().code, "InvalidArgument", "{wrong}");
        }
        assert!(key_prefix(&format!("/{}", "a".repeat(4000))).is_err());
    }

    #[test]
    fn what_another_order_covers_is_left_out() {
        let web = S3Web {
            caller_reference: "r".into(),
            origin_host: "media.s3.amazonaws.com".into(),
            ..Default::default()
        };
        let config = WebConfig::of_s3(&web, &Limits::default()).unwrap();
        let orders = |prefixes: &[&str]| {
            let prefixes: Vec<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
            let orders = super::orders(&config, "111122223333", &prefixes);
            let id = OriginId::of("media.s3.amazonaws.com", "public/111122223333");
            assert!(orders.iter().all(|order| order.origin_id == id.as_str()));
            orders.into_iter().map(|order| order.key_prefix).collect::<Vec<_>>()
        };
        assert_eq!(orders(&["b/", "a/x", "a/", "b/c", "a/"]), ["a/", "b/"]);
        assert_eq!(orders(&["z", ""]), [""]);
        assert_eq!(orders(&[]), Vec::<String>::new());
    }
}
