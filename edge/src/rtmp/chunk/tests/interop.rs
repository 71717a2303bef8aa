//! Against another implementation of the format.

use rml_rtmp::chunk_io::{ChunkDeserializer, ChunkSerializer};
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;

use super::*;

fn payload(timestamp: u32, type_id: u8, stream_id: u32, data: Vec<u8>) -> MessagePayload {
    MessagePayload {
        timestamp: RtmpTimestamp::new(timestamp),
        type_id,
        message_stream_id: stream_id,
        data: data.into(),
    }
}

#[test]
fn what_rml_rtmp_writes_is_read() {
    for uncompressed in [false, true] {
        let mut serializer = ChunkSerializer::new();
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (index, (timestamp, len)) in
            [(0, 10), (40, 10), (80, 10), (90, 700), (20, 5), (16_777_215, 300), (16_777_300, 129), (7, 128)]
                .into_iter()
                .enumerate()
        {
            if index == 4 {
                bytes.extend(serializer.set_max_chunk_size(200, RtmpTimestamp::new(0)).unwrap().bytes);
            }
            for type_id in [8, 9, 18, 20] {
                let data = vec![index as u8; len];
                let message = payload(timestamp, type_id, 1, data.clone());
                bytes.extend(serializer.serialize(&message, uncompressed, false).unwrap().bytes);
                expected.push(super::message(timestamp, type_id, 1, data));
            }
        }
        assert_eq!(read(bytes).unwrap(), expected, "uncompressed: {uncompressed}");
    }
}

#[test]
fn what_is_written_rml_rtmp_reads() {
    let mut out = Batch::new();
    let mut writer = ChunkWriter::new();
    let mut expected = Vec::new();
    for (index, (timestamp, len)) in
        [(0_u32, 3), (40, 5000), (40, 4096), (20_000, 4097), (10, 100), (0xFF_FFFE, 9000), (5, 1)]
            .into_iter()
            .enumerate()
    {
        if index == 1 {
            writer.set_chunk_size(4096, &mut out);
            expected.push((0, 1, 0, 4096_u32.to_be_bytes().to_vec()));
        }
        for (csid, type_id) in [(csid::AUDIO, 8), (csid::VIDEO, 9), (csid::DATA, 18)] {
            let body = Bytes::from(vec![index as u8; len]);
            let payload = std::slice::from_ref(&body);
            let message = OutMessage { csid, timestamp, type_id, stream_id: 1, head: &[0xAF, 1], payload };
            writer.write(&mut out, message).unwrap();
            expected.push((timestamp, type_id, 1, [&[0xAF, 1], &body[..]].concat()));
        }
    }
    let mut deserializer = ChunkDeserializer::new();
    let mut input = sent(out);
    let mut read = Vec::new();
    while let Some(message) = deserializer.get_next_message(&input).unwrap() {
        input = Vec::new();
        if message.type_id == type_id::SET_CHUNK_SIZE {
            deserializer.set_max_chunk_size(4096).unwrap();
        }
        let stream_id = message.message_stream_id;
        read.push((message.timestamp.value, message.type_id, stream_id, message.data.to_vec()));
    }
    assert_eq!(read, expected);
}
