//! What operators lend to accounts.

use proto::status::RemoteError;
use proto::v1::{
    ChangeGrantRequest, ChangeSignerRequest, Grant, ListGrantsRequest, ListGrantsResponse,
    ListOriginKeysRequest, ListSignersRequest, OriginKeys, SetOriginKeysRequest, Signer,
};

use super::{Admin, CALL};

fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL);
    request
}

impl Admin {
    /// Gives an origin access identity S3 keys; both empty: takes them away.
    pub async fn set_origin_keys(
        &mut self,
        identity: &str,
        access_key_id: &str,
        secret_access_key: &str,
    ) -> Result<(), RemoteError> {
        let asked = SetOriginKeysRequest {
            identity: identity.into(),
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
        };
        self.client.set_origin_keys(request(asked)).await?;
        Ok(())
    }

    /// All origin access identities and the ids of their S3 keys.
    pub async fn origin_keys(&mut self) -> Result<Vec<OriginKeys>, RemoteError> {
        Ok(self.client.list_origin_keys(request(ListOriginKeysRequest {})).await?.into_inner().identities)
    }

    /// Lets an account have its access logs written to a bucket (`*`: any), or no longer.
    pub async fn change_log_grant(
        &mut self,
        account: &str,
        bucket: &str,
        remove: bool,
    ) -> Result<(), RemoteError> {
        let grant = Some(Grant { account: account.into(), bucket: bucket.into() });
        self.client.change_log_grant(request(ChangeGrantRequest { grant, remove })).await?;
        Ok(())
    }

    /// Lets an account have a bucket (`*`: any) read by the nodes' own role, or no longer.
    pub async fn change_grant(
        &mut self,
        account: &str,
        bucket: &str,
        remove: bool,
    ) -> Result<(), RemoteError> {
        let grant = Some(Grant { account: account.into(), bucket: bucket.into() });
        self.client.change_grant(request(ChangeGrantRequest { grant, remove })).await?;
        Ok(())
    }

    /// All grants, those to read and those for logs.
    pub async fn grants(&mut self) -> Result<ListGrantsResponse, RemoteError> {
        Ok(self.client.list_grants(request(ListGrantsRequest {})).await?.into_inner())
    }

    /// Has names signed for an account be checked by a public key under this Key-Pair-Id; without a PEM, no longer.
    pub async fn change_signer(
        &mut self,
        account: &str,
        key_pair_id: &str,
        public_key_pem: &str,
    ) -> Result<(), RemoteError> {
        let asked = ChangeSignerRequest {
            account: account.into(),
            key_pair_id: key_pair_id.into(),
            public_key_pem: public_key_pem.into(),
        };
        self.client.change_signer(request(asked)).await?;
        Ok(())
    }

    /// The signing keys of all accounts.
    pub async fn signers(&mut self) -> Result<Vec<Signer>, RemoteError> {
        Ok(self.client.list_signers(request(ListSignersRequest {})).await?.into_inner().signers)
    }
}
