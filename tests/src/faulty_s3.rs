//! An S3 endpoint that misbehaves on command: a relay between the shields and a real one.
//!
//! It reads requests, writes each down, looks for the first [`Rule`] that fits, and otherwise passes request and answer
//! through (the `Host` header too, so signatures hold). Rules come and go while connections are open; [`FaultyS3::heal`]
//! removes them all and ends whatever they still hold. Requests with bodies are not for it. [`FaultyS3::down`] closes the port, as
//! if the machine were gone; [`FaultyS3::up`] opens the same one again.

mod answer;
mod head;
mod rule;

use std::io::ErrorKind;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use rule::{Fault, Hits, Rule};

use crate::counting_proxy::Request;
use head::Head;

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    rules: Mutex<Vec<Rule>>,
    /// Moves with every [`FaultyS3::heal`]: what a fault holds is held for one generation.
    generation: AtomicU64,
    down: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Shared {
    /// Whether a connection opened in `generation` may go on.
    fn holds(&self, generation: u64) -> bool {
        self.generation.load(Ordering::SeqCst) == generation && !self.down.load(Ordering::SeqCst)
    }
}

/// The relay; it ends with the test process.
pub struct FaultyS3 {
    addr: String,
    shared: Arc<Shared>,
}

impl FaultyS3 {
    /// One before the HTTP server at `target` (`IP:PORT`), so far without faults.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (target, port, seen) = (target.to_owned(), addr.clone(), shared.clone());
        std::thread::spawn(move || accept(listener, &port, &target, &seen));
        Self { addr, shared }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// From now on requests that fit `rule` suffer its fault. Earlier rules are looked at first.
    pub fn add(&self, rule: Rule) -> Hits {
        let hits = rule.hits();
        self.shared.rules.lock().unwrap().push(rule);
        hits
    }

    /// Removes every rule; what stalls or waits is cut off.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Closes the port and every connection.
    pub fn down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // The acceptor lets go of the port within a turn of its loop.
        crate::eventually("the port to close", Duration::from_secs(5), || {
            TcpStream::connect(&self.addr).is_err().then_some(())
        });
    }

    /// Opens the port again.
    pub fn up(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
        crate::eventually("the port to open", Duration::from_secs(5), || TcpStream::connect(&self.addr).ok());
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// GETs whose target contains `part`.
    pub fn gets(&self, part: &str) -> Vec<Request> {
        self.of("GET", part)
    }

    /// HEADs whose target contains `part`.
    pub fn heads(&self, part: &str) -> Vec<Request> {
        self.of("HEAD", part)
    }

    fn of(&self, method: &str, part: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|r| r.method == method && r.target.contains(part)).collect()
    }
}

fn accept(listener: TcpListener, port: &str, target: &str, shared: &Arc<Shared>) {
    let mut listening = Some(listener);
    loop {
        match &listening {
            _ if shared.down.load(Ordering::SeqCst) => {
                listening = None;
                std::thread::sleep(Duration::from_millis(5));
            }
            None => listening = TcpListener::bind(port).ok(),
            Some(listener) => {
                listener.set_nonblocking(true).unwrap();
                match listener.accept() {
                    Ok((client, _)) => {
                        let (target, shared) = (target.to_owned(), shared.clone());
                        std::thread::spawn(move || {
                            let _ = serve(client, &target, &shared);
                        });
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(_) => {}
                }
            }
        }
    }
}

/// One connection of a shield, with one to the server behind it.
fn serve(mut client: TcpStream, target: &str, shared: &Arc<Shared>) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_nodelay(true)?;
    shared.open.lock().unwrap().push(client.try_clone()?);
    let mut server = TcpStream::connect(target)?;
    server.set_nodelay(true)?;
    let mut held = Vec::new();
    while let Some(head) = Head::read(&mut client, &mut held)? {
        let generation = shared.generation.load(Ordering::SeqCst);
        let request = Request {
            method: head.method().to_owned(),
            target: head.target().to_owned(),
            range: head.range(),
            at: Instant::now(),
        };
        let fault = {
            let mut rules = shared.rules.lock().unwrap();
            rules.iter_mut().find_map(|rule| rule.apply(&request, &head))
        };
        shared.requests.lock().unwrap().push(request);
        let going_on = answer::give(&mut client, &mut server, head, fault, &|| shared.holds(generation))?;
        if !going_on {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    Ok(())
}
