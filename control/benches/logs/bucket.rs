//! An S3 endpoint of the bench's own, so that what it costs is not counted as control's: objects in memory, over HTTP.
//!
//! It does what control asks of a bucket (put, get, delete, list of one level) and believes every signature.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::percent_decode_str;

type Objects = BTreeMap<String, Bytes>;

/// What is in it: keys are `BUCKET/KEY`. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Buckets(Arc<Mutex<Objects>>);

impl Buckets {
    /// Serves on a free port of the loopback interface; returns `HOST:PORT`.
    pub(crate) async fn serve(&self) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let router =
            Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    fn held<T>(&self, with: impl FnOnce(&mut Objects) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Objects of `bucket`, by key.
    pub(crate) fn objects(&self, bucket: &str) -> Vec<(String, Bytes)> {
        let prefix = format!("{bucket}/");
        self.held(|held| {
            let all = held.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
            all.map(|(key, body)| (key[prefix.len()..].to_owned(), body.clone())).collect()
        })
    }
}

async fn answer(
    State(buckets): State<Buckets>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    let path = uri.path().trim_start_matches('/');
    let key = percent_decode_str(path).decode_utf8_lossy().into_owned();
    match method {
        Method::PUT => {
            buckets.held(|held| held.insert(key, body));
            ([("etag", "\"bench\"")], StatusCode::OK).into_response()
        }
        Method::GET if query.contains_key("list-type") => list(&buckets, key.trim_end_matches('/'), &query),
        Method::GET => match buckets.held(|held| held.get(&key).cloned()) {
            Some(body) => ([("etag", "\"bench\"")], Body::from(body)).into_response(),
            None => {
                let error = "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>";
                (StatusCode::NOT_FOUND, error).into_response()
            }
        },
        Method::DELETE => {
            buckets.held(|held| held.remove(&key));
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn list(buckets: &Buckets, bucket: &str, query: &BTreeMap<String, String>) -> Response {
    let of = |name: &str| query.get(name).map_or("", String::as_str);
    let (prefix, after) = (of("prefix"), of("start-after"));
    let limit = of("max-keys").parse().unwrap_or(1000);
    let fits = |key: &String| key.starts_with(prefix) && key.as_str() > after;
    let page: Vec<_> = buckets.objects(bucket).into_iter().filter(|(key, _)| fits(key)).take(limit).collect();
    let items: String = page
        .iter()
        .map(|(key, body)| format!("<Contents><Key>{key}</Key><Size>{}</Size></Contents>", body.len()))
        .collect();
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Name>{bucket}</Name><KeyCount>{}</KeyCount><IsTruncated>false</IsTruncated>{items}</ListBucketResult>",
        page.len()
    );
    ([("content-type", "application/xml")], xml).into_response()
}
