//! `match`: a field, an operator, values.

use super::string;
use crate::check::condition::{Condition, INPUT_DEVICE, IP_VERSION, MARK, OUTPUT_DEVICE, PROTOCOL};
use crate::check::ruleset::Step;
use crate::check::value::Value as Compared;
use serde_json::Value;

/// Protocols whose fields are asked for only where they are what is above IP.
const TRANSPORTS: [&str; 7] = ["tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6"];
/// The same of IP, by the version that they imply.
const NETWORKS: [(&str, &str); 2] = [("ip", "ipv4"), ("ip6", "ipv6")];

/// What a match does.
pub fn steps(content: &Value) -> Vec<Step> {
    let (left, right, operator) = (&content["left"], &content["right"], string(&content["op"]));
    if let Some(share) = share(left, operator, right) {
        return vec![Step::Select(share)];
    }
    if mentions_mark(left) {
        return vec![Step::Match(Some(Condition::of_mark()))];
    }
    let condition = |negated| move |values| Condition { field: field(left), negated, values };
    let matched = match operator {
        "==" => values(right).map(condition(false)),
        "!=" => values(right).map(condition(true)),
        // any of some bits, of which a connection's state is but one
        "in" if left["ct"]["key"] == "state" => values(right).map(condition(false)),
        _ => bounded(operator, right).map(|values| condition(false)(vec![values])),
    };
    implied(string(&left["payload"]["protocol"])).into_iter().chain([Step::Match(matched)]).collect()
}

/// What a packet is that has the fields of this protocol.
fn implied(protocol: &str) -> Option<Step> {
    let version = NETWORKS.iter().find(|(name, _)| *name == protocol).map(|(_, version)| (IP_VERSION, *version));
    let transport = TRANSPORTS.contains(&protocol).then_some(match protocol {
        // as iptables and nft have it where it is asked for by number
        "icmpv6" => (PROTOCOL, "ipv6-icmp"),
        protocol => (PROTOCOL, protocol),
    });
    let (field, value) = version.or(transport)?;
    Some(Step::Match(Some(Condition::is(field, value))))
}

/// All numbers on one side of another.
fn bounded(operator: &str, right: &Value) -> Option<Compared> {
    let bound = u128::from(right.as_u64()?);
    match operator {
        "<" => Some(Compared::Range(0, bound.checked_sub(1)?)),
        "<=" => Some(Compared::Range(0, bound)),
        ">" => Some(Compared::Range(bound + 1, u128::MAX)),
        ">=" => Some(Compared::Range(bound, u128::MAX)),
        _ => None,
    }
}

/// What stands for a field, the same for the same.
pub fn field(expression: &Value) -> String {
    let payload = &expression["payload"];
    match (string(&expression["meta"]["key"]), string(&payload["protocol"]), string(&payload["field"])) {
        ("iif" | "iifname", ..) => INPUT_DEVICE.to_owned(),
        ("oif" | "oifname", ..) => OUTPUT_DEVICE.to_owned(),
        ("l4proto", ..) | (_, "ip", "protocol") | (_, "ip6", "nexthdr") => PROTOCOL.to_owned(),
        ("nfproto", ..) => IP_VERSION.to_owned(),
        (_, _, port @ ("sport" | "dport")) => port.to_owned(),
        (_, network @ ("ip" | "ip6"), address @ ("saddr" | "daddr")) => format!("{network} {address}"),
        _ => expression.to_string(),
    }
}

/// Also where but some of its bits are asked for.
fn mentions_mark(expression: &Value) -> bool {
    let is_mark = |expression: &Value| [&expression["meta"], &expression["ct"]].iter().any(|it| it["key"] == MARK);
    is_mark(expression) || expression["&"].as_array().is_some_and(|operands| operands.iter().any(is_mark))
}

/// All values, if they are such that can be compared one by one.
pub fn values(right: &Value) -> Option<Vec<Compared>> {
    match right.get("set").unwrap_or(right) {
        Value::Array(values) => values.iter().map(one).collect(),
        value => one(value).map(|value| vec![value]),
    }
}

fn one(value: &Value) -> Option<Compared> {
    match value {
        Value::String(text) if text.starts_with('@') => Some(Compared::Set(text.clone())),
        Value::String(text) => Some(Compared::of(text)),
        Value::Number(_) | Value::Bool(_) => Some(Compared::of(&value.to_string())),
        Value::Object(object) => match object.iter().next()? {
            (name, content) if name == "prefix" => {
                Compared::prefix(string(&content["addr"]), content["len"].as_u64()?.try_into().ok()?)
            }
            (name, ends) if name == "range" => Compared::range(&one(&ends[0])?, &one(&ends[1])?),
            // with a comment, a counter or a time
            (name, content) if name == "elem" => one(&content["val"]),
            _ => None,
        },
        _ => None,
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
