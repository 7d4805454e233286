//! The forms of the table, embeddings, and what is left of an interrupted command.

use std::{fs, io::Write as _, path::Path, process::Stdio};

use safetensors::SafeTensors;
use serde_json::Value;

use super::{column, predict, table, with_stdin};
use crate::{
    program::{Case, read},
    runs::text,
};

#[test]
fn json_lines_say_what_the_csv_says() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    let csv = case.run(&["predict", run, "data", "--top", "2"]);
    let csv = table(&csv.stdout);
    // Numbers are compared as text, because reading them may change the last digit.
    let check = |line: &str, row: &[String]| {
        serde_json::from_str::<Value>(line).unwrap();
        for (name, cell) in csv[0].iter().zip(row) {
            let is_text =
                !name.starts_with("probability") && !["loss", "correct"].contains(&&**name);
            let cell = match cell.as_str() {
                "" => "null".to_owned(),
                cell if is_text => format!("\"{cell}\""),
                cell => cell.to_owned(),
            };
            assert!(
                line.contains(&format!("\"{name}\":{cell}")),
                "{name} {cell}: {line}"
            );
        }
    };
    let json = case.ok(&["predict", run, "data", "--top", "2", "--format", "jsonl"]);
    case.ok(&["predict", run, "data", "--top", "9", "-o", "a.jsonl"]);
    assert_eq!(read(&case.path("a.jsonl")).trim_end(), json);
    let events = case.ok(&["--json", "predict", run, "data", "--top", "2"]);
    assert_eq!((json.lines().count(), events.lines().count()), (20, 21));
    for ((row, line), event) in csv[1..].iter().zip(json.lines()).zip(events.lines()) {
        check(line, row);
        check(event, row);
        assert!(event.starts_with("{\"event\":\"prediction\",\"file\":\"data/"));
    }
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["rows"]),
        (&"predicted".into(), &20.into())
    );
    let correct = column(&csv, "correct");
    let n_correct = correct.iter().filter(|cell| *cell == "true").count();
    assert_eq!(last["correct"].as_u64(), Some(n_correct as u64));
}

#[test]
fn a_threshold_makes_uncertain_ones_unknown() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    let (all, _) = predict(&case, &[run, "data"]);
    let mut probabilities: Vec<f64> = column(&all, "probability")
        .iter()
        .map(|cell| cell.parse().unwrap())
        .collect();
    probabilities.sort_by(f64::total_cmp);
    // The one in the middle is not less certain than itself.
    let threshold = probabilities[10];
    let n_below = probabilities.iter().filter(|it| **it < threshold).count();
    let threshold = threshold.to_string();
    let (some, code) = predict(&case, &[run, "data", "--threshold", &threshold]);
    assert_eq!(code, Some(0));
    assert_eq!(column(&some, "probability"), column(&all, "probability"));
    let classes = column(&some, "class");
    let n_unknown = classes.iter().filter(|class| *class == "unknown").count();
    assert_eq!(n_unknown, n_below);
    for ((class, correct), before) in classes
        .iter()
        .zip(column(&some, "correct"))
        .zip(column(&all, "class"))
    {
        assert!(if class == "unknown" {
            correct.is_empty()
        } else {
            *class == before
        });
    }
    case.fails(2, &["predict", run, "data", "--threshold", "1.5"]);
}

/// A run of the command that is killed after some rows, and its whole list of files.
fn interrupted(case: &Case, run: &str, more: &[&str]) -> String {
    let (all, _) = predict(case, &[run, "data", "data", "data"]);
    let list = column(&all, "file").join("\n") + "\n";
    let args = [&["predict", run, "-", "--truth", "none"], more].concat();
    let mut command = case.command(&args);
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // Without the end of the list it cannot finish.
    let mut stdin = child.stdin.take().unwrap();
    let names: Vec<&str> = list.split_inclusive('\n').take(50).collect();
    stdin.write_all(names.concat().as_bytes()).unwrap();
    stdin.flush().unwrap();
    let partial = case.path(&format!("{}.partial", more[1]));
    let n_lines = || {
        fs::read_to_string(&partial)
            .unwrap_or_default()
            .lines()
            .count()
    };
    // Three batches of 16 rows; the last two files wait for more.
    while n_lines() < 49 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    list
}

#[test]
fn an_interrupted_file_is_continued_to_the_same_bytes() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    for name in ["a.csv", "a.jsonl"] {
        let more = ["-o", name, "--embeddings", "a.npy"];
        let list = interrupted(&case, run, &more);
        let list = list.as_bytes();
        let args = [&["predict", run, "-", "--truth", "none"], &more[..]].concat();
        let whole = [
            &args[..1],
            &[run, "-", "--truth", "none"],
            &["-o", "whole", "--force"],
        ]
        .concat();
        let format = ["--format", &name[2..], "--embeddings", "whole.npy"];
        assert!(
            with_stdin(&case, &[&whole[..], &format].concat(), list)
                .status
                .success()
        );
        assert!(!case.path(name).exists());
        let begun = fs::read(case.path(&format!("{name}.partial"))).unwrap();
        let embeddings = fs::read(case.path("a.npy.partial")).unwrap();
        let start = begun.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        // Anywhere in the header and the first rows, and where it was killed.
        let ends = (start..start + 120).step_by(7).chain([begun.len()]);
        for (number, end) in ends.enumerate() {
            fs::write(case.path(&format!("{name}.partial")), &begun[..end]).unwrap();
            let end = embeddings.len() - embeddings.len() * (number % 3) / 3;
            fs::write(case.path("a.npy.partial"), &embeddings[..end]).unwrap();
            let resumed = with_stdin(&case, &[&args[..], &["--resume"]].concat(), list);
            assert!(
                resumed.status.success(),
                "{}",
                String::from_utf8_lossy(&resumed.stderr)
            );
            let same = |a: &str, b: &str| {
                assert!(
                    fs::read(case.path(a)).unwrap() == fs::read(case.path(b)).unwrap(),
                    "{a}"
                );
            };
            same(name, "whole");
            same("a.npy", "whole.npy");
            assert!(!case.path(&format!("{name}.partial")).exists());
            for file in [name, "a.npy"] {
                fs::remove_file(case.path(file)).unwrap();
            }
        }
    }
}

