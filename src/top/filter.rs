//! Which flows are shown, in a few words: addresses, ports and protocols.

use crate::control::query::FlowQuery;

/// Of a query, what the words say: an address or a prefix, a port, a protocol; each at most once.
pub fn parse(words: &str, base: FlowQuery) -> Result<FlowQuery, String> {
    let mut query = FlowQuery { address: None, port: None, protocol: None, ..base };
    for word in words.split_whitespace() {
        let twice = if let Ok(port) = word.parse() {
            query.port.replace(port).is_some()
        } else if word.contains(['.', ':']) {
            query.address.replace(word.parse()?).is_some()
        } else {
            let protocol = word.parse().map_err(|_| format!("`{word}` is no address, port or protocol"))?;
            query.protocol.replace(protocol).is_some()
        };
        if twice {
            return Err(format!("`{word}`: only one address, one port and one protocol can be given"));
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_is_wanted() {
        let base = FlowQuery { port: Some(1), ..FlowQuery::default() };
        let expected = FlowQuery {
            address: "10.0.0.0/8".parse().ok(),
            port: Some(53),
            protocol: "udp".parse().ok(),
            ..FlowQuery::default()
        };
        assert_eq!(parse(" udp  53 10.0.0.0/8 ", base.clone()), Ok(expected));
        assert_eq!(parse("::1", base.clone()).unwrap().address, "::1".parse().ok());
        assert_eq!(parse("", base.clone()), Ok(FlowQuery::default()));
        for (words, reason) in [
            ("10.0.0", "no address"),
            ("65536", "no address, port or protocol"),
            ("host", "no address, port"),
            ("tcp udp", "only one"),
        ] {
            assert!(parse(words, base.clone()).unwrap_err().contains(reason), "{words}");
        }
    }
}
