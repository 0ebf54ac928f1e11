//! Follows packets through a ruleset to the rules that log them.

use super::condition::{Condition, IP_VERSION, exclude_each_other};
use super::departure::{Departed, Departures};
use super::hook::{Family, Hook};
use super::ruleset::{Chain, Log, Rule, Ruleset, Step, conditions};
use std::collections::HashSet;

/// As deep as the kernel lets chains call each other (`NFT_JUMP_STACK_SIZE`).
const DEEPEST: usize = 16;

/// A rule that logs, and a way to it.
#[derive(Clone, Debug)]
pub struct Logging {
    /// What it logs.
    pub log: Log,
    /// Where the operator finds the rule.
    pub place: String,
    /// What the rule says.
    pub text: String,
    /// The number of its chain.
    pub chain: usize,
    /// The number of that in which the way began.
    pub first: usize,
    /// Which packets the chain sees that the way began in.
    pub family: Family,
    /// Where that chain is called; `None` if that cannot be told.
    pub hook: Option<Hook>,
    /// Whether it is one for NAT.
    pub is_nat: bool,
    /// When it is called there, the lowest first.
    pub priority: i64,
    /// Which packets come so far.
    pub passed: Passed,
    /// What then becomes of them.
    pub fate: Fate,
}

/// What becomes of packets that were logged, by the rest of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// That cannot be told, or they go on.
    Unknown,
    /// They go back to the chain that called this one.
    Returned,
    /// Their way through the chain of the hook ends.
    Accepted,
    /// They end.
    Dropped,
}

/// Which packets come to a rule.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// What they have in common.
    pub conditions: Vec<Condition>,
    /// What those have in common that have left the chain, each time.
    pub left: Vec<Vec<Condition>>,
    /// The rules, by what they say, that asked of them what cannot be compared.
    pub uncompared: Vec<String>,
    /// Their share of all that are so; `None` if that cannot be told.
    pub share: Option<f64>,
    /// Whether they are but so many in a time.
    pub is_limited: bool,
}

/// What was found in a ruleset.
#[derive(Debug, Default)]
pub struct Trace {
    /// Rules that log, by each way that leads to them.
    pub loggings: Vec<Logging>,
    /// Rules that log, but that no packet comes to.
    pub unreached: Vec<Logging>,
    /// Places of rules that hand connections to a flowtable.
    pub offloads: Vec<String>,
}

impl Trace {
    /// Follows packets from every hook.
    pub fn of(ruleset: &Ruleset) -> Self {
        let mut tracer = Tracer::new(ruleset);
        let all = || ruleset.chains.iter().enumerate();
        all().filter(|(_, chain)| chain.hook.is_some()).for_each(|(i, _)| tracer.begin(i));
        let mut trace = std::mem::take(&mut tracer.trace);
        let calls_unknown = |chain: &Chain| chain.rules.iter().any(|rule| rule.steps.contains(&Step::CallUnknown));
        let unseen: Vec<_> = all().map(|(i, _)| i).filter(|i| !tracer.seen.contains(i)).collect();
        unseen.into_iter().for_each(|i| tracer.begin(i));
        // where a map decides at run time, any chain may be called
        let rest = if ruleset.chains.iter().any(calls_unknown) { &mut trace.loggings } else { &mut trace.unreached };
        rest.append(&mut tracer.trace.loggings);
        trace
    }
}

struct Tracer<'a> {
    chains: &'a [Chain],
    departures: Departures<'a>,
    /// Chains by which a packet can come to a rule that is looked for.
    leading: HashSet<usize>,
    /// Chains that were followed.
    seen: HashSet<usize>,
    trace: Trace,
}

impl<'a> Tracer<'a> {
    fn new(ruleset: &'a Ruleset) -> Self {
        let chains = &ruleset.chains[..];
        let mut tracer = Self {
            chains,
            departures: Departures::new(chains),
            leading: HashSet::new(),
            seen: HashSet::new(),
            trace: Trace::default(),
        };
        // until there is nothing more to learn
        while (0..chains.len()).filter(|&i| tracer.leads(i) && tracer.leading.insert(i)).count() > 0 {}
        tracer
    }

