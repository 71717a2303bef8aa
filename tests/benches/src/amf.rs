//! AMF0, as much as a viewer's commands need: writing a few values, and finding a few in what the server says.
//!
//! Answers aren't decoded: the driver wants a command's name, one number and one `code`. Whatever it can't find is `None`,
//! and the session that needed it fails by name.

/// Appends a number.
pub fn number(out: &mut Vec<u8>, value: f64) {
    out.push(0);
    out.extend(value.to_be_bytes());
}

/// Appends a boolean.
pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend([1, u8::from(value)]);
}

/// Appends a string of at most 65,535 bytes.
pub fn string(out: &mut Vec<u8>, value: &str) {
    out.push(2);
    key(out, value);
}

/// Appends null.
pub fn null(out: &mut Vec<u8>) {
    out.push(5);
}

/// Appends an object of strings and numbers.
pub fn object(out: &mut Vec<u8>, strings: &[(&str, &str)], numbers: &[(&str, f64)]) {
    out.push(3);
    for (name, value) in strings {
        key(out, name);
        string(out, value);
    }
    for (name, value) in numbers {
        key(out, name);
        number(out, *value);
    }
    out.extend([0, 0, 9]);
}

fn key(out: &mut Vec<u8>, value: &str) {
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value.as_bytes());
}

/// The string a body starts with, and what follows it.
pub fn leading_string(body: &[u8]) -> Option<(&str, &[u8])> {
    let [2, high, low, rest @ ..] = body else { return None };
    let length = usize::from(*high) << 8 | usize::from(*low);
    Some((std::str::from_utf8(rest.get(..length)?).ok()?, rest.get(length..)?))
}

/// The number a body starts with, and what follows it.
pub fn leading_number(body: &[u8]) -> Option<(f64, &[u8])> {
    let [0, rest @ ..] = body else { return None };
    Some((f64::from_be_bytes(rest.get(..8)?.try_into().ok()?), rest.get(8..)?))
}

/// What follows the first object key of this name, anywhere in a body.
fn after_key<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut wanted = Vec::with_capacity(name.len() + 2);
    key(&mut wanted, name);
    let at = body.windows(wanted.len()).position(|w| w == wanted)?;
    body.get(at + wanted.len()..)
}

/// The string under the first key of this name, anywhere in a body.
pub fn string_of<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    Some(leading_string(after_key(body, name)?)?.0)
}

/// The number under the first key of this name, anywhere in a body.
pub fn number_of(body: &[u8], name: &str) -> Option<f64> {
    Some(leading_number(after_key(body, name)?)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        let mut out = Vec::new();
        string(&mut out, "onStatus");
        number(&mut out, 0.0);
        null(&mut out);
        object(&mut out, &[("level", "status"), ("code", "NetStream.Play.Start")], &[("duration", 12.5)]);
        let (name, rest) = leading_string(&out).unwrap();
        assert_eq!(name, "onStatus");
        assert_eq!(leading_number(rest).unwrap().0, 0.0);
        assert_eq!(string_of(&out, "code"), Some("NetStream.Play.Start"));
        assert_eq!(number_of(&out, "duration"), Some(12.5));
        assert_eq!(string_of(&out, "reason"), None);
        assert_eq!(leading_string(&out[..5]), None);
    }
}
