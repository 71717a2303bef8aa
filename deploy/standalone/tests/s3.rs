//! The embedded S3 endpoint, asked by Amazon's own client and by bare HTTP.
#![allow(clippy::unwrap_used)] // the lint's exception for tests doesn't reach what they share

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective, ObjectIdentifier,
};
use penstock::s3::{MediaSource, S3, S3Config, S3Error, S3Limits};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const KEY: &str = "AKIDPENSTOCKTEST";
const SECRET: &str = "not-much-of-a-secret";

/// A running endpoint over its own folders.
struct Endpoint {
    s3: S3,
    address: SocketAddr,
    data: PathBuf,
    media: PathBuf,
    registry: prometheus::Registry,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), S3Error>>,
    _folder: TempDir,
}

impl Endpoint {
    async fn start() -> Self {
        Self::start_with(S3Limits::default()).await
    }

    async fn start_with(limits: S3Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, media) = (folder.path().join("data"), folder.path().join("films"));
        fs::create_dir(&media).unwrap();
        let registry = prometheus::Registry::new();
        let config = config(&data, MediaSource::Folder(media.clone()), limits, registry.clone());
        let s3 = S3::open(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (serving, stop) = (s3.clone(), shutdown.clone());
        let serving = tokio::spawn(async move { serving.serve(listener, stop).await });
        Self { s3, address, data, media, registry, shutdown, serving, _folder: folder }
    }

    fn client(&self) -> Client {
        self.client_with(KEY, SECRET)
    }

    fn client_with(&self, key: &str, secret: &str) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(format!("http://{}", self.address))
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new(key, secret, None, None, "test"))
            .force_path_style(true)
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .build();
        Client::from_conf(config)
    }

    /// A client, and a private bucket `films`.
    async fn with_bucket(&self) -> Client {
        let client = self.client();
        client.create_bucket().bucket("films").send().await.unwrap();
        client
    }

    /// One request without a signature; status, head and body.
    async fn ask(&self, head: &str) -> (u16, String, Vec<u8>) {
        ask(self.address, head).await
    }
}

fn config(data: &Path, media: MediaSource, limits: S3Limits, registry: prometheus::Registry) -> S3Config {
    S3Config {
        data_dir: data.to_owned(),
        media,
        buckets: Vec::new(),
        access_key_id: KEY.to_owned(),
        secret_access_key: SECRET.to_owned(),
        limits,
        registry,
    }
}

async fn ask(address: SocketAddr, head: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
    let fields: String = fields.lines().map(|field| format!("{}\r\n", field.trim())).collect();
    let host = if fields.contains("host:") { "" } else { "host: 127.0.0.1\r\n" };
    let request = format!("{} HTTP/1.1\r\n{host}connection: close\r\n{fields}\r\n", line.trim());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, answer[end + 4..].to_vec())
}

/// The code of an error document, or the status where there is no document.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> String {
    let error = result.expect_err("an error was expected");
    let status = error.raw_response().map(|r| r.status().as_u16().to_string()).unwrap_or_default();
    error.code().map_or(status, str::to_owned)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ seed).collect()
}

#[tokio::test]
async fn a_film_in_the_media_folder_is_read_by_anyone() {
    let endpoint = Endpoint::start().await;
    let film = pattern(3_000_001, 1);
    fs::create_dir(endpoint.media.join("b c+d")).unwrap();
    fs::write(endpoint.media.join("b c+d/é.flv"), &film).unwrap();
    let (status, head, body) = endpoint.ask("GET /media/b%20c%2Bd/%C3%A9.flv").await;
    assert_eq!((status, body.len()), (200, film.len()));
    assert_eq!(body, film);
    assert_eq!(field(&head, "content-type"), Some("video/x-flv"));
    assert_eq!(field(&head, "accept-ranges"), Some("bytes"));
    assert_eq!(field(&head, "content-length"), Some("3000001"));
    assert!(field(&head, "last-modified").is_some() && field(&head, "etag").is_some());
    // A plus in a path is a plus.
    assert_eq!(endpoint.ask("HEAD /media/b%20c+d/%C3%A9.flv").await.0, 200);
    let (status, head, body) = endpoint.ask("HEAD /media/b%20c%2Bd/%C3%A9.flv").await;
    assert_eq!((status, field(&head, "content-length"), body.len()), (200, Some("3000001"), 0));
    assert_eq!(endpoint.s3.requests("GetObject"), 1);
    assert_eq!(endpoint.s3.requests("HeadObject"), 2);
    assert_eq!(endpoint.s3.requests("PutObject"), 0);
    let text = prometheus::TextEncoder::new().encode_to_string(&endpoint.registry.gather()).unwrap();
    assert!(text.contains("penstock_s3_bytes_total{direction=\"sent\"} 3000001"), "{text}");
    assert!(text.contains("penstock_s3_requests_total{operation=\"GetObject\",status=\"200\"} 1"), "{text}");
}

