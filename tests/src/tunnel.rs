//! RTMP through HTTP, by hand: requests as a test wants them, and a bridge that carries any RTMP client of the tests through a tunnel.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::splice;

pub mod meter;

/// What came back, as it was spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the server closes after it.
    pub fn closes(&self) -> bool {
        self.head.to_ascii_lowercase().contains("connection: close")
    }
}

/// A connection that posts.
pub struct Poster {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Poster {
    /// Connects.
    pub fn to(addr: &str) -> Self {
        Self::try_to(addr).unwrap()
    }

    fn try_to(addr: &str) -> Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// The request that posts `body`, as librtmp spells it.
    pub fn request(path: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: edge\r\nAccept: */*\r\nUser-Agent: Shockwave Flash\r\nConnection: Keep-Alive\r\n\
             Cache-Control: no-cache\r\nContent-type: application/x-fcs\r\nContent-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Writes a request.
    pub fn send(&mut self, path: &str, body: &[u8]) {
        self.write(&Self::request(path, body));
    }

    /// Reads an answer.
    pub fn read(&mut self) -> Result<Answer> {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(self.unread[..end + 2].to_vec())?;
                ensure!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
                let status: u16 = head.split(' ').nth(1).context("no status")?.parse()?;
                let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: "));
                ensure!(length.is_some() || status != 200, "no length in {head}");
                let length: usize = length.unwrap_or("0").parse()?;
                if self.unread.len() >= end + 4 + length {
                    let body = self.unread[end + 4..end + 4 + length].to_vec();
                    self.unread.drain(..end + 4 + length);
                    return Ok(Answer { status, head, body });
                }
            }
            let n = self.stream.read(&mut buffer)?;
            ensure!(n > 0, "closed after {:?}", String::from_utf8_lossy(&self.unread));
            self.unread.extend(&buffer[..n]);
        }
    }

    /// Posts, and reads the answer.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        self.try_post(path, body).unwrap_or_else(|e| panic!("{path}: {e:#}"))
    }

    /// As [`post`](Self::post); fails where the server doesn't answer.
    pub fn try_post(&mut self, path: &str, body: &[u8]) -> Result<Answer> {
        self.stream.write_all(&Self::request(path, body))?;
        self.read()
    }

    /// Opens a session; its id.
    pub fn open(&mut self) -> String {
        let answer = self.post("/open/1", &[0]);
        assert_eq!(answer.status, 200, "{answer:?}");
        String::from_utf8(answer.body).unwrap().strip_suffix('\n').unwrap().to_owned()
    }

    /// Says that nothing more is sent.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether the server has closed, or does within this time.
    pub fn is_closed(&mut self, within: Duration) -> bool {
        self.stream.set_read_timeout(Some(within)).unwrap();
        let closed = match self.stream.read(&mut [0; 4096]) {
            Ok(n) => n == 0,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        self.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        closed
    }
}

/// A port of which every connection is carried to an edge through a tunnel, as librtmp does it: a request at a time, the next one at once.
pub struct Bridge {
    addr: String,
    requests: Arc<AtomicU64>,
}

impl Bridge {
    /// One to `addr`. Its threads end with their connections.
    pub fn to(addr: &str) -> Self {
        let requests: Arc<AtomicU64> = Arc::default();
        let (addr, count) = (addr.to_owned(), requests.clone());
        let own = splice::accept(move |client| {
            let _ = carry(&client, &addr, &count);
            let _ = client.shutdown(Shutdown::Both);
        });
        Self { addr: own, requests }
    }

    /// Where RTMP clients connect.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

fn carry(mut client: &TcpStream, addr: &str, count: &AtomicU64) -> Result<()> {
    client.set_nodelay(true)?;
    client.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut poster = Poster::try_to(addr)?;
    let id = String::from_utf8(poster.try_post("/open/1", &[0])?.body)?.trim_end().to_owned();
    let mut buffer = vec![0; 16 << 10];
    for number in 0u64.. {
        let answer = match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => poster.try_post(&format!("/send/{id}/{number}"), &buffer[..n])?,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                poster.try_post(&format!("/idle/{id}/{number}"), &[0])?
            }
            Err(e) => return Err(e.into()),
        };
        count.fetch_add(1, Ordering::Relaxed);
        ensure!(answer.status == 200, "{answer:?}");
        if answer.body.first() == Some(&0) {
            return Ok(());
        }
        client.write_all(&answer.body[1..])?;
    }
    poster.try_post(&format!("/close/{id}/0"), &[0])?;
    Ok(())
}
