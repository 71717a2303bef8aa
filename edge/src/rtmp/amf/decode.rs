//! AMF0, reading.
//!
//! References are resolved by reading the object they point to once more, at its place in the message. So nothing is kept
//! for objects that are never referred to, what a reference yields is paid for like anything else, and a bomb of
//! references to references ends when the message's budget does. A reference to an object that is not finished yet (an
//! object that holds itself) becomes Undefined.
//!
//! Real files and clients end early: an object whose end marker is missing because the message is over is taken as ended.

use super::{AmfError, Budget, Limits, Value};
use crate::rtmp::amf3;

/// Reads every value in a message.
pub fn decode_all(message: &[u8], limits: &Limits) -> Result<Vec<Value>, AmfError> {
    let mut decoder = Decoder::new(message, limits);
    let mut values = Vec::new();
    while decoder.at < message.len() {
        values.push(decoder.value(0)?);
    }
    Ok(values)
}

/// Reads one value and moves `input` past it; `input` stays where it is when that fails. References reach no further back
/// than this value.
pub fn decode(input: &mut &[u8], limits: &Limits) -> Result<Value, AmfError> {
    let mut decoder = Decoder::new(input, limits);
    let value = decoder.value(0)?;
    *input = &input[decoder.at..];
    Ok(value)
}

/// An object that references may point to.
struct Seen {
    /// Where its marker stands.
    at: usize,
    /// Whether it has been read to its end.
    finished: bool,
}

struct Decoder<'a> {
    message: &'a [u8],
    at: usize,
    budget: Budget,
    seen: Vec<Seen>,
    /// The references being resolved, outermost first; while there are any, what is read is a repetition.
    resolving: Vec<usize>,
}

impl<'a> Decoder<'a> {
    fn new(message: &'a [u8], limits: &Limits) -> Self {
        Self { message, at: 0, budget: Budget::new(limits), seen: Vec::new(), resolving: Vec::new() }
    }

    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.budget.values(1)?;
        let start = self.at;
        match self.u8()? {
            0x00 => Ok(Value::Number(self.f64()?)),
            0x01 => Ok(Value::Boolean(self.u8()? != 0)),
            0x02 => Ok(Value::String(self.text()?)),
            0x03 => {
                self.container(start, depth, |decoder, inner| Ok(Value::Object(decoder.properties(inner)?)))
            }
            0x05 => Ok(Value::Null),
            0x06 => Ok(Value::Undefined),
            0x07 => self.reference(depth),
            0x08 => self.container(start, depth, |decoder, inner| {
                // The count is a hint that encoders get wrong; the end marker decides.
                decoder.take(4)?;
                Ok(Value::EcmaArray(decoder.properties(inner)?))
            }),
            0x0A => self.container(start, depth, Self::strict_array),
            0x0B => Ok(Value::Date { ms: self.f64()?, zone_minutes: self.u16()? as i16 }),
            0x0C => Ok(Value::String(self.long_text()?)),
            0x0D => Ok(Value::Unsupported),
            0x0F => Ok(Value::Xml(self.long_text()?)),
            0x10 => self.container(start, depth, |decoder, inner| {
                Ok(Value::TypedObject { class: decoder.text()?, fields: decoder.properties(inner)? })
            }),
            0x11 => {
                amf3::decode(self.message, &mut self.at, &mut self.budget, depth, !self.resolving.is_empty())
            }
            // 0x04 (movie clip) and 0x0E (record set) are reserved and have no format.
            marker => Err(AmfError::UnknownMarker(marker)),
        }
    }

    /// Reads a container whose marker stands at `start`, and remembers it for references.
    fn container(
        &mut self,
        start: usize,
        depth: usize,
        members: impl FnOnce(&mut Self, usize) -> Result<Value, AmfError>,
    ) -> Result<Value, AmfError> {
        let inner = self.budget.enter(depth)?;
        if !self.resolving.is_empty() {
            return members(self, inner);
        }
        let index = self.seen.len();
        self.seen.push(Seen { at: start, finished: false });
        let value = members(self, inner)?;
        self.seen[index].finished = true;
        Ok(value)
    }

    fn strict_array(&mut self, depth: usize) -> Result<Value, AmfError> {
        let count = self.u32()? as usize;
        if count > self.message.len() - self.at {
            return Err(AmfError::Truncated);
        }
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth)?);
        }
        Ok(Value::StrictArray(values))
    }

    fn properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, AmfError> {
        let mut properties = Vec::new();
        while self.at < self.message.len() {
            let key = self.text()?;
            if key.is_empty() {
                match self.message.get(self.at) {
                    Some(0x09) => {
                        self.at += 1;
                        break;
                    }
                    None => break,
                    Some(_) => {}
                }
            }
            let value = self.value(depth)?;
            properties.push((key, value));
        }
        Ok(properties)
    }

    fn reference(&mut self, depth: usize) -> Result<Value, AmfError> {
        let index = usize::from(self.u16()?);
        let seen = self.seen.get(index).ok_or(AmfError::BadReference(index))?;
        if !seen.finished || self.resolving.contains(&index) {
            return Ok(Value::Undefined);
        }
        let back = std::mem::replace(&mut self.at, seen.at);
        // Each resolution stands one level deeper, which bounds the list of those under way.
        let inner = self.budget.enter(depth)?;
        self.resolving.push(index);
        let value = self.value(inner)?;
        self.resolving.pop();
        self.at = back;
        Ok(value)
    }

    fn text(&mut self) -> Result<String, AmfError> {
        let len = usize::from(self.u16()?);
        self.text_of(len)
    }

    fn long_text(&mut self) -> Result<String, AmfError> {
        let len = self.u32()? as usize;
        self.text_of(len)
    }

    fn text_of(&mut self, len: usize) -> Result<String, AmfError> {
        let bytes = self.take(len)?;
        if !self.resolving.is_empty() {
            self.budget.copied_text(len)?;
        }
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], AmfError> {
        let end = self.at.checked_add(len).ok_or(AmfError::Truncated)?;
        let bytes = self.message.get(self.at..end).ok_or(AmfError::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        self.take(N)?.try_into().map_err(|_| AmfError::Truncated)
    }

    fn u8(&mut self) -> Result<u8, AmfError> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, AmfError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, AmfError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn f64(&mut self) -> Result<f64, AmfError> {
        Ok(f64::from_be_bytes(self.array()?))
    }
}
