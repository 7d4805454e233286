//! Runs that are killed over and over, changed, damaged and stopped by numbers that are none: at the end they are, byte for
//! byte, what they would have been. `RUNNER_TORTURE` is the number of kills per experiment, `RUNNER_TORTURE_SEED` draws all
//! that happens; `make torture` sets both.

mod events;
mod experiments;
mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use self::{
    events::{Change, Dice, Ended, Kills, Moments, damage_one_file, run_for},
    experiments::{EXPERIMENTS, Experiment, experiment},
    tools::{is_of_numbers, number, runs},
};
use crate::{
    damage::copy,
    program::{Case, SMALL, metrics, read, read_toml, shared},
};

/// By what a process that began at `since` left behind.
fn count(run: &Path, since: SystemTime, moments: &mut Moments) {
    let left = |name: &&str| {
        let metadata = fs::metadata(run.join("checkpoints").join(name)).ok();
        let modified = metadata.and_then(|metadata| metadata.modified().ok());
        modified.is_some_and(|modified| modified >= since)
    };
    let drafts = [
        "new-last",
        "new-best",
        "old-last",
        "old-best",
        "new-base.safetensors",
    ];
    let slot = if !run.join("manifest.toml").exists() {
        &mut moments.before_the_run
    } else if drafts.iter().any(left) {
        &mut moments.in_a_checkpoint
    } else if run.join("confusion.csv").exists() {
        &mut moments.after_the_last_step
    } else {
        &mut moments.elsewhere
    };
    *slot += 1;
}

/// `has_all_steps` unless rows were lost that nothing can make again.
fn check_equal(killed: &Path, whole: &Path, has_all_steps: bool) {
    assert_eq!(metrics(killed), metrics(whole));
    if has_all_steps {
        let steps = |run: &Path| read(&run.join("steps.csv"));
        assert_eq!(steps(killed), steps(whole));
    }
    for file in [
        "predictions.csv",
        "confusion.csv",
        "split.csv",
        "groups.csv",
    ] {
        assert_eq!(read(&killed.join(file)), read(&whole.join(file)), "{file}");
    }
    let changes = |run: &Path| fs::read_to_string(run.join("changes.csv")).unwrap_or_default();
    assert_eq!(changes(killed), changes(whole));
    let tensors = [
        "base.safetensors",
        "best/model.safetensors",
        "best/predictions.csv",
        "last/model.safetensors",
        "last/optimizer.safetensors",
    ];
    for file in tensors.map(|file| Path::new("checkpoints").join(file)) {
        // Where everything trains there is no base.
        let bytes = |run: &Path| fs::read(run.join(&file)).ok();
        assert!(bytes(killed) == bytes(whole), "{} differs", file.display());
    }
    let progress = |run: &Path| {
        let state = read_toml(&run.join("checkpoints/last/state.toml"));
        let mut progress = state["progress"].as_table().unwrap().clone();
        progress.remove("times");
        progress
    };
    assert_eq!(progress(killed), progress(whole));
    let summary = |run: &Path| {
        let summary = read_toml(&run.join("summary.toml"));
        ["epochs", "steps", "stopped_early", "best", "last", "class"]
            .map(|key| summary[key].clone())
    };
    assert_eq!(summary(killed), summary(whole));
    let left = fs::read_dir(killed.join("checkpoints")).unwrap();
    for name in left.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        let known = [
            "base.safetensors",
            "best",
            "last",
            "previous-last",
            "recipe",
        ];
        assert!(known.contains(&name.as_str()), "{name} is left");
    }
}

/// The best epoch of the summary is the best row of the table, and its checkpoint scores what they say.
fn check_best(case: &Case, run: &Path, is_exact: bool) {
    let summary = read_toml(&run.join("summary.toml"));
    let answer = case.ok(&["--json", "evaluate", run.to_str().unwrap()]);
    let text = answer.lines().last().unwrap();
    let answer: serde_json::Value = serde_json::from_str(text).unwrap();
    let best = &summary["best"];
    assert_eq!(answer["epoch"].as_i64(), best["epoch"].as_integer());
    // `serde_json` may miss the last bit of a number that it reads.
    let (_, loss) = text.split_once("\"loss\":").unwrap();
    let scored: f64 = loss[..loss.find([',', '}']).unwrap()].parse().unwrap();
    let said = best["valid_loss"].as_float().unwrap();
    let difference = (scored - said).abs();
    // Activations from the cache may have half the digits, which `evaluate` does not read.
    assert!(
        difference == 0.0 || !is_exact && difference < 1e-3,
        "{scored:?} {said:?}"
    );
    if is_exact {
        let accuracy = best["valid_accuracy"].as_float();
        assert_eq!(answer["accuracy"].as_f64(), accuracy);
    }
    case.ok(&["verify", run.to_str().unwrap()]);
}

