//! The proxy between a client and a server of ours, both of which do and see exactly what a test says.

mod faults;
mod lifetime;
mod peer;
mod streams;
mod tls;
mod transparency;
