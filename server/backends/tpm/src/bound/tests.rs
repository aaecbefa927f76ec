use std::fs;

use holdfast_custody::KeyKind;
use holdfast_wire::{Curve, PublicKey};
use tempfile::TempDir;
use tss_esapi::structures::{Public, PublicBuffer};
use tss_esapi::traits::Marshall;

use super::*;
use crate::POLICY_AUTHORIZE;
use crate::file::{KeyFile, PolicyCommand};
use crate::signatures::merge;
use crate::template;

const OF_TPM2_OPENSSL: &[u8] = include_bytes!("../file/tpm2-openssl-p256.tss");

struct Scene {
    dir: TempDir,
    policies: SignedPolicies,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let policies = SignedPolicies::new(vec![dir.path().into()]);
        Scene { dir, policies }
    }

    /// A key file with these policy commands, and a public half that has their policy.
    fn key(&self, policy: Vec<PolicyCommand>) -> Result<Bound, Error> {
        let digest = Policy::read(&policy)?.map(|policy| policy.digest().to_vec().try_into().unwrap());
        let public = template::new_key(KeyKind::Ec(Curve::P256), digest).unwrap();
        self.key_with(policy, public)
    }

    fn key_with(&self, policy: Vec<PolicyCommand>, public: Public) -> Result<Bound, Error> {
        let path = self.dir.path().join("a.tss");
        let public = PublicBuffer::try_from(public).unwrap().marshall().unwrap();
        let file = KeyFile { policy, public, ..KeyFile::from_pem(OF_TPM2_OPENSSL).unwrap() };
        fs::write(&path, file.to_pem().unwrap()).unwrap();
        Bound::of(&format!("tpm:file={}", path.display()).parse().unwrap())
    }

    fn standing(&self, bound: &Bound, now: &PcrValues) -> Standing {
        let read = &mut |pcrs: &PcrSelection| now.only(pcrs).ok_or_else(|| format!("{pcrs} is not known"));
        bound.standing(read, &self.policies, None)
    }
}

fn values(pcr7: u8, pcr11: u8) -> PcrValues {
    let hex = |byte: u8| format!("{byte:02x}").repeat(32);
    format!("sha256:7={}+11={}", hex(pcr7), hex(pcr11)).parse().unwrap()
}

fn signer(name: &str) -> PolicyKey {
    let path = format!("{}/../../../tests/vectors/keys/{name}.pub.pem", env!("CARGO_MANIFEST_DIR"));
    PolicyKey::new(PublicKey::from_pem(&fs::read_to_string(path).unwrap()).unwrap()).unwrap()
}

fn standing(open: Option<bool>, why: &[&str]) -> Standing {
    Standing { open, why: why.iter().map(ToString::to_string).collect() }
}

#[test]
fn a_key_without_a_policy_always_opens() {
    let scene = Scene::new();
    let bound = scene.key(Vec::new()).unwrap();
    assert_eq!((bound.to_string().as_str(), bound.is_to_nothing()), ("nothing", true));
    assert_eq!(scene.standing(&bound, &values(0, 0)), standing(Some(true), &[]));
    // A handle alone does not tell.
    let untold = Bound::of(&"tpm:handle=0x81010002".parse().unwrap()).unwrap();
    assert!(!untold.is_to_nothing() && scene.standing(&untold, &values(0, 0)).open.is_none());
}

#[test]
fn a_policy_that_the_key_itself_has_not_is_not_believed() {
    let scene = Scene::new();
    let policy = vec![PcrPolicy::new(&values(1, 2)).command()];
    let free = template::new_key(KeyKind::Ec(Curve::P256), None).unwrap();
    assert!(matches!(scene.key_with(policy, free), Err(Error::KeyUnfit(_))));
}

