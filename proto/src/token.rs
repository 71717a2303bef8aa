//! Who may call whom: role tokens for every gRPC port.
//!
//! A cluster has one secret, the [`MasterToken`], which only control knows. Everybody else presents a [`NodeToken`] derived from it, which names
//! the role it is good for and, if it is bound, the one node:
//!
//! ```text
//! edge.*.MAC.PEER      shield.shield-7.MAC.PEER      operator.*.MAC
//! MAC  = HMAC-SHA256(master, "penstock node token v1" 0 ROLE 0 NODE)          proves the role to control
//! root = HMAC-SHA256(master, "penstock peer secret v1")
//! PEER = root for a shield, HMAC-SHA256(root, "penstock peer v1" 0 ROLE) for an edge
//! ```
//!
//! Shields must check callers without knowing the master, and must not learn what would let them pose as an edge before control. So to a shield
//! a caller sends only `peer.ROLE.KEY` (its PEER; control and shields derive theirs from the root), which a shield recomputes from the root in
//! its own token. An edge that is broken into can then neither order a purge nor speak as a shield.
//!
//! A bearer travels as `authorization: Bearer TEXT`. A port without a check does not exist: servers are built with a [`Guard`], which leaves the
//! [`Caller`] in the request's extensions. A caller whose TLS certificate names it (see [`certificate`]) needs no token.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

pub mod certificate;
mod guard;

pub use guard::{Caller, Guard};

const TOKEN_LABEL: &[u8] = b"penstock node token v1\0";
const ROOT_LABEL: &[u8] = b"penstock peer secret v1";
const PEER_LABEL: &[u8] = b"penstock peer v1\0";
/// Hexadecimal digits of a MAC.
const MAC_DIGITS: usize = 64;

/// Why a token can't be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadToken {
    /// A master token of the wrong form.
    #[error("the master token must be 16 to 512 visible ASCII characters")]
    Master,
    /// Control was given what is meant for its callers.
    #[error(
        "this is a token for the role {0}; control needs the cluster's master token, from which such tokens are derived"
    )]
    Derived(Role),
    /// A node or an operator was given something else than a derived token.
    #[error(
        "this is no node token (ROLE.NODE.MAC...). The cluster's master token belongs to control alone: print one for this place with \
         `penstock-control token edge|shield|operator [NODE]`"
    )]
    NotDerived,
    /// A derived token of another role.
    #[error(
        "this token is for the role {given}; {wanted} is needed: print one with `penstock-control token {wanted} [NODE]`"
    )]
    Role {
        /// The role it is for.
        given: Role,
        /// The role it is used in.
        wanted: Role,
    },
    /// A derived token of another node.
    #[error("this token belongs to the node '{bound}', not to '{node}'")]
    Node {
        /// The node it is for.
        bound: String,
        /// The node that uses it.
        node: String,
    },
}

/// What a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Serves viewers.
    Edge,
    /// Reads S3.
    Shield,
    /// A person or a script: lists, purges, drains, manages keys.
    Operator,
    /// Control itself, towards shields.
    Control,
}

impl Role {
    const ALL: [Self; 4] = [Self::Edge, Self::Shield, Self::Operator, Self::Control];

    /// Its name in tokens, certificates and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Shield => "shield",
            Self::Operator => "operator",
            Self::Control => "control",
        }
    }

    /// The role of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether `id` can name a node: 1 to 128 of `[A-Za-z0-9._-]`.
pub fn is_node_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The key with which `role` speaks to shields.
fn peer_key(root: &[u8; 32], role: Role) -> [u8; 32] {
    match role {
        Role::Shield => *root,
        role => mac(root, &[PEER_LABEL, role.name().as_bytes()]),
    }
}

/// What a caller sends to shields: a shield's own key is derived once more, so that its root never travels.
fn peer_text(root: &[u8; 32], role: Role) -> String {
    format!("peer.{role}.{}", hex::encode(mac(root, &[PEER_LABEL, role.name().as_bytes()])))
}

/// The cluster's secret, which control alone knows.
#[derive(Clone)]
pub struct MasterToken(String);

impl MasterToken {
    /// Takes the secret: 16 to 512 visible ASCII characters that are no derived token.
    pub fn new(text: &str) -> Result<Self, BadToken> {
        if let Ok(token) = text.parse::<NodeToken>() {
            return Err(BadToken::Derived(token.role));
        }
        let fits = (16..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(BadToken::Master) }
    }

    fn mac(&self, role: Role, node: &str) -> [u8; 32] {
        mac(self.0.as_bytes(), &[TOKEN_LABEL, role.name().as_bytes(), b"\0", node.as_bytes()])
    }

