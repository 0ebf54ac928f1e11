//! The nftables ruleset, from `nft -j list ruleset` (libnftables-json(5)).
//!
//! What is not known here is passed over: a newer nft may say more.

mod matches;
mod sets;
mod verdicts;

use super::condition::{Condition, INPUT_DEVICE, OUTPUT_DEVICE};
use super::hook::{Family, Hook};
use super::ruleset::{Chain, Log, Rule, Ruleset, Step};
use serde_json::Value;
use sets::Sets;

/// Reads what nft printed. `look` has it print a set too, by family, table and name.
pub fn read(text: &str, look: impl FnMut(&str) -> Option<String>) -> Result<Ruleset, serde_json::Error> {
    let printed: Value = serde_json::from_str(text)?;
    let objects = printed["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let mut sets = Sets::of(objects, look);
    let mut chains: Vec<Chain> = Vec::new();
    let mut dormant = Vec::new();
    for object in objects {
        if let Some(table) = object.get("table") {
            dormant.extend(is_dormant(table).then(|| table_name(table, "name")));
        } else if let Some(found) = object.get("chain") {
            chains.extend(chain(found));
        } else if let Some(found) = object.get("rule") {
            let (table, name) = (table_name(found, "table"), string(&found["chain"]));
            let its = chains.iter_mut().find(|chain| chain.table == table && chain.name == name);
            its.into_iter().for_each(|chain| chain.rules.extend(rules(found, &mut sets)));
        }
    }
    let is_asleep = |chain: &&mut Chain| dormant.contains(&chain.table);
    chains.iter_mut().filter(is_asleep).for_each(|chain| chain.hook = None);
    Ok(Ruleset { chains })
}

/// The flags are a word, or its beginning (nft 1.0), or a list of words.
fn is_dormant(table: &Value) -> bool {
    let flags = &table["flags"];
    flags.as_array().map_or(std::slice::from_ref(flags), Vec::as_slice).iter().any(|flag| string(flag).starts_with('d'))
}

fn table_name(object: &Value, key: &str) -> String {
    format!("{} {}", string(&object["family"]), string(&object[key]))
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn chain(object: &Value) -> Option<Chain> {
    let hook = Hook::named(string(&object["hook"]));
    let field = if hook == Some(Hook::Egress) { OUTPUT_DEVICE } else { INPUT_DEVICE };
    let devices =
        matches::values(&object["dev"]).map(|values| Condition { field: field.to_owned(), negated: false, values });
    Some(Chain {
        family: Family::named(string(&object["family"]))?,
        table: table_name(object, "table"),
        name: string(&object["name"]).to_owned(),
        hook,
        devices,
        is_nat: object["type"] == "nat",
        priority: object["prio"].as_i64().unwrap_or_default(),
        rules: Vec::new(),
    })
}

/// A rule, as several if a map sends packets to several chains.
fn rules(object: &Value, sets: &mut Sets<impl FnMut(&str) -> Option<String>>) -> Vec<Rule> {
    let table = table_name(object, "table");
    let place = format!("table {table}, chain {}, handle {}", string(&object["chain"]), object["handle"]);
    let statements: Vec<_> = object["expr"].as_array().into_iter().flatten().filter(|it| !is_of_state(it)).collect();
    let text = statements.iter().map(|statement| statement.to_string()).collect();
    let mut whole = Rule { place, text, steps: Vec::new() };
    let mut all = Vec::new();
    for statement in statements {
        match statement.get("vmap") {
            Some(vmap) => all.extend(verdicts::branches(vmap).into_iter().map(|branch| {
                let steps = [&whole.steps[..], &branch].concat();
                Rule { steps, ..whole.clone() }
            })),
            None => whole.steps.extend(steps(&sets.fill(statement, &table))),
        }
    }
    all.push(whole);
    all
}

/// Counters and the like, which change by themselves.
fn is_of_state(statement: &Value) -> bool {
    ["counter", "last"].iter().any(|name| statement.get(name).is_some())
}

/// What a statement does.
fn steps(statement: &Value) -> Vec<Step> {
    // before nft 1.0.2, this one was a string
    if string(statement).starts_with("flow ") {
        return vec![Step::Offload];
    }
    let Some((name, content)) = statement.as_object().and_then(|object| object.iter().next()) else {
        return Vec::new();
    };
    match name.as_str() {
        "match" => matches::steps(content),
        "log" => log(content).map(Step::Log).into_iter().collect(),
        "limit" => vec![Step::Limit],
        // sets that count by their elements
        "meter" | "set" if content.to_string().contains("\"limit\"") => vec![Step::Limit],
        "flow" => vec![Step::Offload],
        // a rule of iptables, which nft cannot read
        "xt" if content["name"] == "statistic" => vec![Step::Select(None)],
        "xt" if content["type"] != "target" => vec![Step::Match(None)],
        "quota" | "ct count" | "connlimit" => vec![Step::Match(None)],
        _ => verdicts::steps(name, content),
    }
}

/// Without a group it is the kernel's own log.
fn log(content: &Value) -> Option<Log> {
    Some(Log {
        group: content["group"].as_u64()?.try_into().ok()?,
        snaplen: content["snaplen"].as_u64(),
        queue_threshold: content["queue-threshold"].as_u64(),
    })
}

#[cfg(test)]
mod tests;
