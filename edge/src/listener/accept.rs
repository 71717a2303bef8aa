//! Accepting, whatever the system says.
//!
//! A connection that died while it waited in the backlog is nobody's problem: the next one is accepted at once. When the process or the
//! system is out of descriptors, accepting again at once would spin, and not accepting would leave peers waiting in
//! the backlog for an answer that doesn't come. So one descriptor is kept in reserve: it is given up to accept the
//! connection and close it, and then opened again. Whatever else goes wrong is tried again after a pause that doubles up to [`LONGEST`].

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Duration, sleep};
use tracing::warn;

use crate::metrics::Metrics;

const SHORTEST: Duration = Duration::from_millis(5);
/// Longest pause after a failure.
pub const LONGEST: Duration = Duration::from_secs(1);
/// How long the reserve is given up for.
const SHED: Duration = Duration::from_millis(20);

/// A listener that only ever yields connections.
pub struct Acceptor {
    listener: TcpListener,
    reserve: Option<File>,
    pause: Duration,
    metrics: Arc<Metrics>,
}

/// What a failed accept means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// That connection is gone; others wait.
    Connection,
    /// The process (EMFILE) or the system (ENFILE) has no descriptor left.
    Descriptors,
    /// Memory, a broken socket, or anything else.
    Other,
}

fn judge(error: &Error) -> Failure {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match (error.raw_os_error(), error.kind()) {
        (Some(ENFILE | EMFILE), _) => Failure::Descriptors,
        (_, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted) => {
            Failure::Connection
        }
        _ => Failure::Other,
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Acceptor {
    /// Accepts on `listener`.
    pub fn new(listener: TcpListener, metrics: Arc<Metrics>) -> Self {
        Self { listener, reserve: reserve(), pause: SHORTEST, metrics }
    }

    /// The next connection. Cancel-safe.
    pub async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let error = match self.listener.accept().await {
                Ok(accepted) => {
                    self.pause = SHORTEST;
                    return accepted;
                }
                Err(error) => error,
            };
            match judge(&error) {
                Failure::Connection => {}
                Failure::Descriptors => {
                    self.metrics.refused.with_label_values(&["descriptors"]).inc();
                    if self.reserve.take().is_some() {
                        // Another thread may take the freed descriptor first; then this ends without having accepted.
                        let _ = tokio::time::timeout(SHED, self.listener.accept()).await;
                        self.reserve = reserve();
                        sleep(SHORTEST).await;
                    } else {
                        self.reserve = reserve();
                        self.rest(&error).await;
                    }
                }
                Failure::Other => {
                    self.metrics.refused.with_label_values(&["accept"]).inc();
                    self.rest(&error).await;
                }
            }
        }
    }

    async fn rest(&mut self, error: &Error) {
        warn!(%error, pause_ms = self.pause.as_millis() as u64, "accept failed");
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let os = |code| judge(&Error::from_raw_os_error(code));
        assert_eq!((os(24), os(23)), (Failure::Descriptors, Failure::Descriptors));
        // ECONNABORTED, EINTR; ENOBUFS, ENOMEM, EINVAL.
        assert_eq!((os(103), os(4)), (Failure::Connection, Failure::Connection));
        assert_eq!((os(105), os(12), os(22)), (Failure::Other, Failure::Other, Failure::Other));
    }
}