#[tokio::test]
async fn a_host_of_amazon_names_the_bucket() {
    let endpoint = Endpoint::start().await;
    fs::write(endpoint.media.join("a.mp3"), "tone").unwrap();
    for host in ["media.s3.amazonaws.com", "media.s3.eu-west-1.amazonaws.com:9000"] {
        let (status, _, body) = endpoint.ask(&format!("GET /a.mp3\nhost: {host}")).await;
        assert_eq!((status, body.as_slice()), (200, b"tone".as_slice()));
    }
    assert_eq!(endpoint.ask("GET /media/a.mp3\nhost: localhost:9000").await.0, 200);
}

#[tokio::test]
async fn ranges_are_clipped_and_unsatisfiable_ones_say_the_size() {
    let endpoint = Endpoint::start().await;
    fs::write(endpoint.media.join("digits"), "0123456789").unwrap();
    fs::write(endpoint.media.join("empty"), "").unwrap();
    for (range, expected, content_range) in [
        ("0-3", "0123", "bytes 0-3/10"),
        ("4-", "456789", "bytes 4-9/10"),
        ("-4", "6789", "bytes 6-9/10"),
        ("-400", "0123456789", "bytes 0-9/10"),
        ("8-400", "89", "bytes 8-9/10"),
    ] {
        let (status, head, body) = endpoint.ask(&format!("GET /media/digits\nrange: bytes={range}")).await;
        assert_eq!((status, String::from_utf8(body).unwrap().as_str()), (206, expected), "{range}");
        assert_eq!(field(&head, "content-range"), Some(content_range));
        let (status, head, _) = endpoint.ask(&format!("HEAD /media/digits\nrange: bytes={range}")).await;
        assert_eq!((status, field(&head, "content-range")), (206, Some(content_range)));
    }
    for (path, range) in [("digits", "10-"), ("digits", "-0"), ("empty", "0-"), ("empty", "-5")] {
        let (status, head, body) = endpoint.ask(&format!("GET /media/{path}\nrange: bytes={range}")).await;
        assert_eq!(status, 416, "{path} {range}");
        assert!(String::from_utf8(body).unwrap().contains("<Code>InvalidRange</Code>"));
        assert!(field(&head, "content-range").unwrap().starts_with("bytes */"));
    }
    for senseless in ["lines=1-2", "bytes=3-1", "bytes=0-1,4-5"] {
        let (status, _, body) = endpoint.ask(&format!("GET /media/digits\nrange: {senseless}")).await;
        assert_eq!((status, body.len()), (200, 10), "{senseless}");
    }
    let (status, _, body) = endpoint.ask("GET /media/empty").await;
    assert_eq!((status, body.len()), (200, 0));
}

