//! Somebody who deletes and damages what is staged: segments that wait to be merged, and files that are held.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proto::access_log::Segment;

use super::world::*;
use super::*;
use crate::access_log::ledger;

/// Does it now and then until it is calm; the records in what was destroyed go into `destroyed`.
pub(super) async fn sabotage(
    chance: Chance,
    calm: Arc<AtomicBool>,
    world: Arc<World>,
    destroyed: Arc<Mutex<BTreeSet<u64>>>,
) {
    while !calm.load(Ordering::Relaxed) {
        tokio::time::sleep(chance.ms(25_000)).await;
        let mut objects: Vec<(String, Bytes)> = world.staging.objects().into_iter().collect();
        if objects.is_empty() {
            continue;
        }
        let (key, object) = objects.swap_remove(chance.below(objects.len() as u64) as usize);
        let Some(ids) = ids(&world, &object).await else { continue };
        destroyed.lock().unwrap().extend(ids);
        if chance.of_1000(500) {
            world.staging.delete(&key).await.unwrap();
        } else {
            world.staging.put(&key, damaged(&object)).await.unwrap();
        }
    }
}

/// The same with another byte in its middle.
pub(super) fn damaged(object: &Bytes) -> Bytes {
    let mut bytes = object.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    bytes.into()
}

/// The records in a staged object that may be destroyed; not one that is damaged already, nor a segment that nobody has entered: of such, the sweeper
/// leaves alone what is damaged, for a person to look at.
async fn ids(world: &World, object: &Bytes) -> Option<Vec<u64>> {
    if let Ok(segment) = Segment::open(object.clone()) {
        world.store.get(&ledger::segment_key(&segment.id)).await.unwrap()?;
        let records = segment.records().map(|record| record.unwrap().0);
        return Some(
            records.filter(|r| r.target.is_some()).map(|r| r.uri_query[2..].parse().unwrap()).collect(),
        );
    }
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&object[..]).read_to_end(&mut text).ok()?;
    Some(lines(object).into_iter().map(|(id, _)| id).collect())
}
