//! Sampling as the operator declares it: the rule selects one in so many packets, the probe does not.

/// One in how many packets the rules select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Where nothing else is said.
    pub everywhere: u32,
    /// By NFLOG group.
    pub groups: Vec<(u16, u32)>,
}

impl Default for Sampling {
    /// Every packet.
    fn default() -> Self {
        Self { everywhere: 1, groups: Vec::new() }
    }
}

impl Sampling {
    /// One in so many packets is selected for this group.
    pub fn rate(&self, group: u16) -> u32 {
        let own = self.groups.iter().find_map(|&(of, rate)| (of == group).then_some(rate));
        own.unwrap_or(self.everywhere)
    }
}
