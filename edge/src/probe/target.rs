//! What a URL asks for: how to get there, the application, the stream.
//!
//! `rtmp[s|e|t|te|ts]://HOST[:PORT]/APP/NAME`, where the application is two parts long (`cfx/st`), as on every distribution, and the name is the
//! rest, signature and all. Both can be given apart, for other servers.

use super::Failure;

/// How a URL's scheme wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) scheme: &'static str,
    /// Within TLS.
    pub(super) tls: bool,
    /// Through HTTP requests.
    pub(super) tunnel: bool,
    /// With RC4, as RTMPE has it.
    pub(super) encrypted: bool,
    /// Where to, if the URL doesn't say.
    pub(super) port: u16,
}

const VARIANTS: [Variant; 6] = [
    Variant { scheme: "rtmp", tls: false, tunnel: false, encrypted: false, port: 1935 },
    Variant { scheme: "rtmpe", tls: false, tunnel: false, encrypted: true, port: 1935 },
    Variant { scheme: "rtmpt", tls: false, tunnel: true, encrypted: false, port: 80 },
    Variant { scheme: "rtmpte", tls: false, tunnel: true, encrypted: true, port: 80 },
    Variant { scheme: "rtmps", tls: true, tunnel: false, encrypted: false, port: 443 },
    Variant { scheme: "rtmpts", tls: true, tunnel: true, encrypted: false, port: 443 },
];

/// Longest URL taken.
const URL_BYTES: usize = 8 << 10;

/// Where to go and what to ask for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) variant: Variant,
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as they stand in the URL.
    pub(super) authority: String,
    pub(super) app: String,
    pub(super) name: String,
}

impl Target {
    /// Reads `url`; `app` and `stream` override what it says.
    pub(super) fn parse(url: &str, app: Option<&str>, stream: Option<&str>) -> Result<Self, Failure> {
        let usage = |what: String| Failure::Usage(what);
        if url.len() > URL_BYTES || url.chars().any(|c| c.is_control() || c == ' ') {
            return Err(usage("the URL is too long, or has spaces or control characters in it".into()));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(usage(format!("'{url}' is no URL: rtmp://HOST/cfx/st/NAME is one")));
        };
        let Some(variant) = VARIANTS.into_iter().find(|v| v.scheme.eq_ignore_ascii_case(scheme)) else {
            let known: Vec<&str> = VARIANTS.iter().map(|v| v.scheme).collect();
            return Err(usage(format!("'{scheme}' is not one of {}", known.join(", "))));
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) =
            split_port(authority).ok_or_else(|| usage(format!("'{authority}' is no HOST or HOST:PORT")))?;
        let (path_app, path_name) = match (app, stream) {
            (Some(app), None) => {
                let within = path.strip_prefix(app.trim_matches('/')).and_then(|rest| rest.strip_prefix('/'));
                (app, within.unwrap_or(path))
            }
            (None, Some(_)) => (path, ""),
            _ => split_app(path),
        };
        let app = app.unwrap_or(path_app).trim_matches('/').to_owned();
        let name = stream.unwrap_or(path_name).to_owned();
        if app.is_empty() || name.is_empty() {
            return Err(usage(format!(
                "'{url}' names no application and stream: rtmp://HOST/cfx/st/NAME does, or --app and --stream"
            )));
        }
        Ok(Self {
            variant,
            host,
            port: port.unwrap_or(variant.port),
            authority: authority.to_owned(),
            app,
            name,
        })
    }

    /// The URL of the application, as `connect` carries it.
    pub(super) fn tc_url(&self) -> String {
        format!("{}://{}/{}", self.variant.scheme, self.authority, self.app)
    }
}

/// The first two parts of a path, and the rest. A query belongs to the name.
fn split_app(path: &str) -> (&str, &str) {
    let plain = path.find('?').unwrap_or(path.len());
    match path[..plain].match_indices('/').nth(1) {
        Some((at, _)) => (&path[..at], &path[at + 1..]),
        None => (path, ""),
    }
}

fn split_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
        None => None,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str, app: Option<&str>, stream: Option<&str>) -> Option<(String, u16, String, String)> {
        let target = Target::parse(url, app, stream).ok()?;
        Some((target.host, target.port, target.app, target.name))
    }

    fn is(host: &str, port: u16, app: &str, name: &str) -> Option<(String, u16, String, String)> {
        Some((host.into(), port, app.into(), name.into()))
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, expected) in [
            ("rtmp://h/cfx/st/mp4:a/b.mp4", is("h", 1935, "cfx/st", "mp4:a/b.mp4")),
            ("RTMPS://h.example/cfx/st/a?Policy=x/y&z", is("h.example", 443, "cfx/st", "a?Policy=x/y&z")),
            ("rtmpt://10.0.0.1:8080/cfx/st/a", is("10.0.0.1", 8080, "cfx/st", "a")),
            ("rtmpte://h/cfx/st/a", is("h", 80, "cfx/st", "a")),
            ("rtmpts://me:secret@[::1]:444/cfx/st/a", is("::1", 444, "cfx/st", "a")),
            ("rtmpe://[::1]/cfx/st/a", is("::1", 1935, "cfx/st", "a")),
            ("http://h/cfx/st/a", None),
            ("rtmp://h/cfx/st", None),
            ("rtmp://h/cfx/st/", None),
            ("rtmp://h", None),
            ("rtmp:///cfx/st/a", None),
            ("rtmp://h:0/cfx/st/a", None),
            ("rtmp://h:x/cfx/st/a", None),
            ("rtmp://[::1/cfx/st/a", None),
            ("rtmp://h\r\nx/cfx/st/a", None),
            ("film.mp4", None),
        ] {
            assert_eq!(parts(url, None, None), expected, "{url}");
        }
    }

    #[test]
    fn application_and_stream_can_be_given() {
        let vod = Some("vod");
        assert_eq!(parts("rtmp://h/vod/mp4:a", vod, None), is("h", 1935, "vod", "mp4:a"));
        assert_eq!(parts("rtmp://h/vod/a/b", None, Some("mp4:x")), is("h", 1935, "vod/a/b", "mp4:x"));
        assert_eq!(parts("rtmp://h/", vod, Some("x")), is("h", 1935, "vod", "x"));
        assert_eq!(parts("rtmp://h/", vod, None), None);
        let target = Target::parse("rtmpt://[::1]:8080/vod/x", vod, None).unwrap();
        assert_eq!(target.tc_url(), "rtmpt://[::1]:8080/vod");
    }
}
