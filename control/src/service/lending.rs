//! Operators' calls for what they [lend](crate::lending) to accounts.

use proto::status::Reason;
use proto::v1::{
    ChangeGrantRequest, ChangeSignerRequest, ListGrantsResponse, ListOriginKeysResponse, ListSignersResponse,
    OriginKeys, SetOriginKeysRequest,
};
use tonic::Status;

use super::calls::{Calls, of_store, refused};
use crate::lending::grants::{self, Right};
use crate::lending::{LendingError, secrets, signers};

fn of_lending(error: LendingError) -> Status {
    match error {
        LendingError::NotFound(reason) => refused(Reason::NotFound, reason),
        LendingError::Store(error) => of_store(error),
        error @ (LendingError::Invalid(_) | LendingError::Seal(_)) => {
            refused(Reason::Invalid, error.to_string())
        }
    }
}

pub(super) async fn set_origin_keys(calls: &Calls, request: SetOriginKeysRequest) -> Result<(), Status> {
    let SetOriginKeysRequest { identity, access_key_id, secret_access_key } = request;
    let done = if access_key_id.is_empty() && secret_access_key.is_empty() {
        secrets::clear(&*calls.store, &identity).await
    } else {
        let sealer = &calls.config.sealer;
        secrets::set(&*calls.store, sealer, &identity, &access_key_id, &secret_access_key).await
    };
    done.map_err(of_lending)?;
    tracing::info!(%identity, %access_key_id, "the S3 keys of an origin access identity were changed");
    Ok(())
}

pub(super) async fn list_origin_keys(calls: &Calls) -> Result<ListOriginKeysResponse, Status> {
    let known = secrets::list(&*calls.store).await.map_err(of_lending)?.into_iter();
    let identities = known.map(|keys| OriginKeys {
        identity: keys.id,
        account: keys.account,
        access_key_id: keys.access_key_id,
    });
    Ok(ListOriginKeysResponse { identities: identities.collect() })
}

pub(super) async fn change_grant(
    calls: &Calls,
    right: Right,
    request: ChangeGrantRequest,
) -> Result<(), Status> {
    let grant = request.grant.unwrap_or_default();
    let (account, bucket) = (&grant.account, &grant.bucket);
    let done = if request.remove {
        grants::take_back(&*calls.store, right, account, bucket).await
    } else {
        grants::give(&*calls.store, right, account, bucket).await
    };
    done.map_err(of_lending)?;
    tracing::info!(%account, %bucket, ?right, removed = request.remove, "a grant was changed");
    Ok(())
}

pub(super) async fn list_grants(calls: &Calls) -> Result<ListGrantsResponse, Status> {
    let given = async |right| grants::given(&*calls.store, right).await.map_err(of_lending);
    Ok(ListGrantsResponse { grants: given(Right::Read).await?, log_grants: given(Right::Logs).await? })
}

pub(super) async fn change_signer(calls: &Calls, request: ChangeSignerRequest) -> Result<(), Status> {
    let ChangeSignerRequest { account, key_pair_id, public_key_pem } = request;
    let removed = public_key_pem.is_empty();
    let done = if removed {
        signers::remove(&*calls.store, &account, &key_pair_id).await
    } else {
        signers::add(&*calls.store, &account, &key_pair_id, &public_key_pem).await
    };
    done.map_err(of_lending)?;
    tracing::info!(%account, %key_pair_id, removed, "a signing key was changed");
    Ok(())
}

pub(super) async fn list_signers(calls: &Calls) -> Result<ListSignersResponse, Status> {
    Ok(ListSignersResponse { signers: signers::list(&*calls.store).await.map_err(of_lending)? })
}
