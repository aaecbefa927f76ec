//! Calls to holdfastd over its unix socket. Every call has a deadline; every failure is one line.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_image::printable;
use holdfast_wire::grpc::MAX_MESSAGE_LEN;
use holdfast_wire::grpc::keyprovider::key_provider_service_client::KeyProviderServiceClient;
use holdfast_wire::grpc::keyprovider::{
    KeyProviderKeyWrapProtocolInput as ProviderInput, KeyProviderKeyWrapProtocolOutput as ProviderOutput,
};
use holdfast_wire::grpc::v1::holdfast_client::HoldfastClient;
use holdfast_wire::grpc::v1::{
    GetStatusRequest, GetStatusResponse, Key, ListKeysRequest, OpenPacketRequest, OpenPacketResponse,
};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::cli::Common;
use crate::failure::Failure;

/// The one thread that waits for sockets and signals.
pub(crate) fn runtime() -> Result<Arc<Runtime>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map(Arc::new).map_err(|error| {
        Failure::line(format!("cannot start a thread: {error}; free memory or raise the limit"))
    })
}

/// A daemon that has answered the connection. May be called from several threads at once.
pub(crate) struct Daemon {
    runtime: Arc<Runtime>,
    channel: Channel,
    socket: PathBuf,
    timeout: Duration,
}

/// No answer, and whether there may be one later: the daemon is not there, or says that it cannot now.
pub(crate) struct Unanswered {
    pub(crate) failure: Failure,
    pub(crate) may_pass: bool,
    /// Whether the daemon says that no key of this caller's opens what it was given.
    pub(crate) not_mine: bool,
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Unanswered {
        Unanswered { failure, may_pass: false, not_mine: false }
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Failure {
        unanswered.failure
    }
}

impl Daemon {
    pub(crate) fn connect(common: &Common) -> Result<Daemon, Failure> {
        Daemon::connect_on(common, runtime()?)
    }

    pub(crate) fn connect_on(common: &Common, runtime: Arc<Runtime>) -> Result<Daemon, Failure> {
        Ok(Daemon::connect_within(common, runtime, common.timeout)?)
    }

    /// With less time than the command line gives: this is one of several tries.
    pub(crate) fn connect_within(
        common: &Common,
        runtime: Arc<Runtime>,
        timeout: Duration,
    ) -> Result<Daemon, Unanswered> {
        let socket = common.socket.clone();
        let path = socket.to_str().ok_or_else(|| {
            Failure::line("the path of the socket is not UTF-8; name another with --socket")
        })?;
        let endpoint = Endpoint::try_from(format!("unix://{path}")).map_err(|_| {
            Failure::line(format!("{path} cannot be the path of a socket; name another with --socket"))
        })?;
        let connected = runtime.block_on(async { tokio::time::timeout(timeout, endpoint.connect()).await });
        let channel = connected
            .map_err(|_| too_slow(&socket, timeout))?
            .map_err(|error| not_connected(&socket, &error))?;
        Ok(Daemon { channel, runtime, socket, timeout })
    }

    /// Whatever ends `interrupted` ends the wait.
    pub(crate) fn open_packet(
        &self,
        request: OpenPacketRequest,
        interrupted: impl Future<Output = ()>,
    ) -> Result<OpenPacketResponse, Unanswered> {
        let mut client = self.native();
        self.ask(async move |timeout| client.open_packet(deadline(request, timeout)).await, interrupted)
    }

    pub(crate) fn keys(&self) -> Result<Vec<Key>, Failure> {
        let mut client = self.native();
        let response = self.call(
            async move |timeout| client.list_keys(deadline(ListKeysRequest {}, timeout)).await,
            std::future::pending(),
        )?;
        Ok(response.keys)
    }

    pub(crate) fn status(&self) -> Result<GetStatusResponse, Failure> {
        let mut client = self.native();
        self.call(
            async move |timeout| client.get_status(deadline(GetStatusRequest {}, timeout)).await,
            std::future::pending(),
        )
    }

