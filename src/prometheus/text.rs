//! The counters in Prometheus's text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use crate::metrics::{CollectorEntry, Entry, Metrics};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a family of samples is.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// Who is counted, as a label: its name and value; none where there is but one.
type Label = Option<(&'static str, String)>;
/// Everybody of a kind with its numbers.
type Members = Vec<(Label, Vec<Entry>)>;

/// All of `metrics`, of a probe that runs since `started`.
///
/// A counter is called as where it is declared, with its group before it and `_total` behind. Prometheus's unit is the byte,
/// which is what RFC 7012 calls an octet.
pub fn text(metrics: &Metrics, started: SystemTime) -> String {
    let mut page = Page::default();
    let since = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let version = Some(("version", env!("CARGO_PKG_VERSION").to_owned()));
    page.family("nfweir_build_info", Kind::Gauge, "The probe's version, as a label.", [(&version, "1".to_owned())]);
    let meaning = "When the probe started, in seconds since 1970.";
    page.family("nfweir_start_time_seconds", Kind::Gauge, meaning, [(&None, since.to_string())]);
    let captures = metrics.captures.iter().map(|(group, it)| (group.map(|it| ("group", it.to_string())), it.entries()));
    page.group("capture_", Kind::Counter, &captures.collect());
    page.group("export_", Kind::Counter, &vec![(None, metrics.export.entries())]);
    page.group("", Kind::Gauge, &vec![(None, metrics.export.gauges())]);
    let connections = metrics.connections.iter().map(|counters| (None, counters.entries()));
    page.group("connections_", Kind::Counter, &connections.collect());
    let (configured, gone): (Vec<_>, Vec<_>) = metrics.collectors.all().into_iter().partition(|it| it.is_configured);
    let label = |entry: &CollectorEntry| Some(("collector", entry.name.clone()));
    let all = configured.iter().chain(&gone).map(|it| (label(it), it.counters.entries()));
    page.group("collector_", Kind::Counter, &all.collect());
    // nobody waits for those that are gone to be well again
    let gauges = configured.iter().map(|it| (label(it), it.counters.gauges()));
    page.group("collector_", Kind::Gauge, &gauges.collect());
    page.0
}

/// The text so far.
#[derive(Default)]
struct Page(String);

impl Page {
    /// Each number of the members as a family, in which each of them has a sample. All have the same numbers.
    fn group(&mut self, prefix: &str, kind: Kind, members: &Members) {
        let Some((_, first)) = members.first() else { return };
        for (place, Entry { name, meaning, .. }) in first.iter().enumerate() {
            let samples = members.iter().map(|(label, entries)| (label, entries[place].value.to_string()));
            self.family(&exposed(prefix, name, kind), kind, meaning, samples);
        }
    }

    fn family<'a>(
        &mut self,
        name: &str,
        kind: Kind,
        meaning: &str,
        samples: impl IntoIterator<Item = (&'a Label, String)>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = meaning.replace('\\', r"\\").replace('\n', r"\n");
        // writing to a string cannot fail
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (label, value) in samples {
            let _ = match label {
                Some((key, of)) => writeln!(self.0, "{name}{{{key}=\"{}\"}} {value}", escaped(of)),
                None => writeln!(self.0, "{name} {value}"),
            };
        }
    }
}

/// What a number is called.
fn exposed(prefix: &str, name: &str, kind: Kind) -> String {
    let stem = name.strip_suffix("octets").map_or(name.to_owned(), |what| format!("{what}bytes"));
    let suffix = match kind {
        Kind::Counter => "_total",
        Kind::Gauge => "",
    };
    format!("nfweir_{prefix}{stem}{suffix}")
}

/// A label's value as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::CollectorCounters;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn each_number_is_a_family_with_a_sample_of_each_member() {
        let metrics =
            Metrics { captures: vec![(Some(5), Arc::default()), (Some(6), Arc::default())], ..Metrics::default() };
        metrics.captures[1].1.flow_octets.add(7);
        metrics.export.table_flows.set(3);
        let text = text(&metrics, UNIX_EPOCH + Duration::from_millis(1500));
        for part in [
            "# HELP nfweir_capture_flow_bytes_total IP octets counted in a flow.\n\
             # TYPE nfweir_capture_flow_bytes_total counter\n\
             nfweir_capture_flow_bytes_total{group=\"5\"} 0\n\
             nfweir_capture_flow_bytes_total{group=\"6\"} 7\n",
            "# HELP nfweir_table_flows Flows in the table, as seen once a second.\n# TYPE nfweir_table_flows gauge\nnfweir_table_flows 3\n",
            "\nnfweir_start_time_seconds 1.5\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("connections") && !text.contains("collector"), "{text}");
    }

    #[test]
    fn names_are_escaped() {
        let metrics = Metrics::default();
        let counters = Arc::<CollectorCounters>::default();
        counters.octets.add(2);
        metrics.collectors.configure(vec![("json:a\"b\\c\nd".to_owned(), counters)]);
        let text = text(&metrics, UNIX_EPOCH);
        assert!(text.contains("\nnfweir_collector_bytes_total{collector=\"json:a\\\"b\\\\c\\nd\"} 2\n"), "{text}");
    }

    /// Each name of one of ours in an expression is one that is exposed.
    #[test]
    fn the_dashboard_is_of_numbers_that_there_are() {
        let metrics = Metrics {
            captures: vec![(Some(5), Arc::default())],
            connections: Some(Arc::default()),
            ..Metrics::default()
        };
        metrics.collectors.configure(vec![("a".to_owned(), Arc::default())]);
        let text = text(&metrics, UNIX_EPOCH);
        let exposed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let dashboard: serde_json::Value =
            serde_json::from_str(include_str!("../../packaging/grafana/nfweir.json")).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let mut shown = Vec::new();
        for expression in targets.map(|target| target["expr"].as_str().unwrap()) {
            let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let of_ours: Vec<_> = words.filter(|word| word.starts_with("nfweir_")).collect();
            assert!(!of_ours.is_empty() && of_ours.iter().all(|name| exposed.contains(name)), "{expression}");
            shown.extend(of_ours);
        }
        assert!(shown.len() > 20, "{shown:?}");
    }
}
