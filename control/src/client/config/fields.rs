//! The fields of a config type, found by asking serde.
//!
//! A derived `Deserialize` calls `deserialize_struct` with its field names, and says by the method it calls what else it
//! wants. So the type is deserialized once for each field from a document that holds only that field, and the call made
//! at the end of the path is the answer; everything else fails at once and is of no interest.

use std::cell::Cell;

use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor, value::BorrowedStrDeserializer};

/// Sections inside sections that are looked into.
const DEPTH: usize = 4;

/// What a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A string, or what is written as one (an address, a path).
    Text,
    /// A sequence.
    List,
    /// A section with these fields.
    Section(&'static [&'static str]),
    /// A number, a boolean, a map.
    Other,
}

/// One field that is no section.
#[derive(Debug)]
pub struct Field {
    /// From the root.
    pub path: Vec<&'static str>,
    /// What it takes.
    pub shape: Shape,
}

impl Field {
    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("PENSTOCK_{}", self.path.join("_").to_ascii_uppercase())
    }
}

/// All fields of `T`, sections opened.
pub fn of<T: DeserializeOwned>() -> Vec<Field> {
    let mut found = Vec::new();
    open::<T>(&mut Vec::new(), &mut found);
    found
}

fn open<T: DeserializeOwned>(path: &mut Vec<&'static str>, found: &mut Vec<Field>) {
    let answer = Cell::new(Shape::Other);
    let _ = T::deserialize(Probe { path, answer: &answer });
    match answer.get() {
        Shape::Section(names) if path.len() < DEPTH => {
            for name in names {
                path.push(name);
                open::<T>(path, found);
                path.pop();
            }
        }
        shape => found.push(Field { path: path.clone(), shape }),
    }
}

#[derive(Clone, Copy)]
struct Probe<'a> {
    path: &'a [&'static str],
    answer: &'a Cell<Shape>,
}

/// The probe has its answer.
#[derive(Debug)]
struct Done;

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("done")
    }
}
impl std::error::Error for Done {}
impl de::Error for Done {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Done
    }
}

impl Probe<'_> {
    fn answer<T>(self, shape: Shape) -> Result<T, Done> {
        if self.path.is_empty() {
            self.answer.set(shape);
        }
        Err(Done)
    }
}

macro_rules! answers {
    ($($method:ident => $shape:expr),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Done> { self.answer($shape) })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Done;

    answers! {
        deserialize_any => Shape::Other, deserialize_bool => Shape::Other, deserialize_i8 => Shape::Other,
        deserialize_i16 => Shape::Other, deserialize_i32 => Shape::Other, deserialize_i64 => Shape::Other,
        deserialize_u8 => Shape::Other, deserialize_u16 => Shape::Other, deserialize_u32 => Shape::Other,
        deserialize_u64 => Shape::Other, deserialize_f32 => Shape::Other, deserialize_f64 => Shape::Other,
        deserialize_char => Shape::Text, deserialize_str => Shape::Text, deserialize_string => Shape::Text,
        deserialize_bytes => Shape::Other, deserialize_byte_buf => Shape::Other, deserialize_unit => Shape::Other,
        deserialize_seq => Shape::List, deserialize_map => Shape::Other, deserialize_identifier => Shape::Other,
        deserialize_ignored_any => Shape::Other,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Done> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Done> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Done> {
        if self.path.is_empty() { self.answer(Shape::Section(fields)) } else { visitor.visit_map(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Done> {
        self.answer(Shape::Text)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Done> {
        self.answer(Shape::List)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        _: V,
    ) -> Result<V::Value, Done> {
        self.answer(Shape::List)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Done> {
        self.answer(Shape::Other)
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Done;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Done> {
        match self.path.first() {
            Some(name) => seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
            None => Err(Done),
        }
    }

    fn next_value_seed<S: de::DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Done> {
        let value = seed.deserialize(Probe { path: self.path.get(1..).unwrap_or(&[]), answer: self.answer });
        value.and(Err(Done))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(1)
    }
}
