//! ASCII armor (RFC 9580 section 6) around public keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::Malformed;

const BEGIN: &str = "-----BEGIN PGP ";
const PUBLIC: &str = "PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP ";

/// The octets in the armor, of several blocks one behind the other; the bytes themselves where there is none.
/// Text around the blocks is passed by. The checksum is not looked at: nobody needs to (section 6.1).
pub(super) fn remove(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| text.contains(BEGIN)) else {
        return Ok(bytes.to_vec());
    };
    let mut octets = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let block = block.strip_prefix(PUBLIC).ok_or_else(|| {
            Malformed::new(
                "a PGP block that is no PUBLIC KEY BLOCK; give the public part alone, as gpg --export writes it",
            )
        })?;
        let (block, _) =
            block.split_once(END).ok_or_else(|| Malformed::new("a PGP PUBLIC KEY BLOCK without its end"))?;
        octets.extend(body(block)?);
    }
    Ok(octets)
}

/// Behind the armor headers and the empty line that ends them, and before the checksum.
fn body(block: &str) -> Result<Vec<u8>, Malformed> {
    let lines = block.lines().map(str::trim_end).skip(1).skip_while(|line| !line.is_empty()).skip(1);
    let text: String = lines.take_while(|line| !line.starts_with('=')).collect();
    STANDARD.decode(text).map_err(|_| Malformed::new("a PGP PUBLIC KEY BLOCK that is not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: x\n\nAAEC\nAw==\n=njUN\n-----END PGP PUBLIC KEY BLOCK-----\n";

    fn told(text: &str) -> Result<Vec<u8>, String> {
        remove(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn blocks_give_their_octets_and_other_bytes_themselves() {
        assert_eq!(told(BLOCK), Ok(vec![0, 1, 2, 3]));
        let twice = format!("pub ed25519\n{}\n{}", BLOCK.replace('\n', "\r\n"), BLOCK.replace("=njUN\n", ""));
        assert_eq!(told(&twice), Ok(vec![0, 1, 2, 3, 0, 1, 2, 3]));
        assert_eq!(told("other"), Ok(b"other".to_vec()));
        assert_eq!(remove(&[0x99, 0xff]), Ok(vec![0x99, 0xff]));
    }

    #[test]
    fn other_blocks_and_damaged_ones_are_refused() {
        let private = BLOCK.replace("PUBLIC", "PRIVATE");
        assert_eq!(
            told(&private).unwrap_err(),
            "a PGP block that is no PUBLIC KEY BLOCK; give the public part alone, as gpg --export writes it"
        );
        let cut = BLOCK.split("-----END").next().unwrap();
        assert_eq!(told(cut).unwrap_err(), "a PGP PUBLIC KEY BLOCK without its end");
        let damaged = BLOCK.replace("AAEC", "A*EC");
        assert_eq!(told(&damaged).unwrap_err(), "a PGP PUBLIC KEY BLOCK that is not base64");
    }
}
