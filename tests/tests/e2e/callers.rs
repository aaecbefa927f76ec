//! Who a caller is when user namespaces lie between it and the daemon: rootless podman runs as root of one
//! of its own, and a daemon may be put into one.

use std::process::Command;

use holdfast_e2e::house::{House, file, me};
use holdfast_e2e::{binary, eventually, must, must_fail, rpc};
use hsm_sim::KeyKind;
use serde_json::Value;

/// A user that is nobody in particular: in no database, and not the overflow user.
const SOMEBODY: u32 = 64_999;

/// A house in which one user may wrap.
fn house(user: u32) -> House {
    let mut house = House::new();
    house.hsm.generate(&house.token, "images", &[1], KeyKind::EcP256).unwrap();
    house.configure("images", "images", "");
    house.allow(&format!("user = {user}\nto = [\"wrap\"]\nkeys = [\"images\"]"));
    house
}

/// A wrap by `holdfast bridge`, started by `through`, which changes who it is.
fn wrap(house: &House, through: &[&str]) -> Command {
    let program = house.dir.path().join("holdfast");
    must(Command::new("cp").arg(binary("holdfast")).arg(&program));
    let request = serde_json::json!({
        "op": "keywrap",
        "keywrapparams": {
            "ec": {"Parameters": {"holdfast": [b"images"]}},
            "optsdata": rpc::optsdata().raw().expose(),
        },
    });
    let request = file(house.dir.path(), "request.json", request.to_string());
    let (first, rest) = through.split_first().expect("a program");
    let mut command = hsm_sim::command(first, "util-linux").unwrap();
    command.args(rest).args(["sh", "-c", "exec \"$1\" bridge --socket \"$2\" <\"$3\"", "sh"]);
    command.arg(program).arg(house.socket()).arg(request);
    command
}

/// The user the test is for: itself, or, as root is the same on both sides of most mappings, somebody.
fn user() -> u32 {
    if me() == 0 { SOMEBODY } else { me() }
}

/// Becomes that user, where the test is root, and then runs what is behind it.
fn as_user<'a>(then: &[&'a str]) -> Vec<&'a str> {
    let become_user = ["setpriv", "--reuid=64999", "--regid=64999", "--clear-groups", "--"];
    if me() == 0 { [&become_user[..], then].concat() } else { then.to_vec() }
}

async fn last_record(house: &House) -> Value {
    eventually("a record", async || !house.audit().is_empty()).await;
    house.audit().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn root_of_its_own_user_namespace_is_the_user_it_is_outside() {
    // "podman unshare" is this with more ids; "--user" alone maps none.
    for namespace in [&["unshare", "--user", "--map-root-user", "--"][..], &["unshare", "--user", "--"]] {
        let house = house(user());
        let _daemon = house.start();
        must(&mut wrap(&house, &as_user(namespace)));
        assert_eq!(last_record(&house).await["uid"], user(), "{namespace:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn being_root_inside_is_no_use_where_root_may() {
    let house = house(if me() == 0 { 0 } else { SOMEBODY });
    let _daemon = house.start();
    let refused = must_fail(&mut wrap(&house, &as_user(&["unshare", "--user", "--map-root-user", "--"])));
    assert!(refused.contains("no rule allows this caller"), "{refused}");
    assert_eq!(last_record(&house).await["uid"], user());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_the_daemons_namespace_does_not_know_is_nobody_whom_a_rule_matches() {
    const OVERFLOW: u32 = 65_534;
    let house = house(OVERFLOW);
    let inside = house.holdfastd();
    let mut command = hsm_sim::command("unshare", "util-linux").unwrap();
    command.args(["--user", "--"]).arg(inside.get_program()).args(inside.get_args()).envs(house.hsm.env());
    let _daemon = house.start_command(command);
    let refused = must_fail(&mut wrap(&house, &as_user(&["setpriv", "--"])));
    assert!(refused.contains("no rule allows this caller"), "{refused}");
    let record = last_record(&house).await;
    assert_eq!((&record["uid"], &record["gid"]), (&OVERFLOW.into(), &OVERFLOW.into()));
}
