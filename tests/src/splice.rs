//! Connections carried from a port of our own to a target: the accept loop and the copying of everything here that stands between two boxes.
//!
//! What makes each of them particular is what it does with a piece of bytes on its way, a [`Pass`]: [`crate::link`] waits for its rate,
//! [`crate::log_chaos::valve`] loses it, [`crate::counting_proxy`] counts it. All end with the test process.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

/// What becomes of bytes that came from one end: it hands on to the other what is to be handed on. An error ends the connection.
pub type Pass = Box<dyn FnMut(&[u8], &mut TcpStream) -> io::Result<()> + Send>;

/// A connection's two ways.
pub struct Ways {
    /// From the client to the target.
    pub up: Pass,
    /// From the target to the client.
    pub down: Pass,
}

/// Hands on everything.
pub fn all() -> Pass {
    Box::new(|bytes, to| to.write_all(bytes))
}

/// Opens a port at the caller's address ([`crate::netns::host`]) and deals with each connection on a thread of its own. Gives its `IP:PORT`.
pub fn accept(deal: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(format!("{}:0", crate::netns::host())).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let deal = Arc::new(deal);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let deal = deal.clone();
            std::thread::spawn(move || deal(client));
        }
    });
    addr
}

/// Opens a port whose connections are carried to `target` (`IP:PORT`), each as `begin` says of its two ends, client first; none that it says nothing of.
/// A target that isn't there closes the client: as near to a refusal as a relay comes. Gives its `IP:PORT`.
pub fn carry(
    target: &str,
    begin: impl Fn(&TcpStream, &TcpStream) -> Option<Ways> + Send + Sync + 'static,
) -> String {
    let target = target.to_owned();
    accept(move |client| {
        let Ok(server) = TcpStream::connect(&target) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (Ok(up), Ok(down)) = (client.try_clone(), server.try_clone()) else { return };
        let Some(ways) = begin(&client, &server) else { return };
        std::thread::spawn(move || copy(up, server, ways.up));
        copy(down, client, ways.down);
    })
}

/// Copies until either end has ended. What the sender of the other way has said by then still arrives, if its reader is there.
fn copy(mut from: TcpStream, mut to: TcpStream, mut pass: Pass) {
    let mut buffer = vec![0; 64 << 10];
    let passed = loop {
        match from.read(&mut buffer) {
            Ok(n @ 1..) => {
                if let Err(error) = pass(&buffer[..n], &mut to) {
                    break Err(error);
                }
            }
            Ok(_) => break Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    let _ = to.shutdown(Shutdown::Both);
    if passed.is_err() {
        let _ = from.shutdown(Shutdown::Both);
    }
}

/// A port that sends back what it gets.
#[cfg(test)]
pub(crate) fn echo() -> String {
    accept(|stream| {
        let (mut from, mut to) = (stream.try_clone().unwrap(), stream);
        let _ = io::copy(&mut from, &mut to);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_both_ways_and_an_end_is_an_end_for_both() {
        let shout: fn() -> Pass = || Box::new(|bytes, to| to.write_all(&bytes.to_ascii_uppercase()));
        let addr = carry(&echo(), move |_, _| Some(Ways { up: all(), down: shout() }));
        let mut stream = TcpStream::connect(&addr).unwrap();
        stream.write_all(b"film").unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"FILM");
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut back).unwrap(), 0);
    }

    #[test]
    fn who_is_not_let_in_or_finds_no_target_is_closed() {
        let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        for addr in
            [carry(&echo(), |_, _| None), carry(&nowhere, |_, _| Some(Ways { up: all(), down: all() }))]
        {
            let mut stream = TcpStream::connect(&addr).unwrap();
            assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
        }
    }
}
