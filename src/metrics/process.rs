//! What the kernel says of this process (proc(5)).

use std::fs;

/// In this many parts of a second the kernel tells processor time, on every architecture (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

/// What was found; a value that could not be read is left out.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

/// Reads it. These files are made of memory: nobody waits for a disk.
pub(super) fn read() -> Process {
    let text = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let status = text("status");
    Process {
        cpu_seconds: cpu_seconds(&text("stat")),
        resident_bytes: status_line(&status, "VmRSS").map(|kib| kib * 1024),
        threads: status_line(&status, "Threads"),
        open_fds: fs::read_dir("/proc/self/fd").ok().and_then(|open| {
            // One of them is that of the directory itself.
            u64::try_from(open.count().saturating_sub(1)).ok()
        }),
        max_fds: max_fds(&text("limits")),
    }
}

/// User and system time: fields 14 and 15, counted behind the name, which may hold blanks and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_A_SECOND)
}

fn status_line(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// The soft limit.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_understood() {
        let stat = "7 (a ) name) S 1 7 7 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 4 0 99 1 1";
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";

        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(status_line("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t5\n", "VmRSS"), Some(2048));
        assert_eq!(status_line("Name:\tx\n", "VmRSS"), None);
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(
            max_fds("Max open files            unlimited            unlimited            files"),
            None
        );
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn this_process_is_read_whole() {
        let process = read();

        assert!(process.resident_bytes.unwrap() > 1024 * 1024, "{process:?}");
        assert!(process.cpu_seconds.is_some() && process.threads.is_some(), "{process:?}");
        assert!(process.open_fds.unwrap() < process.max_fds.unwrap_or(u64::MAX), "{process:?}");
    }
}
