//! The client's half of RTMPT: RTMP bytes in the bodies of POSTs on one kept connection.
//!
//! It has no socket and no clock. [`Tunnel::ask`] writes the next request when one may be sent: one at a time, as HTTP without pipelining
//! goes. What is to be said is sent at once; with nothing to say the server is asked whether it has something, at once if its
//! last answer held bytes, else after the interval the polling byte names (Flash's way; librtmp doesn't wait, which is
//! [`Options::eager`](crate::options::Options::eager)). [`Tunnel::feed`] takes answers apart as they come: heads are gathered, bodies are passed on piece
//! by piece. An answer that isn't 200 with a length, or the polling byte 0, ends the session.

use std::net::SocketAddr;

/// Longest head of an answer.
const LONGEST_HEAD: usize = 4096;
/// Longest session id; players cut longer ones.
const LONGEST_ID: usize = 31;
/// What one step of the polling byte stands for, in µs: 0x21 of them are half a second.
const STEP_US: u64 = 15_500;

/// What an answer is awaited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// `open`: the session's id will come.
    Open,
    /// `send` or `idle`: a polling byte and RTMP bytes will come.
    Bytes,
}

/// One session's tunnel.
#[derive(Debug)]
pub struct Tunnel {
    eager: bool,
    id: String,
    number: u64,
    asked: Option<Asked>,
    /// The head of the answer under way, as far as it has come.
    head: Vec<u8>,
    /// Bytes of its body still to come; `None` while the head is.
    left: Option<usize>,
    /// Its polling byte, once that has come.
    polling: Option<u8>,
    was_empty: bool,
    due_us: u64,
    alarm: bool,
}

impl Tunnel {
    /// A tunnel that isn't open.
    pub fn new(eager: bool) -> Self {
        Self {
            eager,
            id: String::new(),
            number: 0,
            asked: None,
            head: Vec::new(),
            left: None,
            polling: None,
            was_empty: true,
            due_us: 0,
            alarm: false,
        }
    }

    /// Appends the next request to `wire`, if one may be sent now; true if so. `bytes` of RTMP are to be said; `say` appends them.
    pub fn ask(
        &mut self,
        now_us: u64,
        host: SocketAddr,
        bytes: usize,
        say: impl FnOnce(&mut Vec<u8>),
        wire: &mut Vec<u8>,
    ) -> bool {
        if self.asked.is_some() {
            return false;
        }
        if self.id.is_empty() {
            post(wire, "open/1", host, 1);
            wire.push(0);
            self.asked = Some(Asked::Open);
            return true;
        }
        let what = match bytes {
            0 if now_us < self.due_us => return false,
            0 => "idle",
            _ => "send",
        };
        post(wire, &format!("{what}/{}/{}", self.id, self.number), host, bytes.max(1));
        if bytes == 0 {
            wire.push(0);
        } else {
            say(wire);
        }
        self.number += 1;
        self.asked = Some(Asked::Bytes);
        true
    }

    /// Appends the request that ends the session, if it is open.
    pub fn close(&self, host: SocketAddr, wire: &mut Vec<u8>) {
        if !self.id.is_empty() {
            post(wire, &format!("close/{}/{}", self.id, self.number), host, 1);
            wire.push(0);
        }
    }

    /// When it must be asked again, if an answer has just said so; told once.
    pub fn alarm_us(&mut self) -> Option<u64> {
        std::mem::take(&mut self.alarm).then_some(self.due_us)
    }

    /// Takes received bytes; the RTMP among them go to `sink`.
    pub fn feed(
        &mut self,
        mut bytes: &mut [u8],
        now_us: u64,
        mut sink: impl FnMut(&mut [u8]),
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            let Some(asked) = self.asked else { return Err("tunnel: an answer to nothing".into()) };
            let Some(left) = self.left else {
                let used = self.head(bytes, asked)?;
                bytes = &mut bytes[used..];
                continue;
            };
            let (mut piece, rest) = bytes.split_at_mut(left.min(bytes.len()));
            bytes = rest;
            self.left = Some(left - piece.len());
            match asked {
                Asked::Open => self.head.extend_from_slice(piece),
                Asked::Bytes => {
                    if self.polling.is_none() {
                        self.polling = piece.first().copied();
                        piece = &mut piece[1..];
                    }
                    if !piece.is_empty() {
                        self.was_empty = false;
                        sink(piece);
                    }
                }
            }
            if self.left == Some(0) {
                self.answered(asked, now_us)?;
            }
        }
        Ok(())
    }

    /// Gathers a head; answers how many bytes of it these were.
    fn head(&mut self, bytes: &[u8], asked: Asked) -> Result<usize, String> {
        let had = self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(LONGEST_HEAD - had)]);
        let from = had.saturating_sub(3);
        let Some(end) = self.head[from..].windows(4).position(|w| w == b"\r\n\r\n") else {
            return if self.head.len() < LONGEST_HEAD {
                Ok(bytes.len())
            } else {
                Err("tunnel: a head without end".into())
            };
        };
        let length = from + end + 4;
        let text = String::from_utf8_lossy(&self.head[..length]);
        let mut lines = text.lines();
        let status = lines.next().unwrap_or_default();
        if !status.starts_with("HTTP/1.1 200 ") {
            return Err(format!("tunnel: {status}"));
        }
        let is_length = |line: &str| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        };
        let left = lines.find_map(is_length).ok_or("tunnel: an answer without a length")?;
        if left == 0 || (asked == Asked::Open && left > LONGEST_ID + 1) {
            return Err(format!("tunnel: an answer of {left} bytes"));
        }
        self.head.clear();
        (self.left, self.polling, self.was_empty) = (Some(left), None, true);
        Ok(length - had)
    }

    /// The answer under way is whole.
    fn answered(&mut self, asked: Asked, now_us: u64) -> Result<(), String> {
        (self.asked, self.left) = (None, None);
        if asked == Asked::Open {
            self.id = String::from_utf8_lossy(&self.head).trim_end().to_owned();
            self.head = Vec::new();
            let is_one = !self.id.is_empty() && self.id.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
            return if is_one { Ok(()) } else { Err(format!("tunnel: session id {:?}", self.id)) };
        }
        match self.polling {
            None | Some(0) => return Err("tunnel: closed by the server".into()),
            Some(steps) if self.was_empty && !self.eager => {
                (self.due_us, self.alarm) = (now_us + u64::from(steps) * STEP_US, true);
            }
            Some(_) => self.due_us = now_us,
        }
        Ok(())
    }
}

fn post(wire: &mut Vec<u8>, path: &str, host: SocketAddr, bytes: usize) {
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-fcs\r\nContent-Length: {bytes}\r\n\
         User-Agent: Shockwave Flash\r\nConnection: Keep-Alive\r\nCache-Control: no-cache\r\n\r\n"
    );
    wire.extend(head.bytes());
}

#[cfg(test)]
mod tests;
