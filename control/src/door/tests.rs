//! The door as clients find it: curl and openssl on real sockets, and clients that behave badly.

use std::path::PathBuf;
use std::process::Stdio;

use http::header::AUTHORIZATION;
use proto::clock::SetClock;
use proto::token::MasterToken;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinHandle;

use prost::Message;
use proto::v1::CertificateAuthority as SealedKey;

use super::*;
use crate::accounts::Principal;
use crate::api::{ApiConfig, ApiError};
use crate::seal::{Sealer, SealingKey};
use crate::store::{Store, memory};
use crate::{Control, ControlConfig};

/// No step of a test takes longer, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answered 501: known to the API, and to no module of it.
const NOWHERE: &str = "/2020-05-31/function";

struct House {
    address: SocketAddr,
    door: Door,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    open: JoinHandle<()>,
}

/// Takes `AWS NAME:…` for the key NAME of account 111111111111.
fn verify() -> Verify {
    Arc::new(|head, _| {
        let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = given.and_then(|given| given.strip_prefix("AWS ")?.split_once(':')).map(|(key, _)| key);
        match key {
            None => Err(ApiError::forbidden("MissingAuthenticationToken", "the request is not signed")),
            Some("PANIC") => panic!("a test asked for it"),
            Some(key) => Ok(Principal {
                account: "111111111111".into(),
                key_id: key.into(),
                read_only: key == "READER",
            }),
        }
    })
}

