//! One kryoptic token, made by PKCS#11 calls, since it has no tool of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use holdfast_custody::{Connect, PinLatch};
use holdfast_pkcs11::{Config, PinSource, Token};
use holdfast_wire::{Curve, KeyUri, PublicKey};

/// Where the module is; the make target says it.
const MODULE: &str = "KRYOPTIC_MODULE";
const LABEL: &str = "contract";
const PIN: &str = "24681357";
const SO_PIN: &str = "13572468";

static HOME: OnceLock<PathBuf> = OnceLock::new();

pub(crate) fn enter(home: PathBuf) {
    HOME.set(home).expect("entered once");
}

/// Writes kryoptic's configuration: one slot, its token in a database of that directory.
pub(crate) fn configuration(home: &Path) -> PathBuf {
    let file = home.join("kryoptic.conf");
    let database = home.join("token.sql");
    let text = format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n", database.display());
    std::fs::write(&file, text).unwrap();
    file
}

pub(crate) fn module() -> PathBuf {
    std::env::var_os(MODULE).expect("KRYOPTIC_MODULE is not set; run: make test-kryoptic").into()
}

pub(crate) struct World {
    pub(crate) context: Pkcs11,
    pub(crate) slot: Slot,
    session: Session,
}

/// The token, made by whoever asks first. Its session stays, and with it the login.
pub(crate) fn make() -> World {
    let context = Pkcs11::new(module()).unwrap();
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = context.get_slots_with_token().unwrap()[0];
    let (pin, so_pin) = (AuthPin::new(PIN.into()), AuthPin::new(SO_PIN.into()));
    context.init_token(slot, &so_pin, LABEL).unwrap();
    let session = context.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&so_pin)).unwrap();
    session.init_pin(&pin).unwrap();
    session.logout().unwrap();
    session.login(UserType::User, Some(&pin)).unwrap();
    World { context, slot, session }
}

impl World {
    /// A key pair with the custody that a good HSM gives, and its public half.
    pub(crate) fn rsa(&self, label: &str, id: u8, bits: u32) -> PublicKey {
        let public = [Attribute::ModulusBits(u64::from(bits).into())];
        let mechanism = Mechanism::RsaPkcsKeyPairGen;
        let found = [AttributeType::Modulus, AttributeType::PublicExponent];
        let told = self.generate(&mechanism, label, id, &public, Attribute::Decrypt(true), &found);
        match told.as_slice() {
            [Attribute::Modulus(modulus), Attribute::PublicExponent(exponent)] => {
                PublicKey::rsa(modulus, exponent).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Likewise.
    pub(crate) fn ec(&self, label: &str, id: u8, curve: Curve) -> PublicKey {
        let public = [Attribute::EcParams(curve.to_der())];
        let mechanism = Mechanism::EccKeyPairGen;
        let told =
            self.generate(&mechanism, label, id, &public, Attribute::Derive(true), &[AttributeType::EcPoint]);
        match told.as_slice() {
            // A DER OCTET STRING, of which the point is the end.
            [Attribute::EcPoint(der)] => {
                PublicKey::ec(curve, &der[der.len() - 1 - 2 * curve.coordinate_len()..]).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// An AES-256 key with the same custody.
    pub(crate) fn aes(&self, label: &str, id: u8) {
        let template = [
            Attribute::Token(true),
            Attribute::Label(label.into()),
            Attribute::Id(vec![id]),
            Attribute::ValueLen(32.into()),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        self.session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    }

    fn generate(
        &self,
        mechanism: &Mechanism<'_>,
        label: &str,
        id: u8,
        public: &[Attribute],
        usage: Attribute,
        told: &[AttributeType],
    ) -> Vec<Attribute> {
        let named = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(vec![id])];
        let private =
            [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false), usage];
        let (public, _) = self
            .session
            .generate_key_pair(mechanism, &[&named, public].concat(), &[&named[..], &private].concat())
            .unwrap();
        self.session.get_attributes(public, told).unwrap()
    }
}

pub(crate) fn connector() -> Arc<Connect> {
    let home = HOME.get().expect("entered");
    let pin = home.join("pin");
    std::fs::write(&pin, PIN).unwrap();
    let token = Token::new(Config {
        module: module(),
        uri: format!("pkcs11:token={LABEL}").parse().unwrap(),
        pin: PinSource::File(pin),
        latch: PinLatch::new(home, LABEL),
    });
    Arc::new(move || token.connect())
}

pub(crate) fn key(label: &str) -> KeyUri {
    format!("pkcs11:token={LABEL};object={label}").parse().unwrap()
}
