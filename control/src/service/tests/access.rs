//! Accounts and access keys over gRPC, as the command line asks.

use super::*;
use crate::accounts::KeyChange;
use crate::client::admin::Admin;
use crate::client::credentials::Credentials;
use crate::seal::SealingKey;
use proto::v1::{AccessKeyChange, CreateAccessKeyRequest};

fn sealing() -> ControlConfig {
    let key = SealingKey::random().unwrap();
    ControlConfig { sealer: Sealer::new(&key, &[]), ..quick() }
}

fn admin(replica: &Replica, role: Role) -> Admin {
    Admin::new(&replica.url(), &Credentials::from(master().token(role, None))).unwrap()
}

async fn replica(config: ControlConfig) -> (Replica, Admin) {
    let replica = Replica::start(memory::open().await.unwrap(), "127.0.0.1:0", config).await;
    replica.control.loaded().await;
    let admin = admin(&replica, Role::Operator);
    (replica, admin)
}

#[tokio::test]
async fn an_operator_makes_lists_disables_and_deletes_keys() {
    let (replica, mut admin) = replica(sealing()).await;
    // The first key makes the first account.
    let asked = CreateAccessKeyRequest { comment: "of a test".into(), ..Default::default() };
    let made = admin.create_key(asked.clone()).await.unwrap();
    let key = made.key.unwrap();
    assert_eq!((key.id.len(), made.secret.len(), key.comment.as_str()), (20, 40, "of a test"));
    let accounts = admin.accounts().await.unwrap();
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts[0].account, key.account);
    // This replica knows the key by the time the call returns.
    assert!(replica.control.views().borrow().access_keys.contains_key(&key.id));
    assert_eq!(admin.keys("").await.unwrap(), std::slice::from_ref(&key));
    assert_eq!(admin.keys("000000000000").await.unwrap(), []);

    assert!(admin.change_key(&key.id, AccessKeyChange::Disable).await.unwrap().disabled);
    assert!(admin.keys(&key.account).await.unwrap()[0].disabled);
    assert!(!admin.change_key(&key.id, AccessKeyChange::Enable).await.unwrap().disabled);
    let error = admin.delete_account(&key.account).await.unwrap_err();
    assert_eq!(error.reason, Reason::Invalid);
    assert!(error.message.contains(&key.id), "{error}");
    admin.change_key(&key.id, AccessKeyChange::Delete).await.unwrap();
    let gone = admin.change_key(&key.id, AccessKeyChange::Delete).await.unwrap_err();
    assert_eq!(gone.reason, Reason::NotFound);
    admin.delete_account(&key.account).await.unwrap();
    assert_eq!(admin.accounts().await.unwrap(), []);
    replica.stop().await;
}

#[tokio::test]
async fn a_key_with_a_known_secret_is_taken_in_and_its_secret_not_told() {
    let (replica, mut admin) = replica(sealing()).await;
    let account = admin.create_account("123456789012", "a").await.unwrap();
    let asked = CreateAccessKeyRequest {
        account: account.account.clone(),
        read_only: true,
        id: "AKIDEXAMPLE".into(),
        secret: "wJalrXUtnFEMI".into(),
        ..Default::default()
    };
    let made = admin.create_key(asked.clone()).await.unwrap();
    assert!(made.secret.is_empty() && made.key.unwrap().read_only);
    let half = CreateAccessKeyRequest { secret: String::new(), ..asked };
    assert_eq!(admin.create_key(half).await.unwrap_err().reason, Reason::Invalid);
    replica.stop().await;
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let (replica, mut admin) = replica(sealing()).await;
    let accounts = replica.control.accounts();
    for account in 0..1100u64 {
        accounts.ensure(&format!("{:012}", account + 1), "").await.unwrap();
    }
    let mut views = replica.control.views();
    let all = views.wait_for(|view| view.accounts.len() == 1100);
    tokio::time::timeout(LONG, all).await.unwrap().unwrap();
    let listed = admin.accounts().await.unwrap();
    assert_eq!(listed.len(), 1100);
    assert!(listed.is_sorted_by_key(|a| a.account.clone()));
    replica.stop().await;
}

#[tokio::test]
async fn a_control_without_a_sealing_key_makes_no_keys_and_says_what_to_set() {
    let (replica, mut admin) = replica(quick()).await;
    let error = admin.create_key(CreateAccessKeyRequest::default()).await.unwrap_err();
    assert!(error.message.contains("secrets.key_file"), "{error}");
    assert_eq!(admin.accounts().await.unwrap(), []);
    let changed = replica.control.accounts().change_key("AKIANONE", None, KeyChange::Disable).await;
    assert!(changed.is_err());
    replica.stop().await;
}

#[tokio::test]
async fn only_an_operators_token_makes_lists_or_changes_keys_and_accounts() {
    let (replica, mut operator) = replica(sealing()).await;
    let asked = CreateAccessKeyRequest::default();
    let made = operator.create_key(asked.clone()).await.unwrap().key.unwrap();
    for role in [Role::Edge, Role::Shield] {
        let mut node = admin(&replica, role);
        let refused = [
            node.create_key(asked.clone()).await.map(drop),
            node.keys("").await.map(drop),
            node.change_key(&made.id, AccessKeyChange::Delete).await.map(drop),
            node.create_account("", "").await.map(drop),
            node.accounts().await.map(drop),
            node.delete_account(&made.account).await,
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().reason, Reason::Denied, "{role}");
        }
    }
    let forged = proto::token::MasterToken::new("fedcba9876543210").unwrap().token(Role::Operator, None);
    let mut stranger = Admin::new(&replica.url(), &Credentials::from(forged)).unwrap();
    assert_eq!(stranger.create_key(asked).await.unwrap_err().reason, Reason::Unauthenticated);
    assert_eq!(operator.keys("").await.unwrap(), [made]);
    replica.stop().await;
}
