//! From a fuzzer's bytes to what a client does.

use std::collections::VecDeque;

use proto::fuzzing::Input;
use tokio::time::Duration;

use super::wire::Act;
use crate::rtmp::amf::Value;
use crate::rtmp::command;

/// Most acts after `connect`.
const ACTS: usize = 64;
/// Chunk size a script announces, so that its messages take one chunk.
const CHUNK_BYTES: u32 = 65_536;

const STREAMS: &[&str] = &[
    "a.flv",
    "a",
    "mp4:b.mp4",
    "fragments",
    "mp3:folder/c",
    "indexed.flv",
    "slow.mp4",
    "retired.flv",
    "cut.flv",
    "text.mp4",
    "empty.flv",
    "forbidden.flv",
    "unavailable.flv",
    "missing",
    "",
    "../a.flv?x=y",
    "long",
    "other.flv",
    "long",
    "other.flv",
];
const NUMBERS: &[f64] = &[
    0.0,
    1.0,
    2.0,
    3.0,
    400.0,
    -1.0,
    -2.0,
    -1000.0,
    -2000.0,
    1e9,
    1e300,
    f64::NAN,
    f64::INFINITY,
    -0.5,
    999.9,
];
const COMMANDS: &[&str] = &[
    "createStream",
    "play",
    "seek",
    "pause",
    "pauseRaw",
    "deleteStream",
    "closeStream",
    "getStreamLength",
    "receiveAudio",
    "receiveVideo",
    "FCSubscribe",
    "checkBandwidth",
    "_checkbw",
    "_result",
    "_error",
    "play2",
    "publish",
    "releaseStream",
    "connect",
    "nonsense",
];

/// A whole conversation: handshake, `connect`, up to [`ACTS`] acts, and an end.
pub(super) fn script(input: &mut Input<'_>) -> VecDeque<Act> {
    let mut acts = VecDeque::new();
    let shape = input.u8();
    let mut greeting = vec![0; 1 + 2 * 1536];
    greeting[0] = 3;
    acts.push_back(Act::Send(greeting));
    let size = message(1, 0, &CHUNK_BYTES.to_be_bytes());
    acts.push_back(Act::Send(size));
    if shape & 7 != 7 {
        let app = Value::object([("app", "cfx/st".into()), ("tcUrl", "rtmp://127.0.0.1/cfx/st".into())]);
        acts.push_back(Act::Send(message(
            20,
            0,
            &command::encode("connect", 1.0, &[app, (shape & 8 != 0).into()]),
        )));
        acts.push_back(Act::Send(message(20, 0, &command::encode("createStream", 2.0, &[Value::Null]))));
    }
    for _ in 0..ACTS {
        if input.is_empty() {
            break;
        }
        act(input, &mut acts);
    }
    if shape & 16 == 0 {
        acts.extend([Act::Take(usize::MAX), Act::Wait(Duration::from_millis(u64::from(input.u16())))]);
    }
    if shape & 32 == 0 {
        acts.push_back(Act::Close);
    }
    acts
}

fn act(input: &mut Input<'_>, acts: &mut VecDeque<Act>) {
    let bytes = match input.below(24) {
        0..=3 => play(input),
        4..=11 => any_command(input),
        12 => {
            // SetBufferLength, a ping, or some other event.
            let event = *input.choose(&[3u16, 3, 6, 7, 27, 31]);
            let stream = u32::from(input.u8() % 6);
            message(
                4,
                0,
                &[&event.to_be_bytes()[..], &stream.to_be_bytes(), &(input.u32() >> 8).to_be_bytes()]
                    .concat(),
            )
        }
        13 => message(5, 0, &input.u32().to_be_bytes()),
        14 => return acts.push_back(Act::Take(*input.choose(&[0, 1, 100, 5000, usize::MAX]))),
        15 | 16 => return acts.push_back(Act::Wait(Duration::from_millis(u64::from(input.u16())))),
        // Past the limit of 8 KiB: skipped.
        17 => message(20, 0, &vec![2; 1 + usize::from(input.u16() % 12_000)]),
        18 => {
            let (kind, stream) = (input.u8(), u32::from(input.u8() % 6));
            message(kind, stream, input.short())
        }
        // Bytes that are no chunk at all; mostly the end of the conversation.
        19 => input.short().to_vec(),
        20 if input.u8() == 0 => return acts.push_back(Act::Shutdown),
        // Many at once: they arrive in one read.
        21 => {
            let one = any_command(input);
            one.repeat(1 + usize::from(input.u8()))
        }
        22 => play2(input),
        _ => any_command(input),
    };
    // Also without waiting for the answers, and in pieces.
    match (acts.back_mut(), input.u8() % 8) {
        (Some(Act::Send(before)), 0..=3) => before.extend_from_slice(&bytes),
        (_, 7) => {
            let (head, tail) = bytes.split_at(bytes.len() / 2);
            acts.extend([head, tail].map(|piece| Act::Send(piece.to_vec())));
        }
        _ => acts.push_back(Act::Send(bytes)),
    }
    // An empty piece would say that the client has closed.
    acts.retain(|act| !matches!(act, Act::Send(bytes) if bytes.is_empty()));
}

