//! The node's store. A panic in it is an error of its call: it ends no task of the node, and keeps no lock.

use std::any::Any;
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use futures::FutureExt as _;

use crate::protocol::entry::Entry;
use crate::protocol::id::{Id, Interval};
use crate::storage::{self, Batch, Cursor, Page, Storage, StorageError, StorageStats};

/// A [`Storage`] whose panics are errors.
#[derive(Clone)]
pub(crate) struct Store(Arc<dyn Storage>);

impl Store {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Store {
        Store(storage)
    }

    /// [`Storage::apply`]
    pub(crate) fn apply(&self, batch: Batch) -> impl Future<Output = Result<(), StorageError>> + Unpin {
        caught(move || self.0.apply(batch))
    }

    /// [`Storage::get`]
    pub(crate) fn get<'a>(
        &'a self,
        id: &'a Id,
        key: &'a [u8],
    ) -> impl Future<Output = Result<Option<Entry>, StorageError>> + Unpin {
        caught(move || self.0.get(id, key))
    }

    /// [`Storage::scan`]
    pub(crate) fn scan(
        &self,
        interval: Interval,
        after: Option<Cursor>,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Page, StorageError>> + Unpin {
        caught(move || self.0.scan(interval, after, max_bytes))
    }

    /// [`storage::clear_some`]
    pub(crate) fn clear_some(
        &self,
        interval: Interval,
    ) -> impl Future<Output = Result<Option<Interval>, StorageError>> + Unpin {
        caught(move || Box::pin(storage::clear_some(&*self.0, interval)))
    }

    /// [`Storage::stats`]; `None` after a panic.
    pub(crate) fn stats(&self) -> impl Future<Output = Option<StorageStats>> + Unpin {
        caught(move || Box::pin(async { Ok(self.0.stats().await) })).map(Result::ok)
    }
}

type Call<'a, R> = Pin<Box<dyn Future<Output = Result<R, StorageError>> + Send + 'a>>;

fn caught<'a, R: Send + 'a>(
    call: impl FnOnce() -> Call<'a, R>,
) -> impl Future<Output = Result<R, StorageError>> + Unpin + Send {
    let called = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(call) => AssertUnwindSafe(call).catch_unwind().left_future(),
        Err(panic) => ready(Err(panic)).right_future(),
    };
    called.map(|result| result.unwrap_or_else(|panic| Err(panicked(&*panic))))
}

fn panicked(panic: &(dyn Any + Send)) -> StorageError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    StorageError(format!("the store panicked: {}", text.unwrap_or("without a word")))
}
