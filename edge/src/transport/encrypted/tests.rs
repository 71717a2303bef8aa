//! Tests of `transport/encrypted`.

use bytes::{Buf, Bytes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::rtmp::handshake::SessionKeys;
use crate::rtmp::handshake::tests::keys;

/// Takes what it has room for, keeps it, and brings what it is given.
#[derive(Default)]
struct Pipe {
    room: usize,
    took: Vec<u8>,
    brings: Vec<u8>,
}

impl Transport for Pipe {
    async fn readable(&self) -> io::Result<()> {
        Ok(())
    }

    async fn writable(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        buffer.extend_from_slice(&self.brings);
        Ok(std::mem::take(&mut self.brings).len())
    }

    fn try_write(&mut self, batch: &mut Batch) -> io::Result<usize> {
        let takes = self.room.min(batch.len_bytes());
        if takes == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= takes;
        self.took.extend_from_slice(&batch.copy_to_bytes(takes));
        Ok(takes)
    }

    async fn close(&mut self) {}
}

fn ciphering(keys: &SessionKeys, plain_bytes: usize, buffer_bytes: usize) -> Box<Ciphering> {
    let (send, receive) = keys.ciphers();
    Box::new(Ciphering { send, receive, plain_bytes, buffer_bytes, buffer: Batch::new() })
}

/// A batch as sessions make them: copied headers between shared slices. Gives its bytes and what it shares.
fn queue(batch: &mut Batch, random: &mut StdRng, bytes: usize) -> (Vec<u8>, Vec<Bytes>) {
    let (mut all, mut blocks) = (Vec::new(), Vec::new());
    while all.len() < bytes {
        let mut part = vec![0; random.random_range(1..5000)];
        random.fill(&mut part[..]);
        let part = Bytes::from(part);
        all.extend_from_slice(&part);
        blocks.push(part.clone());
        batch.push_bytes(part);
    }
    (all, blocks)
}

#[test]
fn without_keys_everything_goes_through() {
    let mut transport = Encrypted::new(Pipe { room: 5, brings: b"in".to_vec(), ..Default::default() });
    let mut batch = Batch::new();
    batch.push_raw(b"what is said");
    assert_eq!(transport.try_write(&mut batch).unwrap(), 5);
    assert_eq!((batch.len_bytes(), transport.held()), (7, Held::default()));
    let mut input = BytesMut::from(&b"so far: "[..]);
    assert_eq!(transport.try_read(&mut input).unwrap(), 2);
    assert_eq!(&input[..], b"so far: in");
    assert_eq!(transport.into_inner().took, b"what ");
}

#[test]
fn the_end_of_the_handshake_leaves_as_it_is_and_all_that_follows_encrypted() {
    let keys = keys();
    let mut random = StdRng::seed_from_u64(1);
    for room in [1, 100, 3073, 10_000, usize::MAX] {
        let mut transport = Encrypted::new(Pipe::default());
        transport.encrypt(ciphering(&keys, 3073, 4096));
        let mut batch = Batch::new();
        let greeting = Bytes::from(vec![7; 3073]);
        batch.push_bytes(greeting.clone());
        let (mut sent, blocks) = queue(&mut batch, &mut random, 30_000);
        let before: Vec<Vec<u8>> = blocks.iter().map(|block| block.to_vec()).collect();
        let (mut total, mut turns) = (0, 0);
        while total < 3073 + sent.len() {
            // Now and then more is queued behind what waits.
            if turns == 3 {
                sent.extend(queue(&mut batch, &mut random, 2000).0);
            }
            turns += 1;
            transport.inner.room = room;
            total += transport.try_write(&mut batch).unwrap();
            assert_eq!(transport.inner.took.len(), total, "what it says it wrote");
            let held = transport.held();
            assert_eq!(total + held.len_bytes + batch.len_bytes(), 3073 + sent.len(), "nothing is lost");
            assert!(held.len_bytes <= 4096 && held.own_bytes <= 2 * 4096 + 4096, "{held:?}");
        }
        assert_eq!((transport.held(), batch.is_empty()), (Held::default(), true), "at rest nothing is kept");
        assert!(
            blocks.iter().zip(before).all(|(block, before)| block == &before),
            "a shared block was written to"
        );
        let mut took = transport.into_inner().took;
        assert_eq!(took[..3073], greeting);
        let (mut cipher, _) = keys.ciphers();
        assert_ne!(took[3073..], sent[..]);
        cipher.apply(&mut took[3073..]);
        assert!(took[3073..] == sent[..]);
    }
}

#[test]
fn what_was_encrypted_waits_while_nothing_leaves() {
    let keys = keys();
    let mut transport = Encrypted::new(Pipe::default());
    transport.encrypt(ciphering(&keys, 0, 4096));
    let mut batch = Batch::new();
    let (sent, _) = queue(&mut batch, &mut StdRng::seed_from_u64(2), 10_000);
    for _ in 0..3 {
        assert_eq!(transport.try_write(&mut batch).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!((transport.held().len_bytes, batch.len_bytes()), (4096, sent.len() - 4096));
    }
    // A session may drop what waits in its batch, but not what is encrypted already.
    batch.clear();
    batch.push_raw(b"after a seek");
    transport.inner.room = usize::MAX;
    assert_eq!(transport.try_write(&mut batch).unwrap(), 4096);
    assert_eq!(transport.try_write(&mut batch).unwrap(), 12);
    let mut took = transport.into_inner().took;
    keys.ciphers().0.apply(&mut took);
    assert!(took[..4096] == sent[..4096] && took[4096..] == b"after a seek"[..]);
}

#[test]
fn what_is_read_is_decrypted_and_what_was_there_is_left_alone() {
    let keys = keys();
    let mut transport = Encrypted::new(Pipe::default());
    transport.encrypt(ciphering(&keys, 0, 4096));
    let (_, mut peer) = keys.ciphers();
    let mut input = BytesMut::from(&b"so far: "[..]);
    for part in ["what ", "is", " said"] {
        let mut bytes = part.as_bytes().to_vec();
        peer.apply(&mut bytes);
        transport.inner.brings = bytes;
        assert_eq!(transport.try_read(&mut input).unwrap(), part.len());
    }
    assert_eq!(&input[..], b"so far: what is said");
    assert_eq!(transport.try_read(&mut input).unwrap(), 0, "the end of the stream");
}
