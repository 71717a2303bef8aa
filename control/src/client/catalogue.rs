//! The distributions of one revision, as a node looks them up: by the host viewers name, and by origin.
//!
//! A catalogue is a value: an update makes a new one, so a session keeps the document it began with. A document a node
//! can't take is refused alone. One that requires a feature the node lacks is taken out of service even if an older form
//! of it was known (an old edge must not serve as public what has become private); one that is merely invalid leaves the
//! older form in place.
//!
//! Catalogues share what did not change between them, and a change costs what it changes: a node may know ten thousand distributions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use proto::distribution::{lacking_features, validate};
use proto::object::OriginId;
use proto::purge::Scope;
use proto::v1::{Delta, Distribution, Published, Purge, Revision};

pub use access::Access;
pub use shards::Shards;

pub mod access;
pub mod refusals;
mod shards;

/// Purges a node remembers; the oldest go first. Owners act on a purge as it arrives, so this only has to span the
/// changes that one slow reader of the catalogue may miss.
pub const PURGES_KEPT: usize = 4096;

/// Where an origin's bytes live and how they are read: what a shield needs behind an origin id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginEntry {
    /// The bucket as operators write it, e.g. `BUCKET.s3.amazonaws.com`.
    pub host: String,
    /// Name of the credential; empty means anonymous.
    pub credential: String,
    /// The accounts whose distributions read it; an empty one is the operator.
    pub accounts: BTreeSet<String>,
}

/// A document this node did not take, and why.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The document as it came.
    pub document: Arc<Distribution>,
    /// What is wrong with it; names the field or the features.
    pub reason: String,
}

/// Everything a node knows of the config at one revision.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// The revision it stands at; the store id is empty while nothing is known.
    pub revision: Revision,
    /// Documents by id.
    pub distributions: Shards<String, Arc<Distribution>>,
    /// Names are unique in the store; should two documents still claim one (a kept old form), the smaller id comes first, on every node alike.
    by_host: Shards<String, Vec<Arc<Distribution>>>,
    /// Origins of all documents, enabled or not.
    pub origins: Arc<HashMap<OriginId, OriginEntry>>,
    /// How many documents of which account an origin has.
    uses: Shards<OriginId, BTreeMap<String, usize>>,
    /// Orders to forget, oldest first. Owners compare ids with those they have carried out.
    pub purges: Vec<Purge>,
    /// Documents refused, by id.
    pub refused: BTreeMap<String, Refused>,
    /// Who may sign names, and by which keys shields read.
    pub access: Access,
}

impl Catalogue {
    /// Nothing known yet.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Whether nothing is known yet.
    pub fn is_empty(&self) -> bool {
        self.revision.store_id.is_empty()
    }

    /// The distribution whose domain or alias is `host` (lower case, no port), enabled or not.
    pub fn find_host(&self, host: &str) -> Option<&Arc<Distribution>> {
        self.by_host.get(host)?.first()
    }

    /// The catalogue of a full snapshot. Of the documents that are invalid, the form known before stays if the store is
    /// the same.
    pub fn replace(&self, revision: Revision, documents: Vec<Distribution>, purges: Vec<Purge>) -> Self {
        let mut next = Self { revision, purges, ..Self::default() };
        let same_store = next.revision.store_id == self.revision.store_id;
        for document in documents {
            let known = if same_store { self.distributions.get(&document.id).cloned() } else { None };
            next.upsert(document, known);
        }
        next
    }

    /// This catalogue with a snapshot's signers, secrets and grants in place of its own.
    pub fn with_published(mut self, published: Published) -> Self {
        self.access = Access::default();
        self.access.take(published);
        self
    }

