//! The S3 origin against an HTTP endpoint that behaves, misbehaves, and remembers what it was asked.
//!
//! The endpoint is a few lines of HTTP over a socket, because no honest server would send these answers.

// Helpers outside the test functions may give up just as they do.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use control::client::catalogue::Access;
use control::client::{Credentials, OriginEntry};
use futures::StreamExt;
use penstock_shield as shield;
use proto::object::{ObjectKey, ObjectVersion, OriginId};
use proto::range::ByteRange;
use proto::status::Reason;
use proto::token::{MasterToken, Role};
use proto::v1::{Grant, NodeState, OriginSecret, Priority, Published, ShieldMap, ShieldNode};
use shield::config::ShieldConfig;
use shield::origin::endpoint::resolve;
use shield::origin::s3::{Clients, S3};
use shield::origin::{Head, Origin, OriginError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived: method, path and query, lower-case headers.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    path: String,
    headers: HashMap<String, String>,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn range(&self) -> (usize, usize) {
        let span = self.header("range").strip_prefix("bytes=").unwrap();
        let (first, last) = span.split_once('-').unwrap();
        (first.parse().unwrap(), last.parse::<usize>().unwrap() + 1)
    }
}

/// What goes back: a head without its blank line, and a body which may be shorter than announced.
struct Answer {
    head: String,
    body: Bytes,
}

fn answer(status: &str, headers: &str, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    Answer { head: format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}", body.len()), body }
}

struct Endpoint {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    async fn start(reply: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, reply) = (asked.clone(), Arc::new(reply));
        tokio::spawn(async move {
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                tokio::spawn(converse(socket, log.clone(), reply.clone()));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn config(&self) -> ShieldConfig {
        let yaml = format!(
            "origins:\n  .s3.amazonaws.com: {{endpoint: '{}', region: eu-west-1}}\n\
             credentials:\n  key: {{access_key_id: AKIDTEST, secret_access_key: hush}}\n\
             timeouts: {{attempts: 2, connect_ms: 1000, first_byte_ms: 1000}}\n",
            self.url
        );
        let config: ShieldConfig = serde_yaml_ng::from_str(&yaml).unwrap();
        config.validate().unwrap();
        config
    }

    fn origin(&self, credential: &str) -> S3 {
        let config = Arc::new(self.config());
        let place = resolve(&config, "media.s3.amazonaws.com").unwrap();
        S3::new(Arc::new(Clients::new(config)), place, credential).unwrap()
    }
}

async fn converse<F>(socket: TcpStream, log: Arc<Mutex<Vec<Asked>>>, reply: Arc<F>)
where
    F: Fn(&Asked, usize) -> Answer,
{
    let mut socket = BufReader::new(socket);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match socket.read_line(&mut line).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let mut first = lines[0].split(' ');
        let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
        let headers = lines[1..].iter().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let asked = Asked { method, path, headers };
        let nth = {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.len() - 1
        };
        let Answer { head, body } = reply(&asked, nth);
        let announced: usize =
            head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
        socket.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        if asked.method != "HEAD" {
            socket.write_all(&body).await.unwrap();
        }
        if asked.method != "HEAD" && body.len() < announced {
            return;
        }
    }
}

const ETAG: &str = "\"v1\"";

fn film() -> Bytes {
    (0..3_000_000u32).map(|i| (i * 7 + i / 1021) as u8).collect()
}

/// An honest server of one object.
fn honest(asked: &Asked, object: &Bytes) -> Answer {
    let common = format!("ETag: {ETAG}\r\nContent-Type: video/mp4\r\nCache-Control: max-age=7200\r\n");
    if !asked.path.starts_with("/media/films/a%20b.mp4") {
        return answer("404 Not Found", "", "<Error><Code>NoSuchKey</Code></Error>");
    }
    if asked.method == "HEAD" {
        if asked.header("if-none-match") == ETAG {
            return answer("304 Not Modified", &common, "");
        }
        return answer("200 OK", &common, object.clone());
    }
    if asked.header("if-match") != ETAG {
        return answer("412 Precondition Failed", "", "<Error><Code>PreconditionFailed</Code></Error>");
    }
    let (first, end) = asked.range();
    if first >= object.len() {
        return answer("416 Requested Range Not Satisfiable", "", "<Error><Code>InvalidRange</Code></Error>");
    }
    let end = end.min(object.len());
    let range = format!("{common}Content-Range: bytes {first}-{}/{}\r\n", end - 1, object.len());
    answer("206 Partial Content", &range, object.slice(first..end))
}

async fn body_of(origin: &S3, range: ByteRange) -> Result<Bytes, OriginError> {
    let body = origin.get("films/a b.mp4", range, ETAG, Priority::Demand).await?;
    let pieces: Vec<Bytes> = body.stream.map(|piece| piece.unwrap()).collect().await;
    assert_eq!(body.range.len(), pieces.iter().map(Bytes::len).sum::<usize>() as u64);
    Ok(pieces.concat().into())
}

fn kind<T>(outcome: Result<T, OriginError>) -> &'static str {
    outcome.map_or_else(|e| e.kind(), |_| "ok")
}

