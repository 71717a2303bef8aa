//! What operators lend, from the command line's calls to the shields that use it.

use super::*;
use crate::accounts::Principal;
use crate::api::identity::{self, IdentityConfig};
use crate::api::{ApiConfig, Version};
use crate::client::admin::Admin;
use crate::client::credentials::Credentials;
use crate::seal::SealingKey;

const ACCOUNT: &str = "111122223333";
const PEM: &str = include_str!("../../api/public_key/spki/2048.pem");

fn admin(replica: &Replica, role: Role) -> Admin {
    Admin::new(&replica.url(), &Credentials::from(master().token(role, None))).unwrap()
}

#[tokio::test]
async fn what_an_operator_lends_reaches_shields_and_of_it_only_signers_reach_edges() {
    let sealer = Sealer::new(&SealingKey::random().unwrap(), &[]);
    let config = ControlConfig { sealer: sealer.clone(), ..quick() };
    let replica = Replica::start(memory::open().await.unwrap(), "127.0.0.1:0", config).await;
    replica.control.loaded().await;
    let context = replica.control.context(ApiConfig::default(), proto::clock::system(), sealer, &master());
    let principal = Principal { account: ACCOUNT.into(), key_id: "AKIDEXAMPLE".into(), read_only: false };
    let asked = IdentityConfig { caller_reference: "r".into(), ..Default::default() };
    let made = identity::create(&context, &principal, Version::NEWEST, asked).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], &dir.path().join("e"));
    let shield = node("shield-1", NodeRole::Shield, &[replica.url()], &dir.path().join("s"));

    let mut admin = admin(&replica, Role::Operator);
    admin.set_origin_keys(&made.id, "AKIDORIGIN", "very-secret").await.unwrap();
    admin.change_grant(ACCOUNT, "media", false).await.unwrap();
    admin.change_signer(ACCOUNT, "APKAEIBAERJR2EXAMPLE", PEM).await.unwrap();
    let credential = format!("oai/{}", made.id);
    let heard = shield
        .until(|c| c.access.is_granted(ACCOUNT, "media") && c.access.signers.contains_key(ACCOUNT))
        .await;
    let secret = &heard.access.origin_secrets[&credential];
    assert_eq!(
        (secret.access_key_id.as_str(), secret.secret_access_key.as_str()),
        ("AKIDORIGIN", "very-secret")
    );
    assert_eq!(secret.account, ACCOUNT);
    let heard = edge.until(|c| c.access.signers.contains_key(ACCOUNT)).await;
    assert_eq!(heard.access.signers[ACCOUNT].keys[0].key_pair_id, "APKAEIBAERJR2EXAMPLE");
    assert!(heard.access.origin_secrets.is_empty() && heard.access.grants.is_empty());

    let listed = admin.origin_keys().await.unwrap();
    assert_eq!(
        (listed[0].identity.as_str(), listed[0].access_key_id.as_str()),
        (made.id.as_str(), "AKIDORIGIN")
    );
    admin.change_log_grant(ACCOUNT, "logs", false).await.unwrap();
    let grants = admin.grants().await.unwrap();
    assert_eq!((grants.grants.len(), grants.grants[0].bucket.as_str()), (1, "media"));
    assert_eq!((grants.log_grants.len(), grants.log_grants[0].bucket.as_str()), (1, "logs"));
    assert!(!shield.node.catalogue.borrow().access.is_granted(ACCOUNT, "logs"));
    assert_eq!(admin.signers().await.unwrap()[0].account, ACCOUNT);

    admin.set_origin_keys(&made.id, "", "").await.unwrap();
    admin.change_grant(ACCOUNT, "media", true).await.unwrap();
    admin.change_signer(ACCOUNT, "APKAEIBAERJR2EXAMPLE", "").await.unwrap();
    let nothing = |c: &crate::client::Catalogue| {
        let access = &c.access;
        access.signers.is_empty() && access.grants.is_empty() && access.origin_secrets.is_empty()
    };
    shield.until(nothing).await;
    edge.until(nothing).await;
    replica.stop().await;
}

#[tokio::test]
async fn what_cannot_be_lent_is_refused_by_its_reason_and_only_operators_lend() {
    let replica = Replica::start(memory::open().await.unwrap(), "127.0.0.1:0", quick()).await;
    replica.control.loaded().await;
    let mut operator = admin(&replica, Role::Operator);
    let error = operator.set_origin_keys("ENOPE", "a", "b").await.unwrap_err();
    assert_eq!(error.reason, Reason::NotFound, "{error}");
    for (account, bucket) in [("12", "media"), (ACCOUNT, "No Bucket")] {
        let error = operator.change_grant(account, bucket, false).await.unwrap_err();
        assert_eq!(error.reason, Reason::Invalid, "{error}");
        let error = operator.change_log_grant(account, bucket, false).await.unwrap_err();
        assert_eq!(error.reason, Reason::Invalid, "{error}");
    }
    let error = operator.change_signer(ACCOUNT, "APKA1", "no key").await.unwrap_err();
    assert!(error.reason == Reason::Invalid && error.message.contains("public key"), "{error}");
    for role in [Role::Edge, Role::Shield] {
        let mut other = admin(&replica, role);
        let refusals = [
            other.set_origin_keys("E1", "a", "b").await.unwrap_err(),
            other.origin_keys().await.unwrap_err(),
            other.change_grant(ACCOUNT, "media", false).await.unwrap_err(),
            other.change_log_grant(ACCOUNT, "media", false).await.unwrap_err(),
            other.grants().await.unwrap_err(),
            other.change_signer(ACCOUNT, "APKA1", PEM).await.unwrap_err(),
            other.signers().await.unwrap_err(),
        ];
        assert!(refusals.iter().all(|error| error.reason == Reason::Denied), "{refusals:?}");
    }
    replica.stop().await;
}
