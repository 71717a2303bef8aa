//! An event log that is kept in memory: for tests, which may also make it slow, or hang it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::v1::AccessRecord;
use tokio::sync::watch;
use tokio::time::{Duration, sleep};

use super::{EventSink, Written};

/// How long a [`MemorySink`] takes to write a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// It is written at once.
    #[default]
    AtOnce,
    /// So long.
    Takes(Duration),
    /// Not before the pace is another.
    Hangs,
}

/// What a session was reported to have been sent: client id, time and bytes.
pub type Progress = (String, u64, u64);

#[derive(Default)]
struct Kept {
    records: Vec<AccessRecord>,
    progress: Vec<Progress>,
}

/// See the module.
pub struct MemorySink {
    kept: Mutex<Kept>,
    pace: watch::Sender<Pace>,
}

impl Default for MemorySink {
    fn default() -> Self {
        Self { kept: Mutex::default(), pace: watch::Sender::new(Pace::AtOnce) }
    }
}

impl MemorySink {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every record so far, in the order in which they came.
    pub fn records(&self) -> Vec<AccessRecord> {
        self.lock().records.clone()
    }

    /// Every report of progress so far.
    pub fn progress_reports(&self) -> Vec<Progress> {
        self.lock().progress.clone()
    }

    /// How long records take from now on; those that hang go on at the new pace.
    pub fn set_pace(&self, pace: Pace) {
        self.pace.send_replace(pace);
    }
}

impl EventSink for MemorySink {
    fn record(&self, record: AccessRecord) -> Written {
        self.lock().records.push(record);
        let mut pace = self.pace.subscribe();
        Box::pin(async move {
            let now = match pace.wait_for(|pace| *pace != Pace::Hangs).await {
                Ok(now) => *now,
                Err(_) => return,
            };
            if let Pace::Takes(time) = now {
                sleep(time).await;
            }
        })
    }

    fn progress(&self, client_id: &str, time_ms: u64, sc_bytes: u64) {
        self.lock().progress.push((client_id.to_owned(), time_ms, sc_bytes));
    }
}
