//! Who is let in: a refusal before the process suffers, in terms the peer understands.
//!
//! | where | refused | how the peer hears of it |
//! |---|---|---|
//! | accept | connections past `max_connections`, or while sessions are over their memory | the connection is closed |
//! | first byte | connections past `max_connections_per_address` | the connection is closed |
//! | connect | while draining, short of memory, or with egress used up | `_error`, NetConnection.Connect.Rejected with the code below, `close` |
//! | play | while short of memory | NetStream.Failed |
//!
//! Each moves `penstock_edge_refused_total` by reason, connects also `penstock_edge_rejected_total` by code. What was let in is not sent away
//! again for want of room, except viewers that take nothing of what is queued for them ([`crate::budget`]).

use tokio::time::Instant;

use crate::budget::Pressure;
use crate::drain::Phase;
use crate::session::Shared;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The edge is about to stop.
    Draining,
    /// Sessions hold as much memory as they may.
    Memory,
    /// Everything the edge may send is promised already.
    Egress,
}

impl Refusal {
    /// Its label in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Memory => "memory",
            Self::Egress => "egress",
        }
    }

    /// The code a rejected connect carries.
    pub fn code(self) -> &'static str {
        match self {
            Self::Draining => "ServerDraining",
            Self::Memory | Self::Egress => "ServerBusy",
        }
    }

    /// A sentence for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Draining => "the server is shutting down; connect again to reach another",
            Self::Memory => "the server has no memory left for more viewers",
            Self::Egress => "the server has no bandwidth left for more viewers",
        }
    }
}

impl Shared {
    /// Whether a connection may be accepted.
    pub fn admit_connection(&self) -> Result<(), Refusal> {
        if self.budget().pressure() >= Pressure::Over { Err(Refusal::Memory) } else { Ok(()) }
    }

    /// Whether a connect may be granted.
    pub fn admit_connect(&self) -> Result<(), Refusal> {
        if self.drain.phase() >= Phase::Draining {
            Err(Refusal::Draining)
        } else if self.budget().pressure() >= Pressure::Full {
            Err(Refusal::Memory)
        } else if self.egress.is_saturated(Instant::now()) {
            Err(Refusal::Egress)
        } else {
            Ok(())
        }
    }

    /// Whether a play may begin; one whose file is `open` already has less to ask for.
    pub fn admit_play(&self, open: bool) -> Result<(), Refusal> {
        let limit = if open { Pressure::Over } else { Pressure::Full };
        if self.budget().pressure() >= limit { Err(Refusal::Memory) } else { Ok(()) }
    }
}
