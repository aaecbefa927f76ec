//! A stream processor as containerd starts it: the layer's bytes through a pipe on stdin, the payload on file
//! descriptor 3, and a parent (the test) that has files open.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::images::{TestImage, TestLayout};
use super::{Opens, Server, StandIn};

pub const TYPE: &str = "io.containerd.ocicrypt.v1.Payload";
pub const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+encrypted";

/// An image of one encrypted layer in a store of its own, and a daemon.
pub struct Decoding {
    pub dir: TempDir,
    pub server: Option<Server>,
    pub image: TestImage,
    pub store: TestLayout,
    pub plain: Vec<u8>,
}

/// How a decoder ended.
#[derive(Debug)]
pub struct Decoded {
    pub code: Option<i32>,
    pub plain: Vec<u8>,
    pub err: String,
}

impl Decoding {
    /// A layer of so many bytes.
    pub fn of(len: usize) -> Decoding {
        Decoding::with(len, Opens::Clear)
    }

    pub fn with(len: usize, opens: Opens) -> Decoding {
        let dir = tempdir().unwrap();
        let plain = super::images::tar("layer", len);
        let mut image = TestImage::new();
        image.add(&plain, "");
        image.encrypt(0);
        let store = TestLayout::new(&dir.path().join("store"));
        image.write_blobs(&store);
        let server = Some(StandIn::opens(opens).start(dir.path()));
        Decoding { dir, server, image, store, plain }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("holdfast.sock")
    }

    pub fn layer(&self) -> Value {
        self.image.manifest["layers"][0].clone()
    }

    /// The blob in the store.
    pub fn blob(&self) -> PathBuf {
        self.store.blob(self.layer()["digest"].as_str().unwrap())
    }

    /// The blob, open in this process as containerd has it.
    pub fn open(&self) -> File {
        File::open(self.blob()).unwrap()
    }

    pub fn payload(&self) -> Vec<u8> {
        payload(&self.layer())
    }

    /// `holdfast decode`, with this on file descriptor 3 or with none.
    pub fn command(&self, payload: Option<&[u8]>, args: &[&str]) -> Command {
        // Whoever runs the tests may have left file descriptors open: make does.
        let mut command = Command::new("sh");
        match payload {
            Some(payload) => {
                let file = self.dir.path().join("payload");
                fs::write(&file, payload).unwrap();
                command.args(["-c", r#"p=$1; shift; exec "$@" 3<"$p""#, "sh"]).arg(file);
            }
            None => {
                command.args(["-c", r#"exec "$@" 3<&-"#, "sh"]);
            }
        }
        command.arg(env!("CARGO_BIN_EXE_holdfast")).arg("decode").args(args);
        command.env("HOLDFAST_SOCKET", self.socket()).env("STREAM_PROCESSOR_MEDIATYPE", MEDIA_TYPE);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Gives it this on stdin until it wants no more, and all that it wrote.
    pub fn run(&self, payload: Option<&[u8]>, args: &[&str], stdin: &[u8]) -> Decoded {
        finish(self.command(payload, args).spawn().unwrap(), stdin)
    }

    /// With the good payload and the good bytes.
    pub fn decode(&self, args: &[&str]) -> Decoded {
        self.run(Some(&self.payload()), args, &self.image.blobs[0])
    }
}

impl Decoded {
    /// It failed with one line that ends like this, and wrote nothing.
    pub fn refused(&self, end: &str) {
        self.failed(end);
        assert!(self.plain.is_empty(), "{} bytes were released", self.plain.len());
    }

    /// It failed with one line that ends like this.
    pub fn failed(&self, end: &str) {
        assert_eq!(self.code, Some(1), "{}", self.err);
        assert!(self.err.starts_with("holdfast: ") && self.err.ends_with('\n'), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert!(self.err.trim_end().ends_with(end), "{}", self.err);
    }

    /// It wrote this and said nothing.
    pub fn gave(&self, plain: &[u8]) {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""));
        assert!(self.plain == plain);
    }
}

/// Feeds stdin from another thread, which ends when nobody reads any more.
pub fn feed(child: &mut Child, bytes: &[u8]) -> JoinHandle<()> {
    let (mut stdin, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    std::thread::spawn(move || {
        let _ = stdin.write_all(&bytes);
    })
}

pub fn finish(mut child: Child, stdin: &[u8]) -> Decoded {
    let feeder = feed(&mut child, stdin);
    finish_fed(child, feeder)
}

pub fn finish_fed(mut child: Child, feeder: JoinHandle<()>) -> Decoded {
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut err = String::new();
        stderr.read_to_string(&mut err).unwrap();
        err
    });
    let mut plain = Vec::new();
    // Not to the end: what keeps it open after a failure waits for this process to be waited for.
    let reader = std::thread::spawn(move || {
        stdout.read_to_end(&mut plain).unwrap();
        plain
    });
    let code = child.wait().unwrap().code();
    feeder.join().unwrap();
    Decoded { code, plain: reader.join().unwrap(), err: errors.join().unwrap() }
}

/// What containerd writes to file descriptor 3.
pub fn payload(layer: &Value) -> Vec<u8> {
    let json = json!({"DecryptConfig": {"Parameters": null}, "Descriptor": layer});
    any(TYPE, json.to_string().as_bytes())
}

/// A protobuf `Any`.
pub fn any(kind: &str, value: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, content) in [(1u8, kind.as_bytes()), (2, value)] {
        message.push(number << 3 | 2);
        let mut len = content.len();
        while len >= 0x80 {
            message.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        message.push(len as u8);
        message.extend_from_slice(content);
    }
    message
}

/// A directory's files by name.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