#[tokio::test]
async fn conditions_are_answered_with_304_and_412() {
    let endpoint = Endpoint::start().await;
    let path = endpoint.media.join("film");
    fs::write(&path, "one").unwrap();
    let (_, head, _) = endpoint.ask("HEAD /media/film").await;
    // The file system's digits are lower case already.
    let etag = field(&head, "etag").unwrap().to_owned();
    let date = field(&head, "last-modified").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.contains('-'), "{etag}");
    let status = async |fields: &str| endpoint.ask(&format!("GET /media/film\n{fields}")).await.0;
    assert_eq!(status(&format!("if-match: {etag}")).await, 200);
    assert_eq!(status("if-match: *").await, 200);
    assert_eq!(status("if-match: \"other\"").await, 412);
    assert_eq!(status(&format!("if-none-match: {etag}")).await, 304);
    assert_eq!(status("if-none-match: \"other\"").await, 200);
    assert_eq!(status("if-modified-since: Thu, 01 Jan 2037 00:00:00 GMT").await, 304);
    assert_eq!(status("if-unmodified-since: Thu, 01 Jan 1998 00:00:00 GMT").await, 412);
    assert_eq!(status("if-match: \"other\"\nrange: bytes=0-0").await, 412);
    let (_, head, body) = endpoint.ask(&format!("GET /media/film\nif-none-match: {etag}")).await;
    assert_eq!((field(&head, "etag"), body.len()), (Some(etag.as_str()), 0));
    assert_eq!(status(&format!("range: bytes=0-0\nif-range: {etag}")).await, 206);
    assert_eq!(status("range: bytes=0-0\nif-range: \"other\"").await, 200);
    assert!(date.ends_with("gmt"));

    // Changed in place, even to the same length: another version.
    let later = fs::metadata(&path).unwrap().modified().unwrap() + Duration::from_millis(10);
    fs::write(&path, "two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(status(&format!("if-match: {etag}")).await, 412);
    assert_eq!(status(&format!("if-none-match: {etag}")).await, 200);
}

#[tokio::test]
async fn no_path_leaves_the_folder() {
    let endpoint = Endpoint::start().await;
    let client = endpoint.with_bucket().await;
    let root = endpoint.data.parent().unwrap();
    fs::write(root.join("secret"), "secret").unwrap();
    fs::create_dir(endpoint.media.join("folder")).unwrap();
    fs::write(endpoint.media.join("folder/film"), "film").unwrap();
    fs::write(endpoint.media.join(".hidden"), "secret").unwrap();
    symlink(root.join("secret"), endpoint.media.join("link")).unwrap();
    symlink("../secret", endpoint.media.join("relative")).unwrap();
    symlink(root, endpoint.media.join("up")).unwrap();
    symlink("folder/film", endpoint.media.join("inside")).unwrap();
    assert!(
        std::process::Command::new("mkfifo").arg(endpoint.media.join("fifo")).status().unwrap().success()
    );
    for path in [
        "/media/../secret",
        "/media/..%2fsecret",
        "/media/%2e%2e/secret",
        "/media/%2e%2e%2fsecret",
        "/media/%252e%252e%252fsecret",
        "/media/folder/../../secret",
        "/media/folder/..%5c..%5csecret",
        "/media//etc/passwd",
        "/media/%2fetc%2fpasswd",
        "/media/folder%00",
        "/media/link",
        "/media/relative",
        "/media/up/secret",
        "/media/up/films/folder/film",
        "/media/.hidden",
        "/media/folder",
        "/media/folder/",
        "/media/folder//film",
        "/media/folder/film/",
        "/media/fifo",
        "/media/inside/x",
    ] {
        let (status, _, body) = endpoint.ask(&format!("GET {path}")).await;
        assert_eq!(status, 404, "{path}");
        assert!(!String::from_utf8_lossy(&body).contains("secret<"), "{path}");
    }
    for path in ["/../secret", "/..%2f/secret", "/.public/secret", "/buckets.public/x"] {
        let (status, ..) = endpoint.ask(&format!("GET {path}")).await;
        assert!(status == 400 || status == 404, "{path}: {status}");
    }
    assert_eq!(endpoint.ask("GET /media/inside").await.2, b"film");
    let (_, _, listing) = endpoint.ask("GET /media?list-type=2").await;
    let listing = String::from_utf8(listing).unwrap();
    let keys: Vec<&str> =
        listing.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(keys, ["folder/film", "inside"]);

    for key in ["../x", "a/../../x", "a//b", "folder/", "a\\b"] {
        let put =
            client.put_object().bucket("films").key(key).body(ByteStream::from_static(b"x")).send().await;
        assert_eq!(code(put), "InvalidArgument", "{key}");
    }
    symlink(root, endpoint.data.join("buckets/films/up")).unwrap();
    let put =
        client.put_object().bucket("films").key("up/x").body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(code(put), "InvalidArgument");
    symlink(root, endpoint.data.join("buckets/linked")).unwrap();
    assert_eq!(code(client.get_object().bucket("linked").key("secret").send().await), "NoSuchBucket");
    assert!(!root.join("x").exists());
}

