//! Events for people: the names of their types, and what of their data tells which one it is.
//!
//! Whatever the data holds was chosen by others (a boot entry's name, a kernel's command line): it is cut, and
//! what a terminal might obey is taken out.

use std::fmt;

use super::EventType;

/// Characters of a description.
const MAX_CHARS: usize = 128;

/// TCG PC Client Platform Firmware Profile, section 10.4.1.
const NAMES: [(u32, &str); 32] = [
    (0x0, "EV_PREBOOT_CERT"),
    (0x1, "EV_POST_CODE"),
    (0x2, "EV_UNUSED"),
    (0x3, "EV_NO_ACTION"),
    (0x4, "EV_SEPARATOR"),
    (0x5, "EV_ACTION"),
    (0x6, "EV_EVENT_TAG"),
    (0x7, "EV_S_CRTM_CONTENTS"),
    (0x8, "EV_S_CRTM_VERSION"),
    (0x9, "EV_CPU_MICROCODE"),
    (0xa, "EV_PLATFORM_CONFIG_FLAGS"),
    (0xb, "EV_TABLE_OF_DEVICES"),
    (0xc, "EV_COMPACT_HASH"),
    (0xd, "EV_IPL"),
    (0xe, "EV_IPL_PARTITION_DATA"),
    (0xf, "EV_NONHOST_CODE"),
    (0x10, "EV_NONHOST_CONFIG"),
    (0x11, "EV_NONHOST_INFO"),
    (0x12, "EV_OMIT_BOOT_DEVICE_EVENTS"),
    (0x8000_0001, "EV_EFI_VARIABLE_DRIVER_CONFIG"),
    (0x8000_0002, "EV_EFI_VARIABLE_BOOT"),
    (0x8000_0003, "EV_EFI_BOOT_SERVICES_APPLICATION"),
    (0x8000_0004, "EV_EFI_BOOT_SERVICES_DRIVER"),
    (0x8000_0005, "EV_EFI_RUNTIME_SERVICES_DRIVER"),
    (0x8000_0006, "EV_EFI_GPT_EVENT"),
    (0x8000_0007, "EV_EFI_ACTION"),
    (0x8000_0008, "EV_EFI_PLATFORM_FIRMWARE_BLOB"),
    (0x8000_0009, "EV_EFI_HANDOFF_TABLES"),
    (0x8000_000a, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"),
    (0x8000_000b, "EV_EFI_HANDOFF_TABLES2"),
    (0x8000_000c, "EV_EFI_VARIABLE_BOOT2"),
    (0x8000_00e0, "EV_EFI_VARIABLE_AUTHORITY"),
];

impl EventType {
    pub(super) const NO_ACTION: EventType = EventType(0x3);
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "type {:#x}", self.0),
        }
    }
}

/// What the event was about, or nothing.
pub(super) fn description(kind: EventType, data: &[u8]) -> String {
    let said = match kind.0 {
        // Zeros or ones, hashes, versions of tables: nothing to read.
        0x3 | 0x4 | 0x8000_0006 | 0x8000_0008 | 0x8000_0009 => None,
        // TCG_PCClientTaggedEvent: an identifier, a length, and what systemd writes as text.
        0x6 => data.get(8..).and_then(text),
        0x8000_0001 | 0x8000_0002 | 0x8000_000c | 0x8000_00e0 => variable(data),
        0x8000_0003..=0x8000_0005 => loaded_file(data),
        // UEFI_PLATFORM_FIRMWARE_BLOB2 and UEFI_HANDOFF_TABLE_POINTERS2: a length and a name.
        0x8000_000a | 0x8000_000b => {
            data.split_first().and_then(|(len, rest)| rest.get(..usize::from(*len))).and_then(text)
        }
        _ => text(data),
    };
    clean(&said.unwrap_or_default())
}

/// UEFI_VARIABLE_DATA (section 10.2.6): the name of the variable.
fn variable(data: &[u8]) -> Option<String> {
    // a GUID, then how many characters the name has
    let len = u64(data.get(16..24)?)?;
    let bytes = usize::try_from(len).ok()?.checked_mul(2)?;
    Some(utf16(data.get(32..)?.get(..bytes)?))
}

/// UEFI_IMAGE_LOAD_EVENT (section 10.2.3): the file in its device path (UEFI 2.10, section 10.3.5.4).
fn loaded_file(data: &[u8]) -> Option<String> {
    const MEDIA_FILE_PATH: [u8; 2] = [4, 4];
    // where it lies, its length, where it was linked to, and the length of its path
    let len = usize::try_from(u64(data.get(24..32)?)?).ok()?;
    let mut path = data.get(32..)?.get(..len)?;
    let mut file = String::new();
    while let [kind, subtype, low, high, ..] = *path {
        let node = path.get(..usize::from(u16::from_le_bytes([low, high])))?;
        if [kind, subtype] == MEDIA_FILE_PATH {
            file.push_str(&utf16(node.get(4..)?));
        }
        // A node is at least its own head, else this would not end.
        path = path.get(node.len().max(4)..)?;
    }
    Some(file)
}

/// Data that is nothing but text, in UTF-16 (systemd) or UTF-8 (GRUB, shim), up to a NUL.
fn text(data: &[u8]) -> Option<String> {
    let readable = |text: &str| !text.is_empty() && !text.chars().any(|c| c.is_control() || c == '\u{fffd}');
    let wide = Some(utf16(data)).filter(|text| data.len() >= 4 && data[1] == 0 && readable(text));
    wide.or_else(|| {
        let narrow = data.split(|byte| *byte == 0).next()?;
        let text = std::str::from_utf8(narrow).ok()?.trim_end();
        readable(text).then(|| text.to_owned())
    })
}

/// Little-endian, up to a NUL.
fn utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units.take_while(|unit| *unit != 0).take(MAX_CHARS * 2))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Without what a terminal might obey, and no longer than a line.
pub(crate) fn clean(text: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut cleaned: String = text.chars().take(MAX_CHARS).map(plain).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        cleaned.pop();
        cleaned.push('…');
    }
    cleaned
}

fn u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}
