//! What a run came to, as a table.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    judge::Tally,
    lane::{Lane, Played},
};

/// Of one kind.
#[derive(Default)]
struct Row {
    during: Tally,
    recoveries: Vec<Duration>,
}

/// See the module.
pub(super) struct Table<'a> {
    pub(super) names: Vec<&'static str>,
    pub(super) lanes: &'a [Lane],
}

impl Table<'_> {
    fn played(&self) -> impl Iterator<Item = &Played> {
        self.lanes.iter().flat_map(|lane| &lane.played)
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        let mut all = Row::default();
        for played in self.played() {
            for row in [rows.entry(played.kind).or_default(), &mut all] {
                row.during.add(played.during);
                row.recoveries.push(played.recovery);
            }
        }
        writeln!(
            f,
            "| Fault | times | readings during it | from memory | by RPC | refused | live again, median | worst |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        for name in &self.names {
            if let Some(row) = rows.get_mut(name) {
                line(f, name, row)?;
            }
        }
        line(f, "**all**", &mut all)
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, row: &mut Row) -> fmt::Result {
    row.recoveries.sort_unstable();
    let (count, Tally { memory, rpc, refused }) = (row.recoveries.len(), row.during);
    let median = row.recoveries.get(count / 2).copied().unwrap_or_default();
    let worst = row.recoveries.last().copied().unwrap_or_default();
    writeln!(
        f,
        "| {name} | {count} | {} | {memory} | {rpc} | {refused} | {} ms | {} ms |",
        row.during.readings(),
        median.as_millis(),
        worst.as_millis()
    )
}
