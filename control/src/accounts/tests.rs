//! Accounts and keys: made, changed, never lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use proto::clock::SetClock;

use super::*;
use crate::documents::{ACCOUNTS, KEYS};
use crate::seal::SealingKey;
use crate::store::{ConfigStore, Entry, Head, Listing, Transaction, Watch, memory};

const ACCOUNT: &str = "123456789012";

fn sealer() -> Sealer {
    Sealer::new(&SealingKey::parse(&hex::encode([1; 32]), "test").unwrap(), &[])
}

fn over(store: Store) -> Accounts {
    let limits = AccountLimits { accounts_max: 3, access_keys_max: 2 };
    Accounts::new(store, sealer(), SetClock::at_ms(1_000_000), limits)
}

async fn accounts() -> Accounts {
    over(memory::open().await.unwrap())
}

fn of(account: &str) -> NewKey {
    NewKey { account: account.into(), comment: "of a test".into(), ..NewKey::default() }
}

#[tokio::test]
async fn a_new_key_has_amazons_form_and_a_secret_that_only_the_sealer_opens() {
    let accounts = accounts().await;
    accounts.create(Some(ACCOUNT), "Team A").await.unwrap();
    let made = accounts.create_key(NewKey { read_only: true, ..of(ACCOUNT) }).await.unwrap();
    let (id, secret) = (&made.key.id, &made.secret);
    assert!(
        id.starts_with("AKIA")
            && id.len() == 20
            && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    );
    assert!(secret.len() == 40 && secret.bytes().all(|b| b.is_ascii_alphanumeric()));
    assert_eq!((made.key.created_ms, made.key.read_only, made.key.disabled), (1_000_000, true, false));

    let entry = accounts.store.get(&format!("{KEYS}{id}")).await.unwrap().unwrap();
    assert!(
        !entry.value.windows(secret.len()).any(|w| w == secret.as_bytes()),
        "the secret is stored in the clear"
    );
    let opened = sealer().open(&format!("{KEYS}{id}"), &made.key.sealed_secret).unwrap();
    assert_eq!(opened, secret.as_bytes());
    assert!(!format!("{made:?}").contains(secret.as_str()));
    let other = accounts.create_key(of(ACCOUNT)).await.unwrap();
    assert!(other.key.id != *id && other.secret != *secret);
}

#[tokio::test]
async fn accounts_are_twelve_digits_and_unique() {
    let accounts = accounts().await;
    let drawn = accounts.create(None, "drawn").await.unwrap();
    assert!(proto::distribution::is_account(&drawn.account), "{}", drawn.account);
    assert!(matches!(
        accounts.create(Some("12345"), "").await,
        Err(AccountError::Invalid { field: "account", .. })
    ));
    accounts.create(Some(ACCOUNT), "one").await.unwrap();
    assert!(matches!(accounts.create(Some(ACCOUNT), "two").await, Err(AccountError::AccountExists(_))));
    assert_eq!(accounts.ensure(ACCOUNT, "two").await.unwrap().name, "one");
    let long = "x".repeat(129);
    assert!(matches!(accounts.create(None, &long).await, Err(AccountError::Invalid { field: "name", .. })));
    accounts.ensure("000000000003", "").await.unwrap();
    assert!(matches!(accounts.create(None, "").await, Err(AccountError::TooMany { limit: 3, .. })));
    let numbers: Vec<String> = accounts.list().await.unwrap().into_iter().map(|a| a.account).collect();
    assert_eq!(numbers.len(), 3);
    assert!(numbers.is_sorted());
}

#[tokio::test]
async fn without_a_named_account_the_only_one_is_meant_or_a_first_one_is_made() {
    let accounts = accounts().await;
    let first = accounts.or_only(None).await.unwrap();
    assert_eq!(accounts.or_only(None).await.unwrap(), first);
    accounts.create(Some(ACCOUNT), "").await.unwrap();
    assert!(matches!(accounts.or_only(None).await, Err(AccountError::WhichAccount(2))));
    assert_eq!(accounts.or_only(Some(ACCOUNT)).await.unwrap().account, ACCOUNT);
    assert!(matches!(accounts.or_only(Some("999999999999")).await, Err(AccountError::NoSuchAccount(_))));
}

