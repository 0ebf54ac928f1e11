//! What a process and its descendants have used, and what the whole machine has, by /proc.

use std::fs;
use std::ops::Sub;

#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on a processor.
    pub nanoseconds: u64,
    /// Of that, in the kernel, by its clock of a hundredth of a second.
    pub kernel_nanoseconds: u64,
    /// Most memory at a time.
    pub peak_kib: u64,
    /// Time of all processors, also for interrupts and other processes, by the kernel's clock of a hundredth of a second.
    pub machine_nanoseconds: u64,
}

impl Usage {
    pub fn of(process: u32) -> Self {
        let mut sum = Self { machine_nanoseconds: machine(), ..Self::default() };
        for id in family(process) {
            let read = |file: &str| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
            let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
            let times = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
            sum.nanoseconds += times.map(|times| first_number(&times)).sum::<u64>();
            // behind the name in parentheses: state, …, stime as the 13th
            let stat = read("stat");
            let ticks = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(12)).map_or(0, first_number);
            sum.kernel_nanoseconds += ticks * 10_000_000;
            let status = read("status");
            sum.peak_kib += status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map_or(0, first_number);
        }
        sum
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds - earlier.nanoseconds,
            kernel_nanoseconds: self.kernel_nanoseconds - earlier.kernel_nanoseconds,
            peak_kib: self.peak_kib,
            machine_nanoseconds: self.machine_nanoseconds - earlier.machine_nanoseconds,
        }
    }
}

/// All that was not idle: user, nice, system, not idle, not iowait, irq, softirq.
fn machine() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().skip(1).take(7).map(first_number);
    ticks.zip([1, 1, 1, 0, 0, 1, 1]).map(|(ticks, busy)| ticks * busy).sum::<u64>() * 10_000_000
}

/// A process and its descendants.
pub fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    [process].into_iter().chain(children.flat_map(family)).collect()
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}
