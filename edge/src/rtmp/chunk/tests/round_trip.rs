//! Tests of `rtmp/chunk/round_trip`.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Sent {
    csid: u32,
    message: Message,
    /// How many of the payload's bytes are sent as head.
    head: usize,
    /// Where the rest is cut into slices.
    cut: usize,
    chunk_size: Option<u32>,
    forget: bool,
}

fn timestamps() -> impl Strategy<Value = u32> {
    prop_oneof![0..5000_u32, 0xFF_FF00..0x100_0100_u32, 0xFFFF_FF00..=u32::MAX, any::<u32>()]
}

fn messages() -> impl Strategy<Value = Sent> {
    (
        (prop_oneof![3..10_u32, 60..70_u32, 316..324_u32, Just(65_599)], timestamps(), 3..23_u8, 0..3_u32),
        prop_oneof![0..300_usize, 0..20_000_usize],
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        prop::option::weighted(0.2, prop_oneof![128..300_u32, 1000..70_000_u32]),
        prop::bool::weighted(0.1),
        any::<u8>(),
    )
        .prop_map(
            |((csid, timestamp, type_id, stream_id), len, (head, cut), chunk_size, forget, fill)| {
                let payload: Vec<u8> = (0..len).map(|i| fill.wrapping_add((i / 3) as u8)).collect();
                Sent {
                    csid,
                    message: message(timestamp, type_id, stream_id, payload),
                    head: head.index(len + 1).min(20),
                    cut: cut.index(len + 1),
                    chunk_size,
                    forget,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is written is read, in any pieces.
    #[test]
    fn the_reader_undoes_the_writer(
        sequence in prop::collection::vec(messages(), 1..20),
        steps in prop::collection::vec(1..6000_usize, 1..10),
    ) {
        let mut writer = ChunkWriter::new();
        let mut out = Batch::new();
        for sent in &sequence {
            if let Some(bytes) = sent.chunk_size {
                writer.set_chunk_size(bytes, &mut out);
                prop_assert_eq!(writer.chunk_size(), bytes);
            }
            if sent.forget {
                writer.forget(sent.csid);
            }
            let Message { timestamp, type_id, stream_id, ref payload } = sent.message;
            let cut = sent.cut.max(sent.head);
            let slices = [payload.slice(sent.head..cut), payload.slice(cut..)];
            let head = &payload[..sent.head];
            writer.write(&mut out, OutMessage { csid: sent.csid, timestamp, type_id, stream_id, head, payload: &slices })?;
        }
        let mut reader = ChunkReader::new(ReaderLimits::default());
        let mut input = BytesMut::new();
        let mut read = Vec::new();
        for step in steps.iter().cycle() {
            if out.is_empty() {
                break;
            }
            input.extend_from_slice(&out.copy_to_bytes((*step).min(out.len_bytes())));
            while let Some(message) = reader.read(&mut input)? {
                read.push(message);
            }
        }
        prop_assert!(input.is_empty());
        let expected: Vec<Message> = sequence.into_iter().map(|sent| sent.message).collect();
        prop_assert_eq!(read, expected);
    }
}
