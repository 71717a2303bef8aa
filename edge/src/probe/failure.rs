//! Why a probe fails, and what it exits with.

/// What went wrong, in the words the operator reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The server can't be reached, or doesn't speak what was asked for: name, TCP, TLS, tunnel, handshake.
    #[error("{0}")]
    Connect(String),
    /// The server refused the connection's `connect`.
    #[error("{0}")]
    Rejected(String),
    /// The stream can't be played, or broke.
    #[error("{0}")]
    Stream(String),
    /// Everything was granted, but no frame came.
    #[error("{0}")]
    NoFrame(String),
    /// Frames came, and then none for too long.
    #[error("{0}")]
    Stalled(String),
}

impl Failure {
    /// The process's exit code; 0 is a probe that played.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Connect(_) => 3,
            Self::Rejected(_) => 4,
            Self::Stream(_) => 5,
            Self::NoFrame(_) => 6,
            Self::Stalled(_) => 7,
        }
    }
}
