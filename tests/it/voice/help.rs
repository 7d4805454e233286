//! Each help page.

use super::check;
use crate::program::Case;

#[test]
fn every_help_page_reads_well() {
    let case = Case::empty();
    let top = case.ok(&["--help"]);
    check("help", &top);
    let commands = top
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "));
    let names: Vec<&str> = commands
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in names {
        check(&format!("help_{name}"), &case.ok(&[name, "--help"]));
    }
    for name in ["list", "verify", "prune"] {
        check(
            &format!("help_cache_{name}"),
            &case.ok(&["cache", name, "--help"]),
        );
    }
}
