//! `match`: a field, an operator, values.

use super::string;
use crate::check::condition::{Condition, INPUT_DEVICE, MARK, OUTPUT_DEVICE, PROTOCOL};
use crate::check::ruleset::Step;
use serde_json::Value;

/// Protocols whose fields are asked for only where they are what is above IP.
const TRANSPORTS: [&str; 7] = ["tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6"];

/// What a match does.
pub fn steps(content: &Value) -> Vec<Step> {
    let (left, right, operator) = (&content["left"], &content["right"], string(&content["op"]));
    if let Some(share) = share(left, operator, right) {
        return vec![Step::Select(share)];
    }
    if mentions_mark(left) {
        return vec![Step::Match(Some(Condition::of_mark()))];
    }
    let values = values(right);
    let condition = match operator {
        "==" | "in" => values.map(|values| Condition { field: field(left), negated: false, values }),
        "!=" => values.map(|values| Condition { field: field(left), negated: true, values }),
        _ => None,
    };
    let above = string(&left["payload"]["protocol"]);
    let implied = TRANSPORTS.contains(&above).then(|| Step::Match(Some(Condition::is(PROTOCOL, above))));
    implied.into_iter().chain([Step::Match(condition)]).collect()
}

/// What stands for a field, the same for the same.
pub fn field(expression: &Value) -> String {
    let payload = &expression["payload"];
    match (string(&expression["meta"]["key"]), string(&payload["protocol"]), string(&payload["field"])) {
        ("iif" | "iifname", ..) => INPUT_DEVICE.to_owned(),
        ("oif" | "oifname", ..) => OUTPUT_DEVICE.to_owned(),
        ("l4proto", ..) | (_, "ip", "protocol") | (_, "ip6", "nexthdr") => PROTOCOL.to_owned(),
        _ => expression.to_string(),
    }
}

/// Also where but some of its bits are asked for.
fn mentions_mark(expression: &Value) -> bool {
    let is_mark = |expression: &Value| [&expression["meta"], &expression["ct"]].iter().any(|it| it["key"] == MARK);
    is_mark(expression) || expression["&"].as_array().is_some_and(|operands| operands.iter().any(is_mark))
}

/// All values, if they are such that can be compared one by one.
pub fn values(right: &Value) -> Option<Vec<String>> {
    let one = |value: &Value| match value {
        // the name of a set
        Value::String(text) if text.starts_with('@') => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match right.get("set").unwrap_or(right) {
        Value::Array(values) => values.iter().map(one).collect(),
        value => one(value).map(|value| vec![value]),
    }
}

/// If it is by `numgen`, which share of the packets it is; if by a hash, that it is some share of the flows.
fn share(left: &Value, operator: &str, right: &Value) -> Option<Option<f64>> {
    if is_hash(left) {
        return Some(None);
    }
    let numgen = left.get("numgen")?;
    let (modulus, offset) = (numgen["mod"].as_f64()?, numgen["offset"].as_f64().unwrap_or_default());
    let below = || right.as_f64().map(|bound| (bound - offset).clamp(0.0, modulus));
    let numbers = match operator {
        "==" | "in" => how_many(right),
        "!=" => how_many(right).map(|others| modulus - others),
        "<" => below(),
        "<=" => below().map(|bound| bound + 1.0),
        ">" => below().map(|bound| modulus - bound - 1.0),
        ">=" => below().map(|bound| modulus - bound),
        _ => None,
    };
    Some(numbers.map(|numbers| numbers / modulus))
}

/// Whether a number comes from the packet's own fields.
pub fn is_hash(expression: &Value) -> bool {
    ["jhash", "symhash"].iter().any(|hash| expression.get(hash).is_some())
}

/// How many numbers are meant.
pub fn how_many(numbers: &Value) -> Option<f64> {
    if let Some(range) = numbers.get("range") {
        return Some(range[1].as_f64()? - range[0].as_f64()? + 1.0);
    }
    match numbers.get("set").unwrap_or(numbers) {
        Value::Array(numbers) => numbers.iter().map(how_many).sum(),
        number => number.is_number().then_some(1.0),
    }
}
