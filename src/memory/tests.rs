use std::num::NonZeroUsize;

use super::steps::Network;
use super::{
    Available, Estimate, Facts, Part, Stage, Start, Verdict, estimate, facts::N_HEADERS, judge,
    judge_together,
};
use crate::{
    config::experiment::{CacheMode, Experiment},
    model::paper::{Builder, Kernel, PIXELS},
    plan::Plan,
    test_support::experiment,
};

const MIB: usize = 1 << 20;

const FACTS: Facts = Facts {
    n_classes: 2,
    n_train: 51,
    n_valid: 13,
    n_test: 0,
    n_threads: 2,
    n_workers: 2,
    photo_bytes: [600_000; N_HEADERS],
    start: Start::Weights,
    is_cpu: true,
    is_cache_full: false,
    holds_best: true,
};

fn vgg16(trainable: &str, rest: &str) -> Experiment {
    experiment(&format!(
        "data.root = \".\"\n{rest}\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [{trainable}]"
    ))
}

fn of(experiment: &Experiment, facts: &Facts) -> Estimate {
    let plan = Plan::new(experiment, facts.n_classes, facts.n_train);
    estimate(experiment, &plan, facts)
}

/// An experiment of one phase, in batches of 16 images and with Adam unless `rest` says otherwise.
fn one_phase(arch: &str, trainable: &str, rest: &str) -> Experiment {
    let arch = format!("model.arch = \"{arch}\"\nmodel.weights = \"none\"\n");
    vgg16(trainable, &(arch + rest))
}

const HEAD: &str = "\"classifier\"";
const ALL: &str = "\"all\"";
const OFF: &str = "cache.mode = \"off\"";

/// Some rows of `benches/results/2026-11-29-memory.md`: architecture, trained parameters, other settings, mebibytes.
const MEASURED: [(&str, &str, &str, f64); 15] = [
    ("vgg16", HEAD, "", 1530.0),
    ("vgg16", HEAD, OFF, 1951.0),
    (
        "vgg16",
        HEAD,
        "cache.mode = \"off\"\ndata.batch_size = 64",
        2063.0,
    ),
    ("vgg16", HEAD, "training.accumulate = 2", 2422.0),
    ("vgg16", HEAD, "optimizer.kind = \"sgd\"", 945.0),
    ("vgg16", ALL, "", 2871.0),
    ("vgg16", "\"classifier[6]\"", "", 1059.0),
    ("vgg16", "\"classifier\", \"features[24:]\"", "", 1762.0),
    ("resnet18", "\"fc\"", "", 396.0),
    ("resnet18", "\"fc\", \"layer4\"", "", 353.0),
    ("resnet18", ALL, "", 725.0),
    ("resnet50", "\"fc\"", "", 513.0),
    ("squeezenet1_1", HEAD, "", 218.0),
    ("resnet50", ALL, "", 1948.0),
    ("squeezenet1_1", ALL, "", 481.0),
];

#[test]
fn what_was_measured_is_what_is_predicted() {
    for (arch, trainable, rest, measured) in MEASURED {
        let estimate = of(&one_phase(arch, trainable, rest), &FACTS);
        let ratio = estimate.total() as f64 / MIB as f64 / measured;
        let what = format!("{arch}, {trainable}, {rest}");
        assert!((0.85..1.15).contains(&ratio), "{what}: {ratio}: {estimate}");
    }
}

#[test]
fn the_parts_of_a_peak_add_up_to_it() {
    let estimate = of(&vgg16("\"all\"", ""), &FACTS);
    let shares = estimate.shares();
    assert_eq!(
        shares.iter().map(|share| share.bytes).sum::<usize>(),
        estimate.total()
    );
    assert_eq!(estimate.total(), *estimate.stages.values().max().unwrap());
    assert!(shares.iter().all(|share| share.bytes > 0));
}

#[test]
fn more_is_never_less() {
    let with_batch = |batch_size: usize, trainable: &str, mode: CacheMode| {
        let mut experiment = vgg16(trainable, "");
        experiment.data.batch_size = NonZeroUsize::new(batch_size).unwrap();
        experiment.cache.mode = mode;
        of(&experiment, &FACTS).total()
    };
    for trainable in ["\"classifier\"", "\"features[24:]\"", "\"all\""] {
        for mode in [CacheMode::Auto, CacheMode::Off] {
            let totals = [1, 4, 16, 51, 64].map(|size| with_batch(size, trainable, mode));
            assert!(totals.is_sorted(), "{trainable}, {mode:?}: {totals:?}");
        }
    }
    let all = |size| with_batch(size, "\"all\"", CacheMode::Auto);
    assert!(all(51) > 2 * all(1), "{} and {}", all(51), all(1));
    let sgd = of(&vgg16("\"classifier\"", "optimizer.kind = \"sgd\""), &FACTS);
    let adam = of(&vgg16("\"classifier\"", ""), &FACTS);
    let momenta = 2 * 119_554_050 * 4;
    let training = |estimate: &Estimate| estimate.stages[&Stage::Training];
    let difference = training(&adam) - training(&sgd);
    assert!(difference.abs_diff(momenta) < momenta / 10, "{difference}");
}

