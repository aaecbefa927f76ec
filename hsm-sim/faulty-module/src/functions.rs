//! The functions this module has: the real one's, and before each that a key custodian calls, a look at
//! what is ordered.

#![expect(unsafe_code, reason = "implements PKCS#11's C interface")]
#![allow(non_snake_case, clippy::too_many_arguments)] // PKCS#11's names and numbers

use std::ffi::c_void;
use std::sync::OnceLock;

use cryptoki_sys as ck;
use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_ULONG, CK_USER_TYPE,
};

use crate::fault::{To, meet};
use crate::{real, slots};

/// The way in: tells the functions of this module. It is its only symbol, as of a module of PKCS #11 v2.40.
///
/// # Safety
/// `list` must be valid for one pointer to be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    static OURS: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
    if let Some(answer) = meet("C_GetFunctionList", To::Library) {
        return answer;
    }
    let ours = OURS.get_or_init(|| {
        let mut functions = *real::functions();
        functions.C_GetFunctionList = Some(C_GetFunctionList);
        replace(&mut functions);
        slots::replace(&mut functions);
        functions
    });
    if list.is_null() {
        return ck::CKR_ARGUMENTS_BAD;
    }
    // SAFETY: it is the caller's and valid. PKCS#11 wants a pointer to what may be written; nobody may.
    unsafe { *list = std::ptr::from_ref(ours).cast_mut() };
    ck::CKR_OK
}

/// Run by the loader, as a constructor of a C++ library is: `load abort` is a module that crashes there.
#[used]
// SAFETY: that section is a table of functions without arguments, each called once.
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = {
    extern "C" fn at_load() {
        meet("load", To::Library);
    }
    at_load
};

/// Run when the process exits in an orderly way: `unload hang` is a module that waits there for its threads.
#[used]
// SAFETY: as above.
#[unsafe(link_section = ".fini_array")]
static AT_UNLOAD: extern "C" fn() = {
    extern "C" fn at_unload() {
        meet("unload", To::Library);
    }
    at_unload
};

/// Makes a function of each line: what is ordered, else the real one. A function that the real module has
/// not, this one has not either.
macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) to $to:ident;)*) => {
        $(
            unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                if let Some(answer) = meet(stringify!($name), To::$to) {
                    return answer;
                }
                match real::functions().$name {
                    // SAFETY: the arguments are the caller's, who owes them to PKCS#11 as they are.
                    Some(function) => unsafe { function($($argument),*) },
                    None => ck::CKR_FUNCTION_NOT_SUPPORTED,
                }
            }
        )*

        fn replace(list: &mut CK_FUNCTION_LIST) {
            $(list.$name = list.$name.map(|_| $name as _);)*
        }
    };
}

functions! {
    C_Initialize(arguments: *mut c_void) to Library;
    C_Finalize(reserved: *mut c_void) to Library;
    C_GetInfo(info: *mut CK_INFO) to Library;
    C_CloseSession(session: CK_SESSION_HANDLE) to Session;
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_BYTE, length: CK_ULONG) to Session;
    C_Logout(session: CK_SESSION_HANDLE) to Session;
    C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut CK_OBJECT_HANDLE) to Session;
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) to Session;
    C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) to Session;
    C_SetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) to Session;
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG) to Session;
    C_FindObjects(session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, room: CK_ULONG, count: *mut CK_ULONG) to Session;
    C_FindObjectsFinal(session: CK_SESSION_HANDLE) to Session;
    C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) to Session;
    C_Encrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, room: *mut CK_ULONG) to Session;
    C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE) to Session;
    C_Decrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, length: CK_ULONG, out: *mut CK_BYTE, room: *mut CK_ULONG) to Session;
    C_GenerateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) to Session;
    C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public: *mut CK_ATTRIBUTE, public_count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG, public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE) to Session;
    C_WrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, wrapping: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE, out: *mut CK_BYTE, room: *mut CK_ULONG) to Session;
    C_UnwrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, unwrapping: CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE, length: CK_ULONG, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) to Session;
    C_DeriveKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, base: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE) to Session;
    C_GenerateRandom(session: CK_SESSION_HANDLE, out: *mut CK_BYTE, length: CK_ULONG) to Session;
}