    /// WrapKey of ocicrypt's key provider protocol; `body` is the JSON inside it. Whatever ends
    /// `interrupted` ends the wait.
    pub(crate) fn wrap_key(
        &self,
        body: Vec<u8>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Vec<u8>, Failure> {
        let mut client = self.provider();
        let input = ProviderInput { key_provider_key_wrap_protocol_input: body };
        let answer =
            self.call(async move |timeout| client.wrap_key(deadline(input, timeout)).await, interrupted);
        answer.map(json_inside)
    }

    /// UnWrapKey likewise.
    pub(crate) fn unwrap_key(&self, body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let mut client = self.provider();
        let input = ProviderInput { key_provider_key_wrap_protocol_input: body };
        let answer = self.call(
            async move |timeout| client.un_wrap_key(deadline(input, timeout)).await,
            std::future::pending(),
        );
        answer.map(json_inside)
    }

    fn native(&self) -> HoldfastClient<Channel> {
        HoldfastClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_LEN)
    }

    fn provider(&self) -> KeyProviderServiceClient<Channel> {
        KeyProviderServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_LEN)
    }

    fn call<T>(
        &self,
        call: impl AsyncFnOnce(Duration) -> Result<Response<T>, Status>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<T, Failure> {
        Ok(self.ask(call, interrupted)?)
    }

    fn ask<T>(
        &self,
        call: impl AsyncFnOnce(Duration) -> Result<Response<T>, Status>,
        interrupted: impl Future<Output = ()>,
    ) -> Result<T, Unanswered> {
        let started = Instant::now();
        let answer = self.runtime.block_on(async {
            tokio::select! {
                answer = tokio::time::timeout(self.timeout, call(self.timeout)) => Some(answer),
                () = interrupted => None,
            }
        });
        match answer {
            None => Err(not_now(Failure::line("interrupted"))),
            Some(Err(_)) => Err(not_now(too_slow(&self.socket, self.timeout))),
            Some(Ok(Ok(response))) => Ok(response.into_inner()),
            // The deadline goes with the request; the other side's clock may strike before ours.
            Some(Ok(Err(status)))
                if matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded)
                    && started.elapsed() >= self.timeout =>
            {
                Err(not_now(too_slow(&self.socket, self.timeout)))
            }
            Some(Ok(Err(status))) => Err(Unanswered {
                failure: refused(&self.socket, &status),
                may_pass: status.source().is_some() || status.code() == Code::Unavailable,
                not_mine: matches!(status.code(), Code::InvalidArgument | Code::PermissionDenied),
            }),
        }
    }
}

fn not_now(failure: Failure) -> Unanswered {
    Unanswered { may_pass: true, ..failure.into() }
}

fn json_inside(output: ProviderOutput) -> Vec<u8> {
    output.key_provider_key_wrap_protocol_output
}

fn deadline<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// The daemon's text stands alone. A status with a source was made on this side, when no answer came.
fn refused(socket: &Path, status: &Status) -> Failure {
    let at = printable(&socket.to_string_lossy());
    if status.source().is_some() {
        return Failure::line(format!(
            "the connection to {at} broke before an answer came; see whether holdfastd is running there, and its log"
        ));
    }
    if status.code() == Code::Unimplemented {
        return Failure::line(format!(
            "what answers at {at} does not know this call; install the holdfast that belongs to its holdfastd"
        ));
    }
    match status.message() {
        "" => Failure::line(format!(
            "holdfastd at {at} refused without a reason ({}); see its log",
            status.code()
        )),
        text => Failure::line(printable(text)),
    }
}

fn not_connected(socket: &Path, error: &tonic::transport::Error) -> Unanswered {
    let at = printable(&socket.to_string_lossy());
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let kind = std::iter::from_fn(|| {
        let this = cause?;
        cause = this.source();
        Some(this)
    })
    .find_map(|this| this.downcast_ref::<io::Error>().map(io::Error::kind));
    let failure = Failure::line(match kind {
        Some(io::ErrorKind::NotFound) => format!(
            "no holdfastd at {at}: there is no such socket; start holdfastd, or name its socket with --socket or HOLDFAST_SOCKET"
        ),
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("no holdfastd at {at}: nobody listens on the socket; start holdfastd and see its log")
        }
        Some(io::ErrorKind::PermissionDenied) => format!(
            "this user may not open {at}; run as one whom the socket's mode and group let in ([listen] in holdfastd's configuration)"
        ),
        _ => format!("what listens at {at} does not answer as holdfastd does; name its socket with --socket"),
    });
    let may_pass = matches!(kind, Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused));
    Unanswered { failure, may_pass, not_mine: false }
}

fn too_slow(socket: &Path, timeout: Duration) -> Failure {
    Failure::line(format!(
        "holdfastd at {} did not answer within {timeout:?}; see its log, or give it longer with --timeout",
        printable(&socket.to_string_lossy())
    ))
}
