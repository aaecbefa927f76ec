//! The daemon, asked as whom this command runs as: for containerd that is root.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::getuid;

use super::Report;
use crate::cli::Common;
use crate::daemon::Daemon;

const CHECK: &str = "daemon";
const RULES: &str = "rules";
/// Whom the kernel shows for callers that a namespace has no id for (user_namespaces(7)).
const OVERFLOW: &str = "uid 65534";

pub(super) fn check(common: &Common, report: &mut Report) {
    let socket = &common.socket;
    let asked = Daemon::connect(common).and_then(|daemon| Ok((daemon.status()?, daemon.keys()?)));
    let (status, keys) = match asked {
        Ok(answers) => answers,
        Err(failure) => {
            // It says what to do itself.
            report.fault(
                CHECK,
                failure.to_string(),
                socket,
                "systemctl status holdfastd; journalctl -u holdfastd",
            );
            return;
        }
    };
    report.ok(CHECK, format!("holdfastd {} answers", status.version), socket);
    if let Some(mode) =
        socket.metadata().ok().map(|found| found.permissions().mode()).filter(|mode| mode & 0o002 != 0)
    {
        report.warning(
            "socket",
            format!("everybody on this machine may connect (mode {:04o})", mode & 0o7777),
            socket,
            "mode = \"0660\" and a group in [listen]; who gets a key is the rules' matter all the same",
        );
    }
    let root = getuid().is_root();
    if !root {
        report.unknown(
            RULES,
            format!("asked as {}, and containerd asks as root", status.caller),
            socket,
            "run this as root",
        );
    }
    if !status.known {
        if root {
            let remedy = if status.caller.starts_with(OVERFLOW) {
                "the daemon is in a user namespace, which this caller is not in: run it on the host, without PrivateUsers="
            } else {
                "add a rule with user = \"root\" and to = [\"unwrap\"] to holdfastd's configuration, then reload it"
            };
            report.fault(RULES, format!("no [[allow]] rule names {}", status.caller), socket, remedy);
        }
        return;
    }
    if !status.audit_trouble.is_empty() {
        report.fault(
            "audit",
            format!("requests are refused, as they cannot be written down: {}", status.audit_trouble),
            socket,
            "make room for the audit log, or give it back to the daemon's user",
        );
    }
    for token in &status.tokens {
        if token.serving {
            report.ok("token", format!("{} is serving", token.name), socket);
        } else {
            report.fault(
                "token",
                format!("{} is not serving: {}", token.name, token.trouble),
                socket,
                "holdfastd check --tokens says more, and so does the daemon's log",
            );
        }
    }
    let opens = |key: &&holdfast_wire::grpc::v1::Key| key.permissions.iter().any(|may| may == "unwrap");
    for key in keys.iter().filter(|key| !key.trouble.is_empty()) {
        report.fault("key", format!("{}: {}", key.alias, key.trouble), socket, "holdfastd check --tokens");
    }
    match keys.iter().filter(opens).count() {
        0 if root => report.fault(
            RULES,
            "root may unwrap with no key: layers are refused",
            socket,
            "add to = [\"unwrap\"] to a rule for root, then reload holdfastd",
        ),
        0 => {}
        count => report.ok(RULES, format!("{} may unwrap with {count} keys", status.caller), socket),
    }
}
