//! Operators' calls for accounts and access keys.
//!
//! Changes go to the store and return once this replica knows them too, so that whoever was given a key can use it here
//! at once; other replicas follow within moments. Lists are of what this replica knows.

use std::ops::Bound;
use std::time::Duration;

use proto::status::Reason;
use proto::v1::{
    AccessKey, AccessKeyChange, AccessKeyInfo, Account, AccountInfo, ChangeAccessKeyRequest,
    CreateAccessKeyRequest, CreateAccessKeyResponse, CreateAccountRequest, DeleteAccountResponse,
    ListAccessKeysRequest, ListAccessKeysResponse, ListAccountsRequest, ListAccountsResponse,
};
use tonic::Status;

use super::calls::{Calls, of_store, refused};
use crate::accounts::{AccountError, KeyChange, NewKey};
use crate::mirror::view::View;

const LIST_DEFAULT: usize = 100;
const LIST_MOST: usize = 1000;
/// How long a call waits for its own replica to hear of the change it made.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn create_account(
    calls: &Calls,
    request: CreateAccountRequest,
) -> Result<AccountInfo, Status> {
    let number = Some(request.account.as_str()).filter(|number| !number.is_empty());
    let made = calls.accounts.create(number, &request.name).await.map_err(of_account)?;
    known(calls, |view| view.accounts.contains_key(&made.account)).await;
    Ok(account_info(&made))
}

pub(super) fn list_accounts(
    calls: &Calls,
    request: &ListAccountsRequest,
) -> Result<ListAccountsResponse, Status> {
    let view = calls.view()?;
    let mut rest = view.accounts.range::<str, _>((Bound::Excluded(request.after.as_str()), Bound::Unbounded));
    let accounts = rest.by_ref().take(limit(request.limit)).map(|(_, a)| account_info(a)).collect();
    Ok(ListAccountsResponse { accounts, truncated: rest.next().is_some() })
}

pub(super) async fn delete_account(calls: &Calls, number: &str) -> Result<DeleteAccountResponse, Status> {
    calls.accounts.delete(number).await.map_err(of_account)?;
    known(calls, |view| !view.accounts.contains_key(number)).await;
    Ok(DeleteAccountResponse {})
}

pub(super) async fn create_key(
    calls: &Calls,
    request: CreateAccessKeyRequest,
) -> Result<CreateAccessKeyResponse, Status> {
    let CreateAccessKeyRequest { account, read_only, comment, id, secret } = request;
    if !calls.accounts.can_make_keys() {
        // Before a first account is made for it.
        return Err(of_account(crate::seal::SealError::NoKey.into()));
    }
    let account = Some(account.as_str()).filter(|number| !number.is_empty());
    let account = calls.accounts.or_only(account).await.map_err(of_account)?.account;
    let new = NewKey { account, read_only, comment };
    let (key, secret) = match (id.is_empty(), secret.is_empty()) {
        (true, true) => {
            let made = calls.accounts.create_key(new).await.map_err(of_account)?;
            (made.key, made.secret)
        }
        (false, false) => {
            let key = calls.accounts.import_key(new, &id, &secret).await.map_err(of_account)?;
            (key, String::new())
        }
        _ => return Err(refused(Reason::Invalid, "id: an id and a secret come together")),
    };
    known(calls, |view| view.access_keys.get(&key.id).is_some_and(|k| **k == key)).await;
    Ok(CreateAccessKeyResponse { key: Some(key_info(&key)), secret })
}

pub(super) fn list_keys(
    calls: &Calls,
    request: &ListAccessKeysRequest,
) -> Result<ListAccessKeysResponse, Status> {
    let view = calls.view()?;
    let after = (Bound::Excluded(request.after.as_str()), Bound::Unbounded);
    let of_account = |key: &AccessKey| request.account.is_empty() || key.account == request.account;
    let mut rest = view.access_keys.range::<str, _>(after).map(|(_, key)| key).filter(|key| of_account(key));
    let keys = rest.by_ref().take(limit(request.limit)).map(|key| key_info(key)).collect();
    Ok(ListAccessKeysResponse { keys, truncated: rest.next().is_some() })
}

pub(super) async fn change_key(
    calls: &Calls,
    request: &ChangeAccessKeyRequest,
) -> Result<AccessKeyInfo, Status> {
    let change = match request.change() {
        AccessKeyChange::Disable => KeyChange::Disable,
        AccessKeyChange::Enable => KeyChange::Enable,
        AccessKeyChange::Delete => KeyChange::Delete,
        AccessKeyChange::Unspecified => {
            return Err(refused(Reason::Invalid, "change: is neither disable, enable nor delete"));
        }
    };
    let key = calls.accounts.change_key(&request.id, None, change).await.map_err(of_account)?;
    known(calls, |view| match view.access_keys.get(&key.id) {
        None => change == KeyChange::Delete,
        Some(known) => change != KeyChange::Delete && **known == key,
    })
    .await;
    Ok(key_info(&key))
}

/// Waits until this replica knows of a change. If it takes long the store's watch is broken, and the change holds anyhow.
async fn known(calls: &Calls, holds: impl Fn(&View) -> bool) {
    let mut views = calls.views.clone();
    let _ = tokio::time::timeout(KNOWN_WITHIN, views.wait_for(|view| holds(view))).await;
}

fn limit(asked: u32) -> usize {
    if asked == 0 { LIST_DEFAULT } else { (asked as usize).min(LIST_MOST) }
}

fn account_info(account: &Account) -> AccountInfo {
    let Account { account, name, created_ms } = account.clone();
    AccountInfo { account, name, created_ms }
}

fn key_info(key: &AccessKey) -> AccessKeyInfo {
    let AccessKey { id, account, sealed_secret: _, read_only, disabled, comment, created_ms } = key.clone();
    AccessKeyInfo { id, account, read_only, disabled, comment, created_ms }
}

fn of_account(error: AccountError) -> Status {
    let reason = match error {
        AccountError::Store(error) => return of_store(error),
        AccountError::NoSuchAccount(_) | AccountError::NoSuchKey(_) => Reason::NotFound,
        // Another replica may have the key.
        AccountError::Seal(_) => Reason::Unavailable,
        AccountError::Invalid { .. }
        | AccountError::AccountExists(_)
        | AccountError::WhichAccount(_)
        | AccountError::NotEmpty { .. }
        | AccountError::KeyExists(_)
        | AccountError::TooMany { .. } => Reason::Invalid,
    };
    refused(reason, error.to_string())
}
