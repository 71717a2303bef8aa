//! AMF3, reading: the values inside an AMF0 message that a client encodes the newer way.
//!
//! Only Flash sends these, inside commands of sessions with object encoding 3; nothing is ever written in AMF3. Integers,
//! doubles, strings, dates, XML, arrays and objects (sealed, dynamic, typed) become the AMF0 [`Value`] nearest to them;
//! a byte array is read over. Vectors and dictionaries, which no RTMP command carries, and classes with a format of their
//! own are errors. The tables of strings, traits and objects live for one value; object references are resolved as in
//! [`super::amf`], by reading again, within the same budget.

use super::amf::{AmfError, Budget, Value};

/// Reads the AMF3 value at `at` and moves `at` past it. `repeated` says that this place has been read before, for a
/// reference, so that its text has to be paid for.
pub(super) fn decode(
    message: &[u8],
    at: &mut usize,
    budget: &mut Budget,
    depth: usize,
    repeated: bool,
) -> Result<Value, AmfError> {
    let mut decoder = Decoder {
        message,
        at: *at,
        budget,
        repeated,
        strings: Vec::new(),
        traits: Vec::new(),
        seen: Vec::new(),
        resolving: Vec::new(),
    };
    let value = decoder.value(depth)?;
    *at = decoder.at;
    Ok(value)
}

/// How a class's objects are laid out.
#[derive(Clone)]
struct Traits<'a> {
    class: &'a [u8],
    sealed: std::rc::Rc<[&'a [u8]]>,
    dynamic: bool,
    externalizable: bool,
}

/// An object that references may point to: where its marker stands, and whether it has been read to its end.
struct Seen {
    at: usize,
    finished: bool,
}

struct Decoder<'a, 'b> {
    message: &'a [u8],
    at: usize,
    budget: &'b mut Budget,
    repeated: bool,
    strings: Vec<&'a [u8]>,
    traits: Vec<Traits<'a>>,
    seen: Vec<Seen>,
    resolving: Vec<usize>,
}

/// The length or count in a header whose lowest bit says "inline", or else a table's index.
enum Header {
    Inline(usize),
    Reference(usize),
}

