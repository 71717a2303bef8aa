//! The cluster's nodes: which revision each serves by, and which are behind, silent, excluded, draining, lack a feature, or refuse a document.
//!
//! Rows come of the roster (nodes that registered once) and the live members. Addresses are not shown: pages are for accounts, and who plays through a
//! cluster need not know its inside.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};
use proto::v1::{NodeRole, RegisterRequest, RosterEntry};

use super::page::{Page, Section, moment, state};
use super::visitor::{Site, Visitor};
use crate::client::catalogue::refusals::{Refusal, find};
use crate::lifecycle::{self, Condition, Report};
use crate::membership::state_name;
use crate::mirror::view::View;

/// One node as a page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeRow {
    /// Its id.
    pub(super) id: String,
    role: &'static str,
    zone: String,
    version: String,
    /// The state it registered with; `None`: its lease has lapsed.
    live: Option<&'static str>,
    /// The revision it serves by, of this store; `None`: it never said one.
    pub(super) applied: Option<u64>,
    /// Milliseconds since 1970.
    lapsed_ms: u64,
    excluded: bool,
    drain: bool,
    /// Seconds for which it has not moved on though it lives.
    hangs_for: Option<u64>,
    /// Features that were asked for and that it hasn't.
    lacking: Vec<String>,
    /// How it refuses the distribution that was asked for.
    refusal: Option<Refusal>,
    /// How many distributions it refuses, whoever's.
    refuses: u32,
}

/// What nodes are compared with: a distribution's id and the features it needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) id: &'a str,
    pub(super) features: &'a [String],
}

fn role(of: NodeRole) -> &'static str {
    match of {
        NodeRole::Edge => "edge",
        NodeRole::Shield => "shield",
        NodeRole::Unspecified => "unknown",
    }
}

fn row(view: &View, reports: &BTreeMap<String, Report>, id: &str, wanted: Option<Wanted<'_>>) -> NodeRow {
    let member: Option<&RegisterRequest> = view.members.get(id).map(|m| &**m);
    let entry: Option<&RosterEntry> = view.roster.get(id).map(|e| &**e);
    let applied = member.and_then(|m| m.applied.as_ref()).filter(|applied| applied.store_id == view.store_id);
    let known = entry.filter(|e| e.store_id == view.store_id && e.applied != 0).map(|e| e.applied);
    let hanging = reports.get(id).filter(|report| report.condition == Condition::Hanging);
    let role_number = member.map(|m| m.role).or(entry.map(|e| e.role)).unwrap_or_default();
    let refusals = lifecycle::refusals(view, id);
    let features = wanted.map_or(&[][..], |wanted| wanted.features);
    let lacks = |f: &&String| member.is_some_and(|m| !m.features.contains(f));
    NodeRow {
        id: id.to_owned(),
        role: role(NodeRole::try_from(role_number).unwrap_or_default()),
        zone: member.map(|m| m.zone.clone()).unwrap_or_default(),
        version: member.map(|m| m.version.clone()).unwrap_or_default(),
        live: member.map(state_name),
        applied: if member.is_some() { applied.map(|t| t.number) } else { known },
        lapsed_ms: entry.map_or(0, |e| e.lapsed_ms),
        excluded: entry.is_some_and(|e| e.excluded),
        drain: entry.is_some_and(|e| e.drain),
        hangs_for: hanging.and_then(|report| report.behind_since).map(|since| since.elapsed().as_secs()),
        lacking: features.iter().filter(lacks).cloned().collect(),
        refusal: wanted.and_then(|wanted| find(refusals, wanted.id)),
        refuses: refusals.map_or(0, |refusals| refusals.count),
    }
}

/// All nodes by id, compared with what a distribution wants of them.
pub(super) fn rows(site: &Site, wanted: Option<Wanted<'_>>) -> Vec<NodeRow> {
    rows_of(&site.context.views.borrow(), &site.reports.borrow(), wanted)
}

