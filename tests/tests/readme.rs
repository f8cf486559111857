//! The front door tells the truth.

/// The README's program is the embedding example, which compiles with the workspace.
#[test]
fn the_program_in_the_readme_is_the_embedding_example() {
    let readme = include_str!("../../README.md");
    let example = include_str!("../../examples/embed/src/main.rs");
    let shown =
        readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let (_, program) = example.split_once("\n\n").expect("a line of documentation, then the program");
    assert_eq!(shown.trim(), program.trim());
}

/// Every file that the README points to is there.
#[test]
fn every_file_that_the_readme_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let readme = include_str!("../../README.md");
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let tests = readme.split('`').filter(|text| text.ends_with(".rs") && text.contains('/'));
    let missing: Vec<&str> =
        links.chain(tests).filter(|path| !path.contains("://") && !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
