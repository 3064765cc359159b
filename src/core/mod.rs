//! The decisions, without the world: no task, no socket and no clock in here.
//!
//! Time comes in as a [`time::Tick`], what happened comes in as a value, what should be done goes out as
//! a value. So every race is a unit test. Rooms import only rooms above them in this list.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod backoff;
pub(crate) mod buys;
pub(crate) mod desk;
pub(crate) mod engine;
pub(crate) mod evidence;
pub(crate) mod failure;
pub(crate) mod freshness;
pub(crate) mod gate;
pub(crate) mod holds;
pub(crate) mod ledger;
pub(crate) mod mint;
pub(crate) mod mints;
pub(crate) mod observation;
pub(crate) mod overlay;
pub(crate) mod placement;
pub(crate) mod positions;
pub(crate) mod reading;
pub(crate) mod refresh;
pub(crate) mod sellable;
pub(crate) mod session;
pub(crate) mod state;
pub(crate) mod time;
pub(crate) mod timers;
pub(crate) mod token;
pub(crate) mod trades;
pub(crate) mod ttl;