fn rows_of(view: &View, reports: &BTreeMap<String, Report>, wanted: Option<Wanted<'_>>) -> Vec<NodeRow> {
    let ids: BTreeSet<&String> = view.members.keys().chain(view.roster.keys()).collect();
    ids.into_iter().map(|id| row(view, reports, id, wanted)).collect()
}

impl NodeRow {
    /// How it stands towards `revision`.
    fn progress(&self, revision: u64) -> Markup {
        let done = self.applied.is_some_and(|applied| applied >= revision);
        html! {
            @if !self.lacking.is_empty() {
                (state("bad", "Refuses it")) span class="less" { "lacks " (self.lacking.join(", ")) }
            } @else if self.excluded {
                (state("off", "Excluded")) span class="less" { "was silent too long; counts again once it has caught up" }
            } @else if self.live.is_none() && !done {
                (state("bad", "Silent")) span class="less" { "has not said that it has it" }
            } @else if let Some(refusal) = self.refusal.as_ref().filter(|_| done) {
                (state("bad", "Refuses it"))
                span class="less" { (refusal.reason) @if refusal.serves_older { "; serves the form before" } }
            } @else if done {
                (state("good", "Has it"))
            } @else {
                (state("busy", "Behind"))
                @if let Some(applied) = self.applied { span class="less" { (revision - applied) " revisions" } }
            }
        }
    }

    fn health(&self) -> Markup {
        html! {
            @match self.live {
                Some("ready") => (state("good", "Ready")),
                Some("draining") => (state("busy", "Draining")),
                Some(other) => (state("busy", other)),
                None => (state("bad", "Lapsed")),
            }
            @if self.live.is_none() && self.lapsed_ms > 0 { span class="less" { "since " (moment(self.lapsed_ms)) } }
            @if let Some(seconds) = self.hangs_for {
                span class="less" { "hangs: has not moved on for " (seconds) " s" }
            }
            @if self.drain { span class="less" { "an operator drains it" } }
            @if self.excluded { span class="less" { "excluded from Deployed" } }
            // Not which: pages are for accounts.
            @if self.refuses > 0 { span class="less" { "refuses " (self.refuses) " distributions" } }
        }
    }
}

