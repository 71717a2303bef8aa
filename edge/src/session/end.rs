//! Why a session ended: what is logged, and what it counts under.

use crate::rtmp::amf::AmfError;
use crate::rtmp::chunk::ChunkError;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the viewer left")]
    PeerClosed,
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    #[error("handshake: {0}")]
    Handshake(String),
    #[error("protocol: {0}")]
    Protocol(String),
    /// A limit on what one message or connection may make us hold: its name in metrics, and what was too much.
    #[error("{0}: {1}")]
    Limit(&'static str, String),
    #[error("rejected: {0}")]
    Rejected(&'static str),
    #[error("nothing was heard for too long ({0})")]
    Silent(&'static str),
    #[error("the viewer took no bytes for too long")]
    Stalled,
    #[error("the viewer took no bytes while memory is short")]
    Crowded,
    #[error("the edge is shutting down")]
    Shutdown,
    #[error("the distribution was disabled or deleted")]
    Withdrawn,
    #[error("a defect of the edge: the session panicked")]
    Panicked,
}

impl End {
    pub(super) fn label(&self) -> &'static str {
        match self {
            End::PeerClosed => "peer_closed",
            End::Io(_) => "io",
            End::Handshake(_) => "handshake",
            End::Protocol(_) => "protocol",
            End::Limit(..) => "limit",
            End::Rejected(_) => "rejected",
            End::Silent(_) => "silent",
            End::Stalled => "stalled",
            End::Crowded => "crowded",
            End::Shutdown => "shutdown",
            End::Withdrawn => "withdrawn",
            End::Panicked => "panicked",
        }
    }

    /// The limit that ended it, if one did: what it is counted under in [`crate::metrics::Metrics::refused`].
    pub(super) fn limit(&self) -> Option<&'static str> {
        match self {
            End::Limit(limit, _) => Some(limit),
            End::Silent("handshake") => Some("handshake_timeout"),
            End::Silent("connect") => Some("connect_timeout"),
            End::Silent(_) => Some("idle_timeout"),
            End::Stalled => Some("stall_timeout"),
            _ => None,
        }
    }
}

impl From<ChunkError> for End {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::TooManyChunkStreams(_) => End::Limit("chunk_streams", error.to_string()),
            _ => End::Protocol(error.to_string()),
        }
    }
}

impl From<AmfError> for End {
    fn from(error: AmfError) -> Self {
        match error {
            AmfError::TooDeep => End::Limit("amf_depth", error.to_string()),
            AmfError::TooManyValues => End::Limit("amf_values", error.to_string()),
            _ => End::Protocol(format!("command: {error}")),
        }
    }
}
