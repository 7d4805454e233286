//! `runner report`: one HTML file about a run, several runs or a sweep, which needs nothing but itself.

mod browser;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    program::{Case, make_bare, read},
    runs::text,
};

/// A page may be sent by mail, so it has to stay small.
const MOST_BYTES: u64 = 3_000_000;

/// The embedded photos and heat maps.
fn n_pictures(html: &str) -> usize {
    html.matches("src=\"data:image/jpeg;base64,").count()
}

impl Case {
    /// Writes a report; its path and its text.
    pub(crate) fn report(&self, args: &[&str]) -> (PathBuf, String) {
        let path = self.path("report.html");
        self.ok(&[&["report"], args, &["-o", text(&path)]].concat());
        check_is_whole(&path);
        let html = read(&path);
        (path, html)
    }
}

/// Small, and without anything that would have to be loaded from elsewhere.
fn check_is_whole(path: &Path) {
    let n_bytes = fs::metadata(path).unwrap().len();
    assert!(n_bytes < MOST_BYTES, "{n_bytes} bytes");
    let html = read(path);
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>"));
    for address in ["http://", "https://", "src=\"//", "@import", "url(http"] {
        assert!(!html.contains(address), "{address}");
    }
}

fn has_section(html: &str, id: &str) -> bool {
    html.contains(&format!("<section id=\"{id}\""))
}

#[test]
fn the_page_of_a_run_is_one_file_with_photos() {
    let case = Case::new("");
    let run = case.train(&["--set", "split.test=0.2"]);
    case.says("report/of_a_run", &["report", "latest:small"]);
    let name = run.file_name().unwrap().to_str().unwrap();
    let page = case.path(&format!("{name}.html"));
    check_is_whole(&page);
    let html = read(&page);
    for id in [
        "overview",
        "curves",
        "confusion",
        "gallery",
        "classes",
        "calibration",
        "data",
        "groups",
        "settings",
        "lineage",
        "times",
    ] {
        assert!(has_section(&html, id), "{id}");
    }
    // Nine images were validated or tested, and all of them fit, each with its heat map.
    assert_eq!(n_pictures(&html), 2 * 9);
    assert!(html.contains("95 % interval") && html.contains("Always predicting"));
    let answer = case.json(&["report", text(&run), "-o", "folder/page.html"]);
    assert_eq!(answer["photos"].as_u64(), Some(9));
    assert_eq!(answer["kind"], "run");
    let n_bytes = fs::metadata(case.path("folder/page.html")).unwrap().len();
    assert_eq!(answer["bytes"].as_u64(), Some(n_bytes));
    // Reading leaves the run as it was.
    case.ok(&["verify", text(&run)]);
}

#[test]
fn the_same_run_gives_the_same_page() {
    let case = Case::new("");
    let run = case.train(&[]);
    let (_, first) = case.report(&[text(&run)]);
    let (_, again) = case.report(&[text(&run)]);
    assert!(first == again);
}

#[test]
fn several_runs_and_sweeps_have_pages_of_their_own() {
    let case = Case::new("");
    let first = case.train(&[]);
    let second = case.train(&["--set", "name=other", "--set", "optimizer.kind=sgd"]);
    let (_, html) = case.report(&[text(&first), text(&second)]);
    for id in ["runs", "curves", "tests", "settings"] {
        assert!(has_section(&html, id), "{id}");
    }
    assert!(html.contains("optimizer.kind") && html.contains("sgd"));
    let sweep = "base = \"small.toml\"\n[axes]\nphase.head.lr = [1e-3, 1e-2]\noptimizer.kind = [\"adam\", \"sgd\"]\n";
    fs::write(case.path("rates.toml"), sweep).unwrap();
    case.ok(&["sweep", "rates.toml"]);
    for word in ["runs/sweep-rates", "sweep-rates"] {
        let (_, html) = case.report(&[word]);
        for id in ["overview", "coordinates", "axes", "curves", "source"] {
            assert!(has_section(&html, id), "{id}");
        }
        assert_eq!(html.matches("<path class=\"trial").count(), 4);
    }
    // A page beside the files of a sweep is not in the way of removing it.
    case.ok(&["rm", "--yes", "runs/sweep-rates"]);
}

#[test]
fn a_run_in_any_state_has_a_page_that_says_so() {
    let case = Case::new("");
    let run = case.train(&[]);
    case.ok(&["slim", text(&run)]);
    let (_, html) = case.report(&[text(&run)]);
    assert!(html.contains("This run is slim"));
    fs::remove_file(run.join("summary.toml")).unwrap();
    let status = "state = \"failed\"\nreason = \"the loss is <NaN>\"\nupdated = \"\"\n";
    fs::write(run.join("status.toml"), status).unwrap();
    let (_, html) = case.report(&[text(&run)]);
    assert!(html.contains("This run is not finished") && html.contains("the loss is &lt;NaN&gt;"));
    assert!(has_section(&html, "confusion") && !has_section(&html, "times"));
    // As after a stop in the first epoch.
    fs::write(run.join("metrics.csv"), "epoch,phase\n").unwrap();
    fs::remove_file(run.join("predictions.csv")).unwrap();
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let (_, html) = case.report(&[text(&run)]);
    assert!(html.contains("No epoch is complete yet"));
}

