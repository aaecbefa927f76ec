//! A PKCS#11 module that stands before a real one and misbehaves as it is told: `faulty-module`, whose
//! README describes the file that tells it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::Error;

/// What the compiler calls it.
const FILE: &str = "libhsm_sim_faulty_module.so";

/// A copy of the library, with its real module behind it. It behaves until something is ordered.
#[derive(Debug)]
pub struct FaultyModule {
    path: PathBuf,
    real: PathBuf,
    /// How many texts were written: one that is ordered twice is carried out twice.
    written: Mutex<u64>,
}

/// Something to happen at calls of one function.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    function: &'static str,
    fault: Fault,
    times: Option<u32>,
}

/// What happens instead of the real call, or before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Does not return before other orders are given.
    Hangs,
    /// Returns this code at once: "CKR_DEVICE_ERROR", or a vendor's own: "0x80000001".
    Returns(&'static str),
    /// Ends the process.
    Aborts,
    /// Logs the process out of its tokens first.
    LogsOut,
    /// Closes every session first.
    ClosesSessions,
    /// Finalizes the real module first.
    Finalizes,
}

impl Order {
    /// At every call of `function`: "C_Decrypt"; "*" for all that ask a token something; "load" and
    /// "unload" for the library's own.
    pub fn at(function: &'static str, fault: Fault) -> Order {
        Order { function, fault, times: None }
    }

    /// At the first calls only.
    pub fn times(self, times: u32) -> Order {
        Order { times: Some(times), ..self }
    }

    fn line(self) -> String {
        let deed = match self.fault {
            Fault::Hangs => "hang".to_owned(),
            Fault::Returns(code) => format!("return {code}"),
            Fault::Aborts => "abort".to_owned(),
            Fault::LogsOut => "log-out".to_owned(),
            Fault::ClosesSessions => "close-sessions".to_owned(),
            Fault::Finalizes => "finalize".to_owned(),
        };
        let times = self.times.map_or_else(String::new, |times| format!(" times {times}"));
        format!("{} {deed}{times}\n", self.function)
    }
}

impl FaultyModule {
    /// Copies the library into `dir`, before the module `real`. It is built with every test that depends on
    /// the crate hsm-sim-faulty-module, and lies beside it.
    pub fn install(dir: &Path, real: &Path) -> Result<FaultyModule, Error> {
        let built = built()?;
        let path = dir.join(FILE);
        fs::copy(&built, &path).map_err(Error::io("copying", &built))?;
        let module = FaultyModule { path, real: real.to_owned(), written: Mutex::new(0) };
        module.behave()?;
        Ok(module)
    }

    /// What to configure as the module.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on, this and nothing else. The first order that fits a call counts.
    pub fn order(&self, orders: &[Order]) -> Result<(), Error> {
        self.write(&orders.iter().map(|order| order.line()).collect::<String>())
    }

    /// From now on, nothing but what the real module does.
    pub fn behave(&self) -> Result<(), Error> {
        self.write("")
    }

    /// Pulls every token out, until the next order.
    pub fn remove_tokens(&self) -> Result<(), Error> {
        self.write("token removed\n")
    }

    /// Adds `by` to the number of every slot, until the next order.
    pub fn move_slots(&self, by: u32) -> Result<(), Error> {
        self.write(&format!("slots {by}\n"))
    }

    /// How often a function was called so far, calls that still hang included.
    pub fn calls(&self, function: &str) -> Result<usize, Error> {
        let path = self.beside("calls");
        match fs::read_to_string(&path) {
            Ok(calls) => Ok(calls.lines().filter(|line| *line == function).count()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io("reading", &path)(error)),
        }
    }

    /// In one piece: the module reads it at any moment.
    fn write(&self, orders: &str) -> Result<(), Error> {
        let mut written = self.written.lock().unwrap_or_else(|broken| broken.into_inner());
        *written += 1;
        let text = format!("# {}\nmodule {}\n{orders}", *written, self.real.display());
        let fresh = self.beside("control.new");
        fs::write(&fresh, text).map_err(Error::io("writing", &fresh))?;
        let path = self.beside("control");
        fs::rename(&fresh, &path).map_err(Error::io("writing", &path))
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(extension);
        path.into()
    }
}

/// Where cargo put it: a test lies in `target/PROFILE/deps` beside it, a binary one directory above.
fn built() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(Error::io("finding", Path::new("this program")))?;
    let dirs = own.ancestors().skip(1).take(2).flat_map(|dir| [dir.to_owned(), dir.join("deps")]);
    let mut files = dirs.map(|dir| dir.join(FILE));
    files.find(|file| file.is_file()).ok_or_else(|| {
        Error::Unexpected(format!(
            "{FILE} is not beside {}: add hsm-sim-faulty-module to the crate's [dev-dependencies]",
            own.display()
        ))
    })
}
