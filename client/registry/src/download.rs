//! A blob as it comes. One that breaks off is read on from there.

use std::io::{self, Read};

use holdfast_image::Digest;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use crate::http::Later;
use crate::repository::header;
use crate::{Error, Repository};

/// After as many bytes as this, a registry that breaks off again counts as one that did so for the first time.
const PROGRESS: u64 = 1 << 20;

/// A blob of `size` bytes, as the manifest says; what lies behind them is read too, if there is something.
/// Its digest is left to whoever reads it.
pub(crate) struct Download<'r> {
    repository: &'r Repository,
    path: String,
    size: u64,
    /// Bytes that have been read.
    at: u64,
    body: Option<Response>,
    tries: u32,
    /// Where it broke off last.
    broke_off: u64,
}

impl<'r> Download<'r> {
    pub(crate) fn begin(
        repository: &'r Repository,
        digest: &Digest,
        size: u64,
    ) -> Result<Download<'r>, Error> {
        let path = repository.path(&format!("blobs/{digest}"));
        let mut download = Download { repository, path, size, at: 0, body: None, tries: 0, broke_off: 0 };
        let body = download.open()?;
        if let Some(length) = body.content_length().filter(|length| *length != size) {
            return Err(Error::Odd(format!(
                "the manifest says the blob has {size} bytes, {} says {length}; copy the image again from its source",
                repository.registry.name()
            )));
        }
        download.body = Some(body);
        Ok(download)
    }

    fn open(&self) -> Result<Response, Error> {
        let mut headers = Vec::new();
        if self.at > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.at));
            headers.push((RANGE, range.map_err(|_| Error::Odd("a range that no header can hold".into()))?));
        }
        let request = self.repository.request(Method::GET, &self.path, headers, None);
        self.repository.registry.send(&request)
    }

    /// Goes on where it broke off.
    fn open_again(&mut self, why: String) -> Result<(), Error> {
        if self.at >= self.broke_off.saturating_add(PROGRESS) {
            self.tries = 0;
        }
        self.broke_off = self.at;
        let registry = &self.repository.registry;
        registry.wait(&mut self.tries, &Later { why: format!("it broke off: {why}"), pause: None })?;
        let mut body = self.open()?;
        let from = match body.status() {
            StatusCode::PARTIAL_CONTENT => header(&body, &CONTENT_RANGE)
                .and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()),
            // All of it once more: what has been read is passed over.
            _ => Some(0),
        };
        let passed_over = match from {
            Some(from) if from == self.at => Ok(0),
            Some(0) => io::copy(&mut (&mut body).take(self.at), &mut io::sink()),
            _ => {
                return Err(Error::Odd(format!(
                    "{} answers another part of a blob than was asked for; ask who runs it",
                    registry.name()
                )));
            }
        };
        // One that breaks off before is tried again like one that breaks off behind.
        self.body = passed_over.is_ok().then_some(body);
        Ok(())
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let why = match self.body.as_mut().map(|body| body.read(buffer)) {
                Some(Ok(0)) if self.at < self.size && !buffer.is_empty() => {
                    "its answer was not whole".to_owned()
                }
                Some(Ok(read)) => {
                    self.at += read as u64;
                    return Ok(read);
                }
                Some(Err(error)) if self.at < self.size => error.to_string(),
                Some(Err(_)) => return Ok(0),
                None => "its answer was not whole".to_owned(),
            };
            self.body = None;
            self.open_again(why).map_err(io::Error::other)?;
        }
    }
}
