//! From an [`Element`] to the text of an answer.
//!
//! The same tree always makes the same bytes: no indentation, an empty element as `<X/>`, text before children. Whatever the tree holds, the text
//! is well-formed: characters that XML has no place for become U+FFFD.

use super::Element;
use super::read::is_allowed;

/// Before every document.
const DECLARATION: &str = "<?xml version=\"1.0\"?>\n";

/// The whole document, with the namespace that `version` (such as `2020-05-31`) of the API has.
pub fn document(root: &Element, version: &str) -> String {
    let mut text = String::with_capacity(1024);
    text.push_str(DECLARATION);
    let namespace = format!("http://cloudfront.amazonaws.com/doc/{version}/");
    element(&mut text, root, Some(&namespace));
    text
}

/// The element alone, without declaration and namespace: the form that is stored and compared.
pub fn fragment(root: &Element) -> String {
    let mut text = String::with_capacity(1024);
    element(&mut text, root, None);
    text
}

fn element(into: &mut String, element: &Element, namespace: Option<&str>) {
    into.push('<');
    into.push_str(&element.name);
    if let Some(namespace) = namespace {
        into.push_str(" xmlns=\"");
        escape(into, namespace);
        into.push('"');
    }
    if element.text.is_empty() && element.children.is_empty() {
        into.push_str("/>");
        return;
    }
    into.push('>');
    escape(into, &element.text);
    for child in &element.children {
        self::element(into, child, None);
    }
    into.push_str("</");
    into.push_str(&element.name);
    into.push('>');
}

/// `text` as it stands in content and in quotes. A carriage return is spelled out: readers take a plain one for a line end.
fn escape(into: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '&' => into.push_str("&amp;"),
            '"' => into.push_str("&quot;"),
            '\r' => into.push_str("&#13;"),
            c if is_allowed(c) => into.push(c),
            _ => into.push(char::REPLACEMENT_CHARACTER),
        }
    }
}
