//! Counts the RTMP bytes that reach a client through a tunnel, by reading the HTTP that carries them: real players can be held to figures.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::splice::{self, Pass, Ways};

/// A relay before an edge, for clients that tunnel; it ends with the test process.
pub struct Meter {
    addr: String,
    bytes: Arc<AtomicU64>,
}

impl Meter {
    /// One before the edge at `target` (`IP:PORT`).
    pub fn before(target: &str) -> Self {
        let bytes: Arc<AtomicU64> = Arc::default();
        let count = bytes.clone();
        let addr = splice::carry(target, move |_, _| {
            let asked: Arc<Mutex<VecDeque<String>>> = Arc::default();
            Some(Ways { up: requests(asked.clone()), down: answers(asked, count.clone()) })
        });
        Self { addr, bytes }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// RTMP bytes that clients were sent: bodies of answers to `send` and `idle` without the byte that says when to ask next. (What a
    /// client lets be repeated would count twice; librtmp, and so rtmpdump, asks for nothing again.)
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Messages of HTTP, each with a length, whole.
#[derive(Default)]
struct Messages(Vec<u8>);

impl Messages {
    /// The next one's first line, and the length of its body.
    fn next(&mut self) -> Option<(String, usize)> {
        let end = self.0.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.0[..end]).to_ascii_lowercase();
        assert!(!head.contains("transfer-encoding"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        if self.0.len() < end + length {
            return None;
        }
        self.0.drain(..end + length);
        Some((head.lines().next()?.to_owned(), length))
    }
}

/// Notes what is asked for.
fn requests(asked: Arc<Mutex<VecDeque<String>>>) -> Pass {
    let mut messages = Messages::default();
    Box::new(move |bytes, to| {
        messages.0.extend(bytes);
        while let Some((first, _)) = messages.next() {
            asked.lock().unwrap().push_back(first);
        }
        to.write_all(bytes)
    })
}

/// Counts what is answered, before the client has it. Answers come in the order of requests, whose last bytes are noted before they are handed on.
fn answers(asked: Arc<Mutex<VecDeque<String>>>, count: Arc<AtomicU64>) -> Pass {
    let mut messages = Messages::default();
    Box::new(move |bytes, to| {
        messages.0.extend(bytes);
        while let Some((first, length)) = messages.next() {
            let request = asked.lock().unwrap().pop_front().expect("an answer to no request");
            let path = request.split(' ').nth(1).unwrap_or_default();
            let carries =
                first.contains(" 200 ") && (path.starts_with("/send/") || path.starts_with("/idle/"));
            if carries {
                count.fetch_add(length.saturating_sub(1) as u64, Ordering::Relaxed);
            }
        }
        to.write_all(bytes)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::tunnel::Poster;

    /// A server that answers each request with a body of its path's length.
    fn server() -> String {
        splice::accept(|mut stream| {
            let (mut messages, mut buffer) = (Messages::default(), [0; 4096]);
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                messages.0.extend(&buffer[..n]);
                while let Some((first, _)) = messages.next() {
                    let body = first.split(' ').nth(1).unwrap().to_owned();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    // In two pieces, the second of which begins in mid-body.
                    let all = head + &body;
                    stream.write_all(&all.as_bytes()[..all.len() - 3]).unwrap();
                    stream.write_all(&all.as_bytes()[all.len() - 3..]).unwrap();
                }
            }
        })
    }

    #[test]
    fn only_what_send_and_idle_bring_counts_and_not_its_first_byte() {
        let meter = Meter::before(&server());
        let mut poster = Poster::to(meter.addr());
        for (path, counts) in
            [("/fcs/ident2", 0), ("/open/1", 0), ("/send/a/0", 8), ("/idle/abc/1", 10), ("/close/a/2", 0)]
        {
            let before = meter.bytes();
            assert_eq!(poster.post(path, b"\r\n\r\nPOST /send/x/1 HTTP/1.1\r\n\r\n").body, path.as_bytes());
            assert_eq!(meter.bytes() - before, counts, "{path}");
        }
    }
}
