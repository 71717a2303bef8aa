//! Tests of `rtmp/command`.

use super::*;

fn message(type_id: u8, payload: impl Into<Bytes>) -> Message {
    Message { timestamp: 0, type_id, stream_id: 1, payload: payload.into() }
}

fn command(type_id: u8, payload: impl Into<Bytes>) -> Command {
    parse(&message(type_id, payload), &Limits::default()).unwrap().unwrap()
}

#[test]
fn a_command_has_name_transaction_object_and_arguments() {
    let payload = encode("play", 4.0, &[Value::Null, "mp4:film".into(), Value::Number(-2000.0)]);
    let read = command(20, payload);
    assert_eq!((read.name.as_str(), read.transaction, &read.object), ("play", 4.0, &Value::Null));
    assert_eq!(read.args, [Value::from("mp4:film"), Value::Number(-2000.0)]);
    assert_eq!(read.arg(0).and_then(Value::as_str), Some("mp4:film"));
    assert_eq!(read.arg(2), None);
    assert!(!read.amf3);
}

#[test]
fn missing_values_have_defaults() {
    let bare = command(20, &b"\x02\x00\x05close"[..]);
    assert_eq!((bare.transaction, bare.object, bare.args.len()), (0.0, Value::Null, 0));
    // The 17-byte message that panics rml_rtmp: a name and a number.
    let two = command(20, &b"\x02\x00\x05close\x00\x40\0\0\0\0\0\0\0"[..]);
    assert_eq!((two.transaction, two.object), (2.0, Value::Null));
    assert_eq!(command(20, &b"\x02\x00\x01x\x05\x05"[..]).transaction, 0.0);
}

#[test]
fn statement_21_the_amf3_envelope_is_understood() {
    let inner = encode("connect", 1.0, &[Value::object([("objectEncoding", Value::from(3.0))])]);
    let with_zero = [&[0], &inner[..]].concat();
    for payload in [Bytes::from(with_zero), inner] {
        let read = command(17, payload);
        assert!(read.amf3);
        assert_eq!(read.object.get("objectEncoding"), Some(&Value::from(3.0)));
    }
    // An argument that switches to AMF3.
    let switched =
        command(17, &b"\x00\x02\x00\x05play2\x00\0\0\0\0\0\0\0\0\x05\x11\x0A\x0B\x01\x03a\x06\x03b\x01"[..]);
    assert_eq!(switched.args, [Value::object([("a", Value::from("b"))])]);
}

#[test]
fn other_messages_are_no_commands() {
    for type_id in [0, 3, 8, 9, 15, 16, 18, 19, 22, 255] {
        assert_eq!(parse(&message(type_id, &b"\x02\x00\x01x"[..]), &Limits::default()), Ok(None));
    }
    for nameless in [&b""[..], b"\x05", b"\x00\0\0\0\0\0\0\0\0", b"\x00"] {
        assert!(!matches!(parse(&message(20, nameless), &Limits::default()), Ok(Some(_))));
    }
}

#[test]
fn damaged_values_are_an_error() {
    assert_eq!(parse(&message(20, &b"\x02\x00\x09x"[..]), &Limits::default()), Err(AmfError::Truncated));
}
