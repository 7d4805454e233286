use std::path::Path;

use super::{DiskEstimate, DiskFacts, Verdict, estimate, judge, pictures, tables};
use crate::{
    config::experiment::Experiment,
    plan::Plan,
    test_support::experiment,
    train::checkpoint::{CheckpointSizes, PhaseSizes, sizes},
};

const FACTS: DiskFacts = DiskFacts {
    n_classes: 2,
    n_images: 20,
    n_valid: 5,
    n_test: 0,
    name_bytes: [200, 6],
};

const HEAD: &str = "[[phase]]\nname = \"head\"\nepochs = 2\ntrainable = [\"classifier\"]\n";
const MORE: &str =
    "[[phase]]\nname = \"more\"\nepochs = 2\ntrainable = [\"classifier\", \"features[24:]\"]\n";

// The files of a run of these two phases on two classes, as they were on the disk.
const BASE: u64 = 924_440;
const HEAD_SIZES: PhaseSizes = PhaseSizes {
    model: 7_479_848,
    optimizer: 14_960_336,
};
const MORE_SIZES: PhaseSizes = PhaseSizes {
    model: 7_923_496,
    optimizer: 15_848_296,
};

fn slim_vgg(rest: &str, phases: &str) -> Experiment {
    experiment(&format!(
        "data.root = \".\"\nmodel.arch = \"vgg16_slim\"\nmodel.weights = \"none\"\n{rest}\n{phases}"
    ))
}

fn of(experiment: &Experiment) -> (Plan, DiskEstimate) {
    let plan = Plan::new(experiment, FACTS.n_classes, 15);
    let estimate = estimate(experiment, &plan, &FACTS);
    (plan, estimate)
}

/// The checkpoints of the finished run, of a paused one, and at the peak.
fn checkpoints(rest: &str, phases: &str) -> [u64; 3] {
    let experiment = slim_vgg(rest, phases);
    let (plan, estimate) = of(&experiment);
    let tables = tables(&experiment, &plan, &FACTS);
    [
        estimate.finished - tables - pictures(&FACTS),
        estimate.paused - tables,
        estimate.peak - tables,
    ]
}

#[test]
fn the_files_of_checkpoints_have_the_sizes_that_are_predicted() {
    let (plan, _) = of(&slim_vgg("", &[HEAD, MORE].concat()));
    let expected = CheckpointSizes {
        base: BASE,
        phases: vec![HEAD_SIZES, MORE_SIZES],
    };
    assert_eq!(sizes(&plan), expected);
    let all = HEAD.replace("classifier", "all");
    let (plan, _) = of(&slim_vgg("", &all));
    assert_eq!(sizes(&plan).base, 0);
    // Without a momentum, only the numbers of steps are left.
    let (plan, _) = of(&slim_vgg("optimizer.kind = \"sgd\"", HEAD));
    assert!((100..1000).contains(&sizes(&plan).phases[0].optimizer));
}

#[test]
fn moments_that_a_phase_takes_over_stay_in_its_checkpoints() {
    let features = MORE.replace("\"classifier\", ", "");
    let of_second = |keep: &str| {
        let (plan, _) = of(&slim_vgg("", &format!("{HEAD}{features}{keep}")));
        sizes(&plan).phases[1]
    };
    let (fresh, kept) = (of_second(""), of_second("keep_optimizer = true\n"));
    assert_eq!(fresh.model, kept.model);
    assert_eq!(kept, MORE_SIZES);
    assert!(fresh.optimizer < HEAD_SIZES.optimizer);
}

#[test]
fn generations_count_as_often_as_they_exist_at_once() {
    let every_epoch = "training.checkpoint_every = \"1 epoch\"\n";
    let PhaseSizes { model, optimizer } = HEAD_SIZES;
    let generation = model + optimizer;
    // The second of two epochs writes beside the first one, whose model is the best. Both stay, so that plots make the peak.
    let finished = BASE + 2 * generation + model;
    assert_eq!(
        checkpoints(every_epoch, HEAD),
        [finished, finished, finished + pictures(&FACTS)]
    );
    // A single epoch is both the best and the last.
    let one = HEAD.replace("epochs = 2", "epochs = 1");
    assert_eq!(checkpoints(every_epoch, &one)[0], BASE + generation);
    let ten = HEAD.replace("epochs = 2", "epochs = 10");
    let [finished, paused, peak] = checkpoints(every_epoch, &ten);
    assert_eq!(finished, BASE + 2 * generation + model);
    assert_eq!(paused, finished);
    assert_eq!(peak, BASE + 3 * generation + model);
    // What is slim is written without the optimizer, after others with it.
    let slim = format!("{every_epoch}checkpoints.keep = \"best\"\n");
    assert_eq!(checkpoints(&slim, &ten), [BASE + 2 * model, paused, peak]);
    assert_eq!(
        checkpoints(&slim, HEAD),
        [BASE + 2 * model, paused, BASE + generation + 2 * model]
    );
    // Between checkpoints of two minutes, each generation can have a best model of its own.
    assert_eq!(checkpoints("", &ten)[2], BASE + 3 * generation + 3 * model);
}

#[test]
fn what_must_be_written_is_the_least_that_can_be() {
    let (_, estimate) = of(&slim_vgg("", HEAD));
    let generation = HEAD_SIZES.model + HEAD_SIZES.optimizer;
    assert_eq!(estimate.certain, BASE + generation);
    assert!(estimate.finished_at_least < estimate.finished && estimate.finished < estimate.peak);
    // The end of the first phase is kept until the second one has ended.
    let (_, estimate) = of(&slim_vgg(
        "checkpoints.keep = \"best\"",
        &[HEAD, MORE].concat(),
    ));
    assert_eq!(estimate.certain, BASE + generation + MORE_SIZES.model);
    // Early stopping can leave one checkpoint for each phase, however many were planned.
    let early = "early_stopping.patience = 1\ntraining.checkpoint_every = \"1 epoch\"";
    let (_, estimate) = of(&slim_vgg(early, HEAD));
    assert_eq!(estimate.certain, BASE + generation);
}

#[test]
fn only_what_must_be_written_refuses_a_run() {
    let (_, estimate) = of(&slim_vgg("", HEAD));
    let told = |free| match judge(&estimate, free, Path::new("runs")) {
        Verdict::Fits => "fits".to_owned(),
        Verdict::Close(note) => note,
        Verdict::TooLarge(error) => format!("refused: {error}"),
    };
    assert_eq!(told(None), "fits");
    assert_eq!(told(Some(estimate.peak)), "fits");
    let note = told(Some(estimate.peak - 1));
    assert!(note.starts_with("the disk may fill up"), "{note}");
    let nearly = told(Some(estimate.certain * 9 / 10));
    assert!(nearly.starts_with("the disk may fill up"), "{nearly}");
    let refused = told(Some(estimate.certain * 7 / 10));
    assert!(
        refused.starts_with("refused: runs: not enough disk space"),
        "{refused}"
    );
}
