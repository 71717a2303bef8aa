//! What is signed, judged by openssl.

use std::path::Path;
use std::process::Command;

use clap::Parser;

use super::*;

/// The words of the command line, without those that must be there.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: SignOptions,
}

const NOW: u64 = 1_700_000_000;

fn options(words: &[&str]) -> SignOptions {
    let mut line = vec!["sign", "--key-pair-id", "APKAEXAMPLE", "--private-key-file", "none"];
    line.extend(words);
    Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).options
}

fn openssl(args: &[&str]) -> bool {
    let done = Command::new("openssl").args(args).output().expect("openssl runs");
    done.status.success()
}

/// A new private key, in both forms, and its public one.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new(bits: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pair = Self { folder };
        assert!(openssl(&["genrsa", "-traditional", "-out", &pair.path("pkcs1"), &bits.to_string()]));
        assert!(openssl(&[
            "pkcs8",
            "-topk8",
            "-nocrypt",
            "-in",
            &pair.path("pkcs1"),
            "-out",
            &pair.path("pkcs8")
        ]));
        assert!(openssl(&["rsa", "-in", &pair.path("pkcs1"), "-pubout", "-out", &pair.path("public")]));
        pair
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn key(&self, form: &str) -> PrivateKey {
        PrivateKey::from_pem(&std::fs::read(self.path(form)).unwrap()).unwrap()
    }

    /// Whether openssl takes `signature` for `message`.
    fn takes(&self, message: &[u8], signature: &[u8]) -> bool {
        let (text, sum) = (self.path("text"), self.path("signature"));
        std::fs::write(&text, message).unwrap();
        std::fs::write(&sum, signature).unwrap();
        openssl(&["dgst", "-sha1", "-verify", &self.path("public"), "-signature", &sum, &text])
    }
}

/// A value of the name's query, decoded.
fn value(name: &str, parameter: &str) -> Option<Vec<u8>> {
    let (_, query) = name.split_once('?')?;
    let text = query.split('&').find_map(|pair| pair.strip_prefix(parameter)?.strip_prefix('='))?;
    STANDARD.decode(text.replace('-', "+").replace('_', "=").replace('~', "/")).ok()
}

#[test]
fn openssl_takes_what_keys_of_both_forms_and_any_size_sign() {
    for bits in [1024, 1536, 2048] {
        let pair = Pair::new(bits);
        for form in ["pkcs1", "pkcs8"] {
            let signature = pair.key(form).sign(b"a message").unwrap();
            assert_eq!(signature.len(), bits as usize / 8);
            assert!(pair.takes(b"a message", &signature), "{bits} bits, {form}");
            assert!(!pair.takes(b"another", &signature), "{bits} bits, {form}");
        }
    }
}

#[test]
fn a_name_gets_a_canned_policy_over_itself_without_its_prefix() {
    let pair = Pair::new(1024);
    let key = pair.key("pkcs1");
    let name = signed(&options(&["--expires", "60", "mp4:videos/a.mp4"]), &key, NOW).unwrap();
    assert!(name.starts_with("mp4:videos/a.mp4?Expires=1700000060&Signature="), "{name}");
    assert!(name.ends_with("&Key-Pair-Id=APKAEXAMPLE"), "{name}");
    let policy = br#"{"Statement":[{"Resource":"videos/a.mp4","Condition":{"DateLessThan":{"AWS:EpochTime":1700000060}}}]}"#;
    assert!(pair.takes(policy, &value(&name, "Signature").unwrap()));
    let name = signed(&options(&["--expires-at", "2035-01-01", "a?color=red"]), &key, NOW).unwrap();
    assert!(name.starts_with("a?color=red&Expires=2051222400&"), "{name}");
    let policy = br#"{"Statement":[{"Resource":"a?color=red","Condition":{"DateLessThan":{"AWS:EpochTime":2051222400}}}]}"#;
    assert!(pair.takes(policy, &value(&name, "Signature").unwrap()));
    assert!(
        signed(&options(&["a"]), &key, NOW).unwrap().contains("?Expires=1700003600&"),
        "an hour unless told"
    );
}

