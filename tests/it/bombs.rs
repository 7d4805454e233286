//! Files that promise more than any memory holds, as the whole program meets them: at once, with a reason, at no cost.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::program::{Case, read};

/// Seeds of the fuzz targets, and what `rejected.csv` says of them.
const PICTURES: [(&str, &str); 13] = [
    ("large.png", "has 65535 x 65535 pixels, more than"),
    ("largest.png", "is damaged: decoding it would take too much"),
    ("large_baseline.jpg", "has 65500 x 65500 pixels, more than"),
    (
        "large_progressive.jpg",
        "has 65500 x 65500 pixels, more than",
    ),
    ("large.tif", "has 65535 x 65535 pixels, more than"),
    ("large_screen.gif", "has 65535 x 65535 pixels, more than"),
    (
        "large_frame.gif",
        "is damaged: decoding it would take too much",
    ),
    ("wide.bmp", "Image too large (one of (2147483647, 17)"),
    ("square.bmp", "Image too large"),
    ("lowest.bmp", "Invalid height"),
    ("large_lossy.webp", "has 16383 x 16383 pixels, more than"),
    ("large_canvas.webp", "Image too large"),
    ("larger_than_its_canvas.webp", "Inconsistent image sizes"),
];

#[test]
fn pictures_of_vast_sizes_are_rejected_with_reasons() {
    let case = Case::new("");
    for (name, _) in PICTURES {
        fs::copy(seed("image", name), case.path("data/Cat").join(name)).unwrap();
    }
    let start = Instant::now();
    case.ok(&["check", "small.toml", "--set", ALL_MAY_FAIL]);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let run = case.train(&["--set", ALL_MAY_FAIL]);
    let rejected = read(&run.join("rejected.csv"));
    for (name, reason) in PICTURES {
        let line = rejected
            .lines()
            .find(|line| line.contains(&format!("/{name},")));
        assert!(
            line.is_some_and(|line| line.contains(reason)),
            "{name}: {rejected}"
        );
    }
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
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -v 600000; exec \"$0\" check small.toml"])
        .arg(env!("CARGO_BIN_EXE_runner"))
        .env("RAYON_NUM_THREADS", "1")
        .env("XDG_CACHE_HOME", case.path("cache"))
        .current_dir(case.path(""));
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Cat 11"), "{said}");
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
    let error = case.fails(3, &["check", "small.toml", "--set", "model.weights=w.pth"]);
    let expected = "w.pth`: the tensors would take 8589934592 bytes";
    assert!(error.contains(expected), "{error}");
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
    assert!(
        error.contains("invalid TOML: ") && error.contains("  --> table.toml:50:2\n"),
        "{}",
        &error[..500]
    );
    assert!(!error.contains("table.toml:51:"));
    assert!(error.contains("and 99950 more\n\n100000 problems in table.toml"));

    fs::write(case.path("long.toml"), "#".repeat((4 << 20) + 1)).unwrap();
    let error = case.fails(1, &["config", "long.toml"]);
    assert!(
        error.contains(
            "cannot read `long.toml`: the file is larger than 4 MiB, the limit for experiment files"
        ),
        "{error}"
    );
    fs::write(case.path("extends.toml"), "extends = \"long.toml\"\n").unwrap();
    let error = case.fails(2, &["config", "extends.toml"]);
    assert!(
        error.contains("cannot read `long.toml`: the file is larger than 4 MiB"),
        "{error}"
    );
}
