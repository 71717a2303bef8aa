//! What protects every page whatever it does: headers that browsers enforce, and the refusal of requests that other sites caused.
//!
//! A browser says where a request comes from, by `Sec-Fetch-Site` or `Origin`. One that changes something and says another site is refused before it
//! is read. Clients that say neither are no browsers of the last ten years; for them, and for all others besides, forms carry a token.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};

use super::{Peer, failure};

/// No script or style but our own files, nothing from elsewhere, no frames, forms only to us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Whether nothing says that another site caused this request.
fn is_our_own(headers: &HeaderMap, host: Option<&str>) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        // "none": typed in or from a bookmark, which no form is; harmless all the same.
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN) else { return true };
    // The scheme is not compared: a proxy before us may have taken the TLS off.
    let origin_host =
        origin.parse::<Uri>().ok().and_then(|uri| uri.authority().map(|a| a.as_str().to_owned()));
    origin_host.is_some_and(|origin| host.is_some_and(|host| host.eq_ignore_ascii_case(&origin)))
}

/// Around every page.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let tls = Peer::of(request.extensions()).tls;
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|a| a.as_str()));
    let mut answer = if request.method().is_safe() || is_our_own(request.headers(), host) {
        next.run(request).await
    } else {
        tracing::warn!(
            path = request.uri().path(),
            "a form that another site sent to the console was refused"
        );
        let text = "It was sent by another site, and nothing was changed.";
        failure::page(None, StatusCode::FORBIDDEN, "The form was refused", text)
    };
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        is_our_own(&headers, Some("console.example.com:8443"))
    }

    #[test]
    fn what_another_site_sends_is_not_ours() {
        assert!(of(&[]));
        assert!(of(&[("sec-fetch-site", "same-origin")]));
        assert!(of(&[("origin", "https://console.example.com:8443")]));
        assert!(of(&[("origin", "http://Console.example.com:8443")]));
        for wrong in ["cross-site", "same-site", "?", ""] {
            assert!(
                !of(&[("sec-fetch-site", wrong), ("origin", "https://console.example.com:8443")]),
                "{wrong}"
            );
        }
        for wrong in [
            "null",
            "https://evil.example",
            "https://console.example.com",
            "https://console.example.com:8443.evil.example",
        ] {
            assert!(!of(&[("origin", wrong)]), "{wrong}");
        }
    }
}