    fn root(&self) -> [u8; 32] {
        mac(self.0.as_bytes(), &[ROOT_LABEL])
    }

    /// The token of `role` for `node` (a node id), or for any node of that role.
    pub fn token(&self, role: Role, node: Option<&str>) -> NodeToken {
        let mac = self.mac(role, node.unwrap_or("*"));
        let peer = (role != Role::Operator).then(|| peer_key(&self.root(), role));
        NodeToken { role, node: node.map(ToOwned::to_owned), mac, peer }
    }

    /// What control sends to shields.
    pub fn peer(&self) -> Bearer {
        Bearer::of(&peer_text(&self.root(), Role::Control))
    }

    /// Checks callers of control.
    pub fn guard(&self) -> Guard {
        Guard::of_master(self.clone())
    }
}

impl fmt::Debug for MasterToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterToken")
    }
}

/// A token derived from the master: what edges, shields and operators present. [`Display`](fmt::Display) gives its text.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeToken {
    role: Role,
    /// `None`: any node of the role.
    node: Option<String>,
    mac: [u8; 32],
    /// See the [module](self); operators have none.
    peer: Option<[u8; 32]>,
}

impl NodeToken {
    /// The role it is good for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The node it is bound to.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    /// Refuses one that is for another role, or for another node than `node` if there is one.
    pub fn check(&self, role: Role, node: Option<&str>) -> Result<(), BadToken> {
        if self.role != role {
            return Err(BadToken::Role { given: self.role, wanted: role });
        }
        match (&self.node, node) {
            (Some(bound), Some(node)) if bound != node => {
                Err(BadToken::Node { bound: bound.clone(), node: node.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// What its owner sends to control: the token without the peer secret, which control can derive.
    pub fn bearer(&self) -> Bearer {
        Bearer::of(&self.head())
    }

    /// What its owner sends to shields; an operator has nothing to send.
    pub fn peer(&self) -> Bearer {
        match (&self.peer, self.role) {
            (Some(root), Role::Shield) => Bearer::of(&peer_text(root, Role::Shield)),
            (Some(key), role) => Bearer::of(&format!("peer.{role}.{}", hex::encode(key))),
            (None, _) => Bearer::none(),
        }
    }

    /// Checks callers of a shield; only a shield's token can.
    pub fn guard(&self) -> Result<Guard, BadToken> {
        match &self.peer {
            Some(root) if self.role == Role::Shield => Ok(Guard::of_root(root)),
            _ => Err(BadToken::Role { given: self.role, wanted: Role::Shield }),
        }
    }

    fn head(&self) -> String {
        format!("{}.{}.{}", self.role, self.node.as_deref().unwrap_or("*"), hex::encode(self.mac))
    }
}

impl fmt::Display for NodeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        self.peer.iter().try_for_each(|peer| write!(f, ".{}", hex::encode(peer)))
    }
}

impl fmt::Debug for NodeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeToken({}.{})", self.role, self.node.as_deref().unwrap_or("*"))
    }
}

fn digits(text: &str) -> Option<[u8; 32]> {
    let bytes = (text.len() == MAC_DIGITS).then(|| hex::decode(text).ok()).flatten()?;
    bytes.try_into().ok()
}

/// `ROLE.NODE.MAC` taken apart; a node id may hold dots.
fn head_of(text: &str) -> Option<(Role, Option<String>, [u8; 32])> {
    let (role, rest) = text.split_once('.')?;
    let (node, mac) = rest.rsplit_once('.')?;
    let node = match node {
        "*" => None,
        node if is_node_id(node) => Some(node.to_owned()),
        _ => return None,
    };
    Some((Role::of_name(role)?, node, digits(mac)?))
}

impl FromStr for NodeToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let parsed = || {
            // An operator's has no fourth field; with a node id that ends like a MAC either reading would do, so the role decides.
            if text.starts_with("operator.") {
                let (role, node, mac) = head_of(text)?;
                return Some(Self { role, node, mac, peer: None });
            }
            let (head, peer) = text.rsplit_once('.')?;
            let (role, node, mac) = head_of(head)?;
            Some(Self { role, node, mac, peer: Some(digits(peer)?) })
        };
        parsed().ok_or(BadToken::NotDerived)
    }
}

/// Client side: adds what it was made with to every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn of(text: &str) -> Self {
        // Role names, node ids and hexadecimal digits are ASCII.
        let value = format!("Bearer {text}").parse::<MetadataValue<Ascii>>().ok();
        Self(value.map(|mut value| {
            value.set_sensitive(true);
            value
        }))
    }

    /// Adds nothing: the connection's certificate says who calls.
    pub fn none() -> Self {
        Self(None)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests;
