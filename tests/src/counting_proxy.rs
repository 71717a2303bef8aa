//! A proxy between the shields and S3 that writes down every request: what "one fetch a block" is counted by.
//!
//! It passes bytes through untouched (the `Host` header too, so signatures hold) and reads only the requests' heads. Requests
//! with bodies are not for it. It can also hold answers back, for tests of slow origins.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::splice::{self, Pass, Ways};

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET or HEAD.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Range` header's bytes, both ends included.
    pub range: Option<(u64, u64)>,
    /// When it came.
    pub at: Instant,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    body_bytes: AtomicU64,
    held: AtomicBool,
}

/// A listening proxy; it ends with the test process.
pub struct CountingProxy {
    addr: String,
    shared: Arc<Shared>,
}

impl CountingProxy {
    /// A proxy in front of an HTTP server at `target` (`IP:PORT`).
    pub fn start(target: &str) -> Self {
        Self::before(target, true)
    }

    /// A relay for any protocol: only bytes are counted.
    pub fn plain(target: &str) -> Self {
        Self::before(target, false)
    }

    fn before(target: &str, http: bool) -> Self {
        let shared = Arc::new(Shared::default());
        let seen = shared.clone();
        let addr = splice::carry(target, move |_, _| {
            let up = if http { requests(seen.clone()) } else { splice::all() };
            Some(Ways { up, down: answers(seen.clone()) })
        });
        Self { addr, shared }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// GETs of objects whose target contains `part` (listings don't count).
    pub fn gets(&self, part: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|r| r.method == "GET" && r.target.contains(part)).collect()
    }

    /// Bytes that came from the server, heads included.
    pub fn bytes(&self) -> u64 {
        self.shared.body_bytes.load(Ordering::Relaxed)
    }

    /// Forgets what it counted.
    pub fn clear(&self) {
        self.shared.requests.lock().unwrap().clear();
        self.shared.body_bytes.store(0, Ordering::Relaxed);
    }

    /// Holds answers back, or lets them go on.
    pub fn hold(&self, on: bool) {
        self.shared.held.store(on, Ordering::Relaxed);
    }
}

/// Counts what comes from the server, and holds it back while told to.
fn answers(shared: Arc<Shared>) -> Pass {
    Box::new(move |bytes, to| {
        while shared.held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        shared.body_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        to.write_all(bytes)
    })
}

/// Writes down each request before it is handed on.
fn requests(shared: Arc<Shared>) -> Pass {
    let mut head = Vec::new();
    Box::new(move |bytes, to| {
        head.extend(bytes);
        while let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            let whole: Vec<u8> = head.drain(..end + 4).collect();
            shared.requests.lock().unwrap().extend(parse(&String::from_utf8_lossy(&whole)));
            to.write_all(&whole)?;
        }
        Ok(())
    })
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let range = lines
        .filter_map(|l| l.split_once(':'))
        .find(|(n, _)| n.eq_ignore_ascii_case("range"))
        .and_then(|(_, v)| {
            let (a, b) = v.trim().strip_prefix("bytes=")?.split_once('-')?;
            Some((a.parse().ok()?, b.parse().unwrap_or(u64::MAX)))
        });
    Some(Request { method, target, range, at: Instant::now() })
}

/// How often each 1 MiB block of an object was asked for.
pub fn block_counts(requests: &[Request], size: u64) -> Vec<u32> {
    const BLOCK: u64 = 1 << 20;
    let mut counts = vec![0; size.div_ceil(BLOCK) as usize];
    for request in requests {
        let (from, to) = request.range.unwrap_or((0, size - 1));
        for block in from / BLOCK..=to.min(size - 1) / BLOCK {
            counts[block as usize] += 1;
        }
    }
    counts
}
