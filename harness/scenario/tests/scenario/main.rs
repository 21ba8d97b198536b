//! Scenario files from the outside: what is read, what is refused and where, and what is written back.

mod behind;
mod collector;
mod diagnostics;
mod form;
mod generate;
mod load;
mod meaning;
mod properties;
mod schema;
mod shipped;
mod support;
