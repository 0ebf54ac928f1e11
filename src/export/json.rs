//! Flows as JSON, one object on a line, with IANA's names for the elements.

use super::element::{Element, Kind};
use super::facts::Facts;
use super::fields::{Flavour, biflow_layouts, flow_layout};
use super::interface_names::InterfaceNames;
use super::layout::{Layout, Value};
use super::lines::Format;
use crate::flow::FlowRecord;
use crate::packet::details::NOBODY;
use std::fmt::{Display, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};

/// How flows are written: with the fields that an IPFIX record has, and beside the number of a device its name.
pub struct Json {
    /// By IP version: 4, then 6.
    layouts: [Layout<FlowRecord>; 2],
    /// The same of both directions of a conversation, where those are one object.
    biflows: Option<[(Layout<FlowRecord>, Layout<FlowRecord>); 2]>,
    names: InterfaceNames,
}

impl Json {
    /// Of flows of which there is this to know.
    pub fn new(facts: &Facts) -> Self {
        let Facts { key, fields, .. } = facts;
        Self {
            layouts: [4, 6].map(|version| flow_layout(Flavour::Ipfix, version, key, fields)),
            biflows: facts.biflows.then(|| [4, 6].map(|version| biflow_layouts(version, key, fields))),
            names: InterfaceNames::new(facts),
        }
    }
}

impl Format for Json {
    fn line(&mut self, flow: &FlowRecord) -> String {
        self.names.look();
        let mut object = Object::new(&self.names);
        object.add(&self.layouts[place(flow)], flow, str::to_owned);
        object.finish()
    }

    fn tick(&mut self) {
        self.names.grow_old();
    }

    fn learn(&mut self, facts: &Facts) {
        *self = Self::new(facts);
    }

    /// What there is of the other direction has `reverse` before its name (RFC 5103 section 6).
    fn biflow_line(&mut self, forward: &FlowRecord, reverse: &FlowRecord) -> Option<String> {
        let (one, other) = &self.biflows.as_ref()?[place(forward)];
        self.names.look();
        let mut object = Object::new(&self.names);
        object.add(one, forward, str::to_owned);
        object.add(other, reverse, |name| format!("reverse{}{}", name[..1].to_uppercase(), &name[1..]));
        Some(object.finish())
    }
}

/// Among the layouts.
fn place(flow: &FlowRecord) -> usize {
    usize::from(flow.key.ip_version == 6)
}

/// An object under construction: all of it but the brackets.
struct Object<'a> {
    text: String,
    names: &'a InterfaceNames,
}

impl<'a> Object<'a> {
    fn new(names: &'a InterfaceNames) -> Self {
        Self { text: String::new(), names }
    }

    fn add(&mut self, layout: &Layout<FlowRecord>, flow: &FlowRecord, named: impl Fn(&str) -> String) {
        for (element, value) in layout.values(flow) {
            let separator = if self.text.is_empty() { "" } else { "," };
            // writing to a string cannot fail
            let _ = write!(self.text, "{separator}\"{}\":{}", named(element.name()), shown(element, value));
            if let Value::Number(number) = value
                && let Some(name) = self.names.said_by(element, number)
            {
                let _ = write!(self.text, ",\"{}Name\":{}", named(element.name()), text(name.as_bytes()));
            }
        }
    }

    fn finish(self) -> String {
        format!("{{{}}}", self.text)
    }
}

/// Numbers as they are; texts, addresses and times (ISO 8601, in UTC) in quotes; `null` where there is nothing to say.
pub fn shown(element: Element, value: Value<'_>) -> String {
    match value {
        Value::Number(number) => match element.kind() {
            Kind::Seconds => quoted(humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(number))),
            Kind::Milliseconds => quoted(humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(number))),
            // the bits that are left of its fraction may make it up to half a microsecond less
            Kind::Microseconds => {
                let rounded = since_1970(number) + Duration::from_nanos(500);
                quoted(humantime::format_rfc3339_micros(UNIX_EPOCH + rounded))
            }
            Kind::Nanoseconds => quoted(humantime::format_rfc3339_nanos(UNIX_EPOCH + since_1970(number))),
            Kind::Account if number == u64::from(NOBODY) => "null".to_owned(),
            _ => number.to_string(),
        },
        Value::Octets(octets) if element.kind() == Kind::Mac => quoted(joined(octets, ":")),
        Value::Octets(octets) if element.kind() == Kind::Octets => quoted(joined(octets, "")),
        Value::Octets(octets) if element.kind() == Kind::Text => text(octets),
        Value::Octets(octets) => match (<[u8; 4]>::try_from(octets), <[u8; 16]>::try_from(octets)) {
            (Ok(four), _) => quoted(Ipv4Addr::from(four)),
            (_, Ok(sixteen)) => quoted(Ipv6Addr::from(sixteen)),
            _ => "null".to_owned(),
        },
    }
}

fn joined(octets: &[u8], separator: &str) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(separator)
}

/// A string in quotes, with what has to be escaped in it (RFC 8259 section 7).
fn text(octets: &[u8]) -> String {
    let escaped = |letter: char| match letter {
        '"' | '\\' => format!("\\{letter}"),
        ..' ' => format!("\\u{:04x}", u32::from(letter)),
        _ => letter.to_string(),
    };
    quoted(String::from_utf8_lossy(octets).chars().map(escaped).collect::<String>())
}

