//! onMetaData: the file's description of itself, passed on to players, and the keyframe index that injectors add to it.

use crate::rtmp::amf::{self, Value};

/// Most AMF values one script tag may hold. Keyframe indexes have two a keyframe: this is 27 hours of 1-second GOPs.
const VALUES: usize = 200_000;

/// The keys and values of an onMetaData script tag, in order; `None` if `body` is another script.
///
/// An onMetaData whose value can't be read counts as an empty one: the media beside it still play.
pub(super) fn parse(body: &[u8]) -> Option<Vec<(String, Value)>> {
    let limits = amf::Limits { values: VALUES, ..Default::default() };
    let mut rest = body;
    let mut name = amf::decode(&mut rest, &limits).ok()?;
    // What a publisher sends to a server; some recorders store it unaltered.
    if name == Value::String("@setDataFrame".into()) {
        name = amf::decode(&mut rest, &limits).ok()?;
    }
    if name != Value::String("onMetaData".into()) {
        return None;
    }
    match amf::decode(&mut rest, &limits) {
        Ok(Value::Object(pairs) | Value::EcmaArray(pairs)) => Some(pairs),
        _ => Some(Vec::new()),
    }
}

/// The keyframe index, if there is a sane one: (time in ms, offset of the tag), both rising.
///
/// It is a hint: each entry must be checked against the tag it points to.
pub(super) fn keyframes(pairs: &[(String, Value)], size: u64) -> Vec<(u32, u64)> {
    let Some(Value::Object(index) | Value::EcmaArray(index)) = field(pairs, "keyframes") else {
        return Vec::new();
    };
    let (Some(times), Some(positions)) = (numbers(index, "times"), numbers(index, "filepositions")) else {
        return Vec::new();
    };
    let entries: Vec<(u32, u64)> =
        times.zip(positions).map(|(s, at)| ((s * 1000.0).round() as u32, at as u64)).collect();
    let rising = entries.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1);
    if rising && entries.iter().all(|&(_, at)| at < size) { entries } else { Vec::new() }
}

/// The file's own duration in seconds, if it is a usable number.
pub(super) fn duration_s(pairs: &[(String, Value)]) -> Option<f64> {
    match field(pairs, "duration") {
        Some(&Value::Number(s)) if s.is_finite() && s >= 0.0 => Some(s),
        _ => None,
    }
}

/// Sets `duration`, in its place if the file has one, else first.
pub(super) fn set_duration_s(pairs: &mut Vec<(String, Value)>, seconds: f64) {
    match pairs.iter_mut().find(|(key, _)| key == "duration") {
        Some((_, value)) => *value = Value::Number(seconds),
        None => pairs.insert(0, ("duration".into(), Value::Number(seconds))),
    }
}

/// Memory held by `pairs`, roughly.
pub(super) fn weight_bytes(pairs: &[(String, Value)]) -> usize {
    pairs.iter().map(|(key, value)| key.len() + size_of::<String>() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    let held = match value {
        Value::String(text) | Value::Xml(text) => text.len(),
        Value::Object(pairs) | Value::EcmaArray(pairs) => weight_bytes(pairs),
        Value::TypedObject { class, fields } => class.len() + weight_bytes(fields),
        Value::StrictArray(values) => values.iter().map(value_bytes).sum(),
        _ => 0,
    };
    held + size_of::<Value>()
}

fn field<'a>(pairs: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn numbers<'a>(pairs: &'a [(String, Value)], name: &str) -> Option<impl Iterator<Item = f64> + 'a> {
    let Some(Value::StrictArray(values)) = field(pairs, name) else { return None };
    let number = |value: &Value| match value {
        Value::Number(n) if n.is_finite() && *n >= 0.0 => Some(*n),
        _ => None,
    };
    values.iter().all(|value| number(value).is_some()).then(|| values.iter().filter_map(number))
}
