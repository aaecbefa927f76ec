//! One registry: requests with the credentials it asks for, tried again while it is busy.

mod answer;
mod parts;
mod reach;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_image::printable;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use crate::auth::{self, Challenge, MAX_TOKEN};
use crate::credentials::Credential;
use crate::error::in_its_words;
use crate::reference::server;

pub(crate) use self::answer::bounded;
pub(crate) use self::answer::{Later, why};
use self::answer::{complaint, is_later, is_refusal_of_ours, next_page};
pub(crate) use self::parts::Parts;
pub(crate) use self::reach::TIMEOUT;
pub use self::reach::{Options, Wait};
use self::reach::{Plain, client, is_this_machine, speaks_plain, token_client};
use crate::{Error, RepositoryName};

/// How often a request is sent to a registry that is busy or cannot be reached.
pub(crate) const TRIES: u32 = 5;
/// The pause before the second try; it doubles from then on.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that a registry may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A registry that has been reached.
pub struct Registry {
    /// As the user names it.
    host: String,
    base: Url,
    client: Client,
    token_client: Client,
    options: Options,
    plain: Plain,
    /// What was accepted, by scope.
    accepted: Mutex<HashMap<String, HeaderValue>>,
}

/// A request to a registry, which may be sent more than once.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Behind `/v2/`.
    pub(crate) path: &'a str,
    /// What `path` has come to be: where the registry has sent an upload.
    pub(crate) place: Option<Url>,
    /// Whose credentials are shown.
    pub(crate) repository: &'a RepositoryName,
    /// What a token has to be for.
    pub(crate) scope: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Option<Parts>,
    /// For the request up to the answer's headers; then for each silence in its body.
    pub(crate) time: Duration,
}

impl Registry {
    /// Reaches the registry on this host.
    pub fn connect(host: &str, options: &Options) -> Result<Registry, Error> {
        let server = server(host);
        let local = is_this_machine(server);
        let (client, token_client) = (client(options, local)?, token_client(options, local)?);
        let url = |scheme: &str| {
            Url::parse(&format!("{scheme}://{server}/v2/"))
                .map_err(|_| Error::Reference(format!("{} is no host", printable(host))))
        };
        let (tls, plain) = (url("https")?, url("http")?);
        let base = match (options.plain_http, local) {
            (true, _) => plain,
            (false, false) => tls,
            // The port of a registry on this machine may speak either.
            (false, true) if speaks_plain(&client, &tls, &plain) => plain,
            (false, true) => tls,
        };
        let (plain, accepted) = (Plain::of(options, local), Mutex::default());
        let (host, options) = (host.to_owned(), options.clone());
        Ok(Registry { host, base, client, token_client, options, plain, accepted })
    }

