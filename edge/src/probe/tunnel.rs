//! RTMPT as a client speaks it: RTMP in the bodies of POST requests.
//!
//! `open` gives a session's id; `send` carries bytes there, `idle` asks for bytes from there; both are numbered together. Each answer begins
//! with a polling byte, by which the server says how soon it wants to be asked again. One request is on its way at a time, on one connection
//! that is kept, and replaced where the server closes it between two requests.
//!
//! A wait that is given up loses nothing: what has arrived of an answer stays here.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, Instant, sleep_until};

use super::Failure;
use super::dial::{Dialer, Stream};
use super::report::{self, Narrator};

/// Most bytes of an answer's head.
const HEAD_BYTES: usize = 16 << 10;
/// Most bytes of an answer's body.
const BODY_BYTES: usize = 8 << 20;
/// A polling byte counts in steps of this: 0x21, the highest in use, is about half a second.
const POLL_STEP: Duration = Duration::from_millis(16);
/// Kinds of polling bytes kept for the report.
const POLLS: usize = 32;

/// What was asked last, and not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Open,
    Send,
    Idle,
    Close,
    Ident,
}

/// An answer's status and body.
struct Answer {
    status: u16,
    body: Bytes,
    /// The server closes after it.
    last: bool,
}

/// One session.
pub(super) struct Tunnel {
    stream: Box<dyn Stream>,
    authority: String,
    session: String,
    sequence: u64,
    /// Of the answer under way.
    input: BytesMut,
    asked: Option<Asked>,
    /// The connection is of no more use.
    spent: bool,
    poll_at: Instant,
    /// What came and was not read yet.
    arrived: BytesMut,
    closed: bool,
    pub(super) found: report::Tunnel,
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Tunnel {
    /// Asks which node to use, as Flash does, then opens a session.
    pub(super) async fn open(dialer: &Dialer, authority: &str, told: &mut Narrator) -> Result<Self, Failure> {
        let stream = dialer.open(told).await?;
        let mut tunnel = Self {
            stream,
            authority: authority.to_owned(),
            session: String::new(),
            sequence: 0,
            input: BytesMut::new(),
            asked: None,
            spent: false,
            poll_at: Instant::now(),
            arrived: BytesMut::new(),
            closed: false,
            found: report::Tunnel { connections: 1, ..Default::default() },
        };
        let failed =
            |what: &str, error: io::Error| Failure::Connect(format!("the tunnel's {what} failed: {error}"));
        let ident =
            tunnel.exchange(Asked::Ident, &[0]).await.map_err(|error| failed("/fcs/ident2", error))?;
        tunnel.found.ident2 = match ident.status {
            200 => report::plain(String::from_utf8_lossy(&ident.body).trim()),
            status => status.to_string(),
        };
        tunnel.renew(dialer, told).await?;
        let opened = tunnel.exchange(Asked::Open, &[0]).await.map_err(|error| failed("/open/1", error))?;
        let id = std::str::from_utf8(&opened.body).unwrap_or_default().trim_end();
        let good = |id: &str| {
            (1..=128).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if opened.status != 200 || !good(id) {
            return Err(Failure::Connect(format!(
                "the server opened no tunnel: status {} and {} bytes",
                opened.status,
                opened.body.len()
            )));
        }
        tunnel.session = id.to_owned();
        tunnel.found.session = id.to_owned();
        tunnel.renew(dialer, told).await?;
        told.say("tunnel", format_args!("session {id}; ident2 says {}", tunnel.found.ident2));
        Ok(tunnel)
    }

    /// Replaces a connection that the server closes; for the requests that are made one by one.
    async fn renew(&mut self, dialer: &Dialer, told: &mut Narrator) -> Result<(), Failure> {
        if self.spent {
            self.stream = dialer.open(told).await?;
            self.found.connections += 1;
            self.spent = false;
        }
        Ok(())
    }

    /// Replaces a connection that the server has closed, if it has.
    pub(super) async fn repair(&mut self, dialer: &Dialer, told: &mut Narrator) -> Result<(), Failure> {
        if self.asked.is_none() && !self.closed { self.renew(dialer, told).await } else { Ok(()) }
    }

    async fn exchange(&mut self, what: Asked, body: &[u8]) -> io::Result<Answer> {
        self.ask(what, body).await?;
        self.answer().await
    }

    async fn ask(&mut self, what: Asked, body: &[u8]) -> io::Result<()> {
        if self.spent {
            return Err(invalid("the server closes the connection between two requests"));
        }
        let numbered = matches!(what, Asked::Send | Asked::Idle | Asked::Close);
        let command = match what {
            Asked::Open => "open/1",
            Asked::Send => "send",
            Asked::Idle => "idle",
            Asked::Close => "close",
            Asked::Ident => "fcs/ident2",
        };
        let mut head = format!("POST /{command}");
        if numbered {
            head.push_str(&format!("/{}/{}", self.session, self.sequence));
            self.sequence += 1;
        }
        head.push_str(&format!(
            " HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\nUser-Agent: Shockwave Flash\r\nConnection: Keep-Alive\r\nCache-Control: no-cache\r\nContent-Type: application/x-fcs\r\nContent-Length: {}\r\n\r\n",
            self.authority,
            body.len()
        ));
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.asked = Some(what);
        self.stream.write_all(&request).await?;
        self.stream.flush().await
    }

    /// The answer to what was asked. May be given up and called again.
    async fn answer(&mut self) -> io::Result<Answer> {
        loop {
            if let Some(answer) = parse(&mut self.input)? {
                self.asked = None;
                self.spent |= answer.last;
                return Ok(answer);
            }
            self.input.reserve(16 << 10);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server closed the connection without an answer",
                ));
            }
        }
    }

    /// The answer to a `send` or `idle`, taken apart.
    async fn settle(&mut self) -> io::Result<()> {
        let answer = self.answer().await?;
        if answer.status != 200 {
            return Err(invalid(format!("the server answered the tunnel with status {}", answer.status)));
        }
        let Some((&poll, bytes)) = answer.body.split_first() else {
            return Err(invalid("an answer without a polling byte"));
        };
        if !self.found.polling.contains(&poll) && self.found.polling.len() < POLLS {
            self.found.polling.push(poll);
        }
        self.closed |= poll == 0;
        self.arrived.extend_from_slice(bytes);
        if bytes.is_empty() {
            self.found.empty += 1;
            self.poll_at = Instant::now() + POLL_STEP * u32::from(poll);
        } else {
            self.poll_at = Instant::now();
        }
        Ok(())
    }

    /// Sends bytes, when what was asked before is answered.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.asked.is_some() {
            self.settle().await?;
        }
        if self.closed {
            return Err(invalid("the server closed the tunnel's session"));
        }
        self.ask(Asked::Send, bytes).await?;
        self.found.sends += 1;
        self.settle().await
    }

    /// Receives bytes, asking for them; 0 when the session is over, or there were none this time (see [`is_over`](Self::is_over)).
    pub(super) async fn receive(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        if self.arrived.is_empty() && !self.closed {
            if self.asked.is_none() {
                sleep_until(self.poll_at).await;
                self.ask(Asked::Idle, &[0]).await?;
                self.found.idles += 1;
            }
            self.settle().await?;
        }
        into.extend_from_slice(&self.arrived);
        let count = self.arrived.len();
        self.arrived.clear();
        Ok(count)
    }

    /// Whether the server has ended the session and all it sent was received.
    pub(super) fn is_over(&self) -> bool {
        self.closed && self.arrived.is_empty()
    }

    /// Ends the session, unless an answer is still under way: the server ends it by itself.
    pub(super) async fn close(&mut self) {
        if self.asked.is_none() && !self.spent && !self.closed {
            let _ = self.exchange(Asked::Close, &[0]).await;
        }
        let _ = self.stream.shutdown().await;
    }
}

