//! Metrics as they are told: families of samples, in the Prometheus text format or as `OpenMetrics`.

use std::fmt::Write as _;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::histogram::Durations;

/// The format in which metrics are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// The Prometheus text format, version 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl Exposition {
    /// The format that a scraper asks for in `Accept`; `OpenMetrics` only where it is named.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let named = accept.split(',').any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().eq_ignore_ascii_case("application/openmetrics-text");
            let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)));
            media && !refused
        });
        if named { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Writes families down.
    #[must_use]
    pub fn encode(self, families: &[Family]) -> Vec<u8> {
        match self {
            Self::Text => text(families),
            Self::OpenMetrics => open_metrics(families).into_bytes(),
        }
    }
}

/// All samples of one name.
#[derive(Debug, Clone)]
pub struct Family(MetricFamily);

impl From<MetricFamily> for Family {
    fn from(family: MetricFamily) -> Self {
        Self(family)
    }
}

impl Family {
    /// What only grows; the name ends in `_total`.
    #[must_use]
    pub fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    /// What goes up and down.
    #[must_use]
    pub fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    /// Durations by bucket.
    #[must_use]
    pub fn histogram(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self(family)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Adds a sample of a counter or a gauge.
    pub fn push(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut metric = labelled(labels);
        if self.0.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.0.mut_metric().push(metric);
    }

    /// Adds a sample that is a whole number.
    #[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
    pub fn push_count(&mut self, labels: &[(&str, &str)], value: u64) {
        self.push(labels, value as f64);
    }

    /// Adds durations.
    pub fn push_durations(&mut self, labels: &[(&str, &str)], durations: &Durations) {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(durations.count());
        histogram.set_sample_sum(durations.seconds());
        // The last one, without a bound, is told by whoever writes them down.
        let told = durations.cumulative().filter_map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound?);
            bucket.set_cumulative_count(count);
            Some(bucket)
        });
        histogram.set_bucket(told.collect());
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.0.mut_metric().push(metric);
    }

    /// With one sample that has no labels.
    #[must_use]
    pub fn of(mut self, value: f64) -> Self {
        self.push(&[], value);
        self
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut metric = Metric::default();
    metric.set_label(pairs.collect());
    metric
}

/// The families that have a sample, in the order of their names.
fn told(families: &[Family]) -> Vec<&MetricFamily> {
    let mut told: Vec<&MetricFamily> =
        families.iter().map(|family| &family.0).filter(|family| !family.get_metric().is_empty()).collect();
    told.sort_by(|a, b| a.name().cmp(b.name()));
    told
}

fn text(families: &[Family]) -> Vec<u8> {
    let families: Vec<MetricFamily> = told(families).into_iter().cloned().collect();
    let mut out = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&families, &mut out) {
        tracing::error!(%error, "metrics cannot be written");
    }
    out
}

/// `OpenMetrics` 1.0: a counter's family has the name without `_total`, and the text has an end.
fn open_metrics(families: &[Family]) -> String {
    let mut out = String::new();
    for family in told(families) {
        let kind = family.get_field_type();
        let name = family.name();
        let (of_family, word) = match kind {
            MetricType::COUNTER => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            MetricType::HISTOGRAM => (name, "histogram"),
            _ => (name, "gauge"),
        };
        let _ = writeln!(out, "# TYPE {of_family} {word}");
        let _ = writeln!(out, "# HELP {of_family} {}", escaped(family.help()));
        for metric in family.get_metric() {
            let labels = metric.get_label();
            match kind {
                MetricType::COUNTER => push_line(&mut out, name, labels, None, metric.get_counter().get_value()),
                MetricType::HISTOGRAM => push_histogram(&mut out, name, metric),
                _ => push_line(&mut out, name, labels, None, metric.get_gauge().get_value()),
            }
        }
    }
    out.push_str("# EOF\n");
    out
}

#[allow(clippy::cast_precision_loss, reason = "samples are floating-point numbers")]
fn push_histogram(out: &mut String, name: &str, metric: &Metric) {
    let (labels, histogram) = (metric.get_label(), metric.get_histogram());
    for bucket in histogram.get_bucket() {
        let bound = format!("{:?}", bucket.upper_bound());
        push_line(out, &format!("{name}_bucket"), labels, Some(&bound), bucket.cumulative_count() as f64);
    }
    push_line(out, &format!("{name}_bucket"), labels, Some("+Inf"), histogram.get_sample_count() as f64);
    push_line(out, &format!("{name}_count"), labels, None, histogram.get_sample_count() as f64);
    push_line(out, &format!("{name}_sum"), labels, None, histogram.get_sample_sum());
}

fn push_line(out: &mut String, name: &str, labels: &[LabelPair], bound: Option<&str>, value: f64) {
    out.push_str(name);
    let pairs = labels.iter().map(|pair| (pair.name(), pair.value())).chain(bound.map(|bound| ("le", bound)));
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    if !pairs.is_empty() {
        let _ = write!(out, "{{{}}}", pairs.join(","));
    }
    let _ = writeln!(out, " {value}");
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::histogram::Histogram;

    fn families() -> Vec<Family> {
        let mut requests = Family::counter("x_requests_total", "Requests.");
        requests.push(&[("route", "a \"b\"\\\n")], 3.0);
        let mut sums = Durations::default();
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(2));
        histogram.add_to(&mut sums);
        let mut durations = Family::histogram("x_seconds", "Durations.");
        durations.push_durations(&[("route", "r")], &sums);
        vec![requests, durations, Family::gauge("a_gauge", "A gauge.").of(0.5), Family::gauge("none", "Nothing.")]
    }

    #[test]
    fn open_metrics_has_its_own_names_and_an_end() {
        let text = open_metrics(&families());
        assert!(text.starts_with("# TYPE a_gauge gauge\n# HELP a_gauge A gauge.\na_gauge 0.5\n"), "{text}");
        assert!(text.contains("# TYPE x_requests counter\n"), "{text}");
        assert!(text.contains("x_requests_total{route=\"a \\\"b\\\"\\\\\\n\"} 3\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{route=\"r\",le=\"0.0025\"} 1\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{route=\"r\",le=\"+Inf\"} 1\n"), "{text}");
        assert!(text.contains("x_seconds_sum{route=\"r\"} 0.002\n"), "{text}");
        assert!(text.ends_with("# EOF\n") && !text.contains("none"), "{text}");
    }

    #[test]
    fn text_is_that_of_prometheus() {
        let text = String::from_utf8(text(&families())).unwrap();
        assert!(text.contains("# TYPE x_requests_total counter\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{route=\"r\",le=\"0.0025\"} 1\n"), "{text}");
        assert!(text.contains("x_seconds_bucket{route=\"r\",le=\"+Inf\"} 1\n") && !text.contains("inf\""), "{text}");
    }

    #[test]
    fn open_metrics_is_for_those_who_ask() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Exposition::wanted(prometheus), Exposition::OpenMetrics);
        for other in ["", "*/*", "text/plain", "application/openmetrics-text; q=0"] {
            assert_eq!(Exposition::wanted(other), Exposition::Text, "{other}");
        }
    }
}
