//! The command line of `holdfastd`.

use std::alloc::System;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use holdfast_custody::{Binding, KeyKind, Made, PcrSelection};
use holdfast_wire::KeyUri;
use holdfastd::config::{self, Config};
use holdfastd::daemon::Stopped;
use holdfastd::{check, daemon, key};
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

/// Wipes every block as it is freed. What holds a layer's key is not only ours: gRPC's buffers hold it on
/// its way in and out, with the private keys that ocicrypt sends along, and free it as if it were anything.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

/// Key provider for encrypted container images; its keys stay in hardware.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    file: File,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Parser)]
struct File {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until told to stop (the default).
    Run {
        #[command(flatten)]
        file: File,
    },
    /// Say what is wrong with the configuration; exit with 1 if anything is.
    Check {
        #[command(flatten)]
        file: File,
        /// Also log in to every token, once, and describe every key.
        #[arg(long)]
        tokens: bool,
    },
    /// Give a token a new key.
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key inside a configured token, that never leaves it.
    ///
    /// Prints what the token says of it, the lines for the configuration, and its public half. A label or
    /// an id that is there already is refused.
    Create {
        #[command(flatten)]
        new: New,
        /// What key: rsa-2048, rsa-3072, rsa-4096, ecc-p256, ecc-p384, ecc-p521 or aes-256.
        #[arg(long, value_name = "KIND")]
        algorithm: KeyKind,
        /// Of a key in a TPM: bind it to the values that these PCRs have now, as in sha256:7+11. The TPM
        /// uses it only while they have them, so a change of firmware or kernel may lock it for good.
        #[arg(long, value_name = "BANK:PCRS")]
        pcrs: Option<PcrSelection>,
        /// Of a key in a TPM: bind it to PCR values that the holder of this key signs (holdfastd pcr sign), now or
        /// later, so that an update needs a signature and no new key. A public key in PEM: RSA, P-256 or P-384.
        #[arg(long, value_name = "FILE", conflicts_with = "pcrs")]
        policy_key: Option<PathBuf>,
        /// Of a key in a TPM: give it this persistent handle as well, as in 0x81010002.
        #[arg(long, value_name = "HANDLE")]
        persist: Option<String>,
    },
    /// Bring a private key from a file into a configured token, from where it cannot leave again.
    ///
    /// The token states for ever that the key was imported, because copies of it may be elsewhere. Where
    /// you can, make a new key instead and encrypt the images anew.
    Import {
        #[command(flatten)]
        new: New,
        /// An RSA or EC key in PEM, not encrypted: PKCS#8, PKCS#1 or SEC 1.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

#[derive(Args)]
struct New {
    /// The token and the new key's label, as in pkcs11:token=prod;object=images-2026; an id is chosen
    /// where none is given. In a TPM the new key's file, as in tpm:file=/etc/holdfast/images.tss.
    // Parsed by us: clap would quote one that it does not like, and somebody may have put a PIN into it.
    uri: String,
    /// Write the public half (PEM) to this new file and not to the terminal.
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    #[command(flatten)]
    file: File,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => run(&cli.file.config),
        Some(Command::Run { file }) => run(&file.config),
        Some(Command::Check { file, tokens }) => run_check(&file.config, tokens),
        Some(Command::Key(KeyCommand::Create { mut new, algorithm, pcrs, policy_key, persist })) => {
            // The handle is a part of where the key is.
            new.uri.extend(persist.map(|handle| format!(";handle={handle}")));
            let to = match (pcrs, policy_key) {
                (Some(pcrs), _) => Ok(Some(Binding::Current(pcrs))),
                (None, file) => file.map(|file| key::policy_key(&file).map(Binding::Signed)).transpose(),
            };
            to.and_then(|to| make_key(&new, |config, uri| key::create(config, uri, algorithm, to.as_ref())))
                .and_then(|made| tell(&new, &made))
        }
        Some(Command::Key(KeyCommand::Import { new, from })) => {
            make_key(&new, |config, uri| key::import(config, uri, &from)).and_then(|made| {
                let told = tell(&new, &made);
                complain(&format!(
                    "{} still holds the key in the clear: destroy it and every copy of it, backups included",
                    from.display()
                ));
                told
            })
        }
    };
    result.unwrap_or_else(|line| {
        // Several faults are several lines; each stands alone.
        line.lines().for_each(complain);
        ExitCode::FAILURE
    })
}

fn run(path: &Path) -> Result<ExitCode, String> {
    holdfastd::harden().map_err(|error| format!("cannot switch core dumps off: {error}"))?;
    let config = Config::load(path).map_err(|error| error.to_string())?;
    // Libraries may log what they receive; they speak only when something is wrong.
    let level = &config.log.level;
    log_to_stderr(
        &config.log,
        &format!("warn,holdfastd={level},holdfast_custody={level},holdfast_pkcs11={level}"),
    );
    let runtime = runtime()?;
    let result = runtime.block_on(daemon::run(path, config));
    runtime.shutdown_background();
    match result {
        Ok(Stopped::Whole) => Ok(ExitCode::SUCCESS),
        // The kernel ends that call; the library's exit handlers might wait for it.
        Ok(Stopped::WithCallsThatHang) => signal_hook::low_level::exit(0),
        Err(error) => Err(error.to_string()),
    }
}

fn run_check(path: &Path, tokens: bool) -> Result<ExitCode, String> {
    holdfastd::harden().map_err(|error| format!("cannot switch core dumps off: {error}"))?;
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let report = check::configuration(&config);
    say(&report.text)?;
    if !tokens {
        return Ok(ExitCode::SUCCESS);
    }
    // A module that ends the process while it is loaded leaves no report, but a line that names it.
    log_to_stderr(&config.log, "warn,holdfast_pkcs11::module=info");
    let runtime = runtime()?;
    let report = runtime.block_on(check::tokens(&config)).map_err(|error| error.to_string())?;
    runtime.shutdown_background();
    say(&report.text)?;
    if report.stopped == Stopped::WithCallsThatHang {
        let _ = std::io::stdout().flush();
        signal_hook::low_level::exit(1);
    }
    Ok(if report.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn make_key(new: &New, make: impl FnOnce(&Config, &KeyUri) -> Result<Made, String>) -> Result<Made, String> {
    holdfastd::harden().map_err(|error| format!("cannot switch core dumps off: {error}"))?;
    let uri = new.uri.parse().map_err(|error| format!("the URI of the new key: {error}"))?;
    let config = Config::load(&new.file.config).map_err(|error| error.to_string())?;
    log_to_stderr(&config::Log { json: false, level: "warn".into() }, "warn");
    make(&config, &uri)
}

/// The key is on its token now, whatever cannot be written here: what was chosen for it, such as its id,
/// stands nowhere else, so the report comes first.
fn tell(new: &New, made: &Made) -> Result<ExitCode, String> {
    let mut report = key::report(made)?;
    let pem = key::public_pem(made)?;
    if let (Some(pem), None) = (&pem, &new.public) {
        report.push_str(&format!("\n{pem}"));
    }
    say(&report).map_err(|error| format!("{error}; the key was made"))?;
    if let (Some(pem), Some(file)) = (&pem, &new.public) {
        write_public(file, pem)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// On stderr. Where nobody reads that, the exit code speaks.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "holdfastd: {line}");
}

/// On stdout; a pipe whose reader has left is an error like any other.
fn say(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to stdout: {error}"))
}

/// A file that is there may be anything, the private key too: it is never written over.
fn write_public(file: &Path, pem: &str) -> Result<(), String> {
    let written = std::fs::File::create_new(file).and_then(|mut new| new.write_all(pem.as_bytes()));
    written.map_err(|error| {
        format!(
            "{}: {error}; the key was made: holdfast key export gives its public half once it is configured",
            file.display()
        )
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))
}

fn log_to_stderr(log: &config::Log, filter: &str) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    if log.json { subscriber.json().init() } else { subscriber.init() }
}
