//! A trade, from the expected buy to the sold tokens.

pub(crate) mod hold;
pub(crate) mod position;
pub(crate) mod settle;
