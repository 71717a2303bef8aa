//! Who a request comes from: the session in its cookie, checked at each request, and what forms must carry.
//!
//! [`know`] stands before every page and leaves a [`Visitor`] in the request's extensions. A page that needs one takes it as an argument, and
//! without it is not reached: the browser is sent to the login instead. A form is read by [`Posted`], which also wants the session's token and
//! a key that may write.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::buckets::OfferedBuckets;
use super::form::Fields;
use super::page::see_other;
use super::session::{Session, Sessions, cookie_value, set_cookie};
use super::throttle::Throttle;
use super::urls::PlayerConfig;
use super::{Peer, Reports, failure};
use crate::accounts::{Accounts, Principal};
use crate::api::ApiConfig;
use crate::api::Context;
use crate::api::auth::Verifier;
use crate::store::{StoreError, Transaction};

/// Before the id of a session that was logged out; kept as long as its cookie could live.
const LOGOUTS: &str = "console-logouts/";
/// The form field that carries the session's token.
const TOKEN_FIELD: &str = "form_token";

/// What all pages work on. Clones share all of it.
#[derive(Clone)]
pub(super) struct Site(pub(super) Arc<SiteParts>);

/// The parts of a [`Site`].
pub(super) struct SiteParts {
    pub(super) context: Context,
    pub(super) verifier: Verifier,
    pub(super) reports: Reports,
    pub(super) accounts: Accounts,
    pub(super) sessions: Sessions,
    pub(super) throttle: Throttle,
    pub(super) buckets: OfferedBuckets,
    pub(super) players: PlayerConfig,
}

impl Deref for Site {
    type Target = SiteParts;

    fn deref(&self) -> &SiteParts {
        &self.0
    }
}

/// Somebody logged in.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// The account, the key, and whether it may only read.
    pub(super) principal: Principal,
    /// The session.
    pub(super) session: Session,
    /// What is in force of the API's behaviour, as the front door tells; `None` without a door: what was at the start.
    pub(super) config: Option<Arc<ApiConfig>>,
    token: String,
}

impl Visitor {
    /// The hidden field that every form carries.
    pub(super) fn form_token(&self) -> Markup {
        token_field(&self.token)
    }

    /// Whether forms are of any use to them.
    pub(super) fn may_write(&self) -> bool {
        !self.principal.read_only
    }
}

/// The hidden field with a session's token.
pub(super) fn token_field(token: &str) -> Markup {
    html! { input type="hidden" name=(TOKEN_FIELD) value=(token); }
}

impl Site {
    /// The session in the request's cookie, if it is one and lives.
    pub(super) fn session(&self, headers: &HeaderMap, tls: bool) -> Option<Session> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let token = cookies.filter_map(|value| cookie_value(value, tls)).next()?;
        self.sessions.read(token, self.context.clock.now_ms())
    }

    /// Who `session` is of: its key must exist still and be enabled, and nobody may have logged it out.
    async fn visitor(&self, session: &Session) -> Option<Visitor> {
        let view = self.context.views.borrow().clone();
        let key = view.access_keys.get(&session.key_id).filter(|key| !key.disabled)?;
        if key.created_ms > session.started_ms {
            // Another key that was given this id since.
            return None;
        }
        // A store that is away ends no sessions: pages that need it say so themselves.
        if let Ok(Some(_)) = self.context.store.get(&format!("{LOGOUTS}{}", session.id)).await {
            return None;
        }
        let token = self.sessions.form_token(session);
        Some(Visitor { principal: Principal::from(&**key), session: session.clone(), config: None, token })
    }

    /// Ends a session at every replica.
    pub(super) async fn log_out(&self, session: &Session) -> Result<(), StoreError> {
        let left = Duration::from_millis(self.sessions.left_ms(session, self.context.clock.now_ms()));
        let key = format!("{LOGOUTS}{}", session.id);
        // A store's lease is of whole seconds.
        let logout = Transaction::default().put_for(key, "", left + Duration::from_secs(60));
        self.context.store.commit(logout).await.map(drop)
    }
}

/// Before every page: finds out who asks, and writes the cookie anew when that is due.
pub(super) async fn know(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let peer = Peer::of(request.extensions());
    let mut renewed = None;
    if let Some(session) = site.session(request.headers(), peer.tls)
        && let Some(mut visitor) = site.visitor(&session).await
    {
        visitor.config = request.extensions().get::<Arc<ApiConfig>>().cloned();
        renewed = site.sessions.touched(&session, site.context.clock.now_ms());
        request.extensions_mut().insert(visitor);
    }
    let mut answer = next.run(request).await;
    if let Some(session) = renewed.filter(|_| !answer.headers().contains_key(header::SET_COOKIE)) {
        with_cookie(&mut answer, &set_cookie(&site.sessions.token(&session), peer.tls));
    }
    answer
}

/// Adds a `Set-Cookie`.
pub(super) fn with_cookie(answer: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Sends the browser to the login, and from there back to what it asked for if that can be asked for again.
fn to_login(method: &Method, uri: &Uri) -> Response {
    // The router strips what it is nested below.
    let wanted = format!("/console{}", uri.path_and_query().map_or("", |path| path.as_str()));
    match method {
        &Method::GET => {
            see_other(&format!("/console/login?next={}", utf8_percent_encode(&wanted, NON_ALPHANUMERIC)))
        }
        _ => see_other("/console/login"),
    }
}

impl FromRequestParts<Site> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Site) -> Result<Self, Response> {
        let visitor = parts.extensions.get::<Self>().cloned();
        visitor.ok_or_else(|| to_login(&parts.method, &parts.uri))
    }
}

/// Reads a form of at most the router's body limit; `Err` is the answer to what is none.
pub(super) async fn read_form(request: Request, site: &Site) -> Result<Fields, Response> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        let text = "A form of this page was expected.";
        return Err(failure::page(None, StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not a form", text));
    }
    let body = Bytes::from_request(request, site).await.map_err(|refused| {
        failure::page(None, refused.status(), "The form can't be read", "It is too large, or was cut off.")
    })?;
    Ok(Fields::parse(&String::from_utf8_lossy(&body)))
}

/// Whether a form carries the token of `session`.
pub(super) fn is_ours(site: &Site, session: &Session, fields: &Fields) -> bool {
    site.sessions.is_form_token(session, fields.raw(TOKEN_FIELD))
}

/// A form of one of our pages, sent by somebody who may write.
pub(super) struct Posted {
    /// Who.
    pub(super) visitor: Visitor,
    /// What.
    pub(super) fields: Fields,
}

/// A form of one of our pages, sent by anybody logged in.
pub(super) struct PostedByAnyone(pub(super) Posted);

impl FromRequest<Site> for PostedByAnyone {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, site).await?;
        let fields = read_form(Request::from_parts(parts, body), site).await?;
        if !is_ours(site, &visitor.session, &fields) {
            return Err(failure::foreign_form(Some(&visitor)));
        }
        Ok(Self(Posted { visitor, fields }))
    }
}

impl FromRequest<Site> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Response> {
        let PostedByAnyone(posted) = PostedByAnyone::from_request(request, site).await?;
        if !posted.visitor.may_write() {
            return Err(failure::read_only(&posted.visitor));
        }
        Ok(posted)
    }
}
