//! The stylesheet, the script and the icon: part of the binary, served under names that change with their content.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use sha2::{Digest, Sha256};

/// A file.
pub(super) struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    path: LazyLock<String>,
}

fn path(name: &str, text: &str) -> String {
    let hash = hex::encode(&Sha256::digest(text)[..8]);
    format!("/console/static/{hash}/{name}")
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        Asset {
            name: $name,
            kind: $kind,
            text: include_str!(concat!("assets/", $name)),
            path: LazyLock::new(|| path($name, include_str!(concat!("assets/", $name)))),
        }
    };
}

/// How pages look.
pub(super) static STYLE: Asset = asset!("console.css", "text/css; charset=utf-8");
/// What script adds: copying, and following a status.
pub(super) static SCRIPT: Asset = asset!("console.js", "text/javascript; charset=utf-8");
/// The tab's icon.
pub(super) static ICON: Asset = asset!("icon.svg", "image/svg+xml");

impl Asset {
    /// Its address, which changes with its content.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// The file at `/console/static/HASH/NAME`. Any hash will do, so that a page of another version still finds one; only the right one is kept
/// by browsers.
pub(super) fn serve(hash: &str, name: &str) -> Response {
    let Some(asset) = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let ours = asset.path().split('/').nth(3) == Some(hash);
    let kept = if ours { "public, max-age=31536000, immutable" } else { "no-store" };
    ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, kept)], asset.text).into_response()
}
