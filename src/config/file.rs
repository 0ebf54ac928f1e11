//! The configuration file: TOML, under the long names of the command line, and tables about selectors.

use super::{
    CaptureOptions, ConfigError, ControlOptions, ExportOptions, LogOptions, RuleOptions, RunOptions, selector,
};
use clap::{Arg, Args, Command};
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use toml::de::DeTable;

/// What a file may say.
type Said = (RuleOptions, CaptureOptions, ExportOptions, LogOptions, ControlOptions);

/// Reads a file. Errors name its line.
pub fn read(path: &Path) -> Result<Said, ConfigError> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        let mend = match error.kind() {
            ErrorKind::InvalidData => "save it as text in UTF-8",
            ErrorKind::IsADirectory => "name a file",
            ErrorKind::PermissionDenied => {
                "let the user read it that the probe becomes, which reads it again at SIGHUP"
            }
            _ => "check its name, and who may read it",
        };
        ConfigError(format!("configuration file {shown} cannot be read ({error}): {mend}"))
    })?;
    parse(&text).map_err(|(line, reason)| ConfigError(format!("{shown} line {line}: {reason}")))
}

/// Or the line and what is wrong with it.
fn parse(text: &str) -> Result<Said, (usize, String)> {
    let line = |span: Option<Range<usize>>| text[..span.map_or(0, |span| span.start)].matches('\n').count() + 1;
    let wrong = |error: toml::de::Error| (line(error.span()), error.message().trim().replace('\n', " "));
    let table = DeTable::parse(text).map_err(wrong)?;
    let known = keys();
    if let Some((key, _)) = table.get_ref().iter().find(|(key, _)| !known.iter().any(|known| key.get_ref() == known)) {
        let reason = format!("`{}` is no option: there are {}", key.get_ref(), known.join(", "));
        return Err((line(Some(key.span())), reason));
    }
    let misplaced = |(span, reason): selector::Wrong| (line(Some(span)), reason);
    selector::check(table.get_ref()).map_err(misplaced)?;
    // each takes its own keys and leaves the others'
    let said: Said = (
        toml::from_str(text).map_err(wrong)?,
        toml::from_str(text).map_err(wrong)?,
        toml::from_str(text).map_err(wrong)?,
        toml::from_str(text).map_err(wrong)?,
        toml::from_str(text).map_err(wrong)?,
    );
    selector::check_pairs(&said.2.selector).map_err(misplaced)?;
    Ok(said)
}

/// The options that a file may say: all but the one that names it.
pub fn options() -> Vec<Arg> {
    let command = RunOptions::augment_args(Command::new("run"));
    command.get_arguments().filter(|option| option.get_long() != Some("config")).cloned().collect()
}

