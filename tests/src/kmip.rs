//! Keys in a KMIP server, for the daemon of a house.

use std::path::PathBuf;

use hsm_sim::{Credentials, Pykmip};

use crate::house::{House, me};
use crate::must;
use crate::tpm::holdfastd;

/// The house with a KMIP server beside its PKCS#11 token, as the simulator's own client; `options` are lines of its
/// `[[token]]`.
pub fn section(house: House, server: &Pykmip, options: &str) -> House {
    section_as(house, server, server.client(), options)
}

/// The same as another client.
pub fn section_as(house: House, server: &Pykmip, client: &Credentials, options: &str) -> House {
    written(house, &[&server.address()], server, client, options)
}

/// The same, at several addresses of servers that have this one's certificate and keys.
pub fn section_at(house: House, addresses: &[&str], server: &Pykmip) -> House {
    written(house, addresses, server, server.client(), "")
}

fn written(house: House, addresses: &[&str], server: &Pykmip, client: &Credentials, options: &str) -> House {
    house.section(&format!(
        "[[token]]\nuri = \"kmip:server=kms-1\"\naddresses = {addresses:?}\nca = \"{ca}\"\ncert = \"{cert}\"\n\
         key = {{ file = \"{key}\" }}\n{options}\n",
        ca = server.authority().certificate().display(),
        cert = client.certificate.display(),
        key = client.key.display(),
    ))
}

/// Where the key of a name is.
pub fn uri(name: &str) -> String {
    format!("kmip:server=kms-1;name={name}")
}

/// Makes a key in the server and gives it to the test's user under its name. Returns the file of its public half,
/// which an AES key has none of.
pub fn make(house: House, name: &str, algorithm: &str) -> (House, PathBuf) {
    let public = house.dir.path().join(format!("{name}.pub.pem"));
    let mut create = holdfastd(&house, &["key", "create", &uri(name), "--algorithm", algorithm]);
    let said = must(create.arg("--public").arg(&public));
    for part in
        ["State = Active", "Sensitive = true", &format!("alias = \"{name}\"\nuri = \"kmip:server=kms-1;id=")]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(public.exists(), algorithm != "aes-256");
    let kid = if algorithm == "aes-256" { format!("kid = \"{name}-kid\"") } else { String::new() };
    (configure(house, name, &kid), public)
}

/// A key that is there already, or will be, under its name, with which the test's user may do everything.
pub fn configure(house: House, name: &str, options: &str) -> House {
    let uri = uri(name);
    let mut house = house.section(&format!("[[key]]\nalias = \"{name}\"\nuri = \"{uri}\"\n{options}\n"));
    house.allow(&format!("user = {}\nto = [\"wrap\", \"unwrap\"]\nkeys = [\"{name}\"]", me()));
    house
}
