//! Tests of streaming distributions, over the store of tests and a redb file, with a clock that is set and a view that the mirror keeps.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::Registry;
use prost::Message;
use proto::clock::SetClock;
use proto::v1::{Account, Deployed, Resource, Signer, SignerKey};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;
use crate::api::{ApiConfig, Limits, Version, xml};
use crate::documents::{self, ACCOUNTS, DEPLOYED, SIGNERS};
use crate::metrics::Metrics;
use crate::mirror::Mirror;
use crate::mirror::view::View;
use crate::seal::Sealer;
use crate::store::tests::etcd_process::EtcdProcess;
use crate::store::{Entry, HEAD_KEY, Head, Store, Transaction, memory, redb};

mod calls;
mod races;
mod round_trip;

/// 2026-11-21T11:07:42.007Z.
const NOW_MS: u64 = 1_795_259_262_007;
const ALICE: &str = "123456789012";
const BOB: &str = "210987654321";
/// The version of jets3t 0.7.2, of 0.8.1, of 0.9.4, and the newest.
const V2009: &str = "2009-12-01";
const V2010: &str = "2010-11-01";
const V2012: &str = "2012-05-05";
const V2020: &str = "2020-05-31";
/// An origin access identity of Alice.
const IDENTITY: &str = "E74FTE3AEXAMPLE";

struct Rig {
    context: Context,
    clock: Arc<SetClock>,
    _stop: DropGuard,
    _folder: Option<tempfile::TempDir>,
}

impl Rig {
    async fn over(store: Store, limits: Limits, folder: Option<tempfile::TempDir>) -> Self {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let views = watch::Sender::new(Arc::new(View::default()));
        let stop = CancellationToken::new();
        let clock = SetClock::at_ms(NOW_MS);
        let context = Context {
            store: store.clone(),
            views: views.subscribe(),
            config: Arc::new(ApiConfig { limits, ..ApiConfig::default() }),
            clock: clock.clone(),
            sealer: Sealer::none(),
            metrics: metrics.clone(),
            shields: crate::shields::Shields::new(
                &proto::token::MasterToken::new("a-master-token-for-tests").unwrap(),
                None,
            ),
        };
        tokio::spawn(Mirror::new(store, views, metrics, Duration::from_secs(3600), 64).run(stop.clone()));
        let rig = Self { context, clock, _stop: stop.drop_guard(), _folder: folder };
        for account in [ALICE, BOB] {
            rig.put_account(account).await;
        }
        rig.put_identity(ALICE, IDENTITY).await;
        rig
    }

    async fn new() -> Self {
        Self::over(memory::open().await.unwrap(), Limits::default(), None).await
    }

    /// One over each kind of store that is in the process.
    async fn each() -> Vec<Self> {
        let folder = tempfile::tempdir().unwrap();
        let file = redb::open(&folder.path().join("store.redb")).await.unwrap();
        vec![Self::new().await, Self::over(file, Limits::default(), Some(folder)).await]
    }

    /// Two replicas over one etcd, which lives as long as what is returned last.
    async fn replicas() -> (Self, Self, EtcdProcess) {
        let etcd = EtcdProcess::start().await;
        let first = Self::over(etcd.store("api"), Limits::default(), None).await;
        let second = Self::over(etcd.store("api"), Limits::default(), None).await;
        (first, second, etcd)
    }

    async fn put(&self, key: String, document: impl Message) -> u64 {
        let transaction = Transaction::default().put(key, document.encode_to_vec());
        self.context.store.commit(transaction).await.unwrap()
    }

    async fn put_account(&self, account: &str) {
        let document = Account { account: account.into(), ..Account::default() };
        self.put(format!("{ACCOUNTS}{account}"), document).await;
    }

    async fn put_identity(&self, account: &str, id: &str) -> u64 {
        let document = Resource { id: id.into(), account: account.into(), ..Resource::default() };
        self.put(resource::key(Kind::OriginAccessIdentity, account, id), document).await
    }

