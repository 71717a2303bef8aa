//! Files that are replaced, and connections before and after.

use std::os::unix::fs::symlink;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

struct Ca(CertifiedIssuer<'static, KeyPair>);

/// What a folder of a Kubernetes secret holds.
struct Secret {
    ca: String,
    cert: String,
    key: String,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn secret(&self) -> Secret {
        let mut params = CertificateParams::new(vec!["peer.example".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2049, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &*self.0).unwrap();
        Secret { ca: self.0.pem(), cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// A mounted secret: files that are links through `..data`, which is replaced at once.
struct Mount {
    dir: tempfile::TempDir,
    generation: usize,
}

impl Mount {
    fn new(secret: &Secret) -> Self {
        let mut mount = Self { dir: tempfile::tempdir().unwrap(), generation: 0 };
        mount.put(secret);
        for name in ["ca.crt", "tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), mount.dir.path().join(name)).unwrap();
        }
        mount
    }

    fn put(&mut self, secret: &Secret) {
        self.generation += 1;
        let (name, root) = (format!("..{}", self.generation), self.dir.path());
        std::fs::create_dir(root.join(&name)).unwrap();
        for (file, text) in [("ca.crt", &secret.ca), ("tls.crt", &secret.cert), ("tls.key", &secret.key)] {
            std::fs::write(root.join(&name).join(file), text).unwrap();
        }
        symlink(&name, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    }

    fn files(&self) -> TlsFiles {
        let [ca, cert, key] = ["ca.crt", "tls.crt", "tls.key"].map(|name| self.dir.path().join(name));
        TlsFiles { ca, cert: Some(cert), key: Some(key), reload_seconds: 1 }
    }
}

type Joined = (client::TlsStream<DuplexStream>, server::TlsStream<DuplexStream>);

/// A connection from one to the other; the reason of whoever refuses.
async fn join(from: &Tls, to: &Tls) -> Result<Joined, String> {
    let (near, far) = duplex(1 << 16);
    let incoming = futures::stream::iter([Ok::<_, io::Error>(far)]);
    let accepted = async {
        let mut accepted = Box::pin(to.accepted(incoming));
        accepted.next().await
    };
    let (dialled, accepted) = tokio::join!(from.connect("peer.example", near), accepted);
    let dialled = dialled.map_err(|error| error.to_string())?;
    Ok((dialled, accepted.ok_or("refused")?.unwrap()))
}

async fn echoes((near, far): &mut Joined) {
    near.write_all(b"ping").await.unwrap();
    near.flush().await.unwrap();
    let mut heard = [0; 4];
    far.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"ping");
}

/// What the listener sees of the client's certificate.
fn shown((_, far): &Joined) -> Option<Vec<u8>> {
    Some(far.get_ref().1.peer_certificates()?.first()?.to_vec())
}

#[tokio::test]
async fn new_connections_use_new_files_behind_links_and_old_ones_go_on() {
    let ca = Ca::new();
    let mut mounts = [Mount::new(&ca.secret()), Mount::new(&ca.secret())];
    let [edge, shield] = mounts.each_ref().map(|mount| mount.files().load().unwrap());
    let mut before = join(&edge, &shield).await.unwrap();
    let shown_before = shown(&before).unwrap();
    assert!(!edge.reload().unwrap(), "nothing has changed");

    mounts[0].put(&ca.secret());
    assert_eq!(shown(&join(&edge, &shield).await.unwrap()), Some(shown_before.clone()), "not looked at yet");
    assert!(edge.reload().unwrap());
    let mut after = join(&edge, &shield).await.unwrap();
    assert_ne!(shown(&after), Some(shown_before));
    echoes(&mut before).await;
    echoes(&mut after).await;
}

#[tokio::test]
async fn a_cluster_changes_its_ca_by_way_of_a_bundle_of_both() {
    let (old, new) = (Ca::new(), Ca::new());
    let mut mounts = [Mount::new(&old.secret()), Mount::new(&old.secret())];
    let nodes = mounts.each_ref().map(|mount| mount.files().load().unwrap());
    let both_ways = async || {
        let [a, b] = &nodes;
        (join(a, b).await.map(drop), join(b, a).await.map(drop))
    };
    let both = format!("{}{}", old.0.pem(), new.0.pem());
    let steps: [&dyn Fn() -> Secret; 3] = [
        &|| Secret { ca: both.clone(), ..old.secret() },
        &|| Secret { ca: both.clone(), ..new.secret() },
        &|| new.secret(),
    ];
    for step in steps {
        for at in 0..2 {
            mounts[at].put(&step());
            assert!(nodes[at].reload().unwrap());
            assert_eq!(both_ways().await, (Ok(()), Ok(())), "while nodes are at different steps too");
        }
    }
    // Who stayed with the old one is a stranger now, to either side.
    let late = Mount::new(&old.secret()).files().load().unwrap();
    let error = join(&late, &nodes[0]).await.map(drop).unwrap_err();
    assert!(error.contains("certificate"), "{error}");
    assert!(join(&nodes[0], &late).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_used_is_told_once_and_leaves_what_is_in_use() {
    let ca = Ca::new();
    let mut mount = Mount::new(&ca.secret());
    let peer = Mount::new(&ca.secret()).files().load().unwrap();
    let tls = mount.files().load().unwrap();
    let good = ca.secret();
    let cases = [
        (Secret { cert: "no certificate".into(), ..ca.secret() }, "tls.cert"),
        (Secret { key: ca.secret().key, ..ca.secret() }, "tls.cert"),
        (Secret { key: "no key".into(), ..ca.secret() }, "tls.key"),
        (Secret { ca: "no ca".into(), ..ca.secret() }, "tls.ca"),
        (Secret { ca: good.ca.replacen("MII", "MIX", 1), ..ca.secret() }, "tls.ca"),
    ];
    for (secret, field) in cases {
        mount.put(&secret);
        let error = tls.reload().unwrap_err().to_string();
        assert!(error.contains(field), "{field}: {error}");
        assert!(!error.contains("PRIVATE"), "{error}");
        assert!(!tls.reload().unwrap(), "told once: {field}");
        echoes(&mut join(&tls, &peer).await.unwrap()).await;
        echoes(&mut join(&peer, &tls).await.unwrap()).await;
        assert!(mount.files().load().is_err(), "at a start it is an error: {field}");
    }
    std::fs::remove_file(mount.dir.path().join("..data")).unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("tls.c"), "the file is gone");
    mount.put(&good);
    assert!(tls.reload().unwrap());
    echoes(&mut join(&tls, &peer).await.unwrap()).await;
}

#[tokio::test]
async fn changes_are_found_by_time_and_show_in_metrics() {
    let ca = Ca::new();
    let mut mount = Mount::new(&ca.secret());
    let tls = mount.files().load().unwrap();
    let registry = Registry::new();
    let metrics = TlsMetrics::new(&registry, "edge").unwrap();
    let count = |outcome: &str| metrics.reloads.with_label_values(&[outcome]).get();
    let stop = CancellationToken::new();
    let following = tokio::spawn(tls.clone().follow(metrics.clone(), stop.clone()));
    let until = async |outcome: &str, wanted: u64| {
        let seen = async {
            while count(outcome) < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap();
    };
    mount.put(&ca.secret());
    until("loaded", 1).await;
    mount.put(&Secret { key: String::new(), ..ca.secret() });
    until("failed", 1).await;
    mount.put(&ca.secret());
    until("loaded", 2).await;
    assert_eq!(count("failed"), 1);
    assert_eq!(metrics.expiry.get(), 2_493_072_000, "the first second of 2049");
    stop.cancel();
    following.await.unwrap();
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_nonsense_holds_up_nobody() {
    let ca = Ca::new();
    let (mine, theirs) = (Mount::new(&ca.secret()), Mount::new(&ca.secret()));
    let (near, far) = (mine.files().load().unwrap(), theirs.files().load().unwrap());
    let (silent, silent_far) = duplex(1 << 16);
    let (mut noisy, noisy_far) = duplex(1 << 16);
    let (good, good_far) = duplex(1 << 16);
    noisy.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let incoming = [Ok(silent_far), Ok(noisy_far), Err("the listener's trouble"), Ok(good_far)];
    let mut accepted = Box::pin(far.accepted(futures::stream::iter(incoming)));
    let dialled = tokio::spawn(async move { near.connect("peer.example", good).await });
    let error = accepted.next().await.unwrap().map(drop).unwrap_err();
    assert_eq!(error, "the listener's trouble", "passed on");
    assert!(accepted.next().await.unwrap().is_ok());
    // It stays open until here: who leaves before the other has shaken hands is left out.
    dialled.await.unwrap().unwrap();
    drop(silent);
    assert!(accepted.next().await.is_none(), "the others are left out");
}

#[tokio::test]
async fn more_silent_peers_than_there_are_places_shut_out_nobody() {
    let ca = Ca::new();
    let (mine, theirs) = (Mount::new(&ca.secret()), Mount::new(&ca.secret()));
    let (near, far) = (mine.files().load().unwrap(), theirs.files().load().unwrap());
    let (silent, ends): (Vec<_>, Vec<_>) = (0..HANDSHAKES).map(|_| duplex(1 << 10)).unzip();
    let (good, good_far) = duplex(1 << 16);
    let incoming = ends.into_iter().chain([good_far]).map(Ok::<_, io::Error>);
    let mut accepted =
        Box::pin(far.accepted(futures::stream::iter(incoming).chain(futures::stream::pending())));
    let dialled = tokio::spawn(async move { near.connect("peer.example", good).await });
    let first =
        tokio::time::timeout(HANDSHAKE / 2, accepted.next()).await.expect("before any of them is given up");
    assert!(first.unwrap().is_ok());
    dialled.await.unwrap().unwrap();
    drop(silent);
}
