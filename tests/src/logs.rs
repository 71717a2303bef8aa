//! Access logs as a customer's programs read them: the key, the gzip, and the lines by the rules of public parsers.
//!
//! [`read`] is what a test calls with an object of a log bucket. It unpacks with the system's `gzip`, checks the key, the header
//! lines and each record against §3 of the contract, byte for byte, and gives [`Entry`]s; then it lets the rules of three public
//! [`parsers`] read the same text and asks that they agree. Any fault is a panic that names the object and the line.
//!
//! [`fixtures`] are records that were published, by which the readers themselves are tested; [`web`] reads the logs of web
//! distributions. Nothing here comes from the product.

pub mod entry;
pub mod fixtures;
pub mod key;
pub mod packed;
pub mod parsers;
#[cfg(test)]
mod tests;
pub mod text;
pub mod web;

pub use entry::{Entry, Event};
pub use key::LogKey;

/// The records of the object `key` with these bytes: an RTMP log, right in every byte.
pub fn read(key: &str, object: &[u8]) -> Vec<Entry> {
    let name = LogKey::parse(key).unwrap_or_else(|fault| panic!("{key}: {fault}"));
    let text = packed::unpack(object).unwrap_or_else(|fault| panic!("{key}: {fault}"));
    let entries = entry::parse(&text).unwrap_or_else(|fault| panic!("{key}: {fault}"));
    for (at, entry) in entries.iter().enumerate() {
        assert!(entry.hour() == name.hour, "{key}: record {} is of {}", at + 1, entry.hour());
    }
    parsers::agree(&text, &entries).unwrap_or_else(|fault| panic!("{key}: {fault}"));
    entries
}

/// The records of all objects, in time order (records of one second in the files' order).
pub fn read_all<'a>(objects: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<Entry> {
    let mut all: Vec<Entry> = objects.into_iter().flat_map(|(key, object)| read(key, object)).collect();
    all.sort_by_key(|entry| entry.at_s);
    all
}
