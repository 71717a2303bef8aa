//! Which shield is home to which bytes.
//!
//! **Placement is a wire contract.** Every edge, of every build, must place the same bytes on the same shield, or S3 is
//! read twice and caches halve. So positions are hashed from explicit bytes with a fixed hash:
//!
//! * `position(bytes)` is the first eight bytes of SHA-256, as a big-endian number;
//! * a shield of weight *w* (hundredths; 0 means 100) has `max(1, 1024 × w / 100)` points, point *i* at
//!   `position(node_id 0x00 i)`, *i* as four bytes, big-endian;
//! * a segment is at `position(origin_id 0x00 key 0x00 segment)`, the segment's number as eight bytes, big-endian;
//! * its home is the node of the first point at or after that, going around; its fallbacks are the nodes of the points after.
//!
//! **Why 1,024 points.** A shield's share is a sum of as many random arcs, so its deviation is about 1 / √points of it. The
//! promise is that of eight shields the busiest has at most 1.15 times the mean, whatever they are called: with 128 points that
//! is 1.7 deviations, which three clusters in ten miss; with 512 it is 3.6, missed by about one in a thousand; with 1,024 it is
//! 5, missed by about one in a million. Twice as many would cost twice as much and promise nothing more that anyone could
//! notice. A ring of eight costs 8,192 hashes (4 ms) and 320 KiB, once a change of its shields; a lookup costs 0.2 µs beside
//! the hash of the key.
//!
//! hashring keeps the points in order and finds the home; it has one point a node, repeats nodes among replicas and copies all
//! points to list them, so points are made here, and fallbacks are found by walking a list of our own. The tests hold
//! golden values.

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use proto::object::ObjectKey;
use sha2::{Digest, Sha256};

/// Points of a shield of normal weight.
pub const POINTS: u32 = 1024;
/// Most points of one shield: a mistyped weight must not fill memory.
const MOST_POINTS: u32 = POINTS * 100;

/// Where `bytes` lie on the ring.
pub fn position(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digest = hash.finalize();
    u64::from_be_bytes(digest[..8].try_into().unwrap_or_default())
}

/// Where a segment of an object lies on the ring.
pub fn position_of(object: &ObjectKey, segment: u64) -> u64 {
    position(&[object.origin.as_str().as_bytes(), &[0], object.key.as_bytes(), &[0], &segment.to_be_bytes()])
}

/// A point of a node, or a segment looked for: already hashed.
#[derive(Clone, Copy, Debug)]
struct Point {
    at: u64,
    node: usize,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.at);
    }
}

/// Hands a position through: the hashing is done by [`position`], where its bytes are explicit.
#[derive(Clone, Default)]
struct Positions(u64);

impl Hasher for Positions {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only write_u64 is used; this keeps other calls deterministic.
        self.0 = position(&[&self.0.to_be_bytes(), bytes]);
    }

    fn write_u64(&mut self, position: u64) {
        self.0 = position;
    }
}

impl BuildHasher for Positions {
    type Hasher = Positions;

    fn build_hasher(&self) -> Positions {
        Positions::default()
    }
}

/// Points of some nodes, named by their index in the list the ring was made of.
pub struct Ring {
    points: HashRing<Point, Positions>,
    /// The same points, to walk along: (position, node), ascending.
    walk: Vec<(u64, u32)>,
    nodes: usize,
}

impl Ring {
    /// A ring of nodes, each (id, weight in hundredths). The order of the list does not matter to placement.
    pub fn new<'a>(nodes: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let mut points = Vec::new();
        let mut named: Vec<(usize, &str, u32)> =
            nodes.into_iter().enumerate().map(|(node, (id, weight))| (node, id, weight)).collect();
        // Should two points ever collide, the order of ids decides, not the order of the list.
        named.sort_by_key(|&(_, id, _)| id);
        for &(node, id, weight) in &named {
            let weight = if weight == 0 { 100 } else { weight };
            let count = (u64::from(POINTS) * u64::from(weight) / 100).clamp(1, u64::from(MOST_POINTS)) as u32;
            for index in 0..count {
                points.push(Point { at: position(&[id.as_bytes(), &[0], &index.to_be_bytes()]), node });
            }
        }
        let mut walk: Vec<(u64, u32)> = points.iter().map(|p: &Point| (p.at, p.node as u32)).collect();
        // Stable, as hashring's own sort: a collision is settled alike in both.
        walk.sort_by_key(|&(at, _)| at);
        let mut ring = HashRing::with_hasher(Positions::default());
        ring.batch_add(points);
        Self { points: ring, walk, nodes: named.len() }
    }

    /// The home of what lies at `position`; `None` on an empty ring.
    pub fn home(&self, position: u64) -> Option<usize> {
        self.points.get(&Point { at: position, node: 0 }).map(|point| point.node)
    }

    /// Every node once, the home first, then in the order fallbacks are asked. Found as they are taken: the home and its first
    /// fallback cost a few points, the last of many nodes may cost hundreds.
    pub fn order(&self, position: u64) -> impl Iterator<Item = usize> + use<'_> {
        let start = self.walk.partition_point(|&(at, _)| at < position);
        let (before, from) = self.walk.split_at(start);
        let mut seen = vec![false; self.nodes];
        let home = self.home(position).inspect(|&node| seen[node] = true);
        // Stops at the last node, not at the last point.
        let mut left = self.nodes - usize::from(home.is_some());
        let mut points = from.iter().chain(before);
        home.into_iter().chain(std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let next = points.find(|&&(_, node)| !std::mem::replace(&mut seen[node as usize], true))?;
            left -= 1;
            Some(next.1 as usize)
        }))
    }
}

#[cfg(test)]
mod tests;
