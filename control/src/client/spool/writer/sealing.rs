//! From the part to the shelf, and off it: sealing, the journal's mark, what goes away.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::access_log::{Segment, SegmentId};
use tokio::time::Instant;

use super::{PAUSE, Writer};
use crate::client::spool::disk::{is_full, replace};
use crate::client::spool::folder::{self, FileState};
use crate::client::spool::journal::Mark;
use crate::client::spool::log::DropReason;
use crate::client::spool::part::{Part, Short};
use crate::client::spool::salvage::count_records;
use crate::client::spool::shelf::Sealed;

/// Segments set aside that are kept for a person to look at.
const DAMAGED_KEPT: usize = 8;
/// The journal says at most so often that this process lives, where it has nothing else to say.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Steps of the journal need no sync for a process that is killed; a power cut costs the byte counts and the life sign of this long.
const JOURNAL_SYNC_EVERY: Duration = Duration::from_secs(5);

impl Writer {
    /// Sees to it that there is a part that takes records.
    pub(super) fn provide_part(&mut self, now: Instant) -> Result<(), DropReason> {
        if self.part.as_ref().is_some_and(Part::is_ending) {
            self.try_seal(now)?;
        }
        let mut remade = false;
        while self.part.is_none() {
            match Part::create(&*self.disk, &self.folder, self.next.clone(), now) {
                Ok(part) => {
                    self.next.number += 1;
                    self.part = Some(part);
                }
                // Left by a rescue that could not remove it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.next.number += 1,
                Err(error) if is_full(&error) => {
                    if !self.make_room(DropReason::DiskFull, now) {
                        return Err(DropReason::DiskFull);
                    }
                }
                Err(error) => {
                    self.failed("create", &error);
                    // Once: nobody can say that it stays.
                    let gone =
                        error.kind() == io::ErrorKind::NotFound && !std::mem::replace(&mut remade, true);
                    if gone && self.remake_folder() {
                        continue;
                    }
                    return Err(DropReason::DiskFailed);
                }
            }
        }
        Ok(())
    }

    /// Seals the part, if there is one with records. False: it can't be done now.
    pub(crate) fn seal(&mut self, now: Instant) -> bool {
        let sealed = self.try_seal(now);
        if let Err(reason) = sealed {
            self.paused = Some((now + PAUSE, reason));
        }
        sealed.is_ok()
    }

    fn try_seal(&mut self, now: Instant) -> Result<(), DropReason> {
        self.keep_in_place(now);
        loop {
            let Some(part) = self.part.as_mut().filter(|part| part.records() > 0) else { return Ok(()) };
            match part.foot(now) {
                Ok(()) => break,
                Err(Short::Failed(error)) if is_full(&error) => {
                    if !self.make_room(DropReason::DiskFull, now) {
                        return Err(DropReason::DiskFull);
                    }
                }
                Err(Short::Failed(error)) => {
                    self.failed("seal", &error);
                    return Err(DropReason::DiskFailed);
                }
                Err(Short::Wrecked(error)) => {
                    self.failed("seal", &error);
                    self.rescue(now);
                    return Ok(());
                }
            }
        }
        self.sync();
        let Some(part) = self.part.take() else { return Ok(()) };
        let path = folder::sealed_path(&self.folder, part.id());
        if let Err(error) = self.disk.rename(part.path(), &path) {
            self.failed("rename", &error);
            self.part = Some(part);
            return Err(DropReason::DiskFailed);
        }
        self.place(&part, now);
        Ok(())
    }

    /// Puts what is sealed on the shelf, after the journal has passed it.
    fn place(&mut self, part: &Part, now: Instant) {
        if let Err(error) = self.disk.sync_folder(&self.folder) {
            self.failed("sync", &error);
        }
        self.save(now, true);
        self.shared.shelf.push(Sealed {
            id: part.id().clone(),
            path: folder::sealed_path(&self.folder, part.id()),
            records: Some(part.records()),
            bytes: part.bytes(),
            first_ms: part.first_ms().unwrap_or(0),
        });
    }

