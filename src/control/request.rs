//! What can be asked.

use super::VERSION;
use super::query::FlowQuery;
use serde::{Deserialize, Serialize};

/// Octets of the longest request, without the end of its line.
pub const LONGEST: usize = 4096;

/// A line from a peer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    version: u32,
    command: Command,
}

/// What a peer wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// How the probe is.
    Status,
    /// Flows that are in the table.
    Flows(FlowQuery),
    /// Every flow in the table is to be exported now.
    Flush,
    /// The probe is to end as by SIGTERM.
    Stop,
}

/// What a request wants, or what is wrong with it.
pub fn parse(line: &[u8]) -> Result<Command, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let wrong = |error: serde_json::Error| {
        format!(
            "not understood ({error}): a request is a line such as {{\"version\":{VERSION},\"command\":\"status\"}}, with \
             \"status\", {{\"flows\":{{}}}}, \"flush\" or \"stop\""
        )
    };
    // another version may have other commands
    let Versioned { version } = serde_json::from_slice(line).map_err(wrong)?;
    if version != VERSION {
        return Err(format!(
            "version {version} is not spoken here, but {VERSION}: this is nfweir {}",
            super::status::program()
        ));
    }
    Ok(serde_json::from_slice::<Request>(line).map_err(wrong)?.command)
}

/// The line that wants this.
pub fn line(command: Command) -> Vec<u8> {
    let mut line = serde_json::to_vec(&Request { version: VERSION, command }).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_as_written() {
        assert_eq!(parse(br#"{"version":1,"command":"status"}"#), Ok(Command::Status));
        assert_eq!(parse(br#"{"command":{"flows":{}},"version":1}"#), Ok(Command::Flows(FlowQuery::default())));
        for command in [Command::Status, Command::Flows(FlowQuery::default()), Command::Flush, Command::Stop] {
            let line = line(command.clone());
            assert_eq!(parse(line.strip_suffix(b"\n").unwrap()), Ok(command));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, reason) in [
            (
                &br#"{"version":1,"command":"restart"}"#[..],
                "unknown variant `restart`, expected one of `status`, `flows`",
            ),
            (
                br#"{"version":1,"command":{"flows":{"adress":"::1"}}}"#,
                "unknown field `adress`, expected one of `address`",
            ),
            (br#"{"version":1,"command":{"flows":{"address":"10.0.0.0/33"}}}"#, "`10.0.0.0/33` is no address"),
            (br#"{"version":1,"command":{"flows":{"limit":10001}}}"#, "10001 is not a number from 1 to 10000"),
            (br#"{"version":1,"command":"status","now":true}"#, "unknown field `now`"),
            (br#"{"command":"status"}"#, "missing field `version`"),
            (br#"{"version":2,"command":{"dance":1}}"#, "version 2 is not spoken here, but 1"),
            (b"", "not understood"),
            (b"GET / HTTP/1.1\r", "not understood"),
            (b"\xff\xfe\x00", "not understood"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert!(parse(&[b'['; LONGEST]).is_err(), "whose depth is bounded");
    }

    proptest! {
        #[test]
        fn no_octets_are_too_much(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&octets);
        }
    }
}
