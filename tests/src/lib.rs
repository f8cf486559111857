//! What the black-box tests share: transports of every kind, waiting for a ring, and processes of `chord-kv`.

pub mod process;
pub mod ring;
