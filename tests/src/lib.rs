//! What the black-box tests share: transports of every kind, waiting for a ring, and processes of `chord-kv`.

mod binary;
pub mod process;
pub mod ring;
