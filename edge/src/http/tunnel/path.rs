//! What a request's path asks of a tunnel.
//!
//! ```text
//! /fcs/ident2        which address to use from now on
//! /open/1            begin a session
//! /send/ID/N         RTMP bytes, and what there is to receive
//! /idle/ID/N         what there is to receive
//! /close/ID/N        end it
//! ```
//!
//! N counts send and idle requests together. A path that begins like one of these and goes on otherwise is malformed; every other path is
//! not of a tunnel.

/// Characters of a session id that we give. (Players take up to 31.)
pub(crate) const ID_LEN: usize = 16;
/// Digits of a sequence number at most.
const DIGITS: usize = 18;

/// A session id of our form: 16 letters and digits, 95 bits.
pub(crate) type Id = [u8; ID_LEN];

/// What carries a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RTMP bytes.
    Send,
    /// None.
    Idle,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// The address to use.
    Ident,
    /// A new session.
    Open,
    /// To exchange bytes. No id: one we can't have given.
    Exchange(Kind, Option<Id>, u64),
    /// The end.
    Close(Option<Id>),
    /// Nothing that is known.
    Malformed,
}

impl Call {
    /// What `path` asks for; `None` if it is not of a tunnel.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (verb, rest) = path.strip_prefix('/')?.split_once('/')?;
        Some(match verb {
            "fcs" if rest == "ident2" => Self::Ident,
            "open" => number(rest).map_or(Self::Malformed, |_| Self::Open),
            "send" => exchange(Kind::Send, rest),
            "idle" => exchange(Kind::Idle, rest),
            "close" => match rest.split_once('/') {
                Some((id, n)) if number(n).is_some() => Self::Close(id_of(id)),
                _ => Self::Malformed,
            },
            _ => return None,
        })
    }
}

fn exchange(kind: Kind, rest: &str) -> Call {
    let parts = rest.split_once('/').and_then(|(id, n)| Some((id, number(n)?)));
    parts.map_or(Call::Malformed, |(id, n)| Call::Exchange(kind, id_of(id), n))
}

fn number(text: &str) -> Option<u64> {
    let digits = (1..=DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn id_of(text: &str) -> Option<Id> {
    let id: Id = text.as_bytes().try_into().ok()?;
    id.iter().all(u8::is_ascii_alphanumeric).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_or_not_of_a_tunnel() {
        let id = *b"abcdefgh01234567";
        for (path, call) in [
            ("/fcs/ident2", Some(Call::Ident)),
            ("/open/1", Some(Call::Open)),
            ("/send/abcdefgh01234567/0", Some(Call::Exchange(Kind::Send, Some(id), 0))),
            ("/idle/abcdefgh01234567/12", Some(Call::Exchange(Kind::Idle, Some(id), 12))),
            ("/close/abcdefgh01234567/3", Some(Call::Close(Some(id)))),
            ("/idle/short/12", Some(Call::Exchange(Kind::Idle, None, 12))),
            ("/idle/abcdefgh0123456./12", Some(Call::Exchange(Kind::Idle, None, 12))),
            ("/open/", Some(Call::Malformed)),
            ("/open/x", Some(Call::Malformed)),
            ("/send/abcdefgh01234567", Some(Call::Malformed)),
            ("/send/abcdefgh01234567/-1", Some(Call::Malformed)),
            ("/send/abcdefgh01234567/+1", Some(Call::Malformed)),
            ("/send/abcdefgh01234567/1/2", Some(Call::Malformed)),
            ("/send/abcdefgh01234567/9999999999999999999", Some(Call::Malformed)),
            ("/fcs/ident", None),
            ("/", None),
            ("", None),
            ("/send", None),
            ("/crossdomain.xml", None),
        ] {
            assert_eq!(Call::of(path), call, "{path}");
        }
    }
}
