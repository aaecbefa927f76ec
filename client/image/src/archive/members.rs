//! The members of a tar file (POSIX.1-2017, pax, "ustar Interchange Format"), and where in it each lies.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tar::{EntryType, Header, PaxExtensions};

use crate::compression::{of_magic, uncompress};
use crate::error::shown;
use crate::media::Compression;
use crate::{Error, printable};

/// Bytes of a header, of which everything in a tar is a multiple.
const BLOCK: u64 = 512;
/// Most members of an archive. Each layer takes three at most.
const MAX_MEMBERS: usize = 65_536;
/// Longest name, or list of extended attributes, of a member, in bytes.
const MAX_EXTENDED: u64 = 1 << 20;
/// Most bytes of all their names together, which are what is kept of them.
const MAX_NAMES: usize = 8 << 20;
/// Most links behind one another.
const MAX_LINKS: usize = 8;

/// An archive that can be read.
pub(super) struct Members {
    file: File,
    members: HashMap<String, Member>,
}

#[derive(Clone, PartialEq, Eq)]
enum Member {
    File {
        at: u64,
        size: u64,
    },
    /// To another member.
    Link(String),
    /// Several have this name, and which is meant nobody can say.
    Twice,
}

/// A member that is being read, at whatever pace: other readers have positions of their own.
pub(super) struct Region<'a> {
    file: &'a File,
    start: u64,
    size: u64,
    /// From `start`.
    position: u64,
}

impl Members {
    /// Lists them. An archive that is compressed as a whole is unpacked into a file without a name first.
    pub(super) fn open(path: &Path) -> Result<Members, Error> {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        if !metadata.is_file() {
            return Err(Error::Reference(format!(
                "{} is no plain file; an archive is read here and there, so a pipe has to be written to a file first",
                printable(&path.to_string_lossy())
            )));
        }
        let file = uncompressed(file, path)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let members = Walk { file: &file, length, at: 0 }.members().map_err(|error| match error {
            Trouble::Io(source) => Error::io("read", path)(source),
            Trouble::Archive(what) => Error::image(format!(
                "{}: {what}; write the archive again",
                printable(&path.to_string_lossy())
            )),
        })?;
        Ok(Members { file, members })
    }

    /// A plain file among them, by its whole name.
    pub(super) fn file(&self, name: &str) -> Result<Option<Region<'_>>, Error> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Member::File { at, size }) => {
                Ok(Some(Region { file: &self.file, start: *at, size: *size, position: 0 }))
            }
            Some(Member::Link(_)) => Err(Error::image(format!(
                "{} is a link in the archive, where a file belongs; write the archive again",
                shown(name)
            ))),
            Some(Member::Twice) => {
                Err(Error::image(format!("the archive holds {} twice; write the archive again", shown(name))))
            }
        }
    }

    /// The same, where the name may be a link's.
    pub(super) fn linked_file(&self, name: &str) -> Result<Option<Region<'_>>, Error> {
        let mut name = name;
        for _ in 0..MAX_LINKS {
            match self.members.get(name) {
                Some(Member::Link(to)) => name = to,
                _ => return self.file(name),
            }
        }
        Err(Error::image(format!(
            "{} is a link that leads on and on in the archive; write the archive again",
            shown(name)
        )))
    }
}

/// The tar itself.
fn uncompressed(file: File, path: &Path) -> Result<File, Error> {
    let mut magic = [0; 4];
    let n = file.read_at(&mut magic, 0).map_err(Error::io("read", path))?;
    let compression = of_magic(&magic[..n]);
    if compression == Compression::None {
        return Ok(file);
    }
    let spooled = tempfile::tempfile().and_then(|mut spool| {
        uncompress(compression, &mut BufReader::new(&file), &mut |bytes| spool.write_all(bytes))?;
        Ok(spool)
    });
    spooled.map_err(Error::io("uncompress to a temporary file", path))
}

enum Trouble {
    Io(io::Error),
    Archive(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

fn trouble<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Archive(what.into()))
}

/// On the way through the headers.
struct Walk<'a> {
    file: &'a File,
    length: u64,
    at: u64,
}