#[tokio::test]
async fn an_honest_endpoint_is_read_by_range_and_condition() {
    let object = film();
    let served = object.clone();
    let endpoint = Endpoint::start(move |asked, _| honest(asked, &served)).await;
    let origin = endpoint.origin("");
    let head = origin.head("films/a b.mp4", None).await.unwrap();
    let max_age = Some(Duration::from_secs(7200));
    let size_bytes = object.len() as u64;
    assert_eq!(
        head,
        Head::Object { version: ETAG.into(), size_bytes, content_type: "video/mp4".into(), max_age }
    );
    assert_eq!(origin.head("films/a b.mp4", Some(ETAG)).await.unwrap(), Head::Unchanged { max_age });
    assert_eq!(body_of(&origin, ByteRange::new(10, 20)).await.unwrap(), object.slice(10..20));
    assert_eq!(
        body_of(&origin, ByteRange::new(2_999_990, 4_000_000)).await.unwrap(),
        object.slice(2_999_990..)
    );
    assert_eq!(kind(origin.head("films/none", None).await), "not-found");
    let other = origin.get("films/a b.mp4", ByteRange::new(0, 5), "\"v0\"", Priority::Demand).await;
    assert_eq!(kind(other), "version-retired");
    assert_eq!(kind(body_of(&origin, ByteRange::new(3_000_000, 3_000_005)).await), "past-end");
    let asked = endpoint.asked();
    assert!(asked.iter().all(|a| a.header("authorization").is_empty()), "no credential, no signature");
    assert_eq!(asked[2].header("range"), "bytes=10-19");
    assert_eq!(asked[2].header("if-match"), ETAG);
}

