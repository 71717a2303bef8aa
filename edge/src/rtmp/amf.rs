//! AMF0 values: the vocabulary of RTMP commands, data messages and FLV script tags.
//!
//! Values keep the order of their properties, because clients compare metadata byte for byte. Decoding reads every marker
//! AMF0 defines, switches to AMF3 where a value says so, resolves references, and is bounded three ways by [`Limits`]: how
//! deep values nest, how many there are, and (through the count) how much text references may multiply. It fails with an
//! [`AmfError`] on truncation, unknown markers and exhausted limits; text that is not UTF-8 is read lossily.

mod decode;
mod encode;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

pub use decode::{decode, decode_all};
pub use encode::encode;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double; AMF3 integers become one too.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// Text of any length.
    String(String),
    /// An anonymous object, properties in order.
    Object(Vec<(String, Value)>),
    /// Null.
    Null,
    /// Undefined; also what a reference to an unfinished object becomes.
    Undefined,
    /// An associative array, properties in order.
    EcmaArray(Vec<(String, Value)>),
    /// A dense array.
    StrictArray(Vec<Value>),
    /// A point in time.
    Date {
        /// Milliseconds since 1970, UTC.
        ms: f64,
        /// Reserved by the format, minutes by custom.
        zone_minutes: i16,
    },
    /// An XML document as text.
    Xml(String),
    /// An object of a named class.
    TypedObject {
        /// The class's alias.
        class: String,
        /// Properties in order.
        fields: Vec<(String, Value)>,
    },
    /// Something the peer could not express, or that this edge has no use for (an AMF3 byte array).
    Unsupported,
}

/// Bounds on what one message may make the decoder build.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How deep containers may nest; values above 64 count as 64, so that the stack is bounded whatever is configured.
    pub depth: usize,
    /// How many values a message may hold, those that references repeat included.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 16, values: 4096 }
    }
}

/// Why bytes are not AMF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// A value, or the length it claims, goes past the end.
    #[error("amf value is cut short")]
    Truncated,
    /// A marker that is reserved or unknown.
    #[error("amf marker {0:#04x} is not known")]
    UnknownMarker(u8),
    /// A reference to something that was never sent.
    #[error("amf reference {0} points nowhere")]
    BadReference(usize),
    /// Containers nest deeper than [`Limits::depth`].
    #[error("amf values nest too deep")]
    TooDeep,
    /// More values than [`Limits::values`].
    #[error("amf message holds too many values")]
    TooManyValues,
    /// An AMF3 class that serialises itself; its format can't be known.
    #[error("amf3 class writes a format of its own")]
    Externalizable,
}

impl Value {
    /// An anonymous object with these properties, in this order.
    pub fn object<K: Into<String>>(properties: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Object(properties.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// An associative array with these properties, in this order.
    pub fn ecma_array<K: Into<String>>(properties: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::EcmaArray(properties.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(boolean) => Some(*boolean),
            _ => None,
        }
    }

    /// The text, if it is some.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The properties of anything object-like, in order.
    pub fn properties(&self) -> Option<&[(String, Value)]> {
        match self {
            Self::Object(fields) | Self::EcmaArray(fields) | Self::TypedObject { fields, .. } => Some(fields),
            _ => None,
        }
    }

    /// A property of anything object-like; the last one where a name is repeated, as Flash has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.properties()?.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

/// What is left of a message's [`Limits`]; shared by the AMF0 and the AMF3 decoder.
pub(super) struct Budget {
    depth: usize,
    values: usize,
}

/// Deepest nesting whatever the configuration says: a level costs a few hundred bytes of stack.
const DEPTH_CEILING: usize = 64;

/// Text that a reference repeats costs a value for each of these many bytes.
const COPIED_BYTES_A_VALUE: usize = 64;

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { depth: limits.depth.min(DEPTH_CEILING), values: limits.values }
    }

    /// Pays for `count` values.
    pub(super) fn values(&mut self, count: usize) -> Result<(), AmfError> {
        self.values = self.values.checked_sub(count).ok_or(AmfError::TooManyValues)?;
        Ok(())
    }

    /// Pays for text that stands in the message once but in the values again: a message of 60 KB of text and 2000
    /// references to it would otherwise become 120 MB.
    pub(super) fn copied_text(&mut self, len: usize) -> Result<(), AmfError> {
        self.values(len / COPIED_BYTES_A_VALUE)
    }

    /// Enters a container at `depth` and says how deep its members stand.
    pub(super) fn enter(&self, depth: usize) -> Result<usize, AmfError> {
        if depth >= self.depth { Err(AmfError::TooDeep) } else { Ok(depth + 1) }
    }
}
