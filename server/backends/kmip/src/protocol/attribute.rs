//! The attributes that are asked for, given or told (KMIP 1.4, section 3; 2.1, section 4): their names, by which
//! messages have them up to 1.4, and their tags, by which they have them from 2.0 on.

use crate::ttlv::Tag;

/// An attribute of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attribute {
    /// As it stands in messages up to 1.4, and for people.
    pub(crate) name: &'static str,
    /// As it stands in messages from 2.0 on.
    pub(crate) tag: Tag,
}

impl Attribute {
    pub(crate) fn named(name: &str) -> Option<Attribute> {
        ALL.iter().find(|attribute| attribute.name == name).copied()
    }

    pub(crate) fn tagged(tag: Tag) -> Option<Attribute> {
        ALL.iter().find(|attribute| attribute.tag == tag).copied()
    }
}

macro_rules! attributes {
    ($($constant:ident = $name:literal, $tag:literal;)*) => {
        $(pub(crate) const $constant: Attribute = Attribute { name: $name, tag: $tag };)*

        /// Every one that is known; what else a server tells is passed over.
        pub(crate) const ALL: &[Attribute] = &[$($constant),*];
    };
}

attributes! {
    NAME = "Name", 0x42_0053;
    OBJECT_TYPE = "Object Type", 0x42_0057;
    ALGORITHM = "Cryptographic Algorithm", 0x42_0028;
    LENGTH = "Cryptographic Length", 0x42_002a;
    USAGE_MASK = "Cryptographic Usage Mask", 0x42_002c;
    STATE = "State", 0x42_008d;
    LINK = "Link", 0x42_004a;
    SENSITIVE = "Sensitive", 0x42_0120;
    ALWAYS_SENSITIVE = "Always Sensitive", 0x42_0121;
    EXTRACTABLE = "Extractable", 0x42_0122;
    NEVER_EXTRACTABLE = "Never Extractable", 0x42_0123;
    INITIAL_DATE = "Initial Date", 0x42_0039;
    ORIGINAL_CREATION_DATE = "Original Creation Date", 0x42_00bc;
    ACTIVATION_DATE = "Activation Date", 0x42_0001;
    PROCESS_START_DATE = "Process Start Date", 0x42_0067;
    PROTECT_STOP_DATE = "Protect Stop Date", 0x42_0068;
    DEACTIVATION_DATE = "Deactivation Date", 0x42_002f;
    COMPROMISE_OCCURRENCE_DATE = "Compromise Occurrence Date", 0x42_0021;
    COMPROMISE_DATE = "Compromise Date", 0x42_0020;
    OPERATION_POLICY_NAME = "Operation Policy Name", 0x42_005d;
    APPLICATION_SPECIFIC_INFORMATION = "Application Specific Information", 0x42_0004;
    KEY_VALUE_PRESENT = "Key Value Present", 0x42_00bb;
}
