use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use super::*;

fn cluster(count: usize) -> Cluster {
    Cluster::new((1..=count).map(|number| format!("kms-{number}:5696").parse().unwrap()).collect())
}

fn is(address: &Address, number: usize) -> bool {
    address.to_string() == format!("kms-{number}:5696")
}

fn down() -> Error {
    Error::Unavailable("it is down".into())
}

#[test]
fn a_dead_first_address_is_tried_once() {
    let cluster = cluster(2);
    let tries = AtomicUsize::new(0);
    for _ in 0..10 {
        let found = cluster.connect(|address| {
            if is(address, 1) {
                tries.fetch_add(1, Ordering::Relaxed);
                return Err(down());
            }
            Ok(address.to_string())
        });
        assert_eq!(found.unwrap(), "kms-2:5696");
    }
    assert_eq!(tries.into_inner(), 1);
}

#[test]
fn a_dead_first_address_is_tried_once_by_all_that_connect_at_the_same_time() {
    let (cluster, tries) = (Arc::new(cluster(2)), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                cluster.connect(|address| {
                    if is(address, 1) {
                        tries.fetch_add(1, Ordering::Relaxed);
                        return Err(down());
                    }
                    Ok(())
                })
            });
        }
    });
    assert_eq!(tries.into_inner(), 1);
}

#[test]
fn an_address_that_dies_is_left_for_the_next_one_and_seen_again_when_it_is_back() {
    let cluster = cluster(2);
    let first = |address: &Address| Ok(address.to_string());
    assert_eq!(cluster.connect(first).unwrap(), "kms-1:5696");
    let only_second = |address: &Address| if is(address, 2) { Ok(address.to_string()) } else { Err(down()) };
    assert_eq!(cluster.connect(only_second).unwrap(), "kms-2:5696");
    // It is up again, but nobody has looked.
    assert_eq!(cluster.connect(first).unwrap(), "kms-2:5696");
    cluster.look_again(|_| panic!("too early"));
    cluster.breakers()[0] = Breaker::Failed { at: Instant::now(), pause: Duration::ZERO, why: down() };
    cluster.look_again(|address| if is(address, 1) { Ok(()) } else { Err(down()) });
    assert_eq!(cluster.connect(first).unwrap(), "kms-1:5696");
}

#[test]
fn an_address_that_dies_under_many_connections_has_failed_once() {
    let (cluster, both) = (cluster(2), Barrier::new(2));
    let on_the_way = AtomicUsize::new(0);
    assert!(cluster.connect(|_| Ok(())).is_ok());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                cluster.connect(|address| {
                    if is(address, 2) {
                        return Ok(());
                    }
                    // Each is on its way before the other one fails.
                    on_the_way.fetch_add(1, Ordering::Relaxed);
                    both.wait();
                    Err(down())
                })
            });
        }
    });
    assert_eq!(on_the_way.into_inner(), 2);
    assert!(matches!(cluster.breakers()[0], Breaker::Failed { pause: FIRST_PAUSE, .. }));
}

#[test]
fn when_all_are_down_the_error_tells_of_each_and_all_are_tried_again() {
    let (cluster, tries) = (cluster(2), AtomicUsize::new(0));
    for _ in 0..2 {
        let error = cluster.connect::<()>(|_| {
            tries.fetch_add(1, Ordering::Relaxed);
            Err(down())
        });
        let told = "kms-1:5696: it is down; kms-2:5696: it is down";
        assert_eq!(error.unwrap_err(), Error::Unavailable(told.into()));
    }
    assert_eq!(tries.into_inner(), 4);
}