    fn leads(&self, chain: usize) -> bool {
        let steps = self.chains[chain].rules.iter().flat_map(|rule| &rule.steps);
        steps.into_iter().any(|step| match step {
            Step::Log(_) | Step::Offload => true,
            Step::Call(name) => {
                self.departures.called(chain, name).is_some_and(|called| self.leading.contains(&called))
            }
            _ => false,
        })
    }

    /// Follows packets from the beginning of a chain.
    fn begin(&mut self, chain: usize) {
        let Chain { devices, family, .. } = &self.chains[chain];
        let version = family.version().map(|version| Condition::is(IP_VERSION, version));
        let conditions = devices.iter().cloned().chain(version).collect();
        self.follow(chain, chain, Passed { conditions, share: Some(1.0), ..Passed::default() }, 0);
    }

    /// Follows packets through a chain to which they came from the hook of another.
    fn follow(&mut self, first: usize, chain: usize, mut passed: Passed, depth: usize) {
        if depth > DEEPEST || !self.leading.contains(&chain) {
            return;
        }
        self.seen.insert(chain);
        let chains = self.chains;
        let rules = &chains[chain].rules;
        for (i, rule) in rules.iter().enumerate() {
            if rule.steps.iter().any(|step| matches!(step, Step::Log(_) | Step::Offload | Step::Call(_))) {
                self.apply((first, chain), &rules[i..], passed.clone(), depth);
            }
            if !passed.leave(rule, &self.departures.by_rule(chain, rule)) {
                break;
            }
        }
    }

    /// Follows packets through the first of these rules.
    fn apply(&mut self, (first, chain): (usize, usize), rules: &[Rule], mut passed: Passed, depth: usize) {
        let [rule, later @ ..] = rules else { return };
        for (i, step) in rule.steps.iter().enumerate() {
            match step {
                Step::Match(Some(condition)) => passed.conditions.push(condition.clone()),
                Step::Match(None) => passed.uncompared.push(rule.text.clone()),
                Step::Select(share) => passed.share = passed.share.zip(*share).map(|(all, share)| all * share),
                Step::Limit => passed.is_limited = true,
                Step::Log(log) => {
                    let fate = passed.fate(&rule.steps[i + 1..], later);
                    self.found((first, chain), rule, log, (&passed, fate));
                }
                Step::Offload => self.trace.offloads.push(rule.place.clone()),
                Step::Call(name) => {
                    if let Some(called) = self.departures.called(chain, name) {
                        self.follow(first, called, passed.clone(), depth + 1);
                    }
                }
                Step::CallUnknown | Step::Return | Step::End { .. } => {}
            }
        }
    }

    fn found(&mut self, (first, chain): (usize, usize), rule: &Rule, log: &Log, (passed, fate): (&Passed, Fate)) {
        let Chain { family, hook, is_nat, priority, .. } = self.chains[first];
        self.trace.loggings.push(Logging {
            log: log.clone(),
            place: rule.place.clone(),
            text: rule.text.clone(),
            chain,
            first,
            family,
            hook,
            is_nat,
            priority,
            passed: passed.clone(),
            fate,
        });
    }
}

impl Passed {
    /// Whether no packet comes to both, as far as can be told.
    pub fn excludes(&self, other: &Self) -> bool {
        exclude_each_other(&self.conditions, &other.conditions) || self.is_left_by(other) || other.is_left_by(self)
    }

    /// Whether all packets that come to the other have left before.
    pub fn is_left_by(&self, other: &Self) -> bool {
        self.left.iter().any(|gone| other.fulfils(gone))
    }

    /// Whether all these packets certainly are so.
    fn fulfils(&self, asked: &[Condition]) -> bool {
        asked.iter().all(|asked| self.contradicts(&asked.negated()))
    }

    fn contradicts(&self, asked: &Condition) -> bool {
        self.conditions.iter().any(|condition| condition.contradicts(asked))
    }