impl<'a> Decoder<'a, '_> {
    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.budget.values(1)?;
        let start = self.at;
        match self.u8()? {
            0x00 => Ok(Value::Undefined),
            0x01 => Ok(Value::Null),
            0x02 => Ok(Value::Boolean(false)),
            0x03 => Ok(Value::Boolean(true)),
            // 29 bits, signed.
            0x04 => Ok(Value::Number(f64::from(((self.u29()? << 3) as i32) >> 3))),
            0x05 => Ok(Value::Number(self.f64()?)),
            0x06 => Ok(Value::String(self.string()?)),
            0x07 | 0x0B => self.complex(start, depth, |decoder, len, _| {
                let bytes = decoder.take(len)?;
                Ok(Value::Xml(decoder.text(bytes, false)?))
            }),
            0x08 => self.complex(start, depth, |decoder, _, _| {
                Ok(Value::Date { ms: decoder.f64()?, zone_minutes: 0 })
            }),
            0x09 => self.complex(start, depth, Self::array),
            0x0A => self.complex(start, depth, Self::object),
            0x0C => self.complex(start, depth, |decoder, len, _| {
                decoder.take(len)?;
                Ok(Value::Unsupported)
            }),
            marker => Err(AmfError::UnknownMarker(marker)),
        }
    }

    /// Reads what the object table holds: a value in full (given the header's number and its members' depth), or the one
    /// that a reference repeats.
    fn complex(
        &mut self,
        start: usize,
        depth: usize,
        read: impl FnOnce(&mut Self, usize, usize) -> Result<Value, AmfError>,
    ) -> Result<Value, AmfError> {
        let inner = self.budget.enter(depth)?;
        match self.header()? {
            Header::Reference(index) => {
                let seen = self.seen.get(index).ok_or(AmfError::BadReference(index))?;
                if !seen.finished || self.resolving.contains(&index) {
                    return Ok(Value::Undefined);
                }
                let back = std::mem::replace(&mut self.at, seen.at);
                self.resolving.push(index);
                let value = self.value(inner)?;
                self.resolving.pop();
                self.at = back;
                Ok(value)
            }
            Header::Inline(number) if !self.resolving.is_empty() => read(self, number, inner),
            Header::Inline(number) => {
                let index = self.seen.len();
                self.seen.push(Seen { at: start, finished: false });
                let value = read(self, number, inner)?;
                self.seen[index].finished = true;
                Ok(value)
            }
        }
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Value, AmfError> {
        let mut named = self.dynamic_properties(depth)?;
        if count > self.message.len() - self.at {
            return Err(AmfError::Truncated);
        }
        let mut dense = Vec::new();
        for _ in 0..count {
            dense.push(self.value(depth)?);
        }
        if named.is_empty() {
            return Ok(Value::StrictArray(dense));
        }
        named.extend(dense.into_iter().enumerate().map(|(index, value)| (index.to_string(), value)));
        Ok(Value::EcmaArray(named))
    }

    /// `flags` is the object header without its lowest bit: bit 0 inline traits, bit 1 externalizable, bit 2 dynamic,
    /// then the number of sealed properties.
    fn object(&mut self, flags: usize, depth: usize) -> Result<Value, AmfError> {
        let traits = if flags & 1 == 0 {
            let index = flags >> 1;
            self.traits.get(index).ok_or(AmfError::BadReference(index))?.clone()
        } else {
            self.inline_traits(flags >> 1)?
        };
        if traits.externalizable {
            // These two Flex wrappers hold nothing but one value.
            return match traits.class {
                b"flex.messaging.io.ArrayCollection" | b"flex.messaging.io.ObjectProxy" => self.value(depth),
                _ => Err(AmfError::Externalizable),
            };
        }
        let mut fields = Vec::new();
        for name in traits.sealed.iter() {
            let value = self.value(depth)?;
            fields.push((self.text(name, true)?, value));
        }
        if traits.dynamic {
            fields.extend(self.dynamic_properties(depth)?);
        }
        if traits.class.is_empty() {
            return Ok(Value::Object(fields));
        }
        Ok(Value::TypedObject { class: self.text(traits.class, true)?, fields })
    }

    fn inline_traits(&mut self, flags: usize) -> Result<Traits<'a>, AmfError> {
        let externalizable = flags & 1 != 0;
        let dynamic = flags & 2 != 0;
        let count = flags >> 2;
        let class = self.string_bytes()?.0;
        if count > self.message.len() - self.at {
            return Err(AmfError::Truncated);
        }
        let mut sealed = Vec::new();
        for _ in 0..count {
            self.budget.values(1)?;
            sealed.push(self.string_bytes()?.0);
        }
        let traits = Traits { class, sealed: sealed.into(), dynamic, externalizable };
        if self.resolving.is_empty() {
            self.traits.push(traits.clone());
        }
        Ok(traits)
    }

    fn dynamic_properties(&mut self, depth: usize) -> Result<Vec<(String, Value)>, AmfError> {
        let mut properties = Vec::new();
        loop {
            let key = self.string()?;
            if key.is_empty() {
                return Ok(properties);
            }
            let value = self.value(depth)?;
            properties.push((key, value));
        }
    }

    fn string(&mut self) -> Result<String, AmfError> {
        let (bytes, referenced) = self.string_bytes()?;
        self.text(bytes, referenced)
    }

    /// A string's bytes, and whether they stand elsewhere in the message. Every string but the empty one enters the table.
    fn string_bytes(&mut self) -> Result<(&'a [u8], bool), AmfError> {
        match self.header()? {
            Header::Reference(index) => {
                Ok((self.strings.get(index).ok_or(AmfError::BadReference(index))?, true))
            }
            Header::Inline(len) => {
                let bytes = self.take(len)?;
                if len > 0 && self.resolving.is_empty() {
                    self.strings.push(bytes);
                }
                Ok((bytes, false))
            }
        }
    }

    fn text(&mut self, bytes: &[u8], referenced: bool) -> Result<String, AmfError> {
        if referenced || self.repeated || !self.resolving.is_empty() {
            self.budget.copied_text(bytes.len())?;
        }
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn header(&mut self) -> Result<Header, AmfError> {
        let number = self.u29()? as usize;
        Ok(if number & 1 == 1 { Header::Inline(number >> 1) } else { Header::Reference(number >> 1) })
    }

    /// Up to three bytes of seven bits, then one of eight.
    fn u29(&mut self) -> Result<u32, AmfError> {
        let mut number = 0;
        for _ in 0..3 {
            let byte = self.u8()?;
            number = number << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Ok(number << 8 | u32::from(self.u8()?))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], AmfError> {
        let end = self.at.checked_add(len).ok_or(AmfError::Truncated)?;
        let bytes = self.message.get(self.at..end).ok_or(AmfError::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    fn u8(&mut self) -> Result<u8, AmfError> {
        Ok(self.take(1)?[0])
    }

    fn f64(&mut self) -> Result<f64, AmfError> {
        Ok(f64::from_be_bytes(self.take(8)?.try_into().map_err(|_| AmfError::Truncated)?))
    }
}
