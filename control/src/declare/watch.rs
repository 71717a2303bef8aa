//! Applies a declarative file at start, when it changes, and when told to (SIGHUP).
//!
//! The file is looked at every two seconds; a Kubernetes ConfigMap, which is a link that is turned, is noticed too, since
//! the time and size of what it points at are compared. A file that can't be applied leaves the store as it is: the error
//! is logged once for each change of the file, and while the store is away it is tried again.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{ApplyError, DeclaredSet};
use crate::documents::DocumentError;
use crate::service::Control;

const LOOK_EVERY: Duration = Duration::from_secs(2);

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Keeps the store as `path` says until `shutdown`; `again` applies it at once. Calls `done` after each success.
pub async fn follow(
    control: &Control,
    path: &Path,
    again: &Notify,
    shutdown: &CancellationToken,
    done: impl Fn(),
) {
    let mut seen = None;
    let mut forced = true;
    loop {
        let now = stamp(path);
        if forced || now != seen {
            let result = match DeclaredSet::read(path) {
                Ok(set) => control.apply(&set).await.map(drop),
                Err(error) => {
                    control.count_unreadable();
                    Err(error)
                }
            };
            control.alarm(result.is_err());
            forced = false;
            match result {
                Ok(()) => done(),
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "declared distributions were not applied");
                    // The store's fault, not the file's: try again.
                    forced = matches!(error, ApplyError::Document(DocumentError::Store(_)));
                }
            }
            seen = now;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => (),
            () = again.notified() => forced = true,
            () = shutdown.cancelled() => return,
        }
    }
}
