//! What orders to forget name, and whether an object is among it.
//!
//! An order names one key of an origin ([`exact`](crate::v1::Purge::exact)) or all that begin alike. A node that was away, or an invalidation of many
//! paths, has thousands of them at once: [`Scope`] takes them together, so that a cache is walked once, and asks of each entry one look-up and not one
//! comparison an order. A node of an older version knows no single keys and forgets what begins alike: too much, which costs fetches only.

use std::collections::{HashMap, HashSet};

use crate::object::{ObjectKey, OriginId};
use crate::v1::{Purge, PurgeRequest};

/// Objects a scope lists one by one; past them a cache is walked, which costs no more than it holds.
const NAMED_MAX: usize = 4096;

#[derive(Clone, Debug, Default)]
struct OfOrigin {
    keys: HashSet<Box<str>>,
    /// In order, none of them the beginning of another: whatever a prefix covers lies between it and the next one.
    prefixes: Vec<Box<str>>,
}

impl OfOrigin {
    fn covers(&self, key: &str) -> bool {
        let at = self.prefixes.partition_point(|prefix| &**prefix <= key);
        at.checked_sub(1).is_some_and(|at| key.starts_with(&*self.prefixes[at])) || self.keys.contains(key)
    }
}

/// What a set of orders names.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    origins: HashMap<OriginId, OfOrigin>,
}

impl Scope {
    /// What orders name: the origin, the key, and whether only this key is meant, not those that begin with it.
    pub fn of<'a>(orders: impl IntoIterator<Item = (&'a str, &'a str, bool)>) -> Self {
        let mut origins: HashMap<OriginId, OfOrigin> = HashMap::new();
        for (origin, key, exact) in orders {
            let of_origin = origins.entry(OriginId::from_wire(origin)).or_default();
            if exact {
                of_origin.keys.insert(key.into());
            } else {
                of_origin.prefixes.push(key.into());
            }
        }
        for OfOrigin { prefixes, .. } in origins.values_mut() {
            prefixes.sort_unstable();
            // What is dropped here begins with the one kept before it.
            prefixes.dedup_by(|next, kept| next.starts_with(&**kept));
        }
        Self { origins }
    }

    /// What these published orders name.
    pub fn of_purges<'a>(purges: impl IntoIterator<Item = &'a Purge>) -> Self {
        Self::of(purges.into_iter().map(|p| (p.origin_id.as_str(), p.key_prefix.as_str(), p.exact)))
    }

    /// What one order names.
    pub fn of_request(order: &PurgeRequest) -> Self {
        Self::of([(order.origin_id.as_str(), order.key_prefix.as_str(), order.exact)])
    }

    /// Everything of an origin.
    pub fn whole(origin: &OriginId) -> Self {
        Self::of([(origin.as_str(), "", false)])
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Whether `object` is among it.
    pub fn covers(&self, object: &ObjectKey) -> bool {
        self.origins.get(&object.origin).is_some_and(|of_origin| of_origin.covers(&object.key))
    }

    /// All objects it names, if those can be listed: no order names more than one key.
    pub fn named(&self) -> Option<Vec<ObjectKey>> {
        let keys: usize = self.origins.values().map(|of_origin| of_origin.keys.len()).sum();
        if keys > NAMED_MAX || self.origins.values().any(|of_origin| !of_origin.prefixes.is_empty()) {
            return None;
        }
        let objects = self.origins.iter().flat_map(|(origin, of_origin)| {
            of_origin.keys.iter().map(|key| ObjectKey::new(origin.clone(), key))
        });
        Some(objects.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(origin: &str, key: &str) -> ObjectKey {
        ObjectKey::new(OriginId::from_wire(origin), key)
    }

    #[test]
    fn an_order_names_one_key_or_those_that_begin_alike_in_its_origin() {
        let scope = Scope::of([("o", "films/a", true), ("o", "songs/", false), ("p", "", false)]);
        for (origin, key, is) in [
            ("o", "films/a", true),
            ("o", "films/a.mp4", false),
            ("o", "films/", false),
            ("o", "songs/x", true),
            ("o", "songs/", true),
            ("o", "songs", false),
            ("p", "anything", true),
            ("q", "songs/x", false),
        ] {
            assert_eq!(scope.covers(&object(origin, key)), is, "{origin} {key}");
        }
        assert!(scope.named().is_none(), "too many to list");
        assert!(Scope::default().is_empty() && !scope.is_empty());
    }

    #[test]
    fn single_keys_can_be_listed_up_to_a_bound() {
        let scope = Scope::of([("o", "a", true), ("p", "b", true), ("o", "a", true)]);
        let mut named = scope.named().unwrap();
        named.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(named, [object("o", "a"), object("p", "b")]);
        let keys: Vec<String> = (0..=NAMED_MAX).map(|n| n.to_string()).collect();
        let many = Scope::of(keys.iter().map(|key| ("o", key.as_str(), true)));
        assert!(many.named().is_none() && many.covers(&object("o", "77")));
    }

    proptest! {
        #[test]
        fn a_scope_covers_what_any_of_its_orders_does(
            orders in prop::collection::vec(("[op]", "[ab*é]{0,3}", any::<bool>()), 0..12),
            origin in "[opq]",
            key in "[ab*é]{0,5}",
        ) {
            let scope = Scope::of(orders.iter().map(|(o, k, e)| (o.as_str(), k.as_str(), *e)));
            let wanted = orders.iter().any(|(o, k, exact)| {
                *o == origin && if *exact { *k == key } else { key.starts_with(k.as_str()) }
            });
            prop_assert_eq!(scope.covers(&object(&origin, &key)), wanted);
        }
    }
}
