//! The control API from a client's side: accounts, signed requests of our own, and the clients people have.
//!
//! [`Api`] is a whole [`Cluster`] whose control answers the API; each test takes an account of its own, so tests of one binary share one. What
//! is sent is either a [`Request`], signed by [`sign`] (written for the tests, sharing nothing with what verifies it) so that it can also be
//! wrong in every way, or comes from a real client: [`aws`] (boto3, awscli) and [`jets3t`].

pub mod aws;
pub mod jets3t;
pub mod page;
pub mod raw;
pub mod sign;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::cluster::{Cluster, Setup};
use crate::eventually;
use crate::http::Answer;

pub use raw::Request;

/// The newest version of the API.
pub const NEWEST: &str = "2020-05-31";
/// The first with streaming distributions.
pub const FIRST: &str = "2009-12-01";
/// A bucket that the cluster's shields know.
pub const ORIGIN: &str = "media.s3.amazonaws.com";

/// An access key.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Its account, 12 digits.
    pub account: String,
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// A cluster with the API.
pub struct Api {
    /// All of it.
    pub cluster: Cluster,
}

impl Api {
    /// One of its own.
    pub fn start(setup: Setup) -> Self {
        Self { cluster: Cluster::start(setup) }
    }

    /// One for all tests of a binary that don't disturb each other.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Api> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Setup::default()))
    }

    /// `IP:PORT` of the API.
    pub fn addr(&self) -> &str {
        &self.cluster.api
    }

    /// `http://IP:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.cluster.api)
    }

    /// A new account with a key, made by the operator's command.
    pub fn account(&self) -> Keys {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let account = format!("1111{:08}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.cluster.control_command(&["accounts", "create", &account]).expect(0);
        self.key(&account, &[])
    }

    /// One more key of an account. `more` are options of `keys create`.
    pub fn key(&self, account: &str, more: &[&str]) -> Keys {
        let mut words = vec!["keys", "create", "--account", account];
        words.extend(more);
        let made = self.cluster.control_command(&words).expect(0);
        let keys = parse_keys(account, &made.stdout);
        // A replica knows it once it has heard of it.
        eventually("the key is known", Duration::from_secs(20), || {
            let list = self.send(Request::get("/2020-05-31/streaming-distribution").v4(&keys));
            (list.status == 200).then_some(())
        });
        keys
    }

    /// Writes the certificate of the authority that vouches for the API's own, as `penstock-control ca` prints it, and says where.
    pub fn authority(&self) -> PathBuf {
        let path = self.cluster.folder().join("ca.pem");
        let said = self.cluster.control_command(&["ca"]).expect(0);
        assert!(said.stdout.contains("-----BEGIN CERTIFICATE-----"), "{said:?}");
        std::fs::write(&path, said.stdout).unwrap();
        path
    }

    /// Sends a request.
    pub fn send(&self, request: Request) -> Answer {
        request.send(self.addr())
    }

    /// Makes a streaming distribution over [`ORIGIN`] with API [`NEWEST`]; gives id, domain and ETag.
    pub fn create(&self, keys: &Keys, aliases: &[&str]) -> Made {
        self.create_with(keys, &format!("ref-{}", unique()), ORIGIN, "", aliases)
    }

    /// As [`Api::create`], every value given. `identity` is an origin access identity's id or empty.
    pub fn create_with(
        &self,
        keys: &Keys,
        reference: &str,
        origin: &str,
        identity: &str,
        aliases: &[&str],
    ) -> Made {
        let body = config(reference, origin, identity, aliases, "", true);
        let made = self.send(Request::post("/2020-05-31/streaming-distribution", &body).v4(keys));
        assert_eq!(made.status, 201, "{}", made.text());
        Made::from(&made)
    }

    /// The status that a GET tells.
    pub fn status(&self, keys: &Keys, id: &str) -> String {
        let got = self.send(Request::get(&format!("/2020-05-31/streaming-distribution/{id}")).v4(keys));
        assert_eq!(got.status, 200, "{}", got.text());
        text(&got.text(), "Status").to_owned()
    }

    /// Waits until it is Deployed.
    pub fn wait_deployed(&self, keys: &Keys, id: &str) {
        eventually(&format!("{id} deployed"), Duration::from_secs(60), || {
            (self.status(keys, id) == "Deployed").then_some(())
        });
    }

    /// Replaces a distribution's config (API [`NEWEST`]); gives the answer.
    pub fn put(&self, keys: &Keys, id: &str, etag: &str, body: &str) -> Answer {
        let path = format!("/2020-05-31/streaming-distribution/{id}/config");
        self.send(Request::put(&path, body).header("If-Match", etag).v4(keys))
    }

    /// How many streaming distributions the account has.
    pub fn count(&self, keys: &Keys) -> usize {
        let list = self.send(Request::get("/2020-05-31/streaming-distribution").v4(keys));
        assert_eq!(list.status, 200, "{}", list.text());
        text(&list.text(), "Quantity").parse().unwrap()
    }
}

