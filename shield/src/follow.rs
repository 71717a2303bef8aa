//! What control publishes, applied to a shield: origins to know, orders to forget.

use std::collections::HashSet;
use std::sync::Arc;

use control::client::Catalogue;
use proto::object::OriginId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Shield;

/// Keeps `shield` at the newest `catalogue` until `shutdown` or until the catalogue's owner is gone.
pub async fn follow(
    shield: Arc<Shield>,
    mut catalogue: watch::Receiver<Arc<Catalogue>>,
    shutdown: CancellationToken,
) {
    let mut done: HashSet<String> = HashSet::new();
    loop {
        let newest = catalogue.borrow_and_update().clone();
        apply(&shield, &newest);
        for purge in &newest.purges {
            if done.insert(purge.id.clone()) {
                let entries = shield.purge(&OriginId::from_wire(&purge.origin_id), &purge.key_prefix);
                tracing::info!(origin = purge.origin_id, prefix = purge.key_prefix, entries, "purge");
            }
        }
        // What control no longer lists it will not list again.
        done.retain(|id| newest.purges.iter().any(|purge| purge.id == *id));
        tokio::select! {
            changed = catalogue.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

/// Makes the shield know exactly the origins of `catalogue`, and read them by its keys.
pub fn apply(shield: &Shield, catalogue: &Catalogue) {
    shield.set_origins(&catalogue.origins, &catalogue.access);
}
