//! What operators see of access logs.

use proto::status::RemoteError;
use proto::v1::{LogStats, LogStatsRequest, TailEvent, TailRequest};
use tonic::{Request, Streaming};

use super::{Admin, CALL};

/// Distributions asked for at a time.
const PAGE: u32 = 1000;

/// Records as they are staged.
#[derive(Debug)]
pub struct Tail {
    events: Streaming<TailEvent>,
}

impl Tail {
    /// What comes next; `None` when there is no more.
    pub async fn next(&mut self) -> Result<Option<TailEvent>, RemoteError> {
        Ok(self.events.message().await?)
    }
}

impl Admin {
    /// Follows the records of a distribution (empty: of all), as `request` says, until the stream is dropped.
    pub async fn tail_logs(&mut self, request: TailRequest) -> Result<Tail, RemoteError> {
        Ok(Tail { events: self.logs.tail(request).await?.into_inner() })
    }

    /// What was delivered, what waits, and which buckets refuse, for one distribution or (empty) all that have logs.
    pub async fn log_stats(&mut self, distribution_id: &str) -> Result<Vec<LogStats>, RemoteError> {
        let mut all: Vec<LogStats> = Vec::new();
        loop {
            let after = all.last().map(|stats| stats.distribution_id.clone()).unwrap_or_default();
            let asked = LogStatsRequest { distribution_id: distribution_id.into(), after, limit: PAGE };
            let mut request = Request::new(asked);
            request.set_timeout(CALL);
            let page = self.logs.log_stats(request).await?.into_inner();
            let more = page.truncated && !page.distributions.is_empty();
            all.extend(page.distributions);
            if !more {
                return Ok(all);
            }
        }
    }
}
