//! Fuzz targets: AMF0 and AMF3 values, and the commands made of them.

use bytes::{Bytes, BytesMut};
use proto::fuzzing::Input;

use super::{Limits, Value, decode, decode_all, encode};
use crate::rtmp::command;
use crate::rtmp::message::{Message, type_id};

/// Longer inputs aren't tried: text that is not UTF-8 triples, and a property's name holds 64 KiB.
const INPUT_BYTES: usize = 16 << 10;

/// What a decoded message takes.
#[derive(Debug, Default)]
struct Size {
    values: usize,
    depth: usize,
    text_bytes: usize,
}

impl Size {
    fn add(&mut self, value: &Value, depth: usize) {
        self.values += 1;
        self.depth = self.depth.max(depth);
        match value {
            Value::String(text) | Value::Xml(text) => self.text_bytes += text.len(),
            Value::StrictArray(values) => values.iter().for_each(|value| self.add(value, depth + 1)),
            Value::TypedObject { class, .. } => self.text_bytes += class.len(),
            _ => {}
        }
        for (key, value) in value.properties().unwrap_or_default() {
            self.text_bytes += key.len();
            self.add(value, depth + 1);
        }
    }
}

fn written(values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    values.iter().for_each(|value| encode(value, &mut out));
    out.freeze()
}

/// Limits by the first byte, then a message.
pub fn amf0(data: &[u8]) {
    let mut choices = Input::new(data);
    let limits = limits(choices.u8());
    check(choices.rest(), &limits);
}

/// Limits by the first byte, then the inside of one AMF3 value.
pub fn amf3(data: &[u8]) {
    let mut choices = Input::new(data);
    let limits = limits(choices.u8());
    check(&[&[0x11], choices.rest()].concat(), &limits);
}

fn limits(choice: u8) -> Limits {
    match choice % 4 {
        0 => Limits::default(),
        1 => Limits { depth: 3, values: 40 },
        // The ceiling holds whatever is configured.
        2 => Limits { depth: usize::MAX, values: 20_000 },
        _ => Limits { depth: 64, values: 300 },
    }
}

fn check(message: &[u8], limits: &Limits) {
    if message.len() > INPUT_BYTES {
        return;
    }
    let Ok(values) = decode_all(message, limits) else {
        // What is no message is no command either.
        let plain = message.strip_prefix(&[0]).unwrap_or(message);
        assert!(plain.len() < message.len() || command::parse(&carried(message), limits).is_err());
        return;
    };
    let mut size = Size::default();
    values.iter().for_each(|value| size.add(value, 0));
    assert!(size.values <= limits.values, "{size:?} of {limits:?}");
    assert!(size.depth <= limits.depth.min(super::DEPTH_CEILING), "{size:?} of {limits:?}");
    // Text stands in the message, is paid for by its length, or is short and beside a value; lossy reading triples it.
    let most = 3 * (message.len() + 256 * limits.values.min(message.len() * message.len()));
    assert!(size.text_bytes <= most, "{size:?} of {} bytes", message.len());

    let again = written(&values);
    let roomy = Limits { depth: 64, values: usize::MAX };
    let reread = decode_all(&again, &roomy).unwrap_or_else(|error| panic!("{error}: {values:?}"));
    // Compared by their bytes: not every number equals itself.
    assert_eq!(written(&reread), again, "{values:?}");

    if let Some(first) = values.first() {
        let mut rest = message;
        let alone = decode(&mut rest, limits).unwrap_or_else(|error| panic!("{error}: {first:?}"));
        assert_eq!(written(std::slice::from_ref(&alone)), written(std::slice::from_ref(first)));
        assert!(rest.len() < message.len());
    }
    let parsed = command::parse(&carried(message), limits);
    if let Ok(Some(parsed)) = parsed {
        let mut after = vec![parsed.object.clone()];
        after.extend(parsed.args.iter().cloned());
        let payload = command::encode(&parsed.name, parsed.transaction, &after);
        let again = command::parse(&Message { payload, ..carried(&[]) }, &roomy);
        assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, ()>(Some(parsed))));
    }
}

fn carried(payload: &[u8]) -> Message {
    let payload = Bytes::copy_from_slice(payload);
    Message { timestamp: 0, type_id: type_id::COMMAND, stream_id: 0, payload }
}