#[test]
fn the_best_model_is_held_while_a_later_epoch_trains() {
    let epochs = |n: usize, rest: &str| {
        let mut experiment = vgg16(HEAD, rest);
        experiment.phases[0].epochs = NonZeroUsize::new(n).unwrap();
        experiment
    };
    let sizes = |experiment: &Experiment, facts: &Facts| {
        let estimate = of(experiment, facts);
        (
            estimate.stages[&Stage::Training],
            estimate.stages[&Stage::Saving],
        )
    };
    let copy = (119_554_050 + 2 * FACTS.n_valid) * 4;
    let (training, saving) = sizes(&epochs(1, ""), &FACTS);
    assert_eq!(
        sizes(&epochs(2, ""), &FACTS),
        (training + copy, saving + copy)
    );
    let without = FACTS.without_held_best();
    assert_eq!(sizes(&epochs(2, ""), &without), (training, saving));
    // `last` is due whenever there is a new best model.
    let every = "training.checkpoint_every = \"1 epoch\"";
    assert_eq!(sizes(&epochs(2, every), &FACTS), (training, saving));
    let every = "training.checkpoint_every = \"2 epochs\"";
    assert_eq!(
        sizes(&epochs(2, every), &FACTS),
        (training + copy, saving + copy)
    );
}

#[test]
fn a_resumed_run_has_its_moments_while_the_cache_is_filled() {
    let head = vgg16(HEAD, "");
    let resumed = Facts {
        start: Start::Resumed,
        ..FACTS
    };
    let [fresh, resumed_estimate] = [&FACTS, &resumed].map(|facts| of(&head, facts));
    let filling = |estimate: &Estimate| estimate.stages[&Stage::Filling];
    let moments = 119_554_050 * 8;
    assert_eq!(filling(&resumed_estimate), filling(&fresh) + moments);
    let goes_on = "`memory = \"ignore\"` in that file";
    let verdict = check_verdict(&head, &resumed, 1 << 30, goes_on);
    assert!(!help_of(verdict).contains("--set"));
}

#[test]
fn kept_moments_of_the_phase_before_count_too() {
    let text = "data.root = \".\"\nmodel.weights = \"none\"\ncache.mode = \"off\"\n[[phase]]\nname = \"a\"\nepochs = 1\ntrainable = [\"classifier\"]\n\
                [[phase]]\nname = \"b\"\nepochs = 1\ntrainable = [\"features[24:]\"]\nkeep_optimizer = ";
    let [fresh, kept] =
        ["false", "true"].map(|keeps| of(&experiment(&format!("{text}{keeps}")), &FACTS));
    let moments = |estimate: &Estimate| estimate.sizes[Part::Optimizer as usize];
    assert_eq!(moments(&fresh), 119_554_050 * 8);
    assert_eq!(
        moments(&kept),
        (119_554_050 + 3 * (512 * 512 * 9 + 512)) * 8
    );
}

#[test]
fn a_value_is_in_memory_until_its_last_reader_and_in_training_until_its_backward_pass() {
    let mut b = Builder::new(8, 8);
    let kernel = Kernel::new(1);
    let first = b.conv("a", PIXELS, 4, kernel);
    let first = b.relu("b", first);
    let second = b.conv("c", first, 4, kernel);
    let sum = b.add(first, second);
    b.conv("d", sum, 1, kernel);
    let paper = b.finish();
    let experiment = one_phase("resnet18", ALL, "");
    let peak = |trainable: &[&str]| {
        let paths: Vec<String> = trainable.iter().map(|path| (*path).to_owned()).collect();
        let network = Network::new(&experiment, &paper, 10, &paths);
        network.pass(0..paper.steps.len()).activations / 10
    };
    let (pixels, map) = (3 * 64, 4 * 64);
    // Both terms of the sum, which overwrites one of them.
    assert_eq!(peak(&[]), 2 * map);
    // Both terms, one of which the relu overwrote; their gradients and that of the sum.
    let all = ["a.weight", "c.weight", "d.weight"];
    assert_eq!(peak(&all), pixels + 2 * map + 3 * map);
    // What is before the sum is no longer needed when the last step runs.
    assert_eq!(peak(&["d.weight"]), 2 * map);
}

#[test]
fn as_many_large_photos_are_decoded_at_once_as_there_are_threads() {
    let text = "model.arch = \"vgg16_slim\"\nmodel.weights = \"drawings_v1\"";
    let large = Facts {
        photo_bytes: [72_000_000; N_HEADERS],
        ..FACTS
    };
    let small = Facts { ..FACTS };
    let experiment = vgg16("\"classifier\"", text);
    let mut one_large = large;
    one_large.photo_bytes[1..].fill(600_000);
    let [large, one_large, small] = [large, one_large, small].map(|facts| of(&experiment, &facts));
    let loading = |estimate: &Estimate| estimate.stages[&Stage::Loading];
    // One a thread.
    let more = loading(&large) - loading(&small);
    assert!((2 * 70_000_000..2 * 95_000_000).contains(&more), "{more}");
    assert!(loading(&one_large) + 70_000_000 < loading(&large));
    // The pictures of a run take one after the other.
    assert!(large.total() - small.total() < 2 * 95_000_000, "{large}");
}