    async fn put_signer(&self, account: &str, ids: &[&str]) {
        let keys = ids.iter().map(|id| SignerKey { key_pair_id: (*id).into(), ..SignerKey::default() });
        let document = Signer { account: account.into(), keys: keys.collect() };
        self.put(format!("{SIGNERS}{account}"), document).await;
    }

    /// Every node has acknowledged all there is now, and the view has heard of it.
    async fn deploy(&self) {
        let Head { store_id, revision } = self.context.store.head().await.unwrap();
        self.put(DEPLOYED.into(), Deployed { revision, store_id }).await;
        let mut views = self.context.views.clone();
        let heard = views.wait_for(|view| view.deployed_floor >= revision);
        tokio::time::timeout(Duration::from_secs(60), heard).await.expect("in time").unwrap();
    }

    /// All there is, but the head, which a mirror may touch at any time.
    async fn documents(&self) -> Vec<Entry> {
        let mut entries = self.context.store.list("").await.unwrap().entries;
        entries.retain(|entry| entry.key != HEAD_KEY);
        entries
    }

    async fn send(&self, call: Call) -> Result<Reply, ApiError> {
        let known = self.documents().await;
        let reply = match call.path.first() {
            Some(path) if path == "tagging" => {
                tagging::handle(&self.context, &Call { path: Vec::new(), ..call }).await
            }
            _ => handle(&self.context, &call).await,
        };
        if reply.is_err() {
            assert_eq!(self.documents().await, known, "a refusal changes nothing");
        }
        reply
    }

    async fn create(&self, version: &str, body: &str) -> Result<Reply, ApiError> {
        self.send(call(version, Method::POST, &[]).with_body(body)).await
    }

    async fn get(&self, version: &str, id: &str) -> Result<Reply, ApiError> {
        self.send(call(version, Method::GET, &[id])).await
    }

    async fn put_config(&self, version: &str, id: &str, etag: &str, body: &str) -> Result<Reply, ApiError> {
        self.send(call(version, Method::PUT, &[id, "config"]).with_if_match(etag).with_body(body)).await
    }

    async fn delete(&self, id: &str, etag: &str) -> Result<Reply, ApiError> {
        self.send(call(V2020, Method::DELETE, &[id]).with_if_match(etag)).await
    }

    async fn count(&self, account: &str) -> usize {
        self.context.store.list(&resource::prefix(KIND, account)).await.unwrap().entries.len()
    }

    /// What nodes get.
    async fn published(&self, id: &str) -> Option<proto::v1::Distribution> {
        documents::distribution(&*self.context.store, id).await.unwrap().map(|stored| stored.document)
    }
}

fn principal(account: &str) -> Principal {
    Principal { account: account.into(), key_id: "AKIDEXAMPLE".into(), read_only: false }
}

fn parse(text: &str) -> Element {
    xml::read(text.as_bytes(), xml::Bounds::default()).unwrap().unwrap()
}

/// A call of Alice's.
fn call(version: &str, method: Method, path: &[&str]) -> Call {
    Call {
        version: Version::parse(version).unwrap(),
        principal: principal(ALICE),
        method,
        path: path.iter().map(|&segment| segment.into()).collect(),
        query: Vec::new(),
        if_match: None,
        body: None,
        base_url: "https://cloudfront.amazonaws.com".into(),
    }
}

impl Call {
    fn with_body(self, body: &str) -> Self {
        Self { body: Some(parse(body)), ..self }
    }

    fn with_if_match(self, etag: &str) -> Self {
        Self { if_match: Some(etag.into()), ..self }
    }

    fn with_query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    fn by(mut self, account: &str) -> Self {
        self.principal.account = account.into();
        self
    }
}

/// The text at `path` in an answer.
#[track_caller]
fn at<'a>(reply: &'a Reply, path: &str) -> &'a str {
    let root = reply.body.as_ref().expect("a body");
    let found = path.split('/').try_fold(root, |element, name| element.child(name));
    found.map_or_else(|| panic!("no {path} in {}", xml::fragment(root)), |element| element.text.as_str())
}

fn id(reply: &Reply) -> &str {
    at(reply, "Id")
}

