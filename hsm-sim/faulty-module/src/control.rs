//! The file that says what to do: one order a line, read anew at every call.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cryptoki_sys as ck;

/// What the file says now.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The module behind this one.
    pub(crate) module: PathBuf,
    /// Added to the numbers of all slots.
    pub(crate) slots: ck::CK_SLOT_ID,
    /// Whether no slot holds a token.
    pub(crate) removed: bool,
    /// In the file's order; the first that fits a call counts.
    pub(crate) orders: Vec<Order>,
    /// The whole text: when it changes, what was done `times` N is done N times more.
    pub(crate) text: String,
}

/// What shall happen when a function is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// `C_Decrypt`; `*`: any that asks the token something; `load`, `unload`: of this library.
    pub(crate) function: String,
    pub(crate) deed: Deed,
    /// How often; always, if it is not said.
    pub(crate) times: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Does not return before the order is gone from the file.
    Hang,
    /// Returns this code instead of asking the real module.
    Return(ck::CK_RV),
    /// Ends the process.
    Abort,
    /// Logs out of every token first, as another part of the process might have.
    LogOut,
    /// Closes all sessions first.
    CloseSessions,
    /// Finalizes the real module first.
    Finalize,
}

impl Control {
    /// Without a file there are no orders: its directory may be gone before the process is.
    pub(crate) fn read() -> Control {
        let path = beside("control");
        let parsed = match fs::read_to_string(&path) {
            Ok(text) => parse(&text),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Control::default()),
            Err(error) => Err(error.to_string()),
        };
        parsed.unwrap_or_else(|error| end(&format!("{}: {error}", path.display())))
    }
}

/// The file that goes with this library: its own path, and an extension after it.
pub(crate) fn beside(extension: &str) -> PathBuf {
    static OWN: OnceLock<PathBuf> = OnceLock::new();
    let own =
        OWN.get_or_init(|| own_path().unwrap_or_else(|| end("this library does not find its own file")));
    let mut path = own.clone().into_os_string();
    path.push(".");
    path.push(extension);
    path.into()
}

pub(crate) fn end(why: &str) -> ! {
    eprintln!("hsm-sim-faulty-module: {why}");
    std::process::abort()
}

/// By the map of the process's memory, which names the file that each piece of code came from.
fn own_path() -> Option<PathBuf> {
    let here = own_path as fn() -> Option<PathBuf> as usize;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let file = maps.lines().find_map(|line| {
        let (from, rest) = line.split_once('-')?;
        let (to, rest) = rest.split_once(' ')?;
        let piece = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
        if piece.contains(&here) { rest.find('/').map(|at| &rest[at..]) } else { None }
    })?;
    Some(Path::new(file).to_owned())
}

fn parse(text: &str) -> Result<Control, String> {
    let mut control = Control { text: text.to_owned(), ..Control::default() };
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // A path may have blanks in it.
        if let Some(path) = line.strip_prefix("module ") {
            control.module = path.into();
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["slots", by] => control.slots = by.parse().map_err(|_| format!("{by:?} is no number"))?,
            ["token", "removed"] => control.removed = true,
            [function, rest @ ..] => {
                control.orders.push(order(function, rest).ok_or_else(|| {
                    format!("{line:?} is no order: see the README of hsm-sim/faulty-module")
                })?)
            }
            [] => {}
        }
    }
    Ok(control)
}

fn order(function: &str, words: &[&str]) -> Option<Order> {
    let (deed, rest) = match words {
        ["hang", rest @ ..] => (Deed::Hang, rest),
        ["abort", rest @ ..] => (Deed::Abort, rest),
        ["log-out", rest @ ..] => (Deed::LogOut, rest),
        ["close-sessions", rest @ ..] => (Deed::CloseSessions, rest),
        ["finalize", rest @ ..] => (Deed::Finalize, rest),
        ["return", name, rest @ ..] => (Deed::Return(code(name)?), rest),
        _ => return None,
    };
    let times = match rest {
        [] => None,
        ["times", times] => Some(times.parse().ok()?),
        _ => return None,
    };
    Some(Order { function: function.to_owned(), deed, times })
}

/// By name, as far as tests have needed one; any other as a number: `0x80000001`.
fn code(name: &str) -> Option<ck::CK_RV> {
    Some(match name {
        "CKR_ARGUMENTS_BAD" => ck::CKR_ARGUMENTS_BAD,
        "CKR_CRYPTOKI_NOT_INITIALIZED" => ck::CKR_CRYPTOKI_NOT_INITIALIZED,
        "CKR_DEVICE_ERROR" => ck::CKR_DEVICE_ERROR,
        "CKR_DEVICE_MEMORY" => ck::CKR_DEVICE_MEMORY,
        "CKR_DEVICE_REMOVED" => ck::CKR_DEVICE_REMOVED,
        "CKR_ENCRYPTED_DATA_INVALID" => ck::CKR_ENCRYPTED_DATA_INVALID,
        "CKR_FUNCTION_FAILED" => ck::CKR_FUNCTION_FAILED,
        "CKR_GENERAL_ERROR" => ck::CKR_GENERAL_ERROR,
        "CKR_HOST_MEMORY" => ck::CKR_HOST_MEMORY,
        "CKR_OBJECT_HANDLE_INVALID" => ck::CKR_OBJECT_HANDLE_INVALID,
        "CKR_PIN_INCORRECT" => ck::CKR_PIN_INCORRECT,
        "CKR_SESSION_CLOSED" => ck::CKR_SESSION_CLOSED,
        "CKR_SESSION_COUNT" => ck::CKR_SESSION_COUNT,
        "CKR_SESSION_HANDLE_INVALID" => ck::CKR_SESSION_HANDLE_INVALID,
        "CKR_SLOT_ID_INVALID" => ck::CKR_SLOT_ID_INVALID,
        "CKR_TOKEN_NOT_PRESENT" => ck::CKR_TOKEN_NOT_PRESENT,
        "CKR_USER_NOT_LOGGED_IN" => ck::CKR_USER_NOT_LOGGED_IN,
        number => ck::CK_RV::from_str_radix(number.strip_prefix("0x")?, 16).ok()?,
    })
}
