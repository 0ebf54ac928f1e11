//! A destination as the operator writes it: a collector's URL, `file:PATH`, `json:PATH` or `json:-`.

use super::units::{Interval, Size};
use crate::export::destination::{Destination, FilePath};
use crate::export::rotating::Rotation;
use std::path::PathBuf;
use std::str::FromStr;

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let file = |rest| parse(rest).map_err(|reason| format!("export target `{text}`: {reason}"));
        match text.split_once(':') {
            Some(("json", "-")) => Ok(Self::JsonOutput),
            Some(("json", rest)) => file(rest).map(Self::JsonFile),
            Some(("file", rest)) => file(rest).map(Self::IpfixFile),
            _ => text.parse().map(Self::Collector),
        }
    }
}

impl TryFrom<String> for Destination {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// `PATH?SETTING=VALUE&…`
fn parse(text: &str) -> Result<FilePath, String> {
    let (path, settings) = text.split_once('?').unwrap_or((text, ""));
    match path {
        "" => return Err("no file is named".to_owned()),
        "-" => return Err("standard output takes JSON alone, and cannot be begun anew: write json:-".to_owned()),
        _ => {}
    }
    let mut rotation = Rotation::default();
    for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
        match setting.split_once('=') {
            Some(("rotate-time", value)) => rotation.time = Some(value.parse::<Interval>()?.0),
            Some(("rotate-size", value)) => rotation.size = Some(value.parse::<Size>()?.0 as u64),
            _ => {
                return Err(format!(
                    "`{setting}` is no setting of a file: there are rotate-time=TIME and rotate-size=SIZE"
                ));
            }
        }
    }
    Ok(FilePath { path: PathBuf::from(path), rotation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn destinations_as_written() {
        let file = |path: &str, rotation| FilePath { path: PathBuf::from(path), rotation };
        let rotation = Rotation { time: Some(Duration::from_secs(300)), size: Some(1 << 20) };
        for (text, expected) in [
            ("json:-", Destination::JsonOutput),
            ("json:/a/b", Destination::JsonFile(file("/a/b", Rotation::default()))),
            ("file:c?rotate-time=5min&rotate-size=1MiB", Destination::IpfixFile(file("c", rotation))),
        ] {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(destination, expected);
            assert!(text.starts_with(&destination.to_string()));
        }
        assert!(matches!("ipfix://[::1]".parse(), Ok(Destination::Collector(_))));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, reason) in [
            ("file:", "no file is named"),
            ("file:-", "standard output takes JSON alone"),
            ("json:-?rotate-time=5s", "cannot be begun anew"),
            ("json:a?rotate-size=5", "`5` is not a size"),
            ("json:a?rotate-time=5", "`5` is not a time"),
            ("json:a?colour=red", "`colour=red` is no setting of a file"),
            ("sflow://a", "`sflow` is not a protocol"),
        ] {
            let error = text.parse::<Destination>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
