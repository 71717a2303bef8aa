//! How the door behaves: what it lets in, how much, how long it waits.
//!
//! All of it can change while the door is open: a connection goes by what was in force when it came, a request by what is in force now.

use std::path::PathBuf;
use std::time::Duration;

use crate::api::xml::Bounds;

/// The host name that clients of CloudFront have built in.
pub const CLOUDFRONT: &str = "cloudfront.amazonaws.com";

/// See the [module](self).
#[derive(Clone, Debug, PartialEq)]
pub struct DoorConfig {
    /// Whether plain HTTP is taken from other machines.
    pub allow_plain_http: bool,
    /// Names and addresses, beside CloudFront's and this machine's, that the certificate of the local authority is for.
    pub host_names: Vec<String>,
    /// Hosts, beside CloudFront's, that CONNECT may name; the port is always 443.
    pub proxy_hosts: Vec<String>,
    /// Certificate and key; `None`: one of the local authority.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How often those files are looked at again.
    pub tls_reload: Duration,
    /// Longest body of a request.
    pub body_max_bytes: usize,
    /// The same for web distributions and invalidations.
    pub web_body_max_bytes: usize,
    /// All bodies that are held at a time.
    pub bodies_max_bytes: usize,
    /// Longest head of a request: its first line and headers.
    pub head_max_bytes: usize,
    /// Bounds of a document.
    pub xml: Bounds,
    /// Connections open.
    pub connections_max: usize,
    /// Connections open from one address.
    pub connections_per_address_max: usize,
    /// Time for a handshake of TLS, and for a tunnel's first byte.
    pub handshake_timeout: Duration,
    /// Time for a head; also how long a connection may rest between requests.
    pub head_timeout: Duration,
    /// Time for a body.
    pub body_timeout: Duration,
    /// Time for the work on a request.
    pub request_timeout: Duration,
    /// How long a client may take nothing of its answer.
    pub write_timeout: Duration,
    /// Time that requests under way have when the door closes.
    pub drain: Duration,
    /// Requests a second of an account.
    pub requests_per_second: u32,
    /// Requests at once of an account after a rest.
    pub requests_burst: u32,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self {
            allow_plain_http: false,
            host_names: Vec::new(),
            proxy_hosts: Vec::new(),
            tls: None,
            tls_reload: Duration::from_secs(10),
            body_max_bytes: 64 << 10,
            web_body_max_bytes: 1 << 20,
            bodies_max_bytes: 32 << 20,
            head_max_bytes: 16 << 10,
            xml: Bounds::default(),
            connections_max: 1024,
            connections_per_address_max: 256,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            requests_per_second: 100,
            requests_burst: 400,
        }
    }
}

impl DoorConfig {
    /// Whether CONNECT may name `authority` (`HOST:443`).
    pub fn is_proxied(&self, authority: &str) -> bool {
        let Some((host, "443")) = authority.rsplit_once(':') else { return false };
        std::iter::once(CLOUDFRONT)
            .chain(self.proxy_hosts.iter().map(String::as_str))
            .any(|known| known.eq_ignore_ascii_case(host))
    }

    /// What a certificate of the local authority is for, sorted, each once.
    pub fn names(&self) -> Vec<String> {
        let own = [CLOUDFRONT, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut names: Vec<String> =
            own.into_iter().chain(self.host_names.clone()).chain(self.proxy_hosts.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_hosts_are_proxied_and_only_at_the_port_of_https() {
        let config = DoorConfig { proxy_hosts: vec!["cf.example".into()], ..DoorConfig::default() };
        for yes in ["cloudfront.amazonaws.com:443", "CloudFront.AmazonAWS.com:443", "cf.example:443"] {
            assert!(config.is_proxied(yes), "{yes}");
        }
        for no in [
            "cloudfront.amazonaws.com:80",
            "cloudfront.amazonaws.com",
            "example.com:443",
            "x.cf.example:443",
            ":443",
            "127.0.0.1:443",
            "[::1]:443",
        ] {
            assert!(!config.is_proxied(no), "{no}");
        }
    }
}
