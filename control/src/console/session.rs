//! Sessions as signed cookies: who logged in, since when, and when last seen.
//!
//! Nothing is kept in memory, and logouts alone in the store ([`super::visitor`]), so whichever replica a request reaches takes the cookie, and a restart logs nobody out. The MAC's
//! key is derived from the key that seals secrets, which all replicas share; while that is rotated, cookies by either key are taken. A cookie says which access key logged in, not what
//! it may do: that is looked up again at each request, so a disabled key's sessions end at once.
//!
//! A token that doesn't verify, or is older than it may be, is no session: the caller is sent to the login page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// Bytes of a session's random id.
const ID_BYTES: usize = 16;
/// No cookie of ours is longer; longer ones are not even decoded.
const TOKEN_BYTES_MAX: usize = 512;
/// A session's time of last use is written anew after this: not at each request, and often enough that nobody is logged out
/// while at work.
const TOUCH_MS: u64 = 60_000;

/// One login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// The access key that logged in; empty: nobody yet, the login page's own token hangs on it.
    pub(super) key_id: String,
    /// Random, hexadecimal; names the session among those logged out.
    pub(super) id: String,
    /// When it began, milliseconds since 1970.
    pub(super) started_ms: u64,
    /// When it was last seen (to a minute), milliseconds since 1970.
    pub(super) seen_ms: u64,
}

/// Makes and verifies cookies.
#[derive(Clone)]
pub(super) struct Sessions {
    /// The first signs; all verify.
    keys: Vec<hmac::Key>,
    idle_ms: u64,
    absolute_ms: u64,
}

impl Sessions {
    /// Cookies are signed with the first of `keys` and taken by all of them; a session ends after `idle_ms` without a request, and `absolute_ms` after its login in any case.
    pub(super) fn new(keys: &[[u8; 32]], idle_ms: u64, absolute_ms: u64) -> Self {
        let keys = keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect();
        Self { keys, idle_ms, absolute_ms }
    }

    /// A session that begins now, of `key_id` or (empty) of nobody yet.
    pub(super) fn begin(&self, key_id: &str, now_ms: u64) -> Session {
        let id = hex::encode(rand::random::<[u8; ID_BYTES]>());
        Session { key_id: key_id.into(), id, started_ms: now_ms, seen_ms: now_ms }
    }

    fn mac(&self, purpose: &str, text: &str) -> String {
        let text = format!("{purpose}\0{text}");
        // There is a first one: the console is not opened without.
        self.keys
            .first()
            .map_or_else(String::new, |key| URL_SAFE_NO_PAD.encode(hmac::sign(key, text.as_bytes())))
    }

    fn verified(&self, purpose: &str, text: &str, mac: &str) -> bool {
        let Ok(mac) = URL_SAFE_NO_PAD.decode(mac) else { return false };
        let text = format!("{purpose}\0{text}");
        self.keys.iter().any(|key| hmac::verify(key, text.as_bytes(), &mac).is_ok())
    }

    /// The cookie's value.
    pub(super) fn token(&self, session: &Session) -> String {
        let Session { key_id, id, started_ms, seen_ms } = session;
        let text = format!("{key_id}.{id}.{started_ms}.{seen_ms}");
        format!("{text}.{}", self.mac("session", &text))
    }

    /// The session of a cookie's value, if it is one of ours and still lives at `now_ms`.
    pub(super) fn read(&self, token: &str, now_ms: u64) -> Option<Session> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (text, mac) = token.rsplit_once('.')?;
        if !self.verified("session", text, mac) {
            return None;
        }
        let mut parts = text.split('.');
        let session = Session {
            key_id: parts.next()?.into(),
            id: parts.next()?.into(),
            started_ms: parts.next()?.parse().ok()?,
            seen_ms: parts.next()?.parse().ok()?,
        };
        // Clocks of replicas differ a little: a time ahead of ours counts as now.
        let lives = now_ms.saturating_sub(session.seen_ms) <= self.idle_ms
            && now_ms.saturating_sub(session.started_ms) <= self.absolute_ms;
        lives.then_some(session)
    }

    /// `session` as seen now, if its cookie is due to be written anew.
    pub(super) fn touched(&self, session: &Session, now_ms: u64) -> Option<Session> {
        let due = now_ms.saturating_sub(session.seen_ms) >= TOUCH_MS.min(self.idle_ms / 4);
        due.then(|| Session { seen_ms: now_ms, ..session.clone() })
    }

    /// Milliseconds this session may still live, whatever its owner does.
    pub(super) fn left_ms(&self, session: &Session, now_ms: u64) -> u64 {
        (session.started_ms + self.absolute_ms).saturating_sub(now_ms)
    }

    /// What each form of this session carries, so that no other site can make one.
    pub(super) fn form_token(&self, session: &Session) -> String {
        self.mac("form", &session.id)
    }

    /// Whether `token` came from a page of this session.
    pub(super) fn is_form_token(&self, session: &Session, token: &str) -> bool {
        token.len() <= TOKEN_BYTES_MAX && self.verified("form", &session.id, token)
    }
}

