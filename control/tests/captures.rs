//! Requests that real clients sent, byte for byte (tests/captures), against the API in this process: each verifies at its own date by a clock that
//! is set there, and is answered as CloudFront would.
//!
//! Needs no etcd and no nodes: the store is in memory, and what nodes would acknowledge is written as their floor.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "server")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use penstock_control::accounts::{AccountLimits, Accounts, NewKey};
use penstock_control::api::{ApiConfig, Context, auth};
use penstock_control::documents::DEPLOYED;
use penstock_control::door::{Door, DoorConfig};
use penstock_control::seal::{Sealer, SealingKey};
use penstock_control::store::{STORE_ID_KEY, Store, Transaction, memory};
use penstock_control::{Control, ControlConfig};
use prost::Message;
use proto::clock::SetClock;
use proto::token::MasterToken;
use proto::v1::Deployed;
use ring::{digest, hmac};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI";
const ACCOUNT: &str = "123456789012";
/// What the stand-in called the distribution, the web distribution and the identity.
const DISTRIBUTION: &str = "EGTXBD79H29TRA";
const WEB: &str = "EDFDVBD6EXAMPLE";
const IDENTITY: &str = "E74FTE3AEXAMPLE";
/// All were recorded on 21 November 2026; this is its midnight, in seconds.
const DAY: u64 = 1_795_219_200;
const WINDOW_S: u64 = 900;

#[derive(Clone)]
struct Capture {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Capture {
    fn read(path: &Path) -> Self {
        let raw = std::fs::read(path).unwrap();
        let end = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&raw[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap().split(' ');
        Self {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            method: first.next().unwrap().into(),
            target: first.next().unwrap().into(),
            headers: lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.into(), v.into())).collect(),
            body: raw[end + 4..].to_vec(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        let known = self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name));
        known.unwrap_or_else(|| panic!("no {name}")).1 = value;
    }

    /// Its date, in milliseconds since 1970.
    fn at_ms(&self) -> u64 {
        let (day, time) = match self.header("x-amz-date") {
            Some(date) => {
                let t = &date[9..15];
                (date.starts_with("20261121T"), [&t[..2], &t[2..4], &t[4..]])
            }
            None => {
                let date = self.header("date").unwrap();
                let t = &date[17..25];
                (date.starts_with("Sat, 21 Nov 2026 "), [&t[..2], &t[3..5], &t[6..]])
            }
        };
        assert!(day, "{}", self.name);
        let [h, m, s] = time.map(|part| part.parse::<u64>().unwrap());
        (DAY + h * 3600 + m * 60 + s) * 1000
    }

    /// Puts the ids and the ETag that the server gave where the stand-in's are, and signs again what is signed over them.
    fn mapped(mut self, ids: &BTreeMap<&str, String>, etag: &str) -> Self {
        let mut body = String::from_utf8(self.body.clone()).unwrap();
        for (theirs, ours) in ids {
            self.target = self.target.replace(theirs, ours);
            body = body.replace(theirs, ours);
        }
        self.body = body.into_bytes();
        if self.header("content-length").is_some() {
            self.set("content-length", self.body.len().to_string());
        }
        if self.header("if-match").is_some_and(|sent| sent != "EBAD") {
            self.set("if-match", etag.to_owned());
        }
        let authorization = self.header("authorization").unwrap().to_owned();
        if let Some(v4) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") {
            let names = v4.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
            let signature = self.v4(names);
            let end = authorization.rfind('=').unwrap() + 1;
            self.set("authorization", format!("{}{signature}", &authorization[..end]));
        }
        self
    }

    fn v4(&self, names: &str) -> String {
        let sha = |bytes: &[u8]| hex::encode(digest::digest(&digest::SHA256, bytes));
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut pairs: Vec<String> = query
            .split('&')
            .filter(|q| !q.is_empty())
            .map(|q| if q.contains('=') { q.to_owned() } else { format!("{q}=") })
            .collect();
        pairs.sort();
        let lines: String = names.split(';').map(|n| format!("{n}:{}\n", self.header(n).unwrap())).collect();
        let canonical =
            format!("{}\n{path}\n{}\n{lines}\n{names}\n{}", self.method, pairs.join("&"), sha(&self.body));
        let time = self.header("x-amz-date").unwrap();
        let scope = format!("{}/us-east-1/cloudfront/aws4_request", &time[..8]);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha(canonical.as_bytes()));
        let mac = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
        };
        let key = scope.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| mac(&key, part));
        hex::encode(mac(&key, &text))
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

/// All but the two CONNECTs, in order of sending.
fn captures() -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "http") && !p.to_str().unwrap().contains("CONNECT"))
        .collect();
    files.sort();
    files.iter().map(|path| Capture::read(path)).collect()
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn text(&self, element: &str) -> &str {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let rest = self.body.split_once(&open).map_or("", |(_, rest)| rest);
        rest.split_once(&close).map_or("", |(text, _)| text)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|l| l.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
    }
}

