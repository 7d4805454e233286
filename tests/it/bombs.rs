//! Files that promise more than any memory holds, as the whole program meets them: at once, with a reason, at no cost.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    program::{Case, read},
    runs::json,
    voice::{Transcript, check},
};

/// Seeds of the fuzz targets.
const PICTURES: [&str; 13] = [
    "large.png",
    "largest.png",
    "large_baseline.jpg",
    "large_progressive.jpg",
    "large.tif",
    "large_screen.gif",
    "large_frame.gif",
    "wide.bmp",
    "square.bmp",
    "lowest.bmp",
    "large_lossy.webp",
    "large_canvas.webp",
    "larger_than_its_canvas.webp",
];

#[test]
fn pictures_of_vast_sizes_are_rejected_with_reasons() {
    let case = Case::new("");
    for name in PICTURES {
        fs::copy(seed("image", name), case.path("data/Cat").join(name)).unwrap();
    }
    let start = Instant::now();
    case.ok(&["check", "small.toml", "--set", ALL_MAY_FAIL]);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let run = case.train(&["--set", ALL_MAY_FAIL]);
    check("bombs/rejected_pictures", &read(&run.join("rejected.csv")));
}

const ALL_MAY_FAIL: &str = "data.max_rejected_fraction=1";

fn seed(target: &str, name: &str) -> std::path::PathBuf {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    corpus.join(target).join(name)
}

/// The picture itself is fine, and so it counts; its colour profile of a gigabyte is not looked at.
#[cfg(target_os = "linux")]
#[test]
fn a_colour_profile_of_a_gigabyte_costs_nothing() {
    let case = Case::new("");
    let plain = fs::read(seed("image", "profile_of_32_mib.png")).unwrap();
    let at = plain.windows(4).position(|name| name == b"iCCP").unwrap() - 4;
    let end = at + 12 + u32::from_be_bytes(plain[at..at + 4].try_into().unwrap()) as usize;
    let profile = [b"iCCPx\0\0".to_vec(), zlib_of_zeros(4_200_000)].concat();
    let length = (profile.len() as u32 - 4).to_be_bytes();
    let bomb = [
        &plain[..at],
        &length,
        &profile,
        &crc32(&profile).to_be_bytes(),
        &plain[end..],
    ];
    fs::write(case.path("data/Cat/bomb.png"), bomb.concat()).unwrap();
    // The program's own code and threads take a part of it.
    let args = ["check", "small.toml", "--set", "threads=1", "--json"];
    let output = case.run_limited("-v 600000", &args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let answer = json(str::from_utf8(&output.stdout).unwrap());
    let cat = &answer["classes"][0];
    let n_images = cat["train"].as_u64().unwrap() + cat["valid"].as_u64().unwrap();
    assert_eq!((cat["class"].as_str(), n_images), (Some("Cat"), 11));
}

/// One zero byte, then so many times 258 more, in deflate's fixed codes.
fn zlib_of_zeros(n_times: u32) -> Vec<u8> {
    let mut bytes = vec![0x78, 0x01];
    let (mut pending, mut n_pending) = (0_u32, 0);
    let mut put = |code: &str| {
        for bit in code.bytes() {
            pending |= u32::from(bit == b'1') << n_pending;
            n_pending += 1;
            if n_pending == 8 {
                bytes.push(pending as u8);
                (pending, n_pending) = (0, 0);
            }
        }
    };
    // The last block, fixed codes; a zero.
    put("11000110000");
    for _ in 0..n_times {
        // 258 bytes from one byte before.
        put("1100010100000");
    }
    // The end, and what fills the last byte.
    put("00000000000000");
    let sum = (1 + u64::from(n_times) * 258) % 65521;
    bytes.extend((((sum as u32) << 16) | 1).to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

#[test]
fn weights_that_describe_more_than_their_file_holds_are_refused() {
    let case = Case::new("");
    fs::copy(seed("pth", "repeats_itself.pth"), case.path("w.pth")).unwrap();
    let check = ["check", "small.toml", "--set", "model.weights=w.pth"];
    case.says("bombs/weights_that_repeat_themselves", &check);
}

#[test]
fn a_pickle_is_never_executed() {
    let case = Case::new("");
    for name in ["harm_bare.pth", "harm_protocol_0.pth", "harm_in_zip.pth"] {
        fs::copy(seed("pth", name), case.path("w.pth")).unwrap();
        case.fails(3, &["check", "small.toml", "--set", "model.weights=w.pth"]);
    }
    assert!(!case.path("runner-executed-a-pickle").exists());
}

#[test]
fn a_file_of_another_kind_is_no_long_story_as_an_experiment() {
    let case = Case::new("");
    fs::write(case.path("table.toml"), "a,b,c\n".repeat(100_000)).unwrap();
    let start = Instant::now();
    let error = case.fails(2, &["config", "table.toml"]);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    // The first fifty lines are shown.
    assert_eq!(error.matches("  --> table.toml:").count(), 50);
    let shown: Vec<&str> = error.split_inclusive("\n\n").collect();
    let ends = [shown[0], shown[shown.len() - 2], shown[shown.len() - 1]];
    check("bombs/a_table_as_an_experiment", &ends.concat());

    fs::write(case.path("long.toml"), "#".repeat((4 << 20) + 1)).unwrap();
    fs::write(case.path("extends.toml"), "extends = \"long.toml\"\n").unwrap();
    Transcript::new(&case)
        .fails(&["config", "long.toml"])
        .fails(&["config", "extends.toml"])
        .is("bombs/long_experiments");
}
