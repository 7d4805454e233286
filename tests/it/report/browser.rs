//! Reports as a browser shows them: without an error, and with filters and the slider at work. The state of a page is in the
//! fragment of its address, so a page that is opened with a fragment shows what the script makes of it.

use std::{fs, path::Path, process::Command};

use crate::{
    program::{Case, read},
    runs::text,
};

/// The document after its script has run, or `None` after saying that there is no browser. Fails if the script reported an error
/// or the page's policy forbade something.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(super) fn dom(page: &Path, fragment: &str) -> Option<String> {
    let named = std::env::var("RUNNER_TEST_CHROMIUM").ok();
    let usual = ["chromium", "chromium-browser", "google-chrome"];
    for name in named.as_deref().into_iter().chain(usual) {
        let profile = tempfile::tempdir().unwrap();
        let output = Command::new(name)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--enable-logging=stderr",
                "--v=0",
                "--virtual-time-budget=5000",
                "--dump-dom",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("file://{}{fragment}", page.display()))
            .output();
        let Ok(output) = output else { continue };
        let log = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("CONSOLE"))
            .collect();
        assert!(said.is_empty(), "{said:?}");
        let dom = String::from_utf8(output.stdout).unwrap();
        assert!(dom.contains("</html>"), "{name}: {log}");
        return Some(dom);
    }
    eprintln!(
        "{}: skipped in a browser: there is no chromium",
        page.display()
    );
    None
}

/// The figures of the gallery: the numbers of their true and predicted class, and whether they are shown.
fn figures(dom: &str) -> Vec<(String, String, bool)> {
    let figures = dom
        .split("<figure ")
        .skip(1)
        .filter(|it| it.contains("data-part=\""));
    let of = |figure: &str, name: &str| {
        let value = figure.split(&format!("{name}=\"")).nth(1).unwrap();
        value.split('"').next().unwrap().to_owned()
    };
    figures
        .map(|figure| {
            let tag = figure.split('>').next().unwrap();
            (
                of(tag, "data-t"),
                of(tag, "data-p"),
                !tag.contains("hidden"),
            )
        })
        .collect()
}

/// The text of an element.
fn text_of<'a>(dom: &'a str, id: &str) -> &'a str {
    let element = dom.split(&format!("id=\"{id}\"")).nth(1).unwrap();
    element
        .split('>')
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap()
}

#[test]
fn filters_and_the_slider_work() {
    let case = Case::new("");
    // Untrained, so that there are mistakes.
    let run = case.train(&[
        "--set",
        "split.valid=0.6",
        "--set",
        "model.weights=none",
        "--set",
        "phase.head.epochs=1",
        "--set",
        "phase.features24.epochs=1",
    ]);
    let (page, html) = case.report(&[text(&run)]);
    let Some(whole) = dom(&page, "") else { return };
    assert!(whole.contains("<html lang=\"en\" class=\"js\""));
    let all = figures(&whole);
    assert_eq!(all.len(), 12);
    assert!(all.iter().all(|it| it.2));
    let link = html
        .split("href=\"#filter=")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let (truth, predicted) = link.split_once(',').unwrap();
    let number = |class: &str| if class == "Cat" { "0" } else { "1" };
    let filtered = figures(&dom(&page, &format!("#filter={link}")).unwrap());
    let is_of_cell =
        |it: &(String, String, bool)| it.0 == number(truth) && it.1 == number(predicted);
    assert!(filtered.iter().any(is_of_cell) && !filtered.iter().all(is_of_cell));
    assert!(filtered.iter().all(|it| it.2 == is_of_cell(it)));
    let wrong = figures(&dom(&page, "#show=wrong").unwrap());
    assert!(wrong.iter().all(|it| it.2 == (it.0 != it.1)));
    // The lowest threshold calls everything positive, the highest nothing.
    let low = dom(&page, "#threshold=0").unwrap();
    assert_eq!(text_of(&low, "o-sensitivity"), "100.00 %");
    assert_eq!(text_of(&low, "o-specificity"), "0.00 %");
    let high = dom(&page, "#threshold=0.9999").unwrap();
    assert_eq!(text_of(&high, "threshold-value"), "0.9999");
    assert_ne!(text_of(&high, "o-counts"), text_of(&low, "o-counts"));
    // Sums of the counts are the number of images, whatever the threshold.
    let sum = |dom: &str| -> u32 {
        let counts = text_of(dom, "o-counts").split(|it: char| !it.is_ascii_digit());
        counts.filter_map(|it| it.parse::<u32>().ok()).sum()
    };
    assert_eq!((sum(&low), sum(&high)), (12, 12));
}

#[test]
fn pages_of_many_classes_of_comparisons_and_of_sweeps_report_no_error() {
    let case = Case::new("");
    for class in 0..33 {
        let from = ["Cat", "Dog"][class % 2];
        let folder = case.path("many").join(format!("class {class}"));
        fs::create_dir_all(&folder).unwrap();
        let photos = fs::read_dir(case.path("data").join(from)).unwrap().take(5);
        for (at, photo) in photos.enumerate() {
            fs::copy(photo.unwrap().path(), folder.join(format!("{at}.jpg"))).unwrap();
        }
    }
    let run = case.train(&[
        "--set",
        "data.root=many",
        "--set",
        "split.method=stratified",
    ]);
    let (page, html) = case.report(&[text(&run)]);
    assert!(html.contains("most confused of"));
    let link = html
        .split("href=\"#filter=")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    if let Some(dom) = dom(&page, &format!("#filter={link}")) {
        let n_shown = figures(&dom).iter().filter(|it| it.2).count();
        assert!(n_shown > 0, "{link}");
        assert!(text_of(&dom, "o-coverage").ends_with('%'));
    }
    let other = case.train(&[]);
    let (page, _) = case.report(&[text(&run), text(&other)]);
    dom(&page, "");
    let sweep = "base = \"small.toml\"\n[axes]\nphase.head.lr = [1e-3, 1e-2]\n";
    fs::write(case.path("rates.toml"), sweep).unwrap();
    case.ok(&["sweep", "rates.toml"]);
    let (page, _) = case.report(&["runs/sweep-rates"]);
    if let Some(dom) = dom(&page, "#trial=2") {
        let lit = dom.split("<tr ").filter(|it| {
            it.starts_with("data-trial=\"2\" class=\"lit\"")
                || it.starts_with("class=\"lit\" data-trial=\"2\"")
        });
        assert_eq!(lit.count(), 1, "{}", read(&page).len());
    }
}