/// The cookie's name. Over TLS the prefix makes browsers refuse one that a sibling host or plain HTTP tries to plant.
pub(super) fn cookie_name(tls: bool) -> &'static str {
    if tls { "__Host-penstock" } else { "penstock" }
}

/// A `Set-Cookie` that gives the browser `token`; it ends with the browser, at the latest with the session.
pub(super) fn set_cookie(token: &str, tls: bool) -> String {
    let secure = if tls { "; Secure" } else { "" };
    format!("{}={token}; Path=/; HttpOnly; SameSite=Strict{secure}", cookie_name(tls))
}

/// A `Set-Cookie` that takes it away.
pub(super) fn clear_cookie(tls: bool) -> String {
    set_cookie("; Max-Age=0", tls)
}

/// The value of our cookie in a `Cookie` header.
pub(super) fn cookie_value(header: &str, tls: bool) -> Option<&str> {
    let name = cookie_name(tls);
    header.split(';').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        Sessions::new(&[[7; 32]], 1_800_000, 43_200_000)
    }

    #[test]
    fn a_cookie_reads_back_until_idle_or_too_old() {
        let sessions = sessions();
        let session = sessions.begin("AKID", 1_000_000);
        let token = sessions.token(&session);
        assert_eq!(sessions.read(&token, 1_000_000), Some(session.clone()));
        assert_eq!(sessions.read(&token, 2_800_000), Some(session.clone()));
        assert_eq!(sessions.read(&token, 2_800_001), None, "idle");
        let mut at = 1_000_000;
        let mut kept = session;
        while at < 44_100_000 {
            at += 900_000;
            kept = sessions.touched(&kept, at).unwrap();
            let read = sessions.read(&sessions.token(&kept), at);
            assert_eq!(read.is_some(), at <= 44_200_000, "{at}");
        }
        assert_eq!(sessions.read(&sessions.token(&kept), 44_200_001), None, "too old");
    }

    #[test]
    fn a_cookie_that_was_changed_anywhere_is_none() {
        let sessions = sessions();
        let token = sessions.token(&sessions.begin("AKID", 5));
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(sessions.read(&changed, 5), None, "{changed}");
            assert_eq!(sessions.read(&token[..at], 5), None);
        }
        let other = Sessions::new(&[[8; 32]], 1_800_000, 43_200_000);
        assert_eq!(other.read(&token, 5), None, "another cluster's key");
        assert_eq!(sessions.read(&"a".repeat(5000), 5), None);
    }

    #[test]
    fn while_keys_are_rotated_replicas_take_each_other_s_cookies() {
        let sessions = |keys: &[[u8; 32]]| Sessions::new(keys, 1_800_000, 43_200_000);
        let (before, after) = (sessions(&[[7; 32], [8; 32]]), sessions(&[[8; 32], [7; 32]]));
        let session = before.begin("AKID", 5);
        for (from, to) in [(&before, &after), (&after, &before)] {
            assert_eq!(to.read(&from.token(&session), 5), Some(session.clone()));
            assert!(to.is_form_token(&session, &from.form_token(&session)));
        }
        let done = sessions(&[[8; 32]]);
        assert_eq!(done.read(&after.token(&session), 5), Some(session.clone()));
        assert_eq!(done.read(&before.token(&session), 5), None);
    }

    #[test]
    fn a_form_belongs_to_one_session_and_is_no_cookie() {
        let sessions = sessions();
        let (mine, other) = (sessions.begin("AKID", 5), sessions.begin("AKID", 5));
        let token = sessions.form_token(&mine);
        assert!(sessions.is_form_token(&mine, &token));
        assert!(!sessions.is_form_token(&other, &token));
        assert!(!sessions.is_form_token(&mine, ""));
        assert_eq!(sessions.read(&format!("{}.{token}", mine.id), 5), None);
    }

    #[test]
    fn cookies_are_strict_and_secure_over_tls() {
        assert_eq!(set_cookie("t", false), "penstock=t; Path=/; HttpOnly; SameSite=Strict");
        assert_eq!(set_cookie("t", true), "__Host-penstock=t; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(cookie_value("a=b; penstock=x.y; c=d", false), Some("x.y"));
        assert_eq!(cookie_value("penstocky=1; xpenstock=2", false), None);
        assert_eq!(cookie_value("penstock=plain", true), None, "plain HTTP's cookie is none over TLS");
        assert!(clear_cookie(false).starts_with("penstock=; Max-Age=0; Path=/;"));
    }
}
