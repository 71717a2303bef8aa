//! Tests of `rtmp/amf`.

use bytes::BytesMut;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rml_amf0::Amf0Value;

use super::*;

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(value, &mut out);
    out.to_vec()
}

fn read(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
    decode_all(bytes, &Limits::default())
}

fn one(bytes: &[u8]) -> Value {
    let mut values = read(bytes).unwrap();
    assert_eq!(values.len(), 1);
    values.remove(0)
}

mod amf3;

#[test]
fn every_marker_has_its_golden_bytes() {
    let fields = vec![("b".to_owned(), Value::Null), ("a".to_owned(), Value::Boolean(true))];
    let body = b"\x00\x01b\x05\x00\x01a\x01\x01\x00\x00\x09";
    for (value, bytes) in [
        (Value::Number(1.5), b"\x00\x3F\xF8\0\0\0\0\0\0".to_vec()),
        (Value::Boolean(true), b"\x01\x01".to_vec()),
        (Value::from("ab"), b"\x02\x00\x02ab".to_vec()),
        (Value::Object(fields.clone()), [b"\x03", &body[..]].concat()),
        (Value::Null, b"\x05".to_vec()),
        (Value::Undefined, b"\x06".to_vec()),
        (Value::EcmaArray(fields.clone()), [b"\x08\0\0\0\x02", &body[..]].concat()),
        (Value::StrictArray(vec![Value::Null, Value::Undefined]), b"\x0A\0\0\0\x02\x05\x06".to_vec()),
        (Value::Date { ms: 1.5, zone_minutes: -60 }, b"\x0B\x3F\xF8\0\0\0\0\0\0\xFF\xC4".to_vec()),
        (Value::Unsupported, b"\x0D".to_vec()),
        (Value::Xml("<a/>".into()), b"\x0F\0\0\0\x04<a/>".to_vec()),
        (Value::TypedObject { class: "C".into(), fields }, [b"\x10\x00\x01C", &body[..]].concat()),
    ] {
        assert_eq!(encoded(&value), bytes, "{value:?}");
        assert_eq!(one(&bytes), value);
    }
    for marker in [0x04, 0x0E, 0x12, 0xFF] {
        assert_eq!(read(&[marker, 0, 0, 0]), Err(AmfError::UnknownMarker(marker)));
    }
}

#[test]
fn long_text_takes_the_long_form() {
    for len in [65_535, 65_536] {
        let value = Value::from("x".repeat(len));
        let bytes = encoded(&value);
        assert_eq!(bytes[0], if len == 65_535 { 0x02 } else { 0x0C });
        assert_eq!(one(&bytes), value);
    }
    let key = "ä".repeat(40_000);
    let bytes = encoded(&Value::object([(key.as_str(), Value::Null)]));
    assert_eq!(one(&bytes).properties().unwrap()[0].0, "ä".repeat(32_767));
}

#[test]
fn text_that_is_not_utf8_is_read_lossily() {
    assert_eq!(one(b"\x02\x00\x03a\xFFb"), Value::from("a\u{FFFD}b"));
}

#[test]
fn ecma_array_counts_are_not_believed() {
    assert_eq!(
        one(b"\x08\xFF\xFF\xFF\xFF\x00\x01a\x05\x00\x00\x09"),
        Value::ecma_array([("a", Value::Null)])
    );
    assert_eq!(one(b"\x08\0\0\0\0\x00\x01a\x05\x00\x00\x09"), Value::ecma_array([("a", Value::Null)]));
}

#[test]
fn objects_may_end_with_the_message() {
    assert_eq!(one(b"\x03\x00\x01a\x05"), Value::object([("a", Value::Null)]));
    assert_eq!(one(b"\x03\x00\x01a\x05\x00\x00"), Value::object([("a", Value::Null)]));
    assert_eq!(read(b"\x03\x00\x01a"), Err(AmfError::Truncated));
}

#[test]
fn an_empty_name_is_a_name_unless_the_end_marker_follows() {
    assert_eq!(
        one(b"\x03\x00\x00\x05\x00\x01a\x06\x00\x00\x09"),
        Value::object([("", Value::Null), ("a", Value::Undefined)])
    );
}

