//! A relay between a node and control that can keep the config from the node and let everything else through: what makes a node hang that lives.
//!
//! gRPC runs over one HTTP/2 connection, subscription and heartbeats side by side, so the relay reads frames: it finds out by a request's first
//! message which streams are subscriptions, and while it is [`Deaf::hush`]ed it drops what control sends on those. Everything else passes
//! as it came, headers too (their compression has a state). What was dropped is gone for its connection; [`Deaf::listen`] therefore breaks all of them.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What a client sends before its first frame.
const PREFACE: usize = 24;
const HEAD: usize = 9;
const DATA: u8 = 0;
const PADDED: u8 = 8;

#[derive(Default)]
struct Shared {
    hushed: AtomicBool,
    dropped: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

/// The relay; it ends with the test process.
pub struct Deaf {
    addr: String,
    shared: Arc<Shared>,
}

impl Deaf {
    /// One before control's gRPC port `target` (`IP:PORT`, no TLS); all passes.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (target, shared) = (target.to_owned(), Arc::new(Shared::default()));
        let own = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A target that is not there closes the client: as near to a refusal as a relay comes.
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (Ok(up), Ok(down)) = (client.try_clone(), server.try_clone()) else { continue };
                own.open.lock().unwrap().extend(client.try_clone());
                let subscriptions: Arc<Mutex<HashSet<u32>>> = Arc::default();
                let seen = subscriptions.clone();
                std::thread::spawn(move || {
                    carry(up, server, PREFACE, |frame| {
                        if frame.kind == DATA && is_subscription(frame.data()) {
                            seen.lock().unwrap().insert(frame.stream);
                        }
                        true
                    })
                });
                let shared = own.clone();
                std::thread::spawn(move || {
                    carry(down, client, 0, |frame| {
                        let is_config =
                            frame.kind == DATA && subscriptions.lock().unwrap().contains(&frame.stream);
                        let drop = is_config && shared.hushed.load(Ordering::Relaxed);
                        if drop {
                            shared.dropped.fetch_add(1, Ordering::Relaxed);
                        }
                        !drop
                    })
                });
            }
        });
        Self { addr, shared }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Keeps the config from the node from now on.
    pub fn hush(&self) {
        self.shared.hushed.store(true, Ordering::Relaxed);
    }

    /// Lets it through again; the node has to connect anew.
    pub fn listen(&self) {
        self.shared.hushed.store(false, Ordering::Relaxed);
        for client in self.shared.open.lock().unwrap().drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// How many pieces of config were kept from the node.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl Frame<'_> {
    /// The payload without padding.
    fn data(&self) -> &[u8] {
        match self.payload {
            [padding, rest @ ..] if self.flags & PADDED != 0 => {
                &rest[..rest.len().saturating_sub(usize::from(*padding))]
            }
            whole => whole,
        }
    }
}

/// Whether a request's first bytes are a `SubscribeRequest`: field 1 (node_id), then field 2 as a message or field 3. A `RegisterRequest` has a number in
/// its field 2, a `DeregisterRequest` nothing there, and what edges ship is no text in field 1.
fn is_subscription(data: &[u8]) -> bool {
    let Some((&[0, _, _, _, _, 0x0a, len], rest)) = data.split_first_chunk::<7>() else { return false };
    let Some((id, rest)) = rest.split_at_checked(usize::from(len)) else { return false };
    let is_id = id.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b));
    is_id && matches!(rest.first(), Some(0x12 | 0x1a))
}

/// Passes the frames that `passes` lets through.
fn carry(mut from: TcpStream, mut to: TcpStream, preface: usize, passes: impl FnMut(&Frame<'_>) -> bool) {
    let _ended = frames(&mut from, &mut to, preface, passes);
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}

fn frames(
    from: &mut TcpStream,
    to: &mut TcpStream,
    preface: usize,
    mut passes: impl FnMut(&Frame<'_>) -> bool,
) -> std::io::Result<()> {
    let mut first = vec![0; preface];
    from.read_exact(&mut first)?;
    to.write_all(&first)?;
    loop {
        let mut whole = vec![0; HEAD];
        from.read_exact(&mut whole)?;
        let len = u32::from_be_bytes([0, whole[0], whole[1], whole[2]]) as usize;
        whole.resize(HEAD + len, 0);
        from.read_exact(&mut whole[HEAD..])?;
        let stream = u32::from_be_bytes([whole[5], whole[6], whole[7], whole[8]]) & 0x7fff_ffff;
        let frame = Frame { kind: whole[3], flags: whole[4], stream, payload: &whole[HEAD..] };
        if passes(&frame) {
            to.write_all(&whole)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_told_from_other_requests() {
        let message = |bytes: &[u8]| [&[0, 0, 0, 0, bytes.len() as u8], bytes].concat();
        assert!(is_subscription(&message(b"\x0a\x06edge-1\x12\x04abcd")));
        assert!(is_subscription(&message(b"\x0a\x06edge-1\x1a\x04rtmp")));
        for other in
            [&b"\x0a\x06edge-1\x10\x01"[..], b"\x0a\x06edge-1", b"\x0a\x04\x0a\x02ab\x12\x00", b"", b"\x0a"]
        {
            assert!(!is_subscription(&message(other)), "{other:?}");
        }
        assert!(!is_subscription(b""));
    }
}