#[test]
fn another_job_does_not_continue_a_file() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    let list = interrupted(&case, run, &["-o", "a.csv"]);
    let says = |snapshot: &str, more: &[&str], list: &str| {
        let mut args = vec!["predict", run, "-", "--truth", "none", "-o", "a.csv"];
        args.extend(more);
        let output = with_stdin(&case, &args, list.as_bytes());
        let command = format!("runner {}", args.join(" "));
        let mut transcript = crate::voice::Transcript::new(&case);
        transcript.output(&command, &output).is(snapshot);
    };
    says("predict/begun", &[], &list);
    says("predict/another_top", &["--resume", "--top", "2"], &list);
    let (first, rest) = list.split_once('\n').unwrap();
    says("predict/other_files", &["--resume"], rest);
    says("predict/fewer_files", &["--resume"], first);
    let other = case.train(&["--set", "seed=5"]);
    let args = [
        "predict",
        text(&other),
        "-",
        "--truth",
        "none",
        "-o",
        "a.csv",
        "--resume",
    ];
    let output = with_stdin(&case, &args, list.as_bytes());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("model_sha256: "), "{stderr}");
    // After all that, the file is as it was, and its own command continues it.
    says("predict/resumed", &["--resume"], &list);
    says("predict/there_already", &["--resume"], &list);
    says("predict/forced", &["--force"], &list);
}

/// A matrix of a `.npy` file as other programs read it: `[rows, values]` and the values.
fn npy(path: &Path) -> ([usize; 2], Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..end]).unwrap();
    assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': ("));
    let shape = header.split(['(', ')']).nth(1).unwrap();
    let shape: Vec<usize> = shape
        .split(", ")
        .map(|side| side.parse().unwrap())
        .collect();
    (shape.try_into().unwrap(), floats(&bytes[end..]))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (chunks, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    chunks
        .iter()
        .map(|chunk| f32::from_le_bytes(*chunk))
        .collect()
}

#[test]
fn embeddings_are_the_input_of_the_head() {
    let case = Case::new("");
    let run = case.train(&[]);
    let run = text(&run);
    fs::write(case.path("data/Cat/zz.jpg"), "no photo").unwrap();
    let mut tables = Vec::new();
    for file in ["a.npy", "a.safetensors"] {
        let (rows, code) = predict(&case, &[run, "data", "--embeddings", file]);
        assert_eq!((rows.len(), code), (22, Some(1)));
        tables.push(rows);
    }
    assert_eq!(tables[0], tables[1]);
    let ([n_rows, n_values], values) = npy(&case.path("a.npy"));
    let bytes = fs::read(case.path("a.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("embeddings").unwrap();
    assert_eq!(tensor.shape(), [n_rows, n_values]);
    let as_bits = |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
    assert_eq!(as_bits(&floats(tensor.data())), as_bits(&values));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["checkpoint"], "best");

    // The head, computed here, gives the probabilities of the table.
    case.ok(&["export", run, "model.safetensors"]);
    let model = fs::read(case.path("model.safetensors")).unwrap();
    let model = SafeTensors::deserialize(&model).unwrap();
    let parameter = |name: &str| floats(model.tensor(name).unwrap().data());
    let (weight, bias) = (
        parameter("classifier.6.weight"),
        parameter("classifier.6.bias"),
    );
    assert_eq!(weight.len(), 2 * n_values);
    let (classes, probabilities) = (
        column(&tables[0], "class"),
        column(&tables[0], "probability"),
    );
    assert_eq!(classes.len(), n_rows);
    for (row, embedding) in values.chunks_exact(n_values).enumerate() {
        if classes[row].is_empty() {
            assert!(embedding.iter().all(|value| value.is_nan()), "row {row}");
            continue;
        }
        let logits: Vec<f64> = (0..2)
            .map(|class| {
                let weight = &weight[class * n_values..(class + 1) * n_values];
                let products = weight.iter().zip(embedding);
                let products = products.map(|(a, b)| f64::from(*a) * f64::from(*b));
                f64::from(bias[class]) + products.sum::<f64>()
            })
            .collect();
        let class = usize::from(classes[row] == "Dog");
        let probability = 1.0 / (1.0 + (logits[1 - class] - logits[class]).exp());
        let expected: f64 = probabilities[row].parse().unwrap();
        assert!((probability - expected).abs() < 1e-5, "row {row}");
    }
    case.says(
        "predict/embeddings_name",
        &["predict", run, "data", "--embeddings", "a.csv"],
    );
}

#[test]
fn a_reader_that_has_enough_ends_the_command() {
    let case = Case::new("");
    let run = case.train(&[]);
    let mut command = case.command(&["predict", text(&run), "data", "--embeddings", "a.npy"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    // Embeddings without their table are of no use.
    assert!(!case.path("a.npy").exists() && !case.path("a.npy.partial").exists());
}
