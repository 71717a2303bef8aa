//! The journal of open sessions: what the segments that are still there don't tell.
//!
//! A session's CONNECT may have been shipped and deleted hours ago, so what its missing STOP and DISCONNECT will look like has to be kept
//! beside the segments. The journal is that, *as of a mark*: all records up to the mark have been taken in, the others are still to be read
//! from the segments. So a record need not be written twice in one act: the journal lags behind, and whoever opens the spool reads on from
//! its mark. Only one thing must hold: no segment goes away before the mark has passed it ([`Journal::covers`]).
//!
//! The file is a series of *steps*, one a frame or more ([`Kind::Private`]); a step counts once its last frame is there, which has the
//! mark. When steps have made the file twice as long as it need be it is written anew, under another name, and renamed. It is never shipped.
//!
//! A step also tells how long its process had lived by then, so sessions that say nothing for hours are known to have lasted that long without
//! a word about each. Not every step is synced. After a power cut its last ones may be cut off, read as zeros, or have holes: what is
//! behind the first bad byte counts as not written, and what is before it is true as of its own mark.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::access_log::Frames;
use proto::access_log::frame::{Kind, put_message};

use super::disk::{Disk, DiskFile, replace, write_all};
use super::sessions::Sessions;

/// The file is not written anew below this length, in bytes; in tests it comes to that sooner.
const REWRITE_FROM_BYTES: u64 = if cfg!(test) { 2 << 10 } else { 256 << 10 };
/// A frame is ended past this length, in bytes; one session more may be over it.
const FRAME_BYTES: usize = 128 << 10;

/// Up to where records have been taken in.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Mark {
    #[prost(string, tag = "1")]
    pub(crate) epoch: String,
    /// All segments before this one,
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
    /// and so many records of it,
    #[prost(uint64, tag = "3")]
    pub(crate) records: u64,
    /// which are all it will ever have.
    #[prost(bool, tag = "4")]
    pub(crate) whole: bool,
    /// Its length with these.
    #[prost(uint64, tag = "5")]
    pub(crate) bytes: u64,
}

/// A session that is open.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct OpenSession {
    #[prost(string, tag = "1")]
    pub(crate) client_id: String,
    /// An encoded `AccessRecord` of it.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) about: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub(crate) plays: Vec<Play>,
    #[prost(uint64, tag = "4")]
    pub(crate) time_ms: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) sc_bytes: u64,
    #[prost(bool, tag = "6")]
    pub(crate) off: bool,
    /// How long the process had lived when these numbers were right, in ms.
    #[prost(uint64, tag = "7")]
    pub(crate) as_of_ms: u64,
}

/// A stream that plays.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Play {
    #[prost(uint32, tag = "1")]
    pub(crate) stream_id: u32,
    /// The encoded PLAY.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) record: Bytes,
}

/// How far a session has come.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SessionProgress {
    #[prost(string, tag = "1")]
    pub(crate) client_id: String,
    #[prost(uint64, tag = "2")]
    pub(crate) time_ms: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) sc_bytes: u64,
    /// As in [`OpenSession`].
    #[prost(uint64, tag = "4")]
    pub(crate) as_of_ms: u64,
}

/// A frame: closed first, then opened, then moved on.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Step {
    #[prost(string, repeated, tag = "1")]
    pub(crate) closed: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) open: Vec<OpenSession>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) progress: Vec<SessionProgress>,
    /// In the last frame of a step.
    #[prost(message, optional, tag = "4")]
    pub(crate) mark: Option<Mark>,
    /// Beside the mark: how long the process has lived, in ms.
    #[prost(uint64, tag = "5")]
    pub(crate) lived_ms: u64,
}

/// The frames of a step being made.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    out: BytesMut,
    step: Step,
    bytes: usize,
}

impl Steps {
    pub(crate) fn closed(&mut self, client_id: String) {
        self.bytes += client_id.len() + 2;
        self.step.closed.push(client_id);
        self.cut();
    }

    pub(crate) fn open(&mut self, session: OpenSession) {
        self.bytes += session.encoded_len() + 4;
        self.step.open.push(session);
        self.cut();
    }

    pub(crate) fn progress(&mut self, progress: SessionProgress) {
        self.bytes += progress.encoded_len() + 4;
        self.step.progress.push(progress);
        self.cut();
    }

