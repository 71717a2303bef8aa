//! Bytes waiting to be sent: small ones copied together, large ones referenced.
//!
//! A batch is a queue of shared slices. Headers and slices under 1 KiB are copied into an arena, because a tiny slice costs
//! more in a vectored write than its copy, and would pin the whole block it comes from. It can't fail and sets no bound of
//! its own: whoever fills it watches [`Batch::len_bytes`].

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Slices from this size on are referenced instead of copied.
const REFERENCE_FROM_BYTES: usize = 1024;

/// Room the arena grows by: some hundred chunk headers.
const ARENA_BYTES: usize = 4096;

/// A queue of outgoing bytes.
///
/// It is also a [`Buf`], so `write_all_buf`, `copy_to_bytes` and the like work on it.
#[derive(Debug, Default)]
pub struct Batch {
    queue: VecDeque<Bytes>,
    /// What follows the queue, still growing.
    arena: BytesMut,
    len_bytes: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Bytes to send.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Appends a copy of `bytes`.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        if self.arena.capacity() - self.arena.len() < bytes.len() {
            self.arena.reserve(bytes.len().max(ARENA_BYTES));
        }
        self.arena.extend_from_slice(bytes);
        self.len_bytes += bytes.len();
    }

    /// Appends `bytes`, by reference where they are large.
    pub fn push_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < REFERENCE_FROM_BYTES {
            return self.push_raw(&bytes);
        }
        if !self.arena.is_empty() {
            self.queue.push_back(self.arena.split().freeze());
        }
        self.len_bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    /// Moves everything out of `other` to the end of this batch.
    pub fn append(&mut self, other: &mut Batch) {
        while let Some(bytes) = other.queue.pop_front() {
            self.push_bytes(bytes);
        }
        self.push_raw(&other.arena);
        other.clear();
    }

    /// Forgets everything: what a seek does to media that was not sent yet.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.arena.clear();
        self.len_bytes = 0;
    }

    /// Fills `out` from its start with the next slices to send; returns how many it set.
    pub fn io_slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.arena.is_empty()).then_some(&self.arena[..]);
        let slices = self.queue.iter().map(|bytes| &bytes[..]).chain(tail);
        let mut count = 0;
        for (slot, slice) in out.iter_mut().zip(slices) {
            *slot = IoSlice::new(slice);
            count += 1;
        }
        count
    }

    /// Drops the first `count` bytes, which have been sent; all there is when `count` is larger.
    pub fn advance(&mut self, count: usize) {
        let mut left = count.min(self.len_bytes);
        self.len_bytes -= left;
        while let Some(front) = self.queue.front_mut() {
            if front.len() > left {
                front.advance(left);
                return;
            }
            left -= front.len();
            self.queue.pop_front();
        }
        self.arena.advance(left);
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.len_bytes
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&self.arena[..], |bytes| &bytes[..])
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        self.io_slices(out)
    }

    fn advance(&mut self, count: usize) {
        Batch::advance(self, count);
    }
}
