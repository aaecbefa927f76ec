//! A containerd of its own: content store, metadata and socket in the scratch directory, no CRI, nothing
//! of the machine's. It is there for ctr-imgcrypt, which works on images in a containerd's store.

use std::path::{Path, PathBuf};
use std::process::Command;

use hsm_sim::Process;

use super::{Peers, run, succeeds};
use crate::house::{PATIENCE, file};
use crate::{image, must};

/// A running containerd; ended when dropped.
pub struct Containerd<'a> {
    peers: &'a Peers,
    socket: PathBuf,
    _process: Process,
}

impl<'a> Containerd<'a> {
    /// Starts one and waits until it answers.
    pub fn start(peers: &'a Peers) -> Containerd<'a> {
        let dir = peers.scratch().join("containerd");
        std::fs::create_dir(&dir).expect("a directory");
        let socket = dir.join("containerd.sock");
        let config = file(
            &dir,
            "config.toml",
            format!(
                "version = 2\nroot = \"{dir}/root\"\nstate = \"{dir}/state\"\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.nri.v1.nri\"]\n\
                 [grpc]\naddress = \"{socket}\"\n[ttrpc]\naddress = \"{socket}.ttrpc\"\n\
                 [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{dir}/opt\"\n",
                dir = dir.display(),
                socket = socket.display()
            ),
        );
        let mut command = peers.command("containerd");
        command.arg("--config").arg(config);
        let process = Process::spawn(command, "containerd").expect("containerd");
        let answers = |socket: &Path| run(ctr(peers, socket, &["version"])).success;
        let process =
            process.ready_when(PATIENCE, |_| socket.exists() && answers(&socket)).expect("containerd");
        Containerd { peers, socket, _process: process }
    }

    /// ctr-imgcrypt as its client.
    pub fn ctr(&self, arguments: &[&str]) -> Command {
        ctr(self.peers, &self.socket, arguments)
    }

    /// Takes the image `v1` of an OCI layout in, as `name:v1`, without unpacking it.
    pub fn import(&self, layout: &Path, name: &str) {
        let archive = self.peers.scratch().join(format!("{name}-in.tar"));
        let mut tar = hsm_sim::command("tar", "tar").expect("tar");
        must(tar.arg("-C").arg(layout).arg("-cf").arg(&archive).args(["oci-layout", "index.json", "blobs"]));
        let archive = archive.to_str().expect("UTF-8");
        succeeds(self.ctr(&[
            "images",
            "import",
            "--no-unpack",
            "--skip-decrypt-auth",
            "--base-name",
            name,
            archive,
        ]));
    }

    /// Writes the image `name:v1` out as `v1` of an OCI layout and gives its directory.
    pub fn export(&self, name: &str) -> PathBuf {
        let archive = self.peers.scratch().join(format!("{name}-out.tar"));
        let path = archive.to_str().expect("UTF-8");
        succeeds(self.ctr(&["images", "export", "--skip-manifest-json", path, &format!("{name}:v1")]));
        let layout = self.peers.scratch().join(format!("{name}-out"));
        std::fs::create_dir(&layout).expect("a directory");
        let mut tar = hsm_sim::command("tar", "tar").expect("tar");
        must(tar.arg("-C").arg(&layout).arg("-xf").arg(&archive));
        image::tag(&layout);
        layout
    }
}

fn ctr(peers: &Peers, socket: &Path, arguments: &[&str]) -> Command {
    let mut command = peers.command("ctr-imgcrypt");
    command.arg("--address").arg(socket).args(arguments);
    command
}
