//! A TCP relay that can be made slow while connections run through it: one shield's way to its edges.
//!
//! The rate is one budget for everything that flows back to the clients, whatever the number of connections.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::splice::{self, Ways};

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
    fn wait_for(&self, len: usize) {
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

    /// The size of pieces: small ones while slow, so that a rate is a rate and not a burst a second.
    fn piece(&self) -> usize {
        if self.rate.load(Ordering::Relaxed) == 0 { usize::MAX } else { 4096 }
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
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let addr = splice::carry(target, move |_, _| {
            let own = own.clone();
            let down: splice::Pass = Box::new(move |bytes, to| {
                bytes.chunks(own.piece()).try_for_each(|piece| {
                    own.wait_for(piece.len());
                    to.write_all(piece)
                })
            });
            Some(Ways { up: splice::all(), down })
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
