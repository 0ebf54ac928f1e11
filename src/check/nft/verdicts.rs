//! Where a rule sends a packet: verdicts, and maps of them (`vmap`).

use super::matches::{field, how_many, is_hash, values};
use super::string;
use crate::check::condition::Condition;
use crate::check::ruleset::Step;
use serde_json::Value;

/// What a verdict does; nothing, if it is none.
pub fn steps(name: &str, content: &Value) -> Vec<Step> {
    let target = || Step::Call(string(&content["target"]).to_owned());
    match name {
        "jump" => vec![target()],
        "goto" => vec![target(), Step::Return],
        "return" => vec![Step::Return],
        "accept" | "queue" => vec![Step::End { drops: false }],
        "drop" | "reject" => vec![Step::End { drops: true }],
        _ => Vec::new(),
    }
}

/// The ways that a map sends packets, each with what it asks of them.
pub fn branches(vmap: &Value) -> Vec<Vec<Step>> {
    let key = &vmap["key"];
    let Some(elements) = vmap["data"]["set"].as_array() else {
        // a map with a name, whose elements are not listed
        return vec![vec![Step::Match(None), Step::CallUnknown]];
    };
    let elements: Vec<(&Value, Vec<Step>)> = elements
        .iter()
        .filter_map(|element| {
            let (name, content) = element[1].as_object()?.iter().next()?;
            Some((&element[0], steps(name, content)))
        })
        .collect();
    match modulus(key) {
        Some(modulus) => numbered(&elements, modulus, is_hash(key)),
        None => {
            elements.into_iter().map(|(value, verdict)| [vec![Step::Match(is(key, value))], verdict].concat()).collect()
        }
    }
}

/// How many numbers a generator has.
fn modulus(key: &Value) -> Option<f64> {
    ["numgen", "jhash", "symhash"].iter().find_map(|generator| key[generator]["mod"].as_f64())
}

/// Packets are spread over the chains together: the share of the packets is that of all numbers which lead to any.
fn numbered(elements: &[(&Value, Vec<Step>)], modulus: f64, is_hash: bool) -> Vec<Vec<Step>> {
    let share = |wanted: fn(&[Step]) -> bool| {
        let numbers: Option<f64> =
            elements.iter().filter(|(_, verdict)| wanted(verdict)).map(|(number, _)| how_many(number)).sum();
        let share = numbers.map(|numbers| numbers / modulus);
        // of flows, only all of them are a share of the packets too
        Step::Select(share.filter(|share| !is_hash || *share == 1.0))
    };
    let called = share(calls);
    let calling = elements.iter().filter(|(_, verdict)| calls(verdict));
    let mut branches: Vec<_> = calling.map(|(_, verdict)| vec![called.clone(), verdict[0].clone()]).collect();
    if let Some((_, verdict)) = elements.iter().find(|(_, verdict)| ends(verdict)) {
        let end = verdict.last().cloned();
        branches.push([share(ends)].into_iter().chain(end).collect());
    }
    branches
}

fn calls(verdict: &[Step]) -> bool {
    matches!(verdict, [Step::Call(_), ..])
}

fn ends(verdict: &[Step]) -> bool {
    matches!(verdict, [.., Step::Return | Step::End { .. }])
}

/// A field has this value, if it is one that can be compared.
fn is(key: &Value, value: &Value) -> Option<Condition> {
    Some(Condition { field: field(key), negated: false, values: values(value)? })
}
