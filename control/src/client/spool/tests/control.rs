//! What control does with segments, as far as a spool can tell: takes each once, by the high-water mark of its epoch.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use proto::access_log::{Segment, SegmentId};
use proto::v1::AccessRecord;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Control {
    marks: HashMap<String, u64>,
    taken: HashMap<SegmentId, Bytes>,
    pub(crate) records: Vec<AccessRecord>,
    pub(crate) repeats: usize,
}

impl Control {
    /// Takes the segment in a file.
    pub(crate) fn ship(&mut self, path: &Path, id: &SegmentId) {
        self.take(std::fs::read(path).unwrap(), id);
    }

    /// Takes a segment.
    pub(crate) fn take(&mut self, bytes: Vec<u8>, id: &SegmentId) {
        let bytes = Bytes::from(bytes);
        let segment = Segment::verify(bytes.clone()).unwrap_or_else(|e| panic!("{id}: {e}"));
        assert_eq!(segment.id, *id);
        assert!(segment.footer.records > 0, "{id} is empty");
        let mark = self.marks.entry(id.epoch.clone()).or_default();
        if id.number <= *mark {
            // What was acknowledged under this name was this.
            assert_eq!(self.taken.get(id), Some(&bytes), "{id} is another segment than before");
            self.repeats += 1;
            return;
        }
        *mark = id.number;
        self.records.extend(segment.records().map(|record| record.unwrap().0));
        self.taken.insert(id.clone(), bytes);
    }
}