/// What a create answered.
#[derive(Clone, Debug)]
pub struct Made {
    /// Id.
    pub id: String,
    /// Domain.
    pub domain: String,
    /// ETag.
    pub etag: String,
}

impl From<&Answer> for Made {
    fn from(answer: &Answer) -> Self {
        let body = answer.text();
        Self {
            id: text(&body, "Id").into(),
            domain: text(&body, "DomainName").into(),
            etag: answer.header("etag").unwrap_or_default().into(),
        }
    }
}

/// A streaming distribution's config in the schema of [`NEWEST`].
pub fn config(
    reference: &str,
    origin: &str,
    identity: &str,
    aliases: &[&str],
    comment: &str,
    enabled: bool,
) -> String {
    let names: String = aliases.iter().map(|a| format!("<CNAME>{a}</CNAME>")).collect();
    let names = match aliases.len() {
        0 => "<Aliases><Quantity>0</Quantity></Aliases>".into(),
        n => format!("<Aliases><Quantity>{n}</Quantity><Items>{names}</Items></Aliases>"),
    };
    let identity = match identity {
        "" => String::new(),
        id => format!("origin-access-identity/cloudfront/{id}"),
    };
    format!(
        "<StreamingDistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><CallerReference>{reference}</CallerReference>\
         <S3Origin><DomainName>{origin}</DomainName><OriginAccessIdentity>{identity}</OriginAccessIdentity></S3Origin>{names}\
         <Comment>{comment}</Comment><TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners>\
         <Enabled>{enabled}</Enabled></StreamingDistributionConfig>"
    )
}

/// The same in the schema of [`FIRST`].
pub fn first_config(reference: &str, origin: &str, comment: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><StreamingDistributionConfig xmlns=\"http://cloudfront.amazonaws.com/doc/2009-12-01/\">\
         <Origin>{origin}</Origin><CallerReference>{reference}</CallerReference><Comment>{comment}</Comment><Enabled>true</Enabled>\
         </StreamingDistributionConfig>"
    )
}

/// The text of the first element of that name; empty if there is none.
pub fn text<'a>(xml: &'a str, element: &str) -> &'a str {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let Some(from) = xml.find(&open).map(|i| i + open.len()) else { return "" };
    xml[from..].find(&close).map_or("", |to| &xml[from..from + to])
}

/// Panics unless the answer is that refusal, in the form clients read.
pub fn assert_refused(answer: &Answer, status: u16, code: &str) {
    let body = answer.text();
    assert_eq!((answer.status, text(&body, "Code")), (status, code), "{body}");
    let fault = if status < 500 { "Sender" } else { "Receiver" };
    assert_eq!(text(&body, "Type"), fault, "{body}");
    assert!(body.contains("<ErrorResponse") && !text(&body, "Message").is_empty(), "{body}");
    assert!(!text(&body, "RequestId").is_empty(), "{body}");
    assert!(answer.header("date").is_some(), "{answer:?}");
}

/// A word that no other test uses.
pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What `keys create` says: variables as a shell takes them.
fn parse_keys(account: &str, said: &str) -> Keys {
    let value = |name: &str| {
        let found = said.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {name} in {said:?}")).to_owned()
    };
    Keys { account: account.into(), id: value("AWS_ACCESS_KEY_ID"), secret: value("AWS_SECRET_ACCESS_KEY") }
}
