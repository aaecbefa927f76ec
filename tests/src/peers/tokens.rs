//! A token server for a registry (the distribution project's token specification): it knows two users, and signs what
//! each may do as a JSON Web Token that docker-registry verifies.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hsm_sim::{Authority, Leaf};
use serde_json::json;

const ISSUER: &str = "tokens.test.invalid";
const SERVICE: &str = "registry.test.invalid";
/// `me` may do everything; `reader` may read.
const USERS: [(&str, &str, &[&str]); 2] =
    [("me", "hunter2", &["pull", "push", "delete", "*"]), ("reader", "hunter3", &["pull"])];
/// A refresh token of `me`, as `docker login` keeps one for some registries.
const REFRESH: &str = "hunter4";

/// Listens on loopback. Its threads end with their connections.
pub struct TokenServer {
    address: String,
    authority: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TokenServer {
    /// Whoever trusts this authority takes its tokens.
    pub fn start(authority: &Authority) -> TokenServer {
        let signer = authority.issue("tokens", &Leaf::plain()).expect("a certificate");
        let signer = Arc::new(Signer {
            key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der(&signer.key))
                .expect("a key"),
            certificate: STANDARD.encode(der(&signer.certificate)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = asked.clone();
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let (signer, notes) = (signer.clone(), notes.clone());
                std::thread::spawn(move || serve(caller, &signer, &notes));
            }
        });
        TokenServer { address, authority: authority.certificate().to_owned(), asked }
    }

    /// docker-registry's section for it.
    pub fn section(&self) -> String {
        format!(
            "auth:\n  token:\n    realm: http://{}/token\n    service: {SERVICE}\n    issuer: {ISSUER}\n    rootcertbundle: {}\n",
            self.address,
            self.authority.display()
        )
    }

    /// The scopes that were asked for, one request after the other.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no thread has failed").clone()
    }
}

struct Signer {
    key: EcdsaKeyPair,
    certificate: String,
}

impl Signer {
    /// RFC 7519, by ES256.
    fn token(&self, user: &str, scopes: &[String], may: &[&str]) -> String {
        let access: Vec<_> = scopes
            .iter()
            .flat_map(|scope| scope.split(' '))
            .filter_map(|scope| {
                let [kind, name, actions] = scope.split(':').collect::<Vec<_>>().try_into().ok()?;
                let actions: Vec<&str> = actions.split(',').filter(|action| may.contains(action)).collect();
                Some(json!({"type": kind, "name": name, "actions": actions}))
            })
            .collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let claims = json!({
            "iss": ISSUER, "sub": user, "aud": SERVICE, "jti": format!("{now}"),
            "iat": now, "nbf": now - 5, "exp": now + 300, "access": access,
        });
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Of a PEM file with one block.
fn der(file: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(file).expect("a PEM file");
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("base64")
}

fn serve(stream: TcpStream, signer: &Signer, notes: &Mutex<Vec<String>>) {
    let mut answers = stream.try_clone().expect("a handle");
    let mut reader = BufReader::new(stream);
    while let Some((line, login, body)) = request(&mut reader) {
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let query = if line.starts_with("POST") {
            body
        } else {
            target.split_once('?').unwrap_or_default().1.to_owned()
        };
        let parameters = |wanted: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| plain(value)).collect::<Vec<_>>()
        };
        let scopes = parameters("scope");
        notes.lock().expect("no thread has failed").extend(scopes.iter().cloned());
        let known = |(user, password, _): &&(&str, &str, &[&str])| {
            login == format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
                || (*user == "me" && parameters("refresh_token") == [REFRESH])
        };
        let right = parameters("service") == [SERVICE];
        let (status, body) = match USERS.iter().find(known) {
            Some((user, _, may)) if right => {
                ("200 OK", json!({"token": signer.token(user, &scopes, may)}).to_string())
            }
            _ => ("401 Unauthorized", String::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if answers.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// The request line, the `Authorization` and the body.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let (mut login, mut length) = (String::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => value.clone_into(&mut login),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((line, login, String::from_utf8(body).ok()?))
}

/// Without the signs that stand for others in a URL.
fn plain(text: &str) -> String {
    text.replace("%3A", ":")
        .replace("%2C", ",")
        .replace("%2F", "/")
        .replace("%2A", "*")
        .replace(['+'], " ")
        .replace("%20", " ")
}
