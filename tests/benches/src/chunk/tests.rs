//! Chunks as servers cut them, in any slices the network may bring, give the messages they were cut from.

use super::*;

#[derive(Default)]
struct Seen(Vec<(Message, Vec<u8>)>);

impl Sink for Seen {
    fn message(&mut self, message: Message, body: &[u8]) {
        self.0.push((message, body.to_vec()));
    }
}

/// The hash of a payload: the first byte doesn't count.
fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(&bytes[1..])
}

/// Feeds a stream in pieces of each size; the outcome must not depend on where reads cut it.
fn read(bytes: &[u8]) -> Vec<(Message, Vec<u8>)> {
    let mut outcomes = [1, 2, 3, 7, 19, 100, 5000, usize::MAX].map(|piece| {
        let (mut reader, mut seen) = (Reader::new(true), Seen::default());
        for part in bytes.chunks(piece.min(bytes.len())) {
            reader.feed(part, &mut seen).unwrap();
        }
        seen.0
    });
    let last = std::mem::take(&mut outcomes[7]);
    for other in &outcomes[..7] {
        assert_eq!(*other, last);
    }
    last
}

fn full(id: u8, time: u32, kind: u8, bytes: usize) -> Vec<u8> {
    let (time, length) = (time.to_be_bytes(), (bytes as u32).to_be_bytes());
    vec![id, time[1], time[2], time[3], length[1], length[2], length[3], kind, 1, 0, 0, 0]
}

#[test]
fn all_four_header_forms() {
    let frame = [0x17, 1, 2, 3, 4];
    let mut b = full(6, 1000, 9, 5);
    b.extend(frame);
    b.extend([0x46, 0, 0, 40, 0, 0, 3, 9, 0x27, 1, 9]); // form 1: delta 40, three bytes
    b.extend([0x86, 0, 0, 30, 5, 6, 7]); // form 2: delta 30
    b.extend([0xc6, 8, 9, 10]); // form 3: the same again
    let seen = read(&b);
    let times: Vec<u32> = seen.iter().map(|(m, _)| m.time_ms).collect();
    assert_eq!(times, [1000, 1040, 1070, 1100]);
    assert_eq!(seen[0].0, Message { kind: 9, time_ms: 1000, bytes: 5, hash: crc(&frame), lead: [0x17, 1] });
    assert_eq!(seen[3].0.hash, crc(&[8, 9, 10]));
    assert!(seen.iter().all(|(_, body)| body.is_empty()), "media is not kept");
}

#[test]
fn a_delta_may_run_backwards_by_wrapping() {
    let mut b = full(6, 1000, 9, 1);
    b.push(1);
    b.extend([0x86, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x9c, 2]); // -100
    assert_eq!(read(&b)[1].0.time_ms, 900);
}

#[test]
fn interleaved_streams_keep_their_own_state() {
    let audio: Vec<u8> = (0..200).map(|n| n as u8).collect();
    let video: Vec<u8> = (0..300).map(|n| (n * 7) as u8).collect();
    let mut b = full(4, 10, 8, 200);
    b.extend(&audio[..128]);
    b.extend(full(6, 20, 9, 300));
    b.extend(&video[..128]);
    b.push(0xc4);
    b.extend(&audio[128..]);
    b.push(0xc6);
    b.extend(&video[128..256]);
    b.push(0xc6);
    b.extend(&video[256..]);
    let seen = read(&b);
    assert_eq!((seen[0].0.kind, seen[0].0.hash), (8, crc(&audio)));
    assert_eq!((seen[1].0.kind, seen[1].0.hash), (9, crc(&video)));
}

#[test]
fn extended_times_stand_on_type_3_chunks_too() {
    let video = [9u8; 200];
    let mut b = full(6, 0xff_ffff, 9, 200);
    b.extend(0x0123_4567u32.to_be_bytes());
    b.extend(&video[..128]);
    b.push(0xc6);
    b.extend(0x0123_4567u32.to_be_bytes());
    b.extend(&video[128..]);
    b.extend(full(6, 5, 9, 1));
    b.push(1);
    let seen = read(&b);
    assert_eq!((seen[0].0.time_ms, seen[0].0.hash), (0x0123_4567, crc(&video)));
    assert_eq!(seen[1].0.time_ms, 5);
}

#[test]
fn set_chunk_size_holds_from_the_next_chunk() {
    let mut b = full(2, 0, 1, 4);
    b.extend(4096u32.to_be_bytes());
    b.extend(full(6, 0, 9, 4000));
    b.extend([7u8; 4000]);
    let seen = read(&b);
    assert_eq!(seen[0].1, 4096u32.to_be_bytes());
    assert_eq!(seen[1].0.hash, crc(&[7; 4000]));
}

#[test]
fn long_chunk_stream_ids_and_empty_messages() {
    let mut b = vec![0, 16];
    b.extend(&full(0, 1, 8, 0)[1..]);
    b.extend([1, 16, 1]);
    b.extend(&full(0, 2, 8, 2)[1..]);
    b.extend([1, 2]);
    let seen = read(&b);
    assert_eq!((seen[0].0.time_ms, seen[0].0.bytes), (1, 0));
    assert_eq!((seen[1].0.time_ms, seen[1].0.lead), (2, [1, 2]));
}

#[test]
fn what_a_client_writes_can_be_read() {
    let body: Vec<u8> = (0..400u32).map(|n| n as u8).collect();
    let mut out = Vec::new();
    write(&mut out, 3, 20, 1, &body);
    assert_eq!(read(&out)[0].1, body);
}

#[test]
fn what_cannot_be_followed_is_an_error() {
    let mut seen = Seen::default();
    assert_eq!(Reader::new(false).feed(&[0xc6, 1], &mut seen), Err(Broken::NoHeader));
    let mut torn = full(6, 0, 9, 200);
    torn.extend([0; 128]);
    torn.extend(full(6, 0, 9, 200));
    assert_eq!(Reader::new(false).feed(&torn, &mut seen), Err(Broken::Torn));
    assert_eq!(Reader::new(false).feed(&full(3, 0, 20, 2 << 20), &mut seen), Err(Broken::Long(2 << 20)));
    let mut zero = full(2, 0, 1, 4);
    zero.extend([0; 4]);
    assert_eq!(Reader::new(false).feed(&zero, &mut seen), Err(Broken::ChunkSize(0)));
}
