//! podman, buildah and skopeo read where the provider is from their environment as they start, and
//! nowhere else: `env` in containers.conf is set too late for it (measured with podman 5.4).

use super::provider::{Provider, Theirs};
use super::{VARIABLE, finish};
use crate::cli::{Common, Node};
use crate::failure::Failure;
use crate::owned::{Plan, whole};
use crate::root::Root;

const PROVIDERS: &str = "/etc/containers/ocicrypt_keyprovider.conf";
/// Login shells.
const PROFILE: &str = "/etc/profile.d/holdfast.sh";
/// Users' services, podman's socket-activated one among them: environment.d(5).
const USERS: &str = "/etc/environment.d/60-holdfast.conf";
/// The system's podman service.
const UNIT: &str = "/etc/systemd/system/podman.service.d/60-holdfast.conf";
const MARK: &str = "# Written by `holdfast setup podman`; changes are lost. --remove takes it away.";

pub(crate) fn run(common: &Common, node: &Node) -> Result<(), Failure> {
    let provider = Provider::called(&node.name, &common.socket)?;
    let ours = |text: String| whole(MARK, text, node.remove, node.force);
    let mut plan = Plan::new(Root::new(&node.root)?);
    plan.file(PROVIDERS, provider.edit(node.remove, Theirs::on_a_node(node)));
    // A user's own choice stands.
    plan.file(PROFILE, ours(format!(": \"${{{VARIABLE}:={PROVIDERS}}}\"\nexport {VARIABLE}\n")));
    plan.file(USERS, ours(format!("{VARIABLE}={PROVIDERS}\n")));
    plan.file(UNIT, ours(format!("[Service]\nEnvironment={VARIABLE}={PROVIDERS}\n")));
    let mut then = "log in anew, and systemctl daemon-reload".to_owned();
    if !node.remove {
        then.push_str(&format!("; then: podman pull --decryption-key provider:{} IMAGE", node.name));
    }
    finish(common, node, &plan, &then)
}
