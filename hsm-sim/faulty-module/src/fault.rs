//! What happens at a call before, or instead of, the real one.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cryptoki_sys as ck;
use cryptoki_sys::CK_RV;

use crate::control::{Control, Deed, Order, beside, end};
use crate::real;

/// How often each order of one text was carried out.
static DONE: Mutex<(String, Vec<u32>)> = Mutex::new((String::new(), Vec::new()));

/// Whether the tokens were already taken away from whoever had sessions on them.
static REMOVED: Mutex<bool> = Mutex::new(false);

/// Whom a call goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// The library alone: initializing it, asking what it is and which slots there are.
    Library,
    /// A token, by its slot.
    Slot,
    /// A token, by a session.
    Session,
}

/// Writes the call down and does what is ordered for it. `Some` is the answer; without one, the real
/// module is to be asked.
pub(crate) fn meet(function: &str, to: To) -> Option<CK_RV> {
    log(function);
    let control = Control::read();
    if let Some(gone) = removed(control.removed, to) {
        return Some(gone);
    }
    let order = due(&control, function, to)?;
    match order.deed {
        Deed::Hang => {
            while Control::read().orders.contains(&order) {
                pause();
            }
        }
        Deed::Return(code) => return Some(code),
        Deed::Abort => end(&format!("{function} aborts, as ordered")),
        Deed::LogOut => real::log_out(),
        Deed::CloseSessions => real::close_sessions(),
        Deed::Finalize => real::finalize(),
    }
    None
}

/// The order for this call, unless it was carried out as often as it says.
fn due(control: &Control, function: &str, to: To) -> Option<Order> {
    let fits = |order: &Order| order.function == function || (order.function == "*" && to != To::Library);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if done.0 != control.text {
        *done = (control.text.clone(), vec![0; control.orders.len()]);
    }
    let mut orders = control.orders.iter().zip(&mut done.1);
    let (order, done) =
        orders.find(|(order, done)| fits(order) && order.times.is_none_or(|times| **done < times))?;
    *done += 1;
    Some(order.clone())
}

/// What a token that was pulled out answers. Its sessions die with it, so that none works again when it
/// is put back (PKCS #11 section 5.6, C_OpenSession and token removal).
fn removed(is: bool, to: To) -> Option<CK_RV> {
    let mut was = REMOVED.lock().unwrap_or_else(PoisonError::into_inner);
    if is && !*was {
        real::close_sessions();
    }
    *was = is;
    match to {
        To::Slot if is => Some(ck::CKR_TOKEN_NOT_PRESENT),
        To::Session if is => Some(ck::CKR_DEVICE_REMOVED),
        _ => None,
    }
}

fn log(function: &str) {
    let path = beside("calls");
    // One write of one line: calls come from several threads.
    let line = format!("{function}\n");
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(error) = written
        && error.kind() != ErrorKind::NotFound
    {
        end(&format!("{}: {error}", path.display()));
    }
}

#[expect(clippy::disallowed_methods, reason = "a file that changes wakes nobody; this is the hang itself")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}
