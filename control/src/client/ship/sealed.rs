//! What shipping asks of a spool.

use std::path::PathBuf;

use proto::access_log::SegmentId;

/// A sealed segment, to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its name.
    pub id: SegmentId,
    /// The file; it may be gone when it is read.
    pub path: PathBuf,
    /// Records in it.
    pub records: u64,
    /// Its length.
    pub bytes: u64,
}

/// A spool, as far as shipping has to do with it.
pub trait Sealed: Send + Sync + 'static {
    /// The oldest sealed segment, waited for; the same one until it is done with. May be dropped at any point.
    fn next_sealed(&self) -> impl Future<Output = SealedSegment> + Send;

    /// A segment was acknowledged, or is not there any more.
    fn forget(&self, id: &SegmentId);

    /// A segment will never be taken: it is kept aside, out of the way.
    fn set_aside(&self, segment: &SealedSegment);

    /// Segments that are sealed and not done with.
    fn waiting(&self) -> usize;

    /// Seals what was recorded up to now. False: that did not work, or not in time.
    fn seal(&self) -> impl Future<Output = bool> + Send;
}
