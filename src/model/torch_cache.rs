//! Where PyTorch caches the weights that it downloads, which this program shares.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// PyTorch's cache: `$TORCH_HOME/hub/checkpoints`, by default below `~/.cache/torch`. The `~` stays if the home directory is
/// unknown.
pub(crate) fn torch_checkpoints() -> PathBuf {
    checkpoints_of(|name| env::var_os(name))
}

/// Resolves the cache directory as `torch.hub` does, including a `~` in the variables.
fn checkpoints_of(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let place = |name| set(name).map(PathBuf::from);
    // A relative path would be a different directory in each working directory.
    let absolute = |name| place(name).filter(|path: &PathBuf| path.is_absolute());
    let home = absolute("HOME").or_else(|| absolute("USERPROFILE"));
    // PyTorch accepts a `~` here, and relative paths only in `TORCH_HOME`.
    let cache = place("XDG_CACHE_HOME").filter(|path| path.is_absolute() || path.starts_with("~"));
    let torch_home = place("TORCH_HOME")
        .or_else(|| Some(cache?.join("torch")))
        .unwrap_or_else(|| Path::new("~/.cache/torch").to_owned());
    let torch_home = match (torch_home.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        (Ok(_), None) | (Err(_), _) => torch_home,
    };
    torch_home.join("hub").join("checkpoints")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_torch_hub_has_it() {
        let check = |variables: &[(&str, &str)], expected: &str| {
            let place = checkpoints_of(|name| {
                let variable = variables.iter().find(|(other, _)| *other == name);
                variable.map(|(_, value)| OsString::from(value))
            });
            assert_eq!(place, Path::new(expected), "{variables:?}");
        };
        let home = ("HOME", "/h");
        check(&[home], "/h/.cache/torch/hub/checkpoints");
        check(
            &[home, ("XDG_CACHE_HOME", "/x")],
            "/x/torch/hub/checkpoints",
        );
        let both = [home, ("XDG_CACHE_HOME", "/x"), ("TORCH_HOME", "/t")];
        check(&both, "/t/hub/checkpoints");
        check(&[home, ("TORCH_HOME", "~/t")], "/h/t/hub/checkpoints");
        check(&[home, ("TORCH_HOME", "t")], "t/hub/checkpoints");
        for unset in [
            ("TORCH_HOME", ""),
            ("XDG_CACHE_HOME", ""),
            ("XDG_CACHE_HOME", "x"),
        ] {
            check(&[home, unset], "/h/.cache/torch/hub/checkpoints");
        }
        for home in ["", "h"] {
            check(&[("HOME", home)], "~/.cache/torch/hub/checkpoints");
        }
        check(
            &[home, ("XDG_CACHE_HOME", "~/x")],
            "/h/x/torch/hub/checkpoints",
        );
    }
}
