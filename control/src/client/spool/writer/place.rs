//! A folder that is deleted or moved under a running edge: what is written goes to files without a name, and nobody sees an error.
//!
//! So the part is compared with its name whenever the journal is saved and before it is sealed. Where they differ the folder is made again, and
//! the records that stand in the nameless file are read from it and sealed under the part's number. Sealed segments that went with the folder
//! are found missing, and counted, as their turn to be shipped comes.

use std::io;

use tokio::time::Instant;

use super::Writer;
use crate::client::spool::disk::is_same;
use crate::client::spool::folder::{self, Epochs};

impl Writer {
    /// Sees to it that the part has its name; if that can't be done now it is tried again.
    pub(super) fn keep_in_place(&mut self, now: Instant) {
        if self.part.as_ref().is_none_or(|part| part.is_in_place()) {
            return;
        }
        self.failed(
            "look up",
            &io::Error::new(io::ErrorKind::NotFound, "the segment being written is gone from its folder"),
        );
        if self.remake_folder() {
            self.rescue(now);
        }
    }

    /// Makes the folder and what has to be in it anew; false if that fails.
    pub(super) fn remake_folder(&mut self) -> bool {
        let made = self.claim_again().and_then(|()| {
            // The old ones are of segments that went with the folder.
            let epochs = Epochs(vec![self.next.epoch.clone()]);
            let listed =
                Epochs::read(&*self.disk, &self.folder, &self.next.edge_id).map_err(io::Error::other)?;
            if listed.0.contains(&self.next.epoch) {
                return Ok(());
            }
            epochs.write(&*self.disk, &self.folder, &self.next.edge_id)
        });
        self.journal.begin_anew();
        if let Err(error) = &made {
            self.failed("make the folder", error);
        }
        made.is_ok()
    }

    fn claim_again(&mut self) -> io::Result<()> {
        if self.lock.as_ref().is_none_or(|lock| !is_same(lock, &self.folder.join("lock"))) {
            self.lock = Some(folder::claim(&self.folder).map_err(io::Error::other)?);
        }
        Ok(())
    }
}
