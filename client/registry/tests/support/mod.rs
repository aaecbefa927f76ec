//! A server that answers what a registry on a bad day does, and notes what it was asked.

#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_registry::{Credentials, Options, Registry, Repository, RepositoryName};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What is sent back: a status line with headers, and a body.
pub struct Answer(pub String, pub Vec<u8>);

impl Answer {
    pub fn new(status: &str, headers: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer(format!("{status}\r\n{headers}"), body.into())
    }

    pub fn json(body: &str) -> Answer {
        Answer::new("200 OK", "Content-Type: application/json\r\n", body)
    }
}

pub struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers each request by what `answer` makes of it. It ends with the test's process.
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (notes, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (notes, answer) = (notes.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &notes, &*answer));
            }
        });
        Server { address, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// A client of it, without credentials.
    pub fn repository(&self) -> Repository {
        self.repository_with(options(Credentials::none()))
    }

    pub fn repository_with(&self, options: Options) -> Repository {
        let registry = Registry::connect(&self.address, &options).unwrap();
        Repository::new(Arc::new(registry), RepositoryName::of(&self.address, "app").unwrap())
    }
}

/// No pause is really waited for; those that were asked for are in `PAUSES` order of the thread.
pub fn options(credentials: Credentials) -> Options {
    Options { plain_http: false, ca: None, credentials, wait: Arc::new(|_: Duration| false) }
}

fn serve(stream: TcpStream, notes: &Mutex<Vec<Asked>>, answer: &(dyn Fn(&Asked) -> Answer + Send + Sync)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(asked) = read(&mut reader) {
        notes.lock().unwrap().push(asked.clone());
        let Answer(head, body) = answer(&asked);
        let length = match head.to_ascii_lowercase().contains("content-length") {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let sent = stream.write_all(format!("HTTP/1.1 {head}{length}\r\n").as_bytes());
        let body: &[u8] = if asked.line.starts_with("HEAD") { &[] } else { &body };
        if sent.and_then(|()| stream.write_all(body)).is_err() || head.contains("Connection: close") {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut asked = Asked { line: line.trim().to_owned(), headers: Vec::new(), body: Vec::new() };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().split_once(':') {
            Some((name, value)) => asked.headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body).ok()?;
    Some(asked)
}
