//! One viewer's position in one object version.
//!
//! The reader holds the few blocks its viewer is in (so that the hot path is a look into a three-entry window, without lock or
//! allocation). What it holds stays in memory whatever the cache does, so it holds no more than it uses: [`ObjectReader::settle`] drops the blocks
//! the viewer has left behind, [`ObjectReader::release`] all of them when the viewer pauses or takes nothing. It asks for the next ones ahead of time. Read-ahead starts at what the media's bitrate needs for
//! `read_ahead_seconds` and doubles each time the viewer overtook it, up to `read_ahead_viewer_bytes`: a paced viewer costs little, a
//! download at line rate gets long runs.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use proto::object::ObjectInfo;
use proto::range::{BLOCK_BYTES, ByteRange};

use super::blocks::BlockCache;
use super::parse::Parsing;
use super::read::{ReadAt, ReadError, Slices};

/// Blocks a reader holds on to: one for each of two tracks, and one to come.
const WINDOW_BLOCKS: usize = 3;

/// The blocks that were waited for (index, bytes), or why they can't be had.
pub type Fetched = Result<Vec<(u64, Bytes)>, ReadError>;

/// One viewer's position in one object version. Cloning gives an independent position over the same cache.
#[derive(Clone)]
pub struct ObjectReader {
    cache: Arc<BlockCache>,
    info: Arc<ObjectInfo>,
    window: Vec<Kept>,
    /// Blocks the window holds: more while one sample spans more.
    window_blocks: usize,
    ahead_bytes: u64,
    ahead_max_bytes: u64,
    /// Where the last read-ahead ended.
    ahead_until: u64,
    /// Where an index is being built: what its long reads are charged to.
    parsing: Option<Arc<Parsing>>,
}

/// A block of the window.
#[derive(Clone)]
struct Kept {
    index: u64,
    block: Bytes,
    /// Read from since the last [`ObjectReader::settle`].
    used: bool,
}

impl ObjectReader {
    /// A reader of the version that `info` describes, without read-ahead until [`set_pace`](Self::set_pace).
    pub fn new(cache: Arc<BlockCache>, info: Arc<ObjectInfo>) -> Self {
        Self {
            cache,
            info,
            window: Vec::with_capacity(WINDOW_BLOCKS),
            window_blocks: WINDOW_BLOCKS,
            ahead_bytes: 0,
            ahead_max_bytes: 0,
            ahead_until: 0,
            parsing: None,
        }
    }

    /// The same position, charging what a parser reads at a time to `parsing`.
    pub(crate) fn for_parsing(&self, parsing: Parsing) -> Self {
        Self { parsing: Some(Arc::new(parsing)), ..self.clone() }
    }

    /// Lets go of the blocks that were not read from since the last call.
    pub fn settle(&mut self) {
        self.window.retain_mut(|kept| std::mem::take(&mut kept.used));
    }

    /// Lets go of all blocks: what a viewer that waits need not hold. The next read takes them from the cache, or fetches them.
    pub fn release(&mut self) {
        self.window = Vec::new();
    }

    /// Bytes of blocks held.
    pub fn held_bytes(&self) -> usize {
        self.window.iter().map(|kept| kept.block.len()).sum()
    }

    /// What is read.
    pub fn info(&self) -> &Arc<ObjectInfo> {
        &self.info
    }

    /// Sizes the read-ahead: `read_ahead_seconds` of media at `bytes_per_second`, at most `max_bytes`.
    pub fn set_pace(&mut self, bytes_per_second: u64, ahead_seconds: u64, max_bytes: u64) {
        self.ahead_max_bytes = max_bytes;
        self.ahead_bytes = bytes_per_second.saturating_mul(ahead_seconds).max(BLOCK_BYTES).min(max_bytes);
    }

    /// The viewer jumped: read-ahead starts anew behind `offset`.
    pub fn jump(&mut self, offset: u64) {
        self.ahead_until = offset / BLOCK_BYTES * BLOCK_BYTES;
    }