fn etag(reply: &Reply) -> &str {
    reply.etag.as_deref().expect("an ETag")
}

fn fragment(reply: &Reply) -> String {
    xml::fragment(reply.body.as_ref().expect("a body"))
}

/// A config of 2009-12-01.
fn flat(reference: &str, cname: &str, comment: &str, enabled: bool) -> String {
    format!(
        "<StreamingDistributionConfig xmlns='http://cloudfront.amazonaws.com/doc/2009-12-01/'><Origin>media.s3.amazonaws.com</Origin>\
         <CallerReference>{reference}</CallerReference><CNAME>{cname}</CNAME><Comment>{comment}</Comment><Enabled>{enabled}</Enabled>\
         </StreamingDistributionConfig>"
    )
}

/// A config of 2020-05-31 without aliases; `more` stands before `Enabled`.
fn newest(reference: &str, enabled: bool, more: &str) -> String {
    format!(
        "<StreamingDistributionConfig><CallerReference>{reference}</CallerReference><S3Origin><DomainName>media.s3.amazonaws.com</DomainName>\
         <OriginAccessIdentity/></S3Origin><Comment>c</Comment>{more}{}<Enabled>{enabled}</Enabled></StreamingDistributionConfig>",
        if more.contains("<TrustedSigners>") { "" } else { NO_SIGNERS }
    )
}

const NO_SIGNERS: &str = "<TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners>";

fn aliases(quantity: usize, names: &[&str]) -> String {
    let items: String = names.iter().map(|name| format!("<CNAME>{name}</CNAME>")).collect();
    format!("<Aliases><Quantity>{quantity}</Quantity><Items>{items}</Items></Aliases>")
}

#[track_caller]
fn refused(reply: Result<Reply, ApiError>, status: u16, code: &str) {
    let error = reply.expect_err("a refusal");
    assert_eq!((error.status.as_u16(), error.code), (status, code), "{}", error.message);
}

#[tokio::test]
async fn the_typed_operations_are_the_api_without_xml() {
    let rig = Rig::new().await;
    let alice = principal(ALICE);
    let config = StreamingConfig {
        caller_reference: "console-1".into(),
        origin: "media.s3.amazonaws.com".into(),
        enabled: true,
        ..StreamingConfig::default()
    };
    let made = create(&rig.context, &alice, config.clone(), Vec::new(), Repeat::Refused).await.unwrap();
    assert_eq!((made.status, made.modified_ms, &made.config), (Status::InProgress, NOW_MS, &config));
    rig.deploy().await;
    rig.clock.advance_ms(1000);
    let next = StreamingConfig { comment: "new".into(), enabled: false, ..config };
    let updated = update(&rig.context, &alice, &made.id, Some(&made.etag), &next).await.unwrap();
    // The floor is that of the old revision, which must not pass for the new one.
    assert_eq!((updated.status, updated.modified_ms), (Status::InProgress, NOW_MS + 1000));
    assert!(updated.revision > made.revision && updated.etag != made.etag);
    assert_eq!(get(&rig.context, &alice, &made.id).await.unwrap(), updated);
    rig.deploy().await;
    let listed = list(&rig.context, &alice, PageRequest::first(&Limits::default())).await.unwrap();
    assert_eq!((listed.items.len(), listed.items[0].status), (1, Status::Deployed));
    // A clock that was set back doesn't take the time of change back.
    rig.clock.set_ms(0);
    let again = update(&rig.context, &alice, &made.id, Some(&updated.etag), &next).await.unwrap();
    assert_eq!(again.modified_ms, NOW_MS + 1000);
    rig.deploy().await;
    delete(&rig.context, &alice, &made.id, Some(&again.etag)).await.unwrap();
    assert_eq!(get(&rig.context, &alice, &made.id).await.unwrap_err().code, "NoSuchStreamingDistribution");
    let reader = Principal { read_only: true, ..alice };
    let refused = create(&rig.context, &reader, next, Vec::new(), Repeat::Refused).await.unwrap_err();
    assert_eq!((refused.status, refused.code), (StatusCode::FORBIDDEN, "AccessDenied"));
}
