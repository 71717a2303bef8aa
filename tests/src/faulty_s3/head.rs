//! The head of a request or a response: a first line and headers, kept as they came.

use std::io::{Read, Result};
use std::net::TcpStream;

/// One.
#[derive(Clone, Debug)]
pub(super) struct Head {
    first: String,
    headers: Vec<(String, String)>,
}

impl Head {
    /// The next head from `stream`; `held` keeps what was read beyond it. `None` at the end of the stream.
    pub(super) fn read(stream: &mut TcpStream, held: &mut Vec<u8>) -> Result<Option<Self>> {
        let mut buffer = vec![0; 1 << 14];
        loop {
            if let Some(end) = held.windows(4).position(|w| w == b"\r\n\r\n") {
                let whole: Vec<u8> = held.drain(..end + 4).collect();
                let text = String::from_utf8_lossy(&whole[..end]).into_owned();
                let mut lines = text.split("\r\n");
                let first = lines.next().unwrap_or_default().to_owned();
                let headers = lines
                    .filter_map(|l| l.split_once(':'))
                    .map(|(n, v)| (n.to_owned(), v.trim().to_owned()))
                    .collect();
                return Ok(Some(Self { first, headers }));
            }
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Ok(None);
            }
            held.extend(&buffer[..n]);
        }
    }

    /// As bytes for the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text.into_bytes()
    }

    fn word(&self, n: usize) -> &str {
        self.first.split(' ').nth(n).unwrap_or_default()
    }

    /// A request's method.
    pub(super) fn method(&self) -> &str {
        self.word(0)
    }

    /// A request's path and query.
    pub(super) fn target(&self) -> &str {
        self.word(1)
    }

    /// A response's status.
    pub(super) fn status(&self) -> u16 {
        self.word(1).parse().unwrap_or(0)
    }

    /// A header, by its name in any case.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Replaces a header, or removes it.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.extend(value.map(|v| (name.to_owned(), v.to_owned())));
    }

    /// The bytes a request's `Range` asks for, both ends included.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        let (a, b) = self.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((a.parse().ok()?, b.parse().unwrap_or(u64::MAX)))
    }

    /// A response's `Content-Length`.
    pub(super) fn length(&self) -> Option<u64> {
        self.get("content-length")?.parse().ok()
    }
}
