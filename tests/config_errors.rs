//! Every mistake in a configuration, and what `pylon check` says of it.
//!
//! Each `config_errors/NAME.yaml` stands beside `NAME.txt`: all that `pylon check NAME.yaml` prints. What they include and
//! read is in `config_errors/parts`; certificates are made anew, in `tls`. `UPDATE_GOLDEN=1 cargo test --test
//! config_errors` rewrites the texts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that cannot go on fails its test")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A place to run in, with all files of the collection and certificates beside them.
struct Workshop(TempDir);

impl Workshop {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&collection(), dir.path());
        let tls = dir.path().join("tls");
        fs::create_dir(&tls).unwrap();
        for name in ["a", "b"] {
            let made = rcgen::generate_simple_self_signed([format!("{name}.example.org")]).unwrap();
            fs::write(tls.join(format!("{name}.crt")), made.cert.pem()).unwrap();
            fs::write(tls.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        Self(dir)
    }

    fn check(&self, arguments: &[&str]) -> Output {
        let binary = std::env::var_os("PYLON_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pylon").into());
        let mut command = Command::new(binary);
        command.arg("check").args(arguments).current_dir(&self.0).env_clear();
        command.env("WORD", "nonsense").env("SECRETS", self.0.path().join("parts"));
        command.env("PROMETHEUS_URI", "http://10.0.0.1:9090").output().unwrap()
    }
}

fn collection() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_errors")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The names of the files with mistakes, without their ending.
fn names(extension: &str) -> Vec<String> {
    let paths = fs::read_dir(collection()).unwrap().map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    let mut names: Vec<String> = wanted.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The first line in which two texts differ, from both.
fn difference(wanted: &str, got: &str) -> String {
    let (mut wanted, mut got) = (wanted.lines(), got.lines());
    loop {
        match (wanted.next(), got.next()) {
            (None, None) => return "  only in their last line end".to_owned(),
            (a, b) if a == b => {}
            (a, b) => return format!("  wanted: {}\n  got:    {}", a.unwrap_or("(the end)"), b.unwrap_or("(the end)")),
        }
    }
}

#[test]
fn every_mistake_is_told_as_agreed() {
    let workshop = Workshop::new();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut failures = String::new();
    for name in names("yaml") {
        let output = workshop.check(&[&format!("{name}.yaml")]);
        let got = text(&output.stderr);
        if output.status.code() != Some(78) || !output.stdout.is_empty() {
            let said = text(&output.stdout);
            let _ = writeln!(failures, "{name}.yaml: ended with {}, not 78\n{said}{got}", output.status);
        }
        let golden = collection().join(format!("{name}.txt"));
        if update {
            fs::write(&golden, &got).unwrap();
        }
        let wanted = fs::read_to_string(&golden).unwrap_or_default();
        if got != wanted {
            let _ = writeln!(failures, "{name}.yaml:\n{}", difference(&wanted, &got));
        }
    }
    assert!(failures.is_empty(), "UPDATE_GOLDEN=1 takes these over where they are meant:\n{failures}");
}

#[test]
fn every_text_has_its_configuration() {
    assert!(names("yaml").len() > 80, "the collection is somewhere else");
    assert_eq!(names("txt"), names("yaml"), "each NAME.txt belongs to a NAME.yaml");
}

/// Text and JSON say the same, each problem stands at a line that exists, and they go in the order of the file.
#[test]
fn every_problem_has_a_place_and_a_message() {
    let workshop = Workshop::new();
    let files: Vec<String> = names("yaml").into_iter().map(|name| format!("{name}.yaml")).collect();
    let mut arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    arguments.push("--json");
    let output = workshop.check(&arguments);
    assert_eq!(output.status.code(), Some(78));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = results.as_array().unwrap();
    assert_eq!(results.len(), files.len());
    for (file, result) in files.iter().zip(results) {
        assert_eq!((&result["source"], &result["good"]), (&Value::from(file.as_str()), &Value::from(false)));
        let problems = result["problems"].as_array().unwrap();
        let mut expected = String::new();
        let mut last = (String::new(), 0, 0);
        for problem in problems {
            let [path, message] = ["path", "message"].map(|key| problem[key].as_str().unwrap());
            let place = place(&workshop, problem).unwrap_or_else(|| panic!("{file}: {problem} is nowhere"));
            assert!(message.len() > 15, "{file}: `{message}` does not say what to do");
            assert!(last <= place, "{file}: {last:?} stands before {place:?}");
            let colon = if path.is_empty() { "" } else { ": " };
            let _ = writeln!(expected, "{}:{}:{}  {path}{colon}{message}", place.0, place.1, place.2);
            last = place;
        }
        let plural = if problems.len() == 1 { "" } else { "s" };
        let _ = writeln!(expected, "{file}: {} problem{plural}", problems.len());
        assert_eq!(text(&workshop.check(&[file]).stderr), expected);
    }
}

/// File, line and column of a problem, if they exist.
fn place(workshop: &Workshop, problem: &Value) -> Option<(String, u64, u64)> {
    let (file, line, column) = (problem["file"].as_str()?, problem["line"].as_u64()?, problem["column"].as_u64()?);
    let bytes = fs::read(workshop.0.path().join(file)).ok()?;
    let lines = String::from_utf8_lossy(&bytes).lines().count() as u64;
    // What is missing at the end of a file is missing in the line behind its last.
    (line >= 1 && line <= lines + 1 && column >= 1).then(|| (file.to_owned(), line, column))
}

/// What a secret file holds is not printed, not even as part of a cure.
#[test]
fn secrets_stay_secret() {
    let workshop = Workshop::new();
    let secret = fs::read_to_string(collection().join("parts/secret")).unwrap();
    let output = workshop.check(&["variables-from-files.yaml"]);
    let said = text(&output.stderr);
    assert!(said.contains("\"***\"") && !said.contains(secret.trim()), "{said}");
}