#[tokio::test]
async fn the_data_folder_is_no_part_of_a_media_folder_around_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let media = || MediaSource::Folder(folder.path().to_owned());
    let s3 = S3::open(config(&data, media(), S3Limits::default(), prometheus::Registry::new())).unwrap();
    fs::write(data.join("keys.json"), "secret").unwrap();
    fs::write(folder.path().join("film"), "film").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let serving = tokio::spawn(async move { s3.serve(listener, stop).await });
    assert_eq!(ask(address, "GET /media/film").await.0, 200);
    assert_eq!(ask(address, "GET /media/data/keys.json").await.0, 404);
    let listing = String::from_utf8(ask(address, "GET /media?list-type=2").await.2).unwrap();
    assert!(listing.contains("<Key>film</Key>") && !listing.contains("data"), "{listing}");
    shutdown.cancel();
    serving.await.unwrap().unwrap();
    let itself =
        config(&data, MediaSource::Folder(data.clone()), S3Limits::default(), prometheus::Registry::new());
    assert!(matches!(S3::open(itself), Err(S3Error::MediaIsData(_))));
}

#[tokio::test]
async fn a_bucket_is_private_until_its_marker_is_there_and_media_is_read_only() {
    let endpoint = Endpoint::start().await;
    let client = endpoint.with_bucket().await;
    client
        .put_object()
        .bucket("films")
        .key("a.flv")
        .body(ByteStream::from_static(b"film"))
        .send()
        .await
        .unwrap();
    let marker = endpoint.data.join("buckets/films.public");
    for (public, expected) in [(false, 403), (true, 200), (false, 403)] {
        match public {
            true => fs::write(&marker, "").unwrap(),
            false => drop(fs::remove_file(&marker)),
        }
        for request in
            ["GET /films/a.flv", "HEAD /films/a.flv", "GET /films?list-type=2", "HEAD /films", "GET /films"]
        {
            assert_eq!(endpoint.ask(request).await.0, expected, "{request}, public {public}");
        }
        let missing = if public { 404 } else { 403 };
        assert_eq!(endpoint.ask("GET /films/missing").await.0, missing);
        for write in [
            "PUT /films/b",
            "DELETE /films/a.flv",
            "PUT /other",
            "DELETE /films",
            "GET /",
            "POST /films?delete",
        ] {
            let (status, _, body) = endpoint.ask(&format!("{write}\ncontent-length: 0")).await;
            assert_eq!(status, 403, "{write}, public {public}");
            assert!(String::from_utf8(body).unwrap().contains("<Code>AccessDenied</Code>"));
        }
    }
    assert_eq!(
        client.get_object().bucket("films").key("a.flv").send().await.unwrap().content_length(),
        Some(4)
    );

    let put = client.put_object().bucket("media").key("a").body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(code(put), "AccessDenied");
    assert_eq!(code(client.delete_object().bucket("media").key("a").send().await), "AccessDenied");
    assert_eq!(code(client.delete_bucket().bucket("media").send().await), "AccessDenied");
    assert_eq!(code(client.create_bucket().bucket("media").send().await), "BucketAlreadyOwnedByYou");
    assert_eq!(code(client.create_bucket().bucket("films.public").send().await), "InvalidBucketName");

    let stranger = endpoint.client_with("SOMEONE", SECRET);
    assert_eq!(code(stranger.get_object().bucket("films").key("a.flv").send().await), "InvalidAccessKeyId");
    let forger = endpoint.client_with(KEY, "guess");
    assert_eq!(code(forger.get_object().bucket("films").key("a.flv").send().await), "SignatureDoesNotMatch");
    assert_eq!(code(client.get_object().bucket("films").key("none").send().await), "NoSuchKey");
    assert_eq!(code(client.get_object().bucket("nowhere").key("a").send().await), "NoSuchBucket");
    assert_eq!(endpoint.ask("GET /nowhere/a").await.0, 404);
    assert_eq!(endpoint.ask("GET /media/none").await.0, 404);
}

