//! The status for people to read: first what is the matter, then everything else.

use super::rates::Rates;
use super::status::{CollectorStatus, Counters, GroupStatus, Status};
use crate::export::health::Condition;
use crate::logging::printable;
use std::fmt::{self, Write};
use std::time::Duration;

/// A table that is fuller than this, in percent, is told of.
const CROWDED: f64 = 90.0;

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uptime = humantime::format_duration(Duration::from_secs(self.uptime));
        let ending = if self.ending { ", ending: it exports what it has" } else { "" };
        writeln!(out, "nfweir {}, process {}, up {uptime}{ending}", self.program, self.process)?;
        match self.troubles() {
            troubles if troubles.is_empty() => writeln!(out, "nothing is lost, and all collectors are well")?,
            troubles => troubles.iter().try_for_each(|trouble| writeln!(out, "! {trouble}"))?,
        }
        writeln!(out)?;
        columns(out, self.rate_rows())?;
        writeln!(out)?;
        columns(out, self.group_rows())?;
        let table = self.table;
        writeln!(out, "\ntable: {} of {} flows ({:.1} %)", table.flows, table.max_flows, table.fill)?;
        writeln!(out, "{}", self.export_line())?;
        if let Some(connections) = &self.connections {
            let told: Vec<_> = connections.iter().map(|(name, count)| format!("{count} {}", words(name))).collect();
            writeln!(out, "connections: {}", told.join(", "))?;
        }
        writeln!(out)?;
        columns(out, self.collector_rows())
    }
}

impl Status {
    /// What is lost and where, and what is about to be, with the mend.
    pub fn troubles(&self) -> Vec<String> {
        let groups = self.groups.iter().flat_map(|group| group.troubles());
        let fill = self.table.fill;
        let crowded = (fill >= CROWDED).then(|| {
            format!("table: {fill:.0} % full, flows end early: raise --max-flows, or lower --inactive-timeout")
        });
        let collectors = self.collectors.iter().flat_map(CollectorStatus::troubles);
        groups.chain(crowded).chain(collectors).collect()
    }

    fn rate_rows(&self) -> Vec<Vec<String>> {
        let head = ["per second", "packets: 1 s", "10 s", "60 s", "octets: 1 s", "10 s", "60 s", "lost: 60 s"];
        let row = |name: String, rates: &Rates| {
            let Rates { last_second, last_10_seconds, last_minute } = rates;
            let all = [last_second, last_10_seconds, last_minute];
            let packets = all.iter().map(|rate| short(rate.packets));
            let octets = all.iter().map(|rate| short(rate.octets));
            [name].into_iter().chain(packets).chain(octets).chain([short(last_minute.lost_packets)]).collect()
        };
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.groups.iter().map(|group| row(format!("group {}", group.group), &group.rates)));
        if self.groups.len() > 1 {
            rows.push(row("all".to_owned(), &self.rates));
        }
        rows
    }

    fn group_rows(&self) -> Vec<Vec<String>> {
        const SHOWN: [(&str, &str); 6] = [
            ("seen", "packets"),
            ("in flows", "flow_packets"),
            ("no room", "ignored_packets"),
            ("not IP", "not_ip_packets"),
            ("malformed", "malformed_packets"),
            ("lost in the kernel", "lost_packets"),
        ];
        let head = ["packets"].into_iter().chain(SHOWN.map(|(shown, _)| shown)).map(str::to_owned).collect();
        let row = |group: &GroupStatus| {
            let counts = SHOWN.map(|(_, name)| count(&group.counters, name).to_string());
            [format!("group {}", group.group)].into_iter().chain(counts).collect()
        };
        [head].into_iter().chain(self.groups.iter().map(row)).collect()
    }

    fn export_line(&self) -> String {
        let get = |name| count(&self.export, name);
        format!(
            "flows: {} exported with {} packets: {} idle, {} active, {} ended, {} forced, {} early",
            get("flows"),
            get("flow_packets"),
            get("idle_timeouts"),
            get("active_timeouts"),
            get("ends_of_flow"),
            get("forced_ends"),
            get("early_ends"),
        )
    }

    fn collector_rows(&self) -> Vec<Vec<String>> {
        let head = ["collector", "state", "sent", "waiting", "lost", "not expressible", "refusals"];
        let row = |collector: &CollectorStatus| {
            let get = |name| count(&collector.counters, name);
            let counts = [collector.missing("records"), get("unexportable_records"), get("refusals")];
            let (state, sent) = (collector.state_word().to_owned(), collector.sent().to_string());
            let first = [printable(&collector.name), state, sent, collector.queue()];
            first.into_iter().chain(counts.map(|count| count.to_string())).collect()
        };
        [head.map(str::to_owned).to_vec()].into_iter().chain(self.collectors.iter().map(row)).collect()
    }
}

impl GroupStatus {
    fn troubles(&self) -> Vec<String> {
        let Self { group, counters, rates } = self;
        let lately = match rates.last_minute.lost_packets {
            0.0 => "none in the last minute".to_owned(),
            rate => format!("{} a second in the last minute", short(rate)),
        };
        let told = |name, what: &str, mend: &str| {
            let lost = count(counters, name);
            (lost > 0).then(|| format!("group {group}: {lost} packets {what} ({lately}): {mend}"))
        };
        let kernel = told("lost_packets", "lost in the kernel", "raise --receive-buffer, or spread them (--spread)");
        let room = told("ignored_packets", "in no flow, as the table was full", "raise --max-flows");
        kernel.into_iter().chain(room).collect()
    }
}

