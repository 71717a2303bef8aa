//! The smallest bad network: a standalone at one end of a cable, viewers at the other.

use std::path::Path;

use super::Netns;
use crate::players::{self, Outcome};
use crate::standalone::{Options, Standalone};

/// The server's end of the cable.
pub const SERVER_DEVICE: &str = "s0";
/// The viewers' end.
pub const VIEWER_DEVICE: &str = "v0";
const SERVER_IP: &str = "10.78.0.1";
const VIEWER_IP: &str = "10.78.0.2";

/// Two namespaces, a cable, a running standalone.
pub struct Lab {
    /// Where the server is.
    pub near: Netns,
    /// Where viewers are.
    pub far: Netns,
    /// The server.
    pub server: Standalone,
}

impl Lab {
    /// One whose server is started with `options`; `None` where namespaces can't be made.
    pub fn new(options: Options) -> Option<Self> {
        let (near, far) = (Netns::new("near")?, Netns::new("far")?);
        near.join(SERVER_DEVICE, &format!("{SERVER_IP}/24"), &far, VIEWER_DEVICE, &format!("{VIEWER_IP}/24"));
        let server = near.within(|| Standalone::with(options));
        Some(Self { near, far, server })
    }

    /// The sum of all samples of one of the server's metrics.
    pub fn metric(&self, name: &str) -> f64 {
        self.near.within(|| self.server.metric(name))
    }

    /// One sample, by its full name with labels; 0 if it isn't there.
    pub fn sample(&self, name: &str) -> f64 {
        self.near.within(|| self.server.metrics()).get(name).copied().unwrap_or(0.0)
    }

    /// Downloads `play` with rtmpdump at the far end.
    pub fn download(&self, play: &str, to: &Path, more: &[&str]) -> Outcome {
        self.far.within(|| players::rtmpdump(self.server.rtmp(), play, to, more))
    }
}
