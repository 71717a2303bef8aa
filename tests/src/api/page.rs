//! The console as a script would use it: a client that keeps a cookie and takes forms' tokens from pages.

use super::Keys;
use crate::http::{self, Answer};

/// See the [module](self).
pub struct Visitor {
    /// `IP:PORT` of the console.
    pub addr: String,
    /// Its session.
    pub cookie: String,
}

impl Visitor {
    /// Nobody yet.
    pub fn new(addr: &str) -> Self {
        Self { addr: addr.into(), cookie: String::new() }
    }

    /// Logged in by these keys.
    pub fn log_in(addr: &str, keys: &Keys) -> Self {
        let mut visitor = Self::new(addr);
        let answer = visitor.try_login(&keys.id, &keys.secret);
        assert_eq!(answer.status, 303, "{}", answer.text());
        visitor
    }

    fn keep(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
    }

    /// A page.
    pub fn get(&mut self, path: &str) -> Answer {
        let answer = http::request(&self.addr, "GET", path, &[("Cookie", &self.cookie)], &[]).unwrap();
        self.keep(&answer);
        answer
    }

    /// A form that is sent.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={}", escaped(v))).collect();
        let headers =
            [("Cookie", self.cookie.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http::request(&self.addr, "POST", path, &headers, body.join("&").as_bytes()).unwrap();
        self.keep(&answer);
        answer
    }

    /// The answer to a login.
    pub fn try_login(&mut self, id: &str, secret: &str) -> Answer {
        let token = hidden(&self.get("/console/login").text(), "form_token");
        self.post(
            "/console/login",
            &[("form_token", &token), ("access_key_id", id), ("secret_access_key", secret)],
        )
    }
}

/// `text` as a form says it.
pub fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric();
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The value of a hidden field of a page.
pub fn hidden(page: &str, name: &str) -> String {
    let from = format!("name=\"{name}\" value=\"");
    let at = page.find(&from).unwrap_or_else(|| panic!("no {name} in {page}")) + from.len();
    page[at..].split('"').next().unwrap().to_owned()
}
