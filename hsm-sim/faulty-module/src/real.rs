//! The module behind this one.

#![expect(unsafe_code, reason = "loads a library and calls it by PKCS#11's C interface")]

use std::collections::BTreeSet;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use cryptoki_sys as ck;
use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID};
use libloading::{Library, Symbol};

use crate::control::{Control, end};

/// A loaded library, and its functions. Never unloaded.
struct Real {
    _library: Library,
    functions: CK_FUNCTION_LIST,
}

/// Slots, by the real module's numbers, in which a session was opened.
static USED: Mutex<BTreeSet<CK_SLOT_ID>> = Mutex::new(BTreeSet::new());

/// Its functions; loaded by the first who asks, from where the control file then says.
pub(crate) fn functions() -> &'static CK_FUNCTION_LIST {
    static REAL: OnceLock<Real> = OnceLock::new();
    &REAL.get_or_init(load).functions
}

/// Remembers a slot for [`log_out`] and [`close_sessions`].
pub(crate) fn used(slot: CK_SLOT_ID) {
    USED.lock().unwrap_or_else(PoisonError::into_inner).insert(slot);
}

/// Ends the login of every token in use: it belongs to the process, so any session can end it.
pub(crate) fn log_out() {
    let CK_FUNCTION_LIST { C_OpenSession, C_Logout, C_CloseSession, .. } = functions();
    let (Some(open), Some(log_out), Some(close)) = (C_OpenSession, C_Logout, C_CloseSession) else {
        end("the real module cannot log out");
    };
    for slot in slots() {
        let mut session: CK_SESSION_HANDLE = 0;
        // SAFETY: the functions come from the module's own list, and `session` outlives the call.
        unsafe {
            if open(slot, ck::CKF_SERIAL_SESSION, ptr::null_mut(), None, &mut session) == ck::CKR_OK {
                log_out(session);
                close(session);
            }
        }
    }
}

/// Closes every session, whoever opened it.
pub(crate) fn close_sessions() {
    let Some(close_all) = functions().C_CloseAllSessions else {
        end("the real module cannot close sessions");
    };
    for slot in slots() {
        // SAFETY: the function comes from the module's own list; a slot's number is all it takes.
        unsafe { close_all(slot) };
    }
}

pub(crate) fn finalize() {
    let Some(finalize) = functions().C_Finalize else { end("the real module cannot be finalized") };
    // SAFETY: the function comes from the module's own list, which wants a null pointer here.
    unsafe { finalize(ptr::null_mut()) };
}

fn slots() -> BTreeSet<CK_SLOT_ID> {
    USED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn load() -> Real {
    let path = Control::read().module;
    // SAFETY: runs the constructors of a PKCS#11 module, as whoever loads this one meant to.
    let library = unsafe { Library::new(&path) }
        .unwrap_or_else(|error| end(&format!("{} cannot be loaded: {error}", path.display())));
    let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
    // SAFETY: PKCS#11 gives the function this type, and `list` outlives the call.
    let answer: CK_RV = unsafe {
        let get: Symbol<'_, unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV> = library
            .get(b"C_GetFunctionList\0")
            .unwrap_or_else(|error| end(&format!("{} is no PKCS#11 module: {error}", path.display())));
        get(&mut list)
    };
    if answer != ck::CKR_OK || list.is_null() {
        end(&format!("{} does not tell its functions: {answer:#x}", path.display()));
    }
    // SAFETY: the list is the module's and lives as long as it is loaded; it is copied.
    Real { functions: unsafe { *list }, _library: library }
}
