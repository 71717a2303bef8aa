//! Who a TLS certificate says its owner is.
//!
//! A node's certificate carries the URI `penstock://ROLE/NODE` among its subject alternative names (`penstock://operator/NAME` for people). That
//! the cluster's CA signed it was checked by the handshake. A certificate without such a name proves nothing here, and the token counts.

use tonic::Request;
use webpki::EndEntityCert;

use super::{Caller, Role, is_node_id};

const SCHEME: &str = "penstock://";

/// The caller the connection's certificate names.
pub(super) fn caller(request: &Request<()>) -> Option<Caller> {
    let certificates = request.peer_certs()?;
    let certificate = EndEntityCert::try_from(certificates.first()?).ok()?;
    certificate.valid_uri_names().find_map(of_uri)
}

/// The caller a subject alternative name stands for.
pub fn of_uri(uri: &str) -> Option<Caller> {
    let (role, node) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let role = Role::of_name(role)?;
    is_node_id(node).then(|| Caller { role, node: Some(node.to_owned()) })
}

/// The subject alternative name of a caller.
pub fn uri(role: Role, node: &str) -> String {
    format!("{SCHEME}{role}/{node}")
}