    /// The catalogue after one change. The caller has checked that the change follows this revision.
    pub fn apply(&self, delta: Delta) -> Self {
        let mut next = self.clone();
        next.revision = delta.revision.unwrap_or_default();
        let mut left: Vec<OriginId> = Vec::new();
        for id in &delta.deletes {
            left.extend(next.take_out(id).map(|document| OriginId::from_wire(&document.origin_id)));
            next.refused.remove(id);
        }
        for document in delta.upserts {
            let known = next.take_out(&document.id);
            left.extend(known.iter().map(|document| OriginId::from_wire(&document.origin_id)));
            next.upsert(document, known);
        }
        for origin in left {
            let Some(users) = next.uses.get(&origin) else { continue };
            if users.is_empty() {
                next.uses.remove(&origin);
                Arc::make_mut(&mut next.origins).remove(&origin);
            } else if next.origins.get(&origin).is_some_and(|entry| !entry.accounts.iter().eq(users.keys())) {
                let accounts = users.keys().cloned().collect();
                if let Some(entry) = Arc::make_mut(&mut next.origins).get_mut(&origin) {
                    entry.accounts = accounts;
                }
            }
        }
        let known: HashSet<&str> = self.purges.iter().map(|p| p.id.as_str()).collect();
        next.purges.extend(delta.purges.into_iter().filter(|p| !known.contains(p.id.as_str())));
        let over = next.purges.len().saturating_sub(PURGES_KEPT);
        next.purges.drain(..over);
        for key in &delta.removed {
            next.access.remove(key);
        }
        next.access.take(delta.published.unwrap_or_default());
        next
    }

    /// Whether there may have been purges that are neither in `done` (all that were carried out at the last look) nor listed any more: the list
    /// is full, and nothing of what it had then is left.
    pub fn has_lost_purges(&self, done: &HashSet<String>) -> bool {
        self.purges.len() >= PURGES_KEPT && !self.purges.iter().any(|purge| done.contains(&purge.id))
    }

    /// Everything of all origins: what is to be forgotten where orders were lost.
    pub fn whole(&self) -> Scope {
        Scope::of(self.origins.keys().map(|origin| (origin.as_str(), "", false)))
    }

    fn upsert(&mut self, document: Distribution, known: Option<Arc<Distribution>>) {
        let document = Arc::new(document);
        let id = document.id.clone();
        let lacking = lacking_features(&document);
        let (reason, kept) = if !lacking.is_empty() {
            (format!("required_features: this node lacks {}", lacking.join(", ")), None)
        } else if let Err(invalid) = validate(&document) {
            (invalid.to_string(), known)
        } else {
            self.refused.remove(&id);
            self.put_in(document);
            return;
        };
        tracing::warn!(distribution = %id, %reason, kept_old = kept.is_some(), "distribution refused");
        if let Some(kept) = kept {
            self.put_in(kept);
        }
        self.refused.insert(id, Refused { document, reason });
    }

    /// Puts a document in service; there must be none of its id.
    fn put_in(&mut self, document: Arc<Distribution>) {
        for host in hosts(&document) {
            let claims = self.by_host.entry(host.clone());
            let at = claims.partition_point(|other| other.id < document.id);
            claims.insert(at, document.clone());
        }
        let origin = OriginId::from_wire(&document.origin_id);
        let users = self.uses.entry(origin.clone());
        let of_account = users.entry(document.account.clone()).or_default();
        *of_account += 1;
        if *of_account == 1 {
            let accounts = users.keys().cloned().collect();
            let (host, credential) = (document.origin_host.clone(), document.credential.clone());
            Arc::make_mut(&mut self.origins).insert(origin, OriginEntry { host, credential, accounts });
        }
        self.distributions.insert(document.id.clone(), document);
    }

    /// Takes a document out of service. Its origin stays until nobody else is found to use it.
    fn take_out(&mut self, id: &str) -> Option<Arc<Distribution>> {
        let document = self.distributions.remove(id)?;
        for host in hosts(&document) {
            let claims = self.by_host.entry(host.clone());
            claims.retain(|other| other.id != id);
            if claims.is_empty() {
                self.by_host.remove(host);
            }
        }
        let users = self.uses.entry(OriginId::from_wire(&document.origin_id));
        if let Some(of_account) = users.get_mut(&document.account) {
            *of_account -= 1;
            if *of_account == 0 {
                users.remove(&document.account);
            }
        }
        Some(document)
    }
}