    /// The viewer is at `offset`: keeps the blocks behind it on their way.
    pub fn advance(&mut self, offset: u64) {
        if self.ahead_bytes == 0 {
            return;
        }
        // Asked for again when half of it is used up, so that runs stay long.
        if self.ahead_until >= offset.saturating_add(self.ahead_bytes / 2)
            || self.ahead_until >= self.info.size_bytes
        {
            return;
        }
        let start = self.ahead_until.max(offset / BLOCK_BYTES * BLOCK_BYTES);
        let end = offset.saturating_add(self.ahead_bytes).div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES);
        self.cache.read_ahead(&self.info, ByteRange::new(start, end));
        self.ahead_until = end;
    }

    /// The viewer had to wait: a larger read-ahead is worth its memory.
    pub fn overtaken(&mut self) {
        self.ahead_bytes = self.ahead_bytes.saturating_mul(2).min(self.ahead_max_bytes);
    }

    /// A future that brings the blocks of `[offset, offset + len)`; hand its result to [`admit`](Self::admit).
    pub fn fetch(&self, offset: u64, len: u64) -> BoxFuture<'static, Fetched> {
        let (cache, info) = (self.cache.clone(), self.info.clone());
        let range = ByteRange::at(offset, len).clip(info.size_bytes);
        // Asked for now, so that read-ahead that starts next finds it under way, as demand.
        cache.demand(&info, range);
        Box::pin(async move {
            let mut blocks = Vec::new();
            for index in range.blocks() {
                blocks.push((index, cache.block(&info, index).await?));
            }
            Ok(blocks)
        })
    }

    /// Takes fetched blocks into the window.
    pub fn admit(&mut self, blocks: Vec<(u64, Bytes)>) {
        self.window_blocks = WINDOW_BLOCKS.max(blocks.len() + 1);
        for (index, block) in blocks {
            self.remember(index, block);
        }
    }

    fn remember(&mut self, index: u64, block: Bytes) {
        if self.window.iter().any(|kept| kept.index == index) {
            return;
        }
        while self.window.len() >= self.window_blocks {
            self.window.remove(0);
        }
        self.window.push(Kept { index, block, used: true });
    }

    /// Block `index` if it is in memory: in the window, from where it is only borrowed, or in the cache.
    fn block_in_memory(&mut self, index: u64) -> Option<&Bytes> {
        if !self.window.iter().any(|kept| kept.index == index) {
            let block = self.cache.get(&self.info.id, index)?;
            self.remember(index, block);
        }
        let kept = self.window.iter_mut().find(|kept| kept.index == index)?;
        kept.used = true;
        Some(&kept.block)
    }

    fn range(&self, offset: u64, len: u64) -> Result<ByteRange, ReadError> {
        let size = self.info.size_bytes;
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(ByteRange::new(offset, end)),
            _ => Err(ReadError::PastEnd { offset, len, size }),
        }
    }
}

/// The part of block `index` that lies in `range`.
fn clip(block: &Bytes, index: u64, range: ByteRange) -> Option<Bytes> {
    let base = index * BLOCK_BYTES;
    let start = range.start.saturating_sub(base) as usize;
    let end = (range.end - base).min(block.len() as u64) as usize;
    (start <= end && base + end as u64 >= range.end.min(base + BLOCK_BYTES)).then(|| block.slice(start..end))
}

impl ReadAt for ObjectReader {
    fn size(&self) -> u64 {
        self.info.size_bytes
    }

    async fn read_at(&mut self, offset: u64, len: u64) -> Result<Slices, ReadError> {
        let range = self.range(offset, len)?;
        let blocks = range.blocks();
        if let Some(parsing) = &self.parsing {
            parsing.admit(len).await;
        }
        // A long read (a moov box) asks for all of its blocks in one run before it waits for the first.
        if blocks.end - blocks.start > 1 {
            self.cache.read_ahead(&self.info, range);
        }
        let mut slices = Slices::new();
        for index in blocks {
            let block = match self.block_in_memory(index) {
                Some(block) => block.clone(),
                None => {
                    let block = self.cache.block(&self.info, index).await?;
                    self.remember(index, block.clone());
                    block
                }
            };
            let Some(slice) = clip(&block, index, range) else {
                return Err(ReadError::Unavailable(format!(
                    "{}: block {index} is short",
                    self.info.id.object
                )));
            };
            slices.push(slice);
        }
        Ok(slices)
    }

    fn buffered(&mut self, offset: u64, len: u64) -> Option<Slices> {
        let range = self.range(offset, len).ok()?;
        let mut slices = Slices::new();
        for index in range.blocks() {
            let block = self.block_in_memory(index)?;
            slices.push(clip(block, index, range)?);
        }
        Some(slices)
    }
}