impl House {
    /// With a certificate of its own.
    async fn open(mut config: DoorConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = vec![CLOUDFRONT.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let (certificate, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        config.tls = Some((certificate, key));
        let store = memory::open().await.unwrap();
        Self::of(store, SetClock::at_ms(1_795_259_262_000), Sealer::none(), folder, config).await
    }

    async fn of(
        store: Store,
        clock: Arc<SetClock>,
        sealer: Sealer,
        folder: tempfile::TempDir,
        config: DoorConfig,
    ) -> Self {
        let control = Control::new(store, ControlConfig::default(), &prometheus::Registry::new()).unwrap();
        let master = MasterToken::new("a-token-of-sixteen-letters").unwrap();
        let context = control.context(ApiConfig::default(), clock, sealer, &master);
        let console = Router::new().route("/", axum::routing::get(async || "a page"));
        let door = Door::new(context, verify(), Some(console), config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let open = tokio::spawn({
            let (door, stop) = (door.clone(), stop.clone());
            async move { door.serve(listener, stop).await }
        });
        Self { address, door, folder, stop, open }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `curl` with these arguments: its whole output, head and all.
    async fn curl(&self, arguments: &[&str]) -> String {
        let out = Command::new("curl")
            .args(["-sS", "-i", "--max-time", "50", "--cacert"])
            .arg(self.path("a.crt"))
            .args(arguments)
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    /// What comes back when these bytes are sent, to the end of the connection.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        heard(&mut stream).await
    }

    async fn close(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.open).await.unwrap().unwrap();
    }
}

async fn heard(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset at the end is one way to end.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.unwrap();
    String::from_utf8_lossy(&heard).into_owned()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_answered_over_plain_http_tls_and_a_tunnel() {
    let house = House::open(DoorConfig::default()).await;
    let port = house.address.port();
    let proxy = format!("http://127.0.0.1:{port}");
    let signed = ["-H", "Authorization: AWS KEY:x"];
    let ways: [(&[&str], String); 4] = [
        (&[], format!("http://127.0.0.1:{port}{NOWHERE}")),
        (&[], format!("https://127.0.0.1:{port}{NOWHERE}")),
        (&["--tlsv1.2", "--tls-max", "1.2"], format!("https://localhost:{port}{NOWHERE}")),
        (&["--suppress-connect-headers", "-p", "-x", &proxy], format!("https://{CLOUDFRONT}{NOWHERE}")),
    ];
    for (arguments, url) in ways {
        let answer = house.curl(&[&signed, arguments, &[&url]].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 501 "), "{url}: {answer}");
        for part in [
            "content-type: application/xml",
            "date: Sat, 21 Nov 2026 11:07:42 GMT",
            "x-amz-request-id: ",
            "x-amzn-requestid: ",
            "<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Error><Type>Receiver</Type><Code>NotImplemented</Code>",
            "function",
        ] {
            assert!(answer.contains(part), "{url}: {part}: {answer}");
        }
        let id = answer.split("x-amz-request-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert!(answer.contains(&format!("<RequestId>{id}</RequestId>")), "{answer}");
    }
    assert!(house.curl(&[&format!("{proxy}/healthz")]).await.ends_with("\r\n\r\nok\n"));
    assert!(house.curl(&[&format!("{proxy}/console")]).await.ends_with("a page"));
    assert!(house.curl(&[&format!("{proxy}/")]).await.contains("location: /console\r\n"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_shakes_hands_with_1_2_and_1_3_and_with_nothing_older() {
    let house = House::open(DoorConfig::default()).await;
    let s_client = async |version: &str| {
        let mut client = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", version])
            .args(["-servername", CLOUDFRONT, "-verify_hostname", CLOUDFRONT, "-CAfile"])
            .arg(house.path("a.crt"))
            .args(["-connect", &house.address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut asks = client.stdin.take().unwrap();
        let _ = asks.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let mut answer = String::new();
        let mut hears = client.stdout.take().unwrap();
        tokio::time::timeout(PATIENCE, hears.read_to_string(&mut answer)).await.unwrap().unwrap();
        drop(asks);
        answer
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let answer = s_client(version).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{version}: {answer}");
    }
    assert_eq!(s_client("-tls1_1").await, "");
    assert!(house.door.shared.metrics.handshake_failures.get() >= 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c02_only_cloudfront_is_proxied_and_only_into_tls() {
    let config = DoorConfig { proxy_hosts: vec!["cf.example".into()], ..DoorConfig::default() };
    let house = House::open(config).await;
    for target in ["example.com:443", "cloudfront.amazonaws.com:80", "169.254.169.254:443"] {
        let answer =
            house.say(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("<Code>AccessDenied</Code>") && answer.contains(target), "{answer}");
    }
    // As the capture jets3t-0.7.2-viaproxy-01 has it.
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    let asked = "CONNECT cloudfront.amazonaws.com:443 HTTP/1.1\r\nUser-Agent: JetS3t/0.7.1 (Linux/6.1.0; amd64; en; JVM 17.0.15)\r\n\
                 Host: cloudfront.amazonaws.com\r\nProxy-Connection: Keep-Alive\r\n\r\n";
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut agreed = [0; 19];
    stream.read_exact(&mut agreed).await.unwrap();
    assert_eq!(&agreed, b"HTTP/1.1 200 OK\r\n\r\n", "{}", String::from_utf8_lossy(&agreed));
    // Inside there is TLS or nothing: a request in the clear is not answered.
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(!heard(&mut stream).await.contains("200 OK"));
    // A tunnel within a tunnel.
    let proxy = format!("http://{}", house.address);
    let answer = house
        .curl(&[
            "-p",
            "-x",
            &proxy,
            "-X",
            "CONNECT",
            "--request-target",
            "cf.example:443",
            &format!("https://{CLOUDFRONT}/"),
        ])
        .await;
    assert!(answer.contains("HTTP/1.1 400 ") && answer.contains("tunnel within a tunnel"), "{answer}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_hear_of_nothing_but_signatures() {
    let house = House::open(DoorConfig::default()).await;
    let base = format!("http://{}", house.address);
    for path in [NOWHERE, "/nonsense", "/2020-05-31/streaming-distribution/E1", "/2009-01-01/x"] {
        let answer = house.curl(&["-d", "<not-xml", &format!("{base}{path}")]).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
        assert!(answer.contains("<Code>MissingAuthenticationToken</Code>"), "{path}: {answer}");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_document_with_its_code() {
    let house = House::open(DoorConfig::default()).await;
    let base = format!("http://{}", house.address);
    let bomb = "<!DOCTYPE a [<!ENTITY b \"cccccccccc\">]><a>&b;</a>";
    let streaming = "/2020-05-31/streaming-distribution";
    let key = "Authorization: AWS KEY:x";
    let reader = "Authorization: AWS READER:x";
    let cases: [(&[&str], &str, &str, &str); 10] = [
        (&["-H", key], "/nonsense", "400", "InvalidURI"),
        (&["-H", key], "/2009-04-02/distribution", "400", "InvalidURI"),
        (&["-H", key], "/2020-05-31/elephant", "404", "NotFound"),
        (&["-H", key], "/2020-05-31/cache-policy", "501", "NotImplemented"),
        (&["-H", key, "-d", bomb], streaming, "400", "MalformedXML"),
        (&["-H", key, "-d", "<a><b></a>"], streaming, "400", "MalformedXML"),
        (&["-H", key, "-d", "\u{feff}<a>&undefined;</a>"], streaming, "400", "MalformedXML"),
        (&["-H", reader, "-d", "<a/>"], streaming, "403", "AccessDenied"),
        (&["-H", "Authorization: AWS PANIC:x"], streaming, "500", "InternalError"),
        (&["-H", key, "-X", "PATCH"], streaming, "405", "MethodNotAllowed"),
    ];
    for (arguments, path, status, code) in cases {
        let answer = house.curl(&[arguments, &[&format!("{base}{path}")]].concat()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {code}: {answer}");
        assert!(answer.contains(&format!("<Code>{code}</Code>")), "{path} {code}: {answer}");
        assert!(
            answer.contains("content-type: application/xml\r\n") && !answer.to_lowercase().contains("<html")
        );
    }
    let named = house.curl(&["-H", key, &format!("{base}/2020-05-31/elephant/E1")]).await;
    assert!(named.contains("elephant"), "{named}");
    assert_eq!(house.door.shared.metrics.panics.get(), 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_gets_the_head_of_the_answer_and_keeps_the_connection() {
    let house = House::open(DoorConfig::default()).await;
    let url = format!("http://{}{NOWHERE}", house.address);
    let answer = house.curl(&["-v", "--head", "-H", "Authorization: AWS KEY:x", &url, &url]).await;
    assert_eq!(answer.matches("HTTP/1.1 501").count() / 2, 2, "{answer}");
    assert!(!answer.contains("<Error"), "{answer}");
    assert!(answer.contains("Re-using existing"), "{answer}");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_too_long_are_refused_unread_and_others_are_taken_however_they_are_framed() {
    let config =
        DoorConfig { body_max_bytes: 10_000, web_body_max_bytes: 2_000_000, ..DoorConfig::default() };
    let house = House::open(config).await;
    let base = format!("http://{}", house.address);
    let key = "Authorization: AWS KEY:x";
    let file = |bytes: usize| {
        let path = house.path(&format!("{bytes}.xml"));
        std::fs::write(&path, format!("<a>{}</a>", "x".repeat(bytes - 7))).unwrap();
        format!("@{}", path.display())
    };
    let (short, long) = (file(10_000), file(10_001));
    let streaming = format!("{base}/2020-05-31/streaming-distribution");
    let web = format!("{base}/2020-05-31/distribution");
    let (chunked, expect) = ("Transfer-Encoding: chunked", "Expect: 100-continue");
    for framing in ["Content-Type: text/xml", chunked, expect] {
        let answer = house.curl(&["-H", key, "-H", framing, "--data-binary", &long, &streaming]).await;
        assert!(
            answer.contains("HTTP/1.1 413 ") && answer.contains("<Code>RequestEntityTooLarge</Code>"),
            "{framing}: {answer}"
        );
        for url in [&web, &streaming] {
            let answer = house.curl(&["-H", key, "-H", framing, "--data-binary", &short, url]).await;
            assert!(
                !answer.contains("HTTP/1.1 413 ") && answer.contains("<RequestId>"),
                "{framing}: {answer}"
            );
            assert_eq!(answer.contains("HTTP/1.1 100 Continue"), framing == expect, "{answer}");
        }
    }
    // A client that waits to be told to go on is told not to, at once.
    let head = "POST /2020-05-31/streaming-distribution HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n";
    let answer = house.say(format!("{head}{key}\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // Nor is anything read of one who doesn't say who it is.
    let answer = house.say(format!("{head}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("MissingAuthenticationToken"), "{answer}");
    // One that doesn't wait reads the answer although it is still sending.
    let huge = file(8_000_000);
    let answer = house.curl(&["-H", key, "-H", "Expect:", "--data-binary", &huge, &web]).await;
    assert!(answer.contains("<Code>RequestEntityTooLarge</Code>"), "{answer}");
    assert_eq!(house.door.shared.metrics.body_bytes.get(), 0);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_too_long_get_a_document_and_endless_ones_an_end() {
    let house = House::open(DoorConfig::default()).await;
    let head = |bytes: usize| {
        format!("GET {NOWHERE} HTTP/1.1\r\nHost: x\r\nX: {}\r\nConnection: close\r\n\r\n", "y".repeat(bytes))
    };
    let answer = house.say(head(20_000).as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 431 ") && answer.contains("<Code>RequestHeaderSectionTooLarge</Code>"),
        "{answer}"
    );
    let answer = house.say(head(1_000_000).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    assert!(house.say(many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    assert!(house.say(b"GET / HTTP/9.9\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    assert_eq!(house.say(b"\x03not http").await, "");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_dawdle_are_let_go_while_others_are_served() {
    let short = Duration::from_millis(300);
    let config = DoorConfig {
        head_timeout: short,
        body_timeout: short,
        handshake_timeout: short,
        ..DoorConfig::default()
    };
    let house = House::open(config).await;
    // Silence; half a head, then a byte at a time; half a body; half a handshake; a tunnel that nobody enters.
    let silent = TcpStream::connect(house.address).await.unwrap();
    let mut loris = TcpStream::connect(house.address).await.unwrap();
    loris.write_all(b"GET /healthz HTTP/1.1\r\nX: ").await.unwrap();
    let mut body = TcpStream::connect(house.address).await.unwrap();
    body.write_all(b"POST /2020-05-31/tagging HTTP/1.1\r\nHost: x\r\nAuthorization: AWS KEY:x\r\nContent-Length: 100\r\n\r\n<Ta")
        .await
        .unwrap();
    let mut hello = TcpStream::connect(house.address).await.unwrap();
    hello.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let mut tunnel = TcpStream::connect(house.address).await.unwrap();
    tunnel.write_all(b"CONNECT cloudfront.amazonaws.com:443 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let dripping = tokio::spawn(async move {
        while loris.write_all(b"y").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(
        house.say(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.ends_with("ok\n")
    );
    let late = heard(&mut body).await;
    assert!(late.starts_with("HTTP/1.1 408 ") && late.contains("<Code>RequestTimeout</Code>"), "{late}");
    assert_eq!(heard(&mut hello).await, "");
    assert_eq!(heard(&mut tunnel).await, "HTTP/1.1 200 OK\r\n\r\n");
    tokio::time::timeout(PATIENCE, dripping).await.unwrap().unwrap();
    let connections = &house.door.shared.metrics.connections;
    until("all are gone", || connections.get() == 0).await;
    drop(silent);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_lets_nobody_else_in_until_somebody_leaves() {
    let config = DoorConfig { connections_per_address_max: 2, ..DoorConfig::default() };
    let house = House::open(config).await;
    let guests =
        [TcpStream::connect(house.address).await.unwrap(), TcpStream::connect(house.address).await.unwrap()];
    let metrics = house.door.shared.metrics.clone();
    until("both are in", || metrics.connections.get() == 2).await;
    let ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(house.say(ask).await, "");
    assert_eq!(metrics.refused.with_label_values(&["connections_per_address_max"]).get(), 1);
    drop(guests);
    until("both are out", || metrics.connections.get() == 0).await;
    assert!(house.say(ask).await.ends_with("ok\n"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_asks_too_fast_is_throttled() {
    let config = DoorConfig { requests_per_second: 1, requests_burst: 3, ..DoorConfig::default() };
    let house = House::open(config).await;
    let url = format!("http://{}{NOWHERE}", house.address);
    let mut arguments = vec!["-H", "Authorization: AWS KEY:x"];
    arguments.extend([url.as_str(); 12]);
    let answers = house.curl(&arguments).await;
    assert!(answers.contains("HTTP/1.1 501 ") && answers.contains("<Code>Throttling</Code>"), "{answers}");
    assert!(house.door.shared.metrics.throttled.get() > 0);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_taken_when_their_files_change_and_settings_when_they_are_reloaded() {
    let config = DoorConfig { tls_reload: Duration::from_millis(50), ..DoorConfig::default() };
    let house = House::open(config.clone()).await;
    let url = format!("https://localhost:{}/healthz", house.address.port());
    assert!(house.curl(&[&url]).await.contains("HTTP/1.1 200 "));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(house.path("a.key"), made.signing_key.serialize_pem()).unwrap();
    // The key alone doesn't fit: what is in use stays.
    let metrics = house.door.shared.metrics.clone();
    until("the half is seen", || metrics.tls_changes.with_label_values(&["failed"]).get() > 0).await;
    assert!(house.curl(&[&url]).await.contains("HTTP/1.1 200 "));
    let loaded = metrics.tls_changes.with_label_values(&["loaded"]).get();
    std::fs::write(house.path("a.crt"), made.cert.pem()).unwrap();
    until("the whole is seen", || metrics.tls_changes.with_label_values(&["loaded"]).get() > loaded).await;
    assert!(house.curl(&[&url]).await.contains("HTTP/1.1 200 "), "the new certificate is not served");

    let tls = Some((house.path("a.crt"), house.path("a.key")));
    let tighter = DoorConfig { connections_max: 0, tls, ..config };
    house.door.reconfigure(tighter, ApiConfig::default());
    assert_eq!(house.say(b"GET /healthz HTTP/1.1\r\n\r\n").await, "");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_closes_lets_those_inside_finish_and_then_goes() {
    let house = House::open(DoorConfig { drain: Duration::from_secs(30), ..DoorConfig::default() }).await;
    let mut idle = TcpStream::connect(house.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    idle.read_exact(&mut answer).await.unwrap();
    let mut busy = TcpStream::connect(house.address).await.unwrap();
    busy.write_all(b"POST /2020-05-31/function HTTP/1.1\r\nHost: x\r\nAuthorization: AWS KEY:x\r\nContent-Length: 8\r\n\r\n<a>").await.unwrap();
    let metrics = house.door.shared.metrics.clone();
    until("the body has begun", || metrics.body_bytes.get() == 3).await;
    let (address, open) = (house.address, house.open);
    house.stop.cancel();
    busy.write_all(b"x</a>").await.unwrap();
    assert!(heard(&mut busy).await.starts_with("HTTP/1.1 501 "));
    let _ = heard(&mut idle).await;
    tokio::time::timeout(PATIENCE, open).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_serve_one_local_authority_and_renew_their_leaves_before_they_end() {
    let (store, folder) = (memory::open().await.unwrap(), tempfile::tempdir);
    // Today: curl has a clock of its own.
    let clock = SetClock::at_ms(proto::clock::system().now_ms());
    let sealer = || Sealer::new(&SealingKey::parse(&"ab".repeat(32), "a test").unwrap(), &[]);
    let config =
        DoorConfig { host_names: vec!["cf.example".into(), "10.9.8.7".into()], ..DoorConfig::default() };
    let open =
        async || House::of(store.clone(), clock.clone(), sealer(), folder().unwrap(), config.clone()).await;
    let (one, two) = tokio::join!(open(), open());
    let mut endings = Vec::new();
    for house in [&one, &two] {
        let metrics = &house.door.shared.metrics;
        until("there is a leaf", || metrics.tls_expiry.get() > 0).await;
        endings.push(metrics.tls_expiry.get());
        let authority = authority::certificate(&*store).await.unwrap().unwrap();
        std::fs::write(house.path("a.crt"), authority).unwrap();
        let port = house.address.port();
        for name in [CLOUDFRONT, "cf.example", "10.9.8.7", "localhost", "127.0.0.1"] {
            let there = format!("{name}:{port}:127.0.0.1:{port}");
            let url = format!("https://{name}:{port}/healthz");
            let answer = house.curl(&["--connect-to", &there, &url]).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
        }
        let stranger = format!("other.example:{port}:127.0.0.1:{port}");
        let answer =
            house.curl(&["--connect-to", &stranger, &format!("https://other.example:{port}/")]).await;
        assert!(!answer.contains("HTTP/1.1"), "{answer}");
    }
    // The key lies in the store sealed.
    let document = store.get(crate::documents::CERTIFICATE_AUTHORITY).await.unwrap().unwrap();
    let opened = SealedKey::decode(document.value).unwrap().sealed_key;
    assert!(rcgen::KeyPair::try_from(opened.to_vec()).is_err());

    clock.advance_ms(59 * 86_400_000);
    one.door.look_again();
    clock.advance_ms(2 * 86_400_000);
    one.door.look_again();
    let metrics = &one.door.shared.metrics;
    until("the leaf is renewed", || metrics.tls_expiry.get() > endings[0]).await;
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_for_secrets_tls_is_refused_and_plain_http_goes_on() {
    let store = memory::open().await.unwrap();
    let clock = SetClock::at_ms(1_795_259_262_000);
    let folder = tempfile::tempdir().unwrap();
    let house = House::of(store.clone(), clock, Sealer::none(), folder, DoorConfig::default()).await;
    let metrics = house.door.shared.metrics.clone();
    until("it was tried", || metrics.tls_changes.with_label_values(&["failed"]).get() > 0).await;
    assert!(house.say(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await.ends_with("ok\n"));
    assert_eq!(house.say(&[0x16, 3, 1, 0, 0]).await, "");
    assert_eq!(metrics.refused.with_label_values(&["no_certificate"]).get(), 1);
    assert_eq!(authority::certificate(&*store).await.unwrap(), None);
    house.close().await;
}
