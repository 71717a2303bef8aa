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

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use proto::distribution::validate;
    use proto::object::OriginId;
    use proto::v1::{Distribution, Revision};

    fn catalogue(documents: &[(&str, bool)]) -> Catalogue {
        let document = |(id, enabled): &(&str, bool)| {
            let host = "media.s3.amazonaws.com";
            let document = Distribution {
                id: (*id).into(),
                kind: DistributionKind::Streaming.into(),
                domain: format!("s{:0>13}.penstock.localhost", id.to_lowercase()),
                enabled: *enabled,
                origin_host: host.into(),
                origin_id: OriginId::of(host, "").as_str().into(),
                ..Distribution::default()
            };
            assert_eq!(validate(&document), Ok(()));
            document
        };
        Catalogue::empty().replace(Revision::default(), documents.iter().map(document).collect(), Vec::new())
    }

    const ONE: &str = "E000000000001";
    const TWO: &str = "E000000000002";

    #[test]
    fn sessions_are_told_once_their_distribution_is_gone_and_others_are_not() {
        let withdrawals = Arc::new(Withdrawals::default());
        let attached = [ONE, ONE, TWO].map(|id| withdrawals.attach(id));
        let mut withdrawn = attached.each_ref().map(|attachment| Some(attachment.withdrawn()));
        let mut told = || withdrawn.each_mut().map(|withdrawn| fired(withdrawn).now_or_never().is_some());
        assert_eq!(withdrawals.settle(&catalogue(&[(ONE, true), (TWO, true)])), 0);
        assert_eq!(told(), [false, false, false]);
        assert_eq!(withdrawals.settle(&catalogue(&[(ONE, false), (TWO, true)])), 2);
        assert_eq!(told(), [true, true, false]);
        assert_eq!(withdrawals.settle(&catalogue(&[(TWO, true)])), 0, "they know");
        assert_eq!(withdrawals.settle(&catalogue(&[])), 1);
        drop(attached);
        assert!(withdrawals.lock().is_empty());
        assert!(fired(&mut None).now_or_never().is_none());
    }

    #[test]
    fn who_comes_when_it_is_enabled_again_is_not_told_what_those_before_were() {
        let withdrawals = Arc::new(Withdrawals::default());
        let before = withdrawals.attach(ONE);
        assert_eq!(withdrawals.settle(&catalogue(&[])), 1);
        let after = withdrawals.attach(ONE);
        let fires =
            |attachment: &Attachment| fired(&mut Some(attachment.withdrawn())).now_or_never().is_some();
        assert_eq!((fires(&before), fires(&after)), (true, false));
        withdrawals.settle(&catalogue(&[]));
        assert!(fires(&after));
    }
}
