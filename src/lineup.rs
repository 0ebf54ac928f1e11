//! Who takes records: each destination in use, by what it is called and numbered, also over reloads.

use crate::config::ExportConfig;
use crate::export::destination::Destination;
use std::path::Path;

/// A destination in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it is, with the rate that it has; `None` for printed flows.
    pub destination: Option<Destination>,
    /// What log, account and counters call it. No two are called the same.
    pub name: String,
    /// What distinguishes its exporter from all others that this process has or had: two collectors may be one program, and a
    /// sequence that begins anew would look like loss to one that knows the earlier.
    pub number: u32,
}

/// All of them, those in the network last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineup {
    /// In the order in which they get records.
    pub places: Vec<Place>,
    /// The first that nobody had.
    next_number: u32,
}

impl Lineup {
    /// That of a probe that starts.
    pub fn of(config: &ExportConfig) -> Self {
        Self::default().next(config)
    }

    /// The one after this: destinations that stay keep name and number, others get a name that is free and the next number.
    pub fn next(&self, config: &ExportConfig) -> Self {
        let mut left: Vec<&Place> = self.places.iter().collect();
        let wanted = destinations(config);
        let kept: Vec<_> = wanted
            .iter()
            .map(|wanted| Some(left.remove(left.iter().position(|place| place.destination == *wanted)?).clone()))
            .collect();
        let mut used: Vec<_> = kept.iter().flatten().cloned().collect();
        let mut places = Vec::new();
        let mut next_number = self.next_number;
        for (destination, kept) in wanted.into_iter().zip(kept) {
            places.push(kept.unwrap_or_else(|| {
                let place = Place { name: free_name(&destination, &used), destination, number: next_number };
                next_number += 1;
                used.push(place.clone());
                place
            }));
        }
        places.sort_by_key(Place::is_networked);
        Self { places, next_number }
    }

    /// Which of these is the same as that.
    pub fn position(&self, place: &Place) -> Option<usize> {
        self.places.iter().position(|own| own == place)
    }

    /// How many are in the network.
    pub fn networked(&self) -> usize {
        self.places.iter().filter(|place| place.is_networked()).count()
    }

    /// Whether any writes this file.
    pub fn writes(&self, path: &Path) -> bool {
        self.places.iter().any(|place| place.file() == Some(path))
    }
}

impl Place {
    fn is_networked(&self) -> bool {
        matches!(self.destination, Some(Destination::Collector(_)))
    }

    /// The file that it writes, if it does.
    pub fn file(&self) -> Option<&Path> {
        match &self.destination {
            Some(Destination::IpfixFile(file) | Destination::JsonFile(file)) => Some(&file.path),
            _ => None,
        }
    }
}

/// With the rate that each has; printing where there are none.
fn destinations(config: &ExportConfig) -> Vec<Option<Destination>> {
    if config.destinations.is_empty() {
        return vec![None];
    }
    let with_rate = |destination: &Destination| {
        let mut destination = destination.clone();
        if let Destination::Collector(target) = &mut destination
            && target.transport.loses_messages()
        {
            target.settings.rate.get_or_insert(config.export_rate);
        }
        Some(destination)
    };
    config.destinations.iter().map(with_rate).collect()
}

/// What a destination is called, and behind the first of that name how many there are.
fn free_name(destination: &Option<Destination>, used: &[Place]) -> String {
    let name = destination.as_ref().map_or("standard output".to_owned(), Destination::to_string);
    let is_free = |name: &String| used.iter().all(|place| place.name != *name);
    let names = std::iter::once(name.clone()).chain((2..).map(|number: u32| format!("{name} ({number})")));
    names.into_iter().find(is_free).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn config(options: &str) -> ExportConfig {
        let cli = Cli::parse_from(format!("nfweir run -g 5 {options}").split_whitespace());
        let Command::Run(options) = cli.command else { panic!("`run` was said") };
        options.resolve().unwrap().export
    }

    fn told(lineup: &Lineup) -> Vec<(&str, u32)> {
        lineup.places.iter().map(|place| (place.name.as_str(), place.number)).collect()
    }

    #[test]
    fn who_stays_keeps_name_and_number() {
        let first = Lineup::of(&config("-e ipfix://a -e ipfix://b -e json:/c -e ipfix://a?domain=7"));
        let [a, b] = ["ipfix://a:4739", "ipfix://b:4739"];
        assert_eq!(told(&first), [("json:/c", 2), (a, 0), (b, 1), ("ipfix://a:4739 (2)", 3)]);
        assert_eq!((first.networked(), first.writes(Path::new("/c"))), (3, true));
        let second = first.next(&config("-e ipfix://b -e ipfix://d -e ipfix://a?domain=7"));
        assert_eq!(told(&second), [(b, 1), ("ipfix://d:4739", 4), ("ipfix://a:4739 (2)", 3)]);
        let positions: Vec<_> = second.places.iter().map(|place| first.position(place)).collect();
        assert_eq!(positions, [Some(2), None, Some(3)]);
        let third = second.next(&config("-e ipfix://a?domain=7 -e ipfix://a"));
        assert_eq!(told(&third), [("ipfix://a:4739 (2)", 3), (a, 5)]);
    }

    #[test]
    fn another_rate_makes_another_of_what_loses_messages() {
        let first = Lineup::of(&config("-e ipfix://a -e ipfix+tcp://b -e ipfix://c?rate=5"));
        let second = first.next(&config("--export-rate 9 -e ipfix://a -e ipfix+tcp://b -e ipfix://c?rate=5"));
        let positions: Vec<_> = second.places.iter().map(|place| first.position(place)).collect();
        assert_eq!(positions, [None, Some(1), Some(2)]);
        assert_eq!(told(&second).into_iter().map(|(_, number)| number).collect::<Vec<_>>(), [3, 1, 2]);
    }

    #[test]
    fn without_a_destination_flows_are_printed() {
        let printed = Lineup::of(&config(""));
        assert_eq!((told(&printed), printed.networked()), (vec![("standard output", 0)], 0));
        assert_eq!(printed.next(&config("")), printed);
    }
}
