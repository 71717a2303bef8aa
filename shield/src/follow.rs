//! What control publishes, applied to a shield: origins to know, orders to forget.
//!
//! A revision is acknowledged only when all of it is done: an invalidation is complete once every node has said so.

use std::collections::HashSet;
use std::sync::Arc;

use control::client::Catalogue;
use proto::purge::Scope;
use proto::v1::Revision;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Shield;

/// Keeps `shield` at the newest `catalogue` until `shutdown` or until the catalogue's owner is gone; tells `applied` what it has carried out whole.
pub async fn follow(
    shield: Arc<Shield>,
    mut catalogue: watch::Receiver<Arc<Catalogue>>,
    applied: impl Fn(Revision),
    shutdown: CancellationToken,
) {
    let mut done: HashSet<String> = HashSet::new();
    loop {
        let newest = catalogue.borrow_and_update().clone();
        apply(&shield, &newest).await;
        let new = newest.purges.iter().filter(|purge| !done.contains(&purge.id));
        let scope = if newest.has_lost_purges(&done) { newest.whole() } else { Scope::of_purges(new) };
        if !scope.is_empty() {
            let entries = shield.purge(&scope).await;
            let orders = newest.purges.iter().filter(|purge| !done.contains(&purge.id)).count();
            tracing::info!(orders, entries, revision = newest.revision.number, "purge");
        }
        // What control no longer lists it will not list again.
        done = newest.purges.iter().map(|purge| purge.id.clone()).collect();
        if !newest.is_empty() {
            applied(newest.revision.clone());
        }
        tokio::select! {
            changed = catalogue.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

/// Makes the shield know exactly the origins of `catalogue`, and read them by its keys.
pub async fn apply(shield: &Shield, catalogue: &Catalogue) {
    shield.set_origins(&catalogue.origins, &catalogue.access).await;
}
