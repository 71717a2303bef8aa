//! Who may do what on the gRPC port, by token and by certificate; what each role is told.

use super::*;
use crate::client::admin::{self, Admin};
use crate::client::credentials::{Credentials, TlsFiles};
use crate::documents::{GRANTS, ORIGIN_SECRETS, SIGNERS};
use crate::seal::SealingKey;
use prost::Message;
use proto::token::certificate::uri;
use proto::v1::{
    Grant, ListNodesRequest, OriginSecret, PurgeDistributionRequest, RegisterRequest, Signer, SignerKey,
    SubscribeRequest,
};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, SanType};
use tonic::Code;

fn register(id: &str, role: NodeRole) -> RegisterRequest {
    RegisterRequest {
        node_id: id.into(),
        role: role.into(),
        address: "127.0.0.1:9".into(),
        state: NodeState::Ready.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn each_role_may_make_its_own_calls_and_is_told_why_not_the_others() {
    let replica = Replica::start(memory::open().await.unwrap(), "127.0.0.1:0", quick()).await;
    replica.control.loaded().await;
    let client = |role, node: Option<&str>| {
        let credentials = Credentials::from(master().token(role, node));
        admin::connect(&replica.url(), &credentials, None).unwrap()
    };
    let says = |refused: tonic::Status, text: &str| {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(refused.message().contains(text), "{refused}");
    };
    let (mut edge, mut bound) = (client(Role::Edge, None), client(Role::Edge, Some("edge-1")));
    let (mut shield, mut operator) = (client(Role::Shield, None), client(Role::Operator, None));

    let purge = PurgeDistributionRequest { distribution_id: A.into(), ..Default::default() };
    says(
        edge.list_nodes(ListNodesRequest {}).await.unwrap_err(),
        "needs the role operator; this caller has the role edge",
    );
    says(shield.list_nodes(ListNodesRequest {}).await.unwrap_err(), "role shield");
    says(shield.purge(purge.clone()).await.unwrap_err(), "purging");
    says(edge.drain(proto::v1::DrainRequest::default()).await.unwrap_err(), "draining");
    assert!(operator.list_nodes(ListNodesRequest {}).await.is_ok());
    assert_eq!(operator.purge(purge).await.unwrap_err().code(), Code::NotFound);

    says(edge.register(register("s", NodeRole::Shield)).await.unwrap_err(), "registering as shield");
    says(operator.register(register("e", NodeRole::Edge)).await.unwrap_err(), "registering as edge");
    says(bound.register(register("edge-2", NodeRole::Edge)).await.unwrap_err(), "can't speak for 'edge-2'");
    assert!(bound.register(register("edge-1", NodeRole::Edge)).await.is_ok());
    assert!(shield.register(register("shield-1", NodeRole::Shield)).await.is_ok());

    // A role's token can't take the name of another role's live node, nor send it away.
    let mut views = replica.control.views();
    drop(views.wait_for(|v| v.members.contains_key("shield-1")).await.unwrap());
    says(edge.register(register("shield-1", NodeRole::Edge)).await.unwrap_err(), "live shield");
    let leave = |id: &str| proto::v1::DeregisterRequest { node_id: id.into() };
    says(edge.deregister(leave("shield-1")).await.unwrap_err(), "live shield");
    says(bound.deregister(leave("edge-9")).await.unwrap_err(), "can't speak for");
    says(operator.deregister(leave("edge-1")).await.unwrap_err(), "role operator");

    let follow = |id: &str| SubscribeRequest { node_id: id.into(), ..Default::default() };
    says(operator.subscribe(follow("edge-1")).await.unwrap_err(), "following the config");
    says(bound.subscribe(follow("edge-2")).await.unwrap_err(), "can't speak for");
    says(edge.subscribe(follow("shield-1")).await.unwrap_err(), "live shield");
    assert!(bound.subscribe(follow("edge-1")).await.is_ok());
    replica.stop().await;
}

const ACCOUNT: &str = "123456789012";

fn signer(id: &str) -> Transaction {
    let key = SignerKey { key_pair_id: id.into(), public_key: vec![1].into() };
    let signer = Signer { account: ACCOUNT.into(), keys: vec![key] };
    Transaction::default().put(format!("{SIGNERS}{ACCOUNT}"), signer.encode_to_vec()).put("head", "")
}

fn grant(bucket: &str) -> Transaction {
    let grant = Grant { account: ACCOUNT.into(), bucket: bucket.into() };
    Transaction::default().put(format!("{GRANTS}{ACCOUNT}/{bucket}"), grant.encode_to_vec()).put("head", "")
}

fn secret(credential: &str, sealer: &Sealer) -> Transaction {
    let key = format!("{ORIGIN_SECRETS}{credential}");
    let sealed = sealer.seal(&key, format!("secret of {credential}").as_bytes()).unwrap();
    let secret = OriginSecret {
        credential: credential.into(),
        access_key_id: "AKIDEXAMPLE".into(),
        sealed_secret: sealed.into(),
        ..Default::default()
    };
    Transaction::default().put(key, secret.encode_to_vec()).put("head", "")
}

#[tokio::test]
async fn signers_go_to_all_secrets_and_grants_to_shields_only() {
    let store = memory::open().await.unwrap();
    put(&store, A, "a.example").await;
    store.commit(signer("K1")).await.unwrap();
    store.commit(grant("media")).await.unwrap();
    let sealer = Sealer::new(&SealingKey::random().unwrap(), &[]);
    let strange = Sealer::new(&SealingKey::random().unwrap(), &[]);
    store.commit(secret("oai/E1", &sealer)).await.unwrap();
    let mut config = ControlConfig { sealer: sealer.clone(), ..quick() };
    config.publish.page_documents = 1;
    let replica = Replica::start(store.clone(), "127.0.0.1:0", config).await;
    let dir = tempfile::tempdir().unwrap();
    let edge = node("edge-1", NodeRole::Edge, &[replica.url()], &dir.path().join("e"));
    let shield = node("shield-1", NodeRole::Shield, &[replica.url()], &dir.path().join("s"));
    // In the snapshot, which comes in pages of one document.
    for n in [&edge, &shield] {
        n.until(|c| c.access.signers.get(ACCOUNT).is_some_and(|s| s.keys[0].key_pair_id == "K1")).await;
    }
    assert!(shield.node.catalogue.borrow().access.is_granted(ACCOUNT, "media"));
    // And as changes.
    store.commit(signer("K2")).await.unwrap();
    store.commit(secret("oai/E2", &sealer)).await.unwrap();
    store.commit(secret("oai/E3", &strange)).await.unwrap();
    let revision = store.commit(grant("vault")).await.unwrap();
    let heard = shield.until(|c| c.revision.number >= revision).await;
    assert!(heard.access.is_granted(ACCOUNT, "vault"));
    let heard = edge.until(|c| c.revision.number >= revision).await;
    assert_eq!(heard.access.signers[ACCOUNT].keys[0].key_pair_id, "K2");
    assert!(heard.access.grants.is_empty() && heard.access.origin_secrets.is_empty());
    // Secrets are opened for shields; one that this control can't open is withheld, not sent as it lies.
    let heard = shield.node.catalogue.borrow().access.clone();
    let known: Vec<_> =
        heard.origin_secrets.values().map(|s| (&*s.credential, &*s.secret_access_key)).collect();
    assert_eq!(known, [("oai/E1", "secret of oai/E1"), ("oai/E2", "secret of oai/E2")]);
    assert!(heard.origin_secrets.values().all(|s| s.sealed_secret.is_empty()));
    assert_eq!(replica.control.metrics.unopened_secrets.get(), 1);
    assert_eq!((shield.counter("origin_secrets"), edge.counter("origin_secrets")), (2, 0));
    // A shield keeps them over a restart, in a file of its own.
    saved(&dir.path().join("s"), |c, _| c.access.origin_secrets.len() == 2).await;
    saved(&dir.path().join("e"), |c, _| c.revision.number >= revision && c.access.origin_secrets.is_empty())
        .await;
    let gone = Transaction::default()
        .delete(format!("{SIGNERS}{ACCOUNT}"))
        .delete(format!("{GRANTS}{ACCOUNT}/media"))
        .delete(format!("{ORIGIN_SECRETS}oai/E1"))
        .put("head", "");
    let revision = store.commit(gone).await.unwrap();
    let heard = shield.until(|c| c.revision.number >= revision).await;
    assert!(heard.access.signers.is_empty() && !heard.access.is_granted(ACCOUNT, "media"));
    assert!(heard.access.is_granted(ACCOUNT, "vault"));
    assert_eq!(heard.access.origin_secrets.keys().collect::<Vec<_>>(), ["oai/E2"]);
    let heard = edge.until(|c| c.revision.number >= revision).await;
    assert!(heard.access.signers.is_empty());
    assert_eq!((edge.counter("snapshots_total"), edge.counter("deltas_total")), (1, 5));
    replica.stop().await;
}

/// A CA of a cluster, and the files its processes are given.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    fn only_ca(&self) -> TlsFiles {
        TlsFiles { ca: self.dir.path().join("ca.pem"), ..TlsFiles::default() }
    }

    /// Files with a certificate for 127.0.0.1 that names `of`, if anybody.
    fn files(&self, name: &str, of: Option<(Role, &str)>) -> TlsFiles {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        if let Some((role, node)) = of {
            params.subject_alt_names.push(SanType::URI(uri(role, node).try_into().unwrap()));
        }
        let key = KeyPair::generate().unwrap();
        let issuer: &rcgen::Issuer<'_, KeyPair> = &self.issuer;
        let certificate = params.signed_by(&key, issuer).unwrap();
        let file = |kind: &str, text: String| {
            let path = self.dir.path().join(format!("{name}.{kind}"));
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        TlsFiles {
            cert: file("crt", certificate.pem()),
            key: file("key", key.serialize_pem()),
            ..self.only_ca()
        }
    }
}

fn with(role: Option<Role>, files: &TlsFiles) -> Credentials {
    let token = role.map(|role| master().token(role, None));
    Credentials { token, tls: Some(files.load().unwrap()) }
}

#[tokio::test]
async fn with_tls_a_certificate_of_the_cluster_s_ca_or_a_token_inside_it_is_needed() {
    let (ca, other) = (Ca::new(), Ca::new());
    let config = ControlConfig { tls: Some(ca.files("control", None).load().unwrap()), ..quick() };
    let replica = Replica::start(memory::open().await.unwrap(), "127.0.0.1:0", config).await;
    replica.control.loaded().await;
    let url = replica.url().replace("http://", "https://");
    let call = async |credentials: &Credentials| {
        let mut admin = Admin::new(&url, credentials).unwrap();
        admin.nodes().await.map(drop).map_err(|e| e.reason)
    };
    // A token inside TLS; a certificate that names an operator, without a token.
    assert_eq!(call(&with(Some(Role::Operator), &ca.only_ca())).await, Ok(()));
    assert_eq!(call(&with(None, &ca.files("alice", Some((Role::Operator, "alice"))))).await, Ok(()));
    // A certificate that names nobody needs a token.
    let nobody = ca.files("nobody", None);
    assert_eq!(call(&with(None, &nobody)).await, Err(Reason::Unauthenticated));
    assert_eq!(call(&with(Some(Role::Operator), &nobody)).await, Ok(()));
    // One that names an edge speaks for that edge alone, whatever token comes with it.
    let edge = ca.files("edge-1", Some((Role::Edge, "edge-1")));
    assert_eq!(call(&with(Some(Role::Operator), &edge)).await, Err(Reason::Denied));
    let mut client = admin::connect(&url, &with(None, &edge), None).unwrap();
    assert!(client.register(register("edge-1", NodeRole::Edge)).await.is_ok());
    assert_eq!(
        client.register(register("edge-2", NodeRole::Edge)).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    // Another CA's certificate is no certificate, and another CA's client does not trust control.
    let mut stranger = other.files("alice", Some((Role::Operator, "alice")));
    assert_eq!(call(&with(Some(Role::Operator), &stranger)).await, Err(Reason::Unavailable));
    stranger.ca = ca.only_ca().ca;
    assert_eq!(call(&with(Some(Role::Operator), &stranger)).await, Err(Reason::Unavailable));
    // Without TLS nothing is answered.
    let plain = Credentials::from(master().token(Role::Operator, None));
    let mut admin = Admin::new(&replica.url(), &plain).unwrap();
    // What it meets first is the end of the connection, or a TLS alert, which is no frame of HTTP/2.
    let reason = admin.nodes().await.unwrap_err().reason;
    assert!(matches!(reason, Reason::Unavailable | Reason::Internal), "{reason:?}");
    // A node with a certificate alone follows the config.
    put(&replica.control.store, A, "a.example").await;
    let node = NodeConfig {
        node_id: "edge-1".into(),
        role: NodeRole::Edge,
        address: "127.0.0.1:9".into(),
        zone: String::new(),
        weight: 0,
        control: vec![url],
        credentials: with(None, &edge),
        state_dir: Default::default(),
        version: "test".into(),
    };
    let stop = CancellationToken::new();
    let node = Node::start(node, &Registry::new(), stop.clone()).unwrap();
    let mut catalogue = node.catalogue.clone();
    let known = tokio::time::timeout(LONG, catalogue.wait_for(|c| c.find_host("a.example").is_some()));
    drop(known.await.unwrap().unwrap());
    stop.cancel();
    replica.stop().await;
}
