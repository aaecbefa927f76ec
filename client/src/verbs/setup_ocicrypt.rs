//! The daemon as a provider in ocicrypt's configuration file.
//!
//! The file belongs to the machine's operator: other providers stay as they are, and an entry of our
//! name that is not exactly as it is written here is somebody's decision and needs --force.

mod config;

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use holdfast_image::printable;
use serde_json::{Value, json};

use self::config::{Change, Config};
use crate::cli::{Common, SetupOcicrypt};
use crate::failure::Failure;
use crate::file::write_whole;
use crate::output;

/// Longest configuration file that is read, in bytes.
const MAX_FILE_LEN: u64 = 1024 * 1024;

pub(crate) fn run(common: &Common, wanted: &SetupOcicrypt) -> Result<(), Failure> {
    let socket = socket(&common.socket)?;
    let called = json!({ "grpc": format!("unix://{socket}") });
    let started = json!({ "cmd": { "path": this_program()?, "args": ["bridge", "--socket", socket] } });
    let entry = if wanted.bridge { &started } else { &called };

    let Some(file) = &wanted.file else {
        let mut config = Config::default();
        config.set(&wanted.name, entry.clone());
        output::print(&config.text())?;
        note("write it with --file PATH; programs read the file that OCICRYPT_KEYPROVIDER_CONFIG names");
        return Ok(());
    };
    // A link stays one.
    let file = file.canonicalize().unwrap_or_else(|_| file.clone());
    let mut config = Config::parse(&read(&file)?).map_err(|what| told(&file, &what))?;
    let known = [&called, &started];
    if !wanted.force && config.get(&wanted.name).is_some_and(|there| !known.contains(&there)) {
        return Err(told(
            &file,
            &format!(
                "it has a provider {} that this command would write otherwise; choose another --name, or --force",
                wanted.name
            ),
        ));
    }
    let change =
        if wanted.remove { config.remove(&wanted.name) } else { config.set(&wanted.name, entry.clone()) };
    if change == Change::Made {
        write(&file, &config)
            .map_err(|error| told(&file, &format!("cannot be written: {error}; run as one who may")))?;
    }
    tell(common, wanted, &file, entry, change)
}

fn tell(
    common: &Common,
    wanted: &SetupOcicrypt,
    file: &Path,
    entry: &Value,
    change: Change,
) -> Result<(), Failure> {
    let (at, name) = (printable(&file.to_string_lossy()), &wanted.name);
    if common.json {
        let entry = if wanted.remove { &Value::Null } else { entry };
        output::print_json(&json!({
            "file": file.to_string_lossy(),
            "provider": name,
            "entry": entry,
            "changed": change == Change::Made,
        }))?;
        return Ok(());
    }
    let line = match (wanted.remove, change) {
        (true, Change::Made) => format!("{at}: provider {name} was taken out\n"),
        (true, Change::None) => format!("{at}: there is no provider {name}; nothing was changed\n"),
        (false, Change::None) => format!("{at}: provider {name} is there already; nothing was changed\n"),
        (false, Change::Made) => format!("{at}: provider {name} was written\n"),
    };
    output::print(&line)?;
    if !wanted.remove {
        output::print(&format!(
            "programs read it with OCICRYPT_KEYPROVIDER_CONFIG={at} in their environment:\n  skopeo copy --encryption-key provider:{name}:ALIAS …\n"
        ))?;
    }
    Ok(())
}

/// The socket's absolute path, in characters that stand for themselves in a gRPC target.
fn socket(path: &Path) -> Result<String, Failure> {
    let plain = |path: &str| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@~".contains(&b));
    let absolute = std::path::absolute(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    absolute.filter(|path| plain(path)).ok_or_else(|| {
        Failure::line(
            "the socket's path cannot stand in ocicrypt's configuration; name one of ASCII letters, digits and /._-+@~ with --socket",
        )
    })
}

/// This very program, wherever it is installed: ocicrypt's users do not all have the same PATH.
fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::line(format!("cannot tell where this program lies: {error}; mount /proc")))
}

/// The file's text; none where there is no file.
fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read =
        std::fs::File::open(file).and_then(|open| open.take(MAX_FILE_LEN + 1).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(told(file, &format!("cannot be read: {error}; name another with --file"))),
        Ok(len) if len as u64 > MAX_FILE_LEN => Err(told(
            file,
            "has more than 1 MiB and is no configuration of ocicrypt; name another with --file",
        )),
        Ok(_) => Ok(text),
    }
}

/// A file in which nothing is left goes; a directory that is missing is made.
fn write(file: &Path, config: &Config) -> io::Result<()> {
    if config.is_empty() {
        return std::fs::remove_file(file);
    }
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    write_whole(file, config.text().as_bytes())
}

fn told(file: &Path, what: &str) -> Failure {
    Failure::line(format!("{}: {what}", file.display()))
}

fn note(text: &str) {
    // Not a failure, and nowhere is left to tell that stderr cannot be written.
    let _ = writeln!(io::stderr(), "holdfast: note: {text}");
}
