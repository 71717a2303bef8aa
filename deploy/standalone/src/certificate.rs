//! The certificate that RTMPS is served with when none is configured: self-signed, made once for a data folder.
//!
//! It stands in `tls/` of the data folder, the key with mode 0600, and stays until somebody deletes it or replaces both files (which is noticed
//! while standalone runs). Players that check certificates must be told to trust it: its fingerprint is logged. A damaged file is an
//! error, not a reason to make a new one: players may trust the old one.

use std::path::Path;

use anyhow::Context;
use edge::config::tls::TlsConfig;
use edge::tls::self_signed;

use crate::identity::write_private;

/// Sees to it that `tls` names a certificate: the one in `data` if it names none, made now if there is none yet. `domain` is what it is for,
/// besides this machine.
pub fn provide(data: &Path, domain: &str, tls: &mut TlsConfig) -> anyhow::Result<()> {
    if tls.certificate_file.is_some() {
        return Ok(());
    }
    let folder = data.join("tls");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    if !certificate.exists() {
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let names = ["localhost", "127.0.0.1", "::1", domain].map(str::to_owned);
        let made = self_signed::make(names.to_vec()).context("a self-signed certificate")?;
        // The certificate last: a start that was cut short makes both anew.
        write_private(&key, made.key_pem.as_bytes())?;
        write_private(&certificate, made.certificate_pem.as_bytes())?;
    }
    (tls.certificate_file, tls.key_file) = (Some(certificate), Some(key));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_its_key_is_private() {
        let data = tempfile::tempdir().unwrap();
        let fingerprint = || {
            let mut tls = TlsConfig::default();
            provide(data.path(), "s1.penstock.localhost", &mut tls).unwrap();
            assert!(edge::tls::Certificates::load(&tls).unwrap().is_some());
            let key = tls.key_file.unwrap();
            assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::read(tls.certificate_file.unwrap()).unwrap()
        };
        assert_eq!(fingerprint(), fingerprint());
        std::fs::write(data.path().join("tls/key.pem"), "damaged").unwrap();
        let mut tls = TlsConfig::default();
        provide(data.path(), "s1.penstock.localhost", &mut tls).unwrap();
        assert!(edge::tls::Certificates::load(&tls).is_err());
    }

    #[test]
    fn a_configured_one_is_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let mut tls = TlsConfig {
            certificate_file: Some("a".into()),
            key_file: Some("b".into()),
            ..Default::default()
        };
        provide(data.path(), "s1.penstock.localhost", &mut tls).unwrap();
        assert_eq!(tls.certificate_file.as_deref(), Some(Path::new("a")));
        assert!(!data.path().join("tls").exists());
    }
}