    /// Saves the good bytes of a part that is wrecked, or has no name any more, under its sealed name, or sets it aside.
    pub(super) fn rescue(&mut self, now: Instant) {
        let Some(mut part) = self.part.take() else { return };
        if part.records() == 0 {
            // Nothing stood in it, and nobody has seen its number.
            match self.disk.remove(part.path()) {
                Ok(()) => self.next = part.id().clone(),
                Err(error) => self.failed("remove", &error),
            }
            return;
        }
        let good = part.bytes();
        let footer = if part.is_footed() { Bytes::new() } else { part.footer() };
        let sealed = folder::sealed_path(&self.folder, part.id());
        let saved = part.content().and_then(|mut bytes| {
            bytes.truncate(usize::try_from(good).unwrap_or(usize::MAX));
            bytes.extend_from_slice(&footer);
            let bytes = Bytes::from(bytes);
            Segment::open(bytes.clone()).map_err(io::Error::other)?;
            replace(&*self.disk, &self.folder, &sealed, &bytes)
        });
        match saved {
            Ok(()) => {
                // Beside its sealed self it would be removed at the next start.
                if let Err(error) = self.disk.remove(part.path()) {
                    self.failed("remove", &error);
                }
                self.place(&part, now);
            }
            Err(error) => {
                self.failed("rescue", &error);
                let aside = folder::damaged_path(&self.folder, part.id());
                self.put_aside(part.id(), part.path(), &aside, part.records(), DropReason::Damaged);
            }
        }
    }

    /// Sets a segment aside that can't be shipped.
    pub(super) fn set_aside(&mut self, id: &SegmentId, records: u64, reason: DropReason) {
        let path = folder::sealed_path(&self.folder, id);
        let aside = folder::damaged_path(&self.folder, id);
        self.put_aside(id, &path, &aside, records, reason);
    }

    fn put_aside(&mut self, id: &SegmentId, path: &Path, aside: &Path, records: u64, reason: DropReason) {
        self.shared.drops.count(reason, records);
        if reason == DropReason::Damaged {
            self.shared.metrics.damaged.inc();
            tracing::error!(segment = %id, records, "a segment of access events is damaged and set aside");
        } else {
            tracing::error!(segment = %id, records, reason = reason.label(), "a segment of access events is not taken and set aside");
        }
        if let Err(error) = self.disk.rename(path, aside) {
            self.failed("rename", &error);
        }
        let Ok(found) = self.disk.list(&self.folder) else { return };
        let is_aside =
            |name: &str| folder::parse(name).is_some_and(|(_, _, state)| state == FileState::Damaged);
        let mut kept: Vec<_> = found.into_iter().filter(|file| is_aside(&file.name)).collect();
        kept.sort_by_key(|file| file.modified_ms);
        for file in kept.iter().rev().skip(DAMAGED_KEPT) {
            if let Err(error) = self.disk.remove(&self.folder.join(&file.name)) {
                self.failed("remove", &error);
            }
        }
    }

    /// Gives up the oldest sealed segment that nobody is about to hand over; false if there is none at all.
    pub(super) fn make_room(&mut self, reason: DropReason, now: Instant) -> bool {
        let Some(oldest) = self.shared.shelf.give_up() else { return false };
        let records = oldest.records.unwrap_or_else(|| {
            let bytes = self.disk.read(&oldest.path).unwrap_or_default();
            count_records(bytes.into())
        });
        self.shared.drops.count(reason, records);
        self.discard(&oldest.id, now);
        true
    }

    /// Gives up sealed segments until the spool is within its bound.
    pub(crate) fn keep_within_bound(&mut self, now: Instant) {
        while self.bytes() > self.config.bytes && self.make_room(DropReason::SpoolFull, now) {}
    }

