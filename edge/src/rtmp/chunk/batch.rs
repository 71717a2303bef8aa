//! Bytes waiting to be sent: small ones copied together, large ones referenced.
//!
//! A batch is a queue of segments over one arena. Headers and slices under 1 KiB are copied into the arena, because a tiny
//! slice costs more in a vectored write than its copy, and would pin the whole block it comes from; larger ones are
//! referenced where they lie. The arena and the queue are reused from batch to batch, so a session that streams allocates
//! nothing a message; they are given back when a batch that grew unusually large, or any batch of a session at rest, is
//! empty. It can't fail and sets no bound of its own: whoever fills it watches [`Batch::len_bytes`].

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

mod parts;

/// Slices from this size on are referenced instead of copied.
const REFERENCE_FROM_BYTES: usize = 1024;
/// An empty batch keeps an arena of up to this size for the next one.
const KEPT_ARENA_BYTES: usize = 4 << 10;
/// An empty batch keeps a queue of up to this many segments.
const KEPT_SEGMENTS: usize = 64;

/// Sent bytes at the arena's start are dropped once there are so many, and as many as follow.
const COMPACT_FROM_BYTES: usize = 16 << 10;

/// What comes next in a batch.
#[derive(Debug)]
enum Segment {
    /// So many bytes of the arena, from where the last ones ended.
    Copied(usize),
    /// Bytes where they lie.
    Shared(Bytes),
}

