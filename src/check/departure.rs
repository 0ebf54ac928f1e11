//! Which packets leave a chain for good, by what it and the chains that it calls do.

use super::condition::Condition;
use super::ruleset::{Chain, Rule, Step};
use std::collections::HashMap;
use std::rc::Rc;

/// So many kinds of packets are remembered of a chain: what is forgotten is taken for packets that stay.
const MOST: usize = 1000;

/// Which of the packets that come to a chain or a rule are not seen by the chain's caller again.
#[derive(Clone, Debug, Default)]
pub struct Departed {
    /// Whether it is all of them.
    pub all: bool,
    /// Else what those have in common, each time.
    pub some: Rc<Vec<Vec<Condition>>>,
}

/// What is known of chains.
pub struct Departures<'a> {
    chains: &'a [Chain],
    by_name: HashMap<(&'a str, &'a str), usize>,
    known: HashMap<usize, Departed>,
}

impl<'a> Departures<'a> {
    /// Of these chains nothing yet.
    pub fn new(chains: &'a [Chain]) -> Self {
        let by_name = |(i, chain): (usize, &'a Chain)| ((chain.table.as_str(), chain.name.as_str()), i);
        Self { chains, by_name: chains.iter().enumerate().map(by_name).collect(), known: HashMap::new() }
    }

    /// The chain of this name that a chain can call.
    pub fn called(&self, caller: usize, name: &str) -> Option<usize> {
        self.by_name.get(&(self.chains[caller].table.as_str(), name)).copied()
    }

    /// Of the packets that do what a rule of this chain asks.
    pub fn by_rule(&mut self, chain: usize, rule: &Rule) -> Departed {
        match &rule.steps[..] {
            [.., Step::End { .. }] => Departed { all: true, ..Departed::default() },
            [.., Step::Call(name)] | [.., Step::Call(name), Step::Return] => {
                self.called(chain, name).map(|called| self.by_chain(called)).unwrap_or_default()
            }
            _ => Departed::default(),
        }
    }

    fn by_chain(&mut self, chain: usize) -> Departed {
        if let Some(known) = self.known.get(&chain) {
            return known.clone();
        }
        // no kernel has chains that call each other in a circle
        self.known.insert(chain, Departed::default());
        let departed = self.by_rules(chain);
        self.known.insert(chain, departed.clone());
        departed
    }

    fn by_rules(&mut self, chain: usize) -> Departed {
        let (chains, mut some) = (self.chains, Vec::new());
        for rule in &chains[chain].rules {
            let departed = self.by_rule(chain, rule);
            if departed.all && rule.asked().next().is_none() {
                return Departed { all: true, ..Departed::default() };
            }
            // of those that have gone back, what is behind says nothing
            if !departed.all && matches!(rule.steps.last(), Some(Step::Return | Step::CallUnknown)) || some.len() > MOST
            {
                break;
            }
            some.extend(departed.of(rule));
        }
        Departed { all: false, some: some.into() }
    }
}

impl Departed {
    /// What those have in common that depart by a rule, which these do of the packets that do what it asks.
    pub fn of(&self, rule: &Rule) -> Vec<Vec<Condition>> {
        match rule.conditions() {
            Some(conditions) if self.all => vec![conditions],
            Some(conditions) => self.some.iter().map(|some| [&conditions[..], some].concat()).collect(),
            None => Vec::new(),
        }
    }
}