fn play(input: &mut Input<'_>) -> Vec<u8> {
    let name = *input.choose(STREAMS);
    let stream = 1 + u32::from(input.u8().is_multiple_of(8));
    let (start, len) = (*input.choose(NUMBERS), *input.choose(&[-1.0, -1.0, 0.0, 300.0, 1e300]));
    let reset = match input.below(6) {
        0 => Value::Boolean(false),
        1 => Value::Number(0.0),
        2 => Value::Number(3.0),
        _ => Value::Boolean(true),
    };
    let args = [Value::Null, name.into(), start.into(), len.into(), reset];
    message(20, stream, &command::encode("play", 0.0, &args))
}

/// Options as Flash sends them (in one object, some missing, times of any size), or one after the other.
fn play2(input: &mut Input<'_>) -> Vec<u8> {
    const TRANSITIONS: &[&str] =
        &["switch", "switch", "switch", "swap", "reset", "append", "appendAndWait", "resume", "stop", "leap"];
    let stream = 1 + u32::from(input.u8().is_multiple_of(8));
    let mut values = vec![
        ("streamName", Value::from(*input.choose(STREAMS))),
        ("oldStreamName", Value::from(*input.choose(STREAMS))),
        ("start", Value::Number(*input.choose(NUMBERS))),
        ("len", Value::Number(*input.choose(&[-1.0, -1.0, 0.0, 0.3, 300.0, 1e300]))),
        ("offset", Value::Number(*input.choose(NUMBERS))),
        ("transition", Value::from(*input.choose(TRANSITIONS))),
    ];
    let shape = input.u8();
    values.retain(|(key, _)| *key == "streamName" || *key == "transition" || shape & 3 != 0);
    let mut args = vec![Value::Null];
    if shape & 12 == 0 {
        args.extend(values.into_iter().map(|(_, value)| value));
    } else {
        args.push(Value::object(values));
    }
    message(20, stream, &command::encode("play2", 0.0, &args))
}

fn any_command(input: &mut Input<'_>) -> Vec<u8> {
    let name = *input.choose(COMMANDS);
    let stream = u32::from(input.u8() % 5);
    let transaction =
        if name == "_result" { 1000.0 + f64::from(input.u8() % 4) } else { f64::from(input.u8() % 4) };
    let mut args = vec![if input.u8().is_multiple_of(16) { value(input, 0) } else { Value::Null }];
    for _ in 0..input.below(4) {
        args.push(value(input, 0));
    }
    let mut payload = command::encode(name, transaction, &args).to_vec();
    let amf3 = input.u8().is_multiple_of(8);
    if amf3 {
        payload.insert(0, 0);
    }
    message(if amf3 { 17 } else { 20 }, stream, &payload)
}

fn value(input: &mut Input<'_>, depth: usize) -> Value {
    match input.below(12) {
        0..=3 => Value::Number(*input.choose(NUMBERS)),
        4 => Value::Number(f64::from_bits(input.u64())),
        5 | 6 => Value::Boolean(input.coin()),
        7 | 8 => Value::from(*input.choose(STREAMS)),
        9 => {
            let text = String::from_utf8_lossy(input.short());
            text.repeat(1 + input.below(8)).into()
        }
        10 if depth < 4 => {
            let key = *input.choose(&["app", "tcUrl", "streamName", "objectEncoding", "x"]);
            Value::object([(key, value(input, depth + 1))])
        }
        11 if depth < 4 => Value::StrictArray((0..input.below(3)).map(|_| value(input, depth + 1)).collect()),
        _ => Value::Undefined,
    }
}

/// A message with a full header on chunk stream 3, in one chunk.
pub(in crate::session) fn message(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![3, 0, 0, 0, len[1], len[2], len[3], kind];
    bytes.extend_from_slice(&stream.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
