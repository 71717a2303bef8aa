//! Tests of `rtmp/chunk/batch`.

use std::io::IoSlice;

use proptest::prelude::*;

use super::*;

#[test]
fn small_slices_are_copied_and_large_ones_referenced() {
    let block = Bytes::from(vec![7; 8192]);
    let mut batch = Batch::new();
    batch.push_raw(b"head");
    batch.push_bytes(block.slice(..1023));
    batch.push_bytes(block.slice(1023..5000));
    batch.push_raw(b"tail");

    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(batch.io_slices(&mut slices), 3);
    assert_eq!((slices[0].len(), slices[1].len(), slices[2].len()), (1027, 3977, 4));
    assert_eq!(slices[1].as_ptr(), block[1023..].as_ptr());
    assert_eq!(batch.len_bytes(), 5008);
}

#[test]
fn fewer_slots_than_slices_get_the_first() {
    let mut batch = Batch::new();
    for _ in 0..4 {
        batch.push_raw(b"x");
        batch.push_bytes(Bytes::from(vec![0; 2000]));
    }
    let mut slices = [IoSlice::new(&[]); 3];
    assert_eq!(batch.io_slices(&mut slices), 3);
    assert_eq!(batch.io_slices(&mut []), 0);
}

#[test]
fn clearing_and_appending_keep_count() {
    let mut first = Batch::new();
    first.push_raw(b"ab");
    let mut second = Batch::new();
    second.push_bytes(Bytes::from(vec![1; 1500]));
    second.push_raw(b"cd");
    first.append(&mut second);
    assert!(second.is_empty());
    assert_eq!(first.len_bytes(), 1504);
    first.advance(1503);
    assert_eq!(sent(first), b"d");

    let mut third = Batch::new();
    third.push_raw(b"ab");
    third.push_bytes(Bytes::from(vec![1; 1500]));
    third.clear();
    assert!(third.is_empty());
    assert_eq!(third.io_slices(&mut [IoSlice::new(&[])]), 0);
    third.advance(5);
    third.push_raw(b"e");
    assert_eq!(sent(third), b"e");
}

proptest! {
    /// Whatever is pushed comes out in order, however little is written at a time.
    #[test]
    fn bytes_come_out_as_they_went_in(
        pieces in prop::collection::vec((any::<bool>(), 0..3000_usize), 0..20),
        steps in prop::collection::vec(1..2500_usize, 1..10),
    ) {
        let mut batch = Batch::new();
        let mut expected = Vec::new();
        for (index, (copied, len)) in pieces.into_iter().enumerate() {
            let piece = vec![index as u8; len];
            expected.extend_from_slice(&piece);
            if copied { batch.push_raw(&piece) } else { batch.push_bytes(piece.into()) }
        }
        prop_assert_eq!(batch.len_bytes(), expected.len());
        let mut written = Vec::new();
        for step in steps.iter().cycle() {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = batch.io_slices(&mut slices);
            if count == 0 {
                break;
            }
            let offered: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = offered.len().min(*step);
            written.extend_from_slice(&offered[..taken]);
            batch.advance(taken);
        }
        prop_assert!(batch.is_empty());
        prop_assert_eq!(written, expected);
    }
}

#[test]
fn a_detached_batch_has_the_same_bytes_and_holds_no_shared_block() {
    let account = std::sync::Arc::new(vec![5; 100_000]);
    struct Block(std::sync::Arc<Vec<u8>>);
    impl AsRef<[u8]> for Block {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let block = Bytes::from_owner(Block(account.clone()));
    let mut batch = Batch::new();
    batch.push_raw(b"head");
    batch.push_bytes(block.slice(10..50_010));
    batch.push_raw(b"tail");
    assert!(batch.len_bytes() == 50_008 && batch.own_bytes() < 1000 && !batch.is_detached());
    batch.advance(2);
    drop(block);
    assert_eq!(std::sync::Arc::strong_count(&account), 2);
    batch.detach();
    assert_eq!(std::sync::Arc::strong_count(&account), 1);
    assert!(batch.len_bytes() == 50_006 && batch.own_bytes() >= 50_006 && batch.is_detached());
    batch.push_raw(b"more");
    let bytes = batch.copy_to_bytes(batch.len_bytes());
    assert_eq!((&bytes[..2], &bytes[50_002..]), (&b"ad"[..], &b"tailmore"[..]));
    assert!(bytes[2..50_002].iter().all(|b| *b == 5));
    batch.shrink();
    assert_eq!((batch.len_bytes(), batch.own_bytes()), (0, 0));
}