/// The nodes as a table; `progress` is the revision they are compared with, and how that column is called.
pub(super) fn table(nodes: &[NodeRow], revision: u64, caption: &str, progress: &str) -> Markup {
    html! {
        @if nodes.is_empty() { p class="empty" { "No node has registered yet." } } @else {
            div class="scroll" tabindex="0" role="region" aria-label="Nodes" {
                table {
                    caption { (caption) }
                    thead {
                        tr { @for name in ["Node", "Role", "Zone", "State", "Applied revision", progress, "Version"] { th scope="col" { (name) } } }
                    }
                    tbody {
                        @for node in nodes {
                            tr {
                                th scope="row" { (node.id) }
                                td { (node.role) }
                                td { (node.zone) }
                                td { (node.health()) }
                                td { @match node.applied { Some(number) => (number), None => "none" } }
                                td { (node.progress(revision)) }
                                td { (node.version) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// GET `/console/nodes`.
pub(super) async fn page(State(site): State<Site>, visitor: Visitor) -> Response {
    let view = site.context.views.borrow().clone();
    let nodes = rows(&site, None);
    let behind = nodes.iter().filter(|n| n.applied.is_none_or(|applied| applied < view.revision)).count();
    let edges = nodes.iter().filter(|n| n.role == "edge" && n.live.is_some()).count();
    let content = html! {
        @if edges == 0 {
            div class="note warn" { p { "No edge is alive: nothing is deployed until one is." } }
        }
        section {
            h2 { "Config" }
            dl {
                dt { "Newest revision" } dd { (view.revision) }
                dt { "Deployed on every node" } dd { @if view.deployed_floor == 0 { "none yet" } @else { "up to " (view.deployed_floor) } }
                dt { "Nodes behind the newest" } dd { (behind) " of " (nodes.len()) }
            }
        }
        section { h2 { "Nodes" } (table(&nodes, view.revision, "Edges and shields by id", "Newest revision")) }
    };
    Page::new("Nodes", Section::Nodes, &visitor).answer(StatusCode::OK, content)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::v1::{NodeState, Refusals, RefusedDistribution, Revision};

    use super::*;

    fn view() -> View {
        let revision = |number, store: &str| Some(Revision { store_id: store.into(), number });
        let member = |id: &str, applied, state: NodeState, features: &[&str]| {
            let member = RegisterRequest {
                node_id: id.into(),
                role: NodeRole::Edge.into(),
                state: state.into(),
                applied,
                features: features.iter().map(|f| (*f).to_owned()).collect(),
                ..Default::default()
            };
            (id.to_owned(), Arc::new(member))
        };
        let refused = |id: &str| RefusedDistribution {
            id: id.into(),
            reason: "origin: is none".into(),
            serves_older: true,
        };
        let refusals = Refusals { listed: vec![refused("E1"), refused("E2")], count: 2 };
        let (id, refuses) = member("g-refuses", revision(9, "s"), NodeState::Ready, &["signed-names"]);
        let refuses = Arc::new(RegisterRequest { refusals: Some(refusals), ..(*refuses).clone() });
        let entry = |id: &str, lapsed_ms, excluded, drain, applied| {
            let role = NodeRole::Shield.into();
            let entry = RosterEntry {
                node_id: id.into(),
                role,
                lapsed_ms,
                excluded,
                drain,
                applied,
                store_id: "s".into(),
                ..Default::default()
            };
            (id.to_owned(), Arc::new(entry))
        };
        View {
            store_id: "s".into(),
            revision: 9,
            members: Arc::new(
                [
                    member("a-new", revision(9, "s"), NodeState::Ready, &["signed-names"]),
                    member("b-behind", revision(7, "s"), NodeState::Draining, &["signed-names"]),
                    member("c-old", revision(9, "s"), NodeState::Ready, &[]),
                    member("d-other", revision(99, "before"), NodeState::Ready, &["signed-names"]),
                    (id, refuses),
                ]
                .into(),
            ),
            roster: Arc::new(
                [
                    entry("a-new", 0, false, true, 9),
                    entry("e-gone", 60_000, false, false, 3),
                    entry("f-out", 1, true, false, 2),
                ]
                .into(),
            ),
            ..View::default()
        }
    }

    #[test]
    fn each_node_is_shown_as_it_stands() {
        let hanging = Report {
            role: NodeRole::Edge,
            condition: Condition::Hanging,
            behind_since: Some(tokio::time::Instant::now()),
            applied: 7,
            refused: 0,
        };
        let reports = BTreeMap::from([("b-behind".to_owned(), hanging)]);
        let wanted = Wanted { id: "E1", features: &["signed-names".to_owned()] };
        let rows = rows_of(&view(), &reports, Some(wanted));
        let ids: Vec<_> = rows.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids, ["a-new", "b-behind", "c-old", "d-other", "e-gone", "f-out", "g-refuses"]);
        let says = |i: usize, word: &str| {
            let text = format!("{}{}", rows[i].progress(9).into_string(), rows[i].health().into_string());
            assert!(text.contains(word), "{word}: {text}");
        };
        says(0, "Has it");
        says(0, "an operator drains it");
        says(1, "2 revisions");
        says(1, "Draining");
        says(1, "hangs: has not moved on for 0 s");
        says(2, "lacks signed-names");
        says(3, "Behind");
        assert_eq!(rows[3].applied, None, "another store's revision is none of this one's");
        says(4, "Silent");
        says(4, "1970-01-01 00:01:00 UTC");
        says(5, "Excluded");
        says(6, "Refuses it");
        says(6, "origin: is none; serves the form before");
        says(6, "refuses 2 distributions");
        // Of another account's distribution nobody is told.
        assert!(!rows[6].health().into_string().contains("E2"));
        let others = rows_of(&view(), &reports, Some(Wanted { id: "E3", features: &[] }));
        assert!(others[6].progress(9).into_string().contains("Has it"));
    }
}
