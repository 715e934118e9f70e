//! What the process itself uses, as the kernel tells it.

use std::path::Path;
use std::time::Duration;

use procfs::process::{LimitValue, Process};

use super::families::Family;

/// What the process uses now.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Usage {
    /// Seconds of CPU, in user and kernel mode.
    pub cpu_seconds: f64,
    /// Bytes of main memory.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Open files.
    pub open_fds: u64,
    /// How many files it may open.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
    /// When it started, in seconds of Unix time.
    pub start_time: f64,
    /// Bytes of main memory that it may use: its group's limit, else the machine's.
    pub memory_limit_bytes: u64,
    /// Cores that it may use.
    pub cpu_limit: f64,
}

impl Usage {
    /// Asks the kernel. What it does not tell is 0.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "ticks of hundredths of a second")]
    pub fn now() -> Self {
        let mut usage = Self { memory_limit_bytes: memory_limit(), cpu_limit: cpu_limit(), ..Self::default() };
        let Ok(process) = Process::myself() else { return usage };
        usage.open_fds = process.fd_count().map_or(0, |count| count as u64);
        if let Ok(limits) = process.limits()
            && let LimitValue::Value(most) = limits.max_open_files.soft_limit
        {
            usage.max_fds = most;
        }
        let Ok(stat) = process.stat() else { return usage };
        let ticks = procfs::ticks_per_second() as f64;
        usage.cpu_seconds = (stat.utime + stat.stime) as f64 / ticks;
        usage.resident_bytes = stat.rss * procfs::page_size();
        usage.virtual_bytes = stat.vsize;
        usage.threads = u64::try_from(stat.num_threads).unwrap_or_default();
        let boot = procfs::boot_time_secs().unwrap_or_default();
        usage.start_time = boot as f64 + stat.starttime as f64 / ticks;
        usage
    }

    /// The families.
    #[must_use]
    pub(super) fn families(&self, up: Duration) -> Vec<Family> {
        let count = |name: &str, help: &str, value: u64| {
            let mut family = Family::gauge(name, help);
            family.push_count(&[], value);
            family
        };
        vec![
            Family::counter("process_cpu_seconds_total", "CPU time in user and kernel mode.").of(self.cpu_seconds),
            count("process_resident_memory_bytes", "Main memory in use.", self.resident_bytes),
            count("process_virtual_memory_bytes", "Address space in use.", self.virtual_bytes),
            count("process_open_fds", "Open files.", self.open_fds),
            count("process_max_fds", "How many files may be open.", self.max_fds),
            count("process_threads", "Threads.", self.threads),
            Family::gauge("process_start_time_seconds", "When it started, in Unix time.").of(self.start_time),
            count("pylon_memory_limit_bytes", "Main memory that may be used.", self.memory_limit_bytes),
            Family::gauge("pylon_cpu_limit", "Cores that may be used.").of(self.cpu_limit),
            Family::gauge("pylon_uptime_seconds", "For how long it runs.").of(up.as_secs_f64()),
        ]
    }
}

/// The lowest limit of the control groups above this process, else the machine's memory.
fn memory_limit() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = total.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    let total = total.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(0, |kib| kib * 1024);
    let limit = |file: String| file.trim().parse::<u64>().ok();
    let of_groups = group_files("memory.max").chain(old_group_file("memory/memory.limit_in_bytes")).filter_map(limit);
    of_groups.chain((total > 0).then_some(total)).min().unwrap_or_default()
}

/// The lowest share of cores of the control groups above this process, else the cores that it may run on.
#[allow(clippy::cast_precision_loss, reason = "few cores")]
fn cpu_limit() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let share = |file: String| {
        let (quota, period) = file.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    };
    group_files("cpu.max").filter_map(share).fold(cores, f64::min)
}

/// What a file says in this process's control group, and in those above it (cgroup v2).
fn group_files(name: &str) -> impl Iterator<Item = String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
    let folders: Vec<String> =
        Path::new(&path).ancestors().map(|folder| folder.to_string_lossy().into_owned()).collect();
    let name = name.to_owned();
    folders
        .into_iter()
        .filter_map(move |folder| std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(folder).join(&name)).ok())
}

/// What a file of the old kind of control groups says.
fn old_group_file(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells() {
        let usage = Usage::now();
        assert!(usage.resident_bytes > 1 << 20 && usage.virtual_bytes > usage.resident_bytes, "{usage:?}");
        assert!(usage.open_fds > 2 && usage.max_fds >= usage.open_fds && usage.threads > 0, "{usage:?}");
        assert!(usage.memory_limit_bytes > usage.resident_bytes && usage.cpu_limit > 0.0, "{usage:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - usage.start_time).abs() < 3600.0 * 24.0, "{usage:?}");
    }
}
