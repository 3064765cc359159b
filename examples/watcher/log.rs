//! Writes the log to stderr: one line for each event or, for people at a terminal, in the columns
//! of the lines on stdout.

use std::{fmt, io};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Writer, debug_fn},
        time::FormatTime,
    },
    registry::LookupSpan,
};

use crate::{args::Args, events::Moment, output::coloured};

/// The columns between which the text of a line stands.
const COLUMNS: std::ops::Range<usize> = 24..120;

/// Starts logging.
pub(crate) fn start(args: &Args) {
    // The lines for people already show health on stdout.
    let health = if args.json { "info" } else { "warn" };
    let default = format!("balance_mirror=info,balance_mirror::health={health},watcher=info");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    if args.json || !io::IsTerminal::is_terminal(&io::stderr()) {
        return log.compact().with_timer(Rfc3339).with_ansi(false).init();
    }
    let fields = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        name => write!(writer, " {name}={value:?}"),
    });
    log.with_ansi(coloured(&io::stderr())).event_format(Columns).fmt_fields(fields).init();
}

struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&Moment::now().rfc3339())
    }
}

/// Time, `log`, and the text, wrapped within its column.
struct Columns;

impl<S, N> FormatEvent<S, N> for Columns
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        context.field_format().format_fields(Writer::new(&mut text), event)?;
        let level = *event.metadata().level();
        let (kind, colour) = match level {
            Level::ERROR => ("error", "31"),
            Level::WARN => ("warning", "33"),
            _ => ("log", "2"),
        };
        let time = Moment::now().time_of_day();
        let lines = wrapped(&text, COLUMNS.len()).join(&format!("\n{:width$}", "", width = COLUMNS.start));
        if writer.has_ansi_escapes() {
            writeln!(writer, "\x1b[2m{time}\x1b[0m  \x1b[{colour}m{kind:<8}  {lines}\x1b[0m")
        } else {
            writeln!(writer, "{time}  {kind:<8}  {lines}")
        }
    }
}

/// The text in lines of at most `width` characters, where its words allow it.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a longword b", 4), ["a", "longword", "b"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