    /// As the user names it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Sends a request until it is answered by something else than "later". Any status below 400 is given.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Response, Error> {
        let response = self.answer(request)?;
        match response.status() {
            status if status.as_u16() < 400 => Ok(response),
            status => Err(self.refused(status, response, request)),
        }
    }

    /// The same, of any status but those that mean "later".
    fn answer(&self, request: &Request<'_>) -> Result<Response, Error> {
        let mut tries = 0;
        loop {
            match self.attempt(request)? {
                Ok(response) => return Ok(response),
                Err(later) => self.wait(&mut tries, &later)?,
            }
        }
    }

    /// Sends a request once; or twice, if credentials are asked for. The inner error may pass.
    pub(crate) fn attempt(&self, request: &Request<'_>) -> Result<Result<Response, Later>, Error> {
        let mut asked = false;
        loop {
            match self.prepared(request)?.send() {
                // Only its own questions are answered: where it redirected to, a stranger may ask.
                Ok(response)
                    if response.status() == StatusCode::UNAUTHORIZED
                        && response.url().origin() == self.base.origin()
                        && !asked =>
                {
                    asked = true;
                    if !self.meet(auth::challenge(response.headers()), request)? {
                        return Ok(Ok(response));
                    }
                }
                Ok(response) if is_later(response.status()) => return Ok(Err(Later::of(response))),
                Ok(response) => return Ok(Ok(response)),
                Err(error) if is_refusal_of_ours(&error) => {
                    return Err(Error::Unavailable(format!(
                        "{} is not spoken to: {}; give its authority with --ca, if it is to be trusted",
                        self.name(),
                        why(&error)
                    )));
                }
                Err(error) => return Ok(Err(Later { why: why(&error), pause: None })),
            }
        }
    }

    /// Waits before the next try, if there shall be one.
    pub(crate) fn wait(&self, tries: &mut u32, later: &Later) -> Result<(), Error> {
        *tries += 1;
        if *tries >= TRIES {
            return Err(Error::Unavailable(format!(
                "{} cannot be reached, or will not answer now: {}; tried {TRIES} times, try again later",
                self.name(),
                later.why
            )));
        }
        self.pause(later.pause.unwrap_or(PAUSE * 2u32.pow(*tries - 1)))
    }

    fn prepared(&self, request: &Request<'_>) -> Result<RequestBuilder, Error> {
        let url = match &request.place {
            Some(place) => place.clone(),
            None => self.url(request.path)?,
        };
        let own = url.origin() == self.base.origin();
        let mut builder = self.client.request(request.method.clone(), url);
        // reqwest takes a time of the request's own for the whole answer too.
        if request.time != TIMEOUT {
            builder = builder.timeout(request.time);
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(accepted) = self.accepted().get(&request.scope)
            && own
        {
            builder = builder.header(AUTHORIZATION, accepted);
        }
        if let Some(body) = &request.body {
            builder = builder.body(body.body());
        }
        Ok(builder)
    }

    /// Below our own base whatever `path` is: a link of the registry's may name any host.
    fn url(&self, path: &str) -> Result<Url, Error> {
        let url = self.base.join(path).ok();
        url.filter(|url| url.origin() == self.base.origin() && url.path().starts_with(self.base.path()))
            .ok_or_else(|| {
                Error::Odd(format!("{} leads to a place outside of itself; ask who runs it", self.name()))
            })
    }

    /// Where a `Location` of an upload leads, as a whole URL: it may be another machine's, which is shown no
    /// credential.
    pub(crate) fn place(&self, location: &str) -> Result<Url, Error> {
        let url = self.base.join(location).ok();
        url.filter(|url| url.origin() == self.base.origin() || self.plain.may_speak(url)).ok_or_else(|| {
            Error::Odd(format!(
                "{} wants an upload to go to {}, which is not reached over TLS; ask who runs it",
                self.name(),
                printable(location)
            ))
        })
    }

    /// Gets what the registry asks for. False: nothing is at hand.
    fn meet(&self, challenge: Option<Challenge>, request: &Request<'_>) -> Result<bool, Error> {
        let Some(challenge) = challenge else {
            return Ok(false);
        };
        let credential = self.options.credentials.find(request.repository)?;
        let header = match (challenge, credential) {
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                auth::basic(&user, &password)
            }
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { realm, service }, credential) => {
                Some(self.token(&realm, service.as_deref(), &request.scope, credential)?)
            }
        };
        let met = header.is_some();
        if let Some(header) = header {
            self.accepted().insert(request.scope.clone(), header);
        }
        Ok(met)
    }

    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credential: Option<Credential>,
    ) -> Result<HeaderValue, Error> {
        let url = Url::parse(realm).ok().filter(|url| self.plain.may_speak(url)).ok_or_else(|| {
            Error::Odd(format!(
                "{} sends for a token to {}, which is not reached over TLS; no credential goes there",
                self.name(),
                printable(realm)
            ))
        })?;
        let parameters = auth::token_parameters(service, scope, credential.as_ref());
        let request = match &credential {
            Some(Credential::Identity(_)) => self.token_client.post(url).form(&parameters),
            Some(Credential::Password { user, password }) => {
                let request = self.token_client.get(url).query(&parameters);
                match auth::basic(user, password) {
                    Some(header) => request.header(AUTHORIZATION, header),
                    None => request,
                }
            }
            None => self.token_client.get(url).query(&parameters),
        };
        let response = request.send().map_err(|error| {
            Error::Unavailable(format!(
                "the token server of {} cannot be reached: {}",
                self.name(),
                why(&error)
            ))
        })?;
        match response.status() {
            status if status.is_success() => auth::bearer(&bounded(response, MAX_TOKEN, "a token")?),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::Denied(format!(
                "{} refuses {}; {}",
                self.name(),
                if credential.is_some() { "this user's credentials" } else { "who has no credentials" },
                LOG_IN
            ))),
            status => Err(Error::Unavailable(format!(
                "the token server of {} answers {}; try again later",
                self.name(),
                status.as_u16()
            ))),
        }
    }

    pub(crate) fn refused(&self, status: StatusCode, response: Response, request: &Request<'_>) -> Error {
        let what = printable(&request.repository.to_string());
        let lacks_scope = auth::lacks_scope(response.headers());
        let said = in_its_words(&complaint(response));
        match status {
            StatusCode::UNAUTHORIZED if !lacks_scope => {
                self.accepted().remove(&request.scope);
                let known = matches!(self.options.credentials.find(request.repository), Ok(Some(_)));
                let refuses =
                    if known { "refuses this user's credentials for" } else { "asks who we are for" };
                Error::Denied(format!("{} {refuses} {what}{said}; {LOG_IN}", self.name()))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied(format!(
                "{} does not let this user do that in {what}{said}; log in as one who may, or have it allowed",
                self.name()
            )),
            StatusCode::NOT_FOUND => {
                Error::NotFound(format!("{what} does not hold that{said}; see its name and tag"))
            }
            StatusCode::PRECONDITION_FAILED => Error::Moved(MOVED.to_owned()),
            _ => Error::Odd(format!(
                "{} answers {} to {} {}{said}",
                self.name(),
                status.as_u16(),
                request.method,
                printable(request.path)
            )),
        }
    }

    /// A list in parts: `path`, and where its `Link` headers lead, to the end.
    pub(crate) fn pages(
        &self,
        path: &str,
        repository: &RepositoryName,
        scope: &str,
        mut page: impl FnMut(Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut next = Some(path.to_owned());
        let mut seen = 0;
        while let Some(path) = next {
            seen += 1;
            if seen > MAX_PAGES {
                return Err(Error::Odd(format!(
                    "{} gives a list of more than {MAX_PAGES} pages",
                    self.name()
                )));
            }
            let response = self.send(&Request {
                method: Method::GET,
                path: &path,
                place: None,
                repository,
                scope: scope.to_owned(),
                headers: Vec::new(),
                body: None,
                time: TIMEOUT,
            })?;
            let link = next_page(&response);
            let bytes = bounded(response, MAX_PAGE, "a page of a list")?;
            page(serde_json::from_slice(&bytes).map_err(|_| {
                Error::Odd(format!("{} answers a list with something else than JSON", self.name()))
            })?)?;
            if link.as_ref() == Some(&path) {
                return Err(Error::Odd(format!(
                    "a page of a list of {} names itself as the next",
                    self.name()
                )));
            }
            next = link;
        }
        Ok(())
    }

    fn pause(&self, time: Duration) -> Result<(), Error> {
        if (self.options.wait)(time.min(LONGEST_PAUSE)) { Err(Error::Cancelled) } else { Ok(()) }
    }

    fn accepted(&self) -> std::sync::MutexGuard<'_, HashMap<String, HeaderValue>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self) -> String {
        printable(&self.host)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({})", self.host)
    }
}

/// Most pages of a list, of which one has a thousand entries.
const MAX_PAGES: usize = 10_000;
/// Longest page, in bytes.
const MAX_PAGE: u64 = 4 << 20;
const LOG_IN: &str = "log in (skopeo login), or name a file with credentials (--authfile)";
const MOVED: &str = "the tag leads to another manifest by now, which was left as it is; run again";
