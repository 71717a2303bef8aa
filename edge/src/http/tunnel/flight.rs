//! An answer with data on its way to the player, which knows whether it left.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Buf;

use super::conversation::Issue;
use super::reply::Data;
use crate::transport::tunnel::Line;

/// What is still to be written of an answer. One that is dropped before its end tells the conversation.
#[derive(Debug)]
pub(crate) struct Flight {
    data: Arc<Data>,
    issue: Issue,
    line: Arc<Line>,
    /// The part that is next, how much of it was written, and how much there is in all.
    part: usize,
    offset: usize,
    left_bytes: usize,
}

impl Flight {
    pub(crate) fn new(data: Arc<Data>, issue: Issue, line: Arc<Line>) -> Self {
        let left_bytes = data.len_bytes;
        Self { data, issue, line, part: 0, offset: 0, left_bytes }
    }
}

impl Buf for Flight {
    fn remaining(&self) -> usize {
        self.left_bytes
    }

    fn chunk(&self) -> &[u8] {
        self.data.parts.get(self.part).map_or(&[], |part| &part[self.offset..])
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut offset = self.offset;
        let mut count = 0;
        for (slot, part) in out.iter_mut().zip(self.data.parts.iter().skip(self.part)) {
            *slot = IoSlice::new(&part[offset..]);
            offset = 0;
            count += 1;
        }
        count
    }

    fn advance(&mut self, count: usize) {
        let mut left = count.min(self.left_bytes);
        self.left_bytes -= left;
        while left > 0
            && let Some(part) = self.data.parts.get(self.part)
        {
            let rest = part.len() - self.offset;
            if left < rest {
                self.offset += left;
                break;
            }
            left -= rest;
            (self.part, self.offset) = (self.part + 1, 0);
        }
        self.line.touch();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.left_bytes > 0 {
            self.line.lose(self.issue);
        }
    }
}