#[test]
fn a_bare_copy_has_a_page_without_what_it_lacks() {
    let case = Case::new("");
    let run = case.train(&[]);
    make_bare(&run);
    for file in [
        "manifest.toml",
        "resolved.toml",
        "split.csv",
        "status.toml",
        "source.toml",
    ] {
        fs::remove_file(run.join(file)).unwrap();
    }
    let (_, html) = case.report(&[text(&run)]);
    assert!(has_section(&html, "confusion") && has_section(&html, "curves"));
    assert!(html.contains("the page has none"));
}

#[test]
fn without_its_photos_a_run_still_has_a_page() {
    let case = Case::new("");
    let run = case.train(&[]);
    let (_, html) = case.report(&["--no-photos", text(&run)]);
    assert!(!html.contains("data:image/") && html.contains("--no-photos"));
    assert!(html.contains("duplicates are unknown"));
    let file = read(&run.join("split.csv"));
    let file = file.lines().find(|line| line.ends_with(",valid")).unwrap();
    fs::remove_file(case.path("data").join(file.split(',').next().unwrap())).unwrap();
    let (_, html) = case.report(&[text(&run)]);
    assert!(html.contains("1 of 20 photos could not be read"));
    assert_eq!(n_pictures(&html), 2 * 4);
    fs::remove_dir_all(case.path("data")).unwrap();
    let (_, html) = case.report(&[text(&run)]);
    assert!(html.contains("The photos are not at") && has_section(&html, "gallery"));
}

#[test]
fn copies_across_the_split_are_leaks() {
    let case = Case::new("");
    let photos = || {
        fs::read_dir(case.path("data/Cat"))
            .unwrap()
            .map(|it| it.unwrap().path())
    };
    let mut cats: Vec<PathBuf> = photos().collect();
    cats.sort();
    fs::copy(&cats[0], case.path("data/Cat/copy.jpg")).unwrap();
    let image = image::open(&cats[1]).unwrap().into_rgb8();
    let (width, height) = (image.width() / 2, image.height() / 2);
    let small =
        image::imageops::resize(&image, width, height, image::imageops::FilterType::Triangle);
    small.save(case.path("data/Cat/small.png")).unwrap();
    let name = |path: &Path| format!("Cat/{}", path.file_name().unwrap().to_str().unwrap());
    let mut split = "file,class,split\n".to_owned();
    for folder in ["Cat", "Dog"] {
        for photo in fs::read_dir(case.path("data").join(folder)).unwrap() {
            let file = format!(
                "{folder}/{}",
                photo.unwrap().file_name().into_string().unwrap()
            );
            let is_valid = ["Cat/copy.jpg", "Cat/small.png"].contains(&file.as_str())
                || file.starts_with("Dog/1");
            let part = if is_valid { "valid" } else { "train" };
            let _ = writeln!(split, "{file},{folder},{part}");
        }
    }
    fs::write(case.path("split.csv"), split).unwrap();
    let by_file = "split = { method = \"file\", file = \"split.csv\" }";
    let experiment = read(&case.path("small.toml")).replace("split = { valid = 0.25 }", by_file);
    fs::write(case.path("small.toml"), experiment).unwrap();
    let run = case.train(&[]);
    let (_, html) = case.report(&[text(&run)]);
    assert!(html.contains("2 of these lie in different parts of the split"));
    for (table, file) in [
        ("Identical files", &cats[0]),
        ("Nearly identical pictures", &cats[1]),
    ] {
        let rows = html.split(&format!("<summary>{table}")).nth(1).unwrap();
        let rows = rows.split("</table>").next().unwrap();
        assert!(rows.contains(&name(file)), "{table}: {rows}");
        assert!(rows.contains("leak between parts of the split"), "{rows}");
    }
}

#[cfg(unix)]
#[test]
fn hostile_names_stay_text() {
    let case = Case::new("");
    let class = "<img src=x onerror=alert(1)>\"'&";
    fs::rename(case.path("data/Cat"), case.path("data").join(class)).unwrap();
    let file = fs::read_dir(case.path("data").join(class))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::rename(
        &file,
        file.with_file_name("\"><script>alert(2)<\u{202e}.jpg"),
    )
    .unwrap();
    let run = case.train(&["--set", "split.valid=0.6"]);
    let (page, html) = case.report(&[text(&run)]);
    for harmful in ["<img src=x", "<script>alert(2)", "\u{202e}"] {
        assert!(!html.contains(harmful), "{harmful}");
    }
    assert!(html.contains("&lt;img src=x onerror=alert(1)&gt;"));
    if let Some(dom) = browser::dom(&page, "") {
        assert!(!dom.contains("<img src=\"x\""));
    }
}

#[test]
fn mistakes_on_the_command_line_are_told_before_the_page_is_made() {
    let case = Case::new("");
    let run = case.train(&[]);
    case.says(
        "report/wrong_extension",
        &["report", text(&run), "-o", "page.pdf"],
    );
    assert!(!case.path("page.pdf").exists());
    case.says("report/unknown_run", &["report", "nothing"]);
    if cfg!(target_os = "linux") {
        let mut command = case.command(&["report", text(&run), "--open"]);
        let output = command
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            stderr.contains("`--open` needs a graphical session"),
            "{stderr}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_page_is_opened_in_the_browser() {
    use std::os::unix::fs::PermissionsExt as _;
    let case = Case::new("");
    let run = case.train(&[]);
    let bin = case.path("bin");
    fs::create_dir(&bin).unwrap();
    let opener = bin.join("xdg-open");
    fs::write(&opener, "#!/bin/sh\necho \"$1\" > opened\n").unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = case.command(&["report", text(&run), "--open", "-o", "page.html"]);
    let output = command
        .env("DISPLAY", ":0")
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(read(&case.path("opened")), "page.html\n");
}
