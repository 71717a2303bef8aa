//! Nodes in metrics: how many stand how, and, by name, those that are not as they should be.
//!
//! A series that names a node lives only while there is something to say of it, and no node has two of one kind: there are never more of them than
//! nodes in the roster.

use std::collections::BTreeMap;

use prometheus::{IntGaugeVec, Opts, Registry};
use proto::v1::NodeRole;

use crate::lifecycle::{Condition, Report};

/// See the help texts.
#[derive(Clone, Debug)]
pub(crate) struct NodeMetrics {
    counts: IntGaugeVec,
    conditions: IntGaugeVec,
    refused: IntGaugeVec,
}

/// The roles that are counted, and their names.
const ROLES: [(NodeRole, &str); 2] = [(NodeRole::Edge, "edge"), (NodeRole::Shield, "shield")];

fn name_of(role: NodeRole) -> &'static str {
    ROLES.iter().find(|(known, _)| *known == role).map_or("unspecified", |(_, name)| name)
}

impl NodeMetrics {
    /// Registers all of them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntGaugeVec::new(Opts::new(format!("penstock_control_{name}"), help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        Ok(Self {
            counts: vec(
                "nodes",
                "Nodes by role and condition: current, behind, hanging, lapsed (still counts), excluded (does not); and draining beside",
                &["role", "condition"],
            )?,
            conditions: vec(
                "node_condition",
                "1 for each node that is behind, hanging, lapsed or excluded, by its name; no series while it is current",
                &["condition", "node", "role"],
            )?,
            refused: vec(
                "node_refused_distributions",
                "Distributions that a node refuses, by its name, so that they are not Deployed; no series while there are none",
                &["node", "role"],
            )?,
        })
    }

    /// Shows `now` in the place of `before`, and how many of each role an operator drains.
    pub(crate) fn show(
        &self,
        before: &BTreeMap<String, Report>,
        now: &BTreeMap<String, Report>,
        draining: impl Fn(NodeRole) -> usize,
    ) {
        for (role, name) in ROLES {
            for condition in Condition::ALL {
                let count = now.values().filter(|r| r.role == role && r.condition == condition).count();
                self.counts.with_label_values(&[name, condition.name()]).set(count as i64);
            }
            self.counts.with_label_values(&[name, "draining"]).set(draining(role) as i64);
        }
        for (node, known) in before {
            let next = now.get(node).filter(|next| next.role == known.role);
            let role = name_of(known.role);
            // Only what is over is removed: a scrape must not find a gap in what goes on.
            if next.is_none_or(|next| next.condition != known.condition) {
                let _absent = self.conditions.remove_label_values(&[known.condition.name(), node, role]);
            }
            if next.is_none_or(|next| next.refused == 0) {
                let _absent = self.refused.remove_label_values(&[node, role]);
            }
        }
        for (node, report) in now {
            let role = name_of(report.role);
            if report.condition != Condition::Current {
                self.conditions.with_label_values(&[report.condition.name(), node, role]).set(1);
            }
            if report.refused > 0 {
                self.refused.with_label_values(&[node, role]).set(report.refused.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, TextEncoder};

    use super::*;

    fn report(role: NodeRole, condition: Condition, refused: u32) -> Report {
        Report { role, condition, behind_since: None, applied: 1, refused }
    }

    /// The lines that name nodes.
    fn named(registry: &Registry) -> Vec<String> {
        let mut page = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        page.lines().filter(|line| line.contains("node=")).map(str::to_owned).collect()
    }

    #[test]
    fn a_node_is_named_while_something_is_to_be_said_of_it_and_no_longer() {
        let registry = Registry::new();
        let metrics = NodeMetrics::new(&registry).unwrap();
        let mut before = BTreeMap::new();
        let mut show = |now: &[(&str, Report)]| {
            let now = now.iter().map(|(node, report)| ((*node).to_owned(), report.clone())).collect();
            metrics.show(&before, &now, |_| 0);
            before = now;
            named(&registry)
        };
        let (edge, shield) = (NodeRole::Edge, NodeRole::Shield);
        let well = [("a", report(edge, Condition::Current, 0)), ("b", report(shield, Condition::Current, 0))];
        assert!(show(&well).is_empty());
        let line = |condition: &str| {
            format!("penstock_control_node_condition{{condition=\"{condition}\",node=\"a\",role=\"edge\"}} 1")
        };
        for condition in [Condition::Behind, Condition::Hanging, Condition::Lapsed, Condition::Excluded] {
            assert_eq!(show(&[("a", report(edge, condition, 0)), well[1].clone()]), [line(condition.name())]);
        }
        let refuses = "penstock_control_node_refused_distributions{node=\"b\",role=\"shield\"} 3";
        let both = [("a", report(edge, Condition::Hanging, 0)), ("b", report(shield, Condition::Current, 3))];
        assert_eq!(show(&both), [line("hanging"), refuses.to_owned()]);
        assert!(show(&well).is_empty());
        // One that comes back under another role, and one that is forgotten.
        assert_eq!(show(&both).len(), 2);
        assert_eq!(show(&[("a", report(shield, Condition::Current, 0))]), [""; 0]);
    }
}
