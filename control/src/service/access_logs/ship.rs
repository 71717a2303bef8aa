//! An edge hands over a segment.
//!
//! Refused as invalid is only what will never do, at no replica and at no time, for the edge then sets the segment aside; for all else it tries again,
//! here or at another replica. Who may speak for the segment's edge is asked before anything is written.

use proto::status::Reason;
use proto::token::Caller;
use proto::v1::{ShipRequest, ShipResponse};
use tonic::{Request, Status};

use super::Logs;
use super::gate::Place;
use crate::access_log::stage::{StageError, Staged};
use crate::service::calls::{of_store, refused};
use crate::service::rights;

pub(super) async fn ship(logs: &Logs, request: Request<ShipRequest>) -> Result<ShipResponse, Status> {
    let caller = Caller::of(&request)?;
    rights::may_ship(&caller)?;
    let Some(stage) = &logs.stage else {
        return Err(refused(
            Reason::Unavailable,
            "this control takes no access logs: it has no logs.staging",
        ));
    };
    let place = request.extensions().get::<Place>().cloned();
    let file = request.into_inner().segment;
    let segment = stage.verify(file.clone(), place).await.map_err(of_stage)?;
    rights::may_ship_for(&caller, &segment.id.edge_id, &logs.views.borrow())?;
    let staged = stage.stage(&segment, file).await.map_err(|error| {
        tracing::warn!(segment = %segment.id, %error, "a segment of access logs was not staged");
        of_stage(error)
    })?;
    tracing::debug!(segment = %segment.id, records = segment.footer.records, ?staged, "access logs");
    Ok(ShipResponse { repeated: staged == Staged::Repeated })
}

fn of_stage(error: StageError) -> Status {
    match error {
        StageError::Invalid(reason) => refused(Reason::Invalid, reason),
        StageError::Bucket(_) | StageError::Unverified(_) => refused(Reason::Unavailable, error.to_string()),
        StageError::Store(error) => of_store(error),
    }
}

#[cfg(test)]
mod tests {
    use proto::status::RemoteError;

    use super::*;
    use crate::access_log::bucket::BucketError;
    use crate::store::StoreError;

    #[test]
    fn only_a_segments_form_makes_an_edge_set_it_aside() {
        let reason = |error: StageError| RemoteError::from(of_stage(error)).reason;
        assert_eq!(reason(StageError::Invalid("no footer".into())), Reason::Invalid);
        assert_eq!(reason(StageError::Unverified("panic".into())), Reason::Unavailable);
        assert_eq!(reason(StageError::Bucket(BucketError::Away("x".into()))), Reason::Unavailable);
        assert_eq!(reason(StageError::Store(StoreError::Away("x".into()))), Reason::Unavailable);
        assert_eq!(reason(StageError::Store(StoreError::Conflict { key: "x".into() })), Reason::Overloaded);
    }
}
