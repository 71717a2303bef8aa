//! SIGHUP at a running control: what its file says of the API's limits is in force for API and console at once, without a connection lost.

use std::time::Duration;

use tests::api::{Api, Keys, ORIGIN, Request, assert_refused, config, unique};
use tests::cluster::Setup;
use tests::eventually;
use tests::http::{self, Answer};

const PATH: &str = "/2020-05-31/streaming-distribution";
const NEW: &str = "/console/distributions/new/streaming";
const LONG: Duration = Duration::from_secs(60);

/// A browser of few words: one cookie, and the token of the form it saw last.
struct Visitor<'a> {
    api: &'a Api,
    cookie: String,
}

impl Visitor<'_> {
    fn send(&mut self, method: &str, path: &str, form: &str) -> Answer {
        let origin = self.api.endpoint();
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("origin", &origin),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = http::request(self.api.addr(), method, path, &headers, form.as_bytes()).unwrap();
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        answer
    }

    fn token(&mut self, path: &str) -> String {
        let page = self.send("GET", path, "").text();
        let (_, rest) =
            page.split_once("name=\"form_token\" value=\"").unwrap_or_else(|| panic!("no form: {page}"));
        rest.split('"').next().unwrap().to_owned()
    }

    fn log_in(&mut self, keys: &Keys) {
        let token = self.token("/console/login");
        let Keys { id, secret, .. } = keys;
        let escaped = secret.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let form = format!("form_token={token}&access_key_id={id}&secret_access_key={escaped}");
        let answer = self.send("POST", "/console/login", &form);
        assert_eq!(answer.status, 303, "{}", answer.text());
    }

    fn create(&mut self) -> Answer {
        let token = self.token(NEW);
        let form =
            format!("form_token={token}&origin={ORIGIN}&comment=&price_class=PriceClass_All&enabled=true");
        self.send("POST", NEW, &form)
    }
}

#[test]
fn a_reload_is_in_force_for_the_api_and_the_console_and_a_wrong_file_changes_nothing() {
    let api = Api::start(Setup::default());
    let keys = api.account();
    let mut visitor = Visitor { api: &api, cookie: String::new() };
    visitor.log_in(&keys);
    assert_eq!(visitor.create().status, 303);
    let create = || api.send(Request::post(PATH, &config(&unique(), ORIGIN, "", &[], "", true)).v4(&keys));
    assert_eq!(create().status, 201);

    let file = api.cluster.folder().join("control.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let reload = |text: &str, says: &str| {
        let told = || api.cluster.control.process.log().matches(says).count();
        let before = told();
        std::fs::write(&file, text).unwrap();
        api.cluster.control.process.signal("HUP");
        eventually(&format!("control to say '{says}'"), LONG, || (told() > before).then_some(()));
    };
    let limited = |limits: &str| text.replacen("api:\n", &format!("api:\n  limits: {{{limits}}}\n"), 1);
    reload(&limited("streaming_distributions: 2"), "the configuration was reloaded");
    assert_refused(&create(), 400, "TooManyStreamingDistributions");
    let refused = visitor.create();
    assert!(
        refused.status >= 400 && refused.text().contains("TooManyStreamingDistributions"),
        "{}",
        refused.text()
    );

    reload(&limited("streaming_distributions: many"), "the configuration was not reloaded");
    assert_refused(&create(), 400, "TooManyStreamingDistributions");

    reload(&limited("streaming_distributions: 4"), "the configuration was reloaded");
    // The session of before goes on.
    assert_eq!(visitor.create().status, 303);
    assert_eq!(create().status, 201);
    assert_refused(&create(), 400, "TooManyStreamingDistributions");
    assert_eq!(visitor.create().status, refused.status);
}
