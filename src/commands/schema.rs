//! `runner schema`: prints the JSON Schema of experiment or sweep files.

use serde_json::{Value, json};

use crate::{commands::context::Context, config, error::Result, sweep};

#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {
    /// Print the schema of sweep files instead
    #[arg(long)]
    sweep: bool,
}

pub(crate) fn run(args: &SchemaArgs, cx: &Context) -> Result<()> {
    let schema = if args.sweep {
        sweep::json_schema()
    } else {
        config::json_schema()
    };
    let fields = json!({ "schema": serde_json::from_str::<Value>(&schema).ok() });
    cx.console.document("schema", fields, schema)
}