#[test]
fn conditions_make_it_a_custom_policy() {
    let pair = Pair::new(1024);
    let words = [
        "--ip",
        "192.0.2.0/24",
        "--not-before",
        "2020-01-01T00:00:00Z",
        "--resource",
        "videos/*\"",
        "mp4:videos/a",
    ];
    let name = signed(&options(&words), &pair.key("pkcs8"), NOW).unwrap();
    assert!(name.starts_with("mp4:videos/a?Policy="), "{name}");
    let policy = value(&name, "Policy").unwrap();
    assert!(pair.takes(&policy, &value(&name, "Signature").unwrap()));
    let read: serde_json::Value = serde_json::from_slice(&policy).unwrap();
    assert_eq!(
        read,
        json!({"Statement": [{"Resource": "videos/*\"", "Condition": {
            "DateLessThan": {"AWS:EpochTime": NOW + 3600},
            "DateGreaterThan": {"AWS:EpochTime": 1_577_836_800},
            "IpAddress": {"AWS:SourceIp": "192.0.2.0/24"}}}]})
    );
}

#[test]
fn what_no_edge_would_take_is_refused_here() {
    let key = Pair::new(1024).key("pkcs1");
    for name in [
        "",
        "rtmp://s1.example.com/cfx/st/a",
        "cfx/st/a",
        "/cfx/st/a",
        "http://a/b",
        "a?Expires=1",
        "a?x=y&Signature=z",
        "a\nb",
    ] {
        assert!(signed(&options(&["--", name]), &key, NOW).is_err(), "{name:?}");
    }
    let line = |words: &[&str]| {
        let fixed = ["sign", "--key-pair-id", "K", "--private-key-file", "f"];
        Line::try_parse_from(fixed.iter().chain(words)).map(drop)
    };
    for words in [
        vec!["--ip", "2001:db8::/32", "a"],
        vec!["--ip", "192.0.2.0/33", "a"],
        vec!["--expires-at", "tomorrow", "a"],
        vec!["--expires", "1", "--expires-at", "2", "a"],
        vec![],
    ] {
        assert!(line(&words).is_err(), "{words:?}");
    }
    assert!(line(&["--ip", "192.0.2.7", "a"]).is_ok());
    let spaced = SignOptions { key_pair_id: "a&b".into(), ..options(&["a"]) };
    assert!(signed(&spaced, &key, NOW).is_err());
}

#[test]
fn files_that_hold_no_rsa_key_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert!(openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &path("ec")]));
    assert!(openssl(&["pkcs8", "-topk8", "-nocrypt", "-in", &path("ec"), "-out", &path("ec8")]));
    assert!(openssl(&["genrsa", "-traditional", "-out", &path("short"), "512"]));
    let read = |path: &str| {
        PrivateKey::from_pem(&std::fs::read(Path::new(path)).unwrap()).err().map(|e| format!("{e:#}"))
    };
    for name in ["ec", "ec8"] {
        assert!(
            read(&path(name)).is_some_and(|error| error.contains("not RSA")),
            "{name}: {:?}",
            read(&path(name))
        );
    }
    assert!(read(&path("short")).is_some_and(|error| error.contains("512 bits")));
    assert!(PrivateKey::from_pem(b"nothing").is_err());
    let damaged = PrivateKey::from_pem(&{
        let pair = Pair::new(1024);
        let pem = std::fs::read_to_string(pair.path("pkcs1")).unwrap();
        let der = STANDARD.decode(pem.lines().filter(|l| !l.starts_with('-')).collect::<String>()).unwrap();
        let mut der = der;
        // Within the private exponent.
        der[200] ^= 1;
        format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", STANDARD.encode(der))
            .into_bytes()
    });
    assert!(damaged.unwrap().sign(b"x").is_err(), "nothing wrong is handed out");
}