impl CollectorStatus {
    /// In one word.
    pub fn state_word(&self) -> &'static str {
        match self.state {
            _ if self.removed => "removed",
            Condition::Starting => "starting",
            Condition::Well => "well",
            Condition::Doubtful => "doubtful",
            Condition::Failing => "failing",
        }
    }

    /// Records that wait, and how many may.
    pub fn queue(&self) -> String {
        match self.queue_limit {
            Some(limit) => format!("{} of {limit}", self.waiting_records),
            None => self.waiting_records.to_string(),
        }
    }

    /// Records that were sent, and not refused.
    pub fn sent(&self) -> u64 {
        count(&self.counters, "records").saturating_sub(count(&self.counters, "refused_records"))
    }

    /// Records, or packets in them, that are known not to have arrived.
    pub fn missing(&self, what: &str) -> u64 {
        ["lost", "refused"].map(|how| count(&self.counters, &format!("{how}_{what}"))).iter().sum()
    }

    fn troubles(&self) -> Vec<String> {
        let lost = match (self.missing("records"), self.missing("packets")) {
            (0, _) => String::new(),
            (records, packets) => format!("{records} records lost with {packets} packets"),
        };
        let trouble = match (&self.trouble, &self.trouble_time) {
            (Some(trouble), Some(time)) => format!("{}: {trouble} ({time})", self.state_word()),
            _ => self.state_word().to_owned(),
        };
        match (self.state, lost.is_empty()) {
            (Condition::Well | Condition::Starting, true) => Vec::new(),
            (_, true) => vec![printable(&format!("{}: {trouble}", self.name))],
            (_, false) => vec![printable(&format!("{}: {lost}; {trouble}", self.name))],
        }
    }
}

/// A counter by its name; 0 where a probe of another version has none such.
pub fn count(counters: &Counters, name: &str) -> u64 {
    counters.get(name).copied().unwrap_or_default()
}

/// A counter's name in words.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Three digits or four, and a unit of 1000 each.
pub fn short(number: f64) -> String {
    const UNITS: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let (mut number, mut unit) = (number, 0);
    // what would be shown as 1000
    while number >= 999.5 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    match number {
        0.0 => "0".to_owned(),
        ..9.95 => format!("{number:.1}{}", UNITS[unit]),
        _ => format!("{number:.0}{}", UNITS[unit]),
    }
}

/// The first column to the left, the others to the right.
fn columns(out: &mut impl Write, rows: Vec<Vec<String>>) -> fmt::Result {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).unwrap_or_default();
            match column {
                0 => write!(out, "{cell:<width$}")?,
                _ => write!(out, "  {cell:>width$}")?,
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rates::Rate;
    use super::super::status::TableStatus;
    use super::*;

    fn counters(all: &[(&str, u64)]) -> Counters {
        all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn status() -> Status {
        let rate = Rate { packets: 1234.0, octets: 98_765.4, lost_packets: 0.25 };
        let rates = Rates { last_second: rate, last_10_seconds: rate, last_minute: rate };
        let collector = CollectorStatus {
            name: "ipfix+tcp://[::1]:4739".to_owned(),
            state: Condition::Failing,
            removed: false,
            trouble: Some("Connection refused".to_owned()),
            trouble_time: Some("2026-01-01T00:00:00Z".to_owned()),
            waiting_records: 7,
            queue_limit: Some(65_536),
            counters: counters(&[("records", 5), ("lost_records", 2), ("lost_packets", 20)]),
        };
        Status {
            program: "0.1.0".to_owned(),
            process: 7,
            uptime: 3661,
            rates,
            groups: vec![GroupStatus {
                group: 5,
                rates,
                counters: counters(&[("packets", 4205), ("flow_packets", 4205), ("lost_packets", 15)]),
            }],
            table: TableStatus { flows: 10, max_flows: 1000, fill: 1.0 },
            export: counters(&[("flows", 6), ("flow_packets", 60), ("idle_timeouts", 6)]),
            collectors: vec![collector],
            ..Status::default()
        }
    }

    #[test]
    fn what_was_refused_is_missing_not_sent() {
        let counters = counters(&[("records", 5), ("refused_records", 2), ("lost_records", 1)]);
        let collector = CollectorStatus { counters, ..CollectorStatus::default() };
        assert_eq!((collector.sent(), collector.missing("records")), (3, 3));
    }

    #[test]
    fn what_is_the_matter_comes_first() {
        assert_eq!(
            status().to_string(),
            "nfweir 0.1.0, process 7, up 1h 1m 1s
! group 5: 15 packets lost in the kernel (0.2 a second in the last minute): raise --receive-buffer, or spread them (--spread)
! ipfix+tcp://[::1]:4739: 2 records lost with 20 packets; failing: Connection refused (2026-01-01T00:00:00Z)

per second  packets: 1 s  10 s  60 s  octets: 1 s  10 s  60 s  lost: 60 s
group 5             1.2k  1.2k  1.2k          99k   99k   99k         0.2

packets  seen  in flows  no room  not IP  malformed  lost in the kernel
group 5  4205      4205        0       0          0                  15

table: 10 of 1000 flows (1.0 %)
flows: 6 exported with 60 packets: 6 idle, 0 active, 0 ended, 0 forced, 0 early

collector                 state  sent     waiting  lost  not expressible  refusals
ipfix+tcp://[::1]:4739  failing     5  7 of 65536     2                0         0
"
        );
    }

    #[test]
    fn nothing_is_the_matter() {
        let mut status = status();
        status.groups[0].counters.remove("lost_packets");
        status.collectors[0] = CollectorStatus { state: Condition::Well, ..CollectorStatus::default() };
        assert!(status.to_string().contains("\nnothing is lost, and all collectors are well\n"));
    }

    #[test]
    fn short_numbers() {
        for (number, shown) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (1.5e9, "1.5G"),
            (2e18, "2000P"),
        ] {
            assert_eq!(short(number), shown);
        }
    }
}
