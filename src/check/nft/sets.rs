//! Sets with names, whose elements are asked for one by one: a ruleset with all of them can be long.

use super::{string, table_name};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Sets that are asked for, and elements of each that are compared, at most; of others it is not known what is in them.
const MOST_SETS: usize = 20;
const MOST_ELEMENTS: usize = 1000;

/// What is in the sets of a ruleset.
pub struct Sets<F> {
    /// Prints a set, by family, table and name.
    look: F,
    /// By the same; `None` where it cannot be known.
    known: HashMap<String, Option<Value>>,
    /// Tables that have rules which log: what others ask for is of no interest.
    logging: HashSet<String>,
    /// Sets that rules add to, which nft 1.0 does not say of them.
    growing: HashSet<String>,
}

impl<F: FnMut(&str) -> Option<String>> Sets<F> {
    /// Of the ruleset with these objects.
    pub fn of(objects: &[Value], look: F) -> Self {
        let (mut logging, mut growing) = (HashSet::new(), HashSet::new());
        for rule in objects.iter().filter_map(|object| object.get("rule")) {
            let table = table_name(rule, "table");
            for statement in rule["expr"].as_array().into_iter().flatten() {
                logging.extend(statement["log"]["group"].is_number().then(|| table.clone()));
                let grows = string(&statement["set"]["set"]).strip_prefix('@');
                growing.extend(grows.map(|name| format!("{table} {name}")));
            }
        }
        Self { look, known: HashMap::new(), logging, growing }
    }

    /// A statement of a rule of this table with the elements in the place of a set's name, or the whole name.
    pub fn fill(&mut self, statement: &Value, table: &str) -> Value {
        let mut filled = statement.clone();
        let Some(right) = filled.pointer_mut("/match/right") else { return filled };
        if let Some(name) = string(right).strip_prefix('@') {
            let whole = format!("{table} {name}");
            *right = match self.elements(table, &whole) {
                Some(elements) => serde_json::json!({ "set": elements }),
                None => format!("@{whole}").into(),
            };
        }
        filled
    }

    fn elements(&mut self, table: &str, whole: &str) -> Option<&Value> {
        if !self.known.contains_key(whole) {
            let is_asked_for =
                self.logging.contains(table) && !self.growing.contains(whole) && self.known.len() < MOST_SETS;
            let printed = if is_asked_for { (self.look)(whole) } else { None };
            self.known.insert(whole.to_owned(), printed.and_then(|printed| elements(&printed)));
        }
        self.known[whole].as_ref()
    }
}

/// The elements of the one set that was printed, if they do not come and go, and are not too many.
fn elements(printed: &str) -> Option<Value> {
    let printed: Value = serde_json::from_str(printed).ok()?;
    let set = printed["nftables"].as_array()?.iter().find_map(|object| object.get("set"))?;
    let flags = set["flags"].to_string();
    // one without any will be filled
    let elements = set.get("elem")?.clone();
    let are_few = elements.as_array()?.len() <= MOST_ELEMENTS;
    (are_few && !["dynamic", "timeout"].iter().any(|flag| flags.contains(flag))).then_some(elements)
}
