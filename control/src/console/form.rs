//! What a browser sent: the fields of a form or of a query, in order.
//!
//! Bodies are bounded before they are read; names that no form of ours has are ignored.

use percent_encoding::percent_decode_str;

/// Fields a form may have: the largest of ours has about thirty.
const FIELDS_MAX: usize = 200;

/// The fields, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().replace("\r\n", "\n")
}

impl Fields {
    /// Reads `application/x-www-form-urlencoded`.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(FIELDS_MAX);
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// A field's value without space around it; empty if it was not sent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// A field's value as it was sent; empty if it was not.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v)
    }

    /// Whether a check box is ticked.
    pub(super) fn ticked(&self, name: &str) -> bool {
        self.0.iter().any(|(k, _)| k == name)
    }

    /// The lines (or words) of a text area: one entry each, empty ones left out.
    pub(super) fn entries(&self, name: &str) -> Vec<String> {
        let separators = |c: char| c.is_whitespace() || c == ',' || c == ';';
        self.raw(name).split(separators).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_lines_normalised() {
        let fields = Fields::parse("a=1+2&b=%3Cx%3E%26&c=x%0D%0Ay%2C+z&tick=&a=second&bare");
        assert_eq!((fields.text("a"), fields.text("b"), fields.text("none")), ("1 2", "<x>&", ""));
        assert_eq!(fields.raw("c"), "x\ny, z");
        assert_eq!(fields.entries("c"), ["x", "y", "z"]);
        assert!(fields.ticked("tick") && fields.ticked("bare") && !fields.ticked("nope"));
        assert_eq!(Fields::parse("%ff=%zz").text("\u{fffd}"), "%zz");
        assert_eq!(Fields::parse(&"a=b&".repeat(10_000)).0.len(), FIELDS_MAX);
    }
}
