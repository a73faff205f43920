//! What a lane may do before its drive tells of it: nothing.

use crate::ids::Side;
use crate::mirror::model::world::{Way, World};
use crate::mirror::volume::FsKind;

#[test]
fn a_lane_carries_out_no_commit_that_its_drive_does_not_tell_of() {
    for kind in [FsKind::Atomic, FsKind::Fat] {
        let mut world = World::new(kind, 7);
        for path in ["f", "g", "d/x", "away"] {
            world.put(path, path.as_bytes(), Way::Log);
        }
        world.drain();
        world.pull(Side::B);
        world.remove("away");
        world.tell_no_more(true);
        world.put("f", b"another", Way::File);
        world.put("new/f", b"new", Way::Log);
        world.put("away", b"it has its name", Way::Log);
        world.remove("g");
        world.move_to("d", "e");
        world.make_folder("h");
        let mut before = world.disk(Side::A).tree();
        for _ in 0..5 {
            world.step(Side::A);
        }
        before.remove("away");
        assert_eq!(world.disk(Side::A).tree(), before, "what it tells of, and no more");
        world.tell_no_more(false);
        world.step(Side::A);
        assert_ne!(world.disk(Side::A).tree(), before);
        world.bring_back(Side::B);
        world.check_reads();
        world.drain();
        world.check_idempotent();
    }
}
