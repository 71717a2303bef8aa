//! A real etcd on loopback for tests, in a folder of its own; killed with its owner.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::store::Store;
use crate::store::etcd::{Etcd, EtcdConfig};

pub(crate) struct EtcdProcess {
    dir: tempfile::TempDir,
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl EtcdProcess {
    pub(crate) async fn start() -> Self {
        // Ports are free when asked for, not when etcd binds them: another process may be quicker.
        for _ in 0..5 {
            let (client_port, peer_port) = (free_port(), free_port());
            let mut etcd = Self { dir: tempfile::tempdir().unwrap(), client_port, peer_port, child: None };
            etcd.spawn();
            if etcd.answers().await {
                return etcd;
            }
        }
        panic!("etcd did not start");
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    pub(crate) fn store(&self, prefix: &str) -> Store {
        Arc::new(Etcd::new(EtcdConfig {
            endpoints: vec![self.endpoint()],
            prefix: prefix.into(),
            user: None,
            password: None,
        }))
    }

    /// Kills it with its data in place.
    pub(crate) async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.spawn();
        assert!(self.answers().await, "etcd did not restart");
    }

    /// Empties it, as if it had been rebuilt from an old backup.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.dir.path().join("data")).unwrap();
    }

    fn spawn(&mut self) {
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let child = Command::new("etcd")
            .args(["--name", "one", "--log-level", "error"])
            .arg("--data-dir")
            .arg(self.dir.path().join("data"))
            .args(["--listen-client-urls", &self.endpoint(), "--advertise-client-urls", &self.endpoint()])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("one={peer}")])
            .env_remove("ETCD_NAME")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("etcd is installed");
        self.child = Some(child);
    }

    async fn answers(&mut self) -> bool {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while tokio::time::Instant::now() < deadline {
            if self.child.as_mut().is_some_and(|c| c.try_wait().unwrap().is_some()) {
                return false;
            }
            if self.store("probe").head().await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }
}
