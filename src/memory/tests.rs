use std::num::NonZeroUsize;

use super::{
    Available, Estimate, Facts, Stage, Start, Verdict, estimate,
    facts::{File, N_HEADERS},
    heap::{Buffer, Heap, Part},
    judge, judge_together,
};
use crate::{
    config::experiment::{CacheMode, Experiment},
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
    weights: Some(File {
        n_bytes: 58_868_053,
        is_read_whole: false,
    }),
    is_cpu: true,
    is_cache_full: false,
};

fn vgg16(trainable: &str, rest: &str) -> Experiment {
    experiment(&format!(
        "data.root = \".\"\n{rest}\n[[phase]]\nname = \"a\"\nepochs = 2\ntrainable = [{trainable}]"
    ))
}

fn of(experiment: &Experiment, facts: &Facts) -> Estimate {
    let plan = Plan::new(experiment, facts.n_classes, facts.n_train);
    estimate(experiment, &plan, facts)
}

#[test]
fn a_freed_block_is_reused_by_one_of_its_size_only() {
    let mut heap = Heap::new(0);
    let block = heap.alloc(Part::Copies, 10 * MIB);
    heap.free(block);
    let other = heap.alloc(Part::Gradients, 4 * MIB);
    let same = heap.alloc(Part::Gradients, 9 * MIB + 1);
    let peaks = heap.into_peaks();
    let sizes = peaks[&Stage::Loading];
    assert_eq!(sizes[Part::Gradients as usize], 14 * MIB);
    assert_eq!(sizes[Part::Freed as usize], 0);
    assert_eq!(sizes.iter().sum::<usize>(), 14 * MIB);
    drop((other, same));
}

#[test]
fn no_more_than_a_gibibyte_is_kept() {
    let mut heap = Heap::new(0);
    let blocks = heap.many(Part::Copies, 3, 400 * MIB);
    heap.free_all(blocks);
    heap.enter(Stage::Saving);
    let sizes = heap.into_peaks()[&Stage::Saving];
    assert_eq!(sizes[Part::Freed as usize], 800 * MIB);
}

#[test]
fn small_blocks_are_not_given_back() {
    let mut heap = Heap::new(0);
    let small = heap.many(Part::Images, 48, 600_000);
    heap.free_all(small);
    heap.enter(Stage::Saving);
    let sizes = heap.into_peaks()[&Stage::Saving];
    assert_eq!(sizes[Part::Freed as usize], 48 * 600_000);
}

#[test]
fn a_buffer_grows_and_never_shrinks() {
    let mut heap = Heap::new(0);
    for n_values in [MIB, 4 * MIB, 2 * MIB] {
        heap.grow(Buffer::BatchRead, n_values);
    }
    heap.enter(Stage::Saving);
    let sizes = heap.into_peaks()[&Stage::Saving];
    assert_eq!(sizes[Part::Kernels as usize], 16 * MIB);
    assert_eq!(sizes[Part::Freed as usize], 4 * MIB);
}

/// Mebibytes that were measured with batches of 16 and Adam: `benches/results/2026-11-23-memory.md`. Since then mimalloc is the
/// allocator, which takes up to a sixth less: `benches/results/2026-11-29-allocator.md`.
fn check_measured(experiment: &Experiment, facts: &Facts, stage: Stage, measured: f64) {
    let estimate = of(experiment, facts);
    assert_eq!(estimate.stage, stage, "{estimate}");
    let ratio = estimate.total() as f64 / MIB as f64 / measured;
    assert!((0.9..1.1).contains(&ratio), "{ratio}: {estimate}");
}

#[test]
fn what_was_measured_is_what_is_predicted() {
    let fresh = "model.fresh = [\"classifier\"]";
    let head = vgg16("\"classifier\"", fresh);
    check_measured(&head, &FACTS, Stage::Saving, 2882.0);
    let full = Facts {
        is_cache_full: true,
        ..FACTS
    };
    check_measured(&head, &full, Stage::Saving, 2457.0);
    check_measured(&vgg16("\"all\"", fresh), &FACTS, Stage::Training, 4206.0);
    let off = vgg16(
        "\"classifier\"",
        "cache.mode = \"off\"\ndata.batch_size = 64",
    );
    check_measured(&off, &FACTS, Stage::Saving, 3096.0);
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
    let difference = adam.total() - sgd.total();
    assert!(difference.abs_diff(momenta) < momenta / 10, "{difference}");
}

#[test]
fn going_on_reads_the_optimizer_twice() {
    let head = vgg16("\"classifier\"", "");
    let resumed = Facts {
        start: Start::Resumed,
        ..FACTS
    };
    let estimate = of(&head, &resumed);
    let (parameters, moments) = (134_268_738 * 4, 119_554_050 * 8);
    let at_least = parameters + 2 * moments;
    assert!(estimate.stages[&Stage::Loading] > at_least, "{estimate}");
    let full = Facts {
        is_cache_full: true,
        ..resumed
    };
    let head = vgg16("\"classifier\"", "model.fresh = [\"classifier\"]");
    check_measured(&head, &full, Stage::Loading, 2874.0);
    let goes_on = "`memory = \"ignore\"` in that file";
    let verdict = check_verdict(&head, &full, 1 << 30, goes_on);
    assert!(!help_of(verdict).contains("--set"));
}

#[test]
fn as_many_large_photos_are_decoded_at_once_as_there_are_threads() {
    let text = "model.arch = \"vgg16_slim\"\nmodel.weights = \"drawings_v1\"";
    let large = Facts {
        photo_bytes: [72_000_000; N_HEADERS],
        weights: None,
        ..FACTS
    };
    let small = Facts {
        weights: None,
        ..FACTS
    };
    let experiment = vgg16("\"classifier\"", text);
    let mut one_large = large;
    one_large.photo_bytes[1..].fill(600_000);
    let [large, one_large, small] = [large, one_large, small].map(|facts| of(&experiment, &facts));
    let loading = |estimate: &Estimate| estimate.stages[&Stage::Loading];
    // One a thread.
    let more = loading(&large) - loading(&small);
    assert!((2 * 70_000_000..2 * 75_000_000).contains(&more), "{more}");
    assert!(loading(&one_large) + 70_000_000 < loading(&large));
    // The pictures of a run take one after the other.
    assert!(large.total() - small.total() < 2 * 75_000_000, "{large}");
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
    for part in [
        "needs about 10.2 GiB in a training step",
        "in a training step",
        "`--set data.batch_size=16` with `--set training.accumulate=4`",
        "'phase.a.trainable=[\"classifier\"]'",
        "5.5 GiB are available (this test)",
        "memory=ignore",
    ] {
        check_verdict(&all, &many, 5632 << 20, part);
    }
    let text = help_of(check_verdict(&all, &many, 5632 << 20, ""));
    assert!(!text.contains("optimizer.kind=sgd"), "{text}");
    // Nothing alone is enough.
    check_verdict(
        &all,
        &many,
        2500 << 20,
        "use all of these together (1.9 GiB)",
    );
    check_verdict(&all, &many, 300 << 20, "would still take 1.");
    let head = vgg16("\"classifier\"", "");
    check_verdict(&head, &FACTS, 2 << 30, "`--set optimizer.kind=sgd`");
    check_verdict(
        &head,
        &FACTS,
        2 << 30,
        "'phase.a.trainable=[\"classifier[6]\"]'",
    );
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
