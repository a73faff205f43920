//! What was asked of a block device.

use std::fs;
use std::path::Path;

/// Write requests and sectors that were written to the device of a mount since it was made.
pub fn written(mount_point: &Path) -> (u64, u64) {
    let stat = fs::read_to_string(format!("/sys/block/{}/stat", device(mount_point))).expect("a block device");
    // Documentation/block/stat.rst: requests are the fifth, sectors the seventh.
    let field = |number: usize| stat.split_whitespace().nth(number - 1).and_then(|field| field.parse().ok());
    field(5).zip(field(7)).expect("block statistics")
}

fn device(mount_point: &Path) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    let name = mount_point.to_str().expect("UTF-8");
    let line = table.lines().rev().find(|line| line.split(' ').nth(4) == Some(name)).expect("a mount point");
    let source = line.rsplit(' ').nth(1).expect("proc(5)");
    source.strip_prefix("/dev/").expect("a device").to_owned()
}
