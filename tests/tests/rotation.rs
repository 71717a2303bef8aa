//! The key that seals secrets at rest is changed under a running cluster of two controls: nobody who signs notices, and nothing is left under the
//! former key. Real processes over etcd.

use std::time::Duration;

use tests::api::{Api, Keys, Request};
use tests::cluster::{Node, SEALING_KEY, Setup};
use tests::eventually;
use tests::players::Outcome;

const LONG: Duration = Duration::from_secs(60);
const LIST: &str = "/2020-05-31/streaming-distribution";
const NEXT_KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

/// Two controls over one store, and their settings.
struct Replicas {
    api: Api,
    other: Node,
    other_api: String,
}

impl Replicas {
    fn start() -> Self {
        let api = Api::start(Setup::default());
        let (other, other_api) = api.cluster.another_control("control-2");
        Self { api, other, other_api }
    }

    /// Restarts one of the two with other keys of secrets; meanwhile the other goes on answering.
    fn configure(&mut self, which: usize, secrets: &str, keys: &Keys) {
        let (name, addr) = [("control", &self.other_api), ("control-2", &self.api.cluster.api)][which];
        let addr = addr.clone();
        let file = self.api.cluster.folder().join(format!("{name}.yaml"));
        let text = std::fs::read_to_string(&file).unwrap();
        let from = text.find("secrets:\n").unwrap();
        let to = from + text[from..].find("\napi:").unwrap();
        std::fs::write(&file, format!("{}secrets:\n  {secrets}{}", &text[..from], &text[to..])).unwrap();
        let node = if which == 0 { &mut self.api.cluster.control } else { &mut self.other };
        node.restart();
        assert_eq!(answered(&addr, keys), 200, "the other one answers");
        node.wait_ready();
    }

    /// Every key is good at both.
    fn all_good(&self, all: &[Keys]) {
        for addr in [&self.api.cluster.api, &self.other_api] {
            for keys in all {
                eventually(&format!("{} at {addr}", keys.id), LONG, || {
                    (answered(addr, keys) == 200).then_some(())
                });
            }
        }
    }

    fn command(&self, words: &[&str]) -> Outcome {
        self.api.cluster.control_command(words)
    }

    fn status(&self) -> Vec<String> {
        let said = self.command(&["status"]).expect(0).stdout;
        said.lines().filter(|line| line.starts_with("secrets: ")).map(str::to_owned).collect()
    }
}

fn answered(addr: &str, keys: &Keys) -> u16 {
    Request::get(LIST).v4(keys).send(addr).status
}

fn key(id: &str, more: &str) -> String {
    format!("key: '{id}'\n  old_keys: [{more}]")
}

#[test]
fn the_sealing_key_is_rotated_without_a_signature_refused() {
    let mut replicas = Replicas::start();
    let mut all: Vec<Keys> = (0..3).map(|_| replicas.api.account()).collect();
    let first = all[0].clone();
    replicas.all_good(&all);
    let (old, new) = (format!("'{SEALING_KEY}'"), format!("'{NEXT_KEY}'"));
    let status = replicas.status();
    assert_eq!(status.len(), 1, "{status:?}");
    assert!(status[0].contains("under the current key"), "{status:?}");
    let backup = replicas.command(&["export"]).expect(0).stdout;

    // The next key opens everywhere before anything is sealed under it.
    for which in [0, 1] {
        replicas.configure(which, &key(SEALING_KEY, &new), &first);
    }
    replicas.all_good(&all);
    // It seals at one of them; keys made there are good at the other.
    replicas.configure(0, &key(NEXT_KEY, &old), &first);
    all.push(replicas.api.key(&first.account, &[]));
    replicas.all_good(&all);
    replicas.configure(1, &key(NEXT_KEY, &old), &first);
    let status = replicas.status();
    assert!(status.iter().any(|line| line.contains("secrets: 1 sealed under the current key")), "{status:?}");
    let former = status.iter().find(|line| line.contains("still under the former key")).unwrap();
    assert!(former.contains("keys reseal"), "{status:?}");

    let resealed = replicas.command(&["keys", "reseal"]).expect(0).stdout;
    // Three keys and the local authority.
    assert!(
        resealed.contains("4 secrets were sealed anew, 1 were under the current key already"),
        "{resealed}"
    );
    let again = replicas.command(&["keys", "reseal"]).expect(0).stdout;
    assert!(again.contains("0 secrets were sealed anew, 5 were"), "{again}");
    let status = replicas.status();
    assert_eq!(status.len(), 1, "{status:?}");
    assert!(status[0].contains("5 sealed under the current key"), "{status:?}");
    replicas.all_good(&all);
    // The authority is who it was.
    let ca = replicas.command(&["ca"]).expect(0).stdout;
    assert!(ca.contains("-----BEGIN CERTIFICATE-----"), "{ca}");

    // The former key goes. A control that was left behind says what it lacks, and answers nobody wrongly.
    replicas.configure(0, &key(NEXT_KEY, ""), &first);
    replicas.configure(1, &key(SEALING_KEY, ""), &first);
    let refused = Request::get(LIST).v4(&first).send(&replicas.other_api);
    assert_eq!(refused.status, 503, "{}", refused.text());
    let log = replicas.other.process.log();
    assert!(log.contains("which this control does not have"), "{log}");
    replicas.configure(1, &key(NEXT_KEY, ""), &first);
    replicas.all_good(&all);

    // A backup from before needs the key from before, and says so; then it is as good as it was.
    let file = replicas.api.cluster.folder().join("backup");
    std::fs::write(&file, backup).unwrap();
    let import = ["import", "--replace", file.to_str().unwrap()];
    let said = replicas.command(&import).expect(0).stdout;
    assert!(said.contains("which this control does not have"), "{said}");
    let stuck = replicas.command(&["keys", "reseal"]);
    assert_ne!(stuck.code, 0);
    assert!(stuck.stdout.contains(&format!("not opened: keys/{}", first.id)), "{stuck:?}");
    for which in [0, 1] {
        let addr = [&replicas.api.cluster.api, &replicas.other_api][which].clone();
        let file = replicas.api.cluster.folder().join(["control.yaml", "control-2.yaml"][which]);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("old_keys: []", &format!("old_keys: [{old}]"))).unwrap();
        let node = if which == 0 { &mut replicas.api.cluster.control } else { &mut replicas.other };
        node.restart();
        node.wait_ready();
        eventually("the key of the backup", LONG, || (answered(&addr, &first) == 200).then_some(()));
    }
    let resealed = replicas.command(&["keys", "reseal"]).expect(0).stdout;
    assert!(resealed.contains("4 secrets were sealed anew"), "{resealed}");
    replicas.all_good(&all[..3]);
}