#[test]
fn accessors_answer_for_their_own_kind_only() {
    let object =
        Value::object([("n", Value::from(2.0)), ("b", true.into()), ("s", "x".into()), ("n", 3.0.into())]);
    assert_eq!(object.get("n").and_then(Value::as_number), Some(3.0));
    assert_eq!(object.get("b").and_then(Value::as_bool), Some(true));
    assert_eq!(object.get("s").and_then(Value::as_str), Some("x"));
    assert_eq!(object.get("missing"), None);
    assert_eq!(Value::Null.get("n"), None);
    assert_eq!((object.as_number(), object.as_bool(), object.as_str()), (None, None, None));
}

#[test]
fn decode_takes_one_value() {
    let mut input = &b"\x05\x01\x01\x02"[..];
    assert_eq!(decode(&mut input, &Limits::default()), Ok(Value::Null));
    assert_eq!(decode(&mut input, &Limits::default()), Ok(Value::Boolean(true)));
    assert_eq!(decode(&mut input, &Limits::default()), Err(AmfError::Truncated));
    assert_eq!(input, b"\x02");
}

#[test]
fn references_repeat_finished_objects() {
    // [{a: null}, reference 1, 7]: object 0 is the array, 1 the object.
    let bytes = b"\x0A\0\0\0\x03\x03\x00\x01a\x05\x00\x00\x09\x07\x00\x01\x01\x01";
    let object = Value::object([("a", Value::Null)]);
    assert_eq!(one(bytes), Value::StrictArray(vec![object.clone(), object.clone(), true.into()]));
    // Across the values of one message.
    assert_eq!(read(b"\x03\x00\x01a\x05\x00\x00\x09\x07\x00\x00").unwrap(), [object.clone(), object]);
    assert_eq!(read(b"\x07\x00\x00"), Err(AmfError::BadReference(0)));
}

#[test]
fn objects_that_hold_themselves_hold_undefined() {
    assert_eq!(one(b"\x03\x00\x01a\x07\x00\x00\x00\x00\x09"), Value::object([("a", Value::Undefined)]));
    // 0 = {p: 1 = {up: reference 0}}, then reference 1 and reference 0 from outside.
    let bytes = b"\x03\x00\x01p\x03\x00\x02up\x07\x00\x00\x00\x00\x09\x00\x00\x09\x07\x00\x01\x07\x00\x00";
    let values = read(bytes).unwrap();
    assert_eq!(values[0], Value::object([("p", Value::object([("up", Value::Undefined)]))]));
    assert_eq!(values.len(), 3);
}

#[test]
fn nesting_ends_at_the_limit() {
    let nested = |depth: usize| b"\x0A\0\0\0\x01".repeat(depth);
    assert_eq!(read(&[nested(16), vec![5]].concat()).map(|values| values.len()), Ok(1));
    assert_eq!(read(&[nested(17), vec![5]].concat()), Err(AmfError::TooDeep));
    let deep = b"\x03\x00\x01a".repeat(200_000);
    for depth in [16, usize::MAX] {
        assert_eq!(decode_all(&deep, &Limits { depth, values: usize::MAX }), Err(AmfError::TooDeep));
    }
}

#[test]
fn claimed_counts_allocate_nothing() {
    assert_eq!(read(b"\x0A\xFF\xFF\xFF\xFF\x05"), Err(AmfError::Truncated));
    assert_eq!(read(b"\x0C\xFF\xFF\xFF\xFFab"), Err(AmfError::Truncated));
    assert_eq!(read(b"\x02\xFF\xFFab"), Err(AmfError::Truncated));
}

#[test]
fn values_end_at_the_limit() {
    assert_eq!(read(&[5; 4096]).map(|values| values.len()), Ok(4096));
    assert_eq!(read(&[5; 4097]), Err(AmfError::TooManyValues));
    let array = [&b"\x0A\x00\x00\x10\x00"[..], &[5; 4096]].concat();
    assert_eq!(read(&array), Err(AmfError::TooManyValues));
}

