//! A client's side of both schemes, written apart from the verifier: HMAC by hand over `sha2`, and for SHA-1 by ring.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use sha2::{Digest, Sha256};

use super::Sent;

pub(super) const SECRET: &str = "wJalrXUtnFEMI";

pub(super) fn legacy_authorization(id: &str, secret: &str, date: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    format!("AWS {id}:{}", STANDARD.encode(hmac::sign(&key, date.as_bytes())))
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    let mut block = [0u8; 64];
    assert!(key.len() <= block.len());
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

/// Signs `sent` as it is: its target must have its parameters in order and escaped already.
pub(super) fn v4_authorization(id: &str, secret: &str, region: &str, names: &[&str], sent: &Sent) -> String {
    let date = sent.headers.get("x-amz-date").unwrap_or_else(|| &sent.headers["date"]).to_str().unwrap();
    let stamp = if date.ends_with('Z') { date.to_owned() } else { "20261121T110742Z".into() };
    let (path, query) = sent.target.split_once('?').unwrap_or((&sent.target, ""));
    let query = if query.is_empty() || query.contains('=') { query.to_owned() } else { format!("{query}=") };
    let headers: String = names
        .iter()
        .map(|name| format!("{name}:{}\n", sent.headers[*name].to_str().unwrap().trim()))
        .collect();
    let names = names.join(";");
    let canonical = format!(
        "{}\n{}\n{query}\n{headers}\n{names}\n{}",
        sent.method,
        path.replace('%', "%25"),
        hex::encode(Sha256::digest(&sent.body))
    );
    let scope = format!("{}/{region}/cloudfront/aws4_request", &stamp[..8]);
    let text =
        format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex::encode(Sha256::digest(canonical.as_bytes())));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac_sha256(&key, part);
    }
    let signature = hex::encode(hmac_sha256(&key, &text));
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}
