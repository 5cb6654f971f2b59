//! The task that follows an instance.

use tokio::task::AbortHandle;

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Follower(AbortHandle);

impl Follower {
    pub(crate) fn new(task: AbortHandle) -> Self {
        Self(task)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}
