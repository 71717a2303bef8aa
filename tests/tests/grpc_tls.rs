//! A cluster whose gRPC uses TLS changes its certificates and its CA while films play: by a bundle of both, box by box, nobody restarted. Real processes;
//! files are links through `..data`, as Kubernetes mounts secrets and cert-manager renews them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::authority::Authority;
use tests::cluster::{Cluster, Node, PUBLIC, Setup};
use tests::wire::chunk::Message;
use tests::wire::{Client, PATIENCE};
use tests::{eventually, http};

const LONG: Duration = Duration::from_secs(90);
const BOXES: [(&str, &str); 5] = [
    ("control", "control"),
    ("shield", "shield-1"),
    ("shield", "shield-2"),
    ("edge", "edge-1"),
    ("edge", "edge-2"),
];

/// A box's secret, as it is mounted: `NAME/tls.crt` and so on are links through `NAME/..data`.
struct Mount {
    dir: PathBuf,
    generation: usize,
}

impl Mount {
    fn put(&mut self, ca: &str, cert: &str, key: &str) {
        self.generation += 1;
        let name = format!("..{}", self.generation);
        std::fs::create_dir_all(self.dir.join(&name)).unwrap();
        for (file, text) in [("ca.crt", ca), ("tls.crt", cert), ("tls.key", key)] {
            std::fs::write(self.dir.join(&name).join(file), text).unwrap();
        }
        symlink(&name, self.dir.join("..data_tmp")).unwrap();
        std::fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data")).unwrap();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Whole or not at all: a box may be looking.
fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, path).unwrap();
}

fn node<'a>(cluster: &'a Cluster, name: &str) -> &'a Node {
    let mut all = cluster.shields.iter().chain(&cluster.edges).chain([&cluster.control]);
    all.find(|node| node.name == name).unwrap()
}

fn reloads(node: &Node, outcome: &str) -> f64 {
    let found = http::metrics(&node.metrics).unwrap_or_default();
    let is = |name: &str| {
        name.starts_with("penstock_control_grpc_tls_reloads_total")
            && name.contains(&format!("\"{outcome}\""))
    };
    found.iter().filter(|(name, _)| is(name)).map(|(_, value)| value).sum()
}

/// Gives a box other files and waits until it uses them, told by SIGHUP.
fn renew(cluster: &Cluster, mount: &mut Mount, name: &str, (ca, cert, key): (&str, &str, &str)) {
    let node = node(cluster, name);
    let before = reloads(node, "loaded");
    mount.put(ca, cert, key);
    node.process.signal("HUP");
    eventually(&format!("{name} to use its new files"), LONG, || {
        (reloads(node, "loaded") > before).then_some(())
    });
}

/// Who vouches for what a port shows, as openssl sees it.
fn issuer_at(addr: &str) -> String {
    let shown = Command::new("sh")
        .args(["-c", &format!("openssl s_client -connect {addr} -alpn h2 </dev/null 2>/dev/null | openssl x509 -noout -issuer")])
        .output()
        .unwrap();
    String::from_utf8_lossy(&shown.stdout).trim().to_owned()
}

fn plays(addr: &str, name: &str) -> bool {
    let mut client = Client::open(addr);
    client.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
    if client.wait_answer(1.0, PATIENCE).0 != "_result" {
        return false;
    }
    client.create_stream();
    client.play(1, name, &[0.0]);
    client
        .wait("media or an error", LONG, |m: &Message| {
            m.is_media() || m.status().is_some_and(|s| s.field("level") == "error")
        })
        .is_media()
}

