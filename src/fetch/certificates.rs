//! The certificate authorities that servers are checked against: those that the operating system trusts, which may include the
//! one of a proxy that intercepts TLS; those of a file, if `SSL_CERT_FILE` names one; or Mozilla's, which are built in.

use std::{fs, path::Path};

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::error::{Error, Result};

/// The variable that OpenSSL, and with it Python and curl, reads the path of a CA bundle from.
pub(super) const VARIABLE: &str = "SSL_CERT_FILE";

/// Reads the authorities from the file that the environment names, or else asks the operating system.
pub(super) fn from_environment() -> Result<RootCerts> {
    match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => of(Path::new(&path)),
        None => Ok(of_the_system()),
    }
}

/// A container may have no trust store at all; the built-in authorities then take its place.
fn of_the_system() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    let certificates: Vec<Certificate<'static>> = found
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    if certificates.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::new_with_certs(&certificates)
    }
}

fn of(path: &Path) -> Result<RootCerts> {
    let text = fs::read(path).map_err(|error| {
        Error::fetch(format!("cannot read `{}`: {error}", path.display()))
            .at(path)
            .help(format!(
                "set `{VARIABLE}` to a PEM file, or unset it to use the certificates of the system"
            ))
    })?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            Ok(_) | Err(_) => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Error::fetch("the file contains no certificate")
            .at(path)
            .help(format!(
                "set `{VARIABLE}` to a PEM file, or unset it to use the certificates of the system"
            )));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authorities.pem");
        let text = of(&path).unwrap_err().to_string();
        assert!(
            text.contains("help: set `SSL_CERT_FILE` to a PEM file"),
            "{text}"
        );
        fs::write(&path, "-----BEGIN NOTHING-----\n").unwrap();
        let text = of(&path).unwrap_err().to_string();
        assert!(
            text.contains("authorities.pem: the file contains no certificate"),
            "{text}"
        );
        let certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        fs::write(&path, format!("{certificate}# another\n{certificate}")).unwrap();
        let Ok(RootCerts::Specific(found)) = of(&path) else {
            panic!("not its own");
        };
        assert_eq!(found.len(), 2);
    }
}
