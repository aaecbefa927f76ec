//! holdfast-pkcs11
