//! Who is told when a distribution is disabled or deleted: the sessions it has.
//!
//! A session attaches itself to its distribution's id at `connect` and gets a [`Withdrawn`], which fires once. Names don't matter: who came by a
//! CNAME that has moved since stays with the distribution it came to. A distribution that asks for a feature this edge lacks is as good as
//! deleted. [`Withdrawals::settle`] is called with each new catalogue; who attaches looks at the catalogue once more afterwards
//! ([`serves`]), so that nobody falls between the two. While control can't be heard nothing is withdrawn.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::client::Catalogue;
use proto::v1::DistributionKind;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Fires when the distribution is withdrawn. One registration for a session's life, in a list of its distribution's sessions.
pub type Withdrawn = Pin<Box<WaitForCancellationFutureOwned>>;

/// Whether a session at this distribution may go on.
pub fn serves(catalogue: &Catalogue, id: &str) -> bool {
    let document = catalogue.distributions.get(id);
    document.is_some_and(|document| document.enabled && document.kind() == DistributionKind::Streaming)
}

/// Waits until it fires; for ever if there is none.
pub async fn fired(withdrawn: &mut Option<Withdrawn>) {
    match withdrawn {
        Some(withdrawn) => withdrawn.as_mut().await,
        None => std::future::pending().await,
    }
}

struct Attended {
    sessions: usize,
    token: CancellationToken,
}

/// The distributions that have sessions.
#[derive(Default)]
pub struct Withdrawals {
    attended: Mutex<HashMap<String, Attended>>,
}

impl Withdrawals {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Attended>> {
        // Nothing below panics half-way through a change.
        self.attended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more session of the distribution `id`.
    pub fn attach(self: &Arc<Self>, id: &str) -> Attachment {
        let mut attended = self.lock();
        let entry = attended
            .entry(id.to_owned())
            .or_insert_with(|| Attended { sessions: 0, token: CancellationToken::new() });
        if entry.token.is_cancelled() {
            // Enabled again while those who were told still say goodbye.
            entry.token = CancellationToken::new();
        }
        entry.sessions += 1;
        Attachment { withdrawals: self.clone(), id: id.to_owned(), token: entry.token.clone() }
    }

    /// Tells the sessions of what `catalogue` no longer serves; how many.
    pub fn settle(&self, catalogue: &Catalogue) -> usize {
        let mut told = 0;
        for (id, attended) in self.lock().iter_mut() {
            if attended.token.is_cancelled() || serves(catalogue, id) {
                continue;
            }
            tracing::info!(
                distribution = id,
                sessions = attended.sessions,
                "withdrawn: its sessions are ended"
            );
            told += attended.sessions;
            attended.token.cancel();
        }
        told
    }
}

/// A session's place at its distribution, for as long as it lives.
pub struct Attachment {
    withdrawals: Arc<Withdrawals>,
    id: String,
    token: CancellationToken,
}

impl Attachment {
    /// What fires when the distribution is withdrawn.
    pub fn withdrawn(&self) -> Withdrawn {
        Box::pin(self.token.clone().cancelled_owned())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let mut attended = self.withdrawals.lock();
        if let Some(entry) = attended.get_mut(&self.id) {
            entry.sessions -= 1;
            if entry.sessions == 0 {
                attended.remove(&self.id);
            }
        }
    }
}