/// A run under torture, and what it must become.
struct Victim<'a> {
    case: &'a Case,
    experiment: &'a Experiment,
    run: Option<PathBuf>,
    /// The run, or a copy of it at its last change, that nothing more happens to.
    expected: Option<PathBuf>,
    /// The change that its next process brings, with the experiment before it.
    change: Option<Change>,
    has_changed: bool,
    is_damaged: bool,
    has_all_steps: bool,
}

impl Victim<'_> {
    fn args(&self) -> Vec<String> {
        let mut args = match &self.run {
            Some(run) => vec!["resume".to_owned(), run.to_str().unwrap().to_owned()],
            None => vec!["small.toml".to_owned()],
        };
        let own = self.experiment.sets.iter().map(ToString::to_string);
        let sets = match (&self.run, &self.change) {
            (None, _) => own.collect(),
            (Some(_), Some(change)) => vec![change.set.clone()],
            (Some(_), None) => Vec::new(),
        };
        args.extend(sets.into_iter().flat_map(|set| ["--set".to_owned(), set]));
        args
    }

    /// Draws what happens to a run between two of its processes.
    fn happen(&mut self, dice: &mut Dice) {
        let Some(run) = self.run.clone() else {
            return;
        };
        match dice.below(10) {
            0 | 1 => self.draw_change(&run, dice),
            // After a change, damage may lead back before it, and then the change comes earlier than its twin's.
            2 if !self.is_damaged && !self.has_changed => {
                let file = damage_one_file(&run, dice);
                self.is_damaged = true;
                self.has_all_steps &= file != Path::new("steps.csv");
            }
            _ => {}
        }
    }

    fn draw_change(&mut self, run: &Path, dice: &mut Dice) {
        // What a run is still to do may change, and its last phase is, unless all is done.
        let state = run.join("checkpoints/last/state.toml");
        let phase = fs::read_to_string(state).ok().and_then(|text| {
            let state: toml::Table = text.parse().ok()?;
            // A slim one has nothing left to do, and cannot be given more.
            let has_more = !state.contains_key("is_slim");
            state["progress"]["phase"].as_integer().filter(|_| has_more)
        });
        if phase.is_none_or(|phase| phase >= 2) {
            return;
        }
        let sets = [
            "phase.features24.lr=1e-30",
            "phase.features24.lr=3e-4",
            "phase.features24.epochs=7",
            "training.clip_grad_norm=0.5",
            "early_stopping.patience=1",
            "cache.mode=off",
            "cache.max_gib=1e-9",
        ];
        self.change_to(run, sets[dice.below(sets.len() as u64) as usize]);
    }

    /// The next process resumes with `set`, and so will a copy of the run, undisturbed.
    fn change_to(&mut self, run: &Path, set: &str) {
        self.change = Some(Change {
            set: set.to_owned(),
            before: read(&run.join("resolved.toml")),
        });
        copy(run, &self.case.path("next-twin"));
    }

    /// Finds out whether a process that has ended had brought the change into force.
    fn settle_change(&mut self) {
        let (Some(run), Some(change)) = (&self.run, &self.change) else {
            return;
        };
        if read(&run.join("resolved.toml")) == change.before {
            // It may have been a change to what there was.
            return;
        }
        let (next, twin) = (self.case.path("next-twin"), self.case.path("twin"));
        let _ = fs::remove_dir_all(&twin);
        fs::rename(next, &twin).unwrap();
        let output = self.case.run(&["resume", "twin", "--set", &change.set]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        // A twin may be stopped by its numbers too; then the run will be, and both change again.
        assert!(
            output.status.success() || is_of_numbers(&stderr),
            "{stderr}"
        );
        self.expected = Some(twin);
        self.has_changed = true;
        self.change = None;
    }

    fn check(&self) {
        let run = self.run.as_ref().unwrap();
        let expected = self.expected.as_ref().expect("it was stopped and changed");
        check_equal(run, expected, self.has_all_steps);
        check_best(self.case, run, !self.experiment.more.contains("f16"));
    }
}

