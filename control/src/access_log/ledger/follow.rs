//! Keeps a replica's [`Books`] true: a list at one revision, then the store's watch, then a list again.
//!
//! A watch is a hint ([`crate::store`]): whenever it ends, and every `compare_every`, the ledger is listed whole. What the books say may be old, never
//! wrong: they show the ledger as it was at one revision (but for groups that this replica wrote itself, which may be newer).

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::books::Books;
use crate::access_log::merge::lock;
use crate::documents::LOGS;
use crate::store::{Store, StoreError};

const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// Follows `store` for ever; `news` is called after each change.
pub(crate) async fn follow(
    store: &Store,
    books: &Mutex<Books>,
    compare_every: Duration,
    now_ms: impl Fn() -> u64,
    news: impl Fn(),
) {
    let mut retry = RETRY_FIRST;
    loop {
        match read(store, books, compare_every, &now_ms, &news).await {
            Ok(()) => retry = RETRY_FIRST,
            // Also when it worked for long before: a first wait is short.
            Err(error) => {
                tracing::debug!(%error, "the ledger of access logs can't be followed");
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_LAST);
            }
        }
    }
}

/// Lists, then reads the watch until it ends or it is time to list again.
async fn read(
    store: &Store,
    books: &Mutex<Books>,
    compare_every: Duration,
    now_ms: impl Fn() -> u64,
    news: impl Fn(),
) -> Result<(), StoreError> {
    let revision = relist(store, books, &now_ms).await?;
    news();
    let mut watch = store.watch(revision).await?;
    let compare_at = Instant::now() + compare_every;
    loop {
        match tokio::time::timeout_at(compare_at, watch.recv()).await {
            Ok(Some(Ok(change))) => {
                lock(books).apply(&change, now_ms());
                news();
            }
            Err(_) => return Ok(()),
            Ok(Some(Err(_)) | None) => return Err(StoreError::Away("the watch was lost".into())),
        }
    }
}

/// Makes the books what the store says now; returns its revision.
pub(crate) async fn relist(
    store: &Store,
    books: &Mutex<Books>,
    now_ms: impl Fn() -> u64,
) -> Result<u64, StoreError> {
    let listing = store.list(LOGS).await?;
    lock(books).replace(&listing, now_ms());
    Ok(listing.head.revision)
}