/// The whole text of a verdict.
fn help_of(verdict: Verdict) -> String {
    match verdict {
        Verdict::Fits => String::new(),
        Verdict::Close(text) => text,
        Verdict::TooLarge(shortage) => shortage.into_error().to_string(),
    }
}

fn check_verdict(experiment: &Experiment, facts: &Facts, available: usize, part: &str) -> Verdict {
    let available = Available {
        n_bytes: available as u64,
        limit: "this test",
    };
    let verdict = judge(experiment, facts, &of(experiment, facts), Some(&available));
    let text = help_of(verdict.clone());
    assert!(text.contains(part), "{part}: {text}");
    verdict
}

#[test]
fn a_run_is_refused_only_where_no_doubt_is_left() {
    let all = vgg16("\"all\"", "");
    let needed = of(&all, &FACTS).total();
    let verdicts = [0.5, 0.79, 0.81, 1.2, 1.3].map(|share| {
        match check_verdict(&all, &FACTS, (needed as f64 * share) as usize, "") {
            Verdict::TooLarge(_) => 'x',
            Verdict::Close(_) => '?',
            Verdict::Fits => ' ',
        }
    });
    assert_eq!(verdicts, ['x', 'x', '?', '?', ' ']);
    assert_eq!(judge(&all, &FACTS, &of(&all, &FACTS), None), Verdict::Fits);
}

#[test]
fn advice_is_what_would_fit() {
    let wide = "data.batch_size = 64\ncache.mode = \"off\"";
    let all = vgg16("\"all\"", wide);
    let many = Facts {
        n_train: 640,
        ..FACTS
    };
    // As much as a quarter of the batch takes, four times a step.
    let small = vgg16(
        "\"all\"",
        "data.batch_size = 16\ntraining.accumulate = 4\ncache.mode = \"off\"",
    );
    let available = of(&small, &many).total();
    for part in [
        "not enough memory: the run needs about ",
        "in a training step",
        "`--set data.batch_size=16` with `--set training.accumulate=4`",
        "'phase.a.trainable=[\"classifier\"]'",
        " are available (this test)",
        "memory=ignore",
    ] {
        check_verdict(&all, &many, available, part);
    }
    let text = help_of(check_verdict(&all, &many, available, ""));
    assert!(!text.contains("optimizer.kind=sgd"), "{text}");
    // Nothing alone is enough.
    check_verdict(&all, &many, 1300 << 20, "use all of these together (");
    check_verdict(&all, &many, 300 << 20, "would still take ");
    let head = vgg16(HEAD, "");
    for part in [
        "`--set optimizer.kind=sgd`",
        "'phase.a.trainable=[\"classifier[6]\"]'",
    ] {
        check_verdict(&head, &FACTS, 1180 << 20, part);
    }
    let residual = one_phase("resnet18", ALL, "data.batch_size = 64");
    let fc = "'phase.a.trainable=[\"fc\"]'";
    check_verdict(&residual, &many, 600 << 20, fc);
}

#[test]
fn a_gpu_is_another_memory() {
    let facts = Facts {
        is_cpu: false,
        ..FACTS
    };
    let all = vgg16("\"all\"", "");
    let estimate = of(&all, &facts);
    assert!(estimate.on_device.unwrap() > 4 * 134_268_738 * 4);
    assert!(estimate.total() < of(&all, &FACTS).total());
}

#[test]
fn runs_beside_each_other_share_what_the_machine_has_and_not_what_each_may_have() {
    let gib = |n: u64| n << 30;
    let machine = Available {
        n_bytes: gib(6),
        limit: "this machine",
    };
    let verdict = |needed: &[u64], available| judge_together(needed, Some(available));
    assert_eq!(verdict(&[gib(2), gib(2)], &machine), Verdict::Fits);
    assert_eq!(verdict(&[0; 4], &machine), Verdict::Fits);
    assert!(matches!(
        verdict(&[gib(3), gib(3)], &machine),
        Verdict::Close(_)
    ));
    let check = |needed: &[u64], words: &str| match verdict(needed, &machine) {
        verdict @ Verdict::TooLarge(_) => {
            let text = help_of(verdict);
            assert!(text.contains(words), "{text}");
        }
        other => panic!("{other:?}"),
    };
    check(
        &[gib(3); 4],
        "4 parallel trials need about 12.0 GiB, and 6.0 GiB are available",
    );
    check(&[gib(3); 4], "`--parallel 2`");
    // Each of them fits alone, or it would have been refused before.
    check(&[gib(9), gib(9)], "`--parallel 1`");
    let each = Available {
        n_bytes: gib(6),
        limit: "`ulimit -v`",
    };
    assert_eq!(verdict(&[gib(3); 4], &each), Verdict::Fits);
    assert_eq!(judge_together(&[gib(3); 4], None), Verdict::Fits);
}
