//! A registry that asks for tokens, and what each of its users may do by ours.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_e2e::house::{House, file};
use holdfast_e2e::peers::registry::Registry;
use holdfast_e2e::peers::tokens::TokenServer;
use holdfast_e2e::peers::{Peers, succeeds};
use holdfast_e2e::{image, must, must_fail};
use hsm_sim::{Authority, KeyKind};

struct Scene {
    house: House,
    peers: Peers,
    tokens: TokenServer,
    registry: Registry,
    plain: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        let house = House::new().key("old", KeyKind::Rsa3072).key("new", KeyKind::EcP256);
        let peers = Peers::of(&house);
        let authority = Authority::new(house.dir.path(), "tokens").unwrap();
        let tokens = TokenServer::start(&authority);
        let registry = Registry::start_with_tokens(&peers, &tokens);
        let plain = image::build(house.dir.path(), 2);
        Scene { house, peers, tokens, registry, plain }
    }

    fn name(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.registry.address())
    }

    /// A file of credentials with this entry for the registry.
    fn authfile(&self, name: &str, entry: &str) -> String {
        let text = format!(r#"{{"auths":{{"{}":{entry}}}}}"#, self.registry.address());
        format!("--authfile={}", file(self.house.dir.path(), name, text).display())
    }

    fn login(&self, user: &str, password: &str) -> String {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        self.authfile(user, &format!(r#"{{"auth":"{pair}"}}"#))
    }

    /// `holdfast image …`, without credentials of the machine's.
    fn image(&self, words: &[&str]) -> Command {
        let mut command = self.house.holdfast();
        command.env("HOME", self.house.dir.path()).env_remove("XDG_RUNTIME_DIR").arg("image").args(words);
        command
    }
}

#[test]
fn an_image_lives_in_a_registry_that_asks_for_tokens() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let me = scene.login("me", "hunter2");
    let (plain, app) = (image::oci(&scene.plain), scene.name("team/app:v1"));
    must(&mut scene.image(&["encrypt", &plain, &app, "--to", "holdfast:old", &me]));
    let mut skopeo = scene.peers.skopeo();
    let opened = scene.house.dir.path().join("opened");
    skopeo.args(["copy", "--src-tls-verify=false", "--src-creds", "me:hunter2"]);
    skopeo.args(["--decryption-key", "provider:holdfast", &app, &image::oci(&opened)]);
    succeeds(skopeo);
    assert!(image::same_layers(&scene.plain, &opened));

    must(&mut scene.image(&["rewrap", &app, "--add", "holdfast:new", "--remove", "holdfast:old", &me]));
    // To another repository, which takes a token for both.
    let other = scene.name("partner/app:v1");
    must(&mut scene.image(&["rewrap", &app, &other, "--to", "holdfast:old", &me]));
    assert!(
        scene.tokens.asked().iter().any(|scope| scope == "repository:team/app:pull"),
        "{:?}",
        scene.tokens.asked()
    );
    let said = must(&mut scene.image(&["inventory", scene.registry.address(), "--key", "old", &me]));
    assert!(
        said.contains("partner/app:v1")
            && said.ends_with("1 need old (2 tags in 2 repositories, all read)\n"),
        "{said}"
    );
    let decrypted = image::oci(&scene.house.dir.path().join("decrypted"));
    must(&mut scene.image(&["decrypt", &other, &decrypted, &me]));
}

#[test]
fn who_may_only_read_is_told_so_and_writes_nothing() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let (me, reader) = (scene.login("me", "hunter2"), scene.login("reader", "hunter3"));
    let (plain, app) = (image::oci(&scene.plain), scene.name("app:v1"));
    must(&mut scene.image(&["encrypt", &plain, &app, "--to", "holdfast:old", &me]));
    must(&mut scene.image(&["inspect", &app, &reader]));
    for words in [
        &["encrypt", &plain, &scene.name("app:v2"), "--to", "holdfast:old"][..],
        &["rewrap", &app, "--add", "holdfast:new"],
    ] {
        let said = must_fail(&mut scene.image(&[words, &[&reader]].concat()));
        assert!(said.contains("does not let this user do that in"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let said = must(&mut scene.image(&["inventory", scene.registry.address(), &me]));
    assert!(said.contains("app:v1") && !said.contains("app:v2"), "{said}");
}

#[test]
fn who_is_not_known_is_told_to_log_in() {
    let scene = Scene::new();
    let app = scene.name("app:v1");
    let nobody = scene.authfile("nobody", r#"{"auth":"bWU6d3Jvbmc="}"#);
    let said = must_fail(&mut scene.image(&["inspect", &app, &nobody]));
    assert!(said.contains("refuses this user's credentials; log in (skopeo login)"), "{said}");
    assert!(!said.contains("wrong") && said.lines().count() == 1, "{said}");
    let said = must_fail(&mut scene.image(&["inspect", &app]));
    assert!(said.contains("refuses who has no credentials; log in (skopeo login)"), "{said}");
}

#[test]
fn a_refresh_token_is_good_for_tokens() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let refresh = scene.authfile("refresh", r#"{"auth":"", "identitytoken":"hunter4"}"#);
    let (plain, app) = (image::oci(&scene.plain), scene.name("app:v1"));
    must(&mut scene.image(&["encrypt", &plain, &app, "--to", "holdfast:old", &refresh]));
    must(&mut scene.image(&["inspect", &app, &refresh]));
}

#[test]
fn a_credential_helper_is_asked() {
    let scene = Scene::new();
    let _daemon = scene.house.start();
    let bin = scene.house.dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let helper = file(
        &bin,
        "docker-credential-vault",
        format!(
            "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = {} ] && echo '{{\"Username\":\"me\",\"Secret\":\"hunter2\"}}'\n",
            scene.registry.address()
        ),
    );
    must(Command::new("chmod").arg("755").arg(helper));
    let config = format!(r#"{{"credHelpers":{{"{}":"vault"}}}}"#, scene.registry.address());
    let config = format!("--authfile={}", file(scene.house.dir.path(), "helpers", config).display());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let (plain, app) = (image::oci(&scene.plain), scene.name("app:v1"));
    must(scene.image(&["encrypt", &plain, &app, "--to", "holdfast:old", &config]).env("PATH", path));
    // One that is not there.
    let said = must_fail(&mut scene.image(&["inspect", &app, &config]));
    assert!(said.contains("install it, or log in again") && said.lines().count() == 1, "{said}");
}