/// What a batch hands out piece by piece.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// Bytes it had copied.
    Copied(&'a [u8]),
    /// Bytes where they lie.
    Shared(&'a Bytes),
}

/// A queue of outgoing bytes.
///
/// It is also a [`Buf`], so `write_all_buf`, `copy_to_bytes` and the like work on it.
#[derive(Debug, Default)]
pub struct Batch {
    queue: VecDeque<Segment>,
    arena: Vec<u8>,
    /// Where the first unsent byte of the arena stands.
    arena_sent: usize,
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
        if bytes.is_empty() {
            return;
        }
        self.arena.extend_from_slice(bytes);
        self.len_bytes += bytes.len();
        match self.queue.back_mut() {
            Some(Segment::Copied(len)) => *len += bytes.len(),
            _ => self.queue.push_back(Segment::Copied(bytes.len())),
        }
    }

    /// Appends `bytes`, by reference where they are large.
    pub fn push_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < REFERENCE_FROM_BYTES {
            return self.push_raw(&bytes);
        }
        self.len_bytes += bytes.len();
        self.queue.push_back(Segment::Shared(bytes));
    }

    /// Appends `bytes[from..to]`, by reference where that is long.
    pub(crate) fn push_part(&mut self, bytes: &Bytes, from: usize, to: usize) {
        if to - from < REFERENCE_FROM_BYTES {
            return self.push_raw(&bytes[from..to]);
        }
        self.len_bytes += to - from;
        self.queue.push_back(Segment::Shared(bytes.slice(from..to)));
    }

    /// Moves everything out of `other` to the end of this batch.
    pub fn append(&mut self, other: &mut Batch) {
        let mut at = other.arena_sent;
        for segment in std::mem::take(&mut other.queue) {
            match segment {
                Segment::Copied(len) => {
                    self.push_raw(&other.arena[at..at + len]);
                    at += len;
                }
                Segment::Shared(bytes) => self.push_bytes(bytes),
            }
        }
        other.clear();
    }

    /// Moves up to `most` bytes from the front of `other` to the end of this batch, all of them copied, and gives them to be changed.
    pub fn take_copied(&mut self, other: &mut Batch, most: usize) -> &mut [u8] {
        let mut left = most.min(other.len_bytes);
        self.arena.reserve_exact(left);
        let from = self.arena.len();
        while left > 0 {
            let part = other.chunk();
            let part = &part[..left.min(part.len())];
            self.push_raw(part);
            let taken = part.len();
            Batch::advance(other, taken);
            left -= taken;
        }
        &mut self.arena[from..]
    }

    /// Hands everything out in order; the batch is empty afterwards.
    pub(super) fn take_pieces(&mut self, mut each: impl FnMut(Piece<'_>)) {
        let mut at = self.arena_sent;
        for segment in &self.queue {
            match segment {
                Segment::Copied(len) => {
                    each(Piece::Copied(&self.arena[at..at + len]));
                    at += len;
                }
                Segment::Shared(bytes) => each(Piece::Shared(bytes)),
            }
        }
        self.clear();
    }

    /// Forgets everything: what a seek does to media that was not sent yet.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.len_bytes = 0;
        self.reset();
    }

    /// Gives back the memory an empty batch holds: for a session that will send nothing for a while.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            (self.queue, self.arena, self.arena_sent) = (VecDeque::new(), Vec::new(), 0);
        }
    }

    /// Bytes of memory the batch holds on its own, apart from what it references.
    pub fn own_bytes(&self) -> usize {
        self.arena.capacity() + self.queue.capacity() * size_of::<Segment>()
    }

    /// Whether nothing in it is shared: all it holds is [`own_bytes`](Self::own_bytes).
    pub fn is_detached(&self) -> bool {
        !self.queue.iter().any(|segment| matches!(segment, Segment::Shared(_)))
    }

    /// Copies what is shared into the arena, so that no block is held for it: for a viewer that takes its time.
    pub fn detach(&mut self) {
        let mut arena = Vec::with_capacity(self.len_bytes);
        let mut at = self.arena_sent;
        for segment in &self.queue {
            match segment {
                Segment::Copied(len) => {
                    arena.extend_from_slice(&self.arena[at..at + len]);
                    at += len;
                }
                Segment::Shared(bytes) => arena.extend_from_slice(bytes),
            }
        }
        let queue = VecDeque::from_iter((!arena.is_empty()).then_some(Segment::Copied(arena.len())));
        (self.queue, self.arena, self.arena_sent) = (queue, arena, 0);
    }

    /// Fills `out` from its start with the next slices to send; returns how many it set.
    pub fn io_slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut at = self.arena_sent;
        let mut count = 0;
        for (slot, segment) in out.iter_mut().zip(&self.queue) {
            *slot = IoSlice::new(match segment {
                Segment::Copied(len) => {
                    at += len;
                    &self.arena[at - len..at]
                }
                Segment::Shared(bytes) => bytes,
            });
            count += 1;
        }
        count
    }

    /// Drops the first `count` bytes, which have been sent; all there is when `count` is larger.
    pub fn advance(&mut self, count: usize) {
        let mut left = count.min(self.len_bytes);
        self.len_bytes -= left;
        while left > 0
            && let Some(front) = self.queue.front_mut()
        {
            let sent = match front {
                Segment::Copied(len) => {
                    let sent = left.min(*len);
                    self.arena_sent += sent;
                    *len -= sent;
                    (sent, *len == 0)
                }
                Segment::Shared(bytes) => {
                    let sent = left.min(bytes.len());
                    bytes.advance(sent);
                    (sent, bytes.is_empty())
                }
            };
            left -= sent.0;
            if sent.1 {
                self.queue.pop_front();
            }
        }
        if self.len_bytes == 0 {
            self.reset();
        } else if self.arena_sent >= COMPACT_FROM_BYTES && self.arena_sent * 2 >= self.arena.len() {
            // A viewer that is never quite caught up with must not make the arena grow for ever.
            self.arena.drain(..self.arena_sent);
            self.arena_sent = 0;
        }
    }

    /// Begins the arena anew, once all of it has been sent.
    fn reset(&mut self) {
        self.arena.clear();
        self.arena_sent = 0;
        if self.arena.capacity() > KEPT_ARENA_BYTES {
            self.arena = Vec::new();
        }
        if self.queue.capacity() > KEPT_SEGMENTS {
            self.queue = VecDeque::new();
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.len_bytes
    }

    fn chunk(&self) -> &[u8] {
        match self.queue.front() {
            Some(Segment::Copied(len)) => &self.arena[self.arena_sent..self.arena_sent + len],
            Some(Segment::Shared(bytes)) => bytes,
            None => &[],
        }
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        self.io_slices(out)
    }

    fn advance(&mut self, count: usize) {
        Batch::advance(self, count);
    }
}
