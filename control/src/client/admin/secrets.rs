//! Secrets at rest.

use proto::status::RemoteError;
use proto::v1::{
    ListSealingKeysRequest, ListSealingKeysResponse, ResealSecretsRequest, ResealSecretsResponse,
};

use super::{Admin, LONG_CALL};

fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    // All of them are read.
    request.set_timeout(LONG_CALL);
    request
}

impl Admin {
    /// Under which keys secrets are sealed.
    pub async fn sealing_keys(&mut self) -> Result<ListSealingKeysResponse, RemoteError> {
        Ok(self.client.list_sealing_keys(request(ListSealingKeysRequest {})).await?.into_inner())
    }

    /// Has some secrets sealed under the current key, those after `after` (empty: from the first on).
    pub async fn reseal_secrets(&mut self, after: &str) -> Result<ResealSecretsResponse, RemoteError> {
        let asked = ResealSecretsRequest { after: after.into() };
        Ok(self.client.reseal_secrets(request(asked)).await?.into_inner())
    }
}
