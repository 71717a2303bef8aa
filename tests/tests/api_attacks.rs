//! What people do to an HTTP server on purpose: each is refused or cut off, and the others notice nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tests::api::{Api, Keys, ORIGIN, Request, assert_refused, config, raw, text, unique};
use tests::cluster::Setup;
use tests::process::raise_descriptors;
use tests::{eventually, http};

const LIST: &str = "/2020-05-31/streaming-distribution";

fn api() -> &'static Api {
    static API: OnceLock<Api> = OnceLock::new();
    API.get_or_init(|| {
        raise_descriptors();
        Api::start(Setup::default())
    })
}

/// A request of somebody else, from another address, goes through, and quickly.
fn others_notice_nothing(keys: &Keys) {
    let begun = Instant::now();
    let answer = Request::get(LIST).v4(keys).send_from("127.0.0.2", api().addr()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// All that comes until the server closes, which it must.
fn rest(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut all = Vec::new();
    // A reset is a close too: what was not read of ours made it one.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn entities_and_deep_or_wide_documents_cost_nothing() {
    let keys = api().account();
    let rss = api().cluster.control.rss_bytes();
    let whole = config(&unique(), ORIGIN, "", &[], "", true);
    let mut laughs = "<!DOCTYPE l [<!ENTITY l0 \"lol\">".to_owned();
    for n in 1..12 {
        laughs += &format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10));
    }
    laughs += &format!("]>{}", whole.replace("<Comment>", "<Comment>&l11;"));
    let outside = format!(
        "<!DOCTYPE l [<!ENTITY f SYSTEM \"file:///etc/passwd\">]>{}",
        whole.replace("<Comment>", "<Comment>&f;")
    );
    let deep = format!("{}{}", "<a>".repeat(20_000), "</a>".repeat(20_000));
    let wide = whole.replace("<Comment>", &format!("{}<Comment>", "<b/>".repeat(60_000)));
    let attributes: String = (0..20_000).map(|n| format!(" a{n}='1'")).collect();
    let attributes = whole.replace("<Comment>", &format!("<Other{attributes}/><Comment>"));
    for (what, body) in
        [("laughs", laughs), ("outside", outside), ("deep", deep), ("wide", wide), ("attributes", attributes)]
    {
        let begun = Instant::now();
        let answer = api().send(Request::post(LIST, &body).v4(&keys));
        assert!((400..=413).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        assert_refused(&answer, answer.status, text(&answer.text(), "Code"));
        assert!(!answer.text().contains("root:"), "{what}: {}", answer.text());
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", begun.elapsed());
    }
    assert_eq!(api().count(&keys), 0);
    let grown = api().cluster.control.rss_bytes().saturating_sub(rss);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[test]
fn a_body_of_ten_megabytes_is_refused_before_it_is_read_whole() {
    let keys = api().account();
    let big = config(&unique(), ORIGIN, "", &[], &"c".repeat(10 << 20), true);
    let rss = api().cluster.control.rss_bytes();
    let request = Request::post(LIST, &big).v4(&keys);
    let bytes = request.bytes(api().addr(), false);
    for chunked in [false, true] {
        let mut stream = TcpStream::connect(api().addr()).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let mut sent = 0;
        if chunked {
            let text = String::from_utf8_lossy(&bytes[..head])
                .replace(&format!("Content-Length: {}", big.len()), "Transfer-Encoding: chunked");
            stream.write_all(text.as_bytes()).unwrap();
            for part in big.as_bytes().chunks(1 << 16) {
                let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
                if stream.write_all(&chunk).is_err() {
                    break;
                }
                sent += part.len();
            }
        } else {
            for part in bytes.chunks(1 << 16) {
                if stream.write_all(part).is_err() {
                    break;
                }
                sent += part.len();
            }
        }
        let said = rest(&mut stream);
        // Where the refusal overtook the body, the reset may have taken it away.
        assert!(said.is_empty() || said.contains(" 413 ") || said.contains(" 400 "), "{said}");
        assert!(said.is_empty() || said.contains("<ErrorResponse"), "{said}");
        assert!(sent <= bytes.len());
        others_notice_nothing(&keys);
    }
    assert_eq!(api().count(&keys), 0);
    let grown = api().cluster.control.rss_bytes().saturating_sub(rss);
    assert!(grown < 32 << 20, "{grown} bytes more");
}

#[test]
fn heads_and_bodies_that_dribble_in_are_cut_off() {
    let keys = api().account();
    let request = Request::post(LIST, &config(&unique(), ORIGIN, "", &[], "", true)).v4(&keys);
    let bytes = request.bytes(api().addr(), false);
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    std::thread::scope(|scope| {
        for (what, at_once) in [("head", 20), ("body", head + 5)] {
            let bytes = &bytes;
            scope.spawn(move || {
                let mut stream = TcpStream::connect(api().addr()).unwrap();
                stream.write_all(&bytes[..at_once]).unwrap();
                let begun = Instant::now();
                // A byte now and then keeps no connection open for ever; it would take over ten minutes to the end.
                stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                for byte in &bytes[at_once..] {
                    let mut answer = [0; 4096];
                    match stream.read(&mut answer) {
                        Ok(n) => {
                            let said = String::from_utf8_lossy(&answer[..n]);
                            assert!(
                                n == 0 || said.contains(" 408 ") || said.contains(" 400 "),
                                "{what}: {said}"
                            );
                            return;
                        }
                        Err(e)
                            if matches!(
                                e.kind(),
                                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                            ) => {}
                        Err(_) => return,
                    }
                    assert!(begun.elapsed() < Duration::from_secs(90), "{what}: still open");
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                }
                panic!("{what}: all of it was taken");
            });
        }
        others_notice_nothing(&keys);
    });
    assert_eq!(api().count(&keys), 0);
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out() {
    const SOURCE: &str = "127.0.0.3";
    let keys = api().account();
    // Past its limits the server may refuse; it must not fall over, and not let one address take all there is.
    let idle: Vec<TcpStream> =
        (0..1000).filter_map(|_| raw::connect_from(SOURCE, api().addr()).ok()).collect();
    assert!(idle.len() > 900, "{}", idle.len());
    others_notice_nothing(&keys);
    assert!(api().cluster.control.process.descriptors() < 900, "one address's share is bounded");
    assert!(api().cluster.control.rss_bytes() < 300 << 20);
    // From the same address too it goes on, once idle ones have had their time.
    eventually("a request from among them", Duration::from_secs(90), || {
        let answer = Request::get(LIST).v4(&keys).send_from(SOURCE, api().addr()).ok()?;
        (answer.status == 200).then_some(())
    });
    drop(idle);
    others_notice_nothing(&keys);
}

#[test]
fn half_open_and_broken_requests_get_an_error_or_a_close() {
    let keys = api().account();
    let whole = config(&unique(), ORIGIN, "", &[], "", true);
    let right = Request::post(LIST, &whole).v4(&keys).bytes(api().addr(), false);
    let head = right.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let length = format!("Content-Length: {}", whole.len());
    let with = |old: &str, new: &str, body: &str| {
        let mut all = String::from_utf8_lossy(&right[..head]).replace(old, new).into_bytes();
        all.extend(body.as_bytes());
        all
    };
    let chunked = "Transfer-Encoding: chunked";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a chunk size that is none", with(&length, chunked, "zz\r\nabc\r\n0\r\n\r\n")),
        ("a negative chunk size", with(&length, chunked, "-5\r\nabc\r\n0\r\n\r\n")),
        ("a chunk size past all numbers", with(&length, chunked, "ffffffffffffffffff\r\nabc")),
        ("a chunk longer than it says", with(&length, chunked, "3\r\nabcdef\r\n0\r\n\r\n")),
        ("chunked and a length", with(&length, &format!("{length}\r\n{chunked}"), "0\r\n\r\n")),
        ("two lengths", with(&length, &format!("{length}\r\nContent-Length: 1"), &whole)),
        ("a length that is none", with(&length, "Content-Length: many", &whole)),
        ("an unknown coding", with(&length, "Transfer-Encoding: gzip", &whole)),
        ("a length without its body", with(&length, &length, &whole[..10])),
        ("a head without its end", right[..head - 2].to_vec()),
        (
            "a header over 100 KiB",
            with("Connection: close", &format!("X: {}", "x".repeat(100 << 10)), &whole),
        ),
        ("a thousand headers", with("Connection: close", &"X: y\r\n".repeat(1000), &whole)),
        ("a path over 100 KiB", with(LIST, &format!("/{}", "p".repeat(100 << 10)), &whole)),
        ("a folded header", with("Connection: close", "X: a\r\n b", "x")),
        ("no HTTP", b"EHLO example.com\r\n\r\n".to_vec()),
        ("nulls", vec![0; 4096]),
        ("HTTP/2 by prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("half a TLS hello", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]),
        ("CONNECT to elsewhere", b"CONNECT example.com:25 HTTP/1.1\r\nHost: example.com:25\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in cases {
        let mut stream = TcpStream::connect(api().addr()).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let said = rest(&mut stream);
        let status = said.split(' ').nth(1).unwrap_or_default();
        assert!(said.is_empty() || !status.starts_with('2') || what.starts_with("CONNECT"), "{what}: {said}");
        assert!(!status.starts_with('5') || status == "501" || status == "505", "{what}: {said}");
        if what.starts_with("CONNECT") && status == "200" {
            assert!(!said.contains("220 "), "{what}: it was carried on: {said}");
        }
        others_notice_nothing(&keys);
    }
    assert_eq!(api().count(&keys), 0);
    assert!(http::get(api().addr(), "/healthz").is_ok_and(|a| a.status == 200));
}
