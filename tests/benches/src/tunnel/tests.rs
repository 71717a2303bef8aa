//! A tunnel against scripted answers: what it asks, when, and what it makes of what comes, however it is cut.

use super::*;

fn host() -> SocketAddr {
    "127.0.0.1:80".parse().unwrap()
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-fcs\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// What is asked now, with `said` to be said: the request line and the body.
fn asked(tunnel: &mut Tunnel, now_us: u64, said: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut wire = Vec::new();
    let say = |wire: &mut Vec<u8>| wire.extend_from_slice(said);
    if !tunnel.ask(now_us, host(), said.len(), say, &mut wire) {
        assert!(wire.is_empty());
        return None;
    }
    let text = String::from_utf8_lossy(&wire).into_owned();
    let at = text.find("\r\n\r\n").unwrap() + 4;
    let length = format!("Content-Length: {}\r\n", wire.len() - at);
    assert!(text.contains(&length), "{text}");
    Some((text.lines().next().unwrap().to_owned(), wire[at..].to_vec()))
}

fn hear(tunnel: &mut Tunnel, now_us: u64, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut heard = Vec::new();
    tunnel.feed(&mut bytes.to_vec(), now_us, |piece| heard.extend_from_slice(piece))?;
    Ok(heard)
}

/// A tunnel whose session is open.
fn open(eager: bool) -> Tunnel {
    let mut tunnel = Tunnel::new(eager);
    assert_eq!(asked(&mut tunnel, 0, b"C0C1"), Some(("POST /open/1 HTTP/1.1".into(), vec![0])));
    assert_eq!(hear(&mut tunnel, 0, &answer(b"aBcD0123\n")), Ok(vec![]));
    tunnel
}

#[test]
fn one_request_at_a_time_numbered_from_nought() {
    let mut tunnel = open(false);
    assert_eq!(
        asked(&mut tunnel, 0, b"C0C1"),
        Some(("POST /send/aBcD0123/0 HTTP/1.1".into(), b"C0C1".to_vec()))
    );
    assert_eq!(asked(&mut tunnel, 0, b"more"), None, "an answer is awaited");
    assert_eq!(hear(&mut tunnel, 5, &answer(b"\x01S0S1S2")), Ok(b"S0S1S2".to_vec()));
    assert_eq!(tunnel.alarm_us(), None, "after bytes it is asked at once");
    assert_eq!(asked(&mut tunnel, 5, b""), Some(("POST /idle/aBcD0123/1 HTTP/1.1".into(), vec![0])));
    let mut wire = Vec::new();
    tunnel.close(host(), &mut wire);
    assert!(wire.starts_with(b"POST /close/aBcD0123/2 HTTP/1.1\r\n"));
}

#[test]
fn after_an_empty_answer_it_waits_as_the_polling_byte_says_unless_it_is_eager_or_has_something_to_say() {
    let mut tunnel = open(false);
    asked(&mut tunnel, 0, b"").unwrap();
    assert_eq!(hear(&mut tunnel, 1000, &answer(b"\x21")), Ok(vec![]));
    let due = tunnel.alarm_us().unwrap();
    assert!((500_000..530_000).contains(&due), "{due}");
    assert_eq!(tunnel.alarm_us(), None, "told once");
    assert_eq!(asked(&mut tunnel, due - 1, b""), None);
    let mut other = open(true);
    asked(&mut other, 0, b"").unwrap();
    hear(&mut other, 1000, &answer(b"\x21")).unwrap();
    assert_eq!(other.alarm_us(), None);
    assert!(asked(&mut other, 1000, b"").is_some());
    assert_eq!(asked(&mut tunnel, 1001, b"seek").unwrap().0, "POST /send/aBcD0123/1 HTTP/1.1");
}

#[test]
fn answers_are_understood_however_they_are_cut() {
    let body: Vec<u8> = (0..400).map(|n| n as u8 | 1).collect();
    for cut in 1..answer(&body).len() {
        let mut tunnel = open(false);
        asked(&mut tunnel, 0, b"x").unwrap();
        let all = answer(&body);
        let mut heard = hear(&mut tunnel, 0, &all[..cut]).unwrap();
        assert_eq!(asked(&mut tunnel, 0, b"x"), None, "the answer isn't whole");
        heard.extend(hear(&mut tunnel, 0, &all[cut..]).unwrap());
        assert_eq!(heard, body[1..], "cut at {cut}");
        assert!(asked(&mut tunnel, 0, b"").is_some());
    }
    let mut tunnel = open(false);
    asked(&mut tunnel, 0, b"x").unwrap();
    let mut heard = Vec::new();
    for byte in answer(&body) {
        heard.extend(hear(&mut tunnel, 0, &[byte]).unwrap());
    }
    assert_eq!(heard, body[1..]);
}

#[test]
fn a_server_that_ends_or_refuses_the_session_is_named() {
    for (said, what) in [
        (&b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..], "404 Not Found"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "without a length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\0", "closed by the server"),
        (&[b'x'; 5000], "without end"),
    ] {
        let mut tunnel = open(false);
        asked(&mut tunnel, 0, b"x").unwrap();
        let why = hear(&mut tunnel, 0, said).unwrap_err();
        assert!(why.contains(what), "{why}");
    }
    let mut tunnel = open(false);
    assert!(hear(&mut tunnel, 0, b"H").unwrap_err().contains("answer to nothing"));
    let mut tunnel = Tunnel::new(false);
    asked(&mut tunnel, 0, b"").unwrap();
    assert!(hear(&mut tunnel, 0, &answer(b"a/b\n")).unwrap_err().contains("session id"));
}
