//! The module that misbehaves, met by a program of other people: OpenSC's pkcs11-tool.

#![allow(clippy::unwrap_used)] // what fails here fails the test

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output};
use std::time::Duration;

use hsm_sim::{Fault, FaultyModule, Order, Process, SoftHsm, command};

struct Scene {
    hsm: SoftHsm,
    module: FaultyModule,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Scene {
        let hsm = SoftHsm::start().unwrap();
        hsm.init_token("prod").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let module = FaultyModule::install(dir.path(), hsm.module()).unwrap();
        Scene { hsm, module, _dir: dir }
    }

    fn tool(&self, argument: &str) -> Command {
        let mut tool = command("pkcs11-tool", "opensc").unwrap();
        tool.arg("--module").arg(self.module.path()).arg(argument).envs(self.hsm.env());
        tool
    }

    fn slots(&self) -> Output {
        self.tool("--list-token-slots").output().unwrap()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn without_orders_it_is_the_module_behind_it_and_counts_its_calls() {
    let scene = Scene::new();
    let said = text(&scene.slots());
    assert!(said.contains("prod"), "{said}");
    assert_eq!(scene.module.calls("C_Initialize").unwrap(), 1);
    assert!(scene.module.calls("C_GetSlotList").unwrap() >= 2);
    assert_eq!(scene.module.calls("C_Login").unwrap(), 0);
}

#[test]
fn it_answers_what_is_ordered_as_often_as_is_ordered() {
    let scene = Scene::new();
    let fails = Order::at("C_Initialize", Fault::Returns("CKR_DEVICE_ERROR"));
    scene.module.order(&[fails.times(1)]).unwrap();
    // Each process counts anew.
    for _ in 0..2 {
        let said = text(&scene.slots());
        assert!(said.contains("CKR_DEVICE_ERROR") && !said.contains("prod"), "{said}");
    }
    scene.module.behave().unwrap();
    assert!(text(&scene.slots()).contains("prod"));
}

#[test]
fn slots_move_and_tokens_go() {
    let scene = Scene::new();
    let number = |said: &str| {
        let at = said.find("(0x").unwrap() + 3;
        u64::from_str_radix(&said[at..at + said[at..].find(')').unwrap()], 16).unwrap()
    };
    let before = number(&text(&scene.slots()));
    scene.module.move_slots(1000).unwrap();
    let said = text(&scene.slots());
    assert!(number(&said) == before + 1000 && said.contains("prod"), "{said}");
    scene.module.remove_tokens().unwrap();
    let said = text(&scene.slots());
    assert!(!said.contains("prod"), "{said}");
}

#[test]
fn it_aborts_while_it_is_loaded() {
    let scene = Scene::new();
    scene.module.order(&[Order::at("load", Fault::Aborts)]).unwrap();
    let output = scene.slots();
    assert_eq!(output.status.signal(), Some(6), "{}", text(&output));
}

#[test]
fn a_hang_ends_when_the_order_does() {
    let scene = Scene::new();
    scene.module.order(&[Order::at("C_GetInfo", Fault::Hangs)]).unwrap();
    let tool = Process::spawn(scene.tool("--show-info"), "pkcs11-tool").unwrap();
    let mut tool =
        tool.ready_when(Duration::from_secs(30), |_| scene.module.calls("C_GetInfo").unwrap() == 1).unwrap();
    assert!(tool.wait(Duration::from_millis(200)).is_err(), "it hangs");
    scene.module.behave().unwrap();
    assert!(tool.wait(Duration::from_secs(30)).unwrap().success());
}
