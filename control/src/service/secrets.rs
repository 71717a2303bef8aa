//! What operators ask of secrets at rest: under which keys they are sealed, and to seal them under the current one.

use proto::status::Reason;
use proto::v1::{ListSealingKeysResponse, ResealSecretsRequest, ResealSecretsResponse, SealingKeyUsage};
use tonic::Status;

use super::calls::{Calls, of_store, refused};
use crate::seal::reseal::{self, Usage};
use crate::seal::{SealError, Sealer};

/// Under which keys the secrets in the store are sealed.
pub(super) async fn list(calls: &Calls) -> Result<ListSealingKeysResponse, Status> {
    let usage = Usage::of_store(&*calls.store).await.map_err(of_store)?;
    Ok(told(&usage, &calls.config.sealer))
}

/// As the command line hears it.
pub(super) fn told(usage: &Usage, sealer: &Sealer) -> ListSealingKeysResponse {
    let keys = usage.keys.iter().map(|(id, documents)| SealingKeyUsage {
        key_id: id.to_string(),
        standing: sealer.standing(*id).name().into(),
        documents: *documents,
    });
    ListSealingKeysResponse { keys: keys.collect(), damaged: usage.damaged }
}

/// Seals some of them anew.
pub(super) async fn reseal(
    calls: &Calls,
    request: &ResealSecretsRequest,
) -> Result<ResealSecretsResponse, Status> {
    let sealer = &calls.config.sealer;
    if !sealer.has_key() {
        // Another replica may have one.
        return Err(refused(Reason::Unavailable, SealError::NoKey.to_string()));
    }
    let done = reseal::some(&*calls.store, sealer, &request.after).await.map_err(of_store)?;
    if done.resealed > 0 {
        tracing::info!(resealed = done.resealed, "secrets were sealed anew under the current key");
    }
    Ok(ResealSecretsResponse {
        resealed: done.resealed,
        current: done.current,
        unopened: done.unopened,
        named: done.named,
        next: done.next.unwrap_or_default(),
    })
}
