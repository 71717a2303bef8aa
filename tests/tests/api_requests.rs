//! The control API by requests of our own: what no client of today sends, or only a wrong one.

use tests::api::{Api, FIRST, Made, ORIGIN, Request, assert_refused, config, first_config, text, unique};

const LIST: &str = "/2020-05-31/streaming-distribution";
const OLD_LIST: &str = "/2009-12-01/streaming-distribution";

#[test]
fn c07_a_caller_reference_of_2009_gives_the_same_distribution_again_and_a_conflict_with_another_config() {
    let api = Api::shared();
    let keys = api.account();
    let (reference, post) = (unique(), |body: &str| api.send(Request::post(OLD_LIST, body).legacy(&keys)));
    let body = first_config(&reference, ORIGIN, "first");
    let first = post(&body);
    assert_eq!(first.status, 201, "{}", first.text());
    let second = post(&body);
    assert_eq!(second.status, 201, "{}", second.text());
    assert_eq!(Made::from(&second).id, Made::from(&first).id);
    assert_eq!(second.header("location"), first.header("location"));
    let location = first.header("location").unwrap();
    assert!(
        location.ends_with(&format!("/{FIRST}/streaming-distribution/{}", Made::from(&first).id)),
        "{location}"
    );
    // White space isn't config.
    let spaced = post(&body.replace("><", ">\n  <"));
    assert_eq!((spaced.status, Made::from(&spaced).id), (201, Made::from(&first).id), "{}", spaced.text());
    assert_refused(
        &post(&first_config(&reference, ORIGIN, "other")),
        409,
        "StreamingDistributionAlreadyExists",
    );
    assert_eq!(api.count(&keys), 1);
    // Up to 2018-06-18 it is so, from 2018-11-05 the reference alone is a conflict.
    let newer = config(&reference, ORIGIN, "", &[], "first", true);
    for (version, status) in [("2018-06-18", 201), ("2018-11-05", 409), ("2020-05-31", 409)] {
        let path = format!("/{version}/streaming-distribution");
        let answer = api.send(Request::post(&path, &newer).v4(&keys));
        assert_eq!(answer.status, status, "{version}: {}", answer.text());
    }
    assert_eq!(api.count(&keys), 1);
}

#[test]
fn c14_a_body_that_is_missing_or_no_config_is_refused() {
    let api = Api::shared();
    let keys = api.account();
    let post = |body: &str| api.send(Request::post(LIST, body).v4(&keys));
    assert_refused(&post(""), 400, "MissingBody");
    let made = api.create(&keys, &[]);
    assert_refused(&api.put(&keys, &made.id, &made.etag, ""), 400, "MissingBody");
    let whole = config(&unique(), ORIGIN, "", &[], "", true);
    for (what, body) in [
        ("cut", &whole[..whole.len() - 20]),
        ("two roots", &format!("{whole}{whole}")),
        ("no XML", "CallerReference=1"),
        ("JSON", "{\"CallerReference\": \"1\"}"),
        ("crossed", "<StreamingDistributionConfig><a></StreamingDistributionConfig></a>"),
        ("undeclared", &whole.replace("<Comment>", "<Comment>&nope;")),
    ] {
        let answer = post(body);
        let code = text(&answer.text(), "Code").to_owned();
        assert!(matches!(code.as_str(), "MalformedXML" | "MalformedInput"), "{what}: {}", answer.text());
        assert_refused(&answer, 400, &code);
    }
    for (what, body) in [
        ("another document", "<DistributionConfig/>".to_owned()),
        ("no reference", whole.replace("CallerReference", "Reference")),
        ("a reference that is empty", config("", ORIGIN, "", &[], "", true)),
        (
            "neither true nor false",
            whole.replace("<Enabled>true</Enabled></Streaming", "<Enabled>yes</Enabled></Streaming"),
        ),
    ] {
        let answer = post(&body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text());
        assert_refused(&answer, 400, text(&answer.text(), "Code"));
    }
    assert_eq!(api.count(&keys), 1);
}

