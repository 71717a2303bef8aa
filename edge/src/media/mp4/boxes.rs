//! Boxes (QuickTime calls them atoms): a length, a four-character kind, a body.
//!
//! Containers are walked here, one level at a time and never by recursion, so that nesting can't exhaust the stack. Leaf
//! boxes of fixed layout are decoded by `mp4-atom` from a body whose end is known; what it lacks or trusts too far
//! (sample descriptions, `esds`, `trun`) is read by its own module. A box that passes the end of what holds it is
//! [`MediaError::StructureInvalid`].
//!
//! Source: ISO/IEC 14496-12, 4.2; QuickTime File Format, "Atoms".

use mp4_atom::{Atom, FourCC};

use crate::media::MediaError;

/// What a box says of itself before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its kind.
    pub(crate) kind: [u8; 4],
    /// Length of the header: 8 or 16.
    pub(crate) header_bytes: u64,
    /// Length of the whole box, header included.
    pub(crate) total_bytes: u64,
}

/// Most bytes a header takes.
pub(crate) const HEADER_BYTES_MAX: u64 = 16;

/// The structure is wrong, and why.
pub(crate) fn invalid(why: impl Into<String>) -> MediaError {
    MediaError::StructureInvalid(why.into())
}

/// A kind as text for messages: unprintable bytes become dots.
pub(crate) fn name(kind: [u8; 4]) -> String {
    kind.iter().map(|&b| if (0x20..0x7f).contains(&b) { b as char } else { '.' }).collect()
}

/// Reads a header from the first bytes of a box (16, or as many as there are); `available` bytes lead from the box's first
/// byte to the end of what holds it.
pub(crate) fn header(head: &[u8], available: u64) -> Result<Header, MediaError> {
    let kind = array::<4>(head, 4)?;
    let (header_bytes, total_bytes) = match u32::from_be_bytes(array(head, 0)?) {
        0 => (8, available),
        1 => (16, u64::from_be_bytes(array(head, 8)?)),
        short => (8, u64::from(short)),
    };
    if total_bytes < header_bytes {
        return Err(invalid(format!("box {} says it is {total_bytes} bytes long", name(kind))));
    }
    if total_bytes > available {
        return Err(invalid(format!("box {} of {total_bytes} bytes, but {available} are left", name(kind))));
    }
    Ok(Header { kind, header_bytes, total_bytes })
}

/// The boxes directly inside a container's body.
///
/// Fewer than 8 bytes at the end, or a length of 0 (QuickTime closes some lists with one), end the walk.
pub(crate) struct Children<'a> {
    rest: &'a [u8],
}

/// Walks the boxes in `body`.
pub(crate) fn children(body: &[u8]) -> Children<'_> {
    Children { rest: body }
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<([u8; 4], &'a [u8]), MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < 8 || self.rest.starts_with(&[0; 4]) {
            return None;
        }
        match header(self.rest, self.rest.len() as u64) {
            Ok(header) => {
                let (whole, rest) = self.rest.split_at(header.total_bytes as usize);
                self.rest = rest;
                Some(Ok((header.kind, &whole[header.header_bytes as usize..])))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// The body of the first box of a kind in `body`.
pub(crate) fn child<'a>(body: &'a [u8], kind: &[u8; 4]) -> Result<Option<&'a [u8]>, MediaError> {
    for found in children(body) {
        let (found, inner) = found?;
        if &found == kind {
            return Ok(Some(inner));
        }
    }
    Ok(None)
}

/// As [`child`], for a box that must be there.
pub(crate) fn required<'a>(body: &'a [u8], kind: &[u8; 4]) -> Result<&'a [u8], MediaError> {
    child(body, kind)?.ok_or_else(|| invalid(format!("box {} is missing", name(*kind))))
}

/// Decodes a leaf box from its body. Bytes after what the box needs are ignored.
pub(crate) fn decode<T: Atom>(body: &[u8]) -> Result<T, MediaError> {
    let kind: FourCC = T::KIND;
    T::decode_body(&mut &body[..]).map_err(|error| invalid(format!("box {kind}: {error}")))
}

/// `N` bytes at `at`.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], MediaError> {
    at.checked_add(N)
        .and_then(|end| bytes.get(at..end))
        .and_then(|slice| slice.try_into().ok())
        .ok_or_else(|| invalid(format!("a box ends before byte {}", at.saturating_add(N))))
}

/// Sixteen bits at `at`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, MediaError> {
    Ok(u16::from_be_bytes(array(bytes, at)?))
}

/// Thirty-two bits at `at`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, MediaError> {
    Ok(u32::from_be_bytes(array(bytes, at)?))
}
