//! One block in memory, charged to the budget for exactly as long as anybody holds a byte of it.
//!
//! The cache holds a [`Block`]; readers hold [`Bytes`] made from it, and slices of those. A block that others hold is *lent*: to evict it
//! frees nothing, and the budget sees it as pinned until the last slice is gone.

use std::sync::Arc;

use bytes::Bytes;

use crate::budget::{Account, Charge};

struct Held {
    bytes: Bytes,
    _charge: Charge,
}

/// A block's bytes. Clones are the same block.
#[derive(Clone)]
pub(super) struct Block(Arc<Held>);

/// What a `Bytes` made from a block owns.
struct Lent(Arc<Held>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Block {
    /// Takes over `bytes`, charging them to `account`.
    pub(super) fn new(bytes: Bytes, account: &Arc<Account>) -> Self {
        let charge = Charge::new(account, bytes.len() as u64);
        Self(Arc::new(Held { bytes, _charge: charge }))
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.0.bytes.len() as u64
    }

    /// Its bytes, for a reader.
    pub(super) fn lend(&self) -> Bytes {
        Bytes::from_owner(Lent(self.0.clone()))
    }

    /// Whether anybody else holds it.
    pub(super) fn is_lent(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_charged_until_the_last_slice_of_it_is_gone() {
        let account = Arc::<Account>::default();
        let block = Block::new(vec![7; 1000].into(), &account);
        assert!(!block.is_lent());
        let slice = block.lend().slice(10..20);
        assert!(block.is_lent());
        drop(block);
        assert_eq!((account.bytes(), &slice[..]), (1000, &[7; 10][..]));
        drop(slice.slice(1..2));
        assert_eq!(account.bytes(), 1000);
        drop(slice);
        assert_eq!(account.bytes(), 0);
    }
}
