//! Tests of `client/config`.

use super::*;
use serde::Deserialize;
use std::io::Write;
use std::net::SocketAddr;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sample {
    listen: SocketAddr,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    cache: Cache,
    store: Option<Store>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
struct Cache {
    size_bytes: u64,
    label: String,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Store {
    etcd: Option<Etcd>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Etcd {
    endpoints: Vec<String>,
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Sample, ConfigError> {
    let file = file(text);
    load_with(Some(file.path()), |name| variables.iter().find(|v| v.0 == name).map(|v| v.1.to_owned()))
}

#[test]
fn every_field_has_a_variable() {
    let names: Vec<String> = fields::of::<Sample>().iter().map(Field::variable).collect();
    assert_eq!(
        names,
        [
            "PENSTOCK_LISTEN",
            "PENSTOCK_NAMES",
            "PENSTOCK_CACHE_SIZE_BYTES",
            "PENSTOCK_CACHE_LABEL",
            "PENSTOCK_STORE_ETCD_ENDPOINTS"
        ]
    );
}

#[test]
fn variables_override_the_file() {
    let sample = load_text(
        "listen: 127.0.0.1:1\ncache: {size_bytes: 5}\n",
        &[
            ("PENSTOCK_LISTEN", "127.0.0.1:2"),
            ("PENSTOCK_NAMES", "a, b"),
            ("PENSTOCK_CACHE_SIZE_BYTES", "7"),
            ("PENSTOCK_CACHE_LABEL", "12"),
            ("PENSTOCK_STORE_ETCD_ENDPOINTS", "http://x:1"),
            ("PENSTOCK_EDGE_PORT", "tcp://10.0.0.1:1935"),
        ],
    )
    .unwrap();
    assert_eq!(sample.listen, "127.0.0.1:2".parse().unwrap());
    assert_eq!(sample.names, ["a", "b"]);
    assert_eq!(sample.cache, Cache { size_bytes: 7, label: "12".into() });
    assert_eq!(sample.store.unwrap().etcd.unwrap().endpoints, ["http://x:1"]);
}

#[test]
fn variables_alone_are_enough() {
    let sample: Sample =
        load_with(None, |name| (name == "PENSTOCK_LISTEN").then(|| "[::1]:3".to_owned())).unwrap();
    assert_eq!(sample.listen, "[::1]:3".parse().unwrap());
}

#[test]
fn errors_name_the_file_and_the_field() {
    let file = file("listen: 127.0.0.1:1\ncache: {size_bytes: many}\n");
    let error = load_with::<Sample>(Some(file.path()), |_| None).unwrap_err().to_string();
    assert!(error.contains(&file.path().display().to_string()), "{error}");
    assert!(error.contains("cache.size_bytes"), "{error}");
    assert!(error.contains("line 2"), "{error}");
    let unknown = load_text("listen: 127.0.0.1:1\ncolour: red\n", &[]).unwrap_err().to_string();
    assert!(unknown.contains("colour"), "{unknown}");
    let missing = load_with::<Sample>(None, |_| None).unwrap_err().to_string();
    assert!(missing.contains("listen"), "{missing}");
    let variable = load_text("listen: 127.0.0.1:1\n", &[("PENSTOCK_CACHE_SIZE_BYTES", "many")]);
    let variable = variable.unwrap_err().to_string();
    assert!(
        variable.contains("PENSTOCK_CACHE_SIZE_BYTES") && variable.contains("cache.size_bytes"),
        "{variable}"
    );
}

#[test]
fn a_token_comes_from_one_place_and_is_checked() {
    let file = file("0123456789abcdef\n");
    assert!(load_master(None, Some(file.path())).is_ok());
    assert!(load_master(Some("0123456789abcdef"), Some(file.path())).is_err());
    assert!(load_master(None, None).is_err());
    assert!(load_master(Some("short"), None).unwrap_err().to_string().starts_with("token:"));
}
