//! A ring in one process, for the tests of programs that use chord.
//!
//! [`Cluster`] starts, ends and disturbs the hosts of a ring on a [`Network`](crate::Network); [`History`] records
//! what clients did and checks that every key behaved like one register and no acknowledged write was lost. On
//! tokio's current-thread runtime with its clock paused a test takes no time to wait, and one seed gives one run:
//!
//! ```
//! use chord_transport_mem::testkit::Cluster;
//!
//! # async fn example() {
//! // In a test: #[tokio::test(start_paused = true)], with tokio's feature "test-util".
//! let cluster = Cluster::of(3).await;
//! let client = cluster.client(0);
//! client.put("key", "value").await.expect("three hosts answer");
//! cluster.join("newcomer").await.expect("the ring lets it in");
//! cluster.leave("n0").await.expect("it hands its keys over");
//! cluster.settle().await;
//! let value = cluster.client(1).get("key").await.expect("the ring answers");
//! assert_eq!(value.as_deref(), Some(&b"value"[..]));
//! cluster.history().check().expect("every key is linearizable");
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
//! #     .block_on(example());
//! ```

mod builder;
mod cluster;
mod history;
mod linearizable;
mod watch;

pub use self::builder::ClusterBuilder;
pub use self::cluster::{Cluster, Node};
pub use self::history::{Call, Client, History, Operation, Outcome};
pub use self::linearizable::Anomaly;
pub use self::watch::WatchReport;
