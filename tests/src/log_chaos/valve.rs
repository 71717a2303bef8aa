//! A way between two boxes that can be closed, or made to swallow what goes in, while connections run through it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is wrong with the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Connections are cut, new ones are closed at once.
    Closed,
    /// Connections stay, and what goes in either way is gone.
    Silent,
    /// What the client says arrives; the answers are gone. The nastiest: the work is done, and nobody hears of it.
    Deaf,
}

#[derive(Default)]
struct Shared {
    fault: Mutex<Fault>,
    open: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }
}

/// The way; it ends with the test process.
pub struct Valve {
    addr: String,
    shared: Arc<Shared>,
}

impl Valve {
    /// One to `target` (`IP:PORT`), open.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (target, own) = (target.to_owned(), shared.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A target that isn't there closes the client: as near to a refusal as a relay comes.
                let Ok(server) = TcpStream::connect(&target) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let copies = (client.try_clone(), server.try_clone(), client.try_clone(), server.try_clone());
                let (Ok(up), Ok(down), Ok(kept), Ok(kept_too)) = copies else { continue };
                {
                    // Under the lock that `set` takes: no connection slips in between.
                    let fault = own.fault.lock().unwrap();
                    if *fault == Fault::Closed {
                        continue;
                    }
                    own.open.lock().unwrap().extend([kept, kept_too]);
                }
                let (a, b) = (own.clone(), own.clone());
                std::thread::spawn(move || carry(up, server, &a, true));
                std::thread::spawn(move || carry(down, client, &b, false));
            }
        });
        Self { addr, shared }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Makes it so. Connections that may have lost bytes are cut when a fault ends.
    pub fn set(&self, fault: Fault) {
        let mut now = self.shared.fault.lock().unwrap();
        let before = std::mem::replace(&mut *now, fault);
        if before != Fault::None || fault == Fault::Closed {
            for stream in self.shared.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Shared, upward: bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let lost = match shared.fault() {
            Fault::None => false,
            Fault::Silent | Fault::Closed => true,
            Fault::Deaf => !upward,
        };
        if !lost && to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
    // What has ended is forgotten: a storm opens thousands.
    let gone = |stream: &TcpStream| stream.peer_addr().is_err();
    shared.open.lock().unwrap().retain(|stream| !gone(stream));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut copy = stream.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut copy, &mut stream));
            }
        });
        addr
    }

    fn ask(stream: &mut TcpStream) -> Option<u8> {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream.write_all(&[7]).ok()?;
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    #[test]
    fn each_fault_does_what_it_says_and_ends() {
        let valve = Valve::start(&echo());
        let open = || TcpStream::connect(valve.addr()).unwrap();
        for fault in [Fault::Closed, Fault::Silent, Fault::Deaf] {
            let mut before = open();
            assert_eq!(ask(&mut before), Some(7));
            valve.set(fault);
            assert_eq!(ask(&mut before), None, "{fault:?}");
            assert_eq!(ask(&mut open()), None, "{fault:?}");
            valve.set(Fault::None);
            assert_eq!(ask(&mut before), None, "a connection that lost bytes never goes on");
            assert_eq!(ask(&mut open()), Some(7));
        }
    }
}
