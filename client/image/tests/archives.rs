//! Images in tar archives, OCI's and docker's: read where they lie, written whole, and every way in which a stranger's
//! archive may be wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast_image::{
    DockerArchive, Error, Inspected, OciArchive, Selection, Source, Target, Written, decrypt, encrypt,
    inspect,
};
use serde_json::{Value, json};
use support::{Clear, Refuses, Stops, TestImage, TestLayout, files, oci, tar};
use tar::{Builder, EntryType, Header};
use tempfile::{TempDir, tempdir};

fn archive(file: &Path) -> OciArchive {
    OciArchive { file: file.to_owned(), tag: None }
}

fn docker(file: &Path, image: Option<&str>) -> DockerArchive {
    DockerArchive { file: file.to_owned(), image: image.map(str::to_owned) }
}

fn encrypted(from: &dyn Source, to: &dyn Target) -> Result<Written, Error> {
    encrypt(from, to, &Selection::default(), &Clear, None, &())
}

fn decrypted(from: &dyn Source, to: &dyn Target) -> Result<Written, Error> {
    decrypt(from, to, None, &Clear, None, &())
}

/// One member of an archive.
fn member(tar: &mut Builder<Vec<u8>>, name: &str, content: &[u8]) {
    entry(tar, name, EntryType::Regular, content.len() as u64);
    tar.get_mut().write_all(content).unwrap();
    let filling = content.len().next_multiple_of(512) - content.len();
    tar.get_mut().write_all(&vec![0; filling]).unwrap();
}

fn link(tar: &mut Builder<Vec<u8>>, name: &str, to: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, name, to).unwrap();
}

/// A header alone, with any name at all.
fn entry(tar: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, size: u64) {
    let mut header = Header::new_old();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    tar.get_mut().write_all(header.as_bytes()).unwrap();
}

/// A member without content, of which this is said ahead.
fn pax(tar: &mut Builder<Vec<u8>>, key: &str, value: &str) {
    tar.append_pax_extensions([(key, value.as_bytes())]).unwrap();
    entry(tar, "cut", EntryType::Regular, 0);
}

/// A layout packed by tar's own writer, as other programs do it.
fn packed(layout: &Path, file: &Path) {
    let mut tar = Builder::new(File::create(file).unwrap());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", layout).unwrap();
    tar.finish().unwrap();
}

/// What docker save writes of an image of two layers, the second given.
fn saved(image: &TestImage, second: impl FnOnce(&mut Builder<Vec<u8>>, &str)) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let config = image.config.to_string();
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": ["registry.example/app:v1", "busybox:latest"],
        "Layers": ["first/layer.tar", "second/layer.tar"],
    }]);
    member(&mut tar, "first/layer.tar", &image.blobs[0]);
    second(&mut tar, "second/layer.tar");
    member(&mut tar, "config.json", config.as_bytes());
    member(&mut tar, "manifest.json", manifest.to_string().as_bytes());
    tar.into_inner().unwrap()
}

/// Two tars.
fn tars() -> TestImage {
    let mut image = TestImage::new();
    image.add(&tar("a", 3000), "");
    image.add(&tar("b", 90_001), "");
    image
}

fn written(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let file = dir.path().join(name);
    fs::write(&file, bytes).unwrap();
    file
}

fn blobs(image: &Inspected) -> Vec<String> {
    let layers = image.manifests.iter().flat_map(|manifest| &manifest.layers);
    layers.map(|layer| format!("{} {} {}", layer.media_type, layer.size, layer.digest)).collect()
}

#[test]
fn an_image_goes_into_an_archive_and_comes_out_as_it_was() {
    let dir = tempdir().unwrap();
    let [plain, sealed, opened] = ["plain", "sealed.tar", "opened.tar"].map(|name| dir.path().join(name));
    TestLayout::multi_platform(&plain, TestImage::plain);
    let tagged = OciArchive { file: sealed.clone(), tag: Some("app:v1".to_owned()) };
    encrypted(&oci(&plain, Some("v1")), &tagged).unwrap();
    assert!(inspect(&tagged).unwrap().manifests.iter().flat_map(|one| &one.layers).all(|one| one.encrypted));
    decrypted(&tagged, &archive(&opened)).unwrap();
    let (before, after) = (inspect(&oci(&plain, Some("v1"))).unwrap(), inspect(&archive(&opened)).unwrap());
    assert_eq!(blobs(&before), blobs(&after));
    assert_eq!(before.digest, after.digest);

    // Nothing lies beside them, and the same image makes the same archive.
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let again = dir.path().join("again.tar");
    decrypted(&tagged, &archive(&again)).unwrap();
    assert!(fs::read(opened).unwrap() == fs::read(again).unwrap());
}

