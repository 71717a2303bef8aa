//! A way to the bucket with a distance and a rate: a TCP relay.
//!
//! What the far end sends shares one link: bytes leave it one after the other at the link's rate and arrive half a round trip later;
//! requests take the other half. A new connection costs a round trip before its first byte, as a handshake does. Bytes towards the
//! near end are counted. Two threads a connection, each with a bounded queue; they end when either side closes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Pieces in flight on one connection at most: 4 MiB, beyond what rate times latency asks for.
const QUEUE: usize = 256;
const PIECE_BYTES: usize = 16 << 10;

/// The link all connections share.
#[derive(Debug)]
struct Link {
    half_trip: Duration,
    rate_bytes_per_s: f64,
    /// When the link is next free.
    free: Mutex<Instant>,
    bytes: AtomicU64,
    connections: AtomicU64,
}

impl Link {
    /// When a piece that is there now will have arrived.
    fn arrival(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let mut free = self.free.lock().unwrap_or_else(|e| e.into_inner());
        *free = (*free).max(now) + Duration::from_secs_f64(bytes as f64 / self.rate_bytes_per_s);
        *free + self.half_trip
    }
}

/// A relay that runs as long as the process.
#[derive(Debug)]
pub struct Relay {
    /// Where it listens.
    pub addr: SocketAddr,
    link: Arc<Link>,
}

impl Relay {
    /// One before `far`, with a round trip of `latency_ms`.
    pub fn start(far: SocketAddr, latency_ms: u64, rate_bytes_per_s: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let link = Arc::new(Link {
            half_trip: Duration::from_micros(latency_ms * 500),
            rate_bytes_per_s: rate_bytes_per_s as f64,
            free: Mutex::new(Instant::now()),
            bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let shared = link.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let link = shared.clone();
                link.connections.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || carry(&near, far, &link));
            }
        });
        Ok(Self { addr, link })
    }

    /// Bytes that have come from the far end so far.
    pub fn bytes(&self) -> u64 {
        self.link.bytes.load(Ordering::Relaxed)
    }

    /// Connections opened so far.
    pub fn connections(&self) -> u64 {
        self.link.connections.load(Ordering::Relaxed)
    }
}

/// Carries one connection until either side closes.
fn carry(near: &TcpStream, far: SocketAddr, link: &Arc<Link>) {
    let opened = Instant::now() + 2 * link.half_trip;
    let Ok(far) = TcpStream::connect(far) else {
        let _ = near.shutdown(Shutdown::Both);
        return;
    };
    let (Ok(near_in), Ok(far_in)) = (near.try_clone(), far.try_clone()) else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let up = link.clone();
    let requests = std::thread::spawn(move || {
        pump(near_in, &far, |_| (Instant::now() + up.half_trip).max(opened + up.half_trip));
    });
    pump(far_in, near, |bytes| {
        link.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        link.arrival(bytes)
    });
    let _ = requests.join();
}

/// Reads from one side and writes each piece to the other when it is due.
fn pump(mut from: TcpStream, to: &TcpStream, mut due: impl FnMut(usize) -> Instant) {
    let (pieces, taken) = sync_channel::<(Instant, Vec<u8>)>(QUEUE);
    let Ok(writer) = to.try_clone() else { return };
    let writer = std::thread::spawn(move || deliver(&taken, writer));
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        match from.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => {
                piece.truncate(bytes);
                if pieces.send((due(bytes), piece)).is_err() {
                    break;
                }
            }
        }
    }
    drop(pieces);
    let _ = writer.join();
    // Whoever reads the other way must not wait for a side that is gone.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn deliver(pieces: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (due, piece) in pieces {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A far end that answers each byte with a piece of `bytes` bytes.
    fn far(bytes: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut one = [0];
                    while socket.read_exact(&mut one).is_ok() {
                        if socket.write_all(&vec![7; bytes]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        addr
    }

    #[test]
    fn a_round_trip_takes_the_latency_and_a_first_one_twice_that() {
        let relay = Relay::start(far(1), 40, 1_000_000_000).unwrap();
        let mut socket = TcpStream::connect(relay.addr).unwrap();
        let mut byte = [0];
        for least in [80, 40, 40] {
            let begun = Instant::now();
            socket.write_all(&[1]).unwrap();
            socket.read_exact(&mut byte).unwrap();
            assert!(begun.elapsed() >= Duration::from_millis(least), "{:?}", begun.elapsed());
        }
        assert_eq!((relay.bytes(), relay.connections()), (3, 1));
    }

    #[test]
    fn bytes_come_at_the_rate_of_the_link() {
        let relay = Relay::start(far(1_000_000), 0, 5_000_000).unwrap();
        let begun = Instant::now();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let addr = relay.addr;
                std::thread::spawn(move || {
                    let mut socket = TcpStream::connect(addr).unwrap();
                    socket.write_all(&[1]).unwrap();
                    socket.read_exact(&mut vec![0; 1_000_000]).unwrap();
                })
            })
            .collect();
        readers.into_iter().for_each(|r| r.join().unwrap());
        assert!(
            begun.elapsed() >= Duration::from_millis(390),
            "two megabytes share the link: {:?}",
            begun.elapsed()
        );
        assert_eq!(relay.bytes(), 2_000_000);
    }
}
