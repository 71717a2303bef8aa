//! AMF0, as much as commands and metadata need, both ways.

/// One value. Objects keep their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Marker 0.
    Number(f64),
    /// Marker 1.
    Boolean(bool),
    /// Markers 2 and 12.
    String(String),
    /// Marker 3.
    Object(Vec<(String, Value)>),
    /// Marker 5.
    Null,
    /// Marker 6.
    Undefined,
    /// Marker 8.
    Ecma(Vec<(String, Value)>),
    /// Marker 10.
    Strict(Vec<Value>),
    /// Marker 11: milliseconds since 1970.
    Date(f64),
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::String(s.into())
    }
}

impl From<f64> for Value {
    fn from(n: f64) -> Self {
        Value::Number(n)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Boolean(b)
    }
}

impl Value {
    /// A field of an object or ECMA array.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(fields) | Value::Ecma(fields) => {
                fields.iter().find(|(n, _)| n == name).map(|(_, v)| v)
            }
            _ => None,
        }
    }

    /// Its text, if it is a string.
    pub fn text(&self) -> Option<&str> {
        if let Value::String(s) = self { Some(s) } else { None }
    }

    /// Its number, if it is one.
    pub fn number(&self) -> Option<f64> {
        if let Value::Number(n) = self { Some(*n) } else { None }
    }

    /// A string field, or "".
    pub fn field(&self, name: &str) -> &str {
        self.get(name).and_then(Value::text).unwrap_or("")
    }

    /// Field names, in order.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Value::Object(fields) | Value::Ecma(fields) => fields.iter().map(|(n, _)| n.as_str()).collect(),
            _ => Vec::new(),
        }
    }
}

/// The bytes of a command message.
pub fn command(name: &str, tx: f64, args: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&name.into(), &mut out);
    encode(&tx.into(), &mut out);
    args.iter().for_each(|a| encode(a, &mut out));
    out
}

/// Appends one value.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    let fields = |fields: &[(String, Value)], out: &mut Vec<u8>| {
        for (name, value) in fields {
            out.extend((name.len() as u16).to_be_bytes());
            out.extend(name.as_bytes());
            encode(value, out);
        }
        out.extend([0, 0, 9]);
    };
    match value {
        Value::Number(n) => {
            out.push(0);
            out.extend(n.to_be_bytes());
        }
        Value::Boolean(b) => out.extend([1, u8::from(*b)]),
        Value::String(s) if s.len() > 0xffff => {
            out.push(12);
            out.extend((s.len() as u32).to_be_bytes());
            out.extend(s.as_bytes());
        }
        Value::String(s) => {
            out.push(2);
            out.extend((s.len() as u16).to_be_bytes());
            out.extend(s.as_bytes());
        }
        Value::Object(all) => {
            out.push(3);
            fields(all, out);
        }
        Value::Null => out.push(5),
        Value::Undefined => out.push(6),
        Value::Ecma(all) => {
            out.push(8);
            out.extend((all.len() as u32).to_be_bytes());
            fields(all, out);
        }
        Value::Strict(all) => {
            out.push(10);
            out.extend((all.len() as u32).to_be_bytes());
            all.iter().for_each(|v| encode(v, out));
        }
        Value::Date(ms) => {
            out.push(11);
            out.extend(ms.to_be_bytes());
            out.extend([0, 0]);
        }
    }
}

/// All values of a payload.
pub fn decode_all(mut bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        out.push(decode(&mut bytes)?);
    }
    Ok(out)
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], String> {
    let (head, tail) =
        bytes.split_at_checked(n).ok_or_else(|| format!("{n} bytes wanted, {} left", bytes.len()))?;
    *bytes = tail;
    Ok(head)
}

fn number(bytes: &mut &[u8], n: usize) -> Result<usize, String> {
    Ok(take(bytes, n)?.iter().fold(0, |sum, b| sum << 8 | usize::from(*b)))
}

fn text(bytes: &mut &[u8], len: usize) -> Result<String, String> {
    Ok(String::from_utf8_lossy(take(bytes, len)?).into_owned())
}

fn double(bytes: &mut &[u8]) -> Result<f64, String> {
    Ok(f64::from_be_bytes(take(bytes, 8)?.try_into().map_err(|_| "eight bytes")?))
}

fn fields(bytes: &mut &[u8]) -> Result<Vec<(String, Value)>, String> {
    let mut all = Vec::new();
    loop {
        let len = number(bytes, 2)?;
        if len == 0 && bytes.first() == Some(&9) {
            take(bytes, 1)?;
            return Ok(all);
        }
        let name = text(bytes, len)?;
        all.push((name, decode(bytes)?));
    }
}

fn decode(bytes: &mut &[u8]) -> Result<Value, String> {
    Ok(match take(bytes, 1)?[0] {
        0 => Value::Number(double(bytes)?),
        1 => Value::Boolean(take(bytes, 1)?[0] != 0),
        2 => {
            let len = number(bytes, 2)?;
            Value::String(text(bytes, len)?)
        }
        3 => Value::Object(fields(bytes)?),
        5 => Value::Null,
        6 => Value::Undefined,
        8 => {
            number(bytes, 4)?;
            Value::Ecma(fields(bytes)?)
        }
        10 => {
            let len = number(bytes, 4)?;
            Value::Strict((0..len).map(|_| decode(bytes)).collect::<Result<_, _>>()?)
        }
        11 => {
            let ms = double(bytes)?;
            take(bytes, 2)?;
            Value::Date(ms)
        }
        12 => {
            let len = number(bytes, 4)?;
            Value::String(text(bytes, len)?)
        }
        other => return Err(format!("AMF0 marker {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_round_trip() {
        let all = vec![
            Value::Number(1.5),
            true.into(),
            "x".into(),
            Value::Object(vec![("a".into(), Value::Null), ("b".into(), Value::Undefined)]),
            Value::Ecma(vec![("d".into(), Value::Date(3.0))]),
            Value::Strict(vec![Value::String("y".repeat(70_000))]),
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|v| encode(v, &mut bytes));
        assert_eq!(decode_all(&bytes).unwrap(), all);
    }
}