#[test]
fn exact_values_open_and_others_are_told_by_the_record() {
    let scene = Scene::new();
    let bound = scene.key(vec![PcrPolicy::new(&values(1, 2)).command()]).unwrap();
    assert_eq!(bound.to_string(), "sha256:7+11, exact values");
    assert_eq!(scene.standing(&bound, &values(1, 2)), standing(Some(true), &[]));
    let unknown = scene.standing(&bound, &values(1, 3));
    assert_eq!((unknown.open, unknown.why.len()), (Some(false), 1));
    assert!(unknown.why[0].contains("which one cannot be told"), "{unknown:?}");
    Record::of(values(1, 2), None).write(&scene.dir.path().join("a.tss")).unwrap();
    assert_eq!(
        scene.standing(&bound, &values(1, 3)),
        standing(Some(false), &["PCR 11 differs: 03030303… where it was 02020202…"])
    );
    let both = [
        "PCR 7 differs: 03030303… where it was 01010101…",
        "PCR 11 differs: 03030303… where it was 02020202…",
    ];
    assert_eq!(scene.standing(&bound, &values(3, 3)), standing(Some(false), &both));
    let other_pcrs = format!("sha256:7={}", "00".repeat(32)).parse().unwrap();
    assert_eq!(scene.standing(&bound, &other_pcrs), standing(None, &["sha256:7+11 is not known"]));
}

#[test]
fn signed_values_open_and_the_nearest_of_others_are_told() {
    let scene = Scene::new();
    let key = signer("rsa2048");
    let command = PolicyCommand { code: POLICY_AUTHORIZE, parameters: key.command_parameters() };
    let bound = scene.key(vec![command]).unwrap();
    assert_eq!(bound.to_string(), "PCR policies signed by RSA-2048 70e970d1d5c673f9");
    let none = ["no policy that RSA-2048 70e970d1d5c673f9 has signed is there"];
    assert_eq!(scene.standing(&bound, &values(1, 2)), standing(Some(false), &none));

    // Two of systemd-measure's, for PCR 11 alone, with the values of one of them added.
    let vectors = format!("{}/tests/vectors/systemd-measure", env!("CARGO_MANIFEST_DIR"));
    let mut signed = crate::signatures::parse(&fs::read(format!("{vectors}/rsa2048.json")).unwrap()).unwrap();
    signed.truncate(2);
    let measured: PcrValues = fs::read_to_string(format!("{vectors}/pcr11.txt"))
        .unwrap()
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("11:sha256="))
        .map(|value| format!("sha256:11={value}").parse().unwrap())
        .unwrap();
    signed[0].values = Some(measured.clone());
    let file = signed.iter().fold(String::new(), |file, policy| merge(file.as_bytes(), policy).unwrap());
    fs::write(scene.dir.path().join("a.json"), file).unwrap();

    let fits = ["a policy for sha256:11 fits"];
    assert_eq!(scene.standing(&bound, &measured), standing(Some(true), &fits));
    let nearest = [
        "none of the 2 policies that RSA-2048 70e970d1d5c673f9 has signed fits",
        "the nearest is one for sha256:11:",
        "PCR 11 differs: 02020202… where it was 7c502c60…",
    ];
    assert_eq!(scene.standing(&bound, &values(1, 2)), standing(Some(false), &nearest));
    let pcr7 = values(1, 2).only(&"sha256:7".parse().unwrap()).unwrap();
    let untold = scene.standing(&bound, &pcr7);
    assert_eq!((untold.open, untold.why.last().unwrap().as_str()), (None, "sha256:11 is not known"));
}

#[test]
fn a_signer_that_is_written_in_another_way_is_told() {
    let scene = Scene::new();
    let mut parameters = signer("ec-P-256").command_parameters();
    // A policyRef, as openssl_tpm2_engine has it.
    let at = parameters.len() - 4;
    parameters.splice(at..at + 2, [&[0, 32][..], &[7; 32]].concat());
    let error = scene.key(vec![PolicyCommand { code: POLICY_AUTHORIZE, parameters }]).unwrap_err();
    assert!(matches!(&error, Error::KeyUnfit(why) if why.contains("or with a policyRef")), "{error:?}");
    assert!(matches!(
        Bound::of(&format!("tpm:file={}", scene.dir.path().join("none").display()).parse().unwrap()),
        Err(Error::KeyNotFound)
    ));
}
