//! Work that outlives whoever waits for it.
//!
//! A request runs in its connection's own task, where its answer is needed: a task of its own for each
//! would be one more turn through the scheduler, behind whatever else is ready. Only when the caller
//! hangs up in the middle does the rest of the work get a task of its own.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that is finished even when it is dropped.
pub(crate) struct Outlive<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

/// The work panicked. What it was is in the log; it is not polled again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs `work` to its end, here or, when the returned future is dropped, in a task of its own.
pub(crate) fn outlive<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Outlive<T> {
    Outlive(Some(Box::pin(work)))
}

impl<T: Send + 'static> Future for Outlive<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = self.0.as_mut() else { return Poll::Ready(Err(Panicked)) };
        // A panic costs one answer, not every request on the same connection.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        let ended = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(result)) => Ok(result),
            Err(_) => Err(Panicked),
        };
        self.0 = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for Outlive<T> {
    fn drop(&mut self) {
        if let (Some(rest), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_finished() {
        let (go_on, wait) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let mut work = outlive(async {
            wait.await.unwrap();
            done.send(()).unwrap();
        });
        let begun = tokio::time::timeout(Duration::from_millis(1), &mut work).await;
        assert!(begun.is_err(), "it waits");
        drop(work);
        go_on.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), finished).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn work_that_was_never_begun_is_done_as_well() {
        let (done, finished) = oneshot::channel();
        drop(outlive(async { done.send(()).unwrap() }));
        tokio::time::timeout(Duration::from_secs(10), finished).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_is_not_polled_again() {
        let work = outlive(async { panic!("on purpose") });
        assert_eq!(work.await.map(|(): ()| ()), Err(Panicked));
        assert_eq!(outlive(async { 7 }).await, Ok(7));
    }
}
