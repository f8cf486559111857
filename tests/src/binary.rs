//! The `chord-kv` that tests and benchmarks start: [`chord_kv`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// What chord-kv is made of, seen from the workspace.
const PARTS: [&str; 6] = [
    "Cargo.lock",
    "chord/src",
    "transport-mem/src",
    "transport-quic/src",
    "transport-zmq/src",
    "examples/kv-server/src",
];

/// The binary under test, in the profile of the tests. `cargo test --workspace` has built it beside them; when only
/// `chord-tests` is run it may be missing or older than its sources, and is built now, once.
///
/// # Panics
/// When it does not build.
pub fn chord_kv() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(built).clone()
}

fn built() -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows where it runs");
    let folder = tests.parent().and_then(Path::parent).expect("tests run from target/PROFILE/deps");
    let binary = folder.join("chord-kv");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace");
    // Asking cargo every time would not do: chord-kv on its own has fewer features than in the workspace, and both
    // would be built again and again.
    if !is_current(&binary, root, &PARTS) {
        let profile = folder.file_name().and_then(|name| name.to_str()).expect("target/PROFILE");
        let target = folder.parent().expect("target/PROFILE");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "-p", "chord-kv", "--profile"]);
        cargo.arg(if profile == "debug" { "dev" } else { profile }).arg("--target-dir").arg(target);
        assert!(cargo.status().expect("cargo runs").success(), "chord-kv does not build");
        assert!(binary.exists(), "cargo has not put chord-kv into {}", folder.display());
    }
    binary
}

/// Whether `binary` is there, and no file in one of the `parts` of `root` is younger.
fn is_current(binary: &Path, root: &Path, parts: &[&str]) -> bool {
    let Some(built) = changed(binary) else { return false };
    parts.iter().all(|part| changed(&root.join(part)).is_some_and(|changed| changed <= built))
}

/// When a file was changed last; of a folder, the youngest file in it. `None` if there is none.
fn changed(path: &Path) -> Option<SystemTime> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().filter_map(|entry| changed(&entry.path())).max(),
        Err(_) => path.metadata().and_then(|file| file.modified()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, write};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_binary_is_current_until_one_of_its_sources_is_younger_or_gone() {
        let folder = tempfile::tempdir().expect("a directory");
        let (root, binary) = (folder.path(), folder.path().join("chord-kv"));
        let (lock, source) = (root.join("Cargo.lock"), root.join("src/deep/lib.rs"));
        let is_current = || is_current(&binary, root, &["Cargo.lock", "src"]);
        let set = |path: &Path, seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("a time");
        };
        std::fs::create_dir_all(root.join("src/deep")).expect("a folder");
        for path in [&lock, &source] {
            write(path, "").expect("a file");
            set(path, 1_000);
        }
        assert!(!is_current(), "it is not there");
        write(&binary, "").expect("a file");
        set(&binary, 2_000);
        assert!(is_current());
        for path in [&lock, &source] {
            set(path, 3_000);
            assert!(!is_current(), "a source is younger");
            set(path, 1_000);
        }
        std::fs::remove_file(&source).expect("a file");
        assert!(!is_current(), "a source is gone");
    }
}
