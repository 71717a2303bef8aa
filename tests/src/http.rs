//! A plain HTTP/1.1 request over a socket of its own: for health, metrics, crossdomain.xml and the embedded S3.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, chunked coding undone.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// `GET path` at `addr`.
pub fn get(addr: &str, path: &str) -> Result<Answer> {
    request(addr, "GET", path, &[], &[])
}

/// Any request. `Host`, `Content-Length` and `Connection: close` are added unless given.
pub fn request(
    addr: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let stream = TcpStream::connect(addr).with_context(|| format!("connect to {addr}"))?;
    request_over(stream, addr, method, path, headers, body)
}

/// As [`request`], on a connection to `addr` that is there already.
pub fn request_over(
    mut stream: TcpStream,
    addr: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
        head += &format!("Host: {addr}\r\n");
    }
    if !body.is_empty() || matches!(method, "PUT" | "POST") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).with_context(|| format!("{method} {path} at {addr}"))?;
    parse(&raw).with_context(|| {
        format!("{method} {path} at {addr}: {:?}", String::from_utf8_lossy(&raw[..raw.len().min(200)]))
    })
}

fn parse(raw: &[u8]) -> Result<Answer> {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").context("no end of headers")?;
    let head = std::str::from_utf8(&raw[..end])?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|l| l.split(' ').nth(1)).context("no status")?.parse()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_owned()))
        .collect();
    let mut body = raw[end + 4..].to_vec();
    if headers.iter().any(|(n, v)| n == "transfer-encoding" && v.eq_ignore_ascii_case("chunked")) {
        body = unchunk(&body)?;
    }
    Ok(Answer { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").context("no chunk size")?;
        let size = usize::from_str_radix(
            std::str::from_utf8(&rest[..line])?.split(';').next().unwrap_or("").trim(),
            16,
        )?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..size).context("a short chunk")?);
        rest = rest.get(size + 2..).context("no end of chunk")?;
    }
}

/// A page of Prometheus metrics: each sample line's name with labels, and its value.
pub fn metrics(addr: &str) -> Result<std::collections::BTreeMap<String, f64>> {
    let page = get(addr, "/metrics")?;
    anyhow::ensure!(page.status == 200, "/metrics: {}", page.status);
    Ok(page
        .text()
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect())
}
