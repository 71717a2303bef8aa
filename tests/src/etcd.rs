//! Documents written straight into a cluster's etcd, as control's own calls would write them: for tests of what nodes make of them.
//!
//! By etcd's JSON gateway, and the few documents by hand in protobuf: nothing here links a crate of the product.

use serde_json::{Value, json};

use crate::http;

/// Where a cluster's documents are.
const FOLDER: &str = "/penstock/default/";

/// Base64 of the standard alphabet, padded.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0u32, |all, i| all << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for digit in 0..4 {
            let value = number >> (18 - 6 * digit) & 63;
            text.push(if digit <= group.len() { char::from(ALPHABET[value as usize]) } else { '=' });
        }
    }
    text
}

/// A field of a protobuf message that is text, bytes or a message.
pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        out.push(length as u8 & 127 | 128);
        length >>= 7;
    }
    out.push(length as u8);
    [out, bytes.to_vec()].concat()
}

/// Writes documents (`None`: deletes them) and makes that the next revision of the config, in one transaction.
pub fn commit(etcd: &str, documents: &[(&str, Option<Vec<u8>>)]) {
    let key = |key: &str| base64(format!("{FOLDER}{key}").as_bytes());
    let mut changes: Vec<Value> = documents
        .iter()
        .map(|(name, value)| match value {
            Some(value) => json!({"requestPut": {"key": key(name), "value": base64(value)}}),
            None => json!({"requestDeleteRange": {"key": key(name)}}),
        })
        .collect();
    changes.push(json!({"requestPut": {"key": key("head"), "value": ""}}));
    let body = json!({"success": changes}).to_string();
    let answer = http::request(etcd, "POST", "/v3/kv/txn", &[], body.as_bytes()).unwrap();
    assert!(answer.status == 200 && answer.text().contains("\"succeeded\":true"), "{}", answer.text());
}

/// The signer of an account: the key pairs it signs with, by id, and their RSAPublicKey in DER.
pub fn signer(account: &str, keys: &[(&str, &[u8])]) -> Vec<u8> {
    let keys = keys.iter().flat_map(|(id, der)| field(2, &[field(1, id.as_bytes()), field(2, der)].concat()));
    [field(1, account.as_bytes()), keys.collect()].concat()
}

/// A grant of the nodes' own role on a bucket.
pub fn grant(account: &str, bucket: &str) -> Vec<u8> {
    [field(1, account.as_bytes()), field(2, bucket.as_bytes())].concat()
}
