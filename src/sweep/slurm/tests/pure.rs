use std::{fmt::Write as _, path::Path};

use super::{batch, full, settings};
use crate::sweep::slurm::{
    call::{is_misleading, words},
    queue::{Queue, TaskId, TaskState, help_with},
    request::{partitions, too_short},
    script::Array,
    settings::{SlurmSettings, seconds},
};

#[test]
fn a_time_limit_has_the_forms_of_slurm() {
    let forms = [
        ("90", 5400),
        ("90:30", 5430),
        ("04:00:00", 14_400),
        ("2-06", 194_400),
        ("2-06:30", 196_200),
        ("1-00:00:01", 86_401),
        ("100:00:00", 360_000),
    ];
    for (text, expected) in forms {
        assert_eq!(seconds(text), Some(expected), "{text}");
    }
    for text in [
        "",
        "4h",
        "1:2:3:4",
        "-1",
        "1-",
        "1-1:1:1:1",
        "+5",
        " 5",
        "1.5",
        "UNLIMITED",
        "9999999999",
    ] {
        assert_eq!(seconds(text), None, "{text}");
    }
}

#[test]
fn settings_that_work_have_no_problems() {
    let mut others = full();
    others.partition = Some("gpu,short".to_owned());
    others.time = Some("420".to_owned());
    others.gres = Some("gpu:a100:2,lustre:1,shard".to_owned());
    others.mem = Some("0".to_owned());
    others.constraint = Some("[rack1*2&rack2*4]".to_owned());
    others.setup = vec![
        "export A='x y' # for B".to_owned(),
        "\tmodule purge".to_owned(),
    ];
    others.extra = [
        "--dependency=afterok:5",
        "--nice",
        "--mem-per-cpu=2G",
        "--reservation w",
        "--time-min=5",
        "--export=ALL,A=1",
        "--gres-flags=enforce-binding",
    ]
    .map(str::to_owned)
    .to_vec();
    for settings in [settings(), full(), others] {
        assert_eq!(settings.problems(), []);
    }
}