#[tokio::test]
async fn an_upload_comes_back_as_it_was_and_is_gone_when_deleted() {
    let endpoint = Endpoint::start().await;
    let client = endpoint.with_bucket().await;
    let film = pattern(2_000_003, 3);
    let put = client.put_object().bucket("films").key("deep/er/a b+c.mp4").body(film.clone().into());
    let put = put.cache_control("max-age=60").metadata("author", "someone").content_type("video/x-own");
    let etag = put.send().await.unwrap().e_tag.unwrap();
    assert_eq!(etag.len(), 34, "an MD5: {etag}");
    let got = client.get_object().bucket("films").key("deep/er/a b+c.mp4").send().await.unwrap();
    assert_eq!(got.e_tag(), Some(etag.as_str()));
    assert_eq!(got.cache_control(), Some("max-age=60"));
    assert_eq!(got.content_type(), Some("video/x-own"));
    assert_eq!(got.metadata().unwrap()["author"], "someone");
    assert_eq!(got.body.collect().await.unwrap().to_vec(), film);
    let path = endpoint.data.join("buckets/films/deep/er/a b+c.mp4");
    assert_eq!(fs::read(&path).unwrap(), film);

    let copied = client.copy_object().bucket("films").key("copy").copy_source("films/deep/er/a%20b%2Bc.mp4");
    let copied = copied.send().await.unwrap().copy_object_result.unwrap().e_tag.unwrap();
    assert_eq!(copied, etag);
    let head = client.head_object().bucket("films").key("copy").send().await.unwrap();
    assert_eq!((head.e_tag(), head.cache_control()), (Some(etag.as_str()), Some("max-age=60")));
    let replaced = client.copy_object().bucket("films").key("copy").copy_source("films/copy");
    replaced.metadata_directive(MetadataDirective::Replace).content_type("a/b").send().await.unwrap();
    let head = client.head_object().bucket("films").key("copy").send().await.unwrap();
    assert_eq!((head.content_type(), head.cache_control()), (Some("a/b"), None));

    // Edited by hand: what the upload said no longer holds.
    fs::write(&path, "edited").unwrap();
    let head = client.head_object().bucket("films").key("deep/er/a b+c.mp4").send().await.unwrap();
    assert_ne!(head.e_tag(), Some(etag.as_str()));
    assert_eq!((head.content_type(), head.cache_control()), (Some("video/mp4"), None));

    assert_eq!(code(client.delete_bucket().bucket("films").send().await), "BucketNotEmpty");
    client.delete_object().bucket("films").key("deep/er/a b+c.mp4").send().await.unwrap();
    client.delete_object().bucket("films").key("never/was").send().await.unwrap();
    assert!(!endpoint.data.join("buckets/films/deep").exists(), "emptied folders go too");
    let keys = ["copy", "missing"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(keys.to_vec())).build().unwrap();
    let deleted = client.delete_objects().bucket("films").delete(delete).send().await.unwrap();
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (2, 0));
    client.delete_bucket().bucket("films").send().await.unwrap();
    assert_eq!(code(client.head_bucket().bucket("films").send().await), "NotFound");
    let buckets = client.list_buckets().send().await.unwrap();
    assert_eq!(buckets.buckets().iter().filter_map(|b| b.name()).collect::<Vec<_>>(), ["media"]);
}

#[tokio::test]
async fn what_an_upload_may_replace_is_conditional() {
    let endpoint = Endpoint::start().await;
    let client = endpoint.with_bucket().await;
    let put = |body: &'static [u8]| {
        client.put_object().bucket("films").key("a").body(ByteStream::from_static(body))
    };
    let etag = put(b"1").if_none_match("*").send().await.unwrap().e_tag.unwrap();
    assert_eq!(code(put(b"2").if_none_match("*").send().await), "PreconditionFailed");
    assert_eq!(code(put(b"2").if_match("\"0\"").send().await), "PreconditionFailed");
    put(b"2").if_match(&etag).send().await.unwrap();
    // Of many at once exactly one creates.
    let race = (0..8).map(|i| {
        client
            .put_object()
            .bucket("films")
            .key("race")
            .if_none_match("*")
            .body(pattern(10_000, i).into())
            .send()
    });
    let won = futures::future::join_all(race).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(won, 1);
    let put = client.put_object().bucket("films").key("a/b").body(ByteStream::from_static(b"x")).send().await;
    assert_eq!(code(put), "InvalidArgument", "a file can't be a folder too");
}

