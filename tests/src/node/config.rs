//! containerd's configuration: as it is shipped, but for where things are and the stream processors.

use std::path::Path;

use super::{Decoder, Programs, Release, SOCKET};
use crate::peers::registry::Registry;

/// Where containerd's own things are: in the space, in memory, gone with it.
const OWN: &str = "/run/node";

/// The kinds of encrypted layers: the end of the media type, and of the processor's name.
const KINDS: [(&str, &str); 3] = [("tar", "tar"), ("tar+gzip", "tar.gzip"), ("tar+zstd", "tar.zstd")];

/// How containerd gets to a registry that has no TLS.
pub(super) fn hosts(registry: &Registry) -> String {
    let server = format!("http://{}", registry.address());
    format!("server = \"{server}\"\n[host.\"{server}\"]\ncapabilities = [\"pull\", \"resolve\"]\n")
}

/// The configuration of a release's containerd.
pub(super) fn containerd(dir: &Path, registry: &Registry, release: Release, programs: &Programs) -> String {
    let socket = dir.join(SOCKET);
    let common = format!(
        "root = \"{OWN}/root\"\nstate = \"{OWN}/state\"\n\
         [grpc]\naddress = \"{socket}\"\n[ttrpc]\naddress = \"{socket}.ttrpc\"\n\
         [plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{OWN}/opt\"\n",
        socket = socket.display()
    );
    let (version, cri) = match release {
        Release::Bookworm | Release::Trixie => (2, cri_1(dir, registry)),
        Release::Forky => (3, cri_2(dir, registry, programs.decoder)),
    };
    format!("version = {version}\n{common}{cri}{}", processors(programs))
}

fn cri_1(dir: &Path, registry: &Registry) -> String {
    format!(
        "[plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = \"{pause}\"\ndisable_tcp_service = true\n\
         restrict_oom_score_adj = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"{OWN}/cni\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"{dir}/certs.d\"\n",
        pause = registry.reference("pause"),
        dir = dir.display(),
    )
}

fn cri_2(dir: &Path, registry: &Registry, decoder: Decoder) -> String {
    format!(
        "[plugins.'io.containerd.cri.v1.images']\n{local}\
         [plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = \"{pause}\"\n\
         [plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = \"{dir}/certs.d\"\n\
         [plugins.'io.containerd.cri.v1.runtime']\nrestrict_oom_score_adj = true\n\
         [plugins.'io.containerd.cri.v1.runtime'.cni]\nconf_dir = \"{OWN}/cni\"\n\
         [plugins.'io.containerd.grpc.v1.cri']\ndisable_tcp_service = true\n",
        local = if decoder == Decoder::Stock { "use_local_image_pull = true\n" } else { "" },
        pause = registry.reference("pause"),
        dir = dir.display(),
    )
}

fn processors(programs: &Programs) -> String {
    let Programs { decoder, path, arguments, env } = programs;
    let each = KINDS.map(|(kind, name)| {
        let accepts = match decoder {
            Decoder::Holdfast => encrypted(kind),
            Decoder::SetUp | Decoder::StockSetUp => return String::new(),
            // A payload comes with these two names only, and which compression it is does not matter to
            // containerd, which looks at the bytes: the one processor does for gzip and zstd.
            Decoder::Stock if kind == "tar+gzip" => format!("{}, {}", encrypted(kind), encrypted("tar+zstd")),
            Decoder::Stock if kind == "tar" => encrypted(kind),
            Decoder::Stock => return String::new(),
        };
        format!(
            "[stream_processors.\"io.containerd.ocicrypt.decoder.v1.{name}\"]\n\
             accepts = [{accepts}]\nreturns = \"application/vnd.oci.image.layer.v1.{kind}\"\n\
             path = \"{path}\"\nargs = {arguments:?}\nenv = [\"{env}\"]\n",
            path = path.display()
        )
    });
    each.concat()
}

fn encrypted(kind: &str) -> String {
    format!("\"application/vnd.oci.image.layer.v1.{kind}+encrypted\"")
}
