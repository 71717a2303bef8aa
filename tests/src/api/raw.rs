//! One request to the control API, signed or not, right or wrong.

use std::net::{SocketAddr, TcpStream};
use std::time::SystemTime;

use super::Keys;
use super::sign::{self, Signed};
use crate::http::{self, Answer};

/// A request; [`Request::legacy`] or [`Request::v4`] sign it when it is complete.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path and query, encoded.
    pub target: String,
    /// Headers, in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    signing: Option<Signing>,
}

#[derive(Clone, Debug)]
enum Signing {
    Legacy(Keys, SystemTime),
    V4(Keys, SystemTime, String),
}

impl Request {
    /// Any.
    pub fn new(method: &str, target: &str, body: &[u8]) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: body.to_vec(),
            signing: None,
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target, b"")
    }

    /// A DELETE.
    pub fn delete(target: &str) -> Self {
        Self::new("DELETE", target, b"")
    }

    /// A POST.
    pub fn post(target: &str, body: &str) -> Self {
        Self::new("POST", target, body.as_bytes())
    }

    /// A PUT.
    pub fn put(target: &str, body: &str) -> Self {
        Self::new("PUT", target, body.as_bytes())
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With the first clients' signature over `Date`, now.
    pub fn legacy(self, keys: &Keys) -> Self {
        self.legacy_at(keys, SystemTime::now())
    }

    /// As [`Request::legacy`], with another date.
    pub fn legacy_at(mut self, keys: &Keys, at: SystemTime) -> Self {
        self.signing = Some(Signing::Legacy(keys.clone(), at));
        self
    }

    /// With SigV4, now.
    pub fn v4(self, keys: &Keys) -> Self {
        self.v4_at(keys, SystemTime::now())
    }

    /// As [`Request::v4`], with another date.
    pub fn v4_at(self, keys: &Keys, at: SystemTime) -> Self {
        self.v4_for(keys, at, "us-east-1/cloudfront")
    }

    /// As [`Request::v4_at`], with another `REGION/SERVICE`.
    pub fn v4_for(mut self, keys: &Keys, at: SystemTime, scope: &str) -> Self {
        self.signing = Some(Signing::V4(keys.clone(), at, scope.into()));
        self
    }

    /// Its headers as they go to `host`, the signature among them.
    pub fn signed(&self, host: &str) -> Vec<(String, String)> {
        let mut headers = self.headers.clone();
        match &self.signing {
            None => {}
            Some(Signing::Legacy(keys, at)) => {
                let date = sign::http_date(*at);
                headers.push(("Authorization".into(), sign::legacy(&keys.id, &keys.secret, &date)));
                headers.push(("Date".into(), date));
            }
            Some(Signing::V4(keys, at, scope)) => {
                let (day, time) = sign::amz_date(*at);
                let mut covered =
                    vec![("host".to_owned(), host.to_owned()), ("x-amz-date".to_owned(), time.clone())];
                covered.extend(
                    headers
                        .iter()
                        .filter(|(n, _)| n.eq_ignore_ascii_case("if-match"))
                        .map(|(n, v)| (n.to_ascii_lowercase(), v.clone())),
                );
                let signature = sign::v4(
                    &keys.id,
                    &keys.secret,
                    Signed {
                        method: &self.method,
                        target: &self.target,
                        headers: covered,
                        body: &self.body,
                        day: &day,
                        scope,
                        time: &time,
                    },
                );
                headers.push(("X-Amz-Date".into(), time));
                headers.push(("Authorization".into(), signature));
            }
        }
        headers
    }

    /// Sends it on a connection of its own.
    pub fn send(&self, addr: &str) -> Answer {
        self.try_send(addr).unwrap_or_else(|e| panic!("{e:#}"))
    }

    /// As [`Request::send`], where it may fail.
    pub fn try_send(&self, addr: &str) -> anyhow::Result<Answer> {
        let headers = self.signed(addr);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        http::request(addr, &self.method, &self.target, &headers, &self.body)
    }

    /// As [`Request::try_send`], from another address of loopback, such as `127.0.0.2`.
    pub fn send_from(&self, source: &str, addr: &str) -> anyhow::Result<Answer> {
        let stream = connect_from(source, addr)?;
        let headers = self.signed(addr);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        http::request_over(stream, addr, &self.method, &self.target, &headers, &self.body)
    }

    /// All its bytes as they go to `host`.
    pub fn bytes(&self, host: &str, keep_alive: bool) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        if !keep_alive {
            head += "Connection: close\r\n";
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "PUT" | "POST") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in self.signed(host) {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend(&self.body);
        bytes
    }
}

/// A connection to `addr` from another address of loopback.
pub fn connect_from(source: &str, addr: &str) -> anyhow::Result<TcpStream> {
    let to: SocketAddr = addr.parse()?;
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source.parse()?, 0).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}
