//! SIGTERM and SIGINT: how a process is asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals, caught from [`StopSignal::new`] on, so that one that comes early is not lost.
pub struct StopSignal {
    term: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// Starts catching; must be called inside a runtime.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when one of them came.
    pub async fn received(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
