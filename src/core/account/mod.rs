//! One account: what is observed of it, what is recorded, how fresh that is, and what can be sold.

pub(crate) mod evidence;
pub(crate) mod freshness;
pub(crate) mod ledger;
pub(crate) mod observation;
pub(crate) mod overlay;
pub(crate) mod reading;
pub(crate) mod sellable;
pub(crate) mod ttl;
