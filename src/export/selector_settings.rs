//! What the operator says of the packets that a rule selects, by the rule's prefix.

use super::facts::Facts;
use crate::capture::selectors::Selector;
use crate::flow::{Direction, FlowRecord, ForwardingStatus};
use std::sync::Arc;

/// Of one prefix. What is `None` is as it would be without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorSetting {
    /// Prefix of the rule, as it stands there.
    pub prefix: String,
    /// NFLOG group of the rule; `None` for each that no other setting is about.
    pub group: Option<u16>,
    /// selectorName instead of the prefix.
    pub name: Option<String>,
    /// One in so many packets is selected.
    pub sampling_rate: Option<u32>,
    /// What becomes of the packets.
    pub forwarding_status: Option<ForwardingStatus>,
    /// Which way they go.
    pub direction: Option<Direction>,
}

/// All that was said, no two of the same prefix and group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectorSettings(pub Vec<SelectorSetting>);

impl SelectorSettings {
    /// What was said of a selector: rather of its group's, else of its prefix in any group.
    pub fn of(&self, selector: &Selector) -> Option<&SelectorSetting> {
        let find = |group| {
            let is_it = |it: &&SelectorSetting| it.group == group && it.prefix.as_bytes() == selector.prefix;
            self.0.iter().find(is_it)
        };
        find(Some(selector.group)).or_else(|| find(None))
    }

    /// The sampling rates in it.
    pub fn rates(&self) -> impl Iterator<Item = u32> {
        self.0.iter().filter_map(|setting| setting.sampling_rate)
    }

    /// Whether it says what becomes of any packets.
    pub fn have_verdicts(&self) -> bool {
        self.0.iter().any(|setting| setting.forwarding_status.is_some())
    }
}

/// Has flows say what was said of their selectors.
pub struct SettingsOfSelectors {
    facts: Arc<Facts>,
    /// Of those that were met, by index.
    known: Vec<(Option<ForwardingStatus>, Option<Direction>)>,
}

impl SettingsOfSelectors {
    /// None met as yet.
    pub fn new(facts: Arc<Facts>) -> Self {
        Self { facts, known: Vec::new() }
    }

    /// The flow as it is exported.
    pub fn apply(&mut self, flow: &mut FlowRecord) {
        let settings = &self.facts.selector_settings;
        if settings.0.is_empty() {
            return;
        }
        let selector = usize::from(flow.key.selector);
        if self.known.len() <= selector {
            let said = |selector: &Selector| {
                settings.of(selector).map_or((None, None), |it| (it.forwarding_status, it.direction))
            };
            self.known = self.facts.selectors.map(said);
        }
        if let Some(&(forwarding_status, direction)) = self.known.get(selector) {
            flow.forwarding_status = forwarding_status.unwrap_or(flow.forwarding_status);
            flow.direction = direction.unwrap_or(flow.direction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::record;

    fn setting(prefix: &str, group: Option<u16>, forwarding_status: ForwardingStatus) -> SelectorSetting {
        let (prefix, forwarding_status) = (prefix.to_owned(), Some(forwarding_status));
        SelectorSetting { prefix, group, name: None, sampling_rate: None, forwarding_status, direction: None }
    }

    #[test]
    fn the_group_s_own_setting_counts_and_then_any_group_s() {
        use ForwardingStatus::{AclDenied, Forwarded, Unknown};
        let settings = SelectorSettings(vec![
            setting("a", None, Forwarded),
            setting("a", Some(6), AclDenied),
            SelectorSetting { direction: Some(Direction::Egress), ..setting("b", Some(5), AclDenied) },
        ]);
        let facts = Arc::new(Facts { selector_settings: settings, ..Facts::default() });
        let mut said = SettingsOfSelectors::new(facts.clone());
        let mut of = |group, prefix: &str| {
            let mut flow = FlowRecord { direction: Direction::Ingress, ..record() };
            flow.key.selector = facts.selectors.of_group(group).index(prefix.as_bytes());
            said.apply(&mut flow);
            (flow.forwarding_status, flow.direction)
        };
        assert_eq!(of(5, "a"), (Forwarded, Direction::Ingress));
        assert_eq!(of(6, "a"), (AclDenied, Direction::Ingress));
        assert_eq!(of(5, "b"), (AclDenied, Direction::Egress));
        assert_eq!(of(6, "b"), (Unknown, Direction::Ingress));
        assert_eq!(of(5, ""), (Unknown, Direction::Ingress));
        assert_eq!(of(5, "a"), (Forwarded, Direction::Ingress));
    }
}
