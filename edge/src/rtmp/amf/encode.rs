//! AMF0, writing.
//!
//! Writing can't fail: text beyond 64 KiB takes the long form, and a property's name, which has no long form, is cut at a
//! character's boundary. Nesting is as deep as the value's own, which decoding has bounded.

use bytes::{BufMut, BytesMut};

use super::Value;

/// Appends one value.
pub fn encode(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Number(number) => {
            out.put_u8(0x00);
            out.put_f64(*number);
        }
        Value::Boolean(boolean) => out.put_slice(&[0x01, u8::from(*boolean)]),
        Value::String(text) => string(text, out),
        Value::Object(fields) => {
            out.put_u8(0x03);
            properties(fields, out);
        }
        Value::Null => out.put_u8(0x05),
        Value::Undefined => out.put_u8(0x06),
        Value::EcmaArray(fields) => {
            out.put_u8(0x08);
            out.put_u32(fields.len() as u32);
            properties(fields, out);
        }
        Value::StrictArray(values) => {
            out.put_u8(0x0A);
            out.put_u32(values.len() as u32);
            for value in values {
                encode(value, out);
            }
        }
        Value::Date { ms, zone_minutes } => {
            out.put_u8(0x0B);
            out.put_f64(*ms);
            out.put_i16(*zone_minutes);
        }
        Value::Unsupported => out.put_u8(0x0D),
        Value::Xml(text) => {
            out.put_u8(0x0F);
            long_text(text, out);
        }
        Value::TypedObject { class, fields } => {
            out.put_u8(0x10);
            name(class, out);
            properties(fields, out);
        }
    }
}

/// Appends text with its marker, in the short form where it fits.
pub(crate) fn string(text: &str, out: &mut BytesMut) {
    if let Ok(len) = u16::try_from(text.len()) {
        out.put_u8(0x02);
        out.put_u16(len);
        out.put_slice(text.as_bytes());
    } else {
        out.put_u8(0x0C);
        long_text(text, out);
    }
}

fn long_text(text: &str, out: &mut BytesMut) {
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn properties(fields: &[(String, Value)], out: &mut BytesMut) {
    for (key, value) in fields {
        name(key, out);
        encode(value, out);
    }
    out.put_slice(&[0x00, 0x00, 0x09]);
}

fn name(text: &str, out: &mut BytesMut) {
    let mut len = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    out.put_u16(len as u16);
    out.put_slice(&text.as_bytes()[..len]);
}
