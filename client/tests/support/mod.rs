//! A stand-in for holdfastd on a socket of its own, and the binary run against it.

#![allow(dead_code, unreachable_pub)]

pub mod decoding;
pub mod encrypting;
#[path = "../../image/tests/support/mod.rs"]
pub mod images;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;

use holdfast_wire::grpc::keyprovider::key_provider_service_server::{
    KeyProviderService, KeyProviderServiceServer,
};
use holdfast_wire::grpc::keyprovider::{
    KeyProviderKeyWrapProtocolInput as ProviderInput, KeyProviderKeyWrapProtocolOutput as ProviderOutput,
};
use holdfast_wire::grpc::v1::holdfast_server::{Holdfast, HoldfastServer};
use holdfast_wire::grpc::v1::{
    GetStatusRequest, GetStatusResponse, Key, ListKeysRequest, ListKeysResponse, OpenPacketRequest,
    OpenPacketResponse,
};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// What the stand-in answers to OpenPacket.
#[derive(Clone)]
pub enum Opens {
    /// The packet itself, which is optsdata in the clear.
    Clear,
    /// This refusal.
    Refuses(Status),
    /// Never.
    Hangs,
    /// Something that is no optsdata.
    Nonsense,
}

/// A running stand-in; it ends when dropped.
pub struct Server {
    pub socket: PathBuf,
    /// One message a call to OpenPacket, sent when it has arrived.
    pub calls: mpsc::Receiver<OpenPacketRequest>,
    /// The name of each call of ocicrypt's protocol, and the JSON in it.
    pub provider_calls: mpsc::Receiver<(&'static str, Vec<u8>)>,
    _runtime: Runtime,
}

pub struct StandIn {
    pub opens: Opens,
    pub keys: Vec<Key>,
    pub status: GetStatusResponse,
    /// What ocicrypt's calls are answered; `None`: nothing, ever.
    pub provides: Option<Result<Vec<u8>, Status>>,
}

impl StandIn {
    pub fn opens(opens: Opens) -> StandIn {
        StandIn {
            opens,
            keys: Vec::new(),
            status: GetStatusResponse::default(),
            provides: Some(Ok(Vec::new())),
        }
    }

    pub fn provides(answer: Result<&str, Status>) -> StandIn {
        let answer = answer.map(|json| json.as_bytes().to_vec());
        StandIn { provides: Some(answer), ..StandIn::opens(Opens::Hangs) }
    }

    /// ocicrypt's calls are never answered.
    pub fn wraps_never(self) -> StandIn {
        StandIn { provides: None, ..self }
    }

    /// Listens in `dir`; the socket is there when this returns.
    pub fn start(self, dir: &Path) -> Server {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = dir.join("holdfast.sock");
        let _context = runtime.enter();
        let listener = UnixListener::bind(&socket).unwrap();
        let (told, calls) = mpsc::channel();
        let (told_of_provider, provider_calls) = mpsc::channel();
        let provider = Provider { answer: self.provides.clone(), told: told_of_provider };
        let service = HoldfastServer::new(Service { stand_in: self, told });
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .add_service(KeyProviderServiceServer::new(provider))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        drop(_context);
        Server { socket, calls, provider_calls, _runtime: runtime }
    }
}

struct Service {
    stand_in: StandIn,
    told: mpsc::Sender<OpenPacketRequest>,
}

#[tonic::async_trait]
impl Holdfast for Service {
    async fn open_packet(
        &self,
        request: Request<OpenPacketRequest>,
    ) -> Result<Response<OpenPacketResponse>, Status> {
        let request = request.into_inner();
        let _ = self.told.send(request.clone());
        let optsdata = match &self.stand_in.opens {
            Opens::Clear => request.packets[0].data.clone(),
            Opens::Refuses(status) => return Err(status.clone()),
            Opens::Hangs => std::future::pending().await,
            Opens::Nonsense => b"{}".to_vec(),
        };
        Ok(Response::new(OpenPacketResponse {
            optsdata,
            alias: "images".to_owned(),
            request_id: "7".to_owned(),
            ..OpenPacketResponse::default()
        }))
    }

    async fn list_keys(&self, _: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let keys = self.stand_in.keys.clone();
        Ok(Response::new(ListKeysResponse { keys }))
    }

    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        Ok(Response::new(self.stand_in.status.clone()))
    }
}

struct Provider {
    answer: Option<Result<Vec<u8>, Status>>,
    told: mpsc::Sender<(&'static str, Vec<u8>)>,
}

impl Provider {
    async fn answer(
        &self,
        call: &'static str,
        request: Request<ProviderInput>,
    ) -> Result<Response<ProviderOutput>, Status> {
        let _ = self.told.send((call, request.into_inner().key_provider_key_wrap_protocol_input));
        let Some(answer) = self.answer.clone() else { return std::future::pending().await };
        answer.map(|json| Response::new(ProviderOutput { key_provider_key_wrap_protocol_output: json }))
    }
}

#[tonic::async_trait]
impl KeyProviderService for Provider {
    async fn wrap_key(&self, request: Request<ProviderInput>) -> Result<Response<ProviderOutput>, Status> {
        self.answer("WrapKey", request).await
    }

    async fn un_wrap_key(&self, request: Request<ProviderInput>) -> Result<Response<ProviderOutput>, Status> {
        self.answer("UnWrapKey", request).await
    }
}

/// The binary, its socket set and nothing else of the environment's.
pub fn holdfast(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.env("HOLDFAST_SOCKET", socket);
    command
}

/// What a run printed and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn run(socket: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
    ran(holdfast(socket).args(args).output().unwrap())
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `oci:DIR:v1`
pub fn image(directory: &Path) -> String {
    format!("oci:{}:v1", directory.display())
}
