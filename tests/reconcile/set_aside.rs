//! Copies that a repair replaced.

use std::fs;
use std::path::Path;

use twinstick_rig::{Binaries, Drives, End, Side, Twins, wait_until};

use crate::{aside, twins};

pub(crate) fn damaged() {
    let twins = twins(Drives::Plain);
    let client = twins.client();
    client.put("d/notes.txt", b"the mirror's").expect(0);
    twins.check_identical();
    let at = twins.root(Side::B).join("d/notes.txt");
    rot(&at);
    client.run(&["scrub", "start"]).expect(0);
    let listed = || {
        let document = client.run(&["aside", "--json"]).expect(0).stdout;
        serde_json::from_slice::<serde_json::Value>(&document).unwrap()["items"].as_array().unwrap().clone()
    };
    wait_until("the damaged copy lies aside", || listed().len() == 1);
    let item = &listed()[0];
    assert_eq!((&item["drive"], &item["path"]), (&"b".into(), &"d/notes.txt".into()), "{item}");
    assert_eq!((&item["cause"], &item["files"], &item["size"]), (&"damaged".into(), &1.into(), &12.into()), "{item}");
    wait_until("the copy is whole again", || fs::read(&at).is_ok_and(|bytes| bytes == b"the mirror's"));
    let name = format!("b:{}", item["item"].as_str().unwrap());
    let text = String::from_utf8(client.run(&["aside"]).expect(0).stdout).unwrap();
    assert!(text.starts_with(&name) && text.contains("d/notes.txt (12 B)"), "{text}");
    client.run(&["aside", "drop", &name]).expect(0);
    client.run(&["aside", "drop", &name]).expect(4);
    assert!(listed().is_empty());
    wait_until("status counts it no more", || client.status()["drives"][1]["aside"] == 0);
    assert_eq!(aside(twins.root(Side::B)), 0);
}

/// Little may lie aside, and copy after copy is damaged and replaced.
pub(crate) fn bounded() {
    let binaries = Binaries::new(env!("CARGO_BIN_EXE_twinstickd"), env!("CARGO_BIN_EXE_fget"));
    let mut twins = Twins::with_config(binaries, Drives::Plain, |_| "aside_max = \"100KiB\"\n".to_owned());
    let client = twins.client();
    let names: Vec<_> = (0..6).map(|number| format!("{number}.bin")).collect();
    let whole = vec![7; 40_000];
    for name in &names {
        client.put(name, &whole).expect(0);
    }
    twins.check_identical();
    let b = twins.root(Side::B).to_owned();
    let lying = |twins: &Twins| {
        let drive = &twins.client().status()["drives"][1];
        let newest: Vec<_> =
            drive["aside_newest"].as_array().unwrap().iter().map(|item| item["path"].to_string()).collect();
        assert!(drive["aside_bytes"].as_u64() <= Some(100 << 10), "{drive}");
        (drive["aside"].as_u64().unwrap(), drive["aside_bytes"].as_u64().unwrap(), newest.join(" ").replace('"', ""))
    };
    for (number, name) in names.iter().enumerate() {
        if number == 4 {
            twins.end(End::Kill);
            twins.serve();
            twins.check_identical();
        }
        rot(&b.join(name));
        twins.client().run(&["scrub", "start"]).expect(0);
        wait_until("the copy is whole again", || fs::read(b.join(name)).is_ok_and(|bytes| bytes == whole));
        let before = if number == 0 { String::new() } else { format!(" {}", names[number - 1]) };
        let expected = (2.min(number as u64 + 1), 40_000 * 2.min(number as u64 + 1), format!("{name}{before}"));
        wait_until("the newest two lie aside", || lying(&twins) == expected);
        wait_until("the scrub has ended", || {
            let drives = &twins.client().status()["drives"];
            (0..2).all(|side| drives[side]["scrub"]["state"] == "done")
        });
    }
    let listed = twins.client().run(&["aside", "--json"]).expect(0).stdout;
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    assert!(listed["items"].as_array().unwrap().iter().all(|item| item["replaced"] == true), "{listed}");
    let text = String::from_utf8(twins.client().run(&["status"]).expect(0).stdout).unwrap();
    assert!(text.contains("2 things (78.1 KiB) set aside, the last: 5.bin, 4.bin"), "{text}");
    twins.check_identical();
}

/// Other bytes under the size and time that the mirror gave: bit rot.
pub(crate) fn rot(at: &Path) {
    let modified = fs::metadata(at).unwrap().modified().unwrap();
    let mut bytes = fs::read(at).unwrap();
    bytes[5] ^= 1;
    fs::write(at, bytes).unwrap();
    fs::File::options().write(true).open(at).unwrap().set_modified(modified).unwrap();
}