    /// Bytes of the spool's files.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.shelf.held().1 + self.part.as_ref().map_or(0, Part::bytes) + self.journal.bytes()
    }

    /// Removes a segment's file that nobody needs any more, once the journal's mark is past it. Until then its room is given back and its
    /// name kept: a number must not be used again.
    pub(super) fn discard(&mut self, id: &SegmentId, now: Instant) {
        if !self.journal.covers(&id.epoch, id.number) && !self.save(now, true) {
            let path = folder::sealed_path(&self.folder, id);
            if let Err(error) = self.disk.append(&path).and_then(|mut file| file.cut(0)) {
                self.failed("empty", &error);
            }
            self.emptied.push(id.clone());
        } else if let Err(error) = self.disk.remove(&folder::sealed_path(&self.folder, id)) {
            self.failed("remove", &error);
            self.emptied.push(id.clone());
        } else {
            self.witness(id);
        }
    }

    /// Leaves the name of the youngest segment of this process that is gone: should the journal's end be damaged, this tells the next process that
    /// what the rest of it says is too old to end sessions by.
    fn witness(&mut self, id: &SegmentId) {
        if id.epoch != self.next.epoch || self.gone.as_ref().is_some_and(|gone| gone.number >= id.number) {
            return;
        }
        let to = folder::gone_path(&self.folder, id);
        let renamed = match &self.gone {
            Some(gone) => self.disk.rename(&folder::gone_path(&self.folder, gone), &to),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match renamed.or_else(|_| self.disk.create(&to).map(drop)) {
            Ok(()) => self.gone = Some(id.clone()),
            Err(error) => self.failed("witness", &error),
        }
    }

    /// Brings the journal up to date; false if that fails.
    pub(crate) fn save(&mut self, now: Instant, sync: bool) -> bool {
        self.keep_in_place(now);
        self.journal_due = now + std::time::Duration::from_millis(self.config.journal_ms);
        let mark = self.mark();
        let beats = self.take_note_of(now);
        if beats || !self.sessions.is_saved() || !self.journal.is_at(&mark) {
            // The mark must not outlive the records it has passed.
            self.sync();
            let disk = Arc::clone(&self.disk);
            let sync = sync || now.saturating_duration_since(self.journal_synced) >= JOURNAL_SYNC_EVERY;
            if let Err(error) = self.journal.save(&*disk, &mut self.sessions, mark, sync) {
                self.failed("journal", &error);
                return false;
            }
            self.beat = now;
            if sync {
                self.journal_synced = now;
            }
        }
        for id in std::mem::take(&mut self.emptied) {
            if let Err(error) = self.disk.remove(&folder::sealed_path(&self.folder, &id)) {
                self.failed("remove", &error);
                self.emptied.push(id);
            }
        }
        true
    }

    /// This process lives; whether the journal should say so again, for the sake of the sessions that are open.
    pub(super) fn take_note_of(&mut self, now: Instant) -> bool {
        self.sessions.lives_at(now.saturating_duration_since(self.began));
        self.sessions.len() > 0 && now.saturating_duration_since(self.beat) >= BEAT_EVERY
    }

    pub(crate) fn mark(&self) -> Mark {
        let epoch = self.next.epoch.clone();
        match &self.part {
            Some(part) => {
                let (number, records, bytes) = (part.id().number, part.records(), part.bytes());
                Mark { epoch, number, records, bytes, whole: false }
            }
            None => Mark { epoch, number: self.next.number - 1, records: 0, bytes: 0, whole: true },
        }
    }

    /// Waits until all that was written to the part is on the medium; false if that failed.
    pub(super) fn sync(&mut self) -> bool {
        let disk = Arc::clone(&self.disk);
        let synced = self.part.as_mut().map_or(Ok(()), |part| part.sync(&*disk));
        if let Err(error) = &synced {
            self.failed("sync", error);
        }
        synced.is_ok()
    }
}