/// Takes a whole answer from the front of `input`; `None` while there is none.
fn parse(input: &mut BytesMut) -> io::Result<Option<Answer>> {
    let Some(end) = input.windows(4).position(|w| w == b"\r\n\r\n") else {
        if input.len() > HEAD_BYTES {
            return Err(invalid("the server's answer has no end to its head"));
        }
        return Ok(None);
    };
    let head = std::str::from_utf8(&input[..end]).map_err(|_| invalid("the server's answer is no HTTP"))?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let (version, status) = status_line.split_once(' ').unwrap_or_default();
    let status = status.split(' ').next().and_then(|status| status.parse::<u16>().ok());
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        return Err(invalid("the server's answer is no HTTP"));
    };
    let (mut length, mut last) = (None, version == "HTTP/1.0");
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            last = value.eq_ignore_ascii_case("close") || last && !value.eq_ignore_ascii_case("keep-alive");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(invalid("the server's answer is chunked, which players can't read"));
        }
    }
    let Some(length) = length.filter(|length| *length <= BODY_BYTES) else {
        return Err(invalid(format!("the server's answer has no length, or one over {BODY_BYTES} bytes")));
    };
    if input.len() < end + 4 + length {
        return Ok(None);
    }
    input.advance(end + 4);
    Ok(Some(Answer { status, body: input.split_to(length).freeze(), last }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<(u16, String, bool)>, String> {
        let mut input = BytesMut::from(text.as_bytes());
        let answer = parse(&mut input).map_err(|error| error.to_string())?;
        Ok(answer.map(|a| (a.status, String::from_utf8_lossy(&a.body).into_owned(), a.last)))
    }

    #[test]
    fn answers_are_taken_whole() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Type:  application/x-fcs\r\ncontent-length: 3\r\n\r\nabcHTTP";
        assert_eq!(parsed(whole), Ok(Some((200, "abc".into(), false))));
        for cut in 0..whole.len() - 4 {
            assert_eq!(parsed(&whole[..cut]), Ok(None), "{cut}");
        }
        let closes = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(parsed(closes), Ok(Some((404, String::new(), true))));
    }

    #[test]
    fn what_no_player_could_read_is_told() {
        for odd in [
            "RTMP\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1",
        ] {
            assert!(parsed(odd).is_err(), "{odd}");
        }
        assert!(parsed(&"a".repeat(HEAD_BYTES + 1)).is_err());
    }
}
