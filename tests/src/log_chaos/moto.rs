//! moto's S3 server, as tests/api/moto/run starts it: an S3 implementation that isn't ours. It keeps objects in memory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::boxes::S3Place;
use crate::cluster::{Node, free};
use crate::{eventually, http};

/// A running one, ended when dropped.
pub struct Moto {
    node: Node,
}

impl Moto {
    /// Installs it if need be, and starts it.
    pub fn start(folder: &Path) -> Self {
        let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("api/moto/run");
        let done = Command::new(&run).arg("--install").output().unwrap();
        assert!(done.status.success(), "{}: {}", run.display(), String::from_utf8_lossy(&done.stderr));
        let addr = free();
        let words = addr.rsplit_once(':').map(|(host, port)| vec![host.to_owned(), port.to_owned()]).unwrap();
        let mut node = Node::start("moto", run, words, addr.clone(), addr, folder);
        eventually("moto", Duration::from_secs(60), || {
            if let Some(status) = node.process.ended() {
                panic!("moto ended with {status}\n{}", node.process.log());
            }
            http::get(&node.addr, "/").is_ok_and(|answer| answer.status == 200).then_some(())
        });
        Self { node }
    }

    /// Where it is; it takes any keys.
    pub fn place(&self) -> S3Place {
        S3Place { addr: self.node.addr.clone(), keys: ("AKIDEXAMPLE".into(), "any-secret".into()) }
    }
}
