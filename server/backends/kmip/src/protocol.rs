//! The numbers of KMIP that are used here: tags (KMIP 1.4, section 9.1.3.1; 2.1, section 11.58), enumerations
//! (9.1.3.2; 11), and attributes. They are the same in all versions that have them.

pub(crate) mod attribute;

use std::fmt;

/// Tags.
pub(crate) mod tag {
    use crate::ttlv::Tag;

    pub(crate) const APPLICATION_DATA: Tag = 0x42_0002;
    pub(crate) const APPLICATION_NAMESPACE: Tag = 0x42_0003;
    pub(crate) const ATTRIBUTE: Tag = 0x42_0008;
    pub(crate) const ATTRIBUTE_NAME: Tag = 0x42_000a;
    pub(crate) const ATTRIBUTE_VALUE: Tag = 0x42_000b;
    pub(crate) const BATCH_COUNT: Tag = 0x42_000d;
    pub(crate) const BATCH_ERROR_CONTINUATION_OPTION: Tag = 0x42_000e;
    pub(crate) const BATCH_ITEM: Tag = 0x42_000f;
    pub(crate) const BLOCK_CIPHER_MODE: Tag = 0x42_0011;
    pub(crate) const COMMON_TEMPLATE_ATTRIBUTE: Tag = 0x42_001f;
    pub(crate) const CRYPTOGRAPHIC_ALGORITHM: Tag = 0x42_0028;
    pub(crate) const CRYPTOGRAPHIC_LENGTH: Tag = 0x42_002a;
    pub(crate) const CRYPTOGRAPHIC_PARAMETERS: Tag = 0x42_002b;
    pub(crate) const HASHING_ALGORITHM: Tag = 0x42_0038;
    pub(crate) const IV_COUNTER_NONCE: Tag = 0x42_003d;
    pub(crate) const KEY_BLOCK: Tag = 0x42_0040;
    pub(crate) const KEY_FORMAT_TYPE: Tag = 0x42_0042;
    pub(crate) const KEY_MATERIAL: Tag = 0x42_0043;
    pub(crate) const KEY_VALUE: Tag = 0x42_0045;
    pub(crate) const LINK_TYPE: Tag = 0x42_004b;
    pub(crate) const LINKED_OBJECT_IDENTIFIER: Tag = 0x42_004c;
    pub(crate) const IV_LENGTH: Tag = 0x42_00cd;
    pub(crate) const MAXIMUM_ITEMS: Tag = 0x42_004f;
    pub(crate) const MAXIMUM_RESPONSE_SIZE: Tag = 0x42_0050;
    pub(crate) const MODULUS: Tag = 0x42_0052;
    pub(crate) const NAME_TYPE: Tag = 0x42_0054;
    pub(crate) const NAME_VALUE: Tag = 0x42_0055;
    pub(crate) const OBJECT_TYPE: Tag = 0x42_0057;
    pub(crate) const OPERATION: Tag = 0x42_005c;
    pub(crate) const PADDING_METHOD: Tag = 0x42_005f;
    pub(crate) const PRIVATE_KEY: Tag = 0x42_0064;
    pub(crate) const PRIVATE_KEY_TEMPLATE_ATTRIBUTE: Tag = 0x42_0065;
    pub(crate) const PRIVATE_KEY_UNIQUE_IDENTIFIER: Tag = 0x42_0066;
    pub(crate) const PROTOCOL_VERSION: Tag = 0x42_0069;
    pub(crate) const PROTOCOL_VERSION_MAJOR: Tag = 0x42_006a;
    pub(crate) const PROTOCOL_VERSION_MINOR: Tag = 0x42_006b;
    pub(crate) const PUBLIC_EXPONENT: Tag = 0x42_006c;
    pub(crate) const PUBLIC_KEY: Tag = 0x42_006d;
    pub(crate) const PUBLIC_KEY_TEMPLATE_ATTRIBUTE: Tag = 0x42_006e;
    pub(crate) const PUBLIC_KEY_UNIQUE_IDENTIFIER: Tag = 0x42_006f;
    pub(crate) const QUERY_FUNCTION: Tag = 0x42_0074;
    pub(crate) const REQUEST_HEADER: Tag = 0x42_0077;
    pub(crate) const REQUEST_MESSAGE: Tag = 0x42_0078;
    pub(crate) const REQUEST_PAYLOAD: Tag = 0x42_0079;
    pub(crate) const RESPONSE_HEADER: Tag = 0x42_007a;
    pub(crate) const RESPONSE_MESSAGE: Tag = 0x42_007b;
    pub(crate) const RESPONSE_PAYLOAD: Tag = 0x42_007c;
    pub(crate) const RESULT_MESSAGE: Tag = 0x42_007d;
    pub(crate) const RESULT_REASON: Tag = 0x42_007e;
    pub(crate) const RESULT_STATUS: Tag = 0x42_007f;
    pub(crate) const REVOCATION_REASON: Tag = 0x42_0081;
    pub(crate) const REVOCATION_REASON_CODE: Tag = 0x42_0082;
    pub(crate) const SYMMETRIC_KEY: Tag = 0x42_008f;
    pub(crate) const TEMPLATE_ATTRIBUTE: Tag = 0x42_0091;
    pub(crate) const UNIQUE_BATCH_ITEM_ID: Tag = 0x42_0093;
    pub(crate) const UNIQUE_IDENTIFIER: Tag = 0x42_0094;
    pub(crate) const VENDOR_IDENTIFICATION: Tag = 0x42_009d;
    pub(crate) const DATA: Tag = 0x42_00c2;
    pub(crate) const RANDOM_IV: Tag = 0x42_00c5;
    pub(crate) const TAG_LENGTH: Tag = 0x42_00ce;
    pub(crate) const MASK_GENERATOR: Tag = 0x42_0101;
    pub(crate) const MASK_GENERATOR_HASHING_ALGORITHM: Tag = 0x42_0102;
    /// Of AES-GCM. From 1.4 on, as the two above.
    pub(crate) const AUTHENTICATED_ENCRYPTION_TAG: Tag = 0x42_00ff;
    /// From 2.0 on, as the three below.
    pub(crate) const ATTRIBUTES: Tag = 0x42_0125;
    pub(crate) const COMMON_ATTRIBUTES: Tag = 0x42_0126;
    pub(crate) const PRIVATE_KEY_ATTRIBUTES: Tag = 0x42_0127;
    pub(crate) const PUBLIC_KEY_ATTRIBUTES: Tag = 0x42_0128;
}

