//! The `chord-kv` that tests and benchmarks start: [`chord_kv`].

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

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
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("examples/kv-server/src/main.rs");
    // Asking cargo every time would not do: chord-kv on its own has fewer features than in the workspace, and both
    // would be built again and again.
    if !is_current(&binary, &main) {
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

/// Whether `binary` is there, made of `main`, and none of its sources is younger: cargo notes beside it which files went
/// into it. Another working copy may share the folder.
fn is_current(binary: &Path, main: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    let (Some(built), Ok(note)) = (modified(binary), std::fs::read_to_string(binary.with_extension("d")))
    else {
        return false;
    };
    let is_older = |source: PathBuf| modified(&source).is_some_and(|changed: SystemTime| changed <= built);
    let sources = sources(&note);
    sources.iter().any(|source| source == main) && sources.into_iter().all(is_older)
}

/// The files behind the colon of a line as `make` reads it; a blank within a name has a backslash before it.
fn sources(note: &str) -> Vec<PathBuf> {
    let names = note.lines().filter_map(|line| line.split_once(": ")).map(|(_, names)| names);
    let escaped = names.map(|names| names.replace("\\ ", "\0"));
    escaped
        .flat_map(|names| {
            let names = names.split_whitespace().map(|name| PathBuf::from(name.replace('\0', " ")));
            names.collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, write};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_binary_is_current_until_one_of_its_sources_is_younger_or_gone() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = |name: &str| folder.path().join(name);
        let (binary, main, source) = (path("chord-kv"), path("main.rs"), path("a file.rs"));
        assert!(!is_current(&binary, &main), "it is not there");
        write(&binary, "").expect("a file");
        assert!(!is_current(&binary, &main), "nobody knows what it was made of");
        write(&source, "").expect("a file");
        let names = [main.clone(), source.clone()].map(|path| path.display().to_string().replace(' ', "\\ "));
        write(&main, "").expect("a file");
        write(path("chord-kv.d"), format!("{}: {}\n", binary.display(), names.join(" "))).expect("a file");
        let set = |path: &Path, seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("a time");
        };
        set(&main, 1_000);
        set(&source, 1_000);
        set(&binary, 2_000);
        assert!(is_current(&binary, &main));
        assert!(!is_current(&binary, &path("another/main.rs")), "it is another working copy's");
        set(&source, 3_000);
        assert!(!is_current(&binary, &main), "a source is younger");
        std::fs::remove_file(&source).expect("a file");
        assert!(!is_current(&binary, &main), "a source is gone");
    }
}
