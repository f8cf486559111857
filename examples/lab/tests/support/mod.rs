//! Runs the laboratory's command line.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What `chord-lab` does with these arguments, in a directory of its own package.
pub(crate) fn lab(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_chord-lab"))
        .args(arguments.split_whitespace())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built for this test")
}

/// Its output, which must be a success.
#[allow(dead_code, reason = "not every test binary reads it as text")]
pub(crate) fn text(arguments: &str) -> String {
    let output = lab(arguments);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Its JSON.
#[allow(dead_code, reason = "not every test binary reads JSON")]
pub(crate) fn json(arguments: &str) -> Value {
    serde_json::from_str(&text(&format!("{arguments} --json"))).expect("well-formed JSON")
}