#[test]
fn an_archive_packed_by_others_opens_compressed_or_not() {
    let dir = tempdir().unwrap();
    let [sealed, tar] = ["sealed", "sealed.tar"].map(|name| dir.path().join(name));
    TestImage::encrypted().write(&sealed);
    packed(&sealed, &tar);
    let bytes = fs::read(&tar).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let gzip = written(&dir, "sealed.tar.gz", &gzip.finish().unwrap());
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let zstd = written(&dir, "sealed.tar.zst", &ruzstd::encoding::compress_to_vec(&bytes[..], level));
    for (number, file) in [tar, gzip, zstd].iter().enumerate() {
        let opened = dir.path().join(format!("opened-{number}"));
        decrypted(&archive(file), &oci(&opened, None)).unwrap();
        assert_eq!(blobs(&inspect(&oci(&opened, None)).unwrap()), {
            let plain = dir.path().join(format!("plain-{number}"));
            TestImage::plain().write(&plain);
            blobs(&inspect(&oci(&plain, None)).unwrap())
        });
    }
}

#[test]
fn what_docker_saves_is_encrypted_as_it_is() {
    let dir = tempdir().unwrap();
    let image = tars();
    let whole = saved(&image, |tar, name| member(tar, name, &image.blobs[1]));
    let file = written(&dir, "saved.tar", &whole);
    let [sealed, opened] = ["sealed", "opened"].map(|name| dir.path().join(name));
    encrypted(&docker(&file, None), &oci(&sealed, None)).unwrap();
    decrypted(&oci(&sealed, None), &oci(&opened, None)).unwrap();
    let opened = inspect(&oci(&opened, None)).unwrap();
    let digests: Vec<String> = opened.manifests[0].layers.iter().map(|one| one.digest.to_string()).collect();
    assert_eq!(json!(digests), image.config["rootfs"]["diff_ids"]);
    assert_eq!(opened.manifests[0].platform.as_ref().unwrap().to_string(), "linux/amd64");

    // By its names as docker understands them, and by its number.
    for name in
        ["registry.example/app:v1", "busybox", "docker.io/library/busybox:latest", "library/busybox", "@0"]
    {
        inspect(&docker(&file, Some(name))).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["busybox:v2", "app:v1", "@1", "@x", "@"] {
        let error = inspect(&docker(&file, Some(name))).unwrap_err().to_string();
        assert!(error.ends_with("its names are registry.example/app:v1, busybox:latest"), "{error}");
    }
}

#[test]
fn layers_that_are_compressed_or_linked_in_what_docker_saves_are_found() {
    let dir = tempdir().unwrap();
    let mut image = tars();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&image.blobs[1]).unwrap();
    let gzip = gzip.finish().unwrap();
    let file = written(&dir, "gzip.tar", &saved(&image, |tar, name| member(tar, name, &gzip)));
    let told = inspect(&docker(&file, None)).unwrap();
    assert!(told.manifests[0].layers[1].media_type.ends_with("tar+gzip"));
    encrypted(&docker(&file, None), &oci(&dir.path().join("by-gzip"), None)).unwrap();

    // Both layers are one tar, kept once.
    image.blobs[1] = image.blobs[0].clone();
    image.config["rootfs"]["diff_ids"][1] = image.config["rootfs"]["diff_ids"][0].clone();
    for target in ["../first/layer.tar", "../second/../first//./layer.tar"] {
        let file = written(&dir, "linked.tar", &saved(&image, |tar, name| link(tar, name, target)));
        let sealed = dir.path().join(format!("linked-{}", target.len()));
        let made = encrypted(&docker(&file, None), &oci(&sealed, None)).unwrap();
        assert_eq!(made.changed_layers(), 2);
    }
}

