//! One case: one call of one drive goes wrong while one thing is under way.

use rustix::io::Errno;
use twinstick_rig::{Call, Fault, Side, Site};

use crate::bench::{Bench, Result};
use crate::scenario::{Failing, Moment, Scenario};
use crate::story::{SMALL, Story};

/// What came of a case.
pub(crate) struct Outcome {
    pub(crate) sites: Vec<Site>,
    pub(crate) fired: bool,
    pub(crate) broken: Vec<String>,
}

/// Plays a scenario about one drive. Without a plan nothing goes wrong, and its calls are counted.
pub(crate) fn play(
    bench: &mut Bench,
    scenario: &Scenario,
    side: Side,
    number: usize,
    plan: Option<(Site, Fault)>,
) -> Outcome {
    let mut story = Story::new(bench.address(), number);
    let mut outcome = Outcome { sites: Vec::new(), fired: false, broken: Vec::new() };
    if let Err(why) = play_out(bench, scenario, side, plan, &mut story, &mut outcome) {
        story.broken.push(why);
    }
    bench.revive();
    outcome.broken = story.broken;
    outcome
}

fn play_out(
    bench: &mut Bench,
    scenario: &Scenario,
    side: Side,
    plan: Option<(Site, Fault)>,
    story: &mut Story,
    outcome: &mut Outcome,
) -> Result<()> {
    let failing = match scenario.failing {
        Failing::Itself => side,
        Failing::Source => side.other(),
    };
    bench.heal().map_err(|why| format!("before: {why}"))?;
    let losses = bench.losses(Errno::MFILE);
    (scenario.before)(story);
    match scenario.moment {
        Moment::Request => {
            // From a fresh arrival on, so that each case finds the same drive log.
            bench.replug(side);
            bench.heal()?;
            bench.medium(failing).arm(plan);
            story.expect(plan.map(errno));
            (scenario.act)(story);
        }
        Moment::Checkpoint => {
            bench.replug(side);
            bench.heal()?;
            (scenario.act)(story);
            bench.heal()?;
            bench.medium(failing).arm(plan);
            bench.wait_for_checkpoint(failing)?;
        }
        Moment::Return | Moment::ReturnFromElsewhere => {
            bench.heal()?;
            if scenario.moment == Moment::ReturnFromElsewhere {
                // What is changed before its checkpoint counts as lost at the pull.
                bench.medium(side).arm(None);
                story.put("last", SMALL);
                bench.wait_for_checkpoint(side)?;
                bench.heal()?;
            }
            bench.pull(side)?;
            story.is_away(bench.medium(side).files());
            (scenario.act)(story);
            if failing != side {
                // Else it is chance how much of that comes when its calls are counted.
                bench.wait_until_installed(failing)?;
            }
            bench.medium(failing).arm(plan);
            bench.plug_in(side);
        }
    }
    bench.heal_until_taken_in(story)?;
    bench.wait_until_quiet(failing)?;
    if let Some((site, fault)) = plan
        && is_shortage(fault)
        && !Call::SYNCING.contains(&site.call)
        && bench.losses(Errno::MFILE) > losses
    {
        story.broken.push("the daemon's own shortage cost the drive".to_owned());
    }
    outcome.fired = bench.medium(failing).has_fired();
    outcome.sites = bench.medium(failing).disarm();
    story.expect(None);
    bench.revive();
    // What trailed may have thrown the drive out.
    bench.heal()?;
    story.read_all();
    for side in Side::BOTH {
        let root = bench.medium(side).files().join(&story.folder);
        let differences = story.model.differences(&root);
        story.broken.extend(differences.iter().map(|line| format!("on {}: {line}", side.name())));
    }
    story.broken.extend(bench.leftovers());
    story.clean_up();
    Ok(())
}

/// Whether it says that the daemon lacks something, and nothing of the drive.
pub(crate) fn is_shortage(fault: Fault) -> bool {
    fault == Fault::Fails(Errno::MFILE)
}

fn errno((_, fault): (Site, Fault)) -> Errno {
    match fault {
        Fault::Fails(errno) | Fault::Dies(errno) => errno,
        // The drive counts as gone.
        Fault::Hangs => Errno::NODEV,
    }
}
