//! What to give a player: the URL of a film in every variant, its parts for players that want them apart, and whole commands.
//!
//! The name a player asks for is made of the object's key as Flash Media Server's players expect it: `mp4:` before files of the MPEG-4
//! family, `mp3:` before MP3 without its extension, FLV without its extension. A name that already has a prefix, or a query (a signed name), is
//! taken as it is.

use std::fmt::Write;

use serde::Deserialize;

/// The application and instance every streaming distribution answers to.
pub(super) const APPLICATION: &str = "cfx/st";

/// Where viewers reach the edges.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlayerConfig {
    /// Port of RTMP and RTMPE.
    pub rtmp_port: u16,
    /// Port of RTMPT and RTMPTE.
    pub tunnel_port: u16,
    /// Port of RTMPS and RTMPTS.
    pub tls_port: u16,
    /// An edge's host or address, which commands connect to while a distribution's own names don't resolve; none by default.
    pub edge_host: String,
}

impl Default for PlayerConfig {
    fn default() -> Self {
        Self { rtmp_port: 1935, tunnel_port: 80, tls_port: 443, edge_host: String::new() }
    }
}

/// A way to carry RTMP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Its scheme.
    pub(super) scheme: &'static str,
    /// What it is, for people.
    pub(super) what: &'static str,
    usual_port: u16,
    port: fn(&PlayerConfig) -> u16,
}

/// All variants, as CloudFront named them, and the two over TLS.
pub(super) const VARIANTS: [Variant; 6] = [
    Variant { scheme: "rtmp", what: "RTMP", usual_port: 1935, port: |p| p.rtmp_port },
    Variant { scheme: "rtmpe", what: "RTMP, encrypted", usual_port: 1935, port: |p| p.rtmp_port },
    Variant { scheme: "rtmpt", what: "through HTTP", usual_port: 80, port: |p| p.tunnel_port },
    Variant { scheme: "rtmpte", what: "through HTTP, encrypted", usual_port: 80, port: |p| p.tunnel_port },
    Variant { scheme: "rtmps", what: "over TLS", usual_port: 443, port: |p| p.tls_port },
    Variant { scheme: "rtmpts", what: "through HTTPS", usual_port: 443, port: |p| p.tls_port },
];

impl Variant {
    /// `SCHEME://HOST[:PORT]/cfx/st`, the part before the stream's name. A host that names a port keeps it.
    pub(super) fn server(&self, host: &str, ports: &PlayerConfig) -> String {
        match (self.port)(ports) {
            _ if names_port(host) => format!("{}://{host}/{APPLICATION}", self.scheme),
            port if port == self.usual_port => format!("{}://{host}/{APPLICATION}", self.scheme),
            port => format!("{}://{host}:{port}/{APPLICATION}", self.scheme),
        }
    }
}

/// Whether `host` is `HOST:PORT`, or an IPv6 address in brackets with a port.
fn names_port(host: &str) -> bool {
    let Some((name, port)) = host.rsplit_once(':') else { return false };
    port.parse::<u16>().is_ok() && (name.ends_with(']') || !name.contains(':'))
}

/// The name by which players ask for the object `key`.
pub(super) fn stream_name(key: &str) -> String {
    let key = key.trim().trim_start_matches('/');
    let prefixed = key.split_once(':').is_some_and(|(p, _)| matches!(p, "mp4" | "mp3" | "flv"));
    if prefixed || key.contains('?') {
        return key.to_owned();
    }
    let Some((stem, extension)) = key.rsplit_once('.').filter(|(_, e)| !e.contains('/')) else {
        return key.to_owned();
    };
    match extension.to_ascii_lowercase().as_str() {
        "flv" => stem.to_owned(),
        "mp3" => format!("mp3:{stem}"),
        "mp4" | "m4v" | "m4a" | "mov" | "f4v" | "f4a" | "3gp" | "3g2" => format!("mp4:{key}"),
        _ => key.to_owned(),
    }
}

/// A word for a POSIX shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A setting or command to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// Whose it is.
    pub(super) player: &'static str,
    /// The text.
    pub(super) text: String,
}

