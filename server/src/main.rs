//! `holdfastd`: does what its command line says.

mod cli;

use std::alloc::System;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use cli::{Cli, Command, KeyCommand, New};
use holdfast_custody::{Binding, Made};
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

fn main() -> ExitCode {
    holdfastd::silence_tpm2_tss();
    let cli = Cli::parse();
    let result = match cli.command {
        None => run(&cli.file.config),
        Some(Command::Run { file }) => run(&file.config),
        Some(Command::Check { file, tokens }) => run_check(&file.config, tokens),
        Some(Command::Key(KeyCommand::Create { mut new, algorithm, pcrs, policy_key, persist })) => {
            // The handle is a part of where the key is.
            new.uri.extend(persist.map(|handle| format!(";handle={handle}")));
            bound(pcrs.map(Binding::Current), policy_key.as_deref())
                .and_then(|to| make_key(&new, |config, uri| key::create(config, uri, algorithm, to.as_ref())))
                .and_then(|made| tell(&new, &made))
        }
        Some(Command::Key(KeyCommand::Import { new, from })) => {
            make_key(&new, |config, uri| key::import(config, uri, &from)).and_then(|imported| {
                let told = tell(&new, &imported.made);
                complain(&imported.warning);
                told
            })
        }
        #[cfg(feature = "tpm")]
        Some(Command::Key(KeyCommand::Seal(seal))) => run_seal(&seal),
        #[cfg(feature = "tpm")]
        Some(Command::Key(KeyCommand::StorageKey(storage_key))) => run_storage_key(&storage_key),
        #[cfg(feature = "tpm")]
        Some(Command::Pcr(command)) => run_pcr(&command),
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
        &format!(
            "warn,holdfastd={level},holdfast_custody={level},holdfast_pkcs11={level},holdfast_kmip={level}"
        ),
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

fn make_key<T>(new: &New, make: impl FnOnce(&Config, &KeyUri) -> Result<T, String>) -> Result<T, String> {
    holdfastd::harden().map_err(|error| format!("cannot switch core dumps off: {error}"))?;
    let uri = new.uri.parse().map_err(|error| format!("the URI of the new key: {error}"))?;
    let config = Config::load(&new.file.config).map_err(|error| error.to_string())?;
    log_warnings();
    make(&config, &uri)
}

/// To PCR values, or to those that the holder of a key signs, or to nothing.
fn bound(to_values: Option<Binding>, policy_key: Option<&Path>) -> Result<Option<Binding>, String> {
    match policy_key {
        None => Ok(to_values),
        Some(file) => key::policy_key(file).map(|key| Some(Binding::Signed(key))),
    }
}

#[cfg(feature = "tpm")]
fn run_seal(seal: &cli::Seal) -> Result<ExitCode, String> {
    holdfastd::harden().map_err(|error| format!("cannot switch core dumps off: {error}"))?;
    log_warnings();
    let bound = bound(seal.pcrs.clone().map(Binding::Exact), seal.policy_key.as_deref())?;
    let cli::Seal { key, to, names, output: dir, .. } = seal;
    let report = key::seal::seal(&key::seal::Request { key, to, names, dir, bound: bound.as_ref() })?;
    say(&report).map_err(|error| format!("{error}; the key was sealed"))?;
    complain(&key::in_the_clear(key));
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "tpm")]
fn run_storage_key(asked: &cli::StorageKey) -> Result<ExitCode, String> {
    let uri = asked.uri.parse().map_err(|error| format!("the URI of the TPM: {error}"))?;
    let config = Config::load(&asked.file.config).map_err(|error| error.to_string())?;
    let storage_key = key::storage_key::read(&config, &uri)?;
    if let Some(file) = &asked.output {
        key::storage_key::write(&storage_key, file)?;
    }
    say(&key::storage_key::report(&config, &uri, &storage_key, asked.output.as_deref()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "tpm")]
fn run_pcr(command: &holdfastd::pcr::Command) -> Result<ExitCode, String> {
    holdfastd::harden().map_err(|error| format!("cannot switch core dumps off: {error}"))?;
    log_warnings();
    let report = holdfastd::pcr::run(command)?;
    say(&report.text)?;
    Ok(if report.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

/// For verbs that have no configuration, or none yet.
fn log_warnings() {
    log_to_stderr(&config::Log { json: false, level: "warn".into() }, "warn");
}

fn log_to_stderr(log: &config::Log, filter: &str) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    if log.json { subscriber.json().init() } else { subscriber.init() }
}
