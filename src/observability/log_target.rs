//! The targets of the log lines. A user's filter names them, so they do not follow the modules.

/// Of every line but the health line.
pub(crate) const LOG: &str = "balance_mirror";
/// Of the health line.
pub(crate) const HEALTH: &str = "balance_mirror::health";
