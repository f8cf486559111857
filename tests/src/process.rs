//! Real processes of `chord-kv`, ended when they are dropped.
