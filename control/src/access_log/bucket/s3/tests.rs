//! The S3 bucket against an endpoint of a few lines: what is asked, and what is made of answers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use super::*;

/// Answers each connection's one request with the next of `answers`; gives back what was asked.
fn endpoint(answers: Vec<String>) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            asked.push(String::from_utf8(head).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
        }
        asked
    });
    (address, served)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn error(status: &str, code: &str) -> String {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as told</Message></Error>");
    answer(status, "content-type: application/xml\r\n", &body)
}

fn place(address: SocketAddr, secret: Secret) -> Place {
    Place {
        bucket: "logs".into(),
        endpoint: Some(format!("http://{address}")),
        region: "us-east-1".into(),
        region_guessed: false,
        path_style: true,
        ca_file: None,
        keys: Keys::Given { access_key_id: "AKID".into(), secret },
    }
}

fn bucket(address: SocketAddr) -> S3 {
    let clients = Clients::new(Duration::from_secs(20));
    clients.open(place(address, Secret::Text("hush".into()))).unwrap()
}

#[tokio::test]
async fn a_missing_key_is_told_from_a_missing_bucket_and_from_a_404_of_a_proxy() {
    let (address, served) = endpoint(vec![
        error("404 Not Found", "NoSuchKey"),
        error("404 Not Found", "NoSuchBucket"),
        answer("404 Not Found", "", ""),
        error("404 Not Found", "NoSuchKey"),
    ]);
    let bucket = bucket(address);
    assert_eq!(bucket.get("a/b").await.unwrap(), None);
    assert_eq!(bucket.get("a/b").await.unwrap_err(), BucketError::Missing("logs".into()));
    assert_eq!(bucket.get("a/b").await.unwrap_err(), BucketError::Missing("logs".into()));
    bucket.delete("a/b").await.unwrap();
    let asked = served.join().unwrap();
    assert!(asked[0].starts_with("GET /logs/a/b"), "{}", asked[0]);
    assert!(asked[3].starts_with("DELETE /logs/a/b"), "{}", asked[3]);
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_says_what_was_asked() {
    let (address, served) = endpoint(vec![error("403 Forbidden", "AccessDenied"), answer("200 OK", "", "")]);
    let bucket = bucket(address);
    let refused = bucket.put("a b/c", Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), ("refused", "AccessDenied"));
    assert!(refused.to_string().contains("PUT logs/a b/c: 403: as told"), "{refused}");
    bucket.put("a b/c", Bytes::from_static(b"x")).await.unwrap();
    let asked = served.join().unwrap();
    assert!(asked[1].starts_with("PUT /logs/a%20b/c"), "{}", asked[1]);
    assert!(asked[1].contains("Credential=AKID/"), "{}", asked[1]);
    assert!(!asked[1].to_lowercase().contains("x-amz-checksum"), "{}", asked[1]);
}

#[tokio::test]
async fn what_asks_for_patience_is_tried_once_more_and_then_given_back() {
    let slow = || error("503 Slow Down", "SlowDown");
    let (address, served) = endpoint(vec![slow(), slow()]);
    let refused = bucket(address).put("a", Bytes::new()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), ("throttled", "SlowDown"));
    assert_eq!(served.join().unwrap().len(), ATTEMPTS as usize);
}

#[tokio::test]
async fn nobody_there_and_nobody_who_answers_are_away_in_time() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    assert_eq!(bucket(closed).put("a", Bytes::new()).await.unwrap_err().kind(), "away");

    // Accepts into its backlog, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = Clients::new(Duration::from_millis(300));
    let bucket = clients.open(place(silent.local_addr().unwrap(), Secret::Text("hush".into()))).unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(bucket.get("a").await.unwrap_err().kind(), "away");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_object() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nonly this".to_owned();
    let (address, served) = endpoint(vec![cut, answer("200 OK", "", "whole")]);
    let bucket = bucket(address);
    let broken = bucket.get("a").await.unwrap_err();
    assert_eq!(broken.kind(), "away", "{broken}");
    assert_eq!(bucket.get("a").await.unwrap().as_deref(), Some(&b"whole"[..]));
    served.join().unwrap();
}

#[tokio::test]
async fn a_secret_in_a_file_is_read_for_each_request() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let ok = || answer("200 OK", "", "");
    let (address, served) = endpoint(vec![ok(), ok()]);
    let clients = Clients::new(Duration::from_secs(20));
    let bucket = clients.open(place(address, Secret::File(file.clone()))).unwrap();
    let unread = bucket.put("a", Bytes::new()).await.unwrap_err();
    assert!(unread.kind() == "away" && unread.to_string().contains("secret"), "{unread}");
    std::fs::write(&file, "one\n").unwrap();
    bucket.put("a", Bytes::new()).await.unwrap();
    std::fs::write(&file, "two").unwrap();
    bucket.put("a", Bytes::new()).await.unwrap();
    let asked = served.join().unwrap();
    let signature =
        |head: &str| head.split_once("Signature=").map(|(_, rest)| rest[..64].to_owned()).unwrap();
    assert_ne!(signature(&asked[0]), signature(&asked[1]));
}

#[tokio::test]
async fn a_list_goes_on_from_page_to_page_and_never_begins_again() {
    let page = |keys: &[&str], truncated: bool| {
        let objects: String =
            keys.iter().map(|k| format!("<Contents><Key>{k}</Key><Size>7</Size></Contents>")).collect();
        let text = format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <IsTruncated>{truncated}</IsTruncated>{objects}</ListBucketResult>"
        );
        answer("200 OK", "content-type: application/xml\r\n", &text)
    };
    // The last answer is that of an endpoint that does not know start-after.
    let (address, served) =
        endpoint(vec![page(&["p/1", "p/2"], true), page(&["p/3"], true), page(&["p/1", "p/2"], true)]);
    let listed = bucket(address).list("p/", "p/0", 10).await.unwrap();
    assert_eq!(listed, ["p/1", "p/2", "p/3"].map(|key| (key.to_owned(), 7)));
    let asked = served.join().unwrap();
    assert!(asked[0].contains("start-after=p%2F0") && asked[0].contains("prefix=p%2F"), "{}", asked[0]);
    assert!(asked[1].contains("start-after=p%2F2"), "{}", asked[1]);
}

#[tokio::test]
async fn hosts_that_name_no_bucket_open_one_that_says_so() {
    let keys = Keys::Given { access_key_id: "AKID".into(), secret: Secret::Text("hush".into()) };
    let places = Places {
        endpoint: Some("http://127.0.0.1:9".into()),
        region: "us-east-1".into(),
        ca_file: None,
        keys,
        hosts: BTreeMap::new(),
    };
    let buckets = S3Buckets::new(places, Clients::new(Duration::from_secs(1))).apart_from("penstock");
    let target = |host: &str| LogTarget { bucket_host: host.into(), ..Default::default() };
    let refused = buckets.open(&target("nowhere.example")).put("a", Bytes::new()).await.unwrap_err();
    assert_eq!(refused.code(), "UnknownHost");
    assert_eq!(buckets.bucket_name(&target("nowhere.example")), None);
    let staging = buckets.open(&target("penstock.s3.eu-west-1.amazonaws.com"));
    let refused = staging.put("a", Bytes::new()).await.unwrap_err();
    assert!(refused.to_string().ends_with("refused (StagingBucket)"), "{refused}");
    let known = target("logs.s3.eu-west-1.amazonaws.com");
    assert_eq!(buckets.bucket_name(&known).as_deref(), Some("logs"));
    assert!(Arc::ptr_eq(&buckets.open(&known), &buckets.open(&known)), "opened once");
}