/// Values of enumerations. What is not used has no name here.
pub(crate) mod value {
    pub(crate) const AES: u32 = 3;
    pub(crate) const RSA: u32 = 4;
    pub(crate) const GCM: u32 = 9;
    pub(crate) const OAEP: u32 = 2;
    pub(crate) const PKCS1_V1_5: u32 = 8;
    pub(crate) const MGF1: u32 = 1;
    pub(crate) const SHA_1: u32 = 4;
    pub(crate) const SHA_256: u32 = 6;
    pub(crate) const SYMMETRIC_KEY: u32 = 2;
    pub(crate) const PUBLIC_KEY: u32 = 3;
    pub(crate) const PRIVATE_KEY: u32 = 4;
    pub(crate) const FORMAT_RAW: u32 = 1;
    pub(crate) const FORMAT_PKCS_1: u32 = 3;
    pub(crate) const FORMAT_X_509: u32 = 5;
    pub(crate) const FORMAT_TRANSPARENT_RSA_PUBLIC_KEY: u32 = 0xb;
    pub(crate) const PUBLIC_KEY_LINK: u32 = 0x102;
    pub(crate) const UNINTERPRETED_TEXT_STRING: u32 = 1;
    pub(crate) const CONTINUE: u32 = 1;
    pub(crate) const QUERY_OPERATIONS: u32 = 1;
    pub(crate) const QUERY_SERVER_INFORMATION: u32 = 3;
    pub(crate) const UNSPECIFIED: u32 = 1;
}

/// Bits of a usage mask (section 9.1.3.3.1).
pub(crate) mod usage {
    pub(crate) const ENCRYPT: i32 = 4;
    pub(crate) const DECRYPT: i32 = 8;
    /// The names of all bits, from the lowest.
    pub(crate) const NAMES: [&str; 20] = [
        "Sign",
        "Verify",
        "Encrypt",
        "Decrypt",
        "Wrap Key",
        "Unwrap Key",
        "Export",
        "MAC Generate",
        "MAC Verify",
        "Derive Key",
        "Content Commitment",
        "Key Agreement",
        "Certificate Sign",
        "CRL Sign",
        "Generate Cryptogram",
        "Validate Cryptogram",
        "Translate Encrypt",
        "Translate Decrypt",
        "Translate Wrap",
        "Translate Unwrap",
    ];
}

/// Operations (section 9.1.3.2.27).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Create = 0x01,
    CreateKeyPair = 0x02,
    Register = 0x03,
    Locate = 0x08,
    Get = 0x0a,
    GetAttributes = 0x0b,
    Activate = 0x12,
    Revoke = 0x13,
    Destroy = 0x14,
    Query = 0x18,
    DiscoverVersions = 0x1e,
    Encrypt = 0x1f,
    Decrypt = 0x20,
}

impl Operation {
    pub(crate) fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: i32,
    pub(crate) minor: i32,
}

impl Version {
    /// Those that are spoken, the best first.
    pub(crate) const ALL: [Version; 5] = [
        Version { major: 2, minor: 1 },
        Version::V2_0,
        Version::V1_4,
        Version { major: 1, minor: 3 },
        Version::V1_2,
    ];
    /// In which of them a server is asked what it speaks: first what most have.
    pub(crate) const TO_ASK_IN: [Version; 5] = [
        Version::V1_2,
        Version::V1_4,
        Version::V2_0,
        Version { major: 2, minor: 1 },
        Version { major: 1, minor: 3 },
    ];
    /// The first that writes attributes by tags of their own.
    pub(crate) const V2_0: Version = Version { major: 2, minor: 0 };
    /// The first that has tags for AES-GCM.
    pub(crate) const V1_4: Version = Version { major: 1, minor: 4 };
    /// The first that has Encrypt and Decrypt.
    pub(crate) const V1_2: Version = Version { major: 1, minor: 2 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
