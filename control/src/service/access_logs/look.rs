//! What operators see: records on their way, and how the logs of each distribution stand.

use futures::StreamExt;
use futures::stream::BoxStream;
use proto::status::Reason;
use proto::v1::{LogStatsRequest, LogStatsResponse, TailEvent, TailRequest};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Logs;
use crate::access_log::stats::{self, Asked};
use crate::access_log::tail::TailError;
use crate::service::calls::{of_store, refused};

/// Records on their way to an operator.
pub(super) type Events = BoxStream<'static, Result<TailEvent, Status>>;

fn of_tail(error: TailError) -> Status {
    match error {
        TailError::TooMany => refused(Reason::Overloaded, error.to_string()),
        TailError::Store(error) => of_store(error),
    }
}

pub(super) async fn tail(logs: &Logs, request: TailRequest) -> Result<Events, Status> {
    let Some(tails) = &logs.tails else {
        return Err(refused(
            Reason::Unavailable,
            "this control takes no access logs: it has no logs.staging",
        ));
    };
    let events = tails.open(request, logs.shutdown.clone()).await.map_err(of_tail)?;
    Ok(ReceiverStream::new(events).map(|event| event.map_err(of_tail)).boxed())
}

/// Needs no staging bucket: the ledger is in the store.
pub(super) async fn stats(logs: &Logs, request: &LogStatsRequest) -> Result<LogStatsResponse, Status> {
    let view = logs.views.borrow().clone();
    let asked = Asked {
        distribution_id: &request.distribution_id,
        after: &request.after,
        limit: request.limit as usize,
    };
    stats::read(&*logs.store, &view, asked, logs.clock.now_ms()).await.map_err(of_store)
}
