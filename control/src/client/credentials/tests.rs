//! Credentials: tokens and certificates, the right ones only.

use super::*;
use proto::token::MasterToken;

const MASTER: &str = "0123456789abcdef";

fn token(role: Role, node: Option<&str>) -> String {
    MasterToken::new(MASTER).unwrap().token(role, node).to_string()
}

fn load(role: Role, token: Option<&str>, tls: Option<&TlsFiles>) -> Result<Credentials, String> {
    Credentials::load(role, Some("node-1"), token, None, tls).map_err(|e| e.to_string())
}

#[test]
fn a_node_starts_with_a_token_of_its_role_alone() {
    assert!(load(Role::Edge, Some(&token(Role::Edge, None)), None).is_ok());
    assert!(load(Role::Edge, Some(&token(Role::Edge, Some("node-1"))), None).is_ok());
    let cases = [
        (Some(MASTER.to_owned()), "penstock-control token"),
        (Some(token(Role::Shield, None)), "edge is needed"),
        (Some(token(Role::Edge, Some("node-2"))), "node-2"),
        (None, "token: is missing"),
    ];
    for (given, says) in cases {
        let error = load(Role::Edge, given.as_deref(), None).unwrap_err();
        assert!(error.contains(says), "{given:?}: {error}");
    }
}

#[test]
fn a_token_may_come_from_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", token(Role::Operator, Some("alice")))).unwrap();
    let credentials = Credentials::load(Role::Operator, None, None, Some(file.path()), None).unwrap();
    assert_eq!(credentials.token.unwrap().node(), Some("alice"));
}

#[test]
fn tls_files_are_checked_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = write("cert.pem", &made.cert.pem());
    let key = write("key.pem", &made.signing_key.serialize_pem());
    let none = write("none.pem", "nothing");
    let whole = TlsFiles {
        ca: cert.clone(),
        cert: Some(cert.clone()),
        key: Some(key.clone()),
        ..TlsFiles::default()
    };
    let only_ca = TlsFiles { cert: None, key: None, ..whole.clone() };
    // A certificate replaces the token; the CA alone does not.
    assert!(load(Role::Shield, None, Some(&whole)).unwrap().token.is_none());
    assert!(load(Role::Edge, None, Some(&only_ca)).unwrap_err().contains("token: is missing"));
    assert!(load(Role::Edge, Some(&token(Role::Edge, None)), Some(&only_ca)).is_ok());
    let cases = [
        (TlsFiles { ca: none.clone(), ..whole.clone() }, "tls.ca"),
        (TlsFiles { key: Some(cert.clone()), ..whole.clone() }, "tls.key"),
        (TlsFiles { reload_seconds: 0, ..whole.clone() }, "tls.reload_seconds"),
        (TlsFiles { key: None, ..whole.clone() }, "come together"),
        (TlsFiles { ca: dir.path().join("absent"), ..whole }, "absent"),
    ];
    for (files, says) in cases {
        let error = files.load().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = load(Role::Shield, Some(&token(Role::Shield, None)), Some(&only_ca)).unwrap_err();
    assert!(error.contains("cert and key"), "{error}");
}

#[test]
fn the_scheme_of_an_endpoint_goes_with_the_files() {
    let token = Credentials::of_token(&token(Role::Operator, None)).unwrap();
    let refused = |endpoint: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        crate::client::admin::Admin::new(endpoint, &token).err().map(|e| e.to_string())
    };
    assert_eq!(refused("http://localhost:1"), None);
    assert!(refused("https://localhost:1").unwrap().contains("tls.ca"));
    assert!(refused("http://localhost").unwrap().contains("port"));
    assert!(refused("ftp://localhost:1").unwrap().contains("scheme"));
}
