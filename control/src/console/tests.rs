//! The console's doors and locks, on the router itself: logins, sessions, forms, headers. Its pages are tried with real nodes in the crate `tests`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, Request, StatusCode, header};
use prometheus::{IntCounterVec, Opts, Registry};
use proto::clock::SetClock;
use proto::v1::{AccessKey, Distribution};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::documents::KEYS;
use crate::metrics::Metrics;
use crate::mirror::view::View;
use crate::seal::{Sealer, SealingKey};
use crate::shields::Shields;
use crate::store::memory;

const ACCOUNT: &str = "111111111111";
const START_MS: u64 = 1_800_000_000_000;

struct Desk {
    router: Router,
    store: crate::store::Store,
    views: watch::Sender<Arc<View>>,
    clock: Arc<SetClock>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `name=value` of the cookie it sets.
    fn cookie(&self) -> String {
        self.header(header::SET_COOKIE).split(';').next().unwrap().to_owned()
    }

    /// The token in its forms.
    fn token(&self) -> String {
        let at = self.text.find("name=\"form_token\" value=\"").expect("no form") + 25;
        self.text[at..].split('"').next().unwrap().to_owned()
    }
}

impl Desk {
    async fn open() -> Self {
        let sealer = Sealer::new(&SealingKey::random().unwrap(), &[]);
        let key = |id: &str, secret: &str, read_only| {
            let sealed_secret = sealer.seal(&format!("{KEYS}{id}"), secret.as_bytes()).unwrap().into();
            let key = AccessKey {
                id: id.into(),
                account: ACCOUNT.into(),
                sealed_secret,
                read_only,
                ..Default::default()
            };
            (id.to_owned(), Arc::new(key))
        };
        let distribution = |id: &str, account: &str| {
            let document = Distribution { id: id.into(), account: account.into(), ..Default::default() };
            (id.to_owned(), Arc::new(document))
        };
        let view = View {
            store_id: "s".into(),
            revision: 1,
            access_keys: Arc::new([key("AKIAWRITES", "right", false), key("AKIAREADS", "also", true)].into()),
            distributions: Arc::new([distribution("EFOREIGN000000", "222222222222")].into()),
            ..View::default()
        };
        let views = watch::Sender::new(Arc::new(view));
        let clock = SetClock::at_ms(START_MS);
        let refusals = IntCounterVec::new(Opts::new("refusals", "refusals"), &["code"]).unwrap();
        let verifier =
            Verifier::new(sealer.clone(), Duration::from_secs(900), vec!["us-east-1".into()], refusals)
                .unwrap();
        let store = memory::open().await.unwrap();
        let context = Context {
            store: store.clone(),
            views: views.subscribe(),
            config: Arc::default(),
            clock: clock.clone(),
            sealer,
            metrics: Metrics::new(&Registry::new()).unwrap(),
            shields: Shields::of_nobody(),
        };
        let config = ConsoleConfig { login_failures: 3, ..ConsoleConfig::default() };
        let routes =
            routes(context, verifier, watch::Sender::new(Arc::default()).subscribe(), config).unwrap();
        Self { router: Router::new().nest("/console", routes), store, views, clock }
    }

    async fn send(&self, request: Request<Body>, tls: bool) -> Answer {
        let (mut parts, body) = request.into_parts();
        let address: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        parts.extensions.insert(door::Peer { address, tls, tunnelled: false });
        let answer = self.router.clone().oneshot(Request::from_parts(parts, body)).await.unwrap();
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        let request = Request::get(path).header(header::COOKIE, cookie).header(header::HOST, "c.example.com");
        self.send(request.body(Body::empty()).unwrap(), false).await
    }

    async fn post(&self, path: &str, cookie: &str, form: String) -> Answer {
        let request = Request::post(path)
            .header(header::COOKIE, cookie)
            .header(header::HOST, "c.example.com")
            .header(header::ORIGIN, "http://c.example.com")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(form.into()).unwrap(), false).await
    }

    async fn try_login(&self, id: &str, secret: &str) -> Answer {
        let page = self.get("/console/login", "").await;
        let form = format!("form_token={}&access_key_id={id}&secret_access_key={secret}", page.token());
        self.post("/console/login", &page.cookie(), form).await
    }

    /// Logs in; the cookie.
    async fn log_in(&self, id: &str, secret: &str) -> String {
        let answer = self.try_login(id, secret).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.cookie()
    }
}

