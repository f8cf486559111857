//! How much memory this process has.

/// Bytes resident now, where the system says so.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// The most bytes that were ever resident, where the system says so.
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

fn status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_memory_and_no_more_than_its_peak() {
        let (now, peak) = (super::resident().unwrap(), super::peak().unwrap());
        assert!(now > 1 << 19 && peak >= now / 2, "{now} of {peak}");
    }
}
