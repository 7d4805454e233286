//! PyTorch's side: a Python process that answers requests in JSON lines.

use std::{
    error::Error,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use super::child;

/// A running `torch_side/main.py`.
pub(crate) struct Torch {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Torch {
    /// Starts the process. Whether it has torch shows only in its first answer.
    pub(crate) fn start(
        python: &str,
        environment: &[(&str, &str)],
    ) -> Result<Self, Box<dyn Error>> {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/side_by_side/torch_side/main.py");
        let mut process = Command::new(python)
            // Without byte code beside the sources.
            .args(["-u", "-B"])
            .arg(script)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the pipes to Python are missing".into());
        };
        Ok(Self {
            process,
            requests,
            answers: BufReader::new(answers),
        })
    }

    pub(crate) fn ask(&mut self, request: &Value) -> Result<Value, Box<dyn Error>> {
        writeln!(self.requests, "{request}")?;
        self.requests.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| format!("invalid answer from Python: {error}: {}", line.trim()))?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(format!("PyTorch: {error}").into()),
            None => Ok(answer),
        }
    }

    /// The number under `key` of the answer.
    pub(crate) fn number(&mut self, request: &Value, key: &str) -> Result<f64, Box<dyn Error>> {
        number(&self.ask(request)?, key)
    }

    /// Ends the process and returns its peak memory.
    pub(crate) fn end(self) -> Result<Option<f64>, Box<dyn Error>> {
        let Self {
            mut process,
            requests,
            answers,
        } = self;
        drop((requests, answers));
        Ok(child::wait(&mut process)?.peak_mib)
    }
}

/// Answers a request in a process of its own, whose peak memory is then that of the request.
pub(crate) fn ask_alone(
    python: &str,
    environment: &[(&str, &str)],
    request: &Value,
) -> Result<(Value, Option<f64>), Box<dyn Error>> {
    let mut torch = Torch::start(python, environment)?;
    let answer = torch.ask(request)?;
    Ok((answer, torch.end()?))
}

pub(crate) fn number(answer: &Value, key: &str) -> Result<f64, Box<dyn Error>> {
    let number = answer.get(key).and_then(Value::as_f64);
    number.ok_or_else(|| format!("the answer from PyTorch has no `{key}`: {answer}").into())
}
