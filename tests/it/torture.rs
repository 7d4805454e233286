//! Runs that are killed over and over: at the end they are, byte for byte, what they would have been.
//! `RUNNER_TORTURE` is the number of kills per experiment, `RUNNER_TORTURE_SEED` draws their moments; `make torture` sets both.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::program::{Case, SMALL, metrics, read, read_toml, shared};

/// Every part of training that has a memory. A checkpoint is written after each step, so that many kills fall into one.
const EXPERIMENTS: [(&str, &str); 4] = [
    (
        "dropout, cosine with warm-up, accumulation",
        "[schedule]\nkind = \"cosine\"\nwarmup_epochs = 0.5\n[training]\naccumulate = 2\ncheckpoint_every = \"1 step\"\n",
    ),
    (
        "augmentation, steps, early stopping, label smoothing, no cache",
        "[schedule]\nkind = \"step\"\nstep_epochs = 1\ngamma = 0.5\n[augment]\nhorizontal_flip = 0.5\ncrop_scale = [0.3, 1.0]\n\
         [early_stopping]\npatience = 1\n[cache]\nmode = \"off\"\n\
         [training]\nlabel_smoothing = 0.1\nmetric = \"valid_loss\"\ncheckpoint_every = \"1 step\"\n",
    ),
    (
        "sgd with momentum, clipping, variants that are cached, a rare checkpoint",
        "[optimizer]\nkind = \"sgd\"\nmomentum = 0.9\nlr = 0.01\n[augment]\nhorizontal_flip = 0.5\nvariants = 2\n\
         [training]\nclip_grad_norm = 1.0\ncheckpoint_every = \"3 steps\"\n",
    ),
    (
        "rmsprop, a checkpoint by epoch",
        "[optimizer]\nkind = \"rmsprop\"\nlr = 1e-4\n[training]\ncheckpoint_every = \"1 epoch\"\n",
    ),
];

/// What a kill fell into, by what it left behind.
#[derive(Default)]
struct Moments {
    before_the_run: usize,
    in_a_checkpoint: usize,
    elsewhere: usize,
    after_the_last_step: usize,
}

/// A small generator (SplitMix64): moments must come again with their seed.
struct Dice(u64);

impl Dice {
    /// Below 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("it is a number"))
}

/// Starts the program and kills it after `delay`; whether it was quicker.
fn ends_before(case: &Case, args: &[&str], delay: Duration) -> bool {
    let mut command = case.command(args);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while started.elapsed() < delay {
        if let Some(status) = child.try_wait().unwrap() {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(status.success(), "{args:?}: {stderr}");
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    // SIGKILL: nothing of the program runs any more.
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

fn runs(case: &Case) -> Vec<PathBuf> {
    let entries = fs::read_dir(case.path("runs")).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

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

fn check_equal(killed: &Path, whole: &Path) {
    assert_eq!(metrics(killed), metrics(whole));
    for file in [
        "steps.csv",
        "predictions.csv",
        "confusion.csv",
        "split.csv",
        "groups.csv",
    ] {
        assert_eq!(read(&killed.join(file)), read(&whole.join(file)), "{file}");
    }
    let tensors = [
        "base.safetensors",
        "best/model.safetensors",
        "last/model.safetensors",
        "last/optimizer.safetensors",
    ];
    for file in tensors.map(|file| Path::new("checkpoints").join(file)) {
        let bytes = |run: &Path| fs::read(run.join(&file)).unwrap();
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
    let mut left: Vec<String> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["base.safetensors", "best", "last", "previous-last"]);
}

/// Kills one run after another until there have been `n_kills`; each is resumed until it has ended, and compared.
fn torture(case: &Case, n_kills: u64, dice: &mut Dice, moments: &mut Moments) -> usize {
    let started = Instant::now();
    let whole = case.train(&[]);
    let seconds = started.elapsed().as_secs_f64();
    let (mut n_killed, mut n_runs) = (0, 0);
    while n_killed < n_kills {
        // What the cache has is part of what is killed.
        fs::remove_dir_all(case.path("cache")).unwrap();
        let earlier = runs(case);
        let mut run: Option<PathBuf> = None;
        loop {
            let is_last = n_killed == n_kills;
            // Short ones, too: whatever a process does first must bear it as well.
            let delay = if is_last {
                600.0
            } else {
                dice.roll() * seconds
            };
            let path = run.as_ref().map(|run| run.to_str().unwrap().to_owned());
            let args = match &path {
                Some(path) => vec!["resume", path.as_str()],
                None => vec!["small.toml"],
            };
            let since = SystemTime::now();
            let has_ended = ends_before(case, &args, Duration::from_secs_f64(delay));
            let newest = runs(case).into_iter().find(|path| !earlier.contains(path));
            // Between its summary and its end there is nothing left to do.
            let is_finished = newest
                .as_ref()
                .is_some_and(|run| run.join("summary.toml").exists());
            n_killed += u64::from(!has_ended);
            if has_ended || is_finished {
                n_runs += 1;
                check_equal(&newest.unwrap(), &whole);
                break;
            }
            // Without a manifest it is no run yet, and there is nothing to resume.
            match newest {
                Some(path) => {
                    count(&path, since, moments);
                    if path.join("manifest.toml").exists() {
                        run = Some(path);
                    } else {
                        fs::remove_dir_all(path).unwrap();
                    }
                }
                None => moments.before_the_run += 1,
            }
        }
        for run in runs(case).into_iter().filter(|run| *run != whole) {
            fs::remove_dir_all(run).unwrap();
        }
    }
    n_runs
}

/// Tortures the experiment `small.toml` of the case, and says what came of it.
#[expect(clippy::print_stdout, reason = "`make torture` prints it")]
fn report(name: &str, case: &Case, n_kills: u64, seed: u64) {
    let (mut moments, mut dice) = (Moments::default(), Dice(seed));
    let n_runs = torture(case, n_kills, &mut dice, &mut moments);
    println!(
        "{name}: {n_runs} runs equal after {n_kills} kills: {} before the run, {} in a checkpoint, {} elsewhere, {} after the last step",
        moments.before_the_run,
        moments.in_a_checkpoint,
        moments.elsewhere,
        moments.after_the_last_step
    );
}

#[test]
fn a_run_that_is_killed_at_any_moment_ends_as_one_that_was_not() {
    let n_kills = number("RUNNER_TORTURE", 8);
    let seed = number("RUNNER_TORTURE_SEED", 1);
    for (number, (name, more)) in EXPERIMENTS.iter().enumerate() {
        let case = Case::empty();
        case.ok(&["sample-data", "data", "--per-class", "12", "--no-broken"]);
        let small = SMALL
            .replace("epochs = 2", "epochs = 3")
            .replace("[32, 32]", "[64, 64]");
        fs::write(case.path("small.toml"), format!("{small}{more}")).unwrap();
        report(name, &case, n_kills, seed * 1000 + number as u64);
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
    let n_kills = number("RUNNER_TORTURE", 50).div_ceil(5);
    report(
        "VGG16 on photographs",
        &case,
        n_kills,
        number("RUNNER_TORTURE_SEED", 1),
    );
}