/// The long names of the options, and the tables.
fn keys() -> Vec<String> {
    let names = options().into_iter().filter_map(|option| option.get_long().map(str::to_owned));
    names.chain([selector::SELECTOR.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Place;

    #[test]
    fn every_option_can_be_said() {
        let text = r#"
interface = ["eth0", "eth1"]
mirror = true
vlan = 42
sample = 100
spread = 4
exclude = ["tcp dport 22"]
group = [5, 6]
snaplen = 96
receive-buffer = "64MiB"
nat = true
user = "nfweir"
metrics = 9464
export = ["ipfix://[::1]:4739", "netflow5://10.0.0.1"]
delivery = "balance"
key = ["sourceIPv4Address/24", "protocolIdentifier"]
fields = "full"
biflow = true
estimate-segments = true
inactive-timeout = "30s"
active-timeout = "5min"
max-flows = 1000
export-rate = 0
sampling-rate = [100, "5:1000"]
interface-number = ["ppp:200", "eth:1"]
local-interface = 65535
syslog = true
control = "/run/nfweir/other.sock"
[[selector]]
prefix = "in"
[[selector]]
prefix = "out"
group = 5
name = "to the world"
sampling-rate = 10
verdict = "accepted"
direction = "egress"
"#;
        let (rules, capture, export, log, control) = parse(text).unwrap();
        let options = text.split_once("[[").unwrap().0;
        let said = options.lines().filter(|line| line.contains('=')).count();
        assert_eq!(said + 1, keys().len(), "and selectors");
        assert_eq!(export.selector.len(), 2);
        assert!(rules.are_asked_for());
        assert_eq!(
            (capture.group.iter().map(|group| group.0).collect(), capture.user.as_deref()),
            (vec![5, 6], Some("nfweir"))
        );
        assert_eq!(control.place(), Place::At("/run/nfweir/other.sock".into()));
        assert_eq!((export.export.len(), export.max_flows.map(|flows| flows.0), log.syslog), (2, Some(1000), true));
    }

    #[test]
    fn a_list_of_one_needs_no_brackets() {
        let (_, capture, export, ..) = parse("group = 5\nexport = \"ipfix://[::1]\"").unwrap();
        assert_eq!((capture.group.len(), export.export.len()), (1, 1));
    }

    #[test]
    fn errors_name_line_and_reason() {
        for (text, line, reason) in [
            ("group = [5]\nsnaplan = 96", 2, "`snaplan` is no option: there are interface, mirror"),
            ("group = [5]\n\nsnaplen = 9", 3, "9 is not a number from 64 to 65531"),
            ("group = [70000]", 1, "70000 is not a number from 0 to 65535"),
            ("group = \"5\"", 1, "expected a number from 0 to 65535 without quotes"),
            ("max-flows = \"many\"", 1, "expected a number from 1 to 2147483648 without quotes"),
            ("receive-buffer = 32", 1, "`32` is not a size from 4KiB to 1GiB: write a whole number of KiB, MiB or GiB"),
            ("active-timeout = \"5\"", 1, "write it with its unit"),
            ("active-timeout = 5", 1, "`5` is not a time from 1s to 7days: write it with its unit, as in 15s"),
            ("\nexport = [\n  \"ipfix://a\",\n  \"sflow://b\"]", 2, "`sflow` is not a protocol"),
            ("key = \"octets\"", 1, "`octets` is no part of a flow's key: there are sourceIPv4Address"),
            ("sampling-rate = 0", 1, "`0` is not a sampling rate: write N, or GROUP:N"),
            ("sampling-rate = \"x:5\"", 1, "`x:5` is not a sampling rate"),
            ("user = 5", 1, "expected a string"),
            ("metrics = \"localhost:9464\"", 1, "`localhost:9464` is no address for metrics"),
            ("group = [5", 1, "array"),
            ("syslog = true\nsyslog = false", 2, "duplicate key"),
        ] {
            let (at, said) = parse(text).unwrap_err();
            assert!(at == line && said.contains(reason), "line {at}: {said}");
        }
    }

    #[test]
    fn errors_of_selectors_do_too() {
        let (tables, keys) =
            ("write [[selector]], and its keys below", "`export` is no key of a [[selector]]: there are prefix,");
        for (text, line, reason) in [
            ("selector = 5", 1, tables),
            ("\n[selector]\nprefix = \"a\"", 2, tables),
            ("selector = [5]", 1, tables),
            ("group = 5\n[[selector]]\ngroup = 5", 2, "has no prefix: add that of the rule"),
            ("[[selector]]\nprefix = \"a\"\nexport = \"x\"", 3, keys),
            ("[[selector]]\nprefix = 5", 2, "expected a string"),
            ("[[selector]]\nprefix = \"a\"\ngroup = 70000", 3, "70000 is not a number from 0 to 65535"),
            ("[[selector]]\nprefix = \"a\"\nsampling-rate = 0", 3, "0 is not a number from 1 to 4294967295"),
            ("[[selector]]\nprefix = \"a\"\nverdict = \"lost\"", 3, "`lost` is no verdict: write accepted or dropped"),
            ("[[selector]]\nprefix = \"a\"\ndirection = \"up\"", 3, "`up` is no direction: write ingress or egress"),
        ] {
            let (at, said) = parse(text).unwrap_err();
            assert!(at == line && said.contains(reason), "line {at}: {said}");
        }
        let twice =
            "[[selector]]\nprefix = \"a\"\n[[selector]]\ngroup = 5\nprefix = \"a\"\n[[selector]]\nprefix = \"a\"";
        let (at, said) = parse(twice).unwrap_err();
        assert!(at == 6 && said.contains("prefix `a` has two [[selector]] tables"), "line {at}: {said}");
        let long = format!("[[selector]]\nprefix = \"{}\"", "a".repeat(128));
        assert!(parse(&long).unwrap_err().1.contains("has 128 octets: at most 127 are possible"));
    }

    /// With what is commented out in it.
    #[test]
    fn the_packaged_file_is_one() {
        let text = include_str!("../../packaging/nfweir.toml");
        let option =
            |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
        let (_, _, export, ..) = parse(&text.lines().map(|line| option(line) + "\n").collect::<String>()).unwrap();
        assert_eq!((export.selector.len(), export.export.len()), (1, 1));
    }
}
