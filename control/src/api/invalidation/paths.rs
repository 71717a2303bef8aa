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

/// What one path of a batch names below the bucket's root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    /// A key, or the beginning of keys; an exact one that is empty is the root, which stands for the default root object.
    key: String,
    /// Only this key.
    exact: bool,
}

/// What `path` names. CloudFront's rule: a `*` at its end stands for anything, also for nothing; any other is a `*` in a key. So one that
/// ends in an escaped `*` (`%2A`) names that key alone.
pub(super) fn named(path: &str) -> Result<Named, ApiError> {
    let wrong = |reason: &str| Err(ApiError::invalid_argument(format!("Paths: '{path}' {reason}")));
    let Some(rest) = path.strip_prefix('/') else { return wrong("does not begin with /") };
    if path.len() > PATH_BYTES_MAX {
        return wrong("is too long");
    }
    // What a viewer would ask for has no query in the cache of an object: a wildcard in the query means all of one object's queries.
    let (rest, exact) = match rest.split_once('?') {
        Some((key, _)) => (key, true),
        None => rest.strip_suffix('*').map_or((rest, true), |beginning| (beginning, false)),
    };
    let Ok(key) = percent_decode_str(rest).decode_utf8() else { return wrong("is not UTF-8 when unescaped") };
    if key.chars().any(char::is_control) {
        return wrong("holds a control character");
    }
    Ok(Named { key: key.into_owned(), exact })
}

/// One order for each bucket of `account` and path, without those that others cover.
pub(super) fn orders(config: &WebConfig, account: &str, named: &[Named]) -> Vec<PurgeRequest> {
    let root = config.default_root_object();
    let wanted: BTreeSet<(String, Named)> =
        config.origins().flat_map(|origin| of_origin(origin, account, root, named)).collect();
    let mut orders: Vec<PurgeRequest> = Vec::new();
    let mut covers: Option<(String, String)> = None;
    // In order, whatever a prefix covers follows it.
    for (origin_id, Named { key, exact }) in wanted {
        let covered =
            covers.as_ref().is_some_and(|(origin, prefix)| *origin == origin_id && key.starts_with(prefix));
        if covered || key.len() > KEY_BYTES_MAX || (exact && key.is_empty()) {
            continue;
        }
        if !exact {
            covers = Some((origin_id.clone(), key.clone()));
        }
        orders.push(PurgeRequest { origin_id, key_prefix: key, exact });
    }
    orders
}

fn of_origin(origin: Origin<'_>, account: &str, root: &str, named: &[Named]) -> Vec<(String, Named)> {
    let Some(credential) = credential(origin.kind, account) else { return Vec::new() };
    let id = OriginId::of(&origin.domain_name.to_ascii_lowercase(), &credential);
    let folder = match origin.path.trim_matches('/') {
        "" => String::new(),
        folder => format!("{folder}/"),
    };
    let below = |named: &Named| {
        let key = if named.exact && named.key.is_empty() { root } else { &named.key };
        // The root without a default root object is a list of the bucket, which is no object.
        let key = if named.exact && key.is_empty() { String::new() } else { format!("{folder}{key}") };
        (id.as_str().to_owned(), Named { key, exact: named.exact })
    };
    named.iter().map(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Limits;
    use crate::api::web::S3Web;
    use crate::api::xml::Element;

    #[test]
    fn a_path_names_a_key_or_with_a_star_at_its_end_all_that_begin_alike() {
        for (path, key, exact) in [
            ("/*", "", false),
            ("/", "", true),
            ("/a/b.mp4", "a/b.mp4", true),
            ("/a/*", "a/", false),
            ("/a/b*", "a/b", false),
            ("/a%20b%2Bc.mp4", "a b+c.mp4", true),
            // A star elsewhere is a star.
            ("/a*b", "a*b", true),
            ("/*.mp4", "*.mp4", true),
            ("/**", "*", false),
            ("/a/%2A", "a/*", true),
            // Queries are no part of a key.
            ("/a.mp4?x=1", "a.mp4", true),
            ("/a.mp4?x=*", "a.mp4", true),
            ("/a%3Fb*", "a?b", false),
        ] {
            assert_eq!(named(path).unwrap(), Named { key: key.into(), exact }, "{path}");
        }
        for wrong in ["a.mp4", "*", "", "/%ff", "/%00"] {
            assert_eq!(named(wrong).unwrap_err().code, "InvalidArgument", "{wrong}");
        }
        assert!(named(&format!("/{}", "a".repeat(4000))).is_err());
    }

    fn orders_of(config: &WebConfig, paths: &[&str]) -> Vec<(String, bool)> {
        let named: Vec<Named> = paths.iter().map(|path| named(path).unwrap()).collect();
        let orders = orders(config, "111122223333", &named);
        let id = OriginId::of("media.s3.amazonaws.com", "public/111122223333");
        assert!(orders.iter().all(|order| order.origin_id == id.as_str()));
        orders.into_iter().map(|order| (order.key_prefix, order.exact)).collect()
    }

    fn config(more: &[Element]) -> WebConfig {
        let web = S3Web {
            caller_reference: "r".into(),
            origin_host: "media.s3.amazonaws.com".into(),
            ..Default::default()
        };
        let config = WebConfig::of_s3(&web, &Limits::default()).unwrap();
        more.iter().fold(config, |config, element| WebConfig::stored(config.with(element.clone())))
    }

    #[test]
    fn what_another_order_covers_is_left_out() {
        let config = config(&[]);
        let orders = |paths: &[&str]| orders_of(&config, paths);
        let all = |key: &str| (key.to_owned(), false);
        let one = |key: &str| (key.to_owned(), true);
        assert_eq!(orders(&["/b/*", "/a/x", "/a/*", "/b/c", "/a/*", "/a"]), [one("a"), all("a/"), all("b/")]);
        assert_eq!(orders(&["/a", "/a/b", "/a*"]), [all("a")]);
        assert_eq!(orders(&["/a", "/ab"]), [one("a"), one("ab")], "a key covers no other");
        assert_eq!(orders(&["/z", "/*"]), [all("")]);
        assert_eq!(orders(&[]), []);
    }

    #[test]
    fn the_root_is_the_default_root_object() {
        assert_eq!(orders_of(&config(&[]), &["/"]), []);
        let rooted = config(&[Element::text("DefaultRootObject", "index.html")]);
        assert_eq!(orders_of(&rooted, &["/"]), [("index.html".to_owned(), true)]);
    }
}
