//! One stream to an edge: blocks asked for in windows, sent in order.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::object::ObjectVersion;
use proto::range::{BLOCK_BYTES, ByteRange, block_range};
use proto::status::{Reason, RemoteError};
use proto::v1::{Priority, ReadResponse};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::budget::{Account, Hold};
use super::window::{Asked, Window};
use crate::Shield;
use crate::cache::Block;
use crate::fill::coalesce::Pending;
use crate::origin::table::Source;

/// What a stream is to bring.
pub(super) struct Wanted {
    pub(super) version: ObjectVersion,
    pub(super) source: Arc<Source>,
    pub(super) range: ByteRange,
    pub(super) priority: Priority,
    pub(super) cache_only: bool,
    /// Longest wait for one block.
    pub(super) deadline: Duration,
}

/// See the module.
pub(super) struct Reading {
    shield: Arc<Shield>,
    wanted: Wanted,
    window: Arc<Window>,
    account: Account,
    /// Whether the first message, which describes the object, is out.
    described: bool,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.shield.metrics.streams.dec();
    }
}

impl Reading {
    pub(super) fn new(
        shield: Arc<Shield>,
        wanted: Wanted,
        peer: Option<IpAddr>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let window = Arc::new(Window::new(wanted.range.blocks().start));
        let account = shield.budget.open(peer, window.clone());
        shield.metrics.streams.inc();
        Self { shield, wanted, window, account, described: false, _permit: permit }
    }

    /// Counts the error that ends the stream.
    pub(super) fn failed(&self, error: &RemoteError) {
        self.shield.metrics.read_errors.with_label_values(&[error.reason.as_str()]).inc();
    }

    /// The next message; `None` at the range's end.
    pub(super) async fn next(&mut self) -> Result<Option<ReadResponse>, RemoteError> {
        self.window.work();
        let message = self.message().await;
        self.window.rest();
        message
    }

    async fn message(&mut self) -> Result<Option<ReadResponse>, RemoteError> {
        self.ask_ahead();
        let (index, pending, hold) = match self.window.pop() {
            Some(Asked { index, pending, hold }) => (index, pending, Some(hold)),
            None => match self.window.step(self.wanted.range.blocks().end) {
                Some(index) => (index, self.ask(index), None),
                None => return Ok(None),
            },
        };
        if index * BLOCK_BYTES >= self.wanted.range.end {
            return Ok(None);
        }
        let block = self.landed(index, pending).await?;
        let (block, room) = match self.account.try_send(hold) {
            Ok(room) => (block, room),
            Err(Some(hold)) => (block, self.room(index, Some(hold)).await?),
            Err(None) => {
                // Nobody counts it, so it isn't kept while there is no room: the cache has it, most likely.
                drop(block);
                let room = self.room(index, None).await?;
                (self.landed(index, self.ask(index)).await?, room)
            }
        };
        if self.wanted.cache_only && self.wanted.range.start < block.size_bytes {
            // Another shield, which asks in whole blocks and doesn't know the size.
            self.wanted.range.end = self.wanted.range.end.min(block.size_bytes);
        }
        if self.wanted.range.end > block.size_bytes {
            let (size, end) = (block.size_bytes, self.wanted.range.end);
            let text = format!("{}: the object has {size} bytes, {end} were asked", self.block_name(index));
            return Err(RemoteError::new(Reason::Invalid, text));
        }
        Ok(Some(self.slice(index, block, room)))
    }

    fn block_name(&self, index: u64) -> String {
        format!("{} block {index}", self.wanted.version.object)
    }

    /// Keeps blocks coming while earlier ones are sent.
    fn ask_ahead(&self) {
        let last = self.wanted.range.blocks().end;
        let wants = self.window.wants(last, self.shield.config.read.window_blocks);
        if wants.is_empty() {
            return;
        }
        let holds = self.account.ahead(usize::try_from(wants.end - wants.start).unwrap_or(usize::MAX));
        if holds.is_empty() {
            return;
        }
        let blocks = wants.start..wants.start + holds.len() as u64;
        let Wanted { source, version, priority, cache_only, .. } = &self.wanted;
        let asked = self.shield.fills.ask(source, version, blocks.clone(), *priority, *cache_only);
        let asked = blocks.zip(asked).zip(holds);
        self.window.push(asked.map(|((index, pending), hold)| Asked { index, pending, hold }));
    }

    /// Asks for one block.
    fn ask(&self, index: u64) -> Pending {
        let Wanted { source, version, priority, cache_only, .. } = &self.wanted;
        let asked = self.shield.fills.ask(source, version, index..index + 1, *priority, *cache_only);
        asked.into_iter().next().unwrap_or(Pending::Absent)
    }

    async fn landed(&self, index: u64, pending: Pending) -> Result<Block, RemoteError> {
        let late =
            |_| RemoteError::new(Reason::Deadline, format!("{}: not here in time", self.block_name(index)));
        let block = timeout(self.wanted.deadline, pending.wait()).await.map_err(late)?;
        let block = block.map_err(|e| e.to_remote(&self.block_name(index)))?;
        block.ok_or_else(|| {
            RemoteError::new(Reason::NotCached, format!("{}: not cached", self.block_name(index)))
        })
    }

    async fn room(&self, index: u64, hold: Option<Hold>) -> Result<Hold, RemoteError> {
        self.account.send(hold).await.ok_or_else(|| {
            let text = format!("{}: streams hold all they may", self.block_name(index));
            RemoteError::new(Reason::Overloaded, text)
        })
    }

    /// The message of a block: the part of it that was asked for.
    fn slice(&mut self, index: u64, block: Block, hold: Hold) -> ReadResponse {
        let (whole, range) = (block_range(index, block.size_bytes), self.wanted.range);
        let wanted = ByteRange::new(whole.start.max(range.start), whole.end.min(range.end));
        let data: Bytes =
            block.data.slice((wanted.start - whole.start) as usize..(wanted.end - whole.start) as usize);
        debug_assert!(data.len() as u64 <= BLOCK_BYTES);
        self.shield.metrics.served_bytes.inc_by(data.len() as u64);
        let first = !std::mem::replace(&mut self.described, true);
        ReadResponse {
            offset: wanted.start,
            data: hold.over(data),
            version: if first { self.wanted.version.version.to_string() } else { String::new() },
            size_bytes: block.size_bytes,
            content_type: if first { block.content_type.to_string() } else { String::new() },
        }
    }
}
