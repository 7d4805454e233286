//! Finds out before the submission whether a cluster can run the trials at all.

use super::{
    commands::Slurm,
    script::{Array, Batch},
    settings,
};
use crate::error::{Error, Result};

/// What `sbatch --test-only` says of a request that no node meets, and also of one whose nodes are out of service.
const NO_NODE: &str = "Requested node configuration is not available";

/// The states of nodes that take jobs.
const IN_SERVICE: [&str; 5] = ["idle", "mixed", "allocated", "completing", "planned"];

/// A partition of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) name: String,
    pub(super) is_default: bool,
    /// The longest time limit in seconds; `None` for no limit.
    pub(super) most_s: Option<u64>,
}

/// Checks the request for one trial with Slurm. Submits nothing.
///
/// Returns a doubt in words: nodes that are out of service may or may not be able to run the trials.
///
/// # Errors
/// In Slurm's words, if it would refuse the trials or never start them, and if it does not answer.
pub(crate) fn check(slurm: &Slurm, batch: &Batch) -> Result<Option<String>> {
    let list = batch.dir.join("submissions").join("1.txt");
    let array = Array {
        job_name: &batch.name,
        list: &list,
        n_tasks: 1,
        at_once: None,
        after: &[],
    };
    let script = batch.script(&array)?;
    slurm
        .check_syntax(&script)
        .map_err(|error| error.help("correct `setup` in [launcher.slurm]"))?;
    let refused = slurm.try_out(&script).err();
    let wanted = batch.settings.partition.clone().unwrap_or_default();
    if let Some(error) = refused {
        let is_about_nodes = error.to_string().contains(NO_NODE);
        if is_about_nodes && has_nodes_out_of_service(slurm, &wanted)? {
            return Ok(Some(format!(
                "Slurm has no node for such a trial at the moment, but some nodes are out of service ({NO_NODE})"
            )));
        }
        return Err(error.help("change the request in [launcher.slurm]; `sinfo -l` and `scontrol show node` show what the cluster has"));
    }
    let Some(limit) = batch.settings.time_s() else {
        return Ok(None);
    };
    let partitions = partitions(&slurm.scontrol(&["show", "partition", "-o"])?);
    match too_short(&partitions, &wanted, limit) {
        None => Ok(None),
        // A quality of service may lift the limit of a partition.
        Some(words) if batch.settings.qos.is_some() => Ok(Some(words)),
        Some(words) => Err(Error::slurm("Slurm would never start the trials")
            .fact(words)
            .fact("Slurm takes such jobs and leaves them pending (PartitionTimeLimit)")
            .help("lower `time` in [launcher.slurm], or use another partition: a trial that reaches its time limit is continued by itself")),
    }
}

fn has_nodes_out_of_service(slurm: &Slurm, partitions: &str) -> Result<bool> {
    let states = slurm.node_states(partitions)?;
    // A suffix such as `*` or `~` says more about a node.
    let is_out = |state: &String| {
        let word = state.trim_end_matches(|letter: char| !letter.is_ascii_alphabetic());
        word.len() < state.len() || !IN_SERVICE.contains(&word)
    };
    Ok(states.iter().any(is_out))
}

/// Parses what `scontrol show partition -o` prints.
pub(super) fn partitions(text: &str) -> Vec<Partition> {
    let partition = |line: &str| {
        let field = |name: &str| {
            let mut words = line.split_whitespace();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Partition {
            name: field("PartitionName")?.to_owned(),
            is_default: field("Default") == Some("YES"),
            most_s: field("MaxTime").and_then(settings::seconds),
        })
    };
    text.lines().filter_map(partition).collect()
}

/// Says that no wanted partition allows so much time; `None` if one does, or is not known.
pub(super) fn too_short(partitions: &[Partition], wanted: &str, limit_s: u64) -> Option<String> {
    let is_wanted = |partition: &&Partition| {
        if wanted.is_empty() {
            return partition.is_default;
        }
        wanted.split(',').any(|name| name == partition.name)
    };
    let found: Vec<&Partition> = partitions.iter().filter(is_wanted).collect();
    let longest = found.iter().map(|it| it.most_s.unwrap_or(u64::MAX)).max()?;
    if limit_s <= longest {
        return None;
    }
    let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
    Some(format!(
        "the longest time limit in partition {} is {}, but the trials ask for {}",
        names.join(", "),
        in_hours(longest),
        in_hours(limit_s)
    ))
}

fn in_hours(seconds: u64) -> String {
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
