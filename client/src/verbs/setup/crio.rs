//! CRI-O decrypts by itself, with ocicrypt: it needs the provider's file, and the variable that names it
//! in its unit. Its `decryption_keys_path` is for key files, and may be missing.

use super::provider::{Provider, Theirs};
use super::{VARIABLE, finish};
use crate::cli::{Common, Node};
use crate::failure::Failure;
use crate::owned::{Plan, whole};
use crate::root::Root;

const PROVIDERS: &str = "/etc/crio/ocicrypt_keyprovider.conf";
const UNIT: &str = "/etc/systemd/system/crio.service.d/60-holdfast.conf";
const MARK: &str = "# Written by `holdfast setup crio`; changes are lost. --remove takes it away.";

pub(crate) fn run(common: &Common, node: &Node) -> Result<(), Failure> {
    let provider = Provider::called(&node.name, &common.socket)?;
    let mut plan = Plan::new(Root::new(&node.root)?);
    plan.file(PROVIDERS, provider.edit(node.remove, Theirs::on_a_node(node)));
    let unit = format!("[Service]\nEnvironment={VARIABLE}={PROVIDERS}\n");
    plan.file(UNIT, whole(MARK, unit, node.remove, node.force));
    finish(common, node, &plan, "systemctl daemon-reload && systemctl restart crio")
}
