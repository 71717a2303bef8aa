//! Server side: who calls, or a refusal.

use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::{MasterToken, Role, certificate, head_of, peer_text};
use crate::status::{Reason, RemoteError};

/// Who calls, as the guard found out. In the extensions of every request that passed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What it is.
    pub role: Role,
    /// The one node it may be; `None`: it says itself which one it is.
    pub node: Option<String>,
}

impl Caller {
    /// Who sent `request`. One that passed no guard is refused.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| RemoteError::new(Reason::Unauthenticated, "the call passed no guard").into())
    }

    /// Refuses a caller that is none of `roles`, naming what it is and what would be needed for `what`.
    pub fn expect(&self, roles: &[Role], what: &str) -> Result<(), Status> {
        if roles.contains(&self.role) {
            return Ok(());
        }
        let needed: Vec<&str> = roles.iter().map(|role| role.name()).collect();
        let text =
            format!("{what} needs the role {}; this caller has the role {}", needed.join(" or "), self.role);
        Err(RemoteError::new(Reason::Denied, text).into())
    }

    /// Refuses a caller that is bound to another node than `node`.
    pub fn expect_node(&self, node: &str) -> Result<(), Status> {
        match &self.node {
            Some(bound) if bound != node => {
                let text = format!("this caller is the {} '{bound}' and can't speak for '{node}'", self.role);
                Err(RemoteError::new(Reason::Denied, text).into())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Clone)]
enum Check {
    /// Control's: any token of the cluster.
    Master(MasterToken),
    /// A shield's: what each role must send.
    Peers(Vec<(Role, String)>),
    /// Only certificates count.
    Certificates,
}

/// Refuses calls of nobody known; leaves the [`Caller`] of the others in the request's extensions.
#[derive(Clone)]
pub struct Guard(Check);

/// Whether two texts are the same, in a time that depends on their lengths only.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(a.len() ^ b.len(), |acc, (a, b)| acc | usize::from(a ^ b));
    std::hint::black_box(differing) == 0
}

impl Guard {
    pub(super) fn of_master(master: MasterToken) -> Self {
        Self(Check::Master(master))
    }

    pub(super) fn of_root(root: &[u8; 32]) -> Self {
        let roles = [Role::Edge, Role::Shield, Role::Control];
        Self(Check::Peers(roles.map(|role| (role, peer_text(root, role))).to_vec()))
    }

    /// For a server whose callers all have certificates.
    pub fn certificates_only() -> Self {
        Self(Check::Certificates)
    }

    fn caller(&self, given: &str) -> Option<Caller> {
        match &self.0 {
            Check::Master(master) => {
                let (role, node, mac) = head_of(given)?;
                let expected = master.mac(role, node.as_deref().unwrap_or("*"));
                // Control has no token of its own: nobody may speak for it.
                (equal(&mac, &expected) && role != Role::Control).then_some(Caller { role, node })
            }
            Check::Peers(peers) => {
                let known = |(_, text): &&(Role, String)| equal(text.as_bytes(), given.as_bytes());
                // All are compared, so that the time tells nothing of which one nearly fitted.
                let found: Vec<Role> = peers.iter().filter(known).map(|(role, _)| *role).collect();
                found.first().map(|role| Caller { role: *role, node: None })
            }
            Check::Certificates => None,
        }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let caller = certificate::caller(&request).or_else(|| {
            let given = request.metadata().get("authorization")?.to_str().ok()?;
            self.caller(given.strip_prefix("Bearer ")?)
        });
        let Some(caller) = caller else {
            let text =
                "neither a token of this cluster nor a certificate that names a role came with the call";
            return Err(RemoteError::new(Reason::Unauthenticated, text).into());
        };
        request.extensions_mut().insert(caller);
        Ok(request)
    }
}
