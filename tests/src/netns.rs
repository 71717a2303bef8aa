//! Network namespaces of the test's own, so that a bad network harms nobody else.
//!
//! A [`Netns`] is a network stack with nothing in it but its loopback; [`Netns::join`] puts a cable (a veth pair) between two. Whatever is
//! done [`within`](Netns::within) one happens there: sockets opened, processes started (see [`crate::process`]), metrics asked for. Sockets stay
//! where they were made, so a client made within may be used from anywhere.
//!
//! What can go wrong with a network is said with the kernel's own tools: packets lost or too big by nftables, reordered by two classes of
//! HTB, rates by TBF, cuts by taking the link down. Delay is [`crate::relay`]'s: it needs netem, which many kernels don't have.
//!
//! All of it needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN), `ip` and `tc` (iproute2) and `nft` (nftables). Without root, [`Netns::new`] gives
//! `None` and says so on stderr, past the test harness's capture; with root, a missing tool is a failure. Names carry our process id:
//! what a killed test run left is removed by the next.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub mod faults;
pub mod lab;

pub use lab::Lab;

/// A thread's network namespace, to go back to or to follow it into.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// The calling thread's.
    pub fn here() -> std::io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(Self)
    }

    /// Moves the calling thread into it; costs nothing, and needs no right, where it is there already.
    pub fn enter(&self) -> std::io::Result<()> {
        if Self::here()?.0.metadata()?.ino() == self.0.metadata()?.ino() {
            return Ok(());
        }
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

thread_local! {
    static HOST: RefCell<String> = RefCell::new("127.0.0.1".into());
}

/// The address that servers started on this thread listen on: the one on the cable within a namespace that has one, else loopback.
/// An IPv6 address has its brackets.
pub fn host() -> String {
    HOST.with(|host| host.borrow().clone())
}

/// One namespace, removed when dropped. (Processes still in it keep its inside alive until they end.)
#[derive(Debug)]
pub struct Netns {
    name: String,
    host: Mutex<String>,
}

const PREFIX: &str = "penstock";

impl Netns {
    /// A new one with its loopback up, or `None` (and a word on stderr) where the right to make one is missing.
    pub fn new(label: &str) -> Option<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        static STALE: Once = Once::new();
        if !is_root() {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let _ =
                writeln!(std::io::stderr(), "{test}: NOT RUN: it makes network namespaces, which needs root");
            return None;
        }
        STALE.call_once(remove_stale);
        let name =
            format!("{PREFIX}-{}-{}-{label}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        command("ip", &["netns", "add", &name]);
        let made = Self { name, host: Mutex::new(host()) };
        made.ip("link set lo up");
        Some(made)
    }

    /// Runs `work` on a thread inside; a panic there is a panic here.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        let name = std::thread::current().name().unwrap_or("within").to_owned();
        let address = self.host.lock().unwrap().clone();
        std::thread::scope(|scope| {
            let inside = move || {
                let namespace =
                    Namespace(File::open(&path).unwrap_or_else(|e| panic!("network namespace {path}: {e}")));
                namespace.enter().unwrap_or_else(|e| panic!("enter {path}: {e}"));
                HOST.with(|host| *host.borrow_mut() = address);
                work()
            };
            let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, inside).unwrap();
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// `ip WORDS` inside; panics with what it says if it fails.
    pub fn ip(&self, words: &str) {
        let mut all = vec!["-n", &self.name];
        all.extend(words.split_whitespace());
        command("ip", &all);
    }

    /// `tc WORDS` inside.
    pub fn tc(&self, words: &str) {
        let mut all = vec!["-n", &self.name];
        all.extend(words.split_whitespace());
        command("tc", &all);
    }

    /// Any program inside, with a text on its standard input; gives its exit code and output.
    pub fn run(&self, words: &[&str], input: &str) -> (Option<i32>, String) {
        let mut all = vec!["netns", "exec", &self.name];
        all.extend(words);
        feed("ip", &all, input)
    }

    /// Sets a kernel parameter of this network stack (`net.ipv4.tcp_mtu_probing`).
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.within(|| std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path} = {value}: {e}")));
    }

    /// Takes IPv4 away: `::1` is all there is.
    pub fn only_ipv6(&self) {
        self.ip("-4 address flush dev lo");
        *self.host.lock().unwrap() = "[::1]".into();
    }

    /// Lays a cable from `device` here to `peer_device` in `peer`, each with its address (`10.78.0.1/24`, `fd00::1/64`), both ends up.
    ///
    /// Segmentation is left to TCP: with the offload a veth has, one lost or delayed "packet" would be 64 KiB.
    pub fn join(&self, device: &str, address: &str, peer: &Netns, peer_device: &str, peer_address: &str) {
        self.ip(&format!("link add {device} type veth peer name {peer_device} netns {}", peer.name));
        for (end, device, address) in [(self, device, address), (peer, peer_device, peer_address)] {
            // No duplicate address detection: an IPv6 address would not be usable for a second.
            let dad = if address.contains(':') { "nodad" } else { "" };
            end.ip(&format!("address add {address} dev {device} {dad}"));
            let bare = address.split('/').next().unwrap();
            *end.host.lock().unwrap() =
                if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
            end.ip(&format!("link set {device} gso_max_segs 1 gso_max_size 1500 up"));
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = feed("ip", &["netns", "del", &self.name], "");
    }
}

/// Whether this process may do what root may; `false` skips a test, with a word on stderr.
pub fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:"));
    uid.and_then(|l| l.split_whitespace().nth(1)) == Some("0")
}

/// Removes namespaces of test runs that are gone.
fn remove_stale() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')?.split('-').next());
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            let _ = feed("ip", &["netns", "del", &name], "");
        }
    }
}

/// Runs a tool that must succeed.
fn command(program: &str, args: &[&str]) {
    let (code, said) = feed(program, args, "");
    assert_eq!(code, Some(0), "{program} {}: {said}", args.join(" "));
}

fn feed(program: &str, args: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e} (tests/run names the packages that are needed)"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.code(), said)
}
