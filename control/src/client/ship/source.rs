//! What shipping asks of a spool.

use proto::access_log::SegmentId;

use crate::client::spool::{SealedSegment, Spool};

/// A spool, as far as shipping has to do with it.
pub trait SegmentSource: Send + Sync + 'static {
    /// The oldest sealed segment, waited for; the same one until it is done with. May be dropped at any point.
    fn next_sealed(&self) -> impl Future<Output = SealedSegment> + Send;

    /// A segment was acknowledged, or is not there any more.
    fn forget(&self, id: &SegmentId);

    /// Its handing over has failed, and goes on only after a while.
    fn not_taken(&self, id: &SegmentId);

    /// A segment will never be taken: it is kept aside, out of the way.
    fn set_aside(&self, segment: &SealedSegment);

    /// Segments that are sealed and not done with.
    fn waiting(&self) -> usize;

    /// Seals what was recorded up to now. False: that did not work, or not in time.
    fn seal(&self) -> impl Future<Output = bool> + Send;
}

impl SegmentSource for Spool {
    fn next_sealed(&self) -> impl Future<Output = SealedSegment> + Send {
        Self::next_sealed(self)
    }

    fn forget(&self, id: &SegmentId) {
        Self::forget(self, id);
    }

    fn not_taken(&self, id: &SegmentId) {
        Self::not_taken(self, id);
    }

    fn set_aside(&self, segment: &SealedSegment) {
        Self::set_aside(self, segment);
    }

    fn waiting(&self) -> usize {
        Self::waiting(self).segments
    }

    fn seal(&self) -> impl Future<Output = bool> + Send {
        Self::seal(self)
    }
}
