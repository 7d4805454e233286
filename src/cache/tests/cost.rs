//! What opening and looking up cost; printed, not judged.

use std::time::Instant;

use super::*;
use crate::console::talk_line;

#[test]
#[ignore = "measures"]
fn times_of_opening_and_looking_up() {
    for n_items in [1_000, 10_000, 100_000] {
        let dir = dir();
        let start = Instant::now();
        let store = open(&dir);
        let values = values_of(0);
        let items: Vec<_> = (0..n_items)
            .map(|number| (item(number), &values[..]))
            .collect();
        store.put_many(&items).unwrap();
        drop(store);
        let filled = start.elapsed();
        let start = Instant::now();
        let store = open(&dir);
        let opened = start.elapsed();
        assert_eq!(store.len(), n_items);
        let start = Instant::now();
        assert!((0..n_items).all(|number| store.contains(&item(number))));
        let looked_up = start.elapsed() / n_items as u32;
        let mut read = vec![0.0; N_VALUES];
        let start = Instant::now();
        for number in 0..n_items {
            assert_eq!(store.get(&item(number), &mut read).unwrap(), Lookup::Sound);
        }
        let got = start.elapsed() / n_items as u32;
        let start = Instant::now();
        store.refresh().unwrap();
        let refreshed = start.elapsed();
        let memory = store.memory_bytes() / n_items;
        talk_line(&format!(
            "{n_items} items: fill {filled:?}, open {opened:?}, look up {looked_up:?}, read {got:?}, \
             refresh {refreshed:?}, {memory} bytes per item"
        ));
    }
}

#[test]
#[ignore = "measures"]
fn times_of_real_activations() {
    const N_ITEMS: usize = 200;
    for precision in [ActivationPrecision::F32, ActivationPrecision::F16] {
        let dir = dir();
        let recipe = Recipe {
            precision,
            shape: vec![512, 14, 14],
            ..recipe()
        };
        let store = Store::open(dir.path(), &recipe, Trust::Own).unwrap();
        let mut values: Vec<f32> = (0..store.n_values()).map(|at| at as f32 / 32.0).collect();
        let start = Instant::now();
        for number in 0..N_ITEMS {
            store.put(&item(number), &values).unwrap();
        }
        let put = start.elapsed() / N_ITEMS as u32;
        let start = Instant::now();
        for number in 0..N_ITEMS {
            assert_eq!(
                store.get(&item(number), &mut values).unwrap(),
                Lookup::Sound
            );
        }
        let got = start.elapsed() / N_ITEMS as u32;
        talk_line(&format!(
            "{precision:?} [512,14,14]: put {put:?}, get {got:?}"
        ));
    }
}
