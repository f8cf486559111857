//! Black-box tests of chord over several crates and real processes.
