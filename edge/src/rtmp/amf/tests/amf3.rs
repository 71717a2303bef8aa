//! AMF3 inside AMF0: a 0x11 marker before each value.

use super::*;

fn amf3(bytes: &[u8]) -> Value {
    one(&[b"\x11", bytes].concat())
}

fn fails(bytes: &[u8]) -> AmfError {
    read(&[b"\x11", bytes].concat()).unwrap_err()
}

#[test]
fn simple_values() {
    for (bytes, value) in [
        (&b"\x00"[..], Value::Undefined),
        (b"\x01", Value::Null),
        (b"\x02", false.into()),
        (b"\x03", true.into()),
        (b"\x04\x7F", 127.0.into()),
        (b"\x04\x81\x00", 128.0.into()),
        (b"\x04\xFF\x7F", 16383.0.into()),
        (b"\x04\x81\x80\x00", 16384.0.into()),
        (b"\x04\xBF\xFF\xFF\xFF", 268_435_455.0.into()),
        (b"\x04\xFF\xFF\xFF\xFF", Value::Number(-1.0)),
        (b"\x04\xC0\x80\x80\x00", Value::Number(-268_435_456.0)),
        (b"\x05\x3F\xF8\0\0\0\0\0\0", 1.5.into()),
        (b"\x06\x05ab", "ab".into()),
        (b"\x07\x09<a/>", Value::Xml("<a/>".into())),
        (b"\x0B\x09<a/>", Value::Xml("<a/>".into())),
        (b"\x08\x01\x3F\xF8\0\0\0\0\0\0", Value::Date { ms: 1.5, zone_minutes: 0 }),
        (b"\x0C\x07abc", Value::Unsupported),
    ] {
        assert_eq!(amf3(bytes), value, "{bytes:02x?}");
    }
    assert_eq!(fails(b"\x0D\x01"), AmfError::UnknownMarker(0x0D));
    assert_eq!(fails(b"\x06\xFF\xFF\xFF\xFF"), AmfError::Truncated);
}

#[test]
fn arrays_are_dense_or_named() {
    assert_eq!(amf3(b"\x09\x05\x01\x01\x03"), Value::StrictArray(vec![Value::Null, true.into()]));
    assert_eq!(
        amf3(b"\x09\x03\x03k\x02\x01\x03"),
        Value::ecma_array([("k", Value::Boolean(false)), ("0", true.into())])
    );
}

#[test]
fn objects_are_sealed_dynamic_or_typed() {
    // Two sealed properties, then dynamic ones, of class "C".
    assert_eq!(
        amf3(b"\x0A\x2B\x03C\x03a\x03b\x04\x01\x04\x02\x03d\x04\x03\x01"),
        Value::TypedObject {
            class: "C".into(),
            fields: vec![("a".into(), 1.0.into()), ("b".into(), 2.0.into()), ("d".into(), 3.0.into())],
        }
    );
    assert_eq!(amf3(b"\x0A\x0B\x01\x03a\x01\x01"), Value::object([("a", Value::Null)]));
}

#[test]
fn traits_strings_and_objects_are_referred_to() {
    // [{a: 1} sealed, {a: 2} by traits 0, the first object again]
    let first = Value::object([("a", Value::from(1.0))]);
    assert_eq!(
        amf3(b"\x09\x07\x01\x0A\x13\x01\x03a\x04\x01\x0A\x01\x04\x02\x0A\x02"),
        Value::StrictArray(vec![first.clone(), Value::object([("a", Value::from(2.0))]), first])
    );
    assert_eq!(amf3(b"\x09\x05\x01\x06\x03x\x06\x00"), Value::StrictArray(vec!["x".into(), "x".into()]));
    // An array that holds itself.
    assert_eq!(amf3(b"\x09\x03\x01\x09\x00"), Value::StrictArray(vec![Value::Undefined]));
    assert_eq!(fails(b"\x09\x04"), AmfError::BadReference(2));
    assert_eq!(fails(b"\x06\x00"), AmfError::BadReference(0));
    assert_eq!(fails(b"\x0A\x01"), AmfError::BadReference(0));
}

#[test]
fn classes_with_a_format_of_their_own_are_refused_but_for_flex_wrappers() {
    let collection = [b"\x0A\x07\x43flex.messaging.io.ArrayCollection", &b"\x09\x03\x01\x01"[..]].concat();
    assert_eq!(amf3(&collection), Value::StrictArray(vec![Value::Null]));
    assert_eq!(fails(b"\x0A\x07\x03X\x01"), AmfError::Externalizable);
}

#[test]
fn values_of_both_formats_follow_each_other() {
    assert_eq!(
        read(b"\x02\x00\x01a\x11\x0A\x0B\x01\x03k\x04\x05\x01\x05").unwrap(),
        [Value::from("a"), Value::object([("k", Value::from(5.0))]), Value::Null]
    );
}

#[test]
fn bombs_go_off_within_the_budget() {
    assert_eq!(fails(&b"\x09\x03\x01".repeat(100_000)), AmfError::TooDeep);
    assert_eq!(fails(b"\x09\xFF\xFF\xFF\xFF\x01"), AmfError::Truncated);
    assert_eq!(fails(b"\x0A\xFF\xFF\xFF\xF3\x01"), AmfError::Truncated);

    // 16 KB of text, referred to 4000 times.
    let text =
        [&b"\x09\xBF\x41\x01\x06\x81\xFF\x7F"[..], &vec![b'x'; 16_383], &b"\x06\x00".repeat(4000)].concat();
    assert_eq!(fails(&text), AmfError::TooManyValues);

    // Arrays that hold the one before twice, under one root: 2^n values.
    let mut doubling = b"\x09\xBF\x41\x01\x09\x05\x01\x01\x01".to_vec();
    for index in 1..60_u8 {
        doubling.extend_from_slice(&[0x09, 0x05, 0x01, 0x09, index << 1, 0x09, index << 1]);
    }
    doubling.extend(vec![1; 4100]);
    assert!(matches!(fails(&doubling), AmfError::TooManyValues | AmfError::TooDeep));

    // The same inside AMF0, repeated by AMF0 references.
    let mut nested = b"\x0A\0\0\0\x01\x11\x06\x81\xFF\x7F".to_vec();
    nested.extend(vec![b'x'; 16_383]);
    nested.extend(b"\x07\x00\x00".repeat(4000));
    assert_eq!(read(&nested), Err(AmfError::TooManyValues));
}
