//! `runner completions SHELL` and `runner man`: what a shell and a pager need to know of the command line.

use std::io::Write as _;

use serde_json::json;

use crate::{
    commands::context::Context,
    error::{Error, Result},
};

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to generate the script for
    shell: clap_complete::Shell,
}

pub(crate) fn completions(args: &CompletionsArgs, cx: &Context) -> Result<()> {
    let script = completion_script(args.shell, cx.cli);
    let fields = json!({ "script": script });
    cx.console.document("completions", fields, script)
}

pub(crate) fn man(cx: &Context) -> Result<()> {
    let page = manual(cx.cli)?;
    let fields = json!({ "page": String::from_utf8_lossy(&page) });
    cx.console.document("man", fields, &page)
}

/// The completion script of a shell.
fn completion_script(shell: clap_complete::Shell, cli: fn() -> clap::Command) -> String {
    let mut script = Vec::new();
    let mut command = cli();
    clap_complete::generate(shell, &mut command, "runner", &mut script);
    if shell == clap_complete::Shell::Bash {
        script.extend_from_slice(BASH_WORDS);
    }
    String::from_utf8_lossy(&script).into_owned()
}

/// Completion of runs and keys, which clap cannot generate because only the running program knows them.
const BASH_WORDS: &[u8] = include_bytes!("../completions.bash");

/// The manual page of the program and all its subcommands, as roff.
fn manual(cli: fn() -> clap::Command) -> Result<Vec<u8>> {
    let unwritten = Error::io("write", "the manual page");
    let mut page = Vec::new();
    let render = |page: &mut Vec<u8>| -> std::io::Result<()> {
        let command = cli();
        clap_mangen::Man::new(command.clone()).render(page)?;
        for subcommand in command.get_subcommands().filter(|it| !it.is_hide_set()) {
            let name = subcommand.get_name();
            writeln!(page, ".SH \"RUNNER {}\"", name.to_uppercase())?;
            let man = clap_mangen::Man::new(subcommand.clone().bin_name(format!("runner {name}")));
            man.render_synopsis_section(page)?;
            man.render_description_section(page)?;
            man.render_options_section(page)?;
        }
        Ok(())
    };
    render(&mut page).map_err(unwritten)?;
    Ok(page)
}