    /// What becomes of packets by the rest of a rule's steps and the later rules of its chain.
    fn fate(&self, rest: &[Step], later: &[Rule]) -> Fate {
        for steps in std::iter::once(rest).chain(later.iter().map(|rule| &rule.steps[..])) {
            let fate = match steps.last() {
                Some(Step::End { drops: true }) => Fate::Dropped,
                Some(Step::End { drops: false }) => Fate::Accepted,
                Some(Step::Return) => Fate::Returned,
                Some(Step::Call(_) | Step::CallUnknown) => Fate::Unknown,
                _ => continue,
            };
            let is_passed_over = |step: &Step| matches!(step, Step::Match(Some(asked)) if self.contradicts(asked));
            match conditions(steps) {
                Some(asked) if self.fulfils(&asked) => return fate,
                _ if steps.iter().any(is_passed_over) => {}
                _ => return Fate::Unknown,
            }
        }
        Fate::Unknown
    }

    /// What is left when packets have left the chain at a rule, by what it calls if that is not all; false if none is.
    fn leave(&mut self, rule: &Rule, departed: &Departed) -> bool {
        if !departed.all && !matches!(rule.steps.last(), Some(Step::Return | Step::End { .. })) {
            self.left.extend(departed.of(rule));
            return true;
        }
        let asked: Vec<_> = rule.asked().collect();
        match asked[..] {
            [] => return false,
            [Step::Match(Some(condition))] if condition.is_of_device() => self.conditions.push(condition.negated()),
            [Step::Select(share)] => self.share = self.share.zip(*share).map(|(all, share)| all * (1.0 - share)),
            _ => self.left.extend(rule.conditions()),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::iptables;

    /// Group, hook and share of each way, of rules such as iptables-save prints.
    fn traced(rules: &str) -> Vec<(u16, Option<Hook>, Option<f64>)> {
        let printed = format!("*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:a - \n:b - \n{rules}");
        let trace = Trace::of(&Ruleset { chains: iptables::read("iptables", &printed) });
        let of = |it: &Logging| (it.log.group, it.hook, it.passed.share);
        trace.loggings.iter().chain(&trace.unreached).map(of).collect()
    }

    const SAMPLED: &str = "-m statistic --mode nth --every 4 --packet 0";

    #[test]
    fn ways_to_rules() {
        let log = "-j NFLOG --nflog-group 5";
        for (rules, expected) in [
            (
                format!(
                    "-A INPUT {SAMPLED} -j a\n-A FORWARD {SAMPLED} -j b\n-A a {SAMPLED} -j b\n-A b {SAMPLED} {log}"
                ),
                vec![(5, Some(Hook::Input), Some(1.0 / 64.0)), (5, Some(Hook::Forward), Some(1.0 / 16.0))],
            ),
            // the rest of the packets
            (format!("-A INPUT {SAMPLED} -j RETURN\n-A INPUT {log}"), vec![(5, Some(Hook::Input), Some(0.75))]),
            // none is left
            (format!("-A INPUT -j ACCEPT\n-A INPUT {log}"), vec![]),
            (format!("-A INPUT -g a\n-A INPUT {log}\n-A a {log}"), vec![(5, Some(Hook::Input), Some(1.0))]),
            // nobody calls it
            (format!("-A b {log}"), vec![(5, None, Some(1.0))]),
            // chains that call each other end somewhere, though no kernel has such
            (format!("-A INPUT -j a\n-A a -j INPUT\n-A FORWARD {log}"), vec![(5, Some(Hook::Forward), Some(1.0))]),
        ] {
            assert_eq!(traced(&rules), expected, "{rules}");
        }
    }

    #[test]
    fn what_ended_the_chain_comes_no_further() {
        let printed = "*filter\n:INPUT ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -j NFLOG";
        let trace = Trace::of(&Ruleset { chains: iptables::read("iptables", printed) });
        let expected =
            [Condition::is(IP_VERSION, "ipv4"), Condition::is(crate::check::condition::INPUT_DEVICE, "lo").negated()];
        assert_eq!(trace.loggings[0].passed.conditions, expected);
    }
}
