//! Damage to the users' files.

use std::fs;

use twinstick_rig::{Side, Twins};

use crate::damage::alter;
use crate::{LARGE_BYTES, bytes, expect_clean, expect_differences, plain, stocked};

pub(crate) fn missing_file() {
    let twins = stocked(plain());
    let file = twins.root(Side::A).join("photos/x.jpg");
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let lines = expect_differences(&twins, &[("a", "photos/x.jpg", "missing")]);
    assert_eq!(lines, ["a: photos/x.jpg: is missing: the daemon repairs it from b when it is read"]);
    fs::write(&file, kept).unwrap();
    expect_clean(&twins);
    fs::remove_dir_all(twins.root(Side::B).join("photos")).unwrap();
    fs::remove_dir(twins.root(Side::A).join("bare")).unwrap();
    expect_differences(&twins, &[("a", "bare", "missing"), ("b", "photos", "missing")]);
}

pub(crate) fn changed_byte(twins: Twins) {
    let twins = stocked(twins);
    let file = twins.root(Side::B).join("photos/x.jpg");
    alter(&file, 300_000);
    let lines = expect_differences(&twins, &[("b", "photos/x.jpg", "wrong-bytes")]);
    let block = crc32fast::hash(&bytes(1, LARGE_BYTES)[256 << 10..512 << 10]);
    assert!(lines[0].starts_with("b: photos/x.jpg: bytes differ at 262144 (CRC-32 "), "{lines:?}");
    let end = format!(", catalog says {block:08x}): the daemon repairs it from a when it is read");
    assert!(lines[0].ends_with(&end), "{lines:?}");
    alter(&file, 300_000);
    expect_clean(&twins);
    // Digests of many blocks lie in pages of their own; one block's digest is that of the file.
    alter(&twins.root(Side::A).join("large"), 20 * LARGE_BYTES as u64 - 1);
    alter(&twins.root(Side::A).join("photos/2026/y.jpg"), 0);
    let longer = fs::File::options().write(true).open(twins.root(Side::B).join("empty")).unwrap();
    longer.set_len(1).unwrap();
    expect_differences(
        &twins,
        &[("a", "large", "wrong-bytes"), ("a", "photos/2026/y.jpg", "wrong-bytes"), ("b", "empty", "wrong-size")],
    );
}

pub(crate) fn extra() {
    let twins = stocked(plain());
    let root = twins.root(Side::B);
    fs::write(root.join("photos/new.jpg"), "new").unwrap();
    fs::create_dir_all(root.join("more/and more")).unwrap();
    fs::create_dir_all(root.join("lost+found/never mirrored")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("bare/link")).unwrap();
    let odd: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(b"caf\xe9\n".to_vec());
    fs::write(root.join(odd), "not UTF-8").unwrap();
    let lines = expect_differences(
        &twins,
        &[
            ("b", "photos/new.jpg", "extra"),
            ("b", "more", "extra"),
            ("b", "bare/link", "extra"),
            ("b", "caf\\xe9\n", "extra"),
        ],
    );
    let said = "is not the mirror's: move it elsewhere, or store it with fget put; the daemon leaves it alone";
    assert!(lines.contains(&format!("b: photos/new.jpg: {said}")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("b: caf\\xe9\\n: ")), "one line each: {lines:#?}");
}

pub(crate) fn kinds() {
    let twins = stocked(plain());
    let root = twins.root(Side::A);
    fs::remove_file(root.join("empty")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::remove_dir(root.join("bare")).unwrap();
    fs::write(root.join("bare"), "").unwrap();
    expect_differences(&twins, &[("a", "empty", "wrong-kind"), ("a", "bare", "wrong-kind")]);
}
