//! A cloud platform that gives a node keys of its own, on loopback: a container's credentials endpoint, an STS for web identity, and instance
//! metadata. What it gives lives for a set time; [`key_gate`] is the S3 endpoint that takes those keys, and no others.
//!
//! Each asking gives new keys, so who refreshes is seen by the ids that arrive. It can be told to refuse, or to say nothing.

pub mod key_gate;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::log_chaos::gate::request;
use crate::s3::date_and_time;

/// What a container must show the credentials endpoint.
pub const CONTAINER_TOKEN: &str = "a-container-s-own-token";
/// The role that a web identity may take.
pub const ROLE_ARN: &str = "arn:aws:iam::111111111111:role/penstock-node";
/// What one shows the instance's metadata.
const IMDS_TOKEN: &str = "an-instance-s-session";

/// How it is disposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Gives keys.
    Well,
    /// Answers with errors.
    Refuses,
    /// Takes connections and says nothing.
    Silent,
}

/// Keys that it gave.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The access key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// The session token that belongs to it.
    pub token: String,
    /// When it ends.
    pub expires: SystemTime,
    /// Whether it was taken back.
    pub revoked: bool,
}

struct Shared {
    issued: Mutex<Vec<Issued>>,
    mood: Mutex<Mood>,
    lifetime: Mutex<Duration>,
    /// The web identities that it believes.
    identities: Mutex<Vec<String>>,
    asked: AtomicUsize,
}

/// A running one; it ends with the test process.
#[derive(Clone)]
pub struct Platform {
    addr: String,
    shared: Arc<Shared>,
}

impl Platform {
    /// One whose keys live so long.
    pub fn start(mood: Mood, lifetime: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            issued: Mutex::default(),
            mood: Mutex::new(mood),
            lifetime: Mutex::new(lifetime),
            identities: Mutex::new(vec!["header.first.signature".into()]),
            asked: AtomicUsize::new(0),
        });
        let own = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || serve(client, &own));
            }
        });
        Self { addr, shared }
    }

    /// `IP:PORT`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// From now on it is so disposed.
    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// From now on its keys live so long.
    pub fn set_lifetime(&self, lifetime: Duration) {
        *self.shared.lifetime.lock().unwrap() = lifetime;
    }

    /// From now on it believes these web identities only.
    pub fn believe(&self, identities: &[&str]) {
        *self.shared.identities.lock().unwrap() = identities.iter().map(|&one| one.to_owned()).collect();
    }

    /// All keys so far are good for nothing from now on.
    pub fn revoke(&self) {
        self.shared.issued.lock().unwrap().iter_mut().for_each(|one| one.revoked = true);
    }

    /// All keys so far.
    pub fn issued(&self) -> Vec<Issued> {
        self.shared.issued.lock().unwrap().clone()
    }

    /// Requests so far, whatever became of them.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Words to start a node with: in an environment where this is all that AWS's platforms have to say, by these variables.
    pub fn environment(&self, variables: &[(&str, &str)]) -> Vec<String> {
        let mut words = vec!["env".to_owned()];
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
            words.extend(["-u".to_owned(), name.to_owned()]);
        }
        let nowhere = ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"].map(|name| (name, "/nowhere/aws"));
        let metadata = [("AWS_EC2_METADATA_DISABLED", "true")];
        let all = nowhere.iter().chain(&metadata).chain(variables);
        words.extend(all.map(|(name, value)| format!("{name}={}", value.replace("PLATFORM", &self.addr))));
        words
    }

    /// That of a container.
    pub fn container(&self) -> Vec<String> {
        self.environment(&[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://PLATFORM/container"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
        ])
    }

    /// Panics if `log` holds a secret or a token of any keys.
    pub fn assert_secret(&self, log: &str) {
        for one in self.issued() {
            assert!(
                !log.contains(&one.secret) && !log.contains(&one.token),
                "secrets of {} in a log",
                one.id
            );
        }
        assert!(!log.contains(CONTAINER_TOKEN), "the container's token in a log");
    }
}

