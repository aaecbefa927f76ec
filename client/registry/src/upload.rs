//! A blob that is sent in chunks (OCI distribution-spec, "Pushing a blob in chunks"): its digest is not known
//! before its end, and what has to be sent again is one chunk at most.
//!
//! A chunk that failed is sent on from what the registry says it has. Where it has forgotten the upload, or
//! keeps nothing of a chunk, that is an error: whoever made the bytes has to make them again. (docker-registry 2.8
//! forgets an upload of which a chunk broke off, and resumes one of which a chunk was refused.)

use std::io::{self, Write};
use std::mem;
use std::time::Duration;

use bytes::BytesMut;
use holdfast_image::{Digest, NewBlob};
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, StatusCode, Url};

use crate::http::{Later, Parts, Request, TIMEOUT};
use crate::image::in_image;
use crate::repository::header;
use crate::{Error, Repository};

/// Bytes sent at once: GitHub's registry takes no more.
const CHUNK: usize = 4 << 20;
/// Most that a registry may ask for as the least of a chunk.
const LONGEST_CHUNK: usize = 8 << 20;
/// Bytes of a chunk that lie together.
const PART: usize = 1 << 20;
/// For a chunk, which a slow line takes its time for.
const CHUNK_TIME: Duration = Duration::from_secs(5 * 60);
/// For the end of an upload, when a registry may read all of it to check its digest.
const END_TIME: Duration = Duration::from_secs(10 * 60);

/// A blob that is on its way. Dropped before it is kept, the registry is told to forget it.
pub(crate) struct Upload<'r> {
    repository: &'r Repository,
    /// Where the next request goes.
    place: Url,
    /// What has not been sent.
    chunk: Parts,
    /// The end of it.
    part: BytesMut,
    /// How long one gets.
    length: usize,
    /// Bytes that the registry has.
    sent: u64,
    ended: bool,
}

