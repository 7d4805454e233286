//! Work on the items of an iterator by threads, ahead of need and in bounded memory. The results come in the order of the items,
//! whatever the number of threads. Knows neither images nor tensors.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use crate::error::{Error, Result};

/// An iterator over items and their results. Dropping it stops its threads.
pub(crate) struct Ahead<I, R> {
    shared: Arc<Shared<I, R>>,
    n_taken: usize,
    threads: Vec<JoinHandle<()>>,
}

/// The work on an item panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// An item and its result. There is no item if the iterator panicked.
pub(crate) type Done<I, R> = (Option<I>, std::result::Result<R, Panicked>);

struct Shared<I, R> {
    items: Mutex<Items<I>>,
    work: Box<dyn Fn(&I) -> R + Send + Sync>,
    state: Mutex<State<I, R>>,
    /// Signalled when an item is done, and when there are no more.
    is_done: Condvar,
    /// Signalled when another item may be started, and when the threads should stop.
    has_room: Condvar,
}

struct Items<I> {
    rest: Box<dyn Iterator<Item = I> + Send>,
    /// The number of items that `rest` has given.
    n_given: usize,
}

struct State<I, R> {
    /// The number of items that were started, or will be by a thread that is about to ask for one.
    n_started: usize,
    /// Threads start only items below this one, so that memory stays bounded however slowly results are taken.
    limit: usize,
    done: HashMap<usize, Done<I, R>>,
    /// The number of all items, once it is known.
    n_items: Option<usize>,
    stopped: bool,
}

impl<I: Send + 'static, R: Send + 'static> Ahead<I, R> {
    /// Starts `n_threads` threads that work on the items, at most `n_ahead` of them, or one for each thread, before the first
    /// result is taken. With `n_threads` 0, there are as many as compute. Fails if no thread can be started.
    pub(crate) fn new(
        items: impl Iterator<Item = I> + Send + 'static,
        n_ahead: usize,
        n_threads: usize,
        work: impl Fn(&I) -> R + Send + Sync + 'static,
    ) -> Result<Self> {
        let n_threads = match n_threads {
            0 => rayon::current_num_threads(),
            n_threads => n_threads,
        };
        let most = items.size_hint().1.unwrap_or(usize::MAX);
        let shared = Arc::new(Shared {
            items: Mutex::new(Items {
                rest: Box::new(items.fuse()),
                n_given: 0,
            }),
            work: Box::new(work),
            state: Mutex::new(State {
                n_started: 0,
                // With small batches, a limit below the number of threads would leave some of them idle.
                limit: n_ahead.max(n_threads),
                done: HashMap::new(),
                n_items: (most == 0).then_some(0),
                stopped: false,
            }),
            is_done: Condvar::new(),
            has_room: Condvar::new(),
        });
        let mut threads = Vec::new();
        for _ in 0..n_threads.min(most) {
            let worker = Arc::clone(&shared);
            let spawned = thread::Builder::new()
                .name("runner-load".to_owned())
                .spawn(move || worker.run());
            match spawned {
                Ok(thread) => threads.push(thread),
                // The results are the same at any number of threads, so a process limit only costs time.
                Err(_) if !threads.is_empty() => break,
                Err(error) => {
                    let message = format!("cannot start a thread to load images: {error}");
                    return Err(Error::data(message));
                }
            }
        }
        Ok(Self {
            shared,
            n_taken: 0,
            threads,
        })
    }
}

#[cfg(test)]
impl<I, R> Ahead<I, R> {
    /// The numbers of items that were started and that are done but not taken.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = lock(&self.shared.state);
        (state.n_started, state.done.len())
    }

    /// Something that lives as long as the threads do.
    pub(super) fn pulse(&self) -> std::sync::Weak<impl Sized + use<I, R>> {
        Arc::downgrade(&self.shared)
    }
}

impl<I, R> Iterator for Ahead<I, R> {
    type Item = Done<I, R>;