/// What earlier headers say of the member that follows.
#[derive(Default)]
struct Extended {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Walk<'_> {
    fn members(mut self) -> Result<HashMap<String, Member>, Trouble> {
        let mut members = HashMap::new();
        let mut extended = Extended::default();
        let (mut count, mut kept) = (0, 0);
        while let Some(header) = self.header()? {
            count += 1;
            if count > MAX_MEMBERS {
                return trouble(format!("it has more than {MAX_MEMBERS} members"));
            }
            let own_size = header.entry_size().or_else(|_| trouble("a member's size is no number"))?;
            match header.entry_type() {
                EntryType::GNULongName => extended.name = Some(until_nul(self.extended(own_size)?)),
                EntryType::GNULongLink => extended.link = Some(until_nul(self.extended(own_size)?)),
                EntryType::XHeader => extended.read(&self.extended(own_size)?)?,
                kind => {
                    let Extended { name, link, size } = std::mem::take(&mut extended);
                    let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
                    let size = size.unwrap_or(own_size);
                    let at = self.at;
                    let member = match kind {
                        EntryType::Regular | EntryType::Continuous => {
                            self.pass(size)?;
                            Some(Member::File { at, size })
                        }
                        EntryType::Link | EntryType::Symlink => {
                            let link =
                                link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
                            // A hard link names its member from the top.
                            let from = if kind == EntryType::Symlink { &name[..] } else { b"" };
                            linked(from, &link.unwrap_or_default()).map(Member::Link)
                        }
                        // These have no content, whatever their size says (Go's archive/tar, which skopeo reads by).
                        EntryType::Directory | EntryType::Char | EntryType::Block | EntryType::Fifo => None,
                        EntryType::GNUSparse => return trouble("a member is stored sparse"),
                        _ => {
                            self.pass(size)?;
                            None
                        }
                    };
                    let Some(name) = plain(&name) else {
                        let name = shown(&String::from_utf8_lossy(&name));
                        return trouble(format!("the name of its member {name} leads out of it"));
                    };
                    if let Some(member) = member {
                        kept += name.len();
                        if let Member::Link(to) = &member {
                            kept += to.len();
                        }
                        if kept > MAX_NAMES {
                            return trouble(format!(
                                "its members' names are longer than {MAX_NAMES} bytes together"
                            ));
                        }
                        members.entry(name).and_modify(|known| *known = Member::Twice).or_insert(member);
                    }
                }
            }
        }
        Ok(members)
    }

    /// The next header; none at the end, which is a block of zeros or the file's own.
    fn header(&mut self) -> Result<Option<Header>, Trouble> {
        if self.at == self.length {
            return Ok(None);
        }
        if self.length - self.at < BLOCK {
            return trouble("it ends in the middle of a header");
        }
        let mut header = Header::new_old();
        self.file.read_exact_at(header.as_mut_bytes(), self.at)?;
        self.at += BLOCK;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // Every byte counts, the checksum's own as blanks.
        let bytes = header.as_bytes();
        let sum = |range: &[u8]| range.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]);
        if header.cksum().ok() != Some(sum) {
            return trouble("it is no tar archive, or damaged: a header's checksum is wrong");
        }
        Ok(Some(header))
    }

    /// What a header that is for the next one has behind it.
    fn extended(&mut self, size: u64) -> Result<Vec<u8>, Trouble> {
        if size > MAX_EXTENDED {
            return trouble(format!("a member's name or attributes are longer than {MAX_EXTENDED} bytes"));
        }
        let at = self.at;
        self.pass(size)?;
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Over a member, which must be there whole.
    fn pass(&mut self, size: u64) -> Result<(), Trouble> {
        let Some(end) = self.at.checked_add(size).filter(|end| *end <= self.length) else {
            return trouble("it ends in the middle of a member");
        };
        // The filling behind the last one may be missing.
        self.at = end.next_multiple_of(BLOCK).min(self.length);
        Ok(())
    }
}

impl Extended {
    /// Of a pax header.
    fn read(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        for attribute in PaxExtensions::new(bytes) {
            let attribute = attribute.or_else(|_| trouble("a member's attributes cannot be read"))?;
            match attribute.key_bytes() {
                b"path" => self.name = Some(attribute.value_bytes().to_vec()),
                b"linkpath" => self.link = Some(attribute.value_bytes().to_vec()),
                b"size" => {
                    let size = attribute.value().ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or(Trouble::Archive("a member's size is no number".into()))?);
                }
                key if key.starts_with(b"GNU.sparse.") => return trouble("a member is stored sparse"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// A member's name without what says nothing (`./`, `//`); none for one that leads out of the archive.
fn plain(name: &[u8]) -> Option<String> {
    let parts = String::from_utf8_lossy(name);
    let parts: Vec<&str> = parts.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

/// Which member a link means; none where it leads out of the archive.
fn linked(from: &[u8], to: &[u8]) -> Option<String> {
    let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.pop();
    for part in to.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

impl Region<'_> {
    /// Bytes in all.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Region<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let n = self.file.read_at(&mut buffer[..most], self.start.saturating_add(self.position))?;
        // It was there whole when it was listed.
        if n == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Region<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