/// Each array holds the one before it twice: 2^n values in 13 n bytes.
#[test]
fn reference_bombs_go_off_within_the_budget() {
    let mut bytes = b"\x0A\0\0\0\x02\x05\x05".to_vec();
    for index in 0..1000_u16 {
        bytes.extend_from_slice(b"\x0A\0\0\0\x02");
        for _ in 0..2 {
            bytes.push(7);
            bytes.extend_from_slice(&index.to_be_bytes());
        }
    }
    assert!(matches!(read(&bytes), Err(AmfError::TooManyValues | AmfError::TooDeep)));

    // 60 KB of text, repeated by three bytes each.
    let mut bytes = encoded(&Value::object([("t", Value::from("x".repeat(60_000)))]));
    bytes.extend(b"\x07\x00\x00".repeat(1000));
    assert_eq!(read(&bytes), Err(AmfError::TooManyValues));
}

fn values() -> impl Strategy<Value = Value> {
    let text = "[a-zä]{0,12}";
    let leaf = prop_oneof![
        any::<f64>().prop_filter("NaN equals nothing", |n| !n.is_nan()).prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        text.prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        Just(Value::Unsupported),
        (-1e15..1e15, any::<i16>()).prop_map(|(ms, zone_minutes)| Value::Date { ms, zone_minutes }),
        text.prop_map(Value::Xml),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let fields = prop::collection::vec(("[a-zä]{1,6}", inner.clone()), 0..6);
        prop_oneof![
            fields.clone().prop_map(Value::Object),
            fields.clone().prop_map(Value::EcmaArray),
            ("[A-Z]{1,4}", fields).prop_map(|(class, fields)| Value::TypedObject { class, fields }),
            prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(values in prop::collection::vec(values(), 0..5)) {
        let bytes: Vec<u8> = values.iter().flat_map(encoded).collect();
        prop_assert_eq!(read(&bytes)?, values);
    }
}

#[test]
fn another_implementation_reads_what_is_written() {
    let value = Value::object([
        ("app", Value::from("cfx/st")),
        ("objectEncoding", 3.0.into()),
        ("fpad", false.into()),
        ("nothing", Value::Null),
        ("list", Value::StrictArray(vec![1.0.into(), "x".into()])),
    ]);
    let read = rml_amf0::deserialize(&mut std::io::Cursor::new(encoded(&value))).unwrap();
    let [Amf0Value::Object(fields)] = &read[..] else { panic!("{read:?}") };
    assert_eq!(fields["app"], Amf0Value::Utf8String("cfx/st".into()));
    assert_eq!(fields["objectEncoding"], Amf0Value::Number(3.0));
    assert_eq!(fields["fpad"], Amf0Value::Boolean(false));
    assert_eq!(fields["nothing"], Amf0Value::Null);
    let list = vec![Amf0Value::Number(1.0), Amf0Value::Utf8String("x".into())];
    assert_eq!(fields["list"], Amf0Value::StrictArray(list));

    let bytes = rml_amf0::serialize(&read).unwrap();
    let again = one(&bytes);
    assert_eq!(again.get("app").and_then(Value::as_str), Some("cfx/st"));
    assert_eq!(again.get("list"), value.get("list"));
}

/// Seeded, so that a failure repeats.
#[test]
fn mutated_values_never_panic() {
    let seed = Value::StrictArray(vec![
        Value::object([("a", Value::from(1.0)), ("b", Value::ecma_array([("c", Value::from("text"))]))]),
        Value::Date { ms: 0.0, zone_minutes: 0 },
        Value::TypedObject { class: "C".into(), fields: vec![("x".into(), Value::Xml("<x/>".into()))] },
    ]);
    let mut base = encoded(&seed);
    base.extend_from_slice(
        b"\x07\x00\x01\x11\x0A\x0B\x01\x03a\x09\x05\x01\x04\x01\x06\x00\x01\x11\x0A\x13\x01\x03a\x05",
    );
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..30_000 {
        let mut bytes = base.clone();
        for _ in 0..random.random_range(1..8) {
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes[at] = random.random(),
                1 => bytes[at] = random.random_range(0..0x13),
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let piece = bytes[at..(at + 12).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        if let Ok(values) = read(&bytes) {
            for value in values {
                encoded(&value);
            }
        }
    }
}