/// Encrypts what docker is said to have saved, which must fail and leave nothing.
fn refused(whole: &[u8]) -> String {
    let dir = tempdir().unwrap();
    let file = written(&dir, "saved.tar", whole);
    let before = files(dir.path());
    let error = encrypted(&docker(&file, None), &archive(&dir.path().join("sealed.tar"))).unwrap_err();
    assert!(files(dir.path()) == before, "something stayed: {error}");
    let error = error.to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn a_link_leads_to_a_member_or_nowhere() {
    let image = tars();
    let canary = tempdir().unwrap();
    let outside = written(&canary, "secret", &image.blobs[1]);
    let deep = format!("../../../../../../../..{}", outside.display());
    for (target, says) in [
        (outside.to_str().unwrap(), "which is not in the archive"),
        (&deep, "which is not in the archive"),
        ("layer.tar", "a link that leads on and on"),
        ("../nobody/layer.tar", "which is not in the archive"),
    ] {
        let error = refused(&saved(&image, |tar, name| link(tar, name, target)));
        assert!(error.contains(says), "{target}: {error}");
    }
    // Two that lead to each other.
    let error = refused(&saved(&image, |tar, name| {
        link(tar, name, "../other/layer.tar");
        link(tar, "other/layer.tar", "../second/layer.tar");
    }));
    assert!(error.contains("a link that leads on and on"), "{error}");
}

#[test]
fn every_wrong_archive_is_one_line() {
    let image = tars();
    let whole = saved(&image, |tar, name| member(tar, name, &image.blobs[1]));
    let with = |change: &dyn Fn(&mut Builder<Vec<u8>>)| {
        saved(&image, |tar, name| {
            member(tar, name, &image.blobs[1]);
            change(tar);
        })
    };
    for (bytes, says) in [
        (whole[..1300].to_vec(), "it ends in the middle of a member"),
        (whole[..700].to_vec(), "it ends in the middle of a member"),
        (whole[..300].to_vec(), "it ends in the middle of a header"),
        (vec![7; 4096], "it is no tar archive, or damaged"),
        (Vec::new(), "is not what docker save writes (no file manifest.json)"),
        (vec![0; 10_240], "is not what docker save writes"),
        (
            with(&|tar| member(tar, "../../etc/cron.d/x", b"x")),
            "the name of its member ../../etc/cron.d/x leads out of it",
        ),
        (with(&|tar| member(tar, "a/../manifest.json", b"[]")), "leads out of it"),
        (with(&|tar| member(tar, "./second//layer.tar", b"x")), "holds second/layer.tar twice"),
        (with(&|tar| entry(tar, "big", EntryType::Regular, 1 << 40)), "it ends in the middle of a member"),
        (with(&|tar| entry(tar, "big", EntryType::Regular, u64::MAX)), "it ends in the middle of a member"),
        (with(&|tar| entry(tar, "name", EntryType::GNULongName, 1 << 33)), "are longer than 1048576 bytes"),
        (with(&|tar| entry(tar, "pax", EntryType::XHeader, 1 << 33)), "are longer than 1048576 bytes"),
        (with(&|tar| entry(tar, "holes", EntryType::GNUSparse, 0)), "a member is stored sparse"),
        (with(&|tar| pax(tar, "GNU.sparse.major", "1")), "a member is stored sparse"),
        (with(&|tar| pax(tar, "path", "../out")), "the name of its member ../out leads out of it"),
        (with(&|tar| pax(tar, "size", "-1")), "a member's size is no number"),
        (saved(&image, |_, _| {}), "names second/layer.tar, which is not in the archive"),
        (saved(&image, |tar, name| entry(tar, name, EntryType::Fifo, 0)), "which is not in the archive"),
        (saved(&image, |tar, name| entry(tar, name, EntryType::Char, 0)), "which is not in the archive"),
        (saved(&image, |tar, name| member(tar, name, b"another tar")), "digest"),
    ] {
        let error = refused(&bytes);
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn a_manifest_that_says_something_wrong_is_one_line() {
    let image = tars();
    let config = image.config.to_string();
    let with = |manifest: Value| {
        let mut tar = Builder::new(Vec::new());
        member(&mut tar, "config.json", config.as_bytes());
        member(&mut tar, "manifest.json", manifest.to_string().as_bytes());
        tar.into_inner().unwrap()
    };
    let entry = |layers: Value| json!({"Config": "config.json", "RepoTags": null, "Layers": layers});
    for (manifest, says) in [
        (json!({}), "manifest.json is no list of images"),
        (json!([7]), "manifest.json is no list of images"),
        (json!([]), "holds no image"),
        (json!([entry(json!([])), entry(json!([]))]), "holds 2 images; name one"),
        (json!([entry(json!(["one"]))]), "names 1 layers and the image's config 2"),
        (json!([entry(json!(["one", 2]))]), "names one, which is not in the archive"),
        (json!([entry(json!(["\u{1b}[2J", "two"]))]), "names \\u{1b}[2J, which is not in the archive"),
        (json!([{"Config": "/etc/passwd", "Layers": []}]), "names /etc/passwd, which is not in the archive"),
    ] {
        let error = refused(&with(manifest));
        assert!(error.contains(says), "{says}: {error}");
    }
    // 100 MB of it.
    let mut tar = Builder::new(Vec::new());
    member(&mut tar, "manifest.json", &vec![b' '; 100_000_000]);
    let error = refused(&tar.into_inner().unwrap());
    assert!(error.contains("manifest.json is longer than"), "{error}");
}

#[test]
fn an_archive_of_too_many_members_or_too_long_names_is_refused() {
    let mut tar = Builder::new(Vec::new());
    for _ in 0..70_000 {
        entry(&mut tar, "same", EntryType::Directory, 0);
    }
    let error = refused(&tar.into_inner().unwrap());
    assert!(error.contains("it has more than 65536 members"), "{error}");

    let mut tar = Builder::new(Vec::new());
    for number in 0..9 {
        entry(&mut tar, "long", EntryType::GNULongName, 1 << 20);
        let name = format!("{number}{}", "n".repeat((1 << 20) - 1));
        tar.get_mut().write_all(name.as_bytes()).unwrap();
        entry(&mut tar, "cut", EntryType::Regular, 0);
    }
    let error = refused(&tar.into_inner().unwrap());
    assert!(error.contains("names are longer than 8388608 bytes together"), "{error}");
}

#[test]
fn an_oci_archive_without_what_makes_it_one_is_one_line() {
    let dir = tempdir().unwrap();
    let layout = dir.path().join("layout");
    TestImage::plain().write(&layout);
    let line = |change: &dyn Fn(&Path)| {
        let copy = dir.path().join("copy");
        TestImage::plain().write(&copy);
        change(&copy);
        let file = dir.path().join("packed.tar");
        packed(&copy, &file);
        fs::remove_dir_all(copy).unwrap();
        encrypted(&archive(&file), &oci(&dir.path().join("never"), None)).unwrap_err().to_string()
    };
    let remove = |name: &'static str| line(&|copy| fs::remove_file(copy.join(name)).unwrap());
    assert!(remove("oci-layout").contains("if docker save wrote it, name it docker-archive:FILE"));
    assert!(remove("index.json").contains("the archive has no file index.json"));
    let blobs = line(&|copy| fs::remove_dir_all(copy.join("blobs")).unwrap());
    assert!(blobs.contains("is not in the archive"), "{blobs}");
    let linked = line(&|copy| {
        fs::remove_file(copy.join("index.json")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", copy.join("index.json")).unwrap();
    });
    assert!(linked.contains("index.json is a link in the archive"), "{linked}");
    assert!(!dir.path().join("never").exists());

    let file = dir.path().join("packed.tar");
    packed(&layout, &file);
    inspect(&OciArchive { file: file.clone(), tag: Some("v1".to_owned()) }).unwrap();
    let other = OciArchive { file, tag: Some("v2".to_owned()) };
    let error = inspect(&other).unwrap_err().to_string();
    assert!(error.contains("has no image v2; its tags are v1"), "{error}");
    let error = inspect(&archive(&layout)).unwrap_err().to_string();
    assert!(error.contains("is no plain file"), "{error}");
}

#[test]
fn an_archive_appears_only_whole_and_in_nobodys_place() {
    let dir = tempdir().unwrap();
    let plain = dir.path().join("plain");
    TestImage::plain().write(&plain);
    let there = written(&dir, "there.tar", b"somebody's");
    let new = archive(&dir.path().join("new.tar"));
    let before = files(dir.path());
    let selection = Selection::default();
    let (from, stops) = (oci(&plain, None), Stops::default());
    let error = encrypted(&from, &archive(&there)).unwrap_err().to_string();
    assert!(error.contains("there.tar is there already, and an archive is written once"), "{error}");
    encrypt(&from, &new, &selection, &Refuses("no"), None, &()).unwrap_err();
    assert!(encrypt(&from, &new, &selection, &Clear, None, &stops).unwrap_err().is_cancelled());
    assert!(files(dir.path()) == before, "something stayed");
}
