//! Everything about one account: observations, the record, its freshness, and what can be sold.

pub mod evidence;
pub mod freshness;
pub mod ledger;
pub mod observation;
pub mod overlay;
pub mod reading;
pub mod record;
pub mod sellable;
pub mod ttl;
