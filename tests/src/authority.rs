//! The CA of a cluster whose gRPC uses TLS, and its nodes' certificates: made by openssl, as an operator would.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A CA in a folder.
pub struct Authority(PathBuf);

fn openssl(folder: &Path, words: &str) {
    let done = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&done.stderr));
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

impl Authority {
    /// A new one in `folder`.
    pub fn make(folder: &Path) -> Self {
        openssl(folder, &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -days 2 -subj /CN=cluster"));
        Self(folder.to_owned())
    }

    /// The path of a file of it: `ca.pem`, `NAME.crt`, `NAME.key`.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Makes `NAME.crt` and `NAME.key` for a process on loopback in `role`.
    pub fn certify(&self, role: &str, name: &str) {
        let extensions = format!("subjectAltName=IP:127.0.0.1,URI:penstock://{role}/{name}\n");
        std::fs::write(self.0.join(format!("{name}.ext")), extensions).unwrap();
        openssl(&self.0, &format!("req {KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(
            &self.0,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out {name}.crt -extfile {name}.ext"
            ),
        );
    }

    /// The section `tls:` of a process in `role`, whose certificate is made.
    pub fn section(&self, role: &str, name: &str) -> String {
        self.certify(role, name);
        let [ca, cert, key] =
            ["ca.pem", &format!("{name}.crt"), &format!("{name}.key")].map(|f| self.file(f));
        format!("tls: {{ca: {ca}, cert: {cert}, key: {key}}}\n")
    }

    /// A node's config with its certificate instead of a token, and control by https.
    pub fn in_place_of_token(&self, config: &str, role: &str, name: &str) -> String {
        let lines = config.lines().filter(|line| !line.starts_with("token:"));
        let kept: String = lines.map(|line| format!("{line}\n")).collect();
        kept.replace("'http://", "'https://") + &self.section(role, name)
    }
}
