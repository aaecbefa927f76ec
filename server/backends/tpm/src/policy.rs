//! The policies of keys: TPM2_PolicyPCR alone (TPM 2.0 Library Part 3, section 23.7), or TPM2_PolicyAuthorize
//! (section 23.16), with which a signer approves of PCR policies later, alone or with the one command that the key is
//! for (TPM2_PolicyCommandCode, section 23.11).
//!
//! In a key file a PolicyPCR's parameters stand as they are hashed into the policy: the TPML_PCR_SELECTION,
//! then the SHA-256 over the PCRs' values, without a length.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::digest;
use holdfast_custody::{Error, PcrBank, PcrSelection, PcrValues};
use holdfast_wire::PublicKey;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{PcrSelectSize, PcrSelectionList, PcrSlot};

use crate::file::PolicyCommand;
use crate::{POLICY_AUTHORIZE, PolicyKey};

/// TPM_CC_PolicyPCR.
const POLICY_PCR: u32 = 0x17f;
/// TPM_CC_PolicyCommandCode.
const POLICY_COMMAND_CODE: u32 = 0x16c;
const DIGEST_LEN: usize = 32;

/// What the use of a key is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Exact values of PCRs.
    Exact(PcrPolicy),
    /// PCR policies that the holder of this key has signed.
    Signed {
        /// The public half.
        signer: PolicyKey,
        /// The one command that the key may be used with, whatever the signer approves of (TPM2_PolicyCommandCode,
        /// section 23.11). A key that is not fixed to its TPM could be duplicated by its signer's will otherwise.
        command: Option<UseCommand>,
    },
}

impl Policy {
    /// For a key with this public half that is brought into a TPM.
    pub(crate) fn signed_for_one_command(signer: PolicyKey, key: &PublicKey) -> Policy {
        let rsa = matches!(key, PublicKey::Rsa(_));
        let command = if rsa { UseCommand::RsaDecrypt } else { UseCommand::EcdhZGen };
        Policy::Signed { signer, command: Some(command) }
    }

    /// From a key's file. Other policies than these are not used.
    pub(crate) fn read(commands: &[PolicyCommand]) -> Result<Option<Policy>, Error> {
        let damaged =
            |what: &str| Error::KeyUnfit(format!("the policy in the key's file is damaged, or {what}"));
        match commands {
            [] => Ok(None),
            [PolicyCommand { code: POLICY_PCR, parameters }] => PcrPolicy::parse(parameters)
                .map(|policy| Some(Policy::Exact(policy)))
                .ok_or_else(|| damaged("not of one bank, SHA-256 or SHA-384")),
            [PolicyCommand { code: POLICY_AUTHORIZE, parameters }, rest @ ..] if rest.len() < 2 => {
                let signer = PolicyKey::from_command_parameters(parameters).ok_or_else(|| {
                    damaged("signed by a key of another kind than RSA, P-256 and P-384, or with a policyRef")
                })?;
                let command = rest.first().map(UseCommand::read).transpose()?;
                Ok(Some(Policy::Signed { signer, command }))
            }
            _ => Err(Error::KeyUnfit(
                "the key has a policy of several or other commands than PolicyPCR or PolicyAuthorize, which this version does not use".into(),
            )),
        }
    }

    /// For a key's file.
    pub(crate) fn commands(&self) -> Vec<PolicyCommand> {
        match self {
            Policy::Exact(policy) => vec![policy.command()],
            Policy::Signed { signer, command } => {
                let authorize =
                    PolicyCommand { code: POLICY_AUTHORIZE, parameters: signer.command_parameters() };
                [authorize].into_iter().chain(command.map(UseCommand::policy)).collect()
            }
        }
    }

    /// The policy's digest, as it stands in the public half of a key whose names are SHA-256.
    pub(crate) fn digest(&self) -> [u8; DIGEST_LEN] {
        match self {
            Policy::Exact(policy) => policy.digest(),
            Policy::Signed { signer, command: None } => signer.policy_digest(),
            Policy::Signed { signer, command: Some(command) } => {
                let mut hash = digest::Context::new(&digest::SHA256);
                hash.update(&signer.policy_digest());
                hash.update(&POLICY_COMMAND_CODE.to_be_bytes());
                hash.update(&command.code().to_be_bytes());
                sha256(hash)
            }
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Policy::Exact(policy) => write!(f, "{}, exact values", policy.pcrs()),
            Policy::Signed { signer, .. } => write!(f, "PCR policies signed by {signer}"),
        }
    }
}

