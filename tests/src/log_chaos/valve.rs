//! A way between two boxes that can be closed, or made to swallow what goes in, while connections run through it.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};

use crate::splice::{self, Pass, Ways};

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
    /// Lets a connection in, and takes note of it.
    fn admit(&self, client: &TcpStream, server: &TcpStream) -> bool {
        // Under the lock that `set` takes: no connection slips in between.
        let fault = self.fault.lock().unwrap();
        let (Ok(client), Ok(server)) = (client.try_clone(), server.try_clone()) else { return false };
        if *fault == Fault::Closed {
            return false;
        }
        let mut open = self.open.lock().unwrap();
        // What has ended is forgotten: a storm opens thousands.
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend([client, server]);
        true
    }

    /// What becomes of bytes that go one way.
    fn pass(self: &Arc<Self>, upward: bool) -> Pass {
        let own = self.clone();
        Box::new(move |bytes, to| {
            let fault = *own.fault.lock().unwrap();
            let lost = match fault {
                Fault::None => false,
                Fault::Silent | Fault::Closed => true,
                Fault::Deaf => !upward,
            };
            if lost { Ok(()) } else { to.write_all(bytes) }
        })
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
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let addr = splice::carry(target, move |client, server| {
            own.admit(client, server).then(|| Ways { up: own.pass(true), down: own.pass(false) })
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;

    fn ask(stream: &mut TcpStream) -> Option<u8> {
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream.write_all(&[7]).ok()?;
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    #[test]
    fn each_fault_does_what_it_says_and_ends() {
        let valve = Valve::start(&splice::echo());
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