#[tokio::test]
async fn keys_belong_to_an_account_that_exists_and_are_counted() {
    let accounts = accounts().await;
    assert!(matches!(accounts.create_key(of(ACCOUNT)).await, Err(AccountError::NoSuchAccount(_))));
    accounts.create(Some(ACCOUNT), "").await.unwrap();
    accounts.create(Some("000000000002"), "").await.unwrap();
    accounts.create_key(of(ACCOUNT)).await.unwrap();
    accounts.create_key(of(ACCOUNT)).await.unwrap();
    assert!(matches!(accounts.create_key(of(ACCOUNT)).await, Err(AccountError::TooMany { limit: 2, .. })));
    accounts.create_key(of("000000000002")).await.unwrap();
    assert_eq!(accounts.keys(Some(ACCOUNT)).await.unwrap().len(), 2);
    assert_eq!(accounts.keys(None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn an_import_keeps_id_and_secret_and_can_be_repeated() {
    let accounts = accounts().await;
    accounts.create(Some(ACCOUNT), "").await.unwrap();
    accounts.create(Some("000000000002"), "").await.unwrap();
    let key = accounts.import_key(of(ACCOUNT), "AKIDEXAMPLE", "wJalrXUtnFEMI").await.unwrap();
    let store_key = format!("{KEYS}AKIDEXAMPLE");
    assert_eq!(sealer().open(&store_key, &key.sealed_secret).unwrap(), b"wJalrXUtnFEMI");
    // The same again changes nothing in the store.
    let before = accounts.store.head().await.unwrap();
    assert_eq!(accounts.import_key(of(ACCOUNT), "AKIDEXAMPLE", "wJalrXUtnFEMI").await.unwrap(), key);
    assert_eq!(accounts.store.head().await.unwrap(), before);
    // What was disabled stays so under a new secret.
    accounts.change_key("AKIDEXAMPLE", None, KeyChange::Disable).await.unwrap();
    let again = accounts
        .import_key(of(ACCOUNT), "AKIDEXAMPLE", "another secret".replace(' ', "-").as_str())
        .await
        .unwrap();
    assert!(again.disabled);
    assert_eq!(sealer().open(&store_key, &again.sealed_secret).unwrap(), b"another-secret");
    // Another account's import takes nothing away.
    let stolen = accounts.import_key(of("000000000002"), "AKIDEXAMPLE", "wJalrXUtnFEMI").await;
    assert!(matches!(stolen, Err(AccountError::KeyExists(_))));
    for (id, secret) in [
        ("ab", "12345678"),
        ("a/b", "12345678"),
        ("a:b", "12345678"),
        ("abc", "1234567"),
        ("abc", "1234 5678"),
    ] {
        let refused = accounts.import_key(of(ACCOUNT), id, secret).await;
        assert!(matches!(refused, Err(AccountError::Invalid { .. })), "{id} {secret}");
    }
}

#[tokio::test]
async fn a_key_is_disabled_enabled_and_deleted() {
    let accounts = accounts().await;
    accounts.create(Some(ACCOUNT), "").await.unwrap();
    let id = accounts.create_key(of(ACCOUNT)).await.unwrap().key.id;
    for (change, disabled) in [
        (KeyChange::Disable, true),
        (KeyChange::Disable, true),
        (KeyChange::Enable, false),
        (KeyChange::Enable, false),
    ] {
        assert_eq!(accounts.change_key(&id, Some(ACCOUNT), change).await.unwrap().disabled, disabled);
        assert_eq!(accounts.keys(None).await.unwrap()[0].disabled, disabled);
    }
    // To another account it does not exist.
    let foreign = accounts.change_key(&id, Some("000000000002"), KeyChange::Delete).await;
    assert!(matches!(foreign, Err(AccountError::NoSuchKey(_))));
    accounts.change_key(&id, None, KeyChange::Delete).await.unwrap();
    assert!(matches!(
        accounts.change_key(&id, None, KeyChange::Delete).await,
        Err(AccountError::NoSuchKey(_))
    ));
    assert!(accounts.keys(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_a_sealing_key_no_key_is_made_and_the_error_says_what_to_set() {
    let store = memory::open().await.unwrap();
    over(store.clone()).create(Some(ACCOUNT), "").await.unwrap();
    let keyless = Accounts::new(store.clone(), Sealer::none(), SetClock::at_ms(0), AccountLimits::default());
    let error = keyless.create_key(of(ACCOUNT)).await.unwrap_err();
    assert!(error.to_string().contains("secrets.key_file"), "{error}");
    assert!(store.list(KEYS).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn an_account_goes_only_when_nothing_of_it_is_left() {
    let accounts = accounts().await;
    accounts.create(Some(ACCOUNT), "").await.unwrap();
    let id = accounts.create_key(of(ACCOUNT)).await.unwrap().key.id;
    let error = accounts.delete(ACCOUNT).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("account {ACCOUNT} still has the access key {id}: delete that first")
    );
    accounts.change_key(&id, None, KeyChange::Delete).await.unwrap();

    for held in [
        "api/streaming-distribution/123456789012/E1",
        "api/key-group/123456789012/G",
        "grants/123456789012/b",
    ] {
        accounts.store.commit(Transaction::default().put(held, "x")).await.unwrap();
        assert!(matches!(accounts.delete(ACCOUNT).await, Err(AccountError::NotEmpty { .. })), "{held}");
        accounts.store.commit(Transaction::default().delete(held)).await.unwrap();
    }
    // What another account has is in nobody's way.
    accounts.store.commit(Transaction::default().put("api/distribution/999999999999/E2", "x")).await.unwrap();
    accounts.delete(ACCOUNT).await.unwrap();
    assert!(matches!(accounts.delete(ACCOUNT).await, Err(AccountError::NoSuchAccount(_))));
}

#[tokio::test]
async fn whoever_races_no_account_is_gone_while_a_key_of_it_is_left() {
    for round in 0..40 {
        let accounts = accounts().await;
        accounts.create(Some(ACCOUNT), "").await.unwrap();
        let maker = tokio::spawn({
            let accounts = accounts.clone();
            async move { accounts.create_key(of(ACCOUNT)).await }
        });
        for _ in 0..round % 7 {
            tokio::task::yield_now().await;
        }
        let deleted = accounts.delete(ACCOUNT).await;
        let made = maker.await.unwrap();
        let left = accounts.keys(Some(ACCOUNT)).await.unwrap().len();
        assert_eq!(left, usize::from(made.is_ok()));
        assert!(deleted.is_err() || left == 0, "the account is gone, its key is not");
        assert_eq!(accounts.account(ACCOUNT).await.is_ok(), deleted.is_err());
    }
}

/// A store in which somebody makes a key between the look for keys and the delete of their account.
struct Intruded(Store);

#[async_trait]
impl ConfigStore for Intruded {
    async fn head(&self) -> Result<Head, StoreError> {
        self.0.head().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.0.list(prefix).await
    }
    async fn page(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.0.page(prefix, after, limit).await
    }
    async fn commit(&self, transaction: Transaction) -> Result<u64, StoreError> {
        if transaction.deletes.iter().any(|key| key.starts_with(ACCOUNTS)) {
            over(self.0.clone()).create_key(of(ACCOUNT)).await.unwrap();
        }
        self.0.commit(transaction).await
    }
    async fn watch(&self, after: u64) -> Result<Watch, StoreError> {
        self.0.watch(after).await
    }
    async fn renew_id(&self, old: &str) -> Result<(), StoreError> {
        self.0.renew_id(old).await
    }
    async fn put_leased(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.0.put_leased(key, value, ttl).await
    }
    async fn lease_age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.0.lease_age(key).await
    }
}

#[tokio::test]
async fn a_key_made_while_its_account_is_being_deleted_keeps_the_account() {
    let store = memory::open().await.unwrap();
    let accounts = over(Arc::new(Intruded(store.clone())));
    accounts.create(Some(ACCOUNT), "").await.unwrap();
    assert!(matches!(accounts.delete(ACCOUNT).await, Err(AccountError::NotEmpty { .. })));
    assert_eq!(over(store.clone()).keys(Some(ACCOUNT)).await.unwrap().len(), 1);
    assert!(over(store).account(ACCOUNT).await.is_ok());
}
