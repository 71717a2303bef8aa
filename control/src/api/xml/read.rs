//! From bytes to an [`Element`].
//!
//! What a client sends is a stranger's text, so the reader does less than XML allows: no document type (and with it no entity beyond XML's own
//! five), no encoding but UTF-8, and bounds on depth and number of elements; the bound on bytes is the body's. It works in one pass and without
//! recursion, in memory proportional to the text.
//!
//! Where clients are sloppy it is lenient: any prefix and namespace, any attribute, a byte order mark, comments and processing instructions
//! anywhere, text between elements.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::Element;

/// Longest name of an element, with its prefix.
const NAME_BYTES: usize = 256;
/// Most attributes of one element.
const ATTRIBUTES: usize = 64;

/// Bounds of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Elements inside each other.
    pub depth: usize,
    /// Elements altogether.
    pub elements: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { depth: 32, elements: 20_000 }
    }
}

/// Why a text is not taken for a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Bytes that are no UTF-8.
    #[error("the body is not UTF-8 from byte {0} on")]
    Encoding(usize),
    /// The declaration names another encoding.
    #[error("the body declares the encoding {0}; only UTF-8 is read")]
    Declared(String),
    /// A character that XML 1.0 has no place for.
    #[error("character U+{0:04X} is not allowed in XML 1.0")]
    Character(u32),
    /// A document type definition.
    #[error("a document type (DOCTYPE) is not allowed")]
    Doctype,
    /// An entity beyond `lt`, `gt`, `amp`, `apos` and `quot`.
    #[error("the entity {0:?} is not defined")]
    Entity(String),
    /// A bound is passed.
    #[error("the document has {0}")]
    Large(&'static str),
    /// Anything else that is no XML.
    #[error("the document is not well-formed near byte {at}: {reason}")]
    Form {
        /// Offset in the body.
        at: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Whether XML 1.0 has a place for `c` (production 2, Char).
pub fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether `name` can be an element's, without prefix (production 5, Name, less the colon).
pub fn is_name(name: &str) -> bool {
    let start = |c: char| c == '_' || c.is_ascii_alphabetic() || (c >= '\u{c0}' && c.is_alphabetic());
    let mut chars = name.chars();
    chars.next().is_some_and(start)
        && chars.all(|c| start(c) || c.is_ascii_digit() || matches!(c, '-' | '.' | '\u{b7}'))
}

/// Reads the one root element of `bytes`. `None`: there is nothing in them but white space.
///
/// Text stays as it is in an element without children; beside children it is all runs together without the white space around each.
///
/// # Errors
/// When it is no document, or one that is refused.
pub fn read(bytes: &[u8], bounds: Bounds) -> Result<Option<Element>, XmlError> {
    let text = std::str::from_utf8(bytes).map_err(|error| XmlError::Encoding(error.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(c) = text.chars().find(|c| !is_allowed(*c)) {
        return Err(XmlError::Character(c.into()));
    }
    if text.chars().all(|c| c.is_ascii_whitespace()) {
        return Ok(None);
    }
    let mut reader = Reader::from_str(text);
    let mut builder = Builder { bounds, elements: 0, open: Vec::new(), root: None };
    let mut first = true;
    loop {
        let at = reader.buffer_position();
        let form = |reason: &dyn std::fmt::Display| XmlError::Form { at, reason: reason.to_string() };
        let event = reader.read_event().map_err(|error| form(&error))?;
        match event {
            Event::Start(tag) => builder.open(name(&tag).map_err(|e| form(&e))?).map_err(|e| e.at(at))?,
            Event::Empty(tag) => {
                builder.open(name(&tag).map_err(|e| form(&e))?).map_err(|e| e.at(at))?;
                builder.close();
            }
            Event::End(_) => builder.close(),
            Event::Text(run) => builder.text(&run.xml10_content().map_err(|e| form(&e))?, at)?,
            Event::CData(run) => builder.text(&run.xml10_content().map_err(|e| form(&e))?, at)?,
            Event::GeneralRef(reference) => {
                let c = resolve(&reference, at)?;
                builder.text(c.encode_utf8(&mut [0; 4]), at)?;
            }
            Event::Decl(_) if !first => return Err(form(&"an XML declaration stands at the beginning only")),
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().transpose().map_err(|e| form(&e))?;
                let encoding = encoding.map(|name| String::from_utf8_lossy(&name).into_owned());
                let known = ["utf-8", "utf8", "us-ascii"];
                if let Some(other) = encoding.filter(|e| !known.iter().any(|k| e.eq_ignore_ascii_case(k))) {
                    return Err(XmlError::Declared(other));
                }
            }
            Event::DocType(_) => return Err(XmlError::Doctype),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof => return builder.finish(at),
        }
        first = false;
    }
}

/// The element's name without prefix; its attributes are looked at only to be dropped.
fn name(tag: &BytesStart<'_>) -> Result<String, String> {
    let name = tag.name();
    let name = std::str::from_utf8(name.as_ref()).map_err(|error| error.to_string())?;
    let local = name.split_once(':').map_or(name, |(_, local)| local);
    let prefix = name.split_once(':').map(|(prefix, _)| prefix);
    if name.len() > NAME_BYTES || !is_name(local) || prefix.is_some_and(|prefix| !is_name(prefix)) {
        let shown: String = name.chars().take(40).collect();
        return Err(format!("{shown:?} is no element name"));
    }
    // Without the search for names that come twice, whose cost grows with the square of their number.
    for (known, attribute) in tag.attributes().with_checks(false).enumerate() {
        if known == ATTRIBUTES {
            return Err(format!("<{local}> has more than {ATTRIBUTES} attributes"));
        }
        attribute.map_err(|error| format!("<{local}>: {error}"))?;
    }
    Ok(local.to_owned())
}

fn resolve(reference: &BytesRef<'_>, at: u64) -> Result<char, XmlError> {
    let form = |reason: String| XmlError::Form { at, reason };
    if let Some(c) = reference.resolve_char_ref().map_err(|error| form(error.to_string()))? {
        return if is_allowed(c) { Ok(c) } else { Err(XmlError::Character(c.into())) };
    }
    match &reference[..] {
        b"lt" => Ok('<'),
        b"gt" => Ok('>'),
        b"amp" => Ok('&'),
        b"apos" => Ok('\''),
        b"quot" => Ok('"'),
        other => Err(XmlError::Entity(String::from_utf8_lossy(other).chars().take(40).collect())),
    }
}

/// What does not fit, before it is known where.
enum Misfit {
    Large(&'static str),
    Form(&'static str),
}

impl Misfit {
    fn at(self, at: u64) -> XmlError {
        match self {
            Self::Large(what) => XmlError::Large(what),
            Self::Form(reason) => XmlError::Form { at, reason: reason.into() },
        }
    }
}

/// The elements open, outermost first, and the root once it is closed.
struct Builder {
    bounds: Bounds,
    elements: usize,
    open: Vec<Open>,
    root: Option<Element>,
}

struct Open {
    element: Element,
    /// Where the run of text begins that a child would end.
    run: usize,
}

impl Open {
    /// A child or the end ends the run of text: between elements, white space around it is only layout.
    fn end_run(&mut self) {
        let text = &mut self.element.text;
        let run = text[self.run..].trim_matches(|c: char| c.is_ascii_whitespace());
        let run = run.to_owned();
        text.truncate(self.run);
        text.push_str(&run);
        self.run = text.len();
    }
}

impl Builder {
    fn open(&mut self, name: String) -> Result<(), Misfit> {
        if self.root.is_some() {
            return Err(Misfit::Form("there is a second root element"));
        }
        if self.open.len() == self.bounds.depth {
            return Err(Misfit::Large("elements too deep inside each other"));
        }
        if self.elements == self.bounds.elements {
            return Err(Misfit::Large("too many elements"));
        }
        self.elements += 1;
        if let Some(parent) = self.open.last_mut() {
            parent.end_run();
        }
        self.open.push(Open { element: Element { name, ..Element::default() }, run: 0 });
        Ok(())
    }

    fn close(&mut self) {
        let Some(mut closed) = self.open.pop() else { return };
        if !closed.element.children.is_empty() {
            closed.end_run();
        }
        match self.open.last_mut() {
            Some(parent) => parent.element.children.push(closed.element),
            None => self.root = Some(closed.element),
        }
    }

    fn text(&mut self, text: &str, at: u64) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(open) => open.element.text.push_str(text),
            None if text.chars().all(|c| c.is_ascii_whitespace()) => {}
            None => {
                return Err(XmlError::Form { at, reason: "there is text outside the root element".into() });
            }
        }
        Ok(())
    }

    fn finish(self, at: u64) -> Result<Option<Element>, XmlError> {
        match (self.open.last(), self.root) {
            (Some(open), _) => {
                Err(XmlError::Form { at, reason: format!("<{}> is not closed", open.element.name) })
            }
            (None, Some(root)) => Ok(Some(root)),
            (None, None) => Err(XmlError::Form { at, reason: "there is no element".into() }),
        }
    }
}
