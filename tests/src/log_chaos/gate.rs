//! What stands before an S3 server and refuses, or does the work and says it didn't: by rules on method and path.
//!
//! Unlike [`crate::faulty_s3`], which stands between shields and origins, it takes requests with bodies. Each request goes over a connection of
//! its own, which ends with the answer; the `Host` header passes untouched, so signatures hold.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::splice;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It isn't passed on; the answer has this status and S3's code.
    Refused(u16, &'static str),
    /// It is passed on and done; then the connection ends without an answer.
    DoneUntold,
    /// It is passed on and done; the answer is a 500.
    DoneDenied,
    /// Half of its body is passed on, then both connections end.
    Torn,
}

struct Rule {
    method: &'static str,
    path: String,
    deed: Deed,
    left: usize,
}

#[derive(Default)]
struct Shared {
    rules: Mutex<Vec<Rule>>,
    hits: AtomicUsize,
    puts: Mutex<Vec<String>>,
}

/// The gate; it ends with the test process.
pub struct Gate {
    addr: String,
    shared: Arc<Shared>,
}

impl Gate {
    /// One before the S3 server at `target` (`IP:PORT`), open.
    pub fn start(target: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let (target, own) = (target.to_owned(), shared.clone());
        let addr = splice::accept(move |client| {
            serve(client, &target, &own);
        });
        Self { addr, shared }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// The next `times` requests of that method whose path contains `path` suffer this.
    pub fn add(&self, method: &'static str, path: &str, deed: Deed, times: usize) {
        self.shared.rules.lock().unwrap().push(Rule { method, path: path.to_owned(), deed, left: times });
    }

    /// Forgets all rules.
    pub fn open(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// Requests that suffered something.
    pub fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::SeqCst)
    }

    /// The paths of all PUTs that reached the server whole, in order.
    pub fn puts(&self) -> Vec<String> {
        self.shared.puts.lock().unwrap().clone()
    }
}

impl Shared {
    fn deed(&self, method: &str, path: &str) -> Option<Deed> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|r| r.left > 0 && r.method == method && path.contains(&r.path))?;
        rule.left -= 1;
        self.hits.fetch_add(1, Ordering::SeqCst);
        Some(rule.deed)
    }
}

fn serve(mut client: TcpStream, target: &str, shared: &Shared) -> Option<()> {
    let (head, body) = request(&mut client)?;
    let first = head.lines().next()?.to_owned();
    let mut words = first.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let deed = shared.deed(method, path);
    let answer = |mut client: TcpStream, status: u16, code: &str| {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
        let length = text.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        client.write_all(format!("{head}{text}").as_bytes()).ok()
    };
    if let Some(Deed::Refused(status, code)) = deed {
        return answer(client, status, code);
    }
    let mut server = TcpStream::connect(target).ok()?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(head.as_bytes()).ok()?;
    if deed == Some(Deed::Torn) {
        server.write_all(&body[..body.len() / 2]).ok()?;
        let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
        return Some(());
    }
    server.write_all(&body).ok()?;
    let mut said = Vec::new();
    server.read_to_end(&mut said).ok()?;
    if method == "PUT" {
        shared.puts.lock().unwrap().push(path.to_owned());
    }
    match deed {
        Some(Deed::DoneUntold) => client.shutdown(Shutdown::Both).ok(),
        Some(Deed::DoneDenied) => answer(client, 500, "InternalError"),
        _ => client.write_all(&said).ok(),
    }
}

/// A request's head, its own `Connection` left out, and its body.
pub(crate) fn request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let end = loop {
        if let Some(at) = all.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
        match client.read(&mut buffer) {
            Ok(n @ 1..) => all.extend(&buffer[..n]),
            _ => return None,
        }
    };
    let mut body = all.split_off(end);
    let head = String::from_utf8(all).ok()?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    if header("expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length: usize = header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    while body.len() < length {
        match client.read(&mut buffer) {
            Ok(n @ 1..) => body.extend(&buffer[..n]),
            _ => return None,
        }
    }
    let kept = head.split_inclusive("\r\n").filter(|line| {
        !["connection:", "expect:"].iter().any(|name| line.to_ascii_lowercase().starts_with(name))
    });
    Some((kept.collect(), body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;

    /// Counts what arrives whole and says 200 to it.
    fn server() -> (String, Arc<Mutex<Vec<usize>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let ours = taken.clone();
        let addr = splice::accept(move |mut stream| {
            let Some((_, body)) = request(&mut stream) else { return };
            ours.lock().unwrap().push(body.len());
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        });
        (addr, taken)
    }

    #[test]
    fn each_deed_does_what_it_says_as_often_as_it_says() {
        let (addr, taken) = server();
        let gate = Gate::start(&addr);
        let put = || http::request(gate.addr(), "PUT", "/logs/key", &[], &[7; 1000]);
        assert_eq!(put().unwrap().status, 200);
        gate.add("PUT", "/logs/", Deed::Refused(403, "AccessDenied"), 1);
        let refused = put().unwrap();
        assert!(refused.status == 403 && refused.text().contains("<Code>AccessDenied</Code>"));
        assert_eq!(taken.lock().unwrap().len(), 1);
        gate.add("PUT", "/logs/", Deed::DoneUntold, 1);
        assert!(put().is_err());
        gate.add("PUT", "/logs/", Deed::DoneDenied, 1);
        assert_eq!(put().unwrap().status, 500);
        assert_eq!(*taken.lock().unwrap(), [1000; 3]);
        gate.add("PUT", "/logs/", Deed::Torn, 1);
        gate.add("PUT", "/others/", Deed::Refused(403, "AccessDenied"), 1);
        assert!(put().is_err());
        assert_eq!(put().unwrap().text(), "ok");
        assert_eq!((gate.hits(), gate.puts().len()), (4, 4));
        gate.open();
        assert_eq!(http::request(gate.addr(), "PUT", "/others/key", &[], &[]).unwrap().status, 200);
    }
}
