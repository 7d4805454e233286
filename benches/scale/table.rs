//! The tables in Markdown. Pure.

use std::fmt::Write as _;

use super::{photos::Cost, sweep::SweepCosts};

/// One line for each step and number of trials.
pub(crate) fn many_trials(measured: &[(usize, Vec<Cost>)]) -> String {
    let mut text = "\n## Sweeps of many trials\n\nTwo keys drawn at random. One trial was run; the directories of the others are made up \
        from its files.\n\n| trials | step | seconds | processor seconds | peak MiB |\n|---:|---|---:|---:|---:|\n"
        .to_owned();
    for (n_trials, costs) in measured {
        for cost in costs {
            let _ = writeln!(
                text,
                "| {n_trials} | {} | {:.2} | {} | {} |",
                cost.what,
                cost.seconds,
                or_dash(cost.processor_seconds, 2),
                or_dash(cost.peak_mib, 0),
            );
        }
    }
    text
}

fn or_dash(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
}

/// One line for each step and number of photos, then the largest number beside the smallest.
pub(crate) fn photos(measured: &[(usize, Vec<Cost>)]) -> String {
    let mut text =
        "| photos | step | seconds | µs per photo | processor seconds | peak MiB |\n|---:|---|---:|---:|---:|---:|\n"
            .to_owned();
    for (n_images, costs) in measured {
        for cost in costs {
            let processor = or_dash(cost.processor_seconds, 2);
            let peak = or_dash(cost.peak_mib, 0);
            let _ = writeln!(
                text,
                "| {n_images} | {} | {:.2} | {:.1} | {processor} | {peak} |",
                cost.what,
                cost.seconds,
                cost.seconds * 1e6 / *n_images as f64,
            );
        }
    }
    if let [(fewest, small), .., (most, large)] = measured {
        let _ = write!(
            text,
            "\nThe cost per photo at {most} photos beside that at {fewest}. The memory per photo is the difference of the two peaks \
             divided by the difference in photos.\n\n\
             | step | time per photo, {most} / {fewest} | processor time per photo, {most} / {fewest} | bytes of memory per photo |\n\
             |---|---:|---:|---:|\n"
        );
        for (small, large) in small.iter().zip(large) {
            let growth = *fewest as f64 / *most as f64;
            let time = large.seconds / small.seconds * growth;
            let processor = small
                .processor_seconds
                .zip(large.processor_seconds)
                .map_or_else(
                    || "-".to_owned(),
                    |(small, large)| format!("{:.2}", large / small * growth),
                );
            let bytes = small.peak_mib.zip(large.peak_mib).map_or_else(
                || "-".to_owned(),
                |(small, large)| {
                    let bytes = (large - small) * 1024.0 * 1024.0 / (most - fewest) as f64;
                    format!("{bytes:.0}")
                },
            );
            let _ = writeln!(
                text,
                "| {} | {time:.2} | {processor} | {bytes} |",
                small.what
            );
        }
    }
    text
}

pub(crate) fn trials(n_images: usize, trials: &SweepCosts) -> String {
    let mut text = format!(
        "\n## A sweep\n\n{} learning rates on {n_images} photos with a full cache, one trial at a time, {} epochs of {} steps each; \
         means per trial. Every trial is a process that reads the experiment, the remembered scan and the cache. `check` alone takes \
         {:.0} ms of the rest.\n\n| part of a trial | ms | share |\n|---|---:|---:|\n",
        trials.n_trials,
        trials.n_epochs,
        trials.n_steps / trials.n_epochs,
        trials.checking * 1e3,
    );
    for (what, seconds) in [
        ("training steps", trials.training),
        ("waiting for the cache", trials.waiting),
        ("validation", trials.validating),
        ("checkpoints", trials.saving),
        (
            "the rest: start, checks, plots, end, and the sweep itself",
            trials.rest(),
        ),
        ("whole sweep / trials", trials.wall),
    ] {
        let share = seconds / trials.wall * 100.0;
        let _ = writeln!(text, "| {what} | {:.0} | {share:.0} % |", seconds * 1e3);
    }
    text
}
