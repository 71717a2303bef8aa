//! XML as the API needs it: a tree of elements without attributes and namespaces.
//!
//! [`read()`] takes a client's text, [`document`] makes the text of an answer, [`fragment`] what the store keeps. Whatever they take and make is
//! bounded and well-formed; what is refused becomes `MalformedXML` (400).

mod read;
mod write;

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzz;

pub use read::{Bounds, XmlError, is_allowed, is_name, read};
pub use write::{document, fragment};

use super::ApiError;

/// An element. Text and children may stand side by side (jets3t 0.9.4 sends such).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its local name.
    pub name: String,
    /// Its text: as it is in an element without children, else all pieces joined, without the white space around each.
    pub text: String,
    /// Its children in order.
    pub children: Vec<Element>,
}

impl Element {
    /// An empty element.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// An element that holds text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), children: Vec::new() }
    }

    /// The same with one more child.
    pub fn with(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    /// The same with one more child that holds text.
    pub fn with_text(self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.with(Element::text(name, text))
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// The text of the first child of this name, trimmed.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.text.trim())
    }

    /// All children of this name.
    pub fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |c| c.name == name)
    }
}

impl From<XmlError> for ApiError {
    fn from(error: XmlError) -> Self {
        Self::bad_request("MalformedXML", error.to_string())
    }
}

#[cfg(test)]
mod tests;
