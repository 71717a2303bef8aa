//! A proxy between the shields and S3 that writes down every request: what "one fetch a block" is counted by.
//!
//! It passes bytes through untouched (the `Host` header too, so signatures hold) and reads only the requests' heads. Requests
//! with bodies are not for it. It can also hold answers back, for tests of slow origins.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
        let listener = TcpListener::bind(format!("{}:0", crate::netns::host())).unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (target, seen) = (target.to_owned(), shared.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (target, seen) = (target.clone(), seen.clone());
                std::thread::spawn(move || {
                    let _ = relay(client, &target, &seen, http);
                });
            }
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

fn relay(mut client: TcpStream, target: &str, shared: &Arc<Shared>, http: bool) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from, mut to, counted) = (server.try_clone()?, client.try_clone()?, shared.clone());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 17];
        while let Ok(n) = from.read(&mut buffer) {
            while counted.held.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            counted.body_bytes.fetch_add(n as u64, Ordering::Relaxed);
            if n == 0 || to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
    let (mut head, mut buffer) = (Vec::new(), vec![0; 1 << 14]);
    loop {
        let n = client.read(&mut buffer)?;
        if n == 0 {
            return server.shutdown(Shutdown::Both);
        }
        if !http {
            server.write_all(&buffer[..n])?;
            continue;
        }
        head.extend(&buffer[..n]);
        while let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            let whole: Vec<u8> = head.drain(..end + 4).collect();
            shared.requests.lock().unwrap().extend(parse(&String::from_utf8_lossy(&whole)));
            server.write_all(&whole)?;
        }
    }
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
