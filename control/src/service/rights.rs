//! Who may make which call.
//!
//! | role | may |
//! |---|---|
//! | edge | follow the config without secrets; register and give up its own lease; hand over its access logs |
//! | shield | follow the config with origin secrets and grants; register and give up its own lease |
//! | operator | all else: list, apply, export and import, drain, purge, accounts and keys, lending, the authority's certificate |
//!
//! A token or certificate bound to a node speaks for that node only; one for any node of a role still can't take a name that a live node of
//! another role has.

use proto::status::{Reason, RemoteError};
use proto::token::{Caller, Role};
use proto::v1::{NodeRole, RegisterRequest};
use tonic::{Request, Status};

use crate::membership::role_name;
use crate::mirror::view::View;

/// Refuses everybody but operators.
pub(super) fn operator<T>(request: &Request<T>, what: &str) -> Result<(), Status> {
    Caller::of(request)?.expect(&[Role::Operator], what)
}

fn role_of(node: &RegisterRequest) -> Option<Role> {
    match node.role() {
        NodeRole::Edge => Some(Role::Edge),
        NodeRole::Shield => Some(Role::Shield),
        NodeRole::Unspecified => None,
    }
}

/// Refuses a caller whose role differs from that of the live node called `node_id`.
pub(super) fn keeps_role(caller: &Caller, node_id: &str, view: &View) -> Result<(), Status> {
    match view.members.get(node_id) {
        Some(member) if role_of(member) != Some(caller.role) => {
            let text = format!(
                "'{node_id}' is a live {}; this caller has the role {}",
                role_name(member),
                caller.role
            );
            Err(RemoteError::new(Reason::Denied, text).into())
        }
        _ => Ok(()),
    }
}

/// Refuses a Register by anybody but the node itself.
pub(super) fn may_register(caller: &Caller, node: &RegisterRequest, view: &View) -> Result<(), Status> {
    let claimed: Vec<Role> = role_of(node).into_iter().collect();
    caller.expect(&claimed, &format!("registering as {}", role_name(node)))?;
    caller.expect_node(&node.node_id)?;
    keeps_role(caller, &node.node_id, view)
}

/// Refuses a Deregister by anybody but the node itself.
pub(super) fn may_deregister(caller: &Caller, node_id: &str, view: &View) -> Result<(), Status> {
    caller.expect(&[Role::Edge, Role::Shield], "giving up a node's lease")?;
    caller.expect_node(node_id)?;
    keeps_role(caller, node_id, view)
}

/// Refuses access logs of anybody but edges.
pub(super) fn may_ship(caller: &Caller) -> Result<(), Status> {
    caller.expect(&[Role::Edge], "handing over access logs")
}

/// Refuses an edge's access logs from anybody but that edge.
pub(super) fn may_ship_for(caller: &Caller, edge_id: &str, view: &View) -> Result<(), Status> {
    caller.expect_node(edge_id)?;
    keeps_role(caller, edge_id, view)
}
