//! One request answered: by the server behind, by a fault, or by the one changed by the other.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

use super::head::Head;
use super::rule::Fault;

/// Answers `request`; whether the connection can go on. `holds` says whether a fault may still hold it.
pub(super) fn give(
    client: &mut TcpStream,
    server: &mut TcpStream,
    mut request: Head,
    fault: Option<Fault>,
    holds: &dyn Fn() -> bool,
) -> Result<bool> {
    match &fault {
        Some(Fault::Answer(status, code, headers)) => {
            client.write_all(&own(request.method(), *status, code, headers))?;
            return Ok(true);
        }
        Some(Fault::HangUp) => return Ok(false),
        Some(Fault::Silence) => {
            hold(client, Duration::MAX, holds);
            return Ok(false);
        }
        Some(Fault::Late(late)) if !hold(client, *late, holds) => return Ok(false),
        Some(Fault::Whole) => request.set("range", None),
        _ => {}
    }
    server.write_all(&request.bytes())?;
    let mut held = Vec::new();
    let Some(mut head) = Head::read(server, &mut held)? else { return Ok(false) };
    let bodiless = request.method() == "HEAD" || matches!(head.status(), 204 | 304);
    let mut length = if bodiless { 0 } else { head.length().unwrap_or(u64::MAX) };
    match &fault {
        Some(Fault::Shifted(by)) => range(&mut head, |a, b, t| (a + by, b + by, t)),
        Some(Fault::Longer(by)) => range(&mut head, |a, b, t| (a, b, t + by)),
        Some(Fault::Etag(tag)) => head.set("ETag", Some(tag)),
        Some(Fault::Shorter(by)) => {
            length = length.saturating_sub(*by);
            head.set("Content-Length", Some(&length.to_string()));
        }
        _ => {}
    }
    client.write_all(&head.bytes())?;
    let stop = match fault {
        Some(Fault::Stall(n) | Fault::Truncate(n) | Fault::Reset(n)) => n.min(length),
        _ => length,
    };
    let flip = if let Some(Fault::Corrupt(at)) = fault { Some(at % length.max(1)) } else { None };
    let rate = if let Some(Fault::Slow(rate)) = fault { Some(rate) } else { None };
    let mut sent = 0;
    let mut buffer = vec![0; 1 << 16];
    while sent < stop {
        let mut piece = std::mem::take(&mut held);
        if piece.is_empty() {
            let n = server.read(&mut buffer)?;
            if n == 0 {
                return Ok(false);
            }
            piece.extend(&buffer[..n]);
        }
        piece.truncate((stop - sent).min(piece.len() as u64) as usize);
        if let Some(at) = flip.filter(|at| (sent..sent + piece.len() as u64).contains(at)) {
            piece[(at - sent) as usize] ^= 0x10;
        }
        match rate {
            None => client.write_all(&piece)?,
            Some(rate) => {
                for part in piece.chunks((rate / 20).max(1) as usize) {
                    client.write_all(part)?;
                    let time = Duration::from_secs_f64(part.len() as f64 / rate as f64);
                    if !hold(client, time, holds) {
                        return Ok(false);
                    }
                }
            }
        }
        sent += piece.len() as u64;
    }
    match fault {
        Some(Fault::Stall(_)) => {
            hold(client, Duration::MAX, holds);
            Ok(false)
        }
        Some(Fault::Reset(_)) => {
            SockRef::from(&*client).set_linger(Some(Duration::ZERO))?;
            Ok(false)
        }
        Some(Fault::Truncate(_) | Fault::Shorter(_)) => Ok(false),
        _ => Ok(true),
    }
}

/// An answer that no server gave.
fn own(method: &str, status: u16, code: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>made by a test</Message></Error>"
    );
    let mut text = format!(
        "HTTP/1.1 {status} Made\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    if method != "HEAD" {
        text += &body;
    }
    text.into_bytes()
}

/// Changes first byte, last byte and total of `Content-Range`.
fn range(head: &mut Head, change: impl FnOnce(u64, u64, u64) -> (u64, u64, u64)) {
    let parsed = head.get("content-range").and_then(|value| {
        let (span, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?, total.parse().ok()?))
    });
    if let Some((first, last, total)) = parsed {
        let (first, last, total) = change(first, last, total);
        head.set("Content-Range", Some(&format!("bytes {first}-{last}/{total}")));
    }
}

/// Does nothing for `time`; false if the client has gone or the fault was healed meanwhile.
fn hold(client: &TcpStream, time: Duration, holds: &dyn Fn() -> bool) -> bool {
    let begun = std::time::Instant::now();
    let turn = Duration::from_millis(10);
    while begun.elapsed() < time {
        std::thread::sleep(turn.min(time.saturating_sub(begun.elapsed())));
        if !holds() {
            return false;
        }
        let _ = client.set_nonblocking(true);
        let seen = client.peek(&mut [0]);
        let _ = client.set_nonblocking(false);
        match seen {
            Ok(0) => return false,
            Err(e) if e.kind() != ErrorKind::WouldBlock => return false,
            _ => {}
        }
    }
    true
}
