//! The names of the devices that flows written as text are of: those that options records tell collectors.

use super::element::Element;
use super::facts::Facts;
use super::interface_numbers::{MOST, Numbering};
use super::options::Interface;
use std::collections::HashMap;

/// The elements of which each is the number of a device.
const NUMBERS: [Element; 4] = [
    Element::IngressInterface,
    Element::EgressInterface,
    Element::IngressPhysicalInterface,
    Element::EgressPhysicalInterface,
];

/// The names of the devices that were ever seen: a flow may be written when its device is gone.
pub struct InterfaceNames {
    interfaces: fn() -> Vec<Interface>,
    numbering: Numbering,
    /// By the number that records have.
    known: HashMap<u32, String>,
    /// Whether devices may have come, gone, or been renamed since they were looked up.
    is_old: bool,
}

impl InterfaceNames {
    /// None looked up as yet.
    pub fn new(facts: &Facts) -> Self {
        let (interfaces, numbering) = (facts.interfaces, facts.numbering.clone());
        Self { interfaces, numbering, known: HashMap::new(), is_old: true }
    }

    /// Has them looked up again before the next flow.
    pub fn grow_old(&mut self) {
        self.is_old = true;
    }

    /// Looks them up, if they are old.
    pub fn look(&mut self) {
        if std::mem::take(&mut self.is_old) {
            if self.known.len() > MOST {
                self.known.clear();
            }
            let devices = self.numbering.apply((self.interfaces)()).into_iter();
            self.known.extend(devices.map(|interface| (interface.index, interface.name)));
        }
    }

    /// The name of the device with this number, if it is known.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.known.get(&number).map(String::as_str)
    }

    /// The same, if that is what this element says by its number.
    pub fn said_by(&self, element: Element, number: u64) -> Option<&str> {
        if NUMBERS.contains(&element) { self.name(u32::try_from(number).ok()?) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str) -> Interface {
        Interface { index, name: name.to_owned(), description: String::new() }
    }

    #[test]
    fn names_are_those_of_the_numbers_that_records_have() {
        let numbering = Numbering { rules: vec!["ppp:200".parse().unwrap()], local: 999 };
        let interfaces = || vec![interface(7, "ppp3"), interface(2, "eth0")];
        let mut names = InterfaceNames::new(&Facts { interfaces, numbering, ..Facts::default() });
        assert_eq!(names.name(2), None, "nobody has looked");
        names.look();
        assert_eq!(
            [203, 2, 7, 0, 999].map(|number| names.name(number)),
            [Some("ppp3"), Some("eth0"), None, None, None]
        );
        let said = [Element::EgressInterface, Element::VlanId].map(|element| names.said_by(element, 2));
        assert_eq!(said, [Some("eth0"), None]);
        // renamed, and gone
        names.interfaces = || vec![interface(2, "wan")];
        names.look();
        assert_eq!(names.name(2), Some("eth0"));
        names.grow_old();
        names.look();
        assert_eq!([2, 203].map(|number| names.name(number)), [Some("wan"), Some("ppp3")]);
    }
}
