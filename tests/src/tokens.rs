//! Node tokens, derived here once more from the published rule (not by the product's code): what a test cluster's boxes are given.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Control's master token in test clusters.
pub const MASTER: &str = "the-token-of-the-test-cluster";

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The token of `role` (edge, shield, operator) for `node`, or for any (`*`).
pub fn derived(role: &str, node: &str) -> String {
    let own = hex::encode(mac(MASTER.as_bytes(), &format!("penstock node token v1\0{role}\0{node}")));
    let root = mac(MASTER.as_bytes(), "penstock peer secret v1");
    match role {
        "shield" => format!("{role}.{node}.{own}.{}", hex::encode(root)),
        "edge" => {
            format!("{role}.{node}.{own}.{}", hex::encode(mac(&root, &format!("penstock peer v1\0{role}"))))
        }
        _ => format!("{role}.{node}.{own}"),
    }
}