#[tokio::test]
async fn a_body_that_is_not_what_was_promised_leaves_nothing() {
    let limits = S3Limits { object_bytes: 1 << 20, ..S3Limits::default() };
    let endpoint = Endpoint::start_with(limits).await;
    let client = endpoint.with_bucket().await;
    let put = || client.put_object().bucket("films").key("a");
    let wrong =
        put().body(ByteStream::from_static(b"x")).content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send().await;
    assert_eq!(code(wrong), "BadDigest");
    let right = put().body(ByteStream::from_static(b"")).content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").send().await;
    right.unwrap();
    let wrong = put().body(ByteStream::from_static(b"x")).checksum_crc32("AAAAAA==").send().await;
    assert_eq!(code(wrong), "BadDigest");
    let large = put().body(vec![0; (1 << 20) + 1].into()).send().await;
    assert_eq!(code(large), "EntityTooLarge");
    assert_eq!(code(put().body(vec![0; 9].into()).acl("public-read".into()).send().await), "NotImplemented");
    assert_eq!(code(client.get_bucket_acl().bucket("films").send().await), "NotImplemented");
    let (status, _, body) =
        endpoint.ask("POST /films\ncontent-type: multipart/form-data; boundary=x\ncontent-length: 0").await;
    assert_eq!(status, 501);
    assert!(String::from_utf8(body).unwrap().contains("PostObject"));
    assert_eq!(fs::read(endpoint.data.join("buckets/films/a")).unwrap(), b"");
    assert_eq!(fs::read_dir(endpoint.data.join("uploads/bodies")).unwrap().count(), 0);
}

#[tokio::test]
async fn parts_are_joined_in_order_and_aborted_without_trace() {
    let endpoint = Endpoint::start().await;
    let client = endpoint.with_bucket().await;
    let begin = async || {
        let begun =
            client.create_multipart_upload().bucket("films").key("big.mp4").content_type("video/x-own");
        begun.send().await.unwrap().upload_id.unwrap()
    };
    let upload = async |id: &str, number: i32, body: Vec<u8>| {
        let part = client.upload_part().bucket("films").key("big.mp4").upload_id(id).part_number(number);
        part.body(body.into()).send().await.unwrap().e_tag.unwrap()
    };
    let complete = async |id: &str, parts: &[(i32, &str)]| {
        let parts =
            parts.iter().map(|(n, e)| CompletedPart::builder().part_number(*n).e_tag(*e).build()).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let done = client.complete_multipart_upload().bucket("films").key("big.mp4").upload_id(id);
        done.multipart_upload(parts).send().await
    };
    let id = begin().await;
    let stale = upload(&id, 7, pattern(100, 9)).await;
    let second = upload(&id, 7, pattern(1_000_000, 2)).await;
    let first = upload(&id, 2, pattern(1_500_000, 1)).await;
    let listed = client.list_parts().bucket("films").key("big.mp4").upload_id(&id).send().await.unwrap();
    let listed: Vec<_> =
        listed.parts().iter().map(|p| (p.part_number().unwrap(), p.size().unwrap())).collect();
    assert_eq!(listed, [(2, 1_500_000), (7, 1_000_000)]);
    let uploads = client.list_multipart_uploads().bucket("films").send().await.unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(id.as_str()));
    assert_eq!(code(complete(&id, &[(7, &second), (2, &first)]).await), "InvalidPartOrder");
    assert_eq!(code(complete(&id, &[(2, &first), (7, &stale)]).await), "InvalidPart");
    assert_eq!(code(client.head_object().bucket("films").key("big.mp4").send().await), "NotFound");
    let etag = complete(&id, &[(2, &first), (7, &second)]).await.unwrap().e_tag.unwrap();
    assert!(etag.ends_with("-2\""), "{etag}");
    let got = client.get_object().bucket("films").key("big.mp4").send().await.unwrap();
    assert_eq!((got.e_tag(), got.content_type()), (Some(etag.as_str()), Some("video/x-own")));
    let whole = [pattern(1_500_000, 1), pattern(1_000_000, 2)].concat();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), whole);
    assert_eq!(code(complete(&id, &[(2, &first)]).await), "NoSuchUpload");

    let id = begin().await;
    upload(&id, 1, pattern(1000, 1)).await;
    let abort =
        |key: &str, id: &str| client.abort_multipart_upload().bucket("films").key(key).upload_id(id).send();
    assert_eq!(code(abort("other", &id).await), "NoSuchUpload");
    assert_eq!(code(abort("big.mp4", "../../buckets").await), "NoSuchUpload");
    abort("big.mp4", &id).await.unwrap();
    assert_eq!(fs::read_dir(endpoint.data.join("uploads/multipart")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(endpoint.data.join("uploads/bodies")).unwrap().count(), 0);
}

