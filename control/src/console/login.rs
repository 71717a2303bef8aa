//! Logging in by access key, and out.
//!
//! The login page has a session too, of nobody: its form's token hangs on that, so that no other site can log a browser in under a key of its own. A
//! login begins a new session, whatever cookie came with it.

use axum::extract::{Query, Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use maud::html;
use serde::Deserialize;

use super::page::{Field, Page, Problems, Section, see_other};
use super::session::{Session, clear_cookie, set_cookie};
use super::throttle::TooMany;
use super::visitor::{PostedByAnyone, Site, Visitor, is_ours, read_form, token_field, with_cookie};
use super::{Peer, failure};

/// The start page of whoever logs in without having asked for another.
const START: &str = "/console/distributions";

/// `?next=`: where to go after the login.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// `next` if it is an address of ours.
fn own_address(next: &str) -> &str {
    let is_ours = next.starts_with("/console/")
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && !next.contains("//")
        && !next.starts_with("/console/log");
    if is_ours { next } else { START }
}

/// GET `/console/login`.
pub(super) async fn form(State(site): State<Site>, Query(query): Query<Next>, request: Request) -> Response {
    let peer = Peer::of(request.extensions());
    if request.extensions().get::<Visitor>().is_some() {
        return see_other(own_address(&query.next));
    }
    let session = anonymous(&site, &request);
    let mut answer = page(&site, &session, StatusCode::OK, "", &query.next, &Problems::none());
    with_cookie(&mut answer, &set_cookie(&site.sessions.token(&session), peer.tls));
    answer
}

/// The session of nobody that the request came with, or a new one. An old cookie of a real session is no such one.
fn anonymous(site: &Site, request: &Request) -> Session {
    let known = site.session(request.headers(), Peer::of(request.extensions()).tls);
    let known = known.filter(|session| session.key_id.is_empty());
    known.unwrap_or_else(|| site.sessions.begin("", site.context.clock.now_ms()))
}

fn page(
    site: &Site,
    session: &Session,
    status: StatusCode,
    key_id: &str,
    next: &str,
    problems: &Problems,
) -> Response {
    let field = |name, label, hint| Field { name, label, hint, problems };
    let content = html! {
        (problems.summary())
        form class="sheet" method="post" action="/console/login" {
            (token_field(&site.sessions.form_token(session)))
            input type="hidden" name="next" value=(own_address(next));
            (field("access_key_id", "Access key id", "").line("text", key_id, "username", true))
            (field("secret_access_key", "Secret access key", "").line("password", "", "current-password", true))
            button { "Log in" }
        }
        p class="hint" {
            "Keys are made by " code { "penstock-control keys" } ". They are the ones that " code { "aws cloudfront" } " takes."
        }
    };
    Page { title: "Log in", section: Section::None, visitor: None, trail: &[] }.answer(status, content)
}

/// POST `/console/login`.
pub(super) async fn log_in(State(site): State<Site>, request: Request) -> Response {
    let peer = Peer::of(request.extensions());
    let session = anonymous(&site, &request);
    let fields = match read_form(request, &site).await {
        Ok(fields) => fields,
        Err(answer) => return answer,
    };
    if !is_ours(&site, &session, &fields) {
        return failure::foreign_form(None);
    }
    let (key_id, next) = (fields.text("access_key_id"), fields.text("next"));
    let again = |status, problems: &Problems| page(&site, &session, status, key_id, next, problems);
    if let Err(TooMany(wait)) = site.throttle.take(peer.address) {
        let seconds = wait.as_secs() + 1;
        tracing::warn!(address = %peer.address, "too many failed logins to the console");
        let text = format!(
            "Too many logins from your address failed. Try again in {} minutes.",
            seconds.div_ceil(60)
        );
        let mut answer = again(StatusCode::TOO_MANY_REQUESTS, &Problems::one("", text));
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return answer;
    }
    let view = site.context.views.borrow().clone();
    match site.verifier.login(&view, key_id, fields.text("secret_access_key")) {
        Ok(principal) => {
            site.throttle.give_back(peer.address);
            tracing::info!(account = %principal.account, key = %principal.key_id, "logged in to the console");
            let session = site.sessions.begin(&principal.key_id, site.context.clock.now_ms());
            let mut answer = see_other(own_address(next));
            with_cookie(&mut answer, &set_cookie(&site.sessions.token(&session), peer.tls));
            answer
        }
        // Unknown, disabled and wrong are told in one way.
        Err(error) if error.status == StatusCode::FORBIDDEN => {
            let text = "There is no such access key, or the secret is not its own.";
            again(StatusCode::FORBIDDEN, &Problems::one("access_key_id", text))
        }
        Err(error) => again(error.status, &Problems::one("", failure::words(&error))),
    }
}

/// POST `/console/logout`.
pub(super) async fn log_out(
    State(site): State<Site>,
    extensions: http::Extensions,
    PostedByAnyone(posted): PostedByAnyone,
) -> Response {
    if let Err(error) = site.log_out(&posted.visitor.session).await {
        // The browser forgets its cookie; a copy of it would live until it is idle.
        tracing::warn!(%error, key = %posted.visitor.principal.key_id, "a logout couldn't be written down");
    }
    let mut answer = see_other("/console/login");
    with_cookie(&mut answer, &clear_cookie(Peer::of(&extensions).tls));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_addresses_of_ours() {
        for ours in ["/console/nodes", "/console/distributions?page=2&q=a%20b"] {
            assert_eq!(own_address(ours), ours);
        }
        for other in [
            "",
            "/",
            "//evil.example",
            "/console//evil",
            "https://evil.example/console/",
            "/console/\\evil",
            "/console/a b",
            "/console/login?next=/console/login",
            "/console/logout",
            "/consolex",
            "/console/\r\nSet-Cookie: a",
        ] {
            assert_eq!(own_address(other), START, "{other}");
        }
    }
}