/// A command that uses a key (TPM_CC, Part 2, section 6.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UseCommand {
    /// TPM2_RSA_Decrypt
    RsaDecrypt,
    /// TPM2_ECDH_ZGen
    EcdhZGen,
}

impl UseCommand {
    fn code(self) -> u32 {
        match self {
            UseCommand::RsaDecrypt => 0x159,
            UseCommand::EcdhZGen => 0x154,
        }
    }

    fn policy(self) -> PolicyCommand {
        PolicyCommand { code: POLICY_COMMAND_CODE, parameters: self.code().to_be_bytes().to_vec() }
    }

    fn read(command: &PolicyCommand) -> Result<UseCommand, Error> {
        [UseCommand::RsaDecrypt, UseCommand::EcdhZGen].into_iter().find(|known| known.policy() == *command).ok_or_else(|| {
            Error::KeyUnfit(
                "the policy in the key's file allows another command than TPM2_RSA_Decrypt or TPM2_ECDH_ZGen, or is damaged".into(),
            )
        })
    }
}

/// PCRs and what they are to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PcrPolicy {
    pcrs: PcrSelection,
    /// Bytes of the selection's bit field, which are part of the policy.
    select_len: u8,
    /// SHA-256 over the values, in the order of the PCRs.
    values: [u8; DIGEST_LEN],
}

impl PcrPolicy {
    /// Every TPM writes three bytes of selection for its 24 PCRs.
    const SELECT_LEN: u8 = 3;

    pub(crate) fn new(values: &PcrValues) -> PcrPolicy {
        let mut hash = digest::Context::new(&digest::SHA256);
        values.iter().for_each(|(_, value)| hash.update(value));
        PcrPolicy { pcrs: values.selection(), select_len: PcrPolicy::SELECT_LEN, values: sha256(hash) }
    }

    fn parse(parameters: &[u8]) -> Option<PcrPolicy> {
        let (count, rest) = parameters.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let (select_len, rest) = rest.split_first()?;
        if u32::from_be_bytes(*count) != 1 || !(1..=4).contains(select_len) {
            return None;
        }
        let (select, values) = rest.split_at_checked(usize::from(*select_len))?;
        let bank = match u16::from_be_bytes(*hash) {
            0x000b => PcrBank::Sha256,
            0x000c => PcrBank::Sha384,
            _ => return None,
        };
        let bits = select.iter().zip(0u8..).flat_map(|(byte, index)| {
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| 8 * index + bit)
        });
        let numbers: BTreeSet<u8> = bits.collect();
        Some(PcrPolicy {
            pcrs: PcrSelection::new(bank, numbers)?,
            select_len: *select_len,
            values: values.try_into().ok()?,
        })
    }

    /// For a key's file.
    pub(crate) fn command(&self) -> PolicyCommand {
        let mut select = vec![0u8; usize::from(self.select_len)];
        for number in self.pcrs.numbers() {
            if let Some(byte) = select.get_mut(usize::from(number / 8)) {
                *byte |= 1 << (number % 8);
            }
        }
        let hash: u16 = match self.pcrs.bank() {
            PcrBank::Sha256 => 0x000b,
            PcrBank::Sha384 => 0x000c,
        };
        let parameters =
            [&1u32.to_be_bytes()[..], &hash.to_be_bytes(), &[self.select_len], &select, &self.values]
                .concat();
        PolicyCommand { code: POLICY_PCR, parameters }
    }

    /// The policy's digest, as it stands in the public half of a key whose names are SHA-256.
    pub(crate) fn digest(&self) -> [u8; DIGEST_LEN] {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&[0; DIGEST_LEN]);
        hash.update(&POLICY_PCR.to_be_bytes());
        hash.update(&self.command().parameters);
        sha256(hash)
    }

    /// Whether the TPM would take it with these values, which are those of its PCRs.
    pub(crate) fn is_met_by(&self, values: &PcrValues) -> bool {
        let now = PcrPolicy::new(values);
        (&now.pcrs, now.values) == (&self.pcrs, self.values)
    }

    pub(crate) fn pcrs(&self) -> &PcrSelection {
        &self.pcrs
    }

    pub(crate) fn values(&self) -> &[u8] {
        &self.values
    }

    /// As tss-esapi has it.
    pub(crate) fn selection(&self) -> Result<PcrSelectionList, tss_esapi::Error> {
        selection(&self.pcrs, self.select_len)
    }
}

