//! A map that is cheap to copy and change a little: a change copies one of many parts, and the copy shares the others.
//!
//! Catalogues are values, and a busy cluster makes a new one every few seconds: with ten thousand distributions a plain map would be copied whole
//! each time.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Parts: some forty entries each with ten thousand.
const PARTS: usize = 256;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Shards<K, V> {
    parts: Vec<Arc<HashMap<K, V>>>,
    len: usize,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self { parts: Vec::new(), len: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn part<Q: Hash + ?Sized>(key: &Q) -> usize {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish() as usize % PARTS
    }

    /// The value of `key`.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.parts.get(Self::part(key))?.get(key)
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }

    fn part_mut<Q: Hash + ?Sized>(&mut self, key: &Q) -> &mut HashMap<K, V> {
        if self.parts.is_empty() {
            self.parts = vec![Arc::default(); PARTS];
        }
        Arc::make_mut(&mut self.parts[Self::part(key)])
    }

    /// Sets the value of `key`; the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = self.part_mut(&key).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes the entry of `key` away.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        // Not to copy a part for nothing.
        if !self.contains_key(key) {
            return None;
        }
        let before = self.part_mut(key).remove(key);
        self.len -= usize::from(before.is_some());
        before
    }

    /// The value of `key`, to be changed; one that is absent begins as the default.
    pub fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.len += usize::from(!self.contains_key(&key));
        self.part_mut(&key).entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_map_whose_copies_do_not_see_each_other_s_changes() {
        let mut one: Shards<String, u32> = Shards::default();
        assert!(one.is_empty() && one.get("a").is_none() && one.remove("a").is_none());
        for i in 0..1000 {
            assert_eq!(one.insert(i.to_string(), i), None);
        }
        let two = one.clone();
        assert_eq!(one.insert("7".into(), 70), Some(7));
        assert_eq!(one.remove("8"), Some(8));
        *one.entry("new".into()) += 5;
        assert_eq!(
            (one.len(), one.get("7"), one.get("8"), one.get("new")),
            (1000, Some(&70), None, Some(&5))
        );
        assert_eq!((two.len(), two.get("7"), two.get("8"), two.get("new")), (1000, Some(&7), Some(&8), None));
        assert_eq!(one.values().count(), 1000);
        assert_eq!(two.iter().map(|(_, v)| u64::from(*v)).sum::<u64>(), 499_500);
        let changed = one.parts.iter().zip(&two.parts).filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert!(changed <= 3, "{changed} parts were copied");
    }
}
