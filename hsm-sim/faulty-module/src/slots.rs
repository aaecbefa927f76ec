//! Functions that name slots: their numbers are moved by what the control file says, and none holds a
//! token while it says `token removed`.

#![expect(unsafe_code, reason = "implements PKCS#11's C interface")]
#![allow(non_snake_case)] // PKCS#11's names

use std::ffi::c_void;

use cryptoki_sys as ck;
use cryptoki_sys::{
    CK_BBOOL, CK_FLAGS, CK_FUNCTION_LIST, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_NOTIFY, CK_RV,
    CK_SESSION_HANDLE, CK_SESSION_INFO, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO, CK_ULONG,
};

use crate::control::Control;
use crate::fault::{To, meet};
use crate::real;

/// Puts these functions into a list of the real module's.
pub(crate) fn replace(list: &mut CK_FUNCTION_LIST) {
    list.C_GetSlotList = Some(C_GetSlotList);
    list.C_GetSlotInfo = Some(C_GetSlotInfo);
    list.C_GetTokenInfo = Some(C_GetTokenInfo);
    list.C_GetMechanismList = Some(C_GetMechanismList);
    list.C_GetMechanismInfo = Some(C_GetMechanismInfo);
    list.C_OpenSession = Some(C_OpenSession);
    list.C_CloseAllSessions = Some(C_CloseAllSessions);
    list.C_GetSessionInfo = Some(C_GetSessionInfo);
}

/// The real module's function, called if there is no order against it and the slot can exist.
macro_rules! at_slot {
    ($name:ident, $to:expr, $slot:ident $(, $argument:ident)*) => {{
        if let Some(answer) = meet(stringify!($name), $to) {
            return answer;
        }
        let Some($slot) = $slot.checked_sub(Control::read().slots) else {
            return ck::CKR_SLOT_ID_INVALID;
        };
        match real::functions().$name {
            // SAFETY: the arguments are the caller's, who owes them to PKCS#11 as they are.
            Some(function) => unsafe { function($slot $(, $argument)*) },
            None => ck::CKR_FUNCTION_NOT_SUPPORTED,
        }
    }};
}

unsafe extern "C" fn C_GetSlotList(present: CK_BBOOL, list: *mut CK_SLOT_ID, count: *mut CK_ULONG) -> CK_RV {
    if let Some(answer) = meet("C_GetSlotList", To::Library) {
        return answer;
    }
    let Some(function) = real::functions().C_GetSlotList else {
        return ck::CKR_FUNCTION_NOT_SUPPORTED;
    };
    let control = Control::read();
    // SAFETY: the arguments are the caller's: `list` is null or has room for `*count` numbers, of which the
    // real module fills as many as it then writes to `*count`.
    unsafe {
        let answer = function(present, list, count);
        if answer != ck::CKR_OK {
            return answer;
        }
        if control.removed && present == ck::CK_TRUE {
            *count = 0;
        }
        if !list.is_null() {
            for place in 0..*count as usize {
                *list.add(place) += control.slots;
            }
        }
    }
    ck::CKR_OK
}

unsafe extern "C" fn C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    at_slot!(C_GetSlotInfo, To::Library, slot, info)
}

unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    at_slot!(C_GetTokenInfo, To::Slot, slot, info)
}

unsafe extern "C" fn C_GetMechanismList(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    at_slot!(C_GetMechanismList, To::Slot, slot, list, count)
}

unsafe extern "C" fn C_GetMechanismInfo(
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    at_slot!(C_GetMechanismInfo, To::Slot, slot, mechanism, info)
}

unsafe extern "C" fn C_OpenSession(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    if let Some(slot) = slot.checked_sub(Control::read().slots) {
        real::used(slot);
    }
    at_slot!(C_OpenSession, To::Slot, slot, flags, application, notify, session)
}

unsafe extern "C" fn C_CloseAllSessions(slot: CK_SLOT_ID) -> CK_RV {
    at_slot!(C_CloseAllSessions, To::Slot, slot)
}

unsafe extern "C" fn C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) -> CK_RV {
    if let Some(answer) = meet("C_GetSessionInfo", To::Session) {
        return answer;
    }
    let Some(function) = real::functions().C_GetSessionInfo else {
        return ck::CKR_FUNCTION_NOT_SUPPORTED;
    };
    // SAFETY: the arguments are the caller's: `info` is valid, and filled when the answer is CKR_OK.
    unsafe {
        let answer = function(session, info);
        if answer == ck::CKR_OK {
            (*info).slotID += Control::read().slots;
        }
        answer
    }
}
