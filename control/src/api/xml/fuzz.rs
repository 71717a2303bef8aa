//! Fuzz target: documents that clients send.

use super::{Bounds, document, fragment, read};

/// `data` is a body. What is read is written the same way twice, and read back as it was.
pub(crate) fn api_xml(data: &[u8]) {
    let Ok(Some(root)) = read(data, Bounds::default()) else { return };
    let text = document(&root, "2020-05-31");
    assert_eq!(read(text.as_bytes(), Bounds::default()), Ok(Some(root.clone())));
    let stored = fragment(&root);
    let again = read(stored.as_bytes(), Bounds::default());
    assert_eq!(again.map(|again| again.map(|again| fragment(&again))), Ok(Some(stored)));
}
