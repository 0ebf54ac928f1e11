//! nfweir's account of packets, flows and records.

/// A log with an account at its end.
pub struct Account(pub String);

impl Account {
    /// The last number before `words`.
    #[track_caller]
    pub fn number(&self, words: &str) -> u64 {
        let before = self.0.rsplit_once(words).unwrap_or_else(|| panic!("no `{words}` in {}", self.0)).0.trim_end();
        let start = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
        before[start..].parse().unwrap_or_else(|_| panic!("no number before `{words}` in {}", self.0))
    }

    /// The account of one collector.
    pub fn of(&self, collector: &str) -> Self {
        let name = format!("{collector}: ");
        let line = self.0.lines().rfind(|line| line.contains(&name) && line.contains(" records sent"));
        Self(line.unwrap_or_else(|| panic!("no {collector} in {}", self.0)).to_owned())
    }

    /// Messages sent to all collectors in it.
    pub fn messages(&self) -> u64 {
        let account = &self.0[self.0.rfind("packets: ").unwrap_or(0)..];
        account.split(" records sent in ").skip(1).map(first_number).sum()
    }

    /// Packets and octets in flows.
    pub fn in_flows(&self) -> (u64, u64) {
        let octets = self.0.rsplit_once(" in flows (").unwrap().1;
        (self.number("in flows"), first_number(octets))
    }

    /// The promise: each packet that was seen is in exactly one of the other numbers, each flow ended for one reason,
    /// and what was in flows was exported.
    #[track_caller]
    pub fn assert_balance(&self) {
        let sum = |all: &[&str]| all.iter().map(|words| self.number(words)).sum::<u64>();
        assert_eq!(self.number("seen,"), sum(&["in flows", "ignored for", "not IP", "malformed"]), "{}", self.0);
        let exported = self.0.rsplit_once(" exported with ").unwrap().1;
        assert_eq!(self.number("in flows"), first_number(exported), "{}", self.0);
        let reasons = ["idle,", "active,", "ended,", "forced,", "early"];
        assert_eq!(self.number("exported with"), sum(&reasons), "{}", self.0);
    }
}

fn first_number(text: &str) -> u64 {
    text.split(' ').next().unwrap().parse().unwrap()
}
