//! An S3 endpoint that takes only keys that a [`Platform`] gave, while they last: it checks signature, session token and time of each request,
//! writes down what it found, and passes those that are good to a real endpoint, signed with that one's own keys.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::Platform;
use crate::log_chaos::boxes::S3Place;
use crate::log_chaos::gate::request;
use crate::s3::hmac;

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The id it was signed with; empty for none.
    pub key_id: String,
    /// `ok`, or the code it was refused with.
    pub verdict: &'static str,
}

/// The endpoint; it ends with the test process.
pub struct KeyGate {
    addr: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What is refused because it isn't signed.
pub const UNSIGNED: &str = "AccessDenied";

impl KeyGate {
    /// One before `place`, for keys of `platform`.
    pub fn start(place: &S3Place, platform: &Platform) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (place, platform, own) = (place.clone(), platform.clone(), seen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (place, platform, own) = (place.clone(), platform.clone(), own.clone());
                std::thread::spawn(move || serve(client, &place, &platform, &own));
            }
        });
        Self { addr, seen }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The ids by which requests were let in, each once.
    pub fn ids(&self) -> Vec<String> {
        let good = self.seen().into_iter().filter(|one| one.verdict == "ok");
        let mut ids: Vec<String> = good.map(|one| one.key_id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Requests refused with that code.
    pub fn refused(&self, code: &str) -> usize {
        self.seen().iter().filter(|one| one.verdict == code).count()
    }

    /// Requests refused, whyever.
    pub fn refusals(&self) -> usize {
        self.seen().iter().filter(|one| one.verdict != "ok").count()
    }
}

struct Asked {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    fn read(head: &str) -> Option<Self> {
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
        Some(Self { method, path: path.to_owned(), query: query.to_owned(), headers })
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The id that signed it (empty: none), and what is to be said of that.
    fn judge(&self, platform: &Platform) -> Seen {
        let verdict = |key_id: &str, verdict| Seen { key_id: key_id.to_owned(), verdict };
        let Some((id, scope, signed, signature)) = self.authorization() else { return verdict("", UNSIGNED) };
        let Some(key) = platform.issued().into_iter().find(|one| one.id == id) else {
            return verdict(id, "InvalidAccessKeyId");
        };
        if self.signature(&key.secret, scope, signed) != signature {
            return verdict(id, "SignatureDoesNotMatch");
        }
        // The token is worth nothing unless it is signed too.
        if self.header("x-amz-security-token") != key.token || !signed.contains("x-amz-security-token") {
            return verdict(id, "InvalidToken");
        }
        verdict(id, if key.revoked || key.expires <= SystemTime::now() { "ExpiredToken" } else { "ok" })
    }

    /// Id, scope, names of signed headers, and signature.
    fn authorization(&self) -> Option<(&str, &str, &str, &str)> {
        let text = self.header("authorization").strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| text.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let (id, scope) = field("Credential")?.split_once('/')?;
        Some((id, scope, field("SignedHeaders")?, field("Signature")?))
    }

    fn signature(&self, secret: &str, scope: &str, signed: &str) -> String {
        let headers: String =
            signed.split(';').map(|name| format!("{name}:{}\n", self.header(name))).collect();
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        let mut pairs: Vec<String> =
            pairs.map(|p| if p.contains('=') { p.to_owned() } else { format!("{p}=") }).collect();
        pairs.sort();
        let (query, body) = (pairs.join("&"), self.header("x-amz-content-sha256"));
        let (method, path) = (&self.method, &self.path);
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{body}");
        let hash = hex::encode(Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", self.header("x-amz-date"));
        let first = format!("AWS4{secret}").into_bytes();
        let key = scope.split('/').fold(first, |key, part| hmac(&key, part.as_bytes()));
        hex::encode(hmac(&key, to_sign.as_bytes()))
    }
}

fn serve(mut client: TcpStream, place: &S3Place, platform: &Platform, seen: &Mutex<Vec<Seen>>) -> Option<()> {
    let (head, body) = request(&mut client)?;
    let asked = Asked::read(&head)?;
    let judged = asked.judge(platform);
    seen.lock().unwrap().push(judged.clone());
    let bodiless = asked.method == "HEAD";
    if judged.verdict != "ok" {
        let status = if judged.verdict == "ExpiredToken" { 400 } else { 403 };
        let code = judged.verdict;
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
        let text = if bodiless { "" } else { &text };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            text.len()
        );
        return client.write_all(format!("{head}{text}").as_bytes()).ok();
    }
    let (bucket, key) = asked.path.trim_start_matches('/').split_once('/').unwrap_or((&asked.path[1..], ""));
    let key = decoded(key);
    let target = if asked.query.is_empty() { key } else { format!("{key}?{}", asked.query) };
    let passed =
        ["range", "if-match", "if-none-match", "content-type"].map(|name| (name, asked.header(name)));
    let passed: Vec<(&str, &str)> = passed.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let answer = place.bucket(bucket).send(&asked.method, &target, &passed, &body);
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        if !["connection", "transfer-encoding", "content-length"].contains(&name.as_str()) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    let length = answer.body.len().to_string();
    let length = if bodiless { answer.header("content-length").unwrap_or("0") } else { &length };
    head += &format!("Content-Length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).ok()?;
    client.write_all(&answer.body).ok()
}

/// Undoes the escapes of a path.
fn decoded(path: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), path.as_bytes());
    while let Some((first, more)) = rest.split_first() {
        let escape = more.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http;
    use crate::platform::Mood;
    use crate::s3::Bucket;

    #[test]
    fn it_takes_what_the_platform_gave_and_nothing_else() {
        let platform = Platform::start(Mood::Well, Duration::from_secs(600));
        let gave = http::request(
            platform.addr(),
            "GET",
            "/container",
            &[("authorization", crate::platform::CONTAINER_TOKEN)],
            &[],
        );
        assert_eq!(gave.unwrap().status, 200);
        let key = platform.issued().remove(0);
        // Nobody is behind it: what is let in breaks off.
        let place = S3Place { addr: "127.0.0.1:9".into(), keys: ("a".into(), "b".into()) };
        let gate = KeyGate::start(&place, &platform);
        let token = [("x-amz-security-token", key.token.as_str())];
        let asked = |id: &str, secret: &str, headers: &[(&str, &str)]| {
            let bucket = Bucket::new(gate.addr(), "bucket", id, secret);
            let sent = std::panic::catch_unwind(|| bucket.get("a b?c=d", headers).text());
            sent.unwrap_or_else(|_| "passed on".into())
        };
        assert!(asked(&key.id, &key.secret, &[]).contains("InvalidToken"));
        assert!(asked(&key.id, "wrong", &token).contains("SignatureDoesNotMatch"));
        assert!(asked("ASIANOBODY", &key.secret, &token).contains("InvalidAccessKeyId"));
        assert!(asked("", "", &[]).contains("AccessDenied"));
        assert_eq!(asked(&key.id, &key.secret, &token), "passed on");
        platform.revoke();
        assert!(asked(&key.id, &key.secret, &token).contains("ExpiredToken"));
        assert_eq!((gate.ids(), gate.refusals(), gate.refused(UNSIGNED)), (vec![key.id], 5, 1));
        assert_eq!(decoded("a%20b/%C3%BC%"), "a b/ü%");
    }
}
