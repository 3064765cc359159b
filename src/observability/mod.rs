//! What the mirror counts, logs and reports about its health.

pub(crate) mod counters;
pub(crate) mod health;
pub(crate) mod link_log;
pub(crate) mod log_target;
pub(crate) mod notification_lag;
pub(crate) mod token_stats;
