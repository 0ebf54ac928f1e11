//! The parts of a flow's key, by IANA's names: `sourceIPv4Address/24,protocolIdentifier`.

use super::ConfigError;
use crate::export::element::Element;
use crate::flow::key_fields::KeyFields;
use std::str::FromStr;

/// A part of the key, and of an address how many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct KeyPart {
    element: Element,
    prefix: u8,
}

/// The elements that a key has, and how many bits an address can have in it.
const PARTS: [(Element, u8); 11] = [
    (Element::SourceIpv4Address, 32),
    (Element::SourceIpv6Address, 128),
    (Element::DestinationIpv4Address, 32),
    (Element::DestinationIpv6Address, 128),
    (Element::SourceTransportPort, 0),
    (Element::DestinationTransportPort, 0),
    (Element::ProtocolIdentifier, 0),
    (Element::IpClassOfService, 0),
    (Element::IngressInterface, 0),
    (Element::VlanId, 0),
    (Element::SelectorId, 0),
];

impl FromStr for KeyPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, prefix) = text.split_once('/').map_or((text, None), |(name, prefix)| (name, Some(prefix)));
        let part = PARTS.iter().find(|(element, _)| element.name().eq_ignore_ascii_case(name));
        let Some(&(element, bits)) = part else {
            let names: Vec<_> = PARTS.iter().map(|(element, _)| element.name()).collect();
            return Err(format!("`{name}` is no part of a flow's key: there are {}", names.join(", ")));
        };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| (1..=bits).contains(prefix))
                .ok_or_else(|| format!("`{text}`: only an address has a prefix, of 1 to 32 or 128 bits"))?,
        };
        Ok(Self { element, prefix })
    }
}

impl TryFrom<String> for KeyPart {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Puts the parts together; none means the whole key.
pub fn key_fields(parts: &[KeyPart]) -> Result<KeyFields, ConfigError> {
    let earlier = |i: usize, part: &KeyPart| parts[..i].iter().any(|it| it.element == part.element);
    if let Some((_, twice)) = parts.iter().enumerate().find(|(i, part)| earlier(*i, part)) {
        return Err(ConfigError(format!("--key: {} is named twice: name each part once", twice.element.name())));
    }
    let mut fields = if parts.is_empty() { KeyFields::ALL } else { KeyFields::NONE };
    for part in parts {
        match part.element {
            Element::SourceIpv4Address => fields.source_v4 = part.prefix,
            Element::SourceIpv6Address => fields.source_v6 = part.prefix,
            Element::DestinationIpv4Address => fields.destination_v4 = part.prefix,
            Element::DestinationIpv6Address => fields.destination_v6 = part.prefix,
            Element::SourceTransportPort => fields.source_port = true,
            Element::DestinationTransportPort => fields.destination_port = true,
            Element::ProtocolIdentifier => fields.protocol = true,
            Element::IpClassOfService => fields.tos = true,
            Element::IngressInterface => fields.input = true,
            Element::VlanId => fields.vlan = true,
            _ => fields.selector = true,
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_by_their_names() {
        let parts = ["sourceIPv4Address/24", "SOURCEIPV6ADDRESS", "vlanId"].map(|text| text.parse().unwrap());
        let expected = KeyFields { source_v4: 24, source_v6: 128, vlan: true, ..KeyFields::NONE };
        assert_eq!(key_fields(&parts).unwrap(), expected);
        assert_eq!(key_fields(&[]).unwrap(), KeyFields::ALL);
        let twice = ["sourceIPv4Address/24", "vlanId", "sourceIPv4Address/16"].map(|text| text.parse().unwrap());
        assert!(key_fields(&twice).is_err());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("octetDeltaCount", "`octetDeltaCount` is no part of a flow's key: there are sourceIPv4Address,"),
            ("sourceIPv4Address/33", "only an address has a prefix, of 1 to 32"),
            ("sourceIPv4Address/0", "only an address has a prefix"),
            ("vlanId/4", "only an address has a prefix"),
        ] {
            let error = text.parse::<KeyPart>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