struct House {
    address: SocketAddr,
    clock: Arc<SetClock>,
    store: Store,
    context: Context,
    _stop: tokio_util::sync::DropGuard,
}

impl House {
    async fn open() -> Self {
        let (store, clock) = (memory::open().await.unwrap(), SetClock::at_ms(DAY * 1000));
        let sealer = Sealer::new(&SealingKey::random().unwrap(), &[]);
        let accounts = Accounts::new(store.clone(), sealer.clone(), clock.clone(), AccountLimits::default());
        for account in [ACCOUNT, "111122223333"] {
            accounts.create(Some(account), "").await.unwrap();
        }
        let new = NewKey { account: ACCOUNT.into(), read_only: false, comment: String::new() };
        accounts.import_key(new, KEY, SECRET).await.unwrap();
        let master = MasterToken::new("a-token-of-sixteen-letters").unwrap();
        let config =
            ControlConfig { sealer: sealer.clone(), clock: clock.clone(), ..ControlConfig::default() };
        let control = Control::new(store.clone(), config, &prometheus::Registry::new()).unwrap();
        let context = control.context(ApiConfig::default(), clock.clone(), sealer, &master);
        let verify = Arc::new(auth::verify_by(&context).unwrap());
        let door = Door::new(context.clone(), verify, None, DoorConfig::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tokio::spawn({
            let (control, stop) = (control.clone(), stop.clone());
            async move { control.serve(grpc, &master, stop).await.unwrap() }
        });
        tokio::spawn({
            let stop = stop.clone();
            async move { door.serve(listener, stop).await }
        });
        control.loaded().await;
        let mut views = context.views.clone();
        views.wait_for(|view| view.access_keys.contains_key(KEY)).await.unwrap();
        Self { address, clock, store, context, _stop: stop.drop_guard() }
    }

    /// As if every node had acknowledged all there is.
    async fn deploy(&self) {
        let id = self.store.get(STORE_ID_KEY).await.unwrap().map(|e| e.value).unwrap_or_default();
        let store_id = String::from_utf8(id.to_vec()).unwrap();
        let floor = Deployed { revision: u64::MAX >> 1, store_id };
        self.store.commit(Transaction::default().put(DEPLOYED, floor.encode_to_vec())).await.unwrap();
        let mut views = self.context.views.clone();
        let known = views.wait_for(|view| view.deployed_floor > 1 << 40);
        let known = tokio::time::timeout(Duration::from_secs(30), known).await;
        known.expect("the floor is known").unwrap();
    }

    async fn send(&self, capture: &Capture) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&capture.bytes()).await.unwrap();
        let mut got = Vec::new();
        let mut part = [0; 1 << 14];
        loop {
            let whole = String::from_utf8_lossy(&got).replace("HTTP/1.1 100 Continue\r\n\r\n", "");
            if let Some((head, body)) = whole.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|l| {
                    l.to_ascii_lowercase()
                        .strip_prefix("content-length: ")
                        .map(|n| n.parse::<usize>().unwrap())
                });
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                if body.len() >= length.unwrap_or(0) {
                    return Answer { status, head: head.into(), body: body.into() };
                }
            }
            let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut part)).await;
            let n = read.expect("an answer").unwrap();
            assert!(n > 0, "{}: closed after {:?}", capture.name, String::from_utf8_lossy(&got));
            got.extend_from_slice(&part[..n]);
        }
    }
}

#[tokio::test]
async fn each_capture_verifies_at_its_own_date_and_is_refused_outside_the_window_and_with_one_bit_flipped() {
    let house = House::open().await;
    let all = captures();
    assert!(all.len() >= 150, "{} captures", all.len());
    for capture in all {
        let own = capture.at_ms();
        for (seconds, within) in
            [(0, true), (-(WINDOW_S as i64), true), (WINDOW_S as i64, true), (-901, false), (901, false)]
        {
            house.clock.set_ms(own.checked_add_signed(seconds * 1000).unwrap());
            let answer = house.send(&capture).await;
            let code = answer.text("Code");
            let refusals = [
                "SignatureDoesNotMatch",
                "InvalidClientTokenId",
                "IncompleteSignature",
                "MissingAuthenticationToken",
                "RequestExpired",
                "AccessDenied",
            ];
            if within {
                assert!(!refusals.contains(&code), "{} {seconds}: {}", capture.name, answer.body);
            } else {
                assert_eq!((answer.status, code), (403, "RequestExpired"), "{} {seconds}", capture.name);
                assert!(answer.header("date").is_some(), "{}", answer.head);
            }
        }
        house.clock.set_ms(own);
        let mut flipped = capture.clone();
        let mut signature = flipped.header("authorization").unwrap().to_owned().into_bytes();
        let at = signature.len() - 5;
        signature[at] = if signature[at] == b'a' { b'b' } else { b'a' };
        flipped.set("authorization", String::from_utf8(signature).unwrap());
        let answer = house.send(&flipped).await;
        assert_eq!((answer.status, answer.text("Code")), (403, "SignatureDoesNotMatch"), "{}", capture.name);
    }
}

