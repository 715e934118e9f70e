//! Certificates, keys and revocation lists in PEM files.

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The certificates of a file, one at least.
///
/// # Errors
/// What is wrong with the file, and the cure.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(format!("`{shown}` holds no certificate; give a file with `-----BEGIN CERTIFICATE-----`")),
        Err(_) => Err(format!("`{shown}` is not PEM: it is damaged or not whole; give a whole file, in PEM")),
    }
}

/// The private key of a file.
///
/// # Errors
/// What is wrong with the file, and the cure.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| {
        let shown = path.display();
        format!("`{shown}` holds no private key that can be read; give a PEM file with an unencrypted key")
    })
}

/// The revocation lists of a file, one at least.
///
/// # Errors
/// What is wrong with the file, and the cure.
pub(super) fn read_revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let shown = path.display();
    let pem = read(path)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    match lists {
        Ok(lists) if !lists.is_empty() => Ok(lists),
        Ok(_) => Err(format!("`{shown}` holds no revocation list; give a file with `-----BEGIN X509 CRL-----`")),
        Err(error) => Err(format!("`{shown}` is not PEM: {error}; give a file with `-----BEGIN X509 CRL-----`")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = path.display();
    std::fs::read(path)
        .map_err(|error| format!("cannot read `{shown}`: {error}; give the path of a PEM file that Pylon may read"))
}
