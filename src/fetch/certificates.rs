//! Whose word on who a server is counts: Mozilla's authorities, which are built in, or those of a file, as behind a proxy
//! that reads along.

use std::{fs, path::Path};

use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::error::{Error, Result};

/// What OpenSSL, and with it Python and curl, takes authorities from instead of its own.
pub(super) const VARIABLE: &str = "SSL_CERT_FILE";

/// The authorities of the file that the environment names; the built-in ones where it names none.
pub(super) fn from_environment() -> Result<RootCerts> {
    match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => of(Path::new(&path)),
        None => Ok(RootCerts::WebPki),
    }
}

fn of(path: &Path) -> Result<RootCerts> {
    let text = fs::read(path).map_err(|error| {
        Error::fetch(format!(
            "{}: {error}\nhelp: {VARIABLE} names this file; unset it, and the built-in authorities count",
            path.display()
        ))
    })?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&text)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            Ok(_) | Err(_) => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Error::fetch(format!(
            "{}: has no certificate in it\nhelp: {VARIABLE} must name a PEM file; without it the built-in authorities count",
            path.display()
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
            text.contains("help: SSL_CERT_FILE names this file"),
            "{text}"
        );
        fs::write(&path, "-----BEGIN NOTHING-----\n").unwrap();
        let text = of(&path).unwrap_err().to_string();
        assert!(
            text.contains("authorities.pem: has no certificate"),
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