#[test]
fn a_config_is_taken_with_whatever_namespace_declaration_and_content_type_clients_send() {
    let api = Api::shared();
    let keys = api.account();
    let plain = || config(&unique(), ORIGIN, "", &[], "x", true);
    let declared = format!("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\"?>\n{}", plain());
    let bodies = [
        plain(),
        declared,
        // boto 2 names another version in the body than in the path.
        plain().replace("/2020-05-31/", "/2010-07-15/"),
        plain().replace(" xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"", ""),
        plain().replace("<Comment>x</Comment>", "<!-- said --><Comment><![CDATA[x]]></Comment>"),
        plain().replace("<Comment>x</Comment>", "<Comment>&#120;</Comment>"),
    ];
    for body in bodies {
        for content_type in ["", "text/xml; charset=UTF-8", "application/x-www-form-urlencoded"] {
            let body = body.replacen("<CallerReference>", &format!("<CallerReference>{}", unique()), 1);
            let mut request = Request::post(LIST, &body);
            if !content_type.is_empty() {
                request = request.header("Content-Type", content_type);
            }
            let answer = api.send(request.v4(&keys));
            assert_eq!(answer.status, 201, "{body}: {}", answer.text());
            assert_eq!(text(&answer.text(), "Comment"), "x", "{body}");
        }
    }
}

#[test]
fn what_a_later_schema_might_add_is_kept_and_given_back() {
    let api = Api::shared();
    let keys = api.account();
    let body = config(&unique(), ORIGIN, "", &[], "", true).replace(
        "<Comment></Comment>",
        "<Comment></Comment><Colour><Shade depth=\"7\">dark</Shade><Shade>light</Shade></Colour>",
    );
    let made = api.send(Request::post(LIST, &body).v4(&keys));
    assert_eq!(made.status, 201, "{}", made.text());
    let id = Made::from(&made).id;
    let got = api.send(Request::get(&format!("{LIST}/{id}/config")).v4(&keys)).text();
    assert!(got.contains("<Colour>") && got.contains(">dark<") && got.contains(">light<"), "{got}");
}

#[test]
fn paths_and_methods_that_are_none_have_an_error_document_too() {
    let api = Api::shared();
    let keys = api.account();
    for (method, target) in [
        ("GET", "/2020-05-31"),
        ("GET", "/2020-05-31/nothing"),
        ("GET", "/2009-04-02/streaming-distribution"),
        ("GET", "/yesterday/streaming-distribution"),
        ("PATCH", LIST),
        ("DELETE", LIST),
        ("GET", "/2020-05-31/streaming-distribution/E1/config/more"),
        ("GET", "/2020-05-31/streaming-distribution/%2e%2e/config"),
        ("GET", "/2020-05-31/streaming-distribution/E1%2Fconfig"),
        ("GET", "/2020-05-31/streaming-distribution/%00"),
        ("GET", "/2020-05-31/streaming-distribution?MaxItems=0"),
        ("GET", "/2020-05-31/streaming-distribution?MaxItems=-1"),
        ("GET", "/2020-05-31/streaming-distribution?MaxItems=99999999999999999999"),
    ] {
        let answer = api.send(Request::new(method, target, b"").v4(&keys));
        if target.contains("MaxItems=9") && answer.status == 200 {
            // More than a page holds may be asked for; a page is what comes.
            continue;
        }
        assert!((400..=405).contains(&answer.status), "{method} {target}: {}", answer.status);
        assert_refused(&answer, answer.status, text(&answer.text(), "Code"));
    }
    let health = tests::http::get(api.addr(), "/healthz").unwrap();
    assert_eq!(health.status, 200);
}

#[test]
fn a_client_that_asks_first_is_told_to_continue() {
    use std::io::{Read, Write};
    let api = Api::shared();
    let keys = api.account();
    let request = Request::post(LIST, &config(&unique(), ORIGIN, "", &[], "", true))
        .header("Expect", "100-continue")
        .v4(&keys);
    let bytes = request.bytes(api.addr(), false);
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let mut stream = std::net::TcpStream::connect(api.addr()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream.write_all(&bytes[..head]).unwrap();
    let mut first = vec![0; 25];
    stream.read_exact(&mut first).unwrap();
    assert!(first.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&first));
    stream.write_all(&bytes[head..]).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&rest));
}
