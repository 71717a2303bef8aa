//! Certificates on disk, good and bad.

use std::collections::HashMap;
use std::path::PathBuf;

use control::client::tls::pair::{ByName, parse};
use rustls::crypto::ring::default_provider;

use super::*;
use crate::config::tls::NamedCertificate;
use crate::tls::self_signed;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new certificate, and what its key file would hold.
    fn write(&self, stem: &str, name: &str) {
        let made = self_signed::make(vec![name.to_owned()]).unwrap();
        std::fs::write(self.path(&format!("{stem}.crt")), made.certificate_pem).unwrap();
        std::fs::write(self.path(&format!("{stem}.key")), made.key_pem).unwrap();
    }

    fn config(&self) -> TlsConfig {
        TlsConfig {
            certificate_file: Some(self.path("a.crt")),
            key_file: Some(self.path("a.key")),
            ..Default::default()
        }
    }
}

#[test]
fn nothing_configured_is_nothing_served() {
    assert!(Certificates::load(&TlsConfig::default()).unwrap().is_none());
}

#[test]
fn changed_files_are_taken_and_unchanged_ones_left() {
    let folder = Folder::new();
    folder.write("a", "a.example");
    let certificates = Certificates::load(&folder.config()).unwrap().unwrap();
    // 2049-12-31.
    assert_eq!(certificates.ends(), Some(2_524_521_600));
    let before = certificates.current();
    assert!(!certificates.reload().unwrap());
    assert!(Arc::ptr_eq(&before, &certificates.current()));
    folder.write("a", "a.example");
    assert!(certificates.reload().unwrap());
    assert!(!Arc::ptr_eq(&before, &certificates.current()));
    assert!(!certificates.reload().unwrap());
}

#[test]
fn a_bad_pair_stops_the_start_and_later_changes_nothing() {
    let folder = Folder::new();
    assert!(matches!(Certificates::load(&folder.config()), Err(CertificateError::Read(..))));
    folder.write("a", "a.example");
    folder.write("b", "b.example");
    std::fs::copy(folder.path("a.key"), folder.path("a.key.own")).unwrap();
    std::fs::copy(folder.path("b.key"), folder.path("a.key")).unwrap();
    let refused = Certificates::load(&folder.config()).err().unwrap();
    assert!(matches!(refused, CertificateError::Pair(..)), "{refused}");

    std::fs::copy(folder.path("a.key.own"), folder.path("a.key")).unwrap();
    let certificates = Certificates::load(&folder.config()).unwrap().unwrap();
    let before = certificates.current();
    for bad in ["", "-----BEGIN PRIVATE KEY-----\n", "nonsense"] {
        std::fs::write(folder.path("a.key"), bad).unwrap();
        assert!(certificates.reload().is_err(), "{bad}");
        assert!(!certificates.reload().unwrap(), "the same defect is told twice");
    }
    std::fs::remove_file(folder.path("a.key")).unwrap();
    assert!(matches!(certificates.reload(), Err(CertificateError::Read(..))));
    assert!(!certificates.reload().unwrap());
    std::fs::write(folder.path("a.key"), vec![b'a'; 2 << 20]).unwrap();
    assert!(matches!(certificates.reload(), Err(CertificateError::Long(..))));
    assert!(Arc::ptr_eq(&before, &certificates.current()));
    // Half of a change, then the whole of it.
    std::fs::copy(folder.path("b.key"), folder.path("a.key")).unwrap();
    assert!(matches!(certificates.reload(), Err(CertificateError::Pair(..))));
    std::fs::copy(folder.path("b.crt"), folder.path("a.crt")).unwrap();
    assert!(certificates.reload().unwrap());
}

#[test]
fn names_choose_their_certificate() {
    let folder = Folder::new();
    for name in ["a", "b", "c"] {
        folder.write(name, "any.example");
    }
    let provider = default_provider();
    let [a, b, c] = ["a", "b", "c"].map(|stem| {
        let text = |kind: &str| std::fs::read(folder.path(&format!("{stem}.{kind}"))).unwrap();
        Arc::new(parse(&text("crt"), &text("key"), &provider).unwrap())
    });
    let named = HashMap::from([("b.example".to_owned(), b.clone()), ("*.c.example".to_owned(), c.clone())]);
    let all = ByName::new(a.clone(), named);
    assert_eq!(all.all().count(), 3);
    for (asked, expected) in [
        (None, &a),
        (Some("a.example"), &a),
        (Some("B.example"), &b),
        (Some("x.b.example"), &a),
        (Some("x.c.example"), &c),
        (Some("c.example"), &a),
        (Some("y.x.c.example"), &a),
        (Some("localhost"), &a),
    ] {
        assert!(Arc::ptr_eq(all.choose(asked), expected), "{asked:?}");
    }
    let named = NamedCertificate {
        name: "b.example".into(),
        certificate_file: folder.path("b.crt"),
        key_file: folder.path("c.key"),
    };
    let wrong = TlsConfig { names: vec![named], ..folder.config() };
    assert!(
        matches!(Certificates::load(&wrong), Err(CertificateError::Pair(path, _)) if path.ends_with("b.crt"))
    );
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
    let folder = Folder::new();
    folder.write("a", "a.example");
    let certificates = Certificates::load(&folder.config()).unwrap().unwrap();
    let before = certificates.current();
    std::fs::remove_file(folder.path("a.crt")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path("a.crt")).status().unwrap();
    assert!(made.success());
    assert!(matches!(certificates.reload(), Err(CertificateError::Special(_))));
    assert!(Arc::ptr_eq(&before, &certificates.current()));
}

#[test]
fn a_chain_no_client_takes_is_not_loaded() {
    let folder = Folder::new();
    folder.write("a", "a.example");
    let one = std::fs::read_to_string(folder.path("a.crt")).unwrap();
    std::fs::write(folder.path("a.crt"), one.repeat(11)).unwrap();
    let refused = Certificates::load(&folder.config()).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|text| text.contains("11 certificates")));
}