impl Shared {
    fn issue(&self) -> Issued {
        let mut issued = self.issued.lock().unwrap();
        let number = issued.len() + 1;
        let random: u64 = rand::random();
        let one = Issued {
            id: format!("ASIA{number:016}"),
            secret: format!("secret-{random:x}"),
            token: format!("token/{random:x}=="),
            expires: SystemTime::now() + *self.lifetime.lock().unwrap(),
            revoked: false,
        };
        issued.push(one.clone());
        one
    }
}

impl Issued {
    fn ends(&self) -> String {
        let (_, t) = date_and_time(self.expires.duration_since(UNIX_EPOCH).unwrap().as_secs());
        let parts = [(0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15)].map(|(from, to)| &t[from..to]);
        let [year, month, day, hour, minute, second] = parts;
        format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z")
    }

    fn json(&self) -> String {
        format!(
            "{{\"Code\":\"Success\",\"Type\":\"AWS-HMAC\",\"LastUpdated\":\"2026-01-01T00:00:00Z\",\"AccessKeyId\":\"{}\",\
             \"SecretAccessKey\":\"{}\",\"Token\":\"{}\",\"Expiration\":\"{}\"}}",
            self.id,
            self.secret,
            self.token,
            self.ends()
        )
    }

    fn sts(&self) -> String {
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>arn:aws:sts::111111111111:assumed-role/penstock-node/n</Arn>\
             <AssumedRoleId>AROA:n</AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>{}</AccessKeyId>\
             <SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
             </AssumeRoleWithWebIdentityResponse>",
            self.id,
            self.secret,
            self.token,
            self.ends()
        )
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> Option<()> {
    let (head, body) = request(&mut client)?;
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let mood = *shared.mood.lock().unwrap();
    if mood == Mood::Silent {
        // Until who asked gives up.
        let _ = client.read(&mut [0]);
        return None;
    }
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let (status, more, text) = match (method, path) {
        _ if mood == Mood::Refuses => {
            (500, "", "{\"code\":\"InternalError\",\"message\":\"as told\"}".to_owned())
        }
        ("GET", "/container") if header("authorization").as_deref() == Some(CONTAINER_TOKEN) => {
            (200, "Content-Type: application/json\r\n", shared.issue().json())
        }
        ("POST", "/") => {
            let form = String::from_utf8_lossy(&body).into_owned();
            let field =
                |name: &str, value: &str| form.split('&').any(|pair| pair == format!("{name}={value}"));
            let known = field("Action", "AssumeRoleWithWebIdentity")
                && field("RoleArn", &ROLE_ARN.replace(':', "%3A").replace('/', "%2F"))
                && shared.identities.lock().unwrap().iter().any(|one| field("WebIdentityToken", one));
            if known {
                (200, "Content-Type: text/xml\r\n", shared.issue().sts())
            } else {
                let code = "<Code>InvalidIdentityToken</Code><Message>nobody I know</Message>";
                (400, "", format!("<ErrorResponse><Error><Type>Sender</Type>{code}</Error></ErrorResponse>"))
            }
        }
        ("PUT", "/latest/api/token") => {
            (200, "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", IMDS_TOKEN.to_owned())
        }
        ("GET", path) if header("x-aws-ec2-metadata-token").as_deref() == Some(IMDS_TOKEN) => {
            match path.strip_prefix("/latest/meta-data/iam/security-credentials/") {
                Some("") => (200, "", "node-role".to_owned()),
                Some("node-role") => (200, "", shared.issue().json()),
                _ => (404, "", String::new()),
            }
        }
        _ => (401, "", String::new()),
    };
    let length = text.len();
    let head = format!("HTTP/1.1 {status} X\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    client.write_all(format!("{head}{text}").as_bytes()).ok()
}