fn hosts(document: &Distribution) -> impl Iterator<Item = &String> {
    std::iter::once(&document.domain).chain(&document.aliases)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proto::v1::DistributionKind;

    pub(crate) fn document(id: &str, alias: &str) -> Distribution {
        let tail: String = id.to_lowercase().chars().skip(1).take(13).collect();
        Distribution {
            id: id.into(),
            kind: DistributionKind::Streaming.into(),
            domain: format!("s{tail:0<13}.penstock.localhost"),
            aliases: vec![alias.into()],
            enabled: true,
            origin_host: "media.s3.amazonaws.com".into(),
            origin_id: OriginId::of("media.s3.amazonaws.com", "").as_str().into(),
            ..Default::default()
        }
    }

    fn at(number: u64) -> Revision {
        Revision { store_id: "a".into(), number }
    }

    #[test]
    fn hosts_and_origins_are_found() {
        let doc = document("E1234567890123", "film.example");
        let catalogue = Catalogue::empty().replace(at(1), vec![doc.clone()], vec![]);
        assert_eq!(catalogue.find_host("film.example").unwrap().id, doc.id);
        assert_eq!(catalogue.find_host(&doc.domain).unwrap().id, doc.id);
        assert!(catalogue.find_host("other.example").is_none());
        assert_eq!(catalogue.origins[&OriginId::from_wire(&doc.origin_id)].host, "media.s3.amazonaws.com");
        let gone =
            catalogue.apply(Delta { revision: Some(at(2)), deletes: vec![doc.id], ..Default::default() });
        assert!(gone.find_host("film.example").is_none());
        assert!(gone.origins.is_empty());
    }

    #[test]
    fn an_origin_knows_the_accounts_that_read_it() {
        let of = |id: &str, account: &str| Distribution {
            account: account.into(),
            ..document(id, &format!("{}.example", id.to_lowercase()))
        };
        let (one, two, three) = (
            of("E1234567890123", "111111111111"),
            of("E1234567890124", "222222222222"),
            of("E1234567890125", ""),
        );
        let accounts = |catalogue: &Catalogue| -> Vec<String> {
            let entry = &catalogue.origins[&OriginId::from_wire(&one.origin_id)];
            entry.accounts.iter().cloned().collect()
        };
        let first = Catalogue::empty().replace(
            at(1),
            vec![one.clone(), two.clone(), of("E1234567890126", "111111111111")],
            vec![],
        );
        assert_eq!(accounts(&first), ["111111111111", "222222222222"]);
        let delta = Delta {
            revision: Some(at(2)),
            upserts: vec![three],
            deletes: vec![two.id.clone()],
            ..Default::default()
        };
        let second = first.apply(delta);
        assert_eq!(accounts(&second), ["", "111111111111"]);
        let delta =
            Delta { revision: Some(at(3)), upserts: vec![of(&one.id, "333333333333")], ..Default::default() };
        assert_eq!(accounts(&second.apply(delta)), ["", "111111111111", "333333333333"]);
        let delta = Delta { revision: Some(at(3)), deletes: vec![one.id.clone()], ..Default::default() };
        assert_eq!(accounts(&second.apply(delta)), ["", "111111111111"], "one of two is left");
        assert_eq!(accounts(&first), ["111111111111", "222222222222"], "a catalogue is a value");
    }

    #[test]
    fn orders_that_were_dropped_unseen_are_noticed() {
        let orders = |from: usize, to: usize| {
            let purges = (from..to).map(|i| Purge { id: i.to_string(), ..Default::default() });
            Delta { revision: Some(at(2)), purges: purges.collect(), ..Default::default() }
        };
        let done = |catalogue: &Catalogue| catalogue.purges.iter().map(|p| p.id.clone()).collect();
        let first = Catalogue::empty()
            .replace(at(1), vec![document("E1234567890123", "a.example")], vec![])
            .apply(orders(0, 10));
        let seen: HashSet<String> = done(&first);
        assert!(
            !first.apply(orders(10, PURGES_KEPT + 9)).has_lost_purges(&seen),
            "one that was seen is left"
        );
        let lost = first.apply(orders(10, PURGES_KEPT + 11));
        assert!(lost.has_lost_purges(&seen) && !lost.whole().is_empty());
        assert!(!lost.has_lost_purges(&done(&lost)));
    }

    #[test]
    fn an_invalid_document_is_refused_alone_and_its_old_form_stays() {
        let (good, other) =
            (document("E1234567890123", "a.example"), document("E1234567890124", "b.example"));
        let first = Catalogue::empty().replace(at(1), vec![good.clone()], vec![]);
        let broken = Distribution { origin_host: "no bucket".into(), ..good.clone() };
        let delta = Delta {
            revision: Some(at(2)),
            upserts: vec![broken.clone(), other.clone()],
            ..Default::default()
        };
        let second = first.apply(delta);
        assert_eq!(second.find_host("a.example").unwrap().origin_host, good.origin_host);
        assert!(second.find_host("b.example").is_some());
        assert!(second.refused[&good.id].reason.starts_with("origin:"));
        let third = second.replace(at(3), vec![broken, other], vec![]);
        assert!(third.find_host("a.example").is_some());
        let repaired =
            third.apply(Delta { revision: Some(at(4)), upserts: vec![good], ..Default::default() });
        assert!(repaired.refused.is_empty());
    }

    #[test]
    fn changes_leave_the_same_look_ups_as_a_snapshot() {
        let origin = |n: usize| format!("bucket-{n}.s3.amazonaws.com");
        let make = |i: usize, version: usize| {
            let host = origin((i + version) % 3);
            Distribution {
                origin_id: OriginId::of(&host, "").as_str().into(),
                origin_host: host,
                // Now and then two claim one name.
                ..document(&format!("E{i:013}"), &format!("{}.example", (i * 7 + version * 3) % 11))
            }
        };
        let mut now: BTreeMap<usize, Distribution> = BTreeMap::new();
        let mut changed = Catalogue::empty();
        for step in 0..200usize {
            let i = (step * 5) % 8;
            let mut delta = Delta { revision: Some(at(step as u64 + 1)), ..Default::default() };
            if step % 3 == 2 {
                now.remove(&i);
                delta.deletes.push(format!("E{i:013}"));
            } else {
                now.insert(i, make(i, step));
                delta.upserts.push(make(i, step));
            }
            changed = changed.apply(delta);
            let whole = Catalogue::empty().replace(at(1), now.values().cloned().collect(), vec![]);
            assert_eq!(changed.distributions.len(), now.len());
            assert_eq!(changed.origins, whole.origins, "step {step}");
            for n in 0..11 {
                let name = format!("{n}.example");
                let [a, b] = [&changed, &whole].map(|c| c.find_host(&name).map(|d| d.id.clone()));
                assert_eq!(a, b, "step {step}, {name}");
            }
        }
    }

    #[test]
    fn a_document_that_requires_more_than_the_node_has_leaves_service() {
        let doc = document("E1234567890123", "a.example");
        let first = Catalogue::empty().replace(at(1), vec![doc.clone()], vec![]);
        let private = Distribution { required_features: vec!["signed".into()], ..doc };
        let second =
            first.apply(Delta { revision: Some(at(2)), upserts: vec![private], ..Default::default() });
        assert!(second.find_host("a.example").is_none());
        assert_eq!(second.refused.len(), 1);
    }

    #[test]
    fn purges_are_kept_once_and_within_a_bound() {
        let purge = |i: usize| Purge { id: i.to_string(), ..Default::default() };
        let first = Catalogue::empty().replace(at(1), vec![], vec![purge(0)]);
        let purges: Vec<Purge> = (0..PURGES_KEPT + 10).map(purge).collect();
        let second = first.apply(Delta { revision: Some(at(2)), purges, ..Default::default() });
        assert_eq!(second.purges.len(), PURGES_KEPT);
        assert_eq!(second.purges.last().unwrap().id, (PURGES_KEPT + 9).to_string());
    }
}