/// The selection of a policy that is to be made.
pub(crate) fn new_selection(pcrs: &PcrSelection) -> Result<PcrSelectionList, tss_esapi::Error> {
    selection(pcrs, PcrPolicy::SELECT_LEN)
}

fn selection(pcrs: &PcrSelection, select_len: u8) -> Result<PcrSelectionList, tss_esapi::Error> {
    let slots =
        pcrs.numbers().map(|number| PcrSlot::try_from(1u32 << number)).collect::<Result<Vec<_>, _>>()?;
    let bank = match pcrs.bank() {
        PcrBank::Sha256 => HashingAlgorithm::Sha256,
        PcrBank::Sha384 => HashingAlgorithm::Sha384,
    };
    PcrSelectionList::builder()
        .with_size_of_select(PcrSelectSize::try_parse_u8(select_len)?)
        .with_selection(bank, &slots)
        .build()
}

fn sha256(hash: digest::Context) -> [u8; DIGEST_LEN] {
    let mut bytes = [0; DIGEST_LEN];
    bytes.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> PcrPolicy {
        let zeros = "00".repeat(32);
        PcrPolicy::new(&format!("sha256:7={zeros}+11={zeros}").parse().unwrap())
    }

    #[test]
    fn a_policy_is_written_as_it_is_hashed_and_reads_back() {
        let command = policy().command();
        assert_eq!(command.parameters[..10], [0, 0, 0, 1, 0, 0x0b, 3, 0x80, 0x08, 0]);
        assert_eq!(Policy::read(&[command]).unwrap(), Some(Policy::Exact(policy())));
        assert_eq!(Policy::read(&[]).unwrap(), None);
    }

    #[test]
    fn what_is_no_policy_of_ours_is_refused() {
        let good = policy().command();
        let unfit = |commands: &[PolicyCommand]| {
            assert!(matches!(Policy::read(commands), Err(Error::KeyUnfit(_))), "{commands:?}");
        };
        unfit(&[good.clone(), good.clone()]);
        unfit(&[PolicyCommand { code: 0x16b, ..good.clone() }]);
        for end in 0..good.parameters.len() {
            unfit(&[PolicyCommand { parameters: good.parameters[..end].to_vec(), ..good.clone() }]);
        }
        let changed = |at: usize, to: u8| {
            let mut parameters = good.parameters.clone();
            parameters[at] = to;
            [PolicyCommand { parameters, ..good.clone() }]
        };
        unfit(&changed(3, 2)); // two banks
        unfit(&changed(5, 0x04)); // SHA-1
        unfit(&changed(6, 9)); // an endless bit field
        let mut none = changed(7, 0);
        none[0].parameters[8] = 0;
        unfit(&none); // no PCR at all
    }

    #[test]
    fn a_signers_policy_may_be_for_one_command_and_only_for_one_that_opens() {
        let pem = include_str!("../../../../tests/vectors/keys/ec-P-256.pub.pem");
        let signer = PolicyKey::new(PublicKey::from_pem(pem).unwrap()).unwrap();
        for command in [None, Some(UseCommand::RsaDecrypt), Some(UseCommand::EcdhZGen)] {
            let policy = Policy::Signed { signer: signer.clone(), command };
            assert_eq!(Policy::read(&policy.commands()).unwrap(), Some(policy));
        }
        let policy = Policy::Signed { signer, command: Some(UseCommand::EcdhZGen) };
        let [authorize, only] = policy.commands().try_into().unwrap();
        // TPM_CC_Duplicate
        let duplicate = PolicyCommand { parameters: 0x14b_u32.to_be_bytes().to_vec(), ..only.clone() };
        for commands in [
            vec![authorize.clone(), duplicate],
            vec![authorize.clone(), only.clone(), only.clone()],
            vec![authorize.clone(), authorize.clone()],
            vec![only.clone(), authorize],
            vec![only],
        ] {
            assert!(matches!(Policy::read(&commands), Err(Error::KeyUnfit(_))), "{commands:?}");
        }
    }
}
