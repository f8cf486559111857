mod flawed;

use std::sync::Arc;
use std::time::Duration;

use crate::storage::MemoryStorage;
use crate::storage::faulty::{DelayingFailing, Faults};

mod the_store_in_memory {
    use super::*;

    crate::storage_conformance!(MemoryStorage::new());
}

mod a_store_that_delays_and_fails {
    use super::*;

    crate::storage_conformance!(DelayingFailing::new(
        Arc::new(MemoryStorage::new()),
        Faults {
            seed: 7,
            max_delay: Duration::from_micros(100),
            fail_before: 0.2,
            fail_after: 0.2,
            fail_reads: 0.05,
        },
    ));
}