    fn cut(&mut self) {
        if self.bytes >= FRAME_BYTES {
            put_message(Kind::Private, &std::mem::take(&mut self.step), &mut self.out);
            self.bytes = 0;
        }
    }

    pub(crate) fn end(mut self, mark: Mark, lived_ms: u64) -> Bytes {
        (self.step.mark, self.step.lived_ms) = (Some(mark), lived_ms);
        put_message(Kind::Private, &self.step, &mut self.out);
        self.out.freeze()
    }
}

/// What was read of a journal.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) sessions: Sessions,
    /// `None`: there is no journal, or nothing of it can be used.
    pub(crate) mark: Option<Mark>,
    /// It had more to say: a process was killed in a write, the machine lost its power, or the file is damaged.
    pub(crate) torn: bool,
}

/// Reads a journal's bytes up to the last whole step.
pub(crate) fn decode(file: Bytes) -> Kept {
    let mut kept = Kept::default();
    let mut step = Vec::new();
    for frame in Frames::new(file) {
        let frame = frame.ok().filter(|frame| frame.kind == Kind::Private);
        let Some(mut read) = frame.and_then(|frame| Step::decode(frame.payload).ok()) else {
            kept.torn = true;
            return kept;
        };
        let mark = read.mark.take();
        step.push(read);
        if mark.is_some() {
            step.drain(..).for_each(|part| kept.sessions.restore(part));
            kept.mark = mark;
        }
    }
    kept.torn = !step.is_empty();
    kept
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    path: PathBuf,
    // None: the next step is a new file.
    file: Option<Box<dyn DiskFile>>,
    bytes: u64,
    rewrite_at_bytes: u64,
    mark: Mark,
}

impl Journal {
    /// The file's path.
    pub(crate) fn path(folder: &Path) -> PathBuf {
        folder.join("sessions")
    }

    /// One whose file, if there is any, says what `mark` says; the first step makes a new file.
    pub(crate) fn new(folder: &Path, mark: Mark) -> Self {
        Self {
            folder: folder.into(),
            path: Self::path(folder),
            file: None,
            bytes: 0,
            rewrite_at_bytes: 0,
            mark,
        }
    }

    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it has all records of a segment of the mark's epoch, or of an earlier epoch.
    pub(crate) fn covers(&self, epoch: &str, number: u64) -> bool {
        let Mark { epoch: current, number: last, whole, .. } = &self.mark;
        epoch != current || number < *last || (number == *last && *whole)
    }

    /// Its file is gone: the next step is a new one.
    pub(crate) fn begin_anew(&mut self) {
        self.file = None;
    }

    /// Whether there is a file of this process's, and it says what `mark` says.
    pub(crate) fn is_at(&self, mark: &Mark) -> bool {
        self.file.is_some() && self.mark == *mark
    }

    /// Writes a step. On failure the file says what it said before, and `sessions` is written whole the next time.
    pub(crate) fn save(
        &mut self,
        disk: &dyn Disk,
        sessions: &mut Sessions,
        mark: Mark,
        sync: bool,
    ) -> io::Result<()> {
        let saved = if self.file.is_none() || self.bytes >= self.rewrite_at_bytes {
            self.rewrite(disk, sessions, mark.clone())
        } else {
            self.append(sessions, mark.clone(), sync)
        };
        match saved {
            Ok(()) => self.mark = mark,
            Err(_) => self.file = None,
        }
        saved
    }

    fn append(&mut self, sessions: &mut Sessions, mark: Mark, sync: bool) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut steps = Steps::default();
        sessions.changes(&mut steps);
        let bytes = steps.end(mark, sessions.lived_ms());
        write_all(&mut **file, &bytes).map_err(|(_, e)| e)?;
        self.bytes += bytes.len() as u64;
        if sync { file.sync() } else { Ok(()) }
    }

    fn rewrite(&mut self, disk: &dyn Disk, sessions: &mut Sessions, mark: Mark) -> io::Result<()> {
        let mut steps = Steps::default();
        sessions.all(&mut steps);
        let bytes = steps.end(mark, sessions.lived_ms());
        self.file = None;
        replace(disk, &self.folder, &self.path, &bytes)?;
        self.file = Some(disk.append(&self.path)?);
        self.bytes = bytes.len() as u64;
        self.rewrite_at_bytes = (2 * self.bytes).max(REWRITE_FROM_BYTES);
        Ok(())
    }
}