#[test]
fn a_cluster_changes_certificates_and_ca_without_a_restart_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..8 {
        std::fs::copy(tests::media::file("first.mp4"), folder.path().join(format!("{n}.mp4"))).unwrap();
    }
    let setup = Setup { tls: true, media: Some(folder.path().to_owned()), ..Default::default() };
    let mut cluster = Cluster::start(setup);
    let root = cluster.folder().to_owned();
    // Certificates of a new CA, and mounts in the place of the files the boxes were started with.
    let new = root.join("new");
    std::fs::create_dir(&new).unwrap();
    let authority = Authority::make(&new);
    let (old_ca, new_ca) = (read(&root.join("ca.pem")), read(&new.join("ca.pem")));
    let both = format!("{old_ca}{new_ca}");
    let mut mounts: Vec<Mount> = BOXES
        .iter()
        .map(|(role, name)| {
            authority.certify(role, name);
            let mut mount = Mount { dir: root.join(format!("mount-{name}")), generation: 0 };
            let [cert, key] = ["crt", "key"].map(|kind| root.join(format!("{name}.{kind}")));
            mount.put(&both, &read(&cert), &read(&key));
            for (path, file) in [(&cert, "tls.crt"), (&key, "tls.key")] {
                let link = path.with_extension("link");
                symlink(mount.dir.join("..data").join(file), &link).unwrap();
                std::fs::rename(link, path).unwrap();
            }
            mount
        })
        .collect();
    // All boxes have one file for the CA: it is the bundle from now on.
    replace(&root.join("ca.pem"), &both);
    for (_, name) in BOXES {
        let node = node(&cluster, name);
        node.process.signal("HUP");
        eventually(&format!("{name} to trust both"), LONG, || (reloads(node, "loaded") > 0.0).then_some(()));
    }
    assert!(plays(cluster.rtmp(0), "mp4:0.mp4"));
    let before = issuer_at(&cluster.control.addr);
    assert!(before.contains("CN"), "{before}");
    // A viewer whose film runs through all of it, over streams that were opened before.
    let mut watching = Client::open(cluster.rtmp(0));
    watching.connect("cfx/st", &format!("rtmp://{PUBLIC}/cfx/st"), &[]);
    assert_eq!(watching.wait_answer(1.0, PATIENCE).0, "_result");

    let of = |dir: &Path, name: &str| {
        [read(&dir.join(format!("{name}.crt"))), read(&dir.join(format!("{name}.key")))]
    };
    for (mount, (_, name)) in mounts.iter_mut().zip(BOXES) {
        let [cert, key] = of(&new, name);
        renew(&cluster, mount, name, (&both, &cert, &key));
        // A cold film at both edges, whichever box has which certificate.
        let n = mount.generation + BOXES.iter().position(|(_, other)| *other == name).unwrap();
        let film = format!("mp4:{}.mp4", n % 8);
        assert!(plays(cluster.rtmp(0), &film) && plays(cluster.rtmp(1), &film), "{name}");
    }
    let listeners = [&cluster.control.addr, &cluster.shields[0].addr, &cluster.shields[1].addr];
    let verified = |addr: &str| {
        let ca = new.join("ca.pem").display().to_string();
        let done = Command::new("sh")
            .args([
                "-c",
                &format!(
                    "openssl s_client -connect {addr} -alpn h2 -CAfile {ca} -verify_return_error </dev/null"
                ),
            ])
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout).contains("Verify return code: 0")
    };
    for addr in listeners {
        assert!(verified(addr), "{addr} shows what the new CA signed");
    }

    // What can't be used is told and changes nothing.
    let shield = &cluster.shields[0];
    let [cert, key] = of(&new, "shield-1");
    mounts[1].put(&both, &cert, "no key");
    shield.process.signal("HUP");
    eventually("the broken key to be told", LONG, || (reloads(shield, "failed") > 0.0).then_some(()));
    assert!(shield.process.log().contains("can't be used; those in use stay"), "{}", shield.process.log());
    assert!(verified(&shield.addr), "what was in use is");
    renew(&cluster, &mut mounts[1], "shield-1", (&both, &cert, &key));

    // The old CA goes, found by time alone; then connections are opened anew on all sides.
    let counts: Vec<f64> = BOXES.iter().map(|(_, name)| reloads(node(&cluster, name), "loaded")).collect();
    replace(&root.join("ca.pem"), &new_ca);
    for ((_, name), before) in BOXES.iter().zip(counts) {
        let node = node(&cluster, name);
        eventually(&format!("{name} to trust the new CA alone"), LONG, || {
            (reloads(node, "loaded") > before).then_some(())
        });
    }
    for shield in &mut cluster.shields {
        shield.restart();
        shield.wait_ready();
    }
    cluster.control.restart();
    cluster.control.wait_ready();
    for edge in 0..2 {
        eventually("a cold film over new connections", LONG, || {
            plays(cluster.rtmp(edge), &format!("mp4:{}.mp4", 6 + edge)).then_some(())
        });
    }
    // The session of before is still there.
    watching.create_stream();
    watching.play(1, "mp4:0.mp4", &[0.0]);
    watching.wait("media", LONG, Message::is_media);
    assert!(!watching.is_closed());
    for (_, name) in BOXES.iter().filter(|(role, _)| *role == "edge") {
        assert!(!node(&cluster, name).process.log().contains("can't be used"), "{name}");
    }
}
