//! Runs the whole corpus of `fuzz/` and some thousand mutations of it, without libFuzzer and so on every machine.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rand_chacha::rand_core::Rng;

use super::TARGETS;
use crate::random;

/// The number of mutations for each target; the seeds take turns.
const N_MUTATIONS: usize = 1000;
/// The time for mutations, because the machine may be busy. The corpus itself always runs completely.
const MOST_TIME: Duration = Duration::from_secs(1);
/// Numbers that break sums, products and allocations.
const NUMBERS: [&[u8]; 10] = [
    b"0",
    b"-1",
    b"nan",
    b"inf",
    b"1e300",
    b"9223372036854775807",
    b"18446744073709551616",
    &[0xff; 8],
    &[0x00; 4],
    &[0xff, 0xff, 0xff, 0x7f],
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Damages a seed in one or a few places, as accidents and attackers do.
fn mutated(seed: &[u8], others: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let mut below = |n: usize| (rng.next_u64() % n.max(1) as u64) as usize;
    for _ in 0..=below(4) {
        let at = below(bytes.len());
        let end = (at + 1 + below(64)).min(bytes.len());
        match below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 => bytes.truncate(at),
            2 => {
                let number = NUMBERS[below(NUMBERS.len())];
                let end = (at + number.len()).min(bytes.len());
                bytes.splice(at..end, number.iter().copied());
            }
            3 => {
                let block = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, block);
            }
            4 => {
                bytes.drain(at.min(end)..end);
            }
            _ => {
                let other = &others[below(others.len())];
                let from = below(other.len());
                let block = &other[from..(from + 1 + below(64)).min(other.len())];
                bytes.splice(at..at, block.iter().copied());
            }
        }
    }
    bytes
}

/// The bytes as a literal that can be pasted into a test.
fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(2000)].escape_ascii().to_string()
}

fn check(target: &str) {
    let (_, run) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target of this name");
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    let once = |bytes: &[u8]| {
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(|| run(bytes));
        assert!(outcome.is_ok(), "{target} panics on b\"{}\"", shown(bytes));
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(10),
            "{target} takes {took:?} for b\"{}\"",
            shown(bytes)
        );
    };
    once(b"");
    for seed in &seeds {
        once(seed);
    }
    let start = Instant::now();
    for number in 0..N_MUTATIONS {
        if start.elapsed() > MOST_TIME {
            break;
        }
        let mut rng = random::rng(1, target, &[number as u64]);
        once(&mutated(&seeds[number % seeds.len()], &seeds, &mut rng));
    }
}

#[test]
fn whatever_a_cache_entry_holds_comes_back_sound_or_not_at_all() {
    check("cache");
}

#[test]
fn whatever_an_experiment_file_says_is_resolved_or_refused() {
    check("config");
}

#[test]
fn whatever_was_measured_is_drawn_or_left_out() {
    check("curves");
}

#[test]
fn whatever_an_event_file_holds_is_continued_or_replaced() {
    check("events");
}

#[test]
fn whatever_an_unfinished_table_says_is_continued_or_refused() {
    check("predictions");
}

#[test]
fn whatever_an_image_file_holds_is_decoded_or_rejected() {
    check("image");
}

#[test]
fn whatever_a_pth_file_holds_is_read_or_refused() {
    check("pth");
}

#[test]
fn whatever_a_run_directory_holds_can_be_looked_at() {
    check("records");
}

#[test]
fn whatever_a_safetensors_file_holds_is_read_or_refused() {
    check("safetensors");
}

#[test]
fn whatever_a_scan_is_said_to_have_found_is_read_or_forgotten() {
    check("scan_memory");
}

#[test]
fn whatever_a_split_says_is_taken_or_refused() {
    check("split");
}

#[test]
fn whatever_a_sweep_says_is_expanded_or_refused() {
    check("sweep");
}

#[test]
fn whatever_the_directory_of_a_sweep_holds_can_be_looked_at() {
    check("trials");
}

#[test]
fn whatever_an_archive_holds_is_unpacked_inside_its_folder_or_refused() {
    check("unpack");
}

#[test]
fn every_target_has_a_binary_and_a_corpus() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    for (name, _) in TARGETS {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
