//! ctd-decoder as containerd starts it: the encrypted layer on stdin, its descriptor on file descriptor
//! 3 as a protobuf `Any`, the layer in the clear on stdout.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Peers, Ran, run};
use crate::image;

/// What one layer decodes to, and how the decoder ended.
pub struct Decoded {
    /// All that it wrote, whether it succeeded or not.
    pub plain: Vec<u8>,
    /// The end.
    pub ran: Ran,
}

/// Decodes layer `index` of `layout:v1`, with ctd-decoder's own arguments.
pub fn decode(peers: &Peers, layout: &Path, index: usize, arguments: &[&str]) -> Decoded {
    let layer = &image::manifest(layout)["layers"][index];
    let blob = image::blob(layout, layer["digest"].as_str().expect("a digest"));
    let dir = tempfile::tempdir_in(peers.scratch()).expect("a directory");
    let (payload, plain) = (dir.path().join("payload"), dir.path().join("plain"));
    fs::write(&payload, self::payload(layer)).expect("a file");
    let ran = run(command(peers, [&blob, &payload, &plain], arguments));
    Decoded { plain: fs::read(&plain).unwrap_or_default(), ran }
}

/// A shell in the peers' root makes the descriptors and becomes the decoder.
fn command(peers: &Peers, files: [&Path; 3], arguments: &[&str]) -> Command {
    let mut command = peers.command("sh");
    command.args([
        "-c",
        r#"in=$1 fd3=$2 out=$3; shift 3; exec ctd-decoder "$@" <"$in" 3<"$fd3" >"$out""#,
        "sh",
    ]);
    command.args(files).args(arguments);
    command.env("STREAM_PROCESSOR_MEDIATYPE", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
    command
}

/// `google.protobuf.Any` around imgcrypt's payload, with the decryption configuration that containerd
/// gives: none.
pub fn payload(layer: &serde_json::Value) -> Vec<u8> {
    let payload = serde_json::json!({"DecryptConfig": {"Parameters": null}, "Descriptor": layer});
    let mut message = Vec::new();
    field(&mut message, 1, b"io.containerd.ocicrypt.v1.Payload");
    field(&mut message, 2, payload.to_string().as_bytes());
    message
}

/// A length-delimited field of protobuf.
fn field(message: &mut Vec<u8>, number: u8, content: &[u8]) {
    message.push(number << 3 | 2);
    let mut len = content.len();
    while len >= 0x80 {
        message.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    message.push(len as u8);
    message.extend_from_slice(content);
}
