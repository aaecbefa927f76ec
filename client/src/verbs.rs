//! The verbs, one a file.

mod bridge;
pub(crate) mod decode;
mod doctor;
mod image_decrypt;
mod image_encrypt;
mod image_inspect;
mod image_inventory;
mod image_reencrypt;
mod image_rewrap;
mod key_export;
mod key_list;
mod key_show;
pub(crate) mod setup;
mod status;
mod written;

use serde_json::json;

use crate::cli::{Cli, ImageVerb, KeyVerb, SetupVerb, Verb};
use crate::decode::{Holder, Inherited};
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    let common = &cli.common;
    match cli.verb {
        Verb::Image(verb) => match *verb {
            ImageVerb::Decrypt(wanted) => image_decrypt::run(common, &wanted),
            ImageVerb::Encrypt(wanted) => image_encrypt::run(common, &wanted),
            ImageVerb::Inspect(wanted) => image_inspect::run(common, &wanted),
            ImageVerb::Rewrap(wanted) => image_rewrap::run(common, &wanted),
            ImageVerb::Inventory(wanted) => image_inventory::run(common, &wanted),
        },
        Verb::Key(KeyVerb::List) => key_list::run(common),
        Verb::Key(KeyVerb::Show { alias }) => key_show::run(common, &alias),
        Verb::Key(KeyVerb::Export { alias, format, output }) => {
            key_export::run(common, &alias, format, output.as_deref())
        }
        Verb::Setup(SetupVerb::Ocicrypt(wanted)) => setup::ocicrypt::run(common, &wanted),
        Verb::Setup(SetupVerb::Containerd(wanted)) => setup::containerd::run(common, &wanted),
        Verb::Setup(SetupVerb::Crio(node)) => setup::crio::run(common, &node),
        Verb::Setup(SetupVerb::Podman(node)) => setup::podman::run(common, &node),
        Verb::Bridge => bridge::run(common),
        // Listed for the help; whoever types it comes in by a door of its own.
        Verb::Decode(wanted) => decode::run(common, &wanted, Inherited::default(), &mut Holder::default()),
        Verb::Doctor(wanted) => doctor::run(common, &wanted),
        Verb::Status => status::run(common),
        Verb::Version => {
            let version = env!("CARGO_PKG_VERSION");
            if common.json {
                output::print_json(&json!({ "version": version }))?;
            } else {
                output::print(&format!("holdfast {version}\n"))?;
            }
            Ok(())
        }
    }
}
