//! The canonical form of a request: the one spelling that client and server both hash.

use http::{HeaderMap, header};

use crate::api::auth::Signed;

/// The canonical forms `request` may have been signed as: as it came and, if its host has a scheme's default port, without
/// that port.
pub(super) fn requests(request: &Signed<'_>, names: &[&str], signed_headers: &str) -> Vec<Vec<u8>> {
    let host = request.headers.get(header::HOST).map_or(&b""[..], |host| host.as_bytes());
    let bare = host.strip_suffix(b":443").or_else(|| host.strip_suffix(b":80"));
    let build = |host: Option<&[u8]>| {
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(request.method.as_str().as_bytes());
        text.push(b'\n');
        // The path is escaped again over its own escapes: `%20` is signed as `%2520`.
        escape(path.as_bytes(), b"/", &mut text);
        text.push(b'\n');
        push_query(query, &mut text);
        text.push(b'\n');
        for name in names {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            match host.filter(|_| *name == header::HOST.as_str()) {
                Some(host) => text.extend_from_slice(host),
                None => push_values(request.headers, name, &mut text),
            }
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(signed_headers.as_bytes());
        text.push(b'\n');
        text.extend_from_slice(hex::encode(request.body_sha256).as_bytes());
        text
    };
    std::iter::once(build(None)).chain(bare.map(|bare| build(Some(bare)))).collect()
}

/// The values of a header, comma between repeated ones; white space at the ends dropped, inside made one space.
fn push_values(headers: &HeaderMap, name: &str, text: &mut Vec<u8>) {
    for (i, value) in headers.get_all(name).iter().enumerate() {
        if i > 0 {
            text.push(b',');
        }
        let words = value.as_bytes().split(|b| matches!(b, b' ' | b'\t')).filter(|word| !word.is_empty());
        for (i, word) in words.enumerate() {
            if i > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
}

/// Parameters by name and value, escaped one way however the client escaped them; a bare name gets its `=`.
fn push_query(query: &str, text: &mut Vec<u8>) {
    let normal = |part: &str| {
        let mut escaped = Vec::with_capacity(part.len());
        escape(&percent_encoding::percent_decode_str(part).collect::<Vec<u8>>(), b"", &mut escaped);
        escaped
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (normal(name), normal(value))
        })
        .collect();
    pairs.sort();
    for (i, (name, value)) in pairs.iter().enumerate() {
        if i > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(name);
        text.push(b'=');
        text.extend_from_slice(value);
    }
}

/// Everything but the unreserved characters of RFC 3986 and `also` as upper-case escapes.
fn escape(bytes: &[u8], also: &[u8], text: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &b in bytes {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') || also.contains(&b) {
            text.push(b);
        } else {
            text.extend_from_slice(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> String {
        let mut out = Vec::new();
        push_query(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_query_has_one_spelling() {
        assert_eq!(query(""), "");
        assert_eq!(query("WithTags"), "WithTags=");
        assert_eq!(query("b=2&a=1&a=0&&B=3"), "B=3&a=0&a=1&b=2");
        assert_eq!(query("Resource=arn%3aaws:x/y"), "Resource=arn%3Aaws%3Ax%2Fy");
        assert_eq!(query("a=b=c&d=%zz+"), "a=b%3Dc&d=%25zz%2B");
    }

    #[test]
    fn a_path_is_escaped_over_its_escapes() {
        let mut out = Vec::new();
        escape(b"/2020-05-31/x/a%20b/~:", b"/", &mut out);
        assert_eq!(out, b"/2020-05-31/x/a%2520b/~%3A");
    }

    #[test]
    fn white_space_of_headers_folds_and_repeated_headers_join() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", "  one \t  two ".parse().unwrap());
        headers.append("x-a", "three".parse().unwrap());
        let mut out = Vec::new();
        push_values(&headers, "x-a", &mut out);
        assert_eq!(out, b"one two,three");
    }
}
