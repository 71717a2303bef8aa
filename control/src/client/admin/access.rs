//! Accounts and access keys.

use proto::status::RemoteError;
use proto::v1::{
    AccessKeyChange, AccessKeyInfo, AccountInfo, ChangeAccessKeyRequest, CreateAccessKeyRequest,
    CreateAccessKeyResponse, CreateAccountRequest, DeleteAccountRequest, ListAccessKeysRequest,
    ListAccountsRequest,
};

use super::{Admin, CALL};

/// Documents asked for at a time.
const PAGE: u32 = 500;

fn request<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL);
    request
}

impl Admin {
    /// Makes an account; an empty number has one drawn.
    pub async fn create_account(&mut self, account: &str, name: &str) -> Result<AccountInfo, RemoteError> {
        let asked = CreateAccountRequest { account: account.into(), name: name.into() };
        Ok(self.client.create_account(request(asked)).await?.into_inner())
    }

    /// All accounts, page by page.
    pub async fn accounts(&mut self) -> Result<Vec<AccountInfo>, RemoteError> {
        let mut all: Vec<AccountInfo> = Vec::new();
        loop {
            let after = all.last().map(|a| a.account.clone()).unwrap_or_default();
            let asked = ListAccountsRequest { after, limit: PAGE };
            let page = self.client.list_accounts(request(asked)).await?.into_inner();
            let more = page.truncated && !page.accounts.is_empty();
            all.extend(page.accounts);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Deletes an account that has neither keys nor resources.
    pub async fn delete_account(&mut self, account: &str) -> Result<(), RemoteError> {
        self.client.delete_account(request(DeleteAccountRequest { account: account.into() })).await?;
        Ok(())
    }

    /// Makes an access key, or takes one in.
    pub async fn create_key(
        &mut self,
        asked: CreateAccessKeyRequest,
    ) -> Result<CreateAccessKeyResponse, RemoteError> {
        Ok(self.client.create_access_key(request(asked)).await?.into_inner())
    }

    /// All access keys of an account (empty: of all), page by page.
    pub async fn keys(&mut self, account: &str) -> Result<Vec<AccessKeyInfo>, RemoteError> {
        let mut all: Vec<AccessKeyInfo> = Vec::new();
        loop {
            let after = all.last().map(|k| k.id.clone()).unwrap_or_default();
            let asked = ListAccessKeysRequest { account: account.into(), after, limit: PAGE };
            let page = self.client.list_access_keys(request(asked)).await?.into_inner();
            let more = page.truncated && !page.keys.is_empty();
            all.extend(page.keys);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Disables, enables or deletes an access key.
    pub async fn change_key(
        &mut self,
        id: &str,
        change: AccessKeyChange,
    ) -> Result<AccessKeyInfo, RemoteError> {
        let asked = ChangeAccessKeyRequest { id: id.into(), change: change.into() };
        Ok(self.client.change_access_key(request(asked)).await?.into_inner())
    }
}