#[tokio::test]
async fn listings_page_in_key_order_with_etags() {
    let endpoint = Endpoint::start().await;
    let client = endpoint.with_bucket().await;
    let keys = ["a b+c", "a-b/x", "a.b", "a/b", "a/c/d", "a0", "z&<é"];
    for key in keys {
        client
            .put_object()
            .bucket("films")
            .key(key)
            .body(ByteStream::from_static(b"film"))
            .send()
            .await
            .unwrap();
    }
    let list = || client.list_objects_v2().bucket("films");
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let page = list().max_keys(2).set_continuation_token(token).send().await.unwrap();
        assert!(page.contents().iter().all(|o| o.e_tag().is_some_and(|etag| etag.len() == 34)));
        found.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
        assert_eq!(page.is_truncated(), Some(page.next_continuation_token().is_some()));
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found, keys);
    let page = list().delimiter("/").send().await.unwrap();
    let prefixes: Vec<_> = page.common_prefixes().iter().filter_map(|p| p.prefix()).collect();
    assert_eq!((prefixes, page.key_count()), (vec!["a-b/", "a/"], Some(6)));
    let page = list().start_after("a.b").prefix("a").send().await.unwrap();
    assert_eq!(page.contents().iter().filter_map(|o| o.key()).collect::<Vec<_>>(), ["a/b", "a/c/d", "a0"]);
    let page = list().encoding_type("url".into()).send().await.unwrap();
    let encoded: Vec<_> = page.contents().iter().filter_map(|o| o.key()).collect();
    assert_eq!((encoded[0], encoded[6]), ("a%20b%2Bc", "z%26%3C%C3%A9"));
    assert_eq!(code(list().continuation_token("nonsense").send().await), "InvalidArgument");
    assert_eq!(list().max_keys(0).send().await.unwrap().is_truncated(), Some(false));
    let first = client.list_objects().bucket("films").delimiter("/").max_keys(2).send().await.unwrap();
    assert_eq!(first.next_marker(), Some("a-b/"));
    let next = client.list_objects().bucket("films").delimiter("/").marker("a-b/").send().await.unwrap();
    assert_eq!(next.contents()[0].key(), Some("a.b"));
}

