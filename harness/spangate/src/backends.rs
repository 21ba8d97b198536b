//! What backends beside the sink have stored in the end: they are asked, and what they say is evidence.

pub mod jaeger;
pub(crate) mod prometheus;