fn quoted(text: impl Display) -> String {
    format!("\"{text}\"")
}

/// Of NTP's seconds since 1900 and a fraction, rounded to a nanosecond.
fn since_1970(ntp: u64) -> Duration {
    let seconds = (ntp >> 32).saturating_sub(2_208_988_800);
    let nanoseconds = ((ntp & 0xffff_ffff) * 1_000_000_000).div_ceil(1 << 32);
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::fields::FieldChoice;
    use crate::export::options::Interface;
    use crate::flow::UserName;
    use crate::flow::tests::record;
    use crate::packet::details::Provenance;

    #[test]
    fn a_flow_is_an_object_by_the_names_of_the_registry() {
        assert_eq!(
            Json::new(&Facts::default()).line(&record()),
            "{\"sourceIPv4Address\":\"10.1.2.3\",\"destinationIPv4Address\":\"10.9.8.7\",\"sourceTransportPort\":1024,\
             \"destinationTransportPort\":443,\"protocolIdentifier\":6,\"ipClassOfService\":16,\
             \"ingressInterface\":2,\"vlanId\":7,\"selectorId\":1,\"tcpControlBits\":283,\"egressInterface\":3,\
             \"packetDeltaCount\":5,\"octetDeltaCount\":600,\"flowStartMilliseconds\":\"2023-11-14T22:13:20.123Z\",\
             \"flowEndMilliseconds\":\"2023-11-14T22:13:21.456Z\",\"minimumTTL\":60,\"maximumTTL\":64,\
             \"flowDirection\":1,\"flowEndReason\":3}"
        );
        let choice = FieldChoice::List(vec![
            Element::FlowStartSeconds,
            Element::FlowEndMicroseconds,
            Element::FlowEndNanoseconds,
        ]);
        assert_eq!(
            Json::new(&Facts { fields: choice, ..Facts::default() }).line(&record()),
            "{\"flowStartSeconds\":\"2023-11-14T22:13:20Z\",\"flowEndMicroseconds\":\"2023-11-14T22:13:21.456000Z\",\
             \"flowEndNanoseconds\":\"2023-11-14T22:13:21.456000000Z\"}"
        );
        let mut flow = record();
        flow.key.ip_version = 6;
        flow.key.source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(Json::new(&Facts::default()).line(&flow).starts_with("{\"sourceIPv6Address\":\"2001:db8::1\","));
    }

    #[test]
    fn names_are_escaped_and_nobody_is_null() {
        let fields = FieldChoice::List(vec![Element::UserName, Element::NetfilterUid, Element::NetfilterGid]);
        let mut json = Json::new(&Facts { fields, ..Facts::default() });
        assert_eq!(json.line(&record()), r#"{"userName":"","netfilterUid":null,"netfilterGid":null}"#);
        let mut flow = record();
        flow.details.first.provenance = Provenance::Process { uid: 0, gid: 7 };
        flow.user_name = UserName::from("a\"\\\u{1}\u{e4}");
        assert_eq!(json.line(&flow), "{\"userName\":\"a\\\"\\\\\\u0001\u{e4}\",\"netfilterUid\":0,\"netfilterGid\":7}");
    }

    #[test]
    fn devices_have_their_names_beside_their_numbers() {
        let interfaces = || {
            let interface = |index, name: &str| Interface { index, name: name.to_owned(), description: String::new() };
            vec![interface(2, "eth0"), interface(3, "a\"b")]
        };
        let fields = FieldChoice::List(vec![Element::IngressInterface, Element::EgressInterface, Element::VlanId]);
        let facts = Facts { interfaces, fields, biflows: true, ..Facts::default() };
        let mut json = Json::new(&facts);
        let expected = "{\"ingressInterface\":2,\"ingressInterfaceName\":\"eth0\",\"egressInterface\":3,\
                        \"egressInterfaceName\":\"a\\\"b\",\"vlanId\":7";
        assert_eq!(json.line(&record()), format!("{expected}}}"));
        let reverse = FlowRecord { output: 4, ..record() };
        assert_eq!(
            json.biflow_line(&record(), &reverse).unwrap(),
            format!(
                "{expected},\"biflowDirection\":0,\"reverseIngressInterface\":2,\
                 \"reverseIngressInterfaceName\":\"eth0\",\"reverseEgressInterface\":4,\"reverseVlanId\":7}}"
            )
        );
    }

    #[test]
    fn both_directions_of_a_conversation_are_one_object() {
        let fields = FieldChoice::List(vec![Element::SourceTransportPort, Element::PacketDeltaCount]);
        let facts = Facts { fields, biflows: true, ..Facts::default() };
        let forward = FlowRecord { is_initiators: true, ..record() };
        let reverse = FlowRecord { packets: 3, ..record() };
        assert_eq!(
            Json::new(&facts).biflow_line(&forward, &reverse).unwrap(),
            "{\"sourceTransportPort\":1024,\"packetDeltaCount\":5,\"biflowDirection\":1,\"reversePacketDeltaCount\":3}"
        );
        assert_eq!(Json::new(&Facts::default()).biflow_line(&record(), &reverse), None);
    }
}