/// Kills one run after another until there have been `n_kills`; each is resumed until it has ended, and compared.
fn torture(case: &Case, experiment: &Experiment, kills: &mut Kills, dice: &mut Dice) -> usize {
    let started = Instant::now();
    let sets: Vec<&str> = experiment
        .sets
        .iter()
        .flat_map(|set| ["--set", *set])
        .collect();
    let whole = if experiment.stops {
        case.fails(1, &[&["small.toml"], &sets[..]].concat());
        None
    } else {
        Some(case.train(&sets))
    };
    let seconds = started.elapsed().as_secs_f64();
    let mut n_runs = 0;
    let spared = runs(case);
    while kills.left > 0 {
        // What the cache has is part of what is killed.
        let _ = fs::remove_dir_all(case.path("cache"));
        let mut victim = Victim {
            case,
            experiment,
            run: None,
            expected: whole.clone(),
            change: None,
            has_changed: false,
            is_damaged: false,
            has_all_steps: true,
        };
        loop {
            // Short ones, too: whatever a process does first must bear it as well.
            let delay = match kills.left {
                0 => 600.0,
                _ => dice.roll() * seconds,
            };
            let since = SystemTime::now();
            let args = victim.args();
            let ended = run_for(case, &args, Duration::from_secs_f64(delay));
            // Without a manifest it is no run yet, and there is nothing to resume.
            victim.run = runs(case).into_iter().find(|path| {
                let manifests = ["manifest.toml", "checkpoints/recipe/manifest.toml"];
                let is_run = manifests.iter().any(|file| path.join(file).exists());
                is_run && !spared.contains(path)
            });
            victim.settle_change();
            match (ended, victim.run.clone()) {
                (Ended::Done, Some(run)) => {
                    if dice.below(3) == 0 {
                        // As of a process that was killed between its summary and its status.
                        let status = run.join("status.toml");
                        let text = read(&status).replace("\"finished\"", "\"running\"");
                        fs::write(status, text).unwrap();
                        case.ok(&["resume", run.to_str().unwrap()]);
                    }
                    n_runs += 1;
                    victim.check();
                    break;
                }
                (Ended::Done, None) => panic!("{args:?} left no run"),
                (Ended::NotFinite, run) => {
                    kills.moments.numbers += 1;
                    let run = run.expect("it was stopped in a step");
                    victim.change_to(&run, "phase.features24.lr=1e-4");
                }
                (Ended::Killed, run) => {
                    kills.left -= 1;
                    match run {
                        Some(run) if run.join("summary.toml").exists() => {
                            kills.moments.after_the_last_step += 1;
                            // Only the word that it has ended is missing, or not even that.
                            let output = case.run(&["resume", run.to_str().unwrap()]);
                            // 2: it is finished, so that there is nothing to resume.
                            assert!(matches!(output.status.code(), Some(0 | 2)), "{output:?}");
                            n_runs += 1;
                            victim.check();
                            break;
                        }
                        Some(run) => {
                            count(&run, since, &mut kills.moments);
                            if victim.change.is_none() {
                                victim.happen(dice);
                            }
                        }
                        None => kills.moments.before_the_run += 1,
                    }
                }
            }
        }
        for run in runs(case).into_iter().filter(|run| !spared.contains(run)) {
            fs::remove_dir_all(run).unwrap();
        }
    }
    n_runs
}

/// Tortures the experiment `small.toml` of the case, and says what came of it.
#[expect(clippy::print_stdout, reason = "`make torture` prints it")]
fn report(case: &Case, experiment: &Experiment, n_kills: u64, seed: u64) {
    let (mut kills, mut dice) = (Kills::new(n_kills), Dice(seed));
    let n_runs = torture(case, experiment, &mut kills, &mut dice);
    println!(
        "{}: {n_runs} runs equal after {n_kills} kills: {}",
        experiment.name, kills.moments
    );
}

#[test]
fn a_run_that_is_killed_at_any_moment_ends_as_one_that_was_not() {
    let n_kills = number("RUNNER_TORTURE", 3);
    let seed = number("RUNNER_TORTURE_SEED", 1);
    for (number, experiment) in EXPERIMENTS.iter().enumerate() {
        let case = Case::empty();
        case.ok(&["sample-data", "data", "--per-class", "12", "--no-broken"]);
        let small = SMALL
            .replace("epochs = 2", "epochs = 3")
            .replace("[32, 32]", "[64, 64]");
        fs::write(
            case.path("small.toml"),
            format!("{small}{}", experiment.more),
        )
        .unwrap();
        report(&case, experiment, n_kills, seed * 1000 + number as u64);
    }
}

/// Checkpoints of 1.4 GB, and a cache that takes a while to fill.
#[test]
#[ignore = "takes a quarter of an hour or more and 10 GB of disk: `make torture` runs it"]
fn so_does_vgg16_on_photographs() {
    let name = "so_does_vgg16_on_photographs";
    let Some((weights, shared)) = shared(name, "weights/vgg16_imagenet_features.pth") else {
        return;
    };
    let case = Case::empty();
    case.photographs(&shared, 50);
    let text = format!(
        "data.root = \"photos\"\n[model]\nfresh = [\"classifier\"]\nweights = {weights:?}\n\
         [optimizer]\nlr = 1e-4\n[training]\ncheckpoint_every = \"2 steps\"\n\
         [[phase]]\nname = \"head\"\nepochs = 2\ntrainable = [\"classifier\"]\n\
         [[phase]]\nname = \"features24\"\nepochs = 1\ntrainable = [\"classifier\", \"features[24:]\"]\nlr = 1e-5\n"
    );
    fs::write(case.path("small.toml"), text).unwrap();
    let n_kills = number("RUNNER_TORTURE", 50).div_ceil(20);
    let experiment = experiment("VGG16 on photographs", "", &[]);
    report(
        &case,
        &experiment,
        n_kills,
        number("RUNNER_TORTURE_SEED", 1),
    );
}