#[tokio::test]
async fn a_credential_signs_and_an_unknown_one_is_named() {
    let object = film();
    let endpoint = Endpoint::start(move |asked, _| honest(asked, &object)).await;
    endpoint.origin("key").head("films/a b.mp4", None).await.unwrap();
    let signature = endpoint.asked()[0].header("authorization").to_owned();
    assert!(
        signature.starts_with("AWS4-HMAC-SHA256 Credential=AKIDTEST/")
            && signature.contains("/eu-west-1/s3/")
    );
    let config = Arc::new(endpoint.config());
    let place = resolve(&config, "media.s3.amazonaws.com").unwrap();
    let error = S3::new(Arc::new(Clients::new(config)), place, "nobody").err().unwrap();
    assert!(error.to_string().contains("'nobody'"));
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart() {
    for (status, expected, requests) in [
        ("403 Forbidden", "forbidden", 1),
        ("404 Not Found", "not-found", 1),
        ("503 Slow Down", "server", 2),
        ("500 Internal Server Error", "server", 2),
    ] {
        let endpoint = Endpoint::start(move |_, _| answer(status, "", "<Error><Code>X</Code></Error>")).await;
        let origin = endpoint.origin("");
        assert_eq!(kind(origin.head("films/a b.mp4", None).await), expected, "{status}");
        assert_eq!(kind(body_of(&origin, ByteRange::new(0, 5)).await), expected, "{status}");
        assert_eq!(endpoint.asked().len(), 2 * requests, "{status}: retried only where it may help");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = Endpoint { url: format!("http://{gone}"), asked: Arc::default() };
    assert_eq!(kind(endpoint.origin("").head("films/a b.mp4", None).await), "connection");
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint =
        Endpoint { url: format!("http://{}", listener.local_addr().unwrap()), asked: Arc::default() };
    assert_eq!(kind(endpoint.origin("").head("films/a b.mp4", None).await), "timeout");
}

#[tokio::test]
async fn answers_that_contradict_the_request_are_refused() {
    let whole = |headers: &'static str, body: usize| {
        move |_: &Asked, _: usize| answer("206 Partial Content", headers, vec![0; body])
    };
    let ok_headers = |_: &Asked, _: usize| answer("200 OK", "ETag: \"v1\"\r\n", vec![0; 100]);
    let cases: Vec<(Endpoint, &str)> = vec![
        (Endpoint::start(ok_headers).await, "protocol"),
        (Endpoint::start(whole("ETag: \"v1\"\r\nContent-Range: bytes 5-14/100\r\n", 10)).await, "protocol"),
        (Endpoint::start(whole("ETag: \"v1\"\r\nContent-Range: bytes 0-19/100\r\n", 20)).await, "protocol"),
        (Endpoint::start(whole("ETag: \"v1\"\r\nContent-Range: bytes 0-9/100\r\n", 7)).await, "protocol"),
        (Endpoint::start(whole("Content-Range: bytes 0-9/100\r\n", 10)).await, "protocol"),
        (
            Endpoint::start(whole("ETag: \"v2\"\r\nContent-Range: bytes 0-9/100\r\n", 10)).await,
            "version-retired",
        ),
        (Endpoint::start(whole("ETag: \"v1\"\r\nContent-Range: bytes 0-9/100\r\n", 10)).await, "ok"),
    ];
    for (case, (endpoint, expected)) in cases.iter().enumerate() {
        assert_eq!(
            kind(body_of(&endpoint.origin(""), ByteRange::new(0, 10)).await),
            *expected,
            "case {case}"
        );
    }
}

/// An origin as control publishes it, read by distributions of one account.
fn entry(host: &str, credential: &str, account: &str) -> OriginEntry {
    OriginEntry {
        host: host.into(),
        credential: credential.into(),
        accounts: BTreeSet::from([account.to_owned()]),
    }
}

/// What a node of `role` proves itself with.
fn credentials(role: Role) -> Credentials {
    MasterToken::new("a-token-for-tests").unwrap().token(role, None).into()
}

/// A shield that serves, and a client of it.
struct Pair {
    shield: Arc<shield::Shield>,
    client: shield::client::ShieldClient,
    stop: tokio_util::sync::CancellationToken,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn pair(config: ShieldConfig) -> Pair {
    let registry = prometheus::Registry::new();
    let shield = shield::Shield::new(config, &registry).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = tokio_util::sync::CancellationToken::new();
    let (serving, until) = (shield.clone(), stop.clone());
    tokio::spawn(async move { serving.serve(listener, &credentials(Role::Shield), until).await });
    let node =
        ShieldNode { node_id: "a".into(), address, state: NodeState::Ready.into(), ..Default::default() };
    let map = ShieldMap { generation: 1, shields: vec![node], ..Default::default() };
    let (_, map) = tokio::sync::watch::channel(Arc::new(map));
    let client =
        shield::client::ShieldClient::new(&credentials(Role::Edge), map, Default::default(), &registry)
            .unwrap();
    Pair { shield, client, stop }
}

impl Pair {
    /// The whole film by way of the shield, or why not.
    async fn read(&self, origin: &OriginId) -> Result<Bytes, Reason> {
        let object = ObjectKey::new(origin.clone(), "films/a b.mp4");
        let info = self.client.stat(&object, None).await.map_err(|error| error.reason)?;
        self.read_version(&info.id, info.size_bytes).await
    }

    async fn read_version(&self, version: &ObjectVersion, size_bytes: u64) -> Result<Bytes, Reason> {
        let stream = self.client.read(version, size_bytes, ByteRange::new(0, u64::MAX), Priority::Demand);
        let slices: Vec<_> = stream.collect().await;
        let slices: Result<Vec<Bytes>, _> =
            slices.into_iter().map(|slice| slice.map(|(_, bytes)| bytes)).collect();
        Ok(slices.map_err(|error| error.reason)?.concat().into())
    }
}

const HOST: &str = "media.s3.amazonaws.com";
const A: &str = "111111111111";
const B: &str = "222222222222";

fn granted(grants: &[(&str, &str)], secrets: &[(&str, &str)]) -> Access {
    let mut access = Access::default();
    let grant =
        |(account, bucket): &(&str, &str)| Grant { account: (*account).into(), bucket: (*bucket).into() };
    let secret = |(id, key): &(&str, &str)| OriginSecret {
        credential: format!("oai/{id}"),
        access_key_id: (*key).into(),
        secret_access_key: "hush".into(),
        account: A.into(),
        ..Default::default()
    };
    access.take(Published {
        grants: grants.iter().map(grant).collect(),
        origin_secrets: secrets.iter().map(secret).collect(),
        ..Default::default()
    });
    access
}

/// The bucket as it is for those who sign with one of these keys; others are forbidden.
async fn private(keys: &'static [&'static str]) -> (Endpoint, Bytes) {
    let object = film();
    let served = object.clone();
    let endpoint = Endpoint::start(move |asked, _| {
        let by = |key: &&str| asked.header("authorization").contains(&format!("Credential={key}/"));
        match keys.iter().any(by) {
            true => honest(asked, &served),
            false => answer("403 Forbidden", "", "<Error><Code>AccessDenied</Code></Error>"),
        }
    });
    (endpoint.await, object)
}

#[tokio::test(flavor = "multi_thread")]
async fn c37_a_private_bucket_is_read_by_the_identity_s_keys_which_may_rotate() {
    let (endpoint, object) = private(&["AKIDONE", "AKIDTWO"]).await;
    let pair = pair(endpoint.config()).await;
    let (id, open) = (OriginId::of(HOST, "oai/E1"), OriginId::of(HOST, ""));
    let origins = HashMap::from([(id.clone(), entry(HOST, "oai/E1", A)), (open.clone(), entry(HOST, "", B))]);
    pair.shield.set_origins(&origins, &granted(&[], &[("E1", "AKIDONE")])).await;
    assert!(pair.read(&id).await.unwrap() == object);
    assert_eq!(pair.read(&open).await, Err(Reason::Forbidden), "anonymously it is forbidden, however hot");

    // Other keys: descriptions are asked for with those, bytes stay.
    let gets = || endpoint.asked().iter().filter(|asked| asked.method == "GET").count();
    let before = gets();
    pair.shield.set_origins(&origins, &granted(&[], &[("E1", "AKIDTWO")])).await;
    assert!(pair.read(&id).await.unwrap() == object);
    assert_eq!(gets(), before);
    let last = endpoint.asked().last().unwrap().clone();
    assert!(
        last.method == "HEAD" && last.header("authorization").contains("Credential=AKIDTWO/"),
        "{last:?}"
    );

    // Keys that open nothing: what is cached is no use without a description.
    pair.shield.set_origins(&origins, &granted(&[], &[("E1", "AKIDBAD")])).await;
    assert_eq!(pair.read(&id).await, Err(Reason::Forbidden));
    pair.shield.set_origins(&origins, &granted(&[], &[("E1", "AKIDONE")])).await;
    assert!(pair.read(&id).await.unwrap() == object, "the refusal is not remembered beyond its keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_grants_that_are_taken_back_close_what_is_cached() {
    let (endpoint, object) = private(&["AKIDONE", "AKIDROLE"]).await;
    let mut config = endpoint.config();
    config.node_role = Some(shield::config::CredentialConfig {
        access_key_id: "AKIDROLE".into(),
        secret_access_key: Some("hush".into()),
        ..Default::default()
    });
    let pair = pair(config).await;
    let (own, role) = (OriginId::of(HOST, "oai/E1"), OriginId::of(HOST, "oai/E2"));
    let origins =
        HashMap::from([(own.clone(), entry(HOST, "oai/E1", A)), (role.clone(), entry(HOST, "oai/E2", A))]);
    let all = granted(&[(A, "media")], &[("E1", "AKIDONE")]);
    pair.shield.set_origins(&origins, &all).await;
    let info = pair.client.stat(&ObjectKey::new(role.clone(), "films/a b.mp4"), None).await.unwrap();
    assert!(pair.read(&own).await.unwrap() == object && pair.read(&role).await.unwrap() == object);
    assert!(
        endpoint.asked().iter().any(|asked| asked.header("authorization").contains("Credential=AKIDROLE/"))
    );

    let asked = endpoint.asked().len();
    pair.shield.set_origins(&origins, &Access::default()).await;
    assert_eq!(
        (pair.read(&own).await, pair.read(&role).await),
        (Err(Reason::Forbidden), Err(Reason::Forbidden))
    );
    // An edge that remembers the description gets no bytes either.
    assert_eq!(pair.read_version(&info.id, info.size_bytes).await, Err(Reason::Forbidden));
    assert_eq!(endpoint.asked().len(), asked, "nobody asked S3 about it");
    // Granted again, it is fetched again: nothing was kept.
    pair.shield.set_origins(&origins, &granted(&[(A, "*")], &[])).await;
    assert!(pair.read(&role).await.unwrap() == object);
    let gets = endpoint.asked()[asked..].iter().filter(|asked| asked.method == "GET").count();
    assert!(gets > 0);
    assert!(pair.read(&own).await.unwrap() == object, "without keys of its own, by the role");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_s_distribution_is_refused_while_the_blocks_are_hot() {
    let (endpoint, object) = private(&["AKIDONE", "AKIDROLE"]).await;
    let mut config = endpoint.config();
    config.node_role = Some(shield::config::CredentialConfig {
        access_key_id: "AKIDROLE".into(),
        secret_access_key: Some("hush".into()),
        ..Default::default()
    });
    let pair = pair(config).await;
    let (own, theirs, stolen) = ("oai/EA", "oai/EB", "oai/EA");
    let id = |credential| OriginId::of(HOST, credential);
    assert!(id(own) != id(theirs) && id(own) == id(stolen));
    let origins = HashMap::from([(id(own), entry(HOST, own, A)), (id(theirs), entry(HOST, theirs, B))]);
    let access = granted(&[(A, "media"), (B, "theirs")], &[("EA", "AKIDONE")]);
    pair.shield.set_origins(&origins, &access).await;
    for _ in 0..2 {
        assert!(pair.read(&id(own)).await.unwrap() == object);
        assert_eq!(pair.read(&id(theirs)).await, Err(Reason::Forbidden));
    }
    // Should a document of B name A's identity all the same, nobody reads it rather than both.
    let both = OriginEntry { accounts: [A, B].map(str::to_owned).into(), ..entry(HOST, stolen, A) };
    pair.shield.set_origins(&HashMap::from([(id(own), both)]), &access).await;
    assert_eq!(pair.read(&id(own)).await, Err(Reason::Forbidden));
}

/// Shield, S3 client and gRPC client in a row: a body cut off twice reaches the reader whole.
#[tokio::test]
async fn a_truncated_body_is_resumed_from_the_next_byte() {
    let object = film();
    let served = object.clone();
    let endpoint = Endpoint::start(move |asked, _| {
        let mut answer = honest(asked, &served);
        // The first two GETs are cut; the length announced stays.
        if asked.method == "GET" && asked.range().0 < 1_500_000 {
            answer.body = answer.body.slice(..answer.body.len().min(1_200_000));
        }
        answer
    })
    .await;
    let registry = prometheus::Registry::new();
    let server = shield::Shield::new(endpoint.config(), &registry).unwrap();
    let id = OriginId::of("media.s3.amazonaws.com", "key");
    let origins = HashMap::from([
        (id.clone(), entry("media.s3.amazonaws.com", "key", "")),
        (OriginId::of("nowhere.example", ""), entry("nowhere.example", "", "")),
    ]);
    server.set_origins(&origins, &Access::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = tokio_util::sync::CancellationToken::new();
    let until = stop.clone();
    let serving =
        tokio::spawn(async move { server.serve(listener, &credentials(Role::Shield), until).await });
    let shields = vec![ShieldNode {
        node_id: "a".into(),
        address,
        state: NodeState::Ready.into(),
        ..Default::default()
    }];
    let (_publish, map) =
        tokio::sync::watch::channel(Arc::new(ShieldMap { generation: 1, shields, ..Default::default() }));
    let client =
        shield::client::ShieldClient::new(&credentials(Role::Edge), map, Default::default(), &registry)
            .unwrap();
    let info = client.stat(&ObjectKey::new(id, "films/a b.mp4"), None).await.unwrap();
    let version = ObjectVersion { ..info.id };
    let stream = client.read(&version, info.size_bytes, ByteRange::new(0, u64::MAX), Priority::Demand);
    let slices: Vec<(u64, Bytes)> = stream.map(|slice| slice.unwrap()).collect().await;
    assert!(slices.iter().map(|s| s.1.clone()).collect::<Vec<_>>().concat() == object);
    let starts: Vec<_> = endpoint.asked().iter().filter(|a| a.method == "GET").map(|a| a.range().0).collect();
    assert_eq!(starts, [0, 1_200_000, 2_400_000]);
    assert!(endpoint.asked().iter().filter(|a| a.method == "GET").all(|a| a.header("if-match") == ETAG));
    let nowhere = ObjectKey::new(OriginId::of("nowhere.example", ""), "x");
    assert_eq!(client.stat(&nowhere, None).await.unwrap_err().reason, Reason::UnknownOrigin);
    drop(client);
    stop.cancel();
    serving.await.unwrap().unwrap();
}