/// Settings and commands that play `name` of the distribution known as `host`; `edge` is where to connect if that name doesn't resolve.
pub(super) fn recipes(host: &str, name: &str, edge: &str, ports: &PlayerConfig) -> Vec<Recipe> {
    let [rtmp, rtmpe, rtmpt, ..] = VARIANTS;
    let server = rtmp.server(host, ports);
    let url = format!("{server}/{name}");
    let recipe = |player, text| Recipe { player, text };
    let rtmpdump = |variant: Variant, file: &str| {
        let at = variant.server(if edge.is_empty() { host } else { edge }, ports);
        let mut text = format!("rtmpdump -r {}", quoted(&at));
        if !edge.is_empty() {
            let _ = write!(text, " -t {}", quoted(&variant.server(host, ports)));
        }
        let _ = write!(text, " -a {APPLICATION} -y {} -o {file}", quoted(name));
        text
    };
    let avformat = |program: &str| {
        if edge.is_empty() {
            return format!("{program} {}", quoted(&url));
        }
        let at = rtmp.server(edge, ports);
        let tc_url = quoted(&server);
        match program {
            "mpv" => format!("mpv --demuxer-lavf-o=rtmp_tcurl={tc_url} {}", quoted(&format!("{at}/{name}"))),
            _ => format!("{program} -rtmp_tcurl {tc_url} {}", quoted(&format!("{at}/{name}"))),
        }
    };
    let json = |pairs: &[(&str, &str)]| {
        let lines: Vec<_> = pairs
            .iter()
            .map(|(k, v)| format!("  {k}: {}", serde_json::Value::from(*v).to_string().replace("</", "<\\/")))
            .collect();
        format!("{{\n{}\n}}", lines.join(",\n"))
    };
    vec![
        recipe("ffplay", avformat("ffplay")),
        recipe("mpv", avformat("mpv")),
        recipe("rtmpdump", rtmpdump(rtmp, "film.flv")),
        recipe("rtmpdump, encrypted", rtmpdump(rtmpe, "film.flv")),
        recipe("rtmpdump, through HTTP", rtmpdump(rtmpt, "film.flv")),
        recipe("JW Player 6 and later", json(&[("file", &url), ("type", "rtmp")])),
        recipe("JW Player 4 and 5", json(&[("provider", "rtmp"), ("streamer", &server), ("file", name)])),
        recipe(
            "Flowplayer 3",
            format!(
                "clip: {{ url: {}, provider: \"rtmp\" }},\nplugins: {{ rtmp: {{ url: \"flowplayer.rtmp.swf\", netConnectionUrl: {} }} }}",
                serde_json::Value::from(name),
                serde_json::Value::from(server.as_str())
            ),
        ),
        recipe(
            "ActionScript 3",
            format!(
                "connection.connect({});\nstream.play({}, 0, -1);",
                serde_json::Value::from(server.as_str()),
                serde_json::Value::from(name)
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_players_ask_for() {
        let cases = [
            ("videos/a.flv", "videos/a"),
            ("/videos/a.FLV", "videos/a"),
            ("b.mp3", "mp3:b"),
            ("v/c.mp4", "mp4:v/c.mp4"),
            ("v/d.mov", "mp4:v/d.mov"),
            ("mp4:v/c", "mp4:v/c"),
            ("v.1/plain", "v.1/plain"),
            ("a.flv?Expires=1&Signature=x", "a.flv?Expires=1&Signature=x"),
            (" spaced name.mp4 ", "mp4:spaced name.mp4"),
            ("", ""),
        ];
        for (key, name) in cases {
            assert_eq!(stream_name(key), name, "{key}");
        }
    }

    #[test]
    fn usual_ports_are_left_out_and_others_named() {
        let usual = PlayerConfig::default();
        let urls: Vec<_> = VARIANTS.iter().map(|v| v.server("s1.example.com", &usual)).collect();
        assert_eq!(urls[0], "rtmp://s1.example.com/cfx/st");
        assert!(urls.iter().all(|url| !url.ends_with(":/") && url.ends_with("s1.example.com/cfx/st")));
        let one = PlayerConfig { rtmp_port: 41935, tunnel_port: 41935, tls_port: 41935, ..usual };
        assert_eq!(VARIANTS[3].server("h", &one), "rtmpte://h:41935/cfx/st");
        assert_eq!(VARIANTS[4].server("h", &one), "rtmps://h:41935/cfx/st");
        assert_eq!(VARIANTS[0].server("h:7", &one), "rtmp://h:7/cfx/st");
        assert_eq!(VARIANTS[0].server("[::1]", &one), "rtmp://[::1]:41935/cfx/st");
        assert_eq!(VARIANTS[0].server("[::1]:7", &one), "rtmp://[::1]:7/cfx/st");
    }

    #[test]
    fn words_are_safe_for_a_shell_and_settings_for_a_script() {
        assert_eq!(quoted("mp4:a/b.mp4"), "mp4:a/b.mp4");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's $(x)"), r"'it'\''s $(x)'");
        let all = recipes("s1.example.com", "mp4:x\"y.mp4", "", &PlayerConfig::default());
        let jw = all.iter().find(|r| r.player == "JW Player 4 and 5").unwrap();
        assert!(jw.text.contains(r#"file: "mp4:x\"y.mp4""#), "{}", jw.text);
        let with_edge = recipes("s1.example.com", "a", "127.0.0.1", &PlayerConfig::default());
        let dump = &with_edge[2].text;
        assert_eq!(
            dump,
            "rtmpdump -r rtmp://127.0.0.1/cfx/st -t rtmp://s1.example.com/cfx/st -a cfx/st -y a -o film.flv"
        );
    }
}
