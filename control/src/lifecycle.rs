//! When a change is deployed: rule 8 of the design.

use proto::v1::RegisterRequest;

use crate::mirror::view::View;

/// Whether every node that counts has applied config revision `revision`, and none lacks a feature of `required_features`.
///
/// `revision` is the one that last changed the document, as the store tells it: a view that has not heard of the change yet must not answer for
/// the one before.
pub fn is_deployed(view: &View, revision: u64, required_features: &[String]) -> bool {
    let has_all = |m: &RegisterRequest| required_features.iter().all(|f| m.features.contains(f));
    revision <= view.deployed_floor && view.members.values().all(|m| has_all(m))
}
