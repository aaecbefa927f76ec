//! A recipient's file. It may be a private key after all, so what is read of it is wiped.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use holdfast_image::printable;
use zeroize::Zeroizing;

use super::typed::Scheme;
use crate::failure::Failure;

/// What the file of a scheme is.
fn wanted(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Jwe | Scheme::Pkcs11 => "takes the file of a public key",
        Scheme::Pkcs7 => "takes the file of an X.509 certificate",
        Scheme::Pgp => "takes the file of an OpenPGP certificate, or whom gpg knows",
    }
}

/// Its bytes, `most` at most.
pub(super) fn read(scheme: Scheme, file: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let shown = printable(&file.to_string_lossy());
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let read = File::open(file).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Failure::line(format!("cannot read {shown}: {error}; {scheme}: {}", wanted(scheme)))
    })?;
    if bytes.len() > most {
        return Err(Failure::line(format!(
            "{shown} has more than {} KiB; {scheme}: {}",
            most / 1024,
            wanted(scheme)
        )));
    }
    Ok(bytes)
}
