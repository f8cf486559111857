//! The operating system's limit on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files a process has open beside its client connections: logs, listeners, connections to other hosts.
const OTHER_FILES: usize = 512;

/// Raises the soft limit on open files as far as `connections` need and the hard limit allows. Returns how many
/// connections there is room for.
pub fn allow_open_files(connections: usize) -> usize {
    let wanted = (connections + OTHER_FILES) as u64;
    let limit = getrlimit(Resource::Nofile);
    let mut current = limit.current.unwrap_or(u64::MAX);
    if current < wanted {
        let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok() {
            current = raised;
        }
    }
    let current = usize::try_from(current).unwrap_or(usize::MAX);
    current.saturating_sub(OTHER_FILES).max(current / 2).clamp(1, connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_a_few_connections_and_never_for_more_than_wanted() {
        assert_eq!(allow_open_files(1), 1);
        assert!((1..=usize::MAX / 2).contains(&allow_open_files(1_000_000)));
    }
}
