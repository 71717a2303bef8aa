//! The web console: driven in headless Chromium against a real cluster (tests/players/console), and asked directly for what a browser wouldn't do.
//!
//! Pictures of every page are left in `console/` of cargo's target folder.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tests::api::page::{Visitor, escaped, hidden};
use tests::api::{Api, Keys, aws, unique};
use tests::cluster::Setup;
use tests::http;
use tests::{eventually, players};

/// One cluster for all of them; its console offers no buckets but those of grants, and takes many wrong logins.
fn api() -> &'static Api {
    static API: OnceLock<Api> = OnceLock::new();
    API.get_or_init(|| {
        let console = "console:\n  login_failures: 1000\n";
        Api::start(Setup { control: console.into(), ..Setup::default() })
    })
}

fn pictures() -> PathBuf {
    let target = std::env::var("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")).join("console")
}

/// A browser that goes through one of the drive's stories.
struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What axe and the browser's console found, page by page.
    complaints: Vec<String>,
    looked: usize,
}

impl Browser {
    fn start(story: &str, keys: &Keys, env: &[(&str, &str)]) -> Self {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("players/console/run");
        let base = format!("http://{}/console", api().addr());
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "400"]).arg(run).args([story, &base]).arg(pictures());
        command
            .env("ACCESS_KEY_ID", &keys.id)
            .env("SECRET_ACCESS_KEY", &keys.secret)
            .envs(env.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, complaints: Vec::new(), looked: 0 }
    }

    /// What it says next under `name`; what it complains of on the way is kept.
    fn says(&mut self, name: &str) -> Value {
        loop {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            let (said, value) = line
                .trim_end()
                .split_once(' ')
                .unwrap_or_else(|| panic!("the drive ended before it said {name}"));
            let value: Value = serde_json::from_str(value).unwrap();
            match said {
                _ if said == name => return value,
                "looked" => {
                    self.looked += 1;
                    assert!(value["rules"].as_u64().unwrap() > 10, "axe hardly looked: {value}");
                    let found = value["violations"].as_array().unwrap().iter();
                    self.complaints.extend(found.map(|v| format!("{}: {}", value["name"], v)));
                }
                "complaint" => self.complaints.push(value.to_string()),
                _ => panic!("instead of {name}: {said} {value:#}"),
            }
        }
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    /// Its end: all went well, on so many pages at least, and nothing was complained of.
    fn ends_after(mut self, pages: usize) {
        self.says("end");
        assert!(self.child.wait().unwrap().success());
        assert!(self.looked >= pages, "looked at {} pages", self.looked);
        assert!(self.complaints.is_empty(), "{}", self.complaints.join("\n"));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[test]
fn in_chromium_a_distribution_is_created_deployed_played_disabled_and_deleted() {
    let keys = api().account();
    api().cluster.control_command(&["grants", "add", &keys.account, "media"]).expect(0);
    let edge = api().cluster.rtmp(0);
    let env = [("BUCKET", "media"), ("EDGE", edge), ("FILM", "first.mp4")];
    let mut browser = Browser::start("life", &keys, &env);

    let created = browser.says("created");
    assert_eq!(created["status"], "InProgress");
    assert_eq!(created["escaped"], 1, "the comment's script is text");
    let domain = created["domain"].as_str().unwrap().to_owned();
    assert!(domain.starts_with('s') && domain.ends_with(".penstock.localhost"), "{domain}");
    let rows = browser.says("propagation");
    let rows = strings(&rows["rows"]);
    for node in ["edge-1", "edge-2", "shield-1", "shield-2"] {
        assert!(rows.iter().any(|r| r.starts_with(node) && r.contains("Has it")), "{node}: {rows:?}");
    }

    let play = browser.says("play");
    let urls = strings(&play["urls"]);
    for scheme in ["rtmp", "rtmpe", "rtmpt", "rtmpte", "rtmps", "rtmpts"] {
        let url = format!("{scheme}://{domain}/cfx/st/mp4:first.mp4");
        assert!(urls.contains(&url.as_str()), "{url}: {urls:?}");
    }
    // The command as somebody copies it.
    let folder = tempfile::tempdir().unwrap();
    let command = play["command"].as_str().unwrap();
    let shell = |command: &str| {
        let line = format!("cd '{}' && {command} -q", folder.path().display());
        players::run(60, "sh", &["-c", &line])
    };
    let done = shell(command);
    let received = std::fs::metadata(folder.path().join("film.flv")).map_or(0, |m| m.len());
    assert!(received > 10_000, "{command}: {done:?}");
    browser.go_on();

    browser.says("disabled");
    std::fs::remove_file(folder.path().join("film.flv")).unwrap();
    let refused = shell(command);
    let received = std::fs::metadata(folder.path().join("film.flv")).map_or(0, |m| m.len());
    assert!(received < 1000, "a disabled distribution played: {refused:?}");
    browser.go_on();
    assert_eq!(browser.says("deleted")["listed"], 0);
    browser.ends_after(14);
    assert_eq!(api().count(&keys), 0);
}

/// What `aws cloudfront WORDS` reads of the account.
fn read(keys: &Keys, words: &[&str]) -> Value {
    aws::json(aws::cli(api(), keys, words))
}

#[test]
fn in_chromium_a_download_distribution_with_logs_is_created_edited_disabled_and_deleted() {
    let keys = api().account();
    let alias = format!("{}.example.com", unique());
    let mut browser = Browser::start("download", &keys, &[("ALIAS", &alias)]);
    let created = browser.says("created");
    let (id, shown) = (created["id"].as_str().unwrap(), created["text"].as_str().unwrap());
    // What edges can't do yet is said where one looks, and not called deployed.
    assert_eq!(created["state"], "Unsupported", "{created}");
    for text in ["HTTP delivery", "https-only", "index.html", "logs.s3.amazonaws.com", "web/", &alias] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let config = || read(&keys, &["get-distribution-config", "--id", id])["DistributionConfig"].clone();
    let made = config();
    let logging = |prefix: &str| serde_json::json!({"Enabled": true, "IncludeCookies": false, "Bucket": "logs.s3.amazonaws.com", "Prefix": prefix});
    assert_eq!(made["Logging"], logging("web/"));
    assert_eq!((&made["DefaultRootObject"], &made["Enabled"]), (&"index.html".into(), &true.into()));
    assert_eq!(made["Aliases"]["Items"][0], alias.as_str());
    assert_eq!(made["DefaultCacheBehavior"]["ViewerProtocolPolicy"], "https-only");
    browser.go_on();

    let edited = browser.says("edited");
    let kept = serde_json::json!({
        "root": "index.html", "policy": "https-only", "bucket": "logs.s3.amazonaws.com", "prefix": "web/",
    });
    assert_eq!(edited["kept"], kept, "the form shows what there is");
    let shown = edited["text"].as_str().unwrap();
    for text in ["changed in the console", "changed/", "SmoothStreaming"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let now = config();
    assert_eq!(now["Logging"], logging("changed/"));
    assert_eq!(now["Comment"], "changed in the console");
    assert_eq!(now["DefaultCacheBehavior"]["SmoothStreaming"], true);
    assert_eq!((&now["CallerReference"], &now["Origins"]), (&made["CallerReference"], &made["Origins"]));
    browser.go_on();
    assert_eq!(browser.says("deleted")["listed"], 0);

    let streaming = browser.says("streaming");
    let shown = streaming["text"].as_str().unwrap();
    assert!(shown.contains("logs.s3.amazonaws.com") && shown.contains("films/"), "{shown}");
    let id = streaming["id"].as_str().unwrap();
    let config = read(&keys, &["get-streaming-distribution-config", "--id", id]);
    let wanted = serde_json::json!({"Enabled": true, "Bucket": "logs.s3.amazonaws.com", "Prefix": "films/"});
    assert_eq!(config["StreamingDistributionConfig"]["Logging"], wanted);
    browser.go_on();
    browser.ends_after(10);
    let left = read(&keys, &["list-distributions"]);
    assert!(left["DistributionList"]["Items"].as_array().is_none_or(Vec::is_empty), "{left}");
}

#[test]
fn in_chromium_public_keys_key_groups_and_identities_are_added_and_deleted() {
    let keys = api().account();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    players::run(30, "openssl", &["genrsa", "-out", &file("key.pem"), "2048"]).expect(0);
    players::run(30, "openssl", &["rsa", "-in", &file("key.pem"), "-pubout", "-out", &file("pub.pem")])
        .expect(0);
    let pem = std::fs::read_to_string(file("pub.pem")).unwrap();
    let mut browser = Browser::start("keys", &keys, &[("PUBLIC_KEY", &pem)]);
    let added = browser.says("added");
    let id = |name: &str| added[name].as_str().unwrap();
    let key = read(&keys, &["get-public-key", "--id", id("key")])["PublicKey"]["PublicKeyConfig"].clone();
    assert_eq!((&key["Name"], &key["Comment"]), (&"console-key".into(), &"signs films".into()));
    let held = key["EncodedKey"].as_str().unwrap();
    assert!(held.split_whitespace().eq(pem.split_whitespace()), "{held}");
    let group = read(&keys, &["get-key-group", "--id", id("group")])["KeyGroup"]["KeyGroupConfig"].clone();
    let wanted = serde_json::json!({"Name": "console-group", "Items": [id("key")], "Comment": "all signers"});
    assert_eq!(group, wanted);
    let identity = read(&keys, &["get-cloud-front-origin-access-identity-config", "--id", id("identity")]);
    assert_eq!(identity["CloudFrontOriginAccessIdentityConfig"]["Comment"], "for the vault");
    browser.go_on();
    browser.says("deleted");
    for (words, list) in [
        (["list-public-keys"], "PublicKeyList"),
        (["list-key-groups"], "KeyGroupList"),
        (["list-cloud-front-origin-access-identities"], "CloudFrontOriginAccessIdentityList"),
    ] {
        let left = read(&keys, &words);
        assert!(left[list]["Items"].as_array().is_none_or(Vec::is_empty), "{left}");
    }
    browser.go_on();
    browser.ends_after(9);
}

#[test]
fn in_chromium_every_page_is_accessible_in_the_dark_and_in_a_narrow_window() {
    let keys = api().account();
    api().create(&keys, &["narrow.example.com"]);
    let mut browser = Browser::start("tour", &keys, &[]);
    let identity = browser.says("identity");
    assert!(identity["id"].as_str().unwrap().starts_with('E'), "{identity}");
    browser.ends_after(10);
}

#[test]
fn without_script_everything_works_and_a_lost_update_is_told() {
    let keys = api().account();
    let mut browser = Browser::start("scriptless", &keys, &[]);
    assert_eq!(browser.says("deployed")["status"], "Deployed");
    let overtaken = browser.says("overtaken");
    assert_eq!(overtaken["told"], true, "{overtaken}");
    assert_eq!(overtaken["kept"], "mine");
    assert_eq!(overtaken["saved"], 1, "the second time is a decision");
    browser.ends_after(0);
}

fn log_in(keys: &Keys) -> Visitor {
    Visitor::log_in(api().addr(), keys)
}

#[test]
fn forms_without_their_token_or_from_another_site_change_nothing() {
    let keys = api().account();
    let made = api().create(&keys, &[]);
    let mut visitor = log_in(&keys);
    let path = format!("/console/distributions/{}/disable", made.id);
    let page = visitor.get(&path).text();
    let (token, etag) = (hidden(&page, "form_token"), hidden(&page, "etag"));
    assert_eq!(visitor.post(&path, &[("etag", &etag)]).status, 403);
    assert_eq!(visitor.post(&path, &[("etag", &etag), ("form_token", "made-up")]).status, 403);
    let body = format!("etag={}&form_token={}", escaped(&etag), escaped(&token));
    for from in [("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        let headers = [("Cookie", visitor.cookie.as_str()), kind, from];
        let answer = http::request(api().addr(), "POST", &path, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 403, "{from:?}");
    }
    let shown = visitor.get(&format!("/console/distributions/{}", made.id)).text();
    assert!(shown.contains(">Enabled<"), "nothing was disabled");
    assert_eq!(visitor.post(&path, &[("etag", &etag), ("form_token", &token)]).status, 303);
    let shown = visitor.get(&format!("/console/distributions/{}", made.id)).text();
    assert!(shown.contains(">Disabled<"));
}

#[test]
fn pages_allow_nothing_but_their_own_script_and_show_hostile_text_as_text() {
    let keys = api().account();
    let mut visitor = log_in(&keys);
    let page = visitor.get("/console/distributions/new/streaming").text();
    let hostile = "\"><img src=x onerror=alert(1)><script>alert(2)</script>";
    let fields = |origin: &'static str, token: &str, reference: &str| {
        vec![
            ("form_token".to_owned(), token.to_owned()),
            ("reference".to_owned(), reference.to_owned()),
            ("origin".to_owned(), origin.to_owned()),
            ("comment".to_owned(), hostile.to_owned()),
            ("price_class".to_owned(), "PriceClass_All".to_owned()),
            ("enabled".to_owned(), "true".to_owned()),
        ]
    };
    let (token, reference) = (hidden(&page, "form_token"), hidden(&page, "reference"));
    let send = |visitor: &mut Visitor, fields: Vec<(String, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        visitor.post("/console/distributions/new/streaming", &fields)
    };
    let refused = send(&mut visitor, fields("no bucket", &token, &reference));
    assert_eq!(refused.status, 400);
    let text = refused.text();
    assert!(text.contains("InvalidOrigin") && text.contains("href=\"#origin\""), "{text}");
    let made = send(&mut visitor, fields("media.s3.amazonaws.com", &token, &reference));
    assert_eq!(made.status, 303, "{}", made.text());
    let address = made.header("location").unwrap().split('?').next().unwrap().to_owned();
    // The same form once more makes no second one.
    let again = send(&mut visitor, fields("media.s3.amazonaws.com", &token, &reference));
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(api().count(&keys), 1);
    eventually("it is listed", Duration::from_secs(20), || {
        visitor.get("/console/distributions").text().contains("onerror").then_some(())
    });
    for path in [
        address.clone(),
        format!("{address}/edit"),
        format!("{address}/play?stream={}", escaped(hostile)),
        "/console/distributions".into(),
    ] {
        let answer = visitor.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let text = answer.text();
        assert!(
            text.contains("onerror") && !text.contains("<img") && !text.contains("<script>"),
            "{path}: {text}"
        );
    }
}

#[test]
fn another_accounts_distribution_is_not_there_and_a_reading_key_changes_nothing() {
    let (alice, bob) = (api().account(), api().account());
    let made = api().create(&alice, &[]);
    eventually("alice sees it", Duration::from_secs(20), || {
        log_in(&alice).get("/console/distributions").text().contains(&made.id).then_some(())
    });
    let mut visitor = log_in(&bob);
    assert!(!visitor.get("/console/distributions").text().contains(&made.id));
    for page in ["", "/edit", "/play", "/nodes", "/tags", "/disable", "/delete", "/status"] {
        let answer = visitor.get(&format!("/console/distributions/{}{page}", made.id));
        assert_eq!(answer.status, 404, "{page}");
    }
    let token = hidden(&visitor.get("/console/distributions/new/streaming").text(), "form_token");
    for action in ["edit", "disable", "delete", "tags"] {
        let path = format!("/console/distributions/{}/{action}", made.id);
        let fields = [
            ("form_token", token.as_str()),
            ("etag", &made.etag),
            ("tags", "a"),
            ("origin", "media.s3.amazonaws.com"),
        ];
        assert_eq!(visitor.post(&path, &fields).status, 404, "{action}");
    }
    assert_eq!(visitor.get(&format!("/console/keys/access/{}/disable", alice.id)).status, 404);
    let path = format!("/console/keys/access/{}/disable", alice.id);
    assert_eq!(visitor.post(&path, &[("form_token", &token)]).status, 404);

    let reader = api().key(&alice.account, &["--read-only"]);
    let mut reading = log_in(&reader);
    let page = reading.get(&format!("/console/distributions/{}", made.id)).text();
    assert!(page.contains("read only") && !page.contains("/disable\""), "{page}");
    let token = hidden(&page, "form_token");
    for action in ["edit", "disable", "delete", "tags"] {
        let path = format!("/console/distributions/{}/{action}", made.id);
        let answer = reading.post(&path, &[("form_token", &token), ("etag", &made.etag)]);
        assert_eq!(answer.status, 403, "{action}");
        assert!(answer.text().contains("AccessDenied"), "{action}");
    }
    assert_eq!(api().count(&alice), 1);
}

#[test]
fn a_disabled_key_and_a_logout_end_sessions_at_once_at_every_replica() {
    let keys = api().account();
    let other = api().key(&keys.account, &[]);
    let (_replica, second) = api().cluster.another_control("control-2");
    let mut mine = log_in(&keys);
    // The cookie of one replica is good at the other.
    let elsewhere = |cookie: &str| {
        http::request(&second, "GET", "/console/nodes", &[("Cookie", cookie)], &[]).unwrap().status
    };
    eventually("the other replica knows the key", Duration::from_secs(20), || {
        (elsewhere(&mine.cookie) == 200).then_some(())
    });
    let copy = mine.cookie.clone();
    let token = hidden(&mine.get("/console/nodes").text(), "form_token");
    assert_eq!(mine.post("/console/logout", &[("form_token", &token)]).status, 303);
    assert_eq!(elsewhere(&copy), 303, "logged out at both");

    let mut theirs = log_in(&other);
    let mut again = log_in(&keys);
    let path = format!("/console/keys/access/{}/disable", other.id);
    let token = hidden(&again.get(&path).text(), "form_token");
    assert_eq!(again.post(&path, &[("form_token", &token)]).status, 303);
    eventually("its session has ended", Duration::from_secs(20), || {
        (theirs.get("/console/nodes").status == 303 && elsewhere(&theirs.cookie) == 303).then_some(())
    });
    assert_eq!(Visitor::new(api().addr()).try_login(&other.id, &other.secret).status, 403);
    assert_eq!(again.get("/console/nodes").status, 200);
}

#[test]
fn logins_that_fail_are_throttled() {
    let api = Api::start(Setup { control: "console:\n  login_failures: 3\n".into(), ..Setup::default() });
    let keys = api.account();
    let mut visitor = Visitor { addr: api.addr().to_owned(), cookie: String::new() };
    let mut seen: HashMap<u16, usize> = HashMap::new();
    for _ in 0..5 {
        *seen.entry(visitor.try_login(&keys.id, "wrong").status).or_default() += 1;
    }
    assert_eq!(seen, HashMap::from([(403, 3), (429, 2)]));
    let right = visitor.try_login(&keys.id, &keys.secret);
    assert_eq!(right.status, 429, "also the right secret waits");
    assert!(right.header("retry-after").unwrap().parse::<u64>().unwrap() <= 301);
}