#[tokio::test]
async fn a_reader_gets_one_version_whole_or_an_error() {
    let endpoint = Endpoint::start().await;
    let client = endpoint.with_bucket().await;
    let bytes = 24 << 20;
    let (old, new) = (pattern(bytes, 1), pattern(bytes, 2));
    client.put_object().bucket("films").key("a").body(old.clone().into()).send().await.unwrap();
    // Replaced by an upload: the reader keeps the version it opened.
    let mut reading = client.get_object().bucket("films").key("a").send().await.unwrap();
    let mut got = reading.body.try_next().await.unwrap().unwrap().to_vec();
    client.put_object().bucket("films").key("a").body(new.clone().into()).send().await.unwrap();
    while let Some(piece) = reading.body.try_next().await.unwrap() {
        got.extend_from_slice(&piece);
    }
    assert!(got == old, "the old version, whole");
    let pinned = client.get_object().bucket("films").key("a").if_match(reading.e_tag.unwrap()).send().await;
    assert_eq!(code(pinned), "PreconditionFailed");
    // Overwritten in place: no byte of the other version gets through.
    let path = endpoint.data.join("buckets/films/a");
    let mut reading = client.get_object().bucket("films").key("a").send().await.unwrap();
    let mut got = reading.body.try_next().await.unwrap().unwrap().to_vec();
    let later = fs::metadata(&path).unwrap().modified().unwrap() + Duration::from_secs(1);
    fs::write(&path, &old).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    let failed = loop {
        match reading.body.try_next().await {
            Ok(Some(piece)) => got.extend_from_slice(&piece),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(failed && got.len() < bytes && new.starts_with(&got), "{} bytes", got.len());
    // Many writers and readers: every body belongs to its ETag.
    let small = 700_000;
    let write = async |seed: u8| {
        for round in 0..6 {
            let body = pattern(small, seed * 8 + round);
            client.put_object().bucket("films").key("b").body(body.into()).send().await.unwrap();
        }
    };
    let read = async || {
        for _ in 0..20 {
            if let Ok(got) = client.get_object().bucket("films").key("b").send().await {
                let body = got.body.collect().await.unwrap().to_vec();
                let seed = body[0] ^ pattern(1, 0)[0];
                assert!(body == pattern(small, seed));
            }
        }
    };
    tokio::join!(write(1), write(2), read(), read());
}

#[tokio::test]
async fn limits_are_said_and_running_requests_drain() {
    let limits = S3Limits { connections: 2, drain: Duration::from_secs(10), ..S3Limits::default() };
    let endpoint = Endpoint::start_with(limits).await;
    fs::write(endpoint.media.join("a"), "film").unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(endpoint.address).await.unwrap();
        stream.write_all(b"GET /media/a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        held.push(stream);
    }
    let mut refused = String::new();
    TcpStream::connect(endpoint.address).await.unwrap().read_to_string(&mut refused).await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    // Idle connections end at once, whatever the drain time.
    endpoint.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), endpoint.serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_start_clears_what_a_kill_left_and_keeps_the_sample() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        S3::open(config(
            folder.path(),
            MediaSource::Bundled,
            S3Limits::default(),
            prometheus::Registry::new(),
        ))
        .unwrap()
    };
    drop(open());
    fs::write(folder.path().join("uploads/bodies/half"), "half").unwrap();
    let sample = folder.path().join("sample/sample.mp4");
    let before = fs::metadata(&sample).unwrap().modified().unwrap();
    drop(open());
    assert_eq!(fs::metadata(&sample).unwrap().modified().unwrap(), before);
    assert!(fs::metadata(&sample).unwrap().permissions().readonly());
    assert_eq!(fs::read_dir(folder.path().join("uploads/bodies")).unwrap().count(), 0);
    fs::remove_file(&sample).unwrap();
    fs::write(&sample, "other").unwrap();
    let s3 = open();
    assert!(fs::metadata(&sample).unwrap().len() > 100_000);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { s3.serve(listener, CancellationToken::new()).await });
    for (key, kind) in
        [("sample.flv", "video/x-flv"), ("sample.mp4", "video/mp4"), ("sample.mp3", "audio/mpeg")]
    {
        let (status, head, _) = ask(address, &format!("HEAD /media/{key}")).await;
        assert_eq!((status, field(&head, "content-type")), (200, Some(kind)));
    }
}

#[tokio::test]
async fn buckets_asked_for_are_there_private_and_kept_or_the_start_says_what_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let wanted = |buckets: &[&str]| S3Config {
        buckets: buckets.iter().map(|name| (*name).to_owned()).collect(),
        ..config(&data, MediaSource::Bundled, S3Limits::default(), prometheus::Registry::new())
    };
    drop(S3::open(wanted(&["logs"])).unwrap());
    fs::create_dir_all(data.join("buckets/logs/deep")).unwrap();
    fs::write(data.join("buckets/logs/deep/E1.gz"), "kept").unwrap();
    let s3 = S3::open(wanted(&["logs", "penstock-staging"])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { s3.serve(listener, CancellationToken::new()).await });
    assert_eq!(ask(address, "GET /logs/deep/E1.gz").await.0, 403);
    assert_eq!(ask(address, "GET /penstock-staging?list-type=2").await.0, 403);
    assert_eq!(fs::read(data.join("buckets/logs/deep/E1.gz")).unwrap(), b"kept");

    let refused = |name: &str| match S3::open(wanted(&[name])) {
        Err(S3Error::Bucket { bucket, source }) if bucket == name => source.kind(),
        Err(other) => panic!("{name}: {other}"),
        Ok(_) => panic!("{name} was taken"),
    };
    symlink(folder.path(), data.join("buckets/linked")).unwrap();
    fs::write(data.join("buckets/file"), "").unwrap();
    assert_eq!(refused("linked"), std::io::ErrorKind::NotADirectory);
    assert_eq!(refused("file"), std::io::ErrorKind::NotADirectory);
    assert_eq!(refused("../out"), std::io::ErrorKind::InvalidInput);
    assert_eq!(refused("logs.public"), std::io::ErrorKind::InvalidInput);
    assert_eq!(refused("media"), std::io::ErrorKind::ReadOnlyFilesystem);
    assert!(!data.join("out").exists());
}
