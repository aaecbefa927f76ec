//! The command line of `holdfastd`.

#![allow(clippy::print_stdout)] // `check` writes its report to stdout

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfastd::config::{self, Config};
use holdfastd::{check, daemon};
use tracing_subscriber::EnvFilter;

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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => run(&cli.file.config),
        Some(Command::Run { file }) => run(&file.config),
        Some(Command::Check { file, tokens }) => run_check(&file.config, tokens),
    };
    result.unwrap_or_else(|line| {
        // Several faults are several lines; each stands alone.
        line.lines().for_each(|line| eprintln!("holdfastd: {line}"));
        ExitCode::FAILURE
    })
}

fn run(path: &std::path::Path) -> Result<ExitCode, String> {
    holdfastd::harden().map_err(|error| format!("cannot switch core dumps off: {error}"))?;
    let config = Config::load(path).map_err(|error| error.to_string())?;
    log_to_stderr(&config.log);
    let runtime = runtime()?;
    let result = runtime.block_on(daemon::run(path, config));
    // Worker threads may sit in a token's call for ever: they are not waited for.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS).map_err(|error| error.to_string())
}

fn run_check(path: &std::path::Path, tokens: bool) -> Result<ExitCode, String> {
    holdfastd::harden().map_err(|error| format!("cannot switch core dumps off: {error}"))?;
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let report = check::configuration(&config);
    print!("{}", report.text);
    if !tokens {
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = runtime()?;
    let report = runtime.block_on(check::tokens(&config)).map_err(|error| error.to_string())?;
    runtime.shutdown_background();
    print!("{}", report.text);
    Ok(if report.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))
}

fn log_to_stderr(log: &config::Log) {
    // Libraries may log what they receive; they speak only when something is wrong.
    let filter =
        EnvFilter::new(format!("warn,holdfastd={0},holdfast_custody={0},holdfast_pkcs11={0}", log.level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    if log.json { subscriber.json().init() } else { subscriber.init() }
}