#[test]
fn settings_that_cannot_work_are_all_reported() {
    let text = |text: &str| Some(text.to_owned());
    let wrong = SlurmSettings {
        partition: text("gpu; rm -r ."),
        time: text("7:00"),
        gres: text("gpu:a100:two"),
        cpus_per_task: Some(0),
        mem: text("16"),
        account: text(""),
        qos: text("a\nb"),
        constraint: text("a\"b"),
        warn_s: 301,
        setup: ["", "a\nb", "cd x && \\"].map(str::to_owned).to_vec(),
        extra: [
            "-p gpu",
            "exclude=n7",
            "--exclude=n7\n#",
            "--array=1-5",
            "--out x",
            "--job-name",
            "--no-requeue",
            "--wrap=true",
            "--wait",
            "--partition=a",
            "--cpus-per-task 4",
            "--gre=x",
            "--dependency=afterok:1?afterok:2",
            "--",
            "--a_b",
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    let mut report = String::new();
    let mut others = settings();
    others.warn_s = 0;
    others.time = text("4h");
    others.gres = text("gpu:0");
    others.mem = text("0G");
    for problem in wrong.problems().into_iter().chain(others.problems()) {
        let (key, message, help) = (problem.key, problem.message, problem.help);
        writeln!(report, "{key}: {message}\n  help: {help}").unwrap();
    }
    insta::assert_snapshot!(report);
}

#[test]
fn the_script_of_a_submission() {
    let mut settings = full();
    settings.extra.push("--dependency=afterok:7".to_owned());
    let batch = batch(Path::new("/home/ada/it's photos"), settings);
    let array = Array {
        job_name: "rates-2-0a1b2c3d",
        list: Path::new("/home/ada/it's photos/runs/sweep-rates/submissions/2.txt"),
        n_tasks: 12,
        at_once: Some(4),
        after: &[31, 32],
    };
    insta::assert_snapshot!(batch.script(&array).unwrap());
}

#[test]
fn the_script_of_a_submission_without_settings() {
    let batch = batch(Path::new("/data"), settings());
    let array = Array {
        job_name: "rates-1-0a1b2c3d",
        list: Path::new("/data/runs/sweep-rates/submissions/1.txt"),
        n_tasks: 1,
        at_once: None,
        after: &[],
    };
    insta::assert_snapshot!(batch.script(&array).unwrap());
}

#[test]
fn a_path_that_slurm_cannot_read_is_refused() {
    for folder in ["/a\\b", "/a\nb"] {
        let batch = batch(Path::new(folder), settings());
        let array = Array {
            job_name: "x",
            list: Path::new("/list"),
            n_tasks: 1,
            at_once: None,
            after: &[],
        };
        let error = batch.script(&array).unwrap_err().to_string();
        assert!(
            error.contains("cannot be used in a batch script"),
            "{error}"
        );
    }
}

#[test]
fn the_queue_is_read_by_task() {
    let text = "\
14_1|PENDING|ReqNodeNotAvail, UnavailableNodes:n[1-3]||rates|1
14_2|RUNNING|None|n1|rates
14_3|COMPLETED|None|n1|rates
14_4|COMPLETING|None|n2|rates
14_5|TIMEOUT|TimeLimit|n2|rates
14_6|A_NEW_STATE|None||rates
15|RUNNING|None|n1|another
14_[7-9]|PENDING|Priority||rates
torn|
";
    let queue = Queue::parse(text);
    let task = |index| TaskId { job: 14, index };
    let reason = "ReqNodeNotAvail, UnavailableNodes:n[1-3]".to_owned();
    assert_eq!(queue.state(task(1)), Some(&TaskState::Pending { reason }));
    let node = "n1".to_owned();
    assert_eq!(queue.state(task(2)), Some(&TaskState::Running { node }));
    assert_eq!(
        queue.state(task(3)),
        Some(&TaskState::Ended("COMPLETED".to_owned()))
    );
    assert_eq!(
        queue.state(task(5)),
        Some(&TaskState::Ended("TIMEOUT".to_owned()))
    );
    assert_eq!(queue.state(task(7)), None);
    let mut alive: Vec<usize> = queue.alive().map(|task| task.index).collect();
    alive.sort_unstable();
    assert_eq!(alive, [1, 2, 4, 6]);
}

#[test]
fn only_a_task_that_does_not_start_by_itself_needs_help() {
    let held = "launch failed requeued held";
    assert_eq!(help_with(held), Some("release it with `scontrol release`"));
    assert!(help_with("PartitionTimeLimit").is_some());
    let waits = "ReqNodeNotAvail, UnavailableNodes:n[1-3]";
    for reason in [
        "None",
        "Priority",
        "Resources",
        "JobArrayTaskLimit",
        "BeginTime",
        waits,
    ] {
        assert_eq!(help_with(reason), None, "{reason}");
    }
}

#[test]
fn the_words_of_slurm_lose_only_what_names_programs() {
    let stderr = "sbatch: error: invalid partition specified: nope\nallocation failure: Invalid partition name specified\n";
    let expected = [
        "invalid partition specified: nope",
        "Invalid partition name specified",
    ];
    assert_eq!(words(stderr), expected);
    let stderr =
        "sbatch: unrecognized option '--bogus'\nTry \"sbatch --help\" for more information\n\n";
    assert_eq!(words(stderr), ["unrecognized option '--bogus'"]);
    let stderr = "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job submission failed: Requested node configuration is not available\n";
    let expected = [
        "Memory specification can not be satisfied",
        "Requested node configuration is not available",
    ];
    assert_eq!(words(stderr), expected);
}

#[test]
fn a_time_limit_must_fit_one_of_the_partitions() {
    let text = "\
PartitionName=main AllowGroups=ALL Default=YES MaxNodes=UNLIMITED MaxTime=01:00:00 MinNodes=0
PartitionName=long AllowGroups=ALL Default=NO MaxTime=7-00:00:00 MinNodes=0
PartitionName=any AllowGroups=ALL Default=NO MaxTime=UNLIMITED MinNodes=0
";
    let known = partitions(text);
    assert_eq!(known.len(), 3);
    let hour = 3600;
    assert_eq!(too_short(&known, "", hour), None);
    let words =
        "the longest time limit in partition main is 1:00:00, but the trials ask for 1:00:01";
    assert_eq!(too_short(&known, "", hour + 1).as_deref(), Some(words));
    assert_eq!(too_short(&known, "main,long", 24 * hour), None);
    assert!(too_short(&known, "main,long", 169 * hour).is_some());
    assert_eq!(too_short(&known, "any", 1000 * hour), None);
    assert_eq!(too_short(&known, "unknown", 1000 * hour), None);
}

#[test]
fn variables_that_would_override_the_script_or_narrow_the_queue_are_withheld() {
    let script = "#SBATCH --array=1-2\n#SBATCH --time=5\n#SBATCH --requeue\n#SBATCH --exclude n7\n";
    for name in [
        "SBATCH_ARRAY_INX",
        "SBATCH_TIMELIMIT",
        "SBATCH_NO_REQUEUE",
        "SBATCH_EXCLUDE",
        "SBATCH_WAIT",
        "SQUEUE_PARTITION",
        "SCANCEL_STATE",
        "RUNNER_SEED",
        "SLURM_RESTART_COUNT",
    ] {
        assert!(is_misleading(name, script), "{name}");
    }
    for name in [
        "SBATCH_ACCOUNT",
        "SBATCH_TIME_MIN",
        "SLURM_CONF",
        "SLURM_CLUSTERS",
        "PATH",
    ] {
        assert!(!is_misleading(name, script), "{name}");
    }
}