impl<'r> Upload<'r> {
    pub(crate) fn begin(repository: &'r Repository) -> Result<Upload<'r>, Error> {
        let path = repository.path("blobs/uploads/");
        let request = repository.request(Method::POST, &path, Vec::new(), Some(&[]));
        Upload::of(repository, &repository.registry.send(&request)?)
    }

    /// What the registry has begun in this answer.
    pub(crate) fn of(repository: &'r Repository, answer: &Response) -> Result<Upload<'r>, Error> {
        let registry = &repository.registry;
        let place = header(answer, &LOCATION).ok_or_else(|| {
            Error::Odd(format!(
                "{} begins an upload and does not say where; ask who runs it",
                registry.name()
            ))
        })?;
        let least = header(answer, &HeaderName::from_static("oci-chunk-min-length"));
        let least: usize = least.and_then(|least| least.parse().ok()).unwrap_or(0);
        if least > LONGEST_CHUNK {
            return Err(Error::Odd(format!(
                "{} wants chunks of {least} bytes at least, more than this version has memory for",
                registry.name()
            )));
        }
        let place = registry.place(&place)?;
        let length = CHUNK.max(least);
        Ok(Upload {
            repository,
            place,
            chunk: Parts::default(),
            part: BytesMut::new(),
            length,
            sent: 0,
            ended: false,
        })
    }

    /// Sends what there is, however often it takes.
    fn send(&mut self) -> Result<(), Error> {
        let mut rest = mem::take(&mut self.chunk);
        rest.push(mem::take(&mut self.part).freeze());
        let mut tries = 0;
        while rest.len() > 0 {
            let had = self.sent;
            if let Some(later) = self.patch(&rest)? {
                self.repository.registry.wait(&mut tries, &later)?;
                self.ask(&mut tries, rest.len())?;
            } else if self.sent == had {
                return Err(self.odd("takes a part of an upload and keeps nothing of it"));
            }
            rest.advance(usize::try_from(self.sent - had).unwrap_or(usize::MAX).min(rest.len()));
        }
        Ok(())
    }

    /// Sends a chunk once. What is given may pass.
    fn patch(&mut self, chunk: &Parts) -> Result<Option<Later>, Error> {
        let range = format!("{}-{}", self.sent, self.sent + chunk.len() as u64 - 1);
        let range = HeaderValue::from_str(&range).map_err(|_| self.odd("takes no range"))?;
        let binary = HeaderValue::from_static("application/octet-stream");
        let path = self.path();
        let mut request = self.request(Method::PATCH, &path, CHUNK_TIME);
        request.headers = vec![(CONTENT_TYPE, binary), (CONTENT_RANGE, range)];
        request.body = Some(chunk.clone());
        let answer = match self.repository.registry.attempt(&request)? {
            Ok(answer) => answer,
            Err(later) => return Ok(Some(later)),
        };
        match answer.status() {
            status if status.is_success() => self.has(&answer, chunk.len(), true)?,
            status if status.is_redirection() => return Err(self.odd("sends a part of an upload elsewhere")),
            // It has more or less than we think.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Ok(Some(Later { why: "it has lost count of an upload".to_owned(), pause: None }));
            }
            StatusCode::NOT_FOUND => return Err(self.forgotten()),
            status => return Err(self.repository.registry.refused(status, answer, &request)),
        }
        Ok(None)
    }

    /// Asks what the registry has of it.
    fn ask(&mut self, tries: &mut u32, chunk: usize) -> Result<(), Error> {
        let path = self.path();
        loop {
            let request = self.request(Method::GET, &path, TIMEOUT);
            match self.repository.registry.attempt(&request)? {
                Ok(answer) if answer.status().as_u16() < 400 => return self.has(&answer, chunk, false),
                Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return Err(self.forgotten()),
                Ok(answer) => {
                    return Err(self.repository.registry.refused(answer.status(), answer, &request));
                }
                Err(later) => self.repository.registry.wait(tries, &later)?,
            }
        }
    }

    /// Takes from an answer what the registry has, of which the last `chunk` bytes may be on their way, and where
    /// to go on. `taken`: it says so of a chunk that it took, which may go without saying.
    fn has(&mut self, answer: &Response, chunk: usize, taken: bool) -> Result<(), Error> {
        if let Some(place) = header(answer, &LOCATION) {
            self.place = self.repository.registry.place(&place)?;
        }
        let most = self.sent + chunk as u64;
        let last = header(answer, &RANGE);
        let last = last.as_deref().map(|range| range.trim_start_matches("bytes=").strip_prefix("0-"));
        let has = match last {
            None if taken => most,
            // Nothing looks like the first byte alone; that it would be sent twice shows in the digest.
            Some(Some("0")) if self.sent == 0 && most > 1 => 0,
            Some(Some(last)) => match last.parse::<u64>() {
                Ok(last) => last.saturating_add(1),
                Err(_) => return Err(self.odd("does not say what it has of an upload")),
            },
            _ => return Err(self.odd("does not say what it has of an upload")),
        };
        if has > most {
            return Err(self.odd("has more of an upload than it was sent"));
        }
        if has < self.sent {
            return Err(self.forgotten());
        }
        self.sent = has;
        Ok(())
    }

    fn end(&mut self, digest: &Digest) -> Result<(), Error> {
        self.send()?;
        let path = self.path();
        self.place.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut request = self.request(Method::PUT, &path, END_TIME);
        request.body = Some(Parts::default());
        let registry = &self.repository.registry;
        let mut tries = 0;
        let answer = loop {
            match registry.attempt(&request)? {
                Ok(answer) => break answer,
                Err(later) => registry.wait(&mut tries, &later)?,
            }
        };
        match answer.status() {
            status if status.as_u16() < 400 => {}
            // It was done, and only its answer was lost.
            StatusCode::NOT_FOUND if tries > 0 && self.repository.has(digest)? => {}
            StatusCode::NOT_FOUND => return Err(self.forgotten()),
            status => return Err(registry.refused(status, answer, &request)),
        }
        self.ended = true;
        let stored = header(&answer, &HeaderName::from_static("docker-content-digest"));
        match stored {
            Some(stored) if answer.status().is_success() && stored != digest.to_string() => {
                Err(self.odd("stored another blob than it was given"))
            }
            _ => Ok(()),
        }
    }

    /// Every request of an upload is for the same token.
    fn request<'a>(&'a self, method: Method, path: &'a str, time: Duration) -> Request<'a> {
        let mut request = self.repository.request(method, path, Vec::new(), None);
        request.scope = self.repository.scope("pull,push");
        request.place = Some(self.place.clone());
        request.time = time;
        request
    }

    /// For errors: its own place has the registry's secrets in it.
    fn path(&self) -> String {
        self.repository.path("blobs/uploads/…")
    }

    fn forgotten(&self) -> Error {
        Error::Lost(format!("{} has lost a part of an upload; run again", self.repository.registry.name()))
    }

    fn odd(&self, what: &str) -> Error {
        Error::Odd(format!("{} {what}; ask who runs it", self.repository.registry.name()))
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.part.len() == PART {
            self.chunk.push(mem::take(&mut self.part).freeze());
        }
        let waiting = self.chunk.len() + self.part.len();
        if waiting == self.length {
            self.send().map_err(in_io)?;
        }
        if self.part.is_empty() {
            self.part.reserve(PART);
        }
        let room = (PART - self.part.len()).min(self.length - waiting % self.length);
        let taken = bytes.len().min(room);
        self.part.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewBlob for Upload<'_> {
    fn keep(mut self: Box<Self>, digest: &Digest) -> Result<(), holdfast_image::Error> {
        self.end(digest).map_err(|error| match error {
            Error::Lost(_) => {
                holdfast_image::Error::Io { what: "cannot write the blob".to_owned(), source: in_io(error) }
            }
            error => in_image(error),
        })
    }
}

/// So that whoever writes knows that it may be begun again.
fn in_io(error: Error) -> io::Error {
    match error {
        Error::Lost(_) => io::Error::new(io::ErrorKind::ConnectionReset, error),
        error => io::Error::other(error),
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let path = self.path();
            // The way out of a failure, which is the one to tell; a registry forgets it in the end anyway.
            let _ = self.repository.registry.attempt(&self.request(Method::DELETE, &path, TIMEOUT));
        }
    }
}
