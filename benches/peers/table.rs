//! Figures of several rounds, and the tables of their medians in Markdown.

use std::fmt::Write;
use std::time::Duration;

/// One server in one workload, once.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) unit: &'static str,
    pub(crate) server: &'static str,
    pub(crate) value: f64,
    pub(crate) puts: Option<[Duration; 2]>,
    pub(crate) others: Option<[Duration; 2]>,
    /// Microseconds of the server's processor time for each operation.
    pub(crate) processor: f64,
}

/// The median and the 99th percentile of sorted times.
pub(crate) fn percentiles(times: &[Duration]) -> Option<[Duration; 2]> {
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().checked_sub(1)?)).copied();
    Some([at(50)?, at(99)?])
}

/// A workload a line and a server a column; then all that was measured beside it.
pub(crate) fn tables(rows: &[Row]) -> String {
    let (workloads, servers) =
        (distinct(rows.iter().map(|row| &row.workload)), distinct(rows.iter().map(|row| row.server)));
    let mut headline = format!("| workload | unit | {} |\n", servers.join(" | "));
    let _ = writeln!(headline, "|---|---|{}", "--:|".repeat(servers.len()));
    let mut details =
        "| workload | server | median | least | most | PUT p50, p99 ms | other p50, p99 ms | server µs/op |\n\
         |---|---|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for workload in workloads {
        let of = |server: &str| -> Vec<&Row> {
            rows.iter().filter(|row| row.workload == *workload && row.server == server).collect()
        };
        let unit = rows.iter().find(|row| row.workload == *workload).map_or("", |row| row.unit);
        let _ = write!(headline, "| {workload} | {unit} |");
        for server in &servers {
            let rows = of(server);
            let values = || rows.iter().map(|row| row.value);
            let median_value = median(values()).map_or("–".to_owned(), figure);
            let _ = write!(headline, " {median_value} |");
            if rows.is_empty() {
                continue;
            }
            let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
            let times = |which: fn(&Row) -> Option<[Duration; 2]>| {
                let at = |index: usize| {
                    median(rows.iter().filter_map(|row| which(row)).map(|times| times[index].as_secs_f64() * 1e3))
                };
                at(0).zip(at(1)).map_or("–".to_owned(), |(p50, p99)| format!("{p50:.2}, {p99:.2}"))
            };
            let (puts, others) = (times(|row| row.puts), times(|row| row.others));
            let processor = median(rows.iter().map(|row| row.processor)).map_or("–".to_owned(), figure);
            let (least, most) = (figure(least), figure(most));
            let _ = writeln!(
                details,
                "| {workload} | {server} | {median_value} | {least} | {most} | {puts} | {others} | {processor} |"
            );
        }
        headline.push('\n');
    }
    format!("{headline}\n{details}")
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().saturating_sub(1) / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
