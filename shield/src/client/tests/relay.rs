//! A TCP relay in front of a shield that can be slow, silent or gone: a stopped process, a full link, a partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the relay treats connections, open ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    /// So many bytes a second towards the client.
    Rate(u64),
    /// Accepts, and forwards nothing.
    Silent,
    /// Cuts what is open, and whatever is opened at once.
    Cut,
}

pub(super) struct Relay {
    pub(super) address: String,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicU64>,
}

impl Relay {
    pub(super) async fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, modes) = watch::channel(Mode::Pass);
        let accepted = Arc::new(AtomicU64::new(0));
        let (to, count) = (to.to_owned(), accepted.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(relay(client, to.clone(), modes.clone()));
            }
        });
        Self { address, mode, accepted }
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Connections so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

async fn relay(client: TcpStream, to: String, modes: watch::Receiver<Mode>) {
    if *modes.borrow() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(to).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut cut = modes.clone();
    tokio::select! {
        () = copy(from_client, to_server, modes.clone(), false) => {}
        () = copy(from_server, to_client, modes, true) => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut modes: watch::Receiver<Mode>,
    limited: bool,
) {
    let mut piece = vec![0; 16 << 10];
    loop {
        if modes.wait_for(|mode| *mode != Mode::Silent).await.is_err() {
            return;
        }
        let n = match from.read(&mut piece).await {
            Ok(n) if n > 0 => n,
            _ => return,
        };
        let mode = *modes.borrow();
        if let (Mode::Rate(rate), true) = (mode, limited) {
            tokio::time::sleep(Duration::from_secs_f64(n as f64 / rate as f64)).await;
        }
        // What was read as it fell silent waits with the rest.
        if modes.wait_for(|mode| *mode != Mode::Silent).await.is_err()
            || to.write_all(&piece[..n]).await.is_err()
        {
            return;
        }
    }
}