    /// Waits for the next result, and lets the threads start another item.
    fn next(&mut self) -> Option<Done<I, R>> {
        let mut state = lock(&self.shared.state);
        loop {
            if let Some(done) = state.done.remove(&self.n_taken) {
                self.n_taken += 1;
                state.limit += 1;
                self.shared.has_room.notify_one();
                return Some(done);
            }
            if state.n_items.is_some_and(|n| n <= self.n_taken) || state.stopped {
                return None;
            }
            state = wait(&self.shared.is_done, state);
        }
    }
}

impl<I, R> Drop for Ahead<I, R> {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // Panics of the work are results already, so there is nothing to report here.
            let _ = thread.join();
        }
    }
}

impl<I, R> Shared<I, R> {
    /// Works on items until none is left, or until `stop`. A panic in a decoder fails its item alone: a thread that died with it
    /// would leave `next` waiting forever.
    fn run(&self) {
        while self.may_start() {
            let (number, item) = {
                let mut items = lock(&self.items);
                let items = &mut *items;
                let item = catch_unwind(AssertUnwindSafe(|| items.rest.next()));
                items.n_given += usize::from(!matches!(item, Ok(None)));
                (items.n_given, item)
            };
            let done = match item {
                Ok(Some(item)) => {
                    let result = catch_unwind(AssertUnwindSafe(|| (self.work)(&item)));
                    (Some(item), result.map_err(|_| Panicked))
                }
                Ok(None) => {
                    lock(&self.state).n_items = Some(number);
                    self.is_done.notify_all();
                    self.has_room.notify_all();
                    return;
                }
                Err(_) => (None, Err(Panicked)),
            };
            lock(&self.state).done.insert(number - 1, done);
            self.is_done.notify_one();
        }
    }

    /// Waits until another item may be started; `false` if there is none.
    fn may_start(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.stopped && state.n_items.is_none() {
            if state.n_started < state.limit {
                state.n_started += 1;
                return true;
            }
            state = wait(&self.has_room, state);
        }
        false
    }

    fn stop(&self) {
        lock(&self.state).stopped = true;
        self.has_room.notify_all();
    }
}

/// Nothing panics while it holds one of these locks, or the value is still consistent, so a poisoned lock is as good as another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_at_any_number_of_threads() {
        for n_threads in [1, 2, 7] {
            // `filter` hides the number of items, as a walk through folders does.
            let items = (0..500_u32).filter(|item| item % 3 != 0);
            let ahead = Ahead::new(items.clone(), 4, n_threads, |item| item * 2).unwrap();
            let results: Vec<u32> = ahead.map(|(_, result)| result.unwrap()).collect();
            let expected: Vec<u32> = items.map(|item| item * 2).collect();
            assert_eq!(results, expected, "{n_threads} threads");
        }
    }

    #[test]
    fn items_are_drawn_only_as_far_ahead_as_allowed() {
        static N_DRAWN: AtomicUsize = AtomicUsize::new(0);
        let items = std::iter::repeat_with(|| N_DRAWN.fetch_add(1, Ordering::SeqCst));
        let mut ahead = Ahead::new(items, 5, 2, |item| *item).unwrap();
        for expected in 0..100 {
            let (item, _) = ahead.next().unwrap();
            assert_eq!(item, Some(expected));
            assert!(N_DRAWN.load(Ordering::SeqCst) <= expected + 1 + 5);
        }
    }

    #[test]
    fn a_panic_costs_one_item_and_an_iterator_that_panics_does_not_hang() {
        let work = |item: &u32| {
            assert_ne!(*item, 2, "as a decoder might");
            *item
        };
        let ahead = Ahead::new(0..5, 2, 2, work).unwrap();
        let results: Vec<_> = ahead.map(|(_, result)| result.ok()).collect();
        assert_eq!(results, [Some(0), Some(1), None, Some(3), Some(4)]);

        let items = (0..5_u32).inspect(|item| assert!(*item < 3, "as a bug might"));
        let ahead = Ahead::new(items, 2, 2, |item| *item).unwrap();
        let first: Vec<_> = ahead.take(4).collect();
        assert_eq!(first[2], (Some(2), Ok(2)));
        assert_eq!(first[3], (None, Err(Panicked)));
    }
}
