//! Layers side by side, results in order, and one failure ends them all.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::Error;

/// Most layers at once unless the caller wants more: they only compete for the disk.
const MAX_PARALLEL: usize = 4;

/// As many as there are cores, at least `least`.
pub(crate) fn workers(least: usize) -> usize {
    thread::available_parallelism().map_or(least, NonZero::get).clamp(least, MAX_PARALLEL)
}

/// Does all jobs, `workers` at a time, and gives their results in the order of the jobs. The first failure sets
/// `stop`, for the others to see.
pub(crate) fn all<J: Sync, T: Send>(
    jobs: &[J],
    workers: usize,
    stop: &AtomicBool,
    work: impl Fn(&J) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let mut results = in_order(jobs, workers, stop, work);
    // The failure that stopped the others comes before those that were stopped.
    let stopped = |result: &Result<_, Error>| result.as_ref().is_err_and(Error::is_cancelled);
    if results.iter().any(|result| result.is_err() && !stopped(result)) {
        results.retain(|result| !stopped(result));
    }
    results.into_iter().collect()
}

/// Does all jobs, `workers` at a time, and gives their results in the order of the jobs, or the first failure in
/// it. After one no other is begun.
pub fn side_by_side<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    workers: usize,
    work: impl Fn(&J) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    in_order(jobs, workers, &AtomicBool::new(false), work).into_iter().collect()
}

/// Those that were begun: all, if none has failed.
fn in_order<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    workers: usize,
    stop: &AtomicBool,
    work: impl Fn(&J) -> Result<T, E> + Sync,
) -> Vec<Result<T, E>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(jobs.len()));
    let worker = || {
        while !stop.load(Ordering::Relaxed)
            && let Some((number, job)) = {
                let number = next.fetch_add(1, Ordering::Relaxed);
                jobs.get(number).map(|job| (number, job))
            }
        {
            let result = work(job);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers.min(jobs.len()) {
            // One that cannot be started is not missed: this thread does what the others do not.
            let _ = thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs_and_none_is_begun_after_a_failure() {
        let jobs: Vec<usize> = (0..100).collect();
        assert_eq!(side_by_side(&jobs, 7, |job| Ok::<_, ()>(*job)), Ok(jobs.clone()));
        let begun = AtomicUsize::new(0);
        let work = |job: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *job == 3 { Err(*job) } else { Ok(()) }
        };
        assert_eq!(side_by_side(&jobs, 1, work), Err(3));
        assert_eq!(begun.into_inner(), 4);
    }
}
