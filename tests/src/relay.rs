//! A relay that makes a path longer: every byte that passes is delivered later, and no faster than a rate.
//!
//! It stands between a client and a server as a TCP peer of both, so the two see the delay in when bytes arrive, while acknowledgements are its own:
//! what a protocol with many round trips suffers is the same, what TCP's own window growth suffers isn't. (A rate with a deep queue,
//! [`crate::netns::Netns::rate`], delays real packets.) With jitter, a segment that is late holds up those behind it, as a
//! reordered segment does for whoever reads a byte stream. Bytes in flight are bounded, so a reader that stops is felt by the sender.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::splice;

/// What the path is like, each way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    /// One way; a round trip takes twice as long.
    pub delay: Duration,
    /// Up to this much more, at random for each segment.
    pub jitter: Duration,
    /// 0: as fast as it goes.
    pub bytes_per_s: u64,
}

/// A listening relay; it ends with the test process.
pub struct Relay {
    addr: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

/// Most read at a time: what one delay and one random number are for.
const SEGMENT_BYTES: usize = 16 << 10;
/// Segments in flight each way: 8 MiB, more than any path here holds.
const SEGMENTS: usize = 512;

impl Relay {
    /// A relay to `target` (`IP:PORT`), in the network namespace of the caller.
    pub fn start(target: &str, path: Path) -> Self {
        let open = Arc::new(Mutex::new(Vec::new()));
        let (target, ours, numbers) = (target.to_owned(), open.clone(), AtomicU64::new(0));
        let addr = splice::accept(move |client| {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let Ok(server) = TcpStream::connect(&target) else { return };
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            ours.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            carry(client, server, path, 2 * number);
            carry(back.0, back.1, path, 2 * number + 1);
        });
        Self { addr, open }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Breaks every connection through it.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, to: TcpStream, path: Path, seed: u64) {
    let (send, receive) = sync_channel::<(Instant, Vec<u8>)>(SEGMENTS);
    std::thread::spawn(move || deliver(receive, to));
    std::thread::spawn(move || {
        let mut random = StdRng::seed_from_u64(seed);
        // When the sender's link has sent what came so far, and when the last segment arrives at the other end.
        let (mut sent, mut arrives) = (Instant::now(), Instant::now());
        let mut buffer = vec![0; SEGMENT_BYTES];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let takes = (n as u64 * 1_000_000_000).checked_div(path.bytes_per_s).unwrap_or(0);
            sent = sent.max(Instant::now()) + Duration::from_nanos(takes);
            arrives = arrives.max(sent + path.delay + path.jitter.mul_f64(random.random()));
            if send.send((arrives, buffer[..n].to_vec())).is_err() {
                // The reader at the other end has left: so learns who still writes to it.
                let _ = from.shutdown(Shutdown::Both);
            }
        }
    });
}

fn deliver(segments: Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (due, bytes) in segments {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_takes_as_long_as_said_and_bytes_go_no_faster() {
        let path = Path { delay: Duration::from_millis(50), bytes_per_s: 1 << 20, ..Default::default() };
        let relay = Relay::start(&splice::echo(), path);
        let mut stream = TcpStream::connect(relay.addr()).unwrap();
        let begun = Instant::now();
        stream.write_all(&[1]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
        let sent: Vec<u8> = (0..1 << 19).map(|i| (i ^ (i >> 8)) as u8).collect();
        let begun = Instant::now();
        let (mut writing, all) = (stream.try_clone().unwrap(), sent.clone());
        let writer = std::thread::spawn(move || writing.write_all(&all));
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
        assert!(back == sent);
        writer.join().unwrap().unwrap();
        relay.cut();
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
}