/// The status and the code with which CloudFront would answer.
fn right_answer(client: &str, number: &str, capture: &Capture) -> (u16, &'static str) {
    let streaming = "NoSuchStreamingDistribution";
    match (client, number) {
        ("boto3", "02") => (409, "StreamingDistributionAlreadyExists"),
        // Another reference, the same CNAME.
        ("boto3", "03") => (409, "CNAMEAlreadyExists"),
        ("boto3", "09") => (400, "InvalidIfMatchVersion"),
        ("boto3", "10") => (412, "PreconditionFailed"),
        ("boto3", "11") => (409, "StreamingDistributionNotDisabled"),
        // Its distribution is deleted by then.
        ("boto3", "16" | "17" | "18") => (404, "NoSuchResource"),
        // No key at all, and one that isn't there.
        ("boto3", "20" | "21") => (400, "InvalidArgument"),
        ("boto3-web", "04") => (404, "NoSuchDistribution"),
        _ if capture.target.ends_with("/ENOPE") => (404, streaming),
        _ => match capture.method.as_str() {
            "POST" => (201, ""),
            "DELETE" => (204, ""),
            _ => (200, ""),
        },
    }
}

#[tokio::test]
async fn each_client_replayed_with_the_ids_it_was_given_is_answered_as_by_cloudfront() {
    let mut clients: BTreeMap<String, Vec<(String, Capture)>> = BTreeMap::new();
    for capture in captures() {
        let stem: Vec<&str> = capture.name.split('-').collect();
        let number =
            stem.iter().position(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).unwrap();
        clients.entry(stem[..number].join("-")).or_default().push((stem[number].to_owned(), capture));
    }
    assert_eq!(clients.len(), 11, "{:?}", clients.keys());
    for (client, mut sent) in clients.clone() {
        let house = House::open().await;
        let (mut ids, mut etag) = (BTreeMap::new(), String::new());
        house.clock.set_ms((DAY + 11 * 3600 + 7 * 60) * 1000);
        // What the stand-in had before: an identity, and a web distribution for boto3's invalidation.
        let mut identity = sent[0].1.clone();
        let date = "Sat, 21 Nov 2026 11:07:00 GMT";
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(hmac::sign(&key, date.as_bytes()));
        identity.body = b"<CloudFrontOriginAccessIdentityConfig><CallerReference>before</CallerReference><Comment/></CloudFrontOriginAccessIdentityConfig>".to_vec();
        identity.method = "POST".into();
        identity.target = "/2010-11-01/origin-access-identity/cloudfront".into();
        identity.headers = vec![
            ("Host".into(), "cloudfront.amazonaws.com".into()),
            ("Date".into(), date.into()),
            ("Authorization".into(), format!("AWS {KEY}:{signature}")),
            ("Content-Length".into(), identity.body.len().to_string()),
        ];
        let made = house.send(&identity).await;
        assert_eq!(made.status, 201, "{}", made.body);
        ids.insert(IDENTITY, made.text("Id").to_owned());
        if client == "boto3" {
            sent.insert(0, ("web".into(), clients["boto3-web"][0].1.clone()));
        }
        for (number, capture) in sent {
            house.clock.set_ms(capture.at_ms());
            if capture.method == "DELETE" && (number != "11" || client.starts_with("jets3t")) {
                house.deploy().await;
            }
            let request = capture.clone().mapped(&ids, &etag);
            let answer = house.send(&request).await;
            let (status, code) = right_answer(&client, &number, &capture);
            let told = (answer.status, answer.text("Code"));
            assert_eq!(told, (status, code), "{}: {}", capture.name, answer.body);
            let version = &capture.target[1..11];
            if status >= 400 || status == 204 {
                continue;
            }
            let namespace = format!("http://cloudfront.amazonaws.com/doc/{version}/");
            assert!(answer.body.contains(&namespace), "{}: {}", capture.name, answer.body);
            let id = answer.text("Id");
            if capture.method == "POST" && capture.target.ends_with("/streaming-distribution") {
                let known = ids.entry(DISTRIBUTION).or_insert_with(|| id.to_owned());
                assert_eq!(known, id, "{}: the same reference is the same distribution", capture.name);
                let location = answer.header("location").unwrap_or_default();
                assert!(location.ends_with(&format!("/{version}/streaming-distribution/{id}")), "{location}");
            } else if capture.method == "POST" && capture.target.ends_with("/distribution") {
                ids.insert(WEB, id.to_owned());
                continue;
            }
            if capture.target.contains("/streaming-distribution") {
                etag = answer.header("etag").map_or(etag, str::to_owned);
                let reference = ["1274000000000", "cli-1"].contains(&answer.text("CallerReference"));
                let is_list = !answer.text("MaxItems").is_empty();
                assert!(reference || is_list, "{}: {}", capture.name, answer.body);
            }
        }
    }
}
