//! A machine that pulls and runs images, as far as Kubernetes' kubelet sees one: a containerd of a Debian
//! release, with its CRI plugin, runc, and a decoder for encrypted layers.
//!
//! It lives in a `space` of its own, which takes everything along when it ends: processes, mounts
//! and files of containerd's. What it has in common with the test is the house's scratch directory, at the
//! same path, and the machine's network.

pub mod cri;

mod config;
pub(crate) mod space;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use hsm_sim::Process;
use tonic::transport::Channel;

use crate::house::{House, PATIENCE, file};
use crate::peers::registry::Registry;
use crate::peers::{Ran, debian_file, run};
use crate::{must, rpc};
use space::Space;

/// A generation of containerd, by the Debian release that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian 12: containerd 1.6.
    Bookworm,
    /// Debian 13: containerd 1.7.
    Trixie,
    /// Debian's next: containerd 2.1.
    Forky,
}

impl Release {
    fn name(self) -> &'static str {
        match self {
            Release::Bookworm => "bookworm",
            Release::Trixie => "trixie",
            Release::Forky => "forky",
        }
    }

    /// How its containerd's version begins.
    pub fn containerd(self) -> &'static str {
        match self {
            Release::Bookworm => "1.6.",
            Release::Trixie => "1.7.",
            Release::Forky => "2.1.",
        }
    }
}

/// What containerd starts for an encrypted layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    /// Debian 13's ctd-decoder, which asks the key provider. It needs a payload, which containerd 2 gives
    /// only with `use_local_image_pull`.
    Stock,
    /// The same, as `holdfast setup containerd --stock` enters it.
    StockSetUp,
    /// `holdfast decode`, with containerd as it is shipped.
    Holdfast,
    /// The same, as `holdfast setup containerd` enters it.
    SetUp,
}

impl Decoder {
    /// The options of `holdfast setup containerd` that enter it; none where the test's configuration has it.
    fn set_up(self) -> Option<&'static [&'static str]> {
        match self {
            Decoder::Stock | Decoder::Holdfast => None,
            Decoder::StockSetUp => Some(&["--stock", "--program"]),
            Decoder::SetUp => Some(&["--program"]),
        }
    }
}

/// A running node; ended when dropped, with all that runs on it.
pub struct Node {
    channel: Channel,
    pod: tokio::sync::OnceCell<(String, cri::PodSandboxConfig)>,
    dir: PathBuf,
    config: PathBuf,
    // In this order: what containerd started keeps its output open, and ends with the space.
    space: Space,
    containerd: Process,
}

impl Node {
    /// Starts one whose containerd decodes with the daemon of `house`, and pulls from `registry`.
    /// `arguments` are for the decoder.
    pub async fn start(
        house: &House,
        registry: &Registry,
        release: Release,
        decoder: Decoder,
        arguments: &[&str],
    ) -> Node {
        let scratch = house.dir.path();
        let dir = scratch.join(format!("node-{}", release.name()));
        std::fs::create_dir(&dir).expect("a directory");
        let hosts = dir.join("certs.d").join(registry.address());
        std::fs::create_dir_all(&hosts).expect("a directory");
        file(&hosts, "hosts.toml", config::hosts(registry));
        let programs = Programs::install(&dir, house, decoder, arguments);
        let config = file(&dir, "config.toml", config::containerd(&dir, registry, release, &programs));
        let space = Space::open(release.name(), scratch);
        if let Some(options) = decoder.set_up() {
            let setup = copied(&crate::binary("holdfast"), &dir.join("setup"));
            space.make_etc_its_own();
            let mut holdfast = space.command(&setup.to_string_lossy());
            holdfast.arg("--socket").arg(house.socket()).args(["setup", "containerd", "--write"]);
            must(holdfast.args(options).arg(&programs.path).arg("--config").arg(&config));
        }
        let (containerd, channel) = start_containerd(&space, &dir, &config).await;
        Node { channel, pod: tokio::sync::OnceCell::new(), dir, config, containerd, space }
    }

    /// Its containerd is killed, with whatever decodes for it, and another one is started on what it left.
    pub async fn crash(&mut self) {
        self.containerd.kill().expect("an end");
        let (containerd, channel) = start_containerd(&self.space, &self.dir, &self.config).await;
        self.containerd = containerd;
        self.channel = channel;
    }

    /// Runs `ctr`, containerd's own tool, on the node.
    pub fn ctr(&self, arguments: &[&str]) -> Ran {
        let mut command = self.space.command("ctr");
        command.arg("--address").arg(self.dir.join(SOCKET)).args(arguments);
        run(command)
    }

    /// What containerd complained of so far.
    pub fn log(&self) -> String {
        let log = self.containerd.stderr_text();
        let complaints =
            log.lines().filter(|line| !line.contains("level=info") && !line.contains("level=debug"));
        complaints.collect::<Vec<_>>().join("\n")
    }

    /// Its namespace of processes, as the links in `/proc/PID/ns` name it.
    pub fn processes(&self) -> PathBuf {
        self.space.processes()
    }

    /// The control group that everything which runs on it is in.
    pub fn cgroup(&self) -> &str {
        self.space.cgroup()
    }
}

/// The decoders of a node, where containerd finds them.
struct Programs {
    decoder: Decoder,
    path: PathBuf,
    arguments: Vec<String>,
    /// A variable of the decoder's environment, with its value.
    env: String,
}

impl Programs {
    fn install(dir: &Path, house: &House, decoder: Decoder, arguments: &[&str]) -> Programs {
        let mut all = arguments.to_vec();
        let (program, env) = match decoder {
            Decoder::StockSetUp => (debian_file("usr/bin/ctd-decoder"), String::new()),
            Decoder::Stock => {
                let config = dir.join("ocicrypt.conf");
                must(house.holdfast().args(["setup", "ocicrypt", "--file"]).arg(&config));
                let env = format!("OCICRYPT_KEYPROVIDER_CONFIG={}", config.display());
                (debian_file("usr/bin/ctd-decoder"), env)
            }
            Decoder::Holdfast | Decoder::SetUp => {
                all.push("decode");
                (crate::binary("holdfast"), format!("HOLDFAST_SOCKET={}", house.socket().display()))
            }
        };
        let path = copied(&program, &dir.join(program.file_name().expect("a name")));
        Programs { decoder, path, env, arguments: all.into_iter().map(str::to_owned).collect() }
    }
}

/// By another process: what one of ours that forks meanwhile holds open for writing cannot be run.
fn copied(program: &Path, path: &Path) -> PathBuf {
    must(Command::new("cp").arg(program).arg(path));
    path.to_owned()
}

const SOCKET: &str = "containerd.sock";

async fn start_containerd(space: &Space, dir: &Path, config: &Path) -> (Process, Channel) {
    let socket = dir.join(SOCKET);
    // One that was killed leaves it.
    let _ = std::fs::remove_file(&socket);
    let mut command = space.command("containerd");
    command.arg("--config").arg(config);
    let process = Process::spawn(command, "containerd").expect("containerd");
    let process = process.ready_when(PATIENCE, |_| UnixStream::connect(&socket).is_ok()).expect("its socket");
    let channel = rpc::connect(&socket).await;
    cri::answers(&channel, &process).await;
    (process, channel)
}