#[tokio::test]
async fn nobody_sees_a_page_before_the_login_and_comes_back_to_it_after() {
    let desk = Desk::open().await;
    for path in ["/console", "/console/nodes", "/console/nowhere", "/console/distributions/E1?x=1"] {
        let answer = desk.get(path, "").await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert!(answer.header(header::LOCATION).starts_with("/console/login"), "{path}");
    }
    let away = desk.get("/console/nodes?a=1", "").await;
    assert_eq!(away.header(header::LOCATION), "/console/login?next=%2Fconsole%2Fnodes%3Fa%3D1");
    let page = desk.get(away.header(header::LOCATION), "").await;
    assert!(page.text.contains(r#"name="next" value="/console/nodes?a=1""#), "{}", page.text);
    let form = format!(
        "form_token={}&access_key_id=AKIAWRITES&secret_access_key=right&next=%2Fconsole%2Fnodes%3Fa%3D1",
        page.token()
    );
    let answer = desk.post("/console/login", &page.cookie(), form).await;
    assert_eq!(answer.header(header::LOCATION), "/console/nodes?a=1");
    let nodes = desk.get("/console/nodes?a=1", &answer.cookie()).await;
    assert_eq!(nodes.status, StatusCode::OK);
    assert!(nodes.text.contains("111111111111") && nodes.text.contains("AKIAWRITES"));
    assert_eq!(
        desk.get("/console", &answer.cookie()).await.header(header::LOCATION),
        "/console/distributions"
    );
}

#[tokio::test]
async fn every_answer_carries_what_browsers_enforce() {
    let desk = Desk::open().await;
    let cookie = desk.log_in("AKIAWRITES", "right").await;
    let style = assets::STYLE.path().to_owned();
    for path in ["/console/login", "/console/nodes", "/console/nowhere", "/console/static/x/y", &style] {
        let answer = desk.get(path, &cookie).await;
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"),
            "{policy}"
        );
        assert_eq!(answer.header(header::X_FRAME_OPTIONS), "DENY", "{path}");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
        assert_eq!(answer.header(header::REFERRER_POLICY), "same-origin", "{path}");
        let kept = answer.header(header::CACHE_CONTROL);
        assert_eq!(kept.contains("immutable"), path == style, "{path}: {kept}");
        assert!(!answer.text.contains("<script>") && !answer.text.contains(" style="), "{path}");
    }
    let page = Request::get("/console/login").body(Body::empty()).unwrap();
    let over_tls = desk.send(page, true).await;
    assert!(over_tls.header(header::SET_COOKIE).ends_with("; HttpOnly; SameSite=Strict; Secure"));
    assert!(!over_tls.header(header::STRICT_TRANSPORT_SECURITY).is_empty());
}

#[tokio::test]
async fn wrong_unknown_and_disabled_are_refused_in_the_same_words_and_an_address_has_three_tries() {
    let desk = Desk::open().await;
    let wrong = desk.try_login("AKIAWRITES", "wrong").await;
    let unknown = desk.try_login("AKIANOBODY", "right").await;
    for answer in [&wrong, &unknown] {
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.text.contains("There is no such access key, or the secret is not its own."));
        assert!(answer.header(header::SET_COOKIE).is_empty());
    }
    assert!(unknown.text.contains(r#"value="AKIANOBODY""#), "what was entered is shown again");
    assert!(!unknown.text.contains(r#"value="right""#), "but the secret isn't");
    // A login gives its try back.
    desk.log_in("AKIAWRITES", "right").await;
    assert_eq!(desk.try_login("AKIAWRITES", "wrong").await.status, StatusCode::FORBIDDEN);
    let fourth = desk.try_login("AKIAWRITES", "right").await;
    assert_eq!(fourth.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(fourth.header(header::RETRY_AFTER), "300");
}

#[tokio::test]
async fn a_form_that_no_page_of_the_session_sent_is_refused() {
    let desk = Desk::open().await;
    let cookie = desk.log_in("AKIAWRITES", "right").await;
    let other = desk.log_in("AKIAWRITES", "right").await;
    let theirs = desk.get("/console/nodes", &other).await.token();
    for token in ["", "x", &theirs] {
        for path in
            ["/console/logout", "/console/distributions/new/streaming", "/console/distributions/E1/delete"]
        {
            let answer = desk.post(path, &cookie, format!("form_token={token}")).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
            assert!(answer.text.contains("nothing was changed"), "{path}");
        }
    }
    let token = desk.get("/console/nodes", &cookie).await.token();
    let request = |headers: &[(&'static str, &'static str)]| {
        let mut request = Request::post("/console/logout")
            .header(header::COOKIE, &cookie)
            .header(header::HOST, "c.example.com");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::from(format!("form_token={token}"))).unwrap()
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    let cross = desk.send(request(&[form, ("sec-fetch-site", "cross-site")]), false).await;
    assert_eq!(cross.status, StatusCode::FORBIDDEN);
    let origin = desk.send(request(&[form, ("origin", "https://evil.example")]), false).await;
    assert_eq!(origin.status, StatusCode::FORBIDDEN);
    let plain = desk.send(request(&[("content-type", "text/plain")]), false).await;
    assert_eq!(plain.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(desk.get("/console/nodes", &cookie).await.status, StatusCode::OK, "still logged in");
    // The login's own form too.
    let page = desk.get("/console/login", "").await;
    let form = format!("form_token={}&access_key_id=AKIAWRITES&secret_access_key=right", page.token());
    assert_eq!(desk.post("/console/login", "", form).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn sessions_end_by_logout_idleness_age_and_with_their_key() {
    let desk = Desk::open().await;
    let lives = async |cookie: &str| desk.get("/console/nodes", cookie).await.status == StatusCode::OK;
    let cookie = desk.log_in("AKIAWRITES", "right").await;
    let other = desk.log_in("AKIAREADS", "also").await;
    let token = desk.get("/console/nodes", &cookie).await.token();
    let out = desk.post("/console/logout", &cookie, format!("form_token={token}")).await;
    assert_eq!(out.header(header::LOCATION), "/console/login");
    assert!(out.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert!(!lives(&cookie).await, "a copy of the cookie is worth nothing");
    assert!(lives(&other).await);

    desk.clock.advance_ms(29 * 60_000);
    let seen = desk.get("/console/nodes", &other).await;
    let renewed = seen.cookie();
    desk.clock.advance_ms(2 * 60_000);
    assert!(!lives(&other).await, "idle for 31 minutes");
    let mut kept = desk.get("/console/nodes", &renewed).await.cookie();
    for _ in 0..23 {
        desk.clock.advance_ms(29 * 60_000);
        kept = desk.get("/console/nodes", &kept).await.cookie();
    }
    assert!(lives(&kept).await);
    desk.clock.advance_ms(29 * 60_000);
    assert!(!lives(&kept).await, "older than 12 hours");

    let last = desk.log_in("AKIAWRITES", "right").await;
    assert!(lives(&last).await);
    desk.views.send_modify(|view| {
        let view = Arc::make_mut(view);
        let keys = Arc::make_mut(&mut view.access_keys);
        let key = keys.get_mut("AKIAWRITES").unwrap();
        Arc::make_mut(key).disabled = true;
    });
    assert!(!lives(&last).await, "its key was disabled");
    assert_eq!(desk.try_login("AKIAWRITES", "right").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_key_that_may_only_read_changes_nothing_and_another_accounts_things_are_not_there() {
    let desk = Desk::open().await;
    let cookie = desk.log_in("AKIAREADS", "also").await;
    let page = desk.get("/console/nodes", &cookie).await;
    assert!(page.text.contains("read only"));
    for path in [
        "/console/distributions/new/streaming",
        "/console/distributions/E1/disable",
        "/console/keys/access/AKIAWRITES/disable",
        "/console/keys/public",
    ] {
        let answer = desk.post(path, &cookie, format!("form_token={}", page.token())).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text.contains("AccessDenied"), "{path}");
    }
    let list = desk.get("/console/distributions", &cookie).await;
    assert!(!list.text.contains("EFOREIGN000000") && !list.text.contains("Create distribution"));
    for path in ["", "/play", "/nodes", "/status"] {
        let answer = desk.get(&format!("/console/distributions/EFOREIGN000000{path}"), &cookie).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_form_past_its_bound_is_not_read() {
    let desk = Desk::open().await;
    let page = desk.get("/console/login", "").await;
    let form = format!("form_token={}&next={}", page.token(), "a".repeat(FORM_BYTES_MAX));
    let answer = desk.post("/console/login", &page.cookie(), form).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_stranger_sends_no_more_than_a_login_needs() {
    let desk = Desk::open().await;
    let page = desk.get("/console/login", "").await;
    let form = format!("form_token={}&access_key_id={}", page.token(), "A".repeat(9000));
    let answer = desk.post("/console/login", &page.cookie(), form).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.text);
}

#[tokio::test]
async fn what_is_in_force_of_the_api_holds_for_the_console_too() {
    let desk = Desk::open().await;
    let session = desk.log_in("AKIAWRITES", "right").await;
    let page = desk.get("/console/distributions/new/streaming", &session).await;
    let form = format!(
        "form_token={}&origin=media.s3.amazonaws.com&comment=&price_class=PriceClass_All&enabled=true",
        page.token()
    );
    let request = || {
        Request::post("/console/distributions/new/streaming")
            .header(header::COOKIE, &session)
            .header(header::HOST, "c.example.com")
            .header(header::ORIGIN, "http://c.example.com")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.clone()))
            .unwrap()
    };
    // As the front door tells after a reload.
    let limits = crate::api::Limits { streaming_distributions: 0, ..Default::default() };
    let mut narrowed = request();
    narrowed.extensions_mut().insert(Arc::new(crate::api::ApiConfig { limits, ..Default::default() }));
    let refused = desk.send(narrowed, false).await;
    assert!(
        refused.status.is_client_error() && refused.text.contains("TooManyStreamingDistributions"),
        "{}",
        refused.text
    );
    let made = desk.send(request(), false).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text);
}

#[tokio::test]
async fn a_distributions_page_shows_its_logs_and_why_a_bucket_takes_none() {
    use prost::Message;
    use proto::v1::{LogFile, LogGroup, LogTotals};

    let desk = Desk::open().await;
    let session = desk.log_in("AKIAWRITES", "right").await;
    let form = |token: &str, more: &str| {
        format!(
            "form_token={token}&origin=media.s3.amazonaws.com&comment=&price_class=PriceClass_All&enabled=true{more}"
        )
    };
    let page = desk.get("/console/distributions/new/streaming", &session).await;
    let refused = form(&page.token(), "&logging=true&log_bucket=logs.example.com&log_prefix=..%2Fx");
    let refused = desk.post("/console/distributions/new/streaming", &session, refused).await;
    assert!(refused.status.is_client_error() && refused.text.contains("Logging/Bucket"), "{}", refused.text);
    let on = form(&page.token(), "&logging=true&log_bucket=logs.s3.amazonaws.com&log_prefix=films%2F");
    let made = desk.post("/console/distributions/new/streaming", &session, on).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text);
    let path = made.header(header::LOCATION).split('?').next().unwrap().to_owned();
    let id = path.rsplit('/').next().unwrap();

    let shown = desk.get(&path, &session).await;
    for part in ["Access logs", "logs.s3.amazonaws.com", "films/", "Nothing yet"] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    let published = crate::documents::distribution(&*desk.store, id).await.unwrap().unwrap().document;
    let target = published.logging.unwrap();
    assert_eq!(target.account, ACCOUNT);
    let totals = LogTotals { records: 7, files: 2, last_key: "films/x.gz".into(), ..LogTotals::default() };
    let held = LogFile { records: 3, committed_ms: START_MS - 60_000, ..LogFile::default() };
    let group = LogGroup {
        distribution_id: id.into(),
        hour: 1,
        target: Some(target),
        attempts: 4,
        last_error: "put logs/films/x.gz: refused (AccessDenied)".into(),
        next_try_ms: START_MS + 30_000,
        held: vec![held],
        ..LogGroup::default()
    };
    let ledger = crate::store::Transaction::default()
        .put(format!("log-totals/{id}"), totals.encode_to_vec())
        .put(format!("log-groups/{id}/1/x"), group.encode_to_vec());
    desk.store.commit(ledger).await.unwrap();
    let shown = desk.get(&path, &session).await;
    for part in [
        "7 records in 2 files",
        "films/x.gz",
        "takes no log files",
        "s3:PutObject",
        "3 records, the oldest for",
    ] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    assert!(!shown.text.contains("<script>"));
    let edit = desk.get(&format!("{path}/edit"), &session).await;
    let etag_at = edit.text.find("name=\"etag\" value=\"").unwrap() + 19;
    let etag = edit.text[etag_at..].split('"').next().unwrap();
    let off = form(&edit.token(), &format!("&etag={etag}"));
    let off = desk.post(&format!("{path}/edit"), &session, off).await;
    assert_eq!(off.status, StatusCode::SEE_OTHER, "{}", off.text);
    let shown = desk.get(&path, &session).await;
    assert!(
        shown.text.contains("<dd>Off</dd>") && shown.text.contains("takes no log files"),
        "what waits still shows"
    );
}
