//! A TCP relay that can be made slow, silent or cut while connections run through it: one shield's way to its edges.
//!
//! The rate is one budget for everything that flows back to the clients, whatever the number of connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Shared {
    /// Bytes a second; 0 for no limit.
    rate: AtomicU64,
    /// When the next piece may leave.
    free_at: Mutex<Option<Instant>>,
    bytes: AtomicU64,
}

impl Shared {
    /// Waits until `len` more bytes fit the rate.
    fn pass(&self, len: usize) {
        self.bytes.fetch_add(len as u64, Ordering::Relaxed);
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let until = {
            let mut free_at = self.free_at.lock().unwrap();
            let now = Instant::now();
            let start = free_at.filter(|at| *at > now).unwrap_or(now);
            let end = start + Duration::from_secs_f64(len as f64 / rate as f64);
            *free_at = Some(end);
            end
        };
        // In turns: the rate may be lifted meanwhile.
        while Instant::now() < until && self.rate.load(Ordering::Relaxed) != 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The relay; it ends with the test process.
pub struct Link {
    addr: String,
    shared: Arc<Shared>,
}

impl Link {
    /// One before `target` (`IP:PORT`), at full speed.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (target, own) = (target.to_owned(), shared.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A target that is not there closes the client: as near to a refusal as a relay comes.
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (Ok(up), Ok(down)) = (client.try_clone(), server.try_clone()) else { continue };
                std::thread::spawn(move || copy(up, server, None));
                let shared = own.clone();
                std::thread::spawn(move || copy(down, client, Some(&shared)));
            }
        });
        Self { addr, shared }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Bytes a second to the clients; 0 for no limit.
    pub fn set_rate(&self, bytes_per_s: u64) {
        self.shared.rate.store(bytes_per_s, Ordering::Relaxed);
    }

    /// Bytes that went to the clients.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, shared: Option<&Shared>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 {
            break;
        }
        // Small pieces while slow, so that a rate is a rate and not a burst a second.
        let piece = if shared.is_some_and(|s| s.rate.load(Ordering::Relaxed) != 0) { 4096 } else { n };
        let sent = buffer[..n].chunks(piece).try_for_each(|part| {
            if let Some(shared) = shared {
                shared.pass(part.len());
            }
            to.write_all(part)
        });
        if sent.is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
